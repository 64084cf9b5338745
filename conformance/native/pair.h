/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_NATIVE_PAIR_H
#define CONFORMANCE_NATIVE_PAIR_H

#include "reference-dst/native.h"
#include "reference-src/options.h"
#include "reference-src/wire_native.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * The native wire of the source against the native destination, in one process over a socket, with
 * two guests whose memory is compared at the end. The part of the source's engine is played by a
 * script: passes over memory that a thread writes to all the time, then the hand-over.
 */
enum {
    PAIR_PAGE = 4096,
    PAIR_BLOCKS = 2,
};

struct pair;
struct vms_native_link;

struct pair_guest {
    struct vms_guest guest;
    struct vms_guest_block blocks[PAIR_BLOCKS];
    struct pair *pair;
    uint8_t state[64];
    size_t state_len;
    atomic_int running; /* +1 by run, -1 by stop */
    atomic_int announced, locked, loaded;
    bool fail_locks, fail_run;
};

struct pair {
    /* to be set between pair_init() and pair_run() */
    const char *transport; /* "unix", "tcp" */
    struct src_options options;
    struct dst_native_config destination;
    unsigned passes; /* over memory that is written to meanwhile */
    unsigned change; /* bytes of a page that a write changes */
    bool small_ram1; /* leave the second block out of the writer's reach */
    bool postcopy;
    unsigned cuts; /* of connections, at random places */
    bool cut_at_ready, cut_at_commit;
    /* instead of the first pass: what a source must not do */
    void (*misbehave)(struct pair *p, struct vms_native_link *link);
    bool asks; /* the session is gone for good then: an inquiry */

    /* what came of it */
    struct vms_error source_error, destination_error;
    struct dst_native_result result;
    struct src_wire_stats stats;
    enum vms_code source_code, destination_code;
    unsigned cuts_made;
    uint32_t silence_ms; /* that the destination's hello allows itself (SES-25) */
    double seconds;      /* from setup to the end of the first pass */
    double total_seconds;
    uint64_t bytes_sent;

    /* inside */
    char dir[64], uri_text[128];
    struct vms_uri uri;
    struct vms_listener *listener;
    struct pair_guest source, dest;
    struct vms_ram_image *image;
    struct dst_native_session *session;
    struct src_wire wire;
    struct src_wire_owner owner;
    atomic_uchar *dirty[PAIR_BLOCKS]; /* a byte a page */
    atomic_bool writing;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool seen[SRC_EVENT_COUNT];
    struct src_event last[SRC_EVENT_COUNT];
    struct vms_error why;
    struct pair_request {
        uint32_t block;
        uint64_t offset, length;
    } requests[4096];
    size_t request_first, request_count;
    uint8_t *expected[PAIR_BLOCKS]; /* postcopy: what the guest must find */
    atomic_uint wrong;
    pthread_t touchers[2];
    unsigned toucher_count;
    char key_file[128];
};

/* ram0: private, size bytes; ram1: shared, 4 MiB. A quarter zero, the rest of mixed content. */
void pair_init(struct pair *p, uint64_t size);
/* Key file of 32 bytes for both ends; suite of the source. */
void pair_seal(struct pair *p, enum vms_suite suite);
/* Nothing of the guest's memory packs, but differences do. */
void pair_fill_at_random(struct pair *p);
/* The whole migration; what the two ends said is in p. */
void pair_run(struct pair *p);
/* Pages that differ between both guests. */
uint64_t pair_different(const struct pair *p);
void pair_free(struct pair *p);

#endif
