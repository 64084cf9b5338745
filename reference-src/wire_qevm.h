/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_WIRE_QEVM_H
#define REFERENCE_SRC_WIRE_QEVM_H

#include "reference-src/options.h"
#include "reference-src/qevm_out.h"
#include "reference-src/recorded.h"

#include <pthread.h>

/**
 * QEMU's wire, the sending half.
 *
 *   wire_qevm.c           life, connections, what every part uses
 *   wire_qevm_setup.c     header to the START sections
 *   wire_qevm_pages.c     page records on the main and the preempt channel
 *   wire_qevm_multifd.c   packets, workers, synchronisation
 *   wire_qevm_devices.c   VFIO data, device sections, package, description, EOF
 *   wire_qevm_postcopy.c  discards, LISTEN, preempt channel, recovery
 *   wire_qevm_reply.c     the return path
 */
enum {
    QEVM_MULTIFD_MAX = 16,
    QEVM_GUEST_ID = 64, /* section id of the guest's own state */
};

#define QEVM_GUEST_IDSTR "vmstream-guest"

/** What the destination's version and machine type decide (chapter DLC). */
struct qevm_habits {
    bool flush_record;  /* a sync is marked by MULTIFD_FLUSH; else by the EOS of every section */
    bool packet_zeros;  /* zero pages are listed in packets; else ZERO records */
    bool switchover;    /* SWITCHOVER_START */
    bool early_preempt; /* connects during setup, ends with EOS */
    bool loaded_ping;   /* PING 0x42 in the package */
};

struct qevm_config_state; /* of a VFIO device, kept until the device tail */

struct qevm_worker {
    struct qevm *wire;
    struct qevm_out out;
    pthread_t thread;
};

/* CONFIG of a VFIO device goes into the device tail, behind every END. */
struct qevm_config_state {
    struct qevm_config_state *next;
    struct vms_rec_section section;
    size_t len;
    uint8_t bytes[];
};

struct qevm {
    struct src_options options;
    const struct vms_guest *guest;
    struct src_wire_owner owner;
    struct vms_dialect dialect;
    struct qevm_habits habits;
    uint32_t page_size; /* target page */
    struct vms_tls_creds *tls;
    struct vms_cancel *cancel;

    pthread_mutex_t lock; /* channels in place, and all below */
    pthread_cond_t changed;
    bool aborted;

    struct qevm_out main;
    pthread_mutex_t ends; /* of main, while devices end side by side (VDEV-22) */
    bool section;         /* a RAM section is open on main */
    bool stopped;         /* the guest is: devices have END sections from here on */
    bool in_end;          /* one of them is open */
    bool advised;
    bool return_path;
    bool switched; /* SWITCHOVER_START is out */
    bool postcopy; /* from the discards on */
    struct qevm_out package;
    struct qevm_out preempt; /* io NULL: not there */
    struct qevm_config_state *configs;
    size_t guest_len; /* of the guest's own state, bytes */

    /* multifd */
    struct qevm_worker workers[QEVM_MULTIFD_MAX];
    unsigned worker_count;
    unsigned busy; /* workers that send */
    struct src_batch *queue;
    size_t first, queued;
    struct qevm_state *states, **states_end; /* packets of device state that wait */
    size_t state_bytes;
    uint32_t state_index[SRC_DEVICES_MAX]; /* of the next one, by device */
    bool ending;
    struct vms_error failure; /* of a worker */
    _Atomic uint64_t packets;

    /* return path */
    pthread_t reader;
    bool has_reader;
    bool pong;          /* the first PONG has come */
    bool resume_asked;  /* RESUME_ACK is awaited */
    bool requested;     /* a page was */
    bool *bitmap_asked; /* by block */
    size_t bitmaps_missing;
    uint64_t bytes_in; /* of the connections before */
};

/* wire_qevm.c */
/** Opens one more connection. */
enum vms_code qevm_open(struct qevm *q, struct vms_channel **out, struct vms_error *err);
/** Puts a channel in place, under the lock. */
void qevm_attach(struct qevm *q, struct qevm_out *out, struct vms_channel *io);
enum vms_code qevm_put(struct qevm *q, const struct vms_record *rec, struct vms_error *err);
enum vms_code qevm_command(struct qevm *q, enum vms_command command, struct vms_slice payload,
                           struct vms_error *err);
enum vms_code qevm_ping(struct qevm *q, struct qevm_out *out, uint32_t value,
                        struct vms_error *err);
