// SPDX-License-Identifier: MIT
//
// Drives real QEMU processes for tests: starts a peer by version, talks QMP, migrates, reads its
// serial port and its RAM blocks.
//
// Every wait has a deadline and watches what it waits for (no sleeps); a failing call says what was
// awaited, what QMP answered and what QEMU wrote to stderr. A function that returns int returns 0,
// or -1 with the text in vms_qemu_error. An object belongs to one thread, and must be started by a
// thread that outlives it: the kernel kills the QEMU when that thread ends (PR_SET_PDEATHSIG), so
// that a crashed test leaves nothing behind.
#ifndef VMS_QEMU_H
#define VMS_QEMU_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VMS_QEMU_ERROR_SIZE 4096

/// A QEMU that tests can run: the system's own, or one that conformance/peers/fetch has put under
/// $VMSTREAM_PEERS (default /var/cache/vmstream/peers).
struct vms_peer {
    char version[32];  ///< as asked for, "7.2"
    char package[128]; ///< exact package version; for a system without dpkg what QEMU reports
    char path[512];    ///< the program to execute
    unsigned major;
    unsigned minor;
};

/// Looks for a peer. Returns true when it is there; false when it is absent (skip visibly).
bool vms_peer_find(const char *version, struct vms_peer *peer);

struct vms_qemu;

struct vms_qemu_options {
    const char *version;     ///< "7.2", "10.0", "11.1"
    const char *machine;     ///< value of -machine: "pc", "q35", "none", "pc-i440fx-7.2,..."
    const char *memory;      ///< value of -m; NULL: "32M"
    const char *const *args; ///< more arguments, NULL-terminated; may be NULL
    const char *const *env;  ///< "NAME=VALUE" to add, NULL-terminated; may be NULL
    const char *name;        ///< for messages: "source"; NULL: "qemu"
    bool incoming;           ///< -incoming defer
    bool paused;             ///< -S
    int timeout_ms;          ///< of every wait that names none; 0: 30 s
};

/// Starts QEMU in a private temporary folder and returns when QMP is ready (events "MIGRATION" are
/// switched on). -nodefaults, -display none and -accel tcg are always given. NULL: `error` has the
/// reason.
struct vms_qemu *vms_qemu_start(const struct vms_qemu_options *options, char *error,
                                size_t error_size);

/// Kills QEMU if it still runs, reaps it and removes its folder (unless $VMSTREAM_KEEP is set).
/// NULL is allowed.
void vms_qemu_free(struct vms_qemu *qemu);

const char *vms_qemu_error(const struct vms_qemu *qemu);
const struct vms_peer *vms_qemu_peer(const struct vms_qemu *qemu);
const char *vms_qemu_dir(const struct vms_qemu *qemu);
pid_t vms_qemu_pid(const struct vms_qemu *qemu);

/// Asks QEMU to quit and waits for its end; -1 when it does not end or ends badly.
int vms_qemu_quit(struct vms_qemu *qemu);
/// SIGKILL, and waits.
int vms_qemu_kill(struct vms_qemu *qemu);
/// Waits until the process has ended; `status` is that of waitpid.
int vms_qemu_wait_exit(struct vms_qemu *qemu, int timeout_ms, int *status);

// ---- QMP

/// Executes a command. Takes over the reference to `arguments` (NULL: none). `result` (may be NULL)
/// gets a new reference to "return". Events that come meanwhile are queued.
int vms_qemu_execute(struct vms_qemu *qemu, const char *command, json_t *arguments,
                     json_t **result);

/// Takes the oldest queued event of that name, waiting for one if need be. `event` (may be NULL)
/// gets a new reference to the whole event object. timeout_ms 0: the default.
int vms_qemu_wait_event(struct vms_qemu *qemu, const char *name, int timeout_ms, json_t **event);

/// Executes a command of the human monitor; `text` is the caller's to free.
int vms_qemu_hmp(struct vms_qemu *qemu, const char *line, char **text);

int vms_qemu_stop(struct vms_qemu *qemu);
int vms_qemu_cont(struct vms_qemu *qemu);

/// "running", "paused", "postmigrate", "inmigrate", ... of query-status.
int vms_qemu_status(struct vms_qemu *qemu, char *status, size_t size);

