// SPDX-License-Identifier: MIT
// What the files of record-stream share.
#ifndef VMS_RECORD_H
#define VMS_RECORD_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "../guest/check_guest.h"
#include "qemu.h"
#include "tap.h"

enum record_kind {
    RECORD_SOCKET,   // QEMU to QEMU through the tap
    RECORD_EXEC,     // exec: into a file, loaded by a second QEMU afterwards
    RECORD_FILE,     // file: (mapped-ram), loaded afterwards
    RECORD_SNAPSHOT, // background snapshot into a file: memory is that of its beginning
};

enum record_flag {
    RECORD_POSTCOPY = 1, // switch over in the middle
    RECORD_RECOVERY = 2, // cut the link in the middle of postcopy, go on with new connections
    RECORD_BITMAPS = 4,  // block nodes with dirty bitmaps
    RECORD_SHARED = 8,   // main memory in a file that both ends share
};

struct record_scenario {
    const char *name;
    const char *about;
    unsigned since; // first version: major * 100 + minor
    unsigned until; // last version; 0: still there
    enum record_kind kind;
    unsigned flags; // enum record_flag
    const char *capabilities[6];
    const char *parameters; // JSON, for both ends, over the defaults in record_scenarios.c
    uint32_t gen_mask;      // of the guest
    uint32_t per_tick;      // pages the guest writes in 100 ms; 0: the default
};

extern const struct record_scenario record_scenarios[];

/// NULL when there is none of that name.
const struct record_scenario *record_find_scenario(const char *name);
/// Whether this version of QEMU can do it.
bool record_supports(const struct record_scenario *scenario, const struct vms_peer *peer);

struct record_request {
    const char *version;
    const char *to_version;
    const char *machine;
    const char *memory;
    const struct record_scenario *scenario;
    const char *out;
};

/// One run. What has been started is in here, so that record_clean_up finds it.
struct record_run {
    const struct record_request *request;
    const struct record_scenario *scenario;
    bool has_cpu; // false for -M none
    char work[64];
    char image[128];  // boot image, or for -M none the content of its memory
    char shared[128]; // file of RECORD_SHARED
    char stream[PATH_MAX];
    char ram[PATH_MAX];
    uint64_t memory_bytes;
    struct vms_guest_params guest;
    struct vms_qemu *source;
    struct vms_qemu *destination;
    struct vms_tap *tap;
    struct vms_tap *recovery_tap;
    struct vms_ram_dump dump;
    json_t *meta;
    size_t serial_seen; // of the destination
    char error[VMS_QEMU_ERROR_SIZE + 256];
};

/// Records one scenario into request->out. 0, or -1 with run->error.
int record_scenario(struct record_run *run, const struct record_request *request);
void record_clean_up(struct record_run *run);

int record_fail(struct record_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/// Passes on the error of a QEMU.
int record_fail_qemu(struct record_run *run, const struct vms_qemu *qemu);

// record_setup.c
int record_prepare(struct record_run *run);
struct vms_qemu *record_start(struct record_run *run, bool incoming);
int record_set_up_migration(struct record_run *run, struct vms_qemu *qemu);

// record_check.c
/// Dumps the stopped source's memory and checks the guest's pages in it.
int record_dump_source(struct record_run *run);
/// The stopped destination has the same memory in every RAM block.
int record_compare_destination(struct record_run *run);
/// The guest runs on on the destination, has seen nothing bad and its pages are right at the end.
int record_check_destination_guest(struct record_run *run);

// record_meta.c
int record_write_meta(struct record_run *run);

#endif
