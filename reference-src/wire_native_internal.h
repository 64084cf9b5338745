/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_WIRE_NATIVE_INTERNAL_H
#define REFERENCE_SRC_WIRE_NATIVE_INTERNAL_H

#include "host/native_link.h"
#include "reference-src/options.h"
#include "reference-src/wire_native.h"

#include <pthread.h>
#include <stdatomic.h>
#include <vmstream/pack_zstd.h>

/*
 * The native wire of a source (chapter MIG).
 *
 *   wire_native.c          life                        wire_native_channel.c  queue and worker
 *   wire_native_link.c     connections
 *   wire_native_send.c     main channel: setup,        wire_native_pages.c    pages -> frames
 *                          devices, hand-over          wire_native_back.c     what comes back
 */
enum {
    WN_CHANNELS_MAX = 16,
    WN_PREEMPT = 250,
    WN_QUEUE = 4,              /* jobs that wait for a worker */
    WN_QUEUE_LOW = 1,          /* at which who waits for room wakes up: not for every job */
    WN_PAGE_BITS = 12,         /* the pages of PAGES, whatever the host's are */
    WN_RANGES = 256,           /* of a DISCARD job */
    WN_KNOWN = 128 << 20,      /* bytes of sent versions, all channels */
    WN_DEVICE_BYTES = 1 << 20, /* of one DEVICE frame */
};

enum wn_job_kind {
    WN_BATCH,
    WN_DISCARD,
    WN_MARK, /* all that belongs before START is out (MIG-21) */
};

struct wn_job {
    enum wn_job_kind kind;
    struct src_batch batch; /* BATCH */
    uint32_t block;         /* DISCARD */
    uint32_t range_count;
    struct vms_native_run ranges[WN_RANGES];
};

/* A data channel: jobs go out in their order. */
struct wn_channel {
    struct wire_native *wire;
    uint16_t number;
    bool open;
    bool runs; /* the thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct wn_job *jobs; /* WN_QUEUE of them, a ring */
    unsigned first, count;
    bool busy;
    bool more; /* the worker's: behind the job that it has stands another */

    pthread_mutex_t sending; /* of what follows: the worker, or who sends urgent pages */
    void *zstd_mem, *known_mem, *packer_mem;
    struct vms_known *known;
    struct vms_packer *packer;
    struct vms_level_chooser chooser;
    uint64_t ticket;
    uint32_t generation; /* of the last batch */
    uint32_t resumes;    /* of the link, when `known` was looked at last */
    uint8_t *hashes;     /* of a batch, as DIGEST carries them */
    _Atomic uint64_t pages, zeros;
};

struct wire_native {
    struct src_options options;
    const struct vms_guest *guest;
    struct src_wire_owner told; /* a copy: the caller's may be gone */
    const struct src_wire_owner *owner;
    struct vms_uri uri;
    struct vms_tls_creds *tls;
    struct vms_channel_options channel_options;
    uint8_t *psk;
    size_t psk_len;

    struct vms_native_link *link;
    pthread_mutex_t looking; /* of shown, and held by who looks: nothing is taken apart then */
    bool shown;
    pthread_mutex_t mutex;
    bool started;  /* START was sent: a lost session can still be settled */
    bool inquiry;  /* asks about a session, has none */
    bool hopeless; /* in an inquiry: pages are left here, and no session can take them */
    uint8_t session[16];
    bool failed_told; /* CUT or ABORT was said of this link */
    bool closing, ending;
    pthread_t receiver, ender;
    bool receiver_runs, ender_runs;

    unsigned channel_count, wanted; /* open, and to be */
    struct wn_channel channels[WN_CHANNELS_MAX];
    struct wn_channel preempt;
    bool packs, adaptive, digests;
    bool device_channels; /* [MIG-6] VFIO devices on data channels */
    int level;
    _Atomic uint32_t generation; /* number of the pass (PACK-12) */
    uint64_t *offsets;           /* bytes sent, by device and kind: [device * 4 + kind] */
    struct vms_error error;      /* of a worker; mutex */
};

/* ---- wire_native_link.c ---- */
enum vms_code wn_connect(void *ctx, struct vms_error *err);
enum vms_code wn_reconnect(void *ctx, struct vms_error *err);
enum vms_code wn_ask_bitmaps(void *ctx, struct vms_error *err);
enum vms_code wn_resume(void *ctx, struct vms_error *err);
/* With its channels and threads. */
void wn_drop_link(struct wire_native *w);

/* ---- wire_native_channel.c ---- */
enum vms_code wn_channel_open(struct wire_native *w, struct wn_channel *c, uint16_t number,
                              bool worker, struct vms_error *err);
void wn_channel_close(struct wn_channel *c);
/* Waits for room in the queue; copies. */
enum vms_code wn_channel_put(struct wn_channel *c, const struct wn_job *job, struct vms_error *err);
enum vms_code wn_channel_put_batch(struct wn_channel *c, const struct src_batch *batch,
                                   struct vms_error *err);
/* Waits until nothing is queued or under way. */
enum vms_code wn_channel_drain(struct wn_channel *c, struct vms_error *err);
/* [MIG-10] The channel of a page: by its group, so that all its versions are in order. */
struct wn_channel *wn_channel_of(struct wire_native *w, uint32_t block, uint64_t offset);
/* A worker has failed: every call says so. */
void wn_fail(struct wire_native *w, const struct vms_error *err);
enum vms_code wn_check(struct wire_native *w, struct vms_error *err);

/* ---- wire_native_pages.c ---- */
enum vms_code wn_send_batch(struct wn_channel *c, const struct src_batch *batch,
                            struct vms_error *err);
enum vms_code wn_send_job(struct wn_channel *c, const struct wn_job *job, struct vms_error *err);
enum vms_code wn_packer_make(struct wn_channel *c, struct vms_error *err);
void wn_packer_free(struct wn_channel *c);

/* ---- wire_native_back.c ---- */
void *wn_receiver(void *wire);

/* ---- wire_native_send.c ---- */
enum vms_code wn_setup(void *ctx, const struct vms_guest *guest, bool postcopy,
                       struct vms_error *err);
enum vms_code wn_data(void *ctx, uint32_t device, enum src_data_kind kind, struct vms_slice bytes,
                      bool last, struct vms_error *err);
unsigned wn_lanes(void *ctx);
enum vms_code wn_devices(void *ctx, struct vms_slice guest_state, bool postcopy,
                         struct vms_error *err);
enum vms_code wn_switchover(void *ctx, uint32_t device, uint64_t generation, bool grant,
                            struct vms_error *err);
enum vms_code wn_start(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err);
enum vms_code wn_commit(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err);
enum vms_code wn_end(void *ctx, struct vms_error *err);
enum vms_code wn_flush(void *ctx, struct vms_error *err);

#endif