// ---- migration

/// Switches capabilities on; the list ends with NULL.
int vms_qemu_set_capabilities(struct vms_qemu *qemu, const char *const *names);
/// migrate-set-parameters; takes over the reference.
int vms_qemu_set_parameters(struct vms_qemu *qemu, json_t *parameters);
int vms_qemu_migrate(struct vms_qemu *qemu, const char *uri);
/// Goes on with a paused postcopy on a new connection.
int vms_qemu_migrate_resume(struct vms_qemu *qemu, const char *uri);
int vms_qemu_migrate_incoming(struct vms_qemu *qemu, const char *uri);
/// A new reference to the answer of query-migrate.
int vms_qemu_query_migrate(struct vms_qemu *qemu, json_t **info);

struct vms_migration_end {
    char status[32];       ///< "completed", "failed", "cancelled", or one that was waited for
    char error_desc[1024]; ///< QEMU's error-desc, or empty
};

/// Waits until the migration is in one of `states` (NULL-terminated) or has ended (completed,
/// failed, cancelled). Returns 0 when it is in one of `states`, -1 otherwise; `end` may be NULL.
int vms_qemu_wait_migration(struct vms_qemu *qemu, const char *const *states, int timeout_ms,
                            struct vms_migration_end *end);

// ---- the guest

/// The file that collects the first serial port.
const char *vms_qemu_serial_path(const struct vms_qemu *qemu);
/// Waits until the serial output has `text` at byte `from` or later. Returns the offset behind it,
/// or -1.
ssize_t vms_qemu_wait_serial(struct vms_qemu *qemu, const char *text, size_t from, int timeout_ms);
/// Whether the serial output has `text` now.
bool vms_qemu_serial_has(struct vms_qemu *qemu, const char *text);

// ---- memory

/// Saves guest-physical memory to a file, by QEMU itself.
int vms_qemu_pmemsave(struct vms_qemu *qemu, uint64_t address, uint64_t size, const char *path);

/// How a RAM block's host memory was found.
enum vms_ram_method {
    VMS_RAM_NONE = 0,     ///< not found, not dumped
    VMS_RAM_MONITOR = 1,  ///< `info ramblock` tells the host address (8.2 and later)
    VMS_RAM_GPA2HVA = 2,  ///< the block at guest address 0; gpa2hva tells its host address
    VMS_RAM_SEARCHED = 3, ///< QEMU's own record of the block, searched in its memory (below)
};

/// A RAM block of a stopped VM, and the file its used part was written to.
///
/// The bytes always come out of /proc/PID/mem at the block's host address: that reads ROMs, blocks
/// that the guest has not mapped, and parts hidden behind other regions, all of which pmemsave
/// cannot. QEMU 7.2 does not tell the addresses. There each block's name is searched in QEMU's
/// writable memory; a hit counts if the three numbers that `info ramblock` gives (offset, used and
/// total length) stand next to each other close before it. How far the host address is from them is
/// not known beforehand but learned from the block at guest address 0, whose address gpa2hva does
/// tell; it must then be page-aligned and lie inside a mapping as large as the block.
struct vms_qemu_ram_block {
    char name[256];
    char file[800]; ///< inside the folder; the name with %XX for all but A-Z a-z 0-9 . _ : @ -
    uint64_t offset;
    uint64_t used;
    uint64_t total;
    uint64_t host;
    enum vms_ram_method method;
};

struct vms_ram_dump {
    struct vms_qemu_ram_block *blocks;
    size_t count;
    size_t missing; ///< blocks with VMS_RAM_NONE
};

const char *vms_ram_method_name(enum vms_ram_method method);

/// Lists the RAM blocks with their host addresses and writes no file. Free with vms_ram_dump_free.
int vms_qemu_find_ram(struct vms_qemu *qemu, struct vms_ram_dump *dump);

/// Writes every RAM block to a (sparse) file in `dir`, which is made if need be. The VM must not be
/// running. Blocks that could not be found are listed with VMS_RAM_NONE and counted in `missing`;
/// that alone is no failure.
int vms_qemu_dump_ram(struct vms_qemu *qemu, const char *dir, struct vms_ram_dump *dump);

void vms_ram_dump_free(struct vms_ram_dump *dump);

#endif