/** Opens a RAM section of that type on main; one that is open is closed before. */
enum vms_code qevm_section(struct qevm *q, enum vms_record_type type, struct vms_error *err);
/** Closes the RAM section that is open, if one is, and writes all to the socket. */
enum vms_code qevm_close_section(struct qevm *q, struct vms_error *err);
/** SWITCHOVER_START, once, where the dialect has it (CMD-15). */
enum vms_code qevm_switchover_start(struct qevm *q, struct vms_error *err);
uint32_t qevm_ram_id(const struct qevm *q);
void qevm_note(struct qevm *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct vms_slice qevm_block_name(const struct qevm *q, uint32_t block);

/* the vtable's members, by file */
enum vms_code qevm_setup(void *ctx, const struct vms_guest *guest, bool postcopy,
                         struct vms_error *err);
enum vms_code qevm_pages(void *ctx, const struct src_batch *batch, struct vms_error *err);
enum vms_code qevm_urgent(void *ctx, const struct src_batch *batch, struct vms_error *err);
enum vms_code qevm_sync(void *ctx, struct vms_error *err);
enum vms_code qevm_flush(void *ctx, struct vms_error *err);
enum vms_code qevm_ram_end(void *ctx, struct vms_error *err);
unsigned qevm_lanes(void *ctx);
enum vms_code qevm_data(void *ctx, uint32_t device, enum src_data_kind kind, struct vms_slice bytes,
                        bool last, struct vms_error *err);
enum vms_code qevm_devices(void *ctx, struct vms_slice guest_state, bool postcopy,
                           struct vms_error *err);
enum vms_code qevm_commit(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err);
void qevm_devices_free(struct qevm *q);
enum vms_code qevm_discard(void *ctx, uint32_t block, const uint64_t *ranges, size_t count,
                           struct vms_error *err);
enum vms_code qevm_listen(void *ctx, struct vms_error *err);
enum vms_code qevm_end(void *ctx, struct vms_error *err);
enum vms_code qevm_reconnect(void *ctx, struct vms_error *err);
enum vms_code qevm_ask_bitmaps(void *ctx, struct vms_error *err);
enum vms_code qevm_resume(void *ctx, struct vms_error *err);

/* wire_qevm_postcopy.c */
enum vms_code qevm_open_preempt(struct qevm *q, struct vms_error *err);

/* wire_qevm_pages.c */
enum vms_code qevm_page_records(struct qevm *q, struct qevm_out *out, const struct src_batch *batch,
                                struct vms_error *err);

/* wire_qevm_multifd.c */
enum vms_code qevm_multifd_start(struct qevm *q, struct vms_error *err);
/* wire_qevm_describe.c */
/** JSON, the caller's to free; NULL: no memory, or what was recorded is none. */
char *qevm_describe(const struct qevm *q);

/* wire_qevm_state.c: device state on multifd channels (VFIO-5 to VFIO-7) */
struct qevm_state;
/** Whether a device's last state goes that way. */
bool qevm_states_on(const struct qevm *q);
/** Copies the bytes; waits for room. config: with its tags; the device's last packet. */
enum vms_code qevm_state_give(struct qevm *q, const struct vms_rec_section *section,
                              uint32_t device, bool config, struct vms_slice bytes,
                              struct vms_error *err);
/** Lock held: the next one, or NULL. */
struct qevm_state *qevm_state_take(struct qevm *q);
/** Sends it, and frees it. */
enum vms_code qevm_state_send(struct qevm *q, struct qevm_out *out, struct qevm_state *state,
                              struct vms_error *err);
void qevm_states_free(struct qevm *q);
/** Lock held: what a caller that waits has to know. */
enum vms_code qevm_multifd_trouble(struct qevm *q, struct vms_error *err);

enum vms_code qevm_multifd_give(struct qevm *q, const struct src_batch *batch,
                                struct vms_error *err);
/** Waits until the workers have sent all, then a SYNC packet on every channel. */
enum vms_code qevm_multifd_sync(struct qevm *q, struct vms_error *err);
enum vms_code qevm_multifd_idle(struct qevm *q, struct vms_error *err);
void qevm_multifd_stop(struct qevm *q);

/* wire_qevm_reply.c */
enum vms_code qevm_reader_start(struct qevm *q, struct vms_error *err);
/** The connection is shut down already, or at its end. */
void qevm_reader_join(struct qevm *q);

#endif
