/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_NATIVE_H
#define REFERENCE_DST_NATIVE_H

#include "host/guest.h"
#include "host/listener.h"
#include "host/ram_image.h"
#include "reference-dst/devices/vdpa.h"
#include "reference-dst/devices/vfio.h"
#include "reference-dst/engine/native.h"

/**
 * One incoming migration on the native wire (chapter MIG), from its first connection to the end:
 * memory, devices, hand-over, postcopy, journal. Returns when the guest is settled: it runs here
 * and is whole, or it never will.
 */

enum dst_native_resolve {
    DST_NATIVE_ASK, /* in doubt: wait for the source */
    DST_NATIVE_OURS,
    DST_NATIVE_THEIRS,
};

struct dst_native_config {
    struct vms_listener *listener; /* borrowed; with deferred handshakes */
    struct vms_channel *first;     /* the first connection, label unread; taken. Or NULL */
    struct vms_slice psk;          /* text of a key file, or empty */
    bool exporter;                 /* without: the secret is TLS's */
    const char *machine;           /* NULL: any */
    struct vms_limits limits;
    int open_ms;      /* to wait for a session; -1: for ever */
    int keepalive_ms; /* our longest silence that is no cut (SES-25); 0: 10 s */
    int resume_ms;    /* to keep a lost session; 0: do not offer to. Postcopy needs it (MIG-20) */

    struct vms_ram_image *image;   /* takes the blocks; borrowed */
    const struct vms_guest *guest; /* whose memory it is; NULL: nobody runs here */

    struct dst_vfio *vfio; /* devices that wait for their state; borrowed. NULL: none */
    struct dst_vdpa *vdpa; /* likewise; the session owns them (dst_vdpa_own) */
    const char *journal;   /* folder; NULL: none is kept */
    bool no_digest, no_postcopy;

    /** A line for logs. */
    void (*note)(void *ctx, const char *text);
    /** Postcopy: a fault was answered after so many nanoseconds, for reports. NULL for none. */
    void (*served)(void *ctx, uint64_t ns);
    /** How far a vDPA device's maps are, for reports; from threads of its own. NULL for none. */
    void (*mapped)(void *ctx, const char *idstr, const struct vms_vdpa_progress *progress);
    /** The machine has changed its state, for reports. From the caller's thread. */
    void (*state)(void *ctx, enum dst_native_state state);
    /** In doubt: asked now and then whether the operator has decided (HND-12). NULL: nobody does.
     */
    enum dst_native_resolve (*order)(void *ctx);
    /**
     * Pages are in their place, and not compared yet: a test may spoil them. memory: of the first
     * page. From any thread; NULL for none.
     */
    void (*applied)(void *ctx, size_t block, uint64_t first, uint64_t count, uint8_t *memory);
    void *ctx;
};

struct dst_native_result {
    enum dst_native_state state; /* COMPLETED, FAILED; IN_DOUBT when ordered to stop there */
    bool guest_runs;
    bool refused; /* it never runs here, and that is durable */
    bool postcopy;
    uint8_t session[16];
    uint64_t pages, zeros, deltas; /* that came */
    uint64_t discarded;            /* pages */
    uint64_t verdict;              /* as of READY */
    uint64_t pages_different;
    int64_t verdict_us; /* that the last comparison took, while the guest stood still */
    uint64_t requests;  /* page requests sent */
    uint64_t bytes_in;
    uint32_t resumes, cuts;
};

struct dst_native_session;

/** NULL and *err: NO_MEMORY and the like. Takes config->first, even then. */
struct dst_native_session *dst_native_new(const struct dst_native_config *config,
                                          struct vms_error *err);
/** Runs to the end. VMS_OK: COMPLETED. Else why it was not. */
enum vms_code dst_native_run(struct dst_native_session *session, struct vms_error *err);
/** From any thread: the operator says who runs the guest (HND-12). */
void dst_native_resolve(struct dst_native_session *session, enum dst_native_resolve resolve);
/** From any thread: gives up as soon as the guest cannot be lost by it. */
void dst_native_cancel(struct dst_native_session *session);
void dst_native_result(struct dst_native_session *session, struct dst_native_result *out);
/** For people, from any thread: the index-th channel in use, from 0: its number, and octets of its
 * frames so far. False: there are not so many. */
bool dst_native_channel(struct dst_native_session *session, unsigned index, uint16_t *number,
                        uint64_t *bytes);
/** Not before dst_native_run() has returned. NULL is allowed. */
void dst_native_free(struct dst_native_session *session);

/**
 * After a restart: answers the source of a session that the journal knows (HND-14) until it has
 * been told, or open_ms are over (TIMEOUT). resolve: an order of the operator, carried out first.
 * Of the configuration image and guest are not looked at.
 */
enum vms_code dst_native_answer(const struct dst_native_config *config, const uint8_t session[16],
                                enum dst_native_resolve resolve, struct dst_native_result *result,
                                struct vms_error *err);

#endif
