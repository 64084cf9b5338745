/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_NATIVE_LINK_H
#define VMSTREAM_HOST_NATIVE_LINK_H

#include "host/channel.h"
#include "host/listener.h"
#include <vmstream/native.h>
#include <vmstream/session.h>
#include <vmstream/transcode.h>

/**
 * One end of a live session of the native wire (spec/03.1-session.md): a connection for the main
 * channel and one for each further channel, sealed, kept alive, resumed when they are cut. What may
 * come when is decided by vmstream/session.h; here are sockets, keys, kept frames and time.
 *
 * Threads: of each channel one thread may send while another receives; any thread may look at the
 * statistics, abort or close. The link has two threads of its own: one makes (source) or takes
 * (destination) connections, one sends what the peer waits for: ACK, PONG, PING. A receiver never
 * sends, so that a full connection in one direction cannot stop the other.
 *
 * Memory is bounded by limits: native_replay_bytes of frames that are not acknowledged, and for
 * each channel a decoder with its bulk and at most 4 MiB where frames are sealed. On UNIX sockets
 * the kernel reads them there; on others, and where it does not, they are copied.
 */
struct vms_native_link;

struct vms_native_link_config {
    enum vms_native_role role;
    const struct vms_uri *uri;                 /* source: where to connect; copied */
    const struct vms_channel_options *options; /* source: TLS credentials and the like; copied */
    struct vms_listener *listener;             /* destination: borrowed; with deferred handshakes */
    struct vms_channel *first; /* destination: the first connection, taken, label unread; or NULL */

    const uint32_t *suites; /* in order of preference; copied. NULL: all that the secret allows */
    size_t suite_count;
    struct vms_slice psk;      /* text of a key file (SEAL-19); copied. Empty: no such secret */
    struct vms_slice identity; /* source: which key; empty: the first */
    bool exporter;             /* without a key file: the secret is TLS's (SEAL-11) */

    struct vms_limits limits;
    uint64_t features; /* VMS_FEATURE_… besides RESUME and QEVM, which are offered always */
    uint64_t features_needed; /* beside QEVM */
    struct vms_slice machine; /* for the HELLO; copied, may be empty */
    uint32_t keepalive_ms;    /* 0: 10 s */
    int open_ms;              /* destination: to wait for a session; -1: for ever */
    int handshake_ms;         /* 0: 10 s; for connecting and for the hellos each */
    int resume_ms;            /* 0: do not offer RESUME (RSM-11) */

    /**
     * Destination: a channel has joined. On a thread of the link's that takes connections, so it
     * must not wait. kind: of ATTACH. May be NULL.
     */
    void (*attached)(void *ctx, uint16_t channel, uint32_t kind);

    /* ---- an end that migrates a guest by itself (MIG, HND) ---- */
    /**
     * Hand-over frames, REQUEST, GRANT and END come out of receive() too, and the source's going
     * away is a cut until RUNNING or NOT_STARTED was sent and has arrived.
     */
    bool handover;
    bool packed; /* receive() gives bulk as on the wire: the caller unpacks */
    const struct vms_native_device *devices; /* source: for the HELLO; copied, names too */
    uint32_t device_count;
    bool inquiry;        /* source: ask about a session (HND-14) instead of opening one */
    uint8_t session[16]; /* of that */
    /**
     * The peer's HELLO, authentic; destination: before it is answered, and may be refused (NAT-49);
     * device is then named in the ABORT, UINT32_MAX: none. May be NULL.
     */
    enum vms_code (*hello)(void *ctx, const struct vms_native_hello *peer, uint32_t *device,
                           struct vms_error *err);
    /**
     * Where the bulk of a frame of class DATA may be put before its tag has come (NAT-19, MIG-15):
     * up to max rooms, together as long as it is on the wire; 0: nowhere, receive() gives it. On
     * the receiving thread. The frame, if it proves authentic, comes next out of receive(),
     * `placed`; if not the session has failed, or is cut and it comes again. May be NULL.
     */
    size_t (*place)(void *ctx, uint16_t channel, const struct vms_native_frame *frame,
                    struct vms_room *rooms, size_t max);
    /** The session is cut (why), or resumed. From any thread, without locks; may be NULL. */
    void (*changed)(void *ctx, bool up, const struct vms_error *why);
    /** A line for logs: refused connections, cuts, resumptions. From any thread. May be NULL. */
    void (*note)(void *ctx, const char *text);
    void *ctx;
};

/** VMS_ROLE_SOURCE, default limits with bulk of 1 MiB, 60 s to resume. */
struct vms_native_link_config vms_native_link_config_default(void);

/** NULL and *err on failure: NO_MEMORY, SEAL_PSK_FILE, SEAL_PSK_IDENTITY, SEAL_CRYPTO, MISUSE. */
struct vms_native_link *vms_native_link_new(const struct vms_native_link_config *config,
                                            struct vms_error *err);
/** Closes what is open, without a word to the peer. No other thread may use it then. NULL is fine.
 */
void vms_native_link_free(struct vms_native_link *link);

/**
 * Source: connects and exchanges hellos. Destination: waits for the first connection that opens a
 * session; others are refused, noted, and do no harm. VMS_OK, or what went wrong: a refusal by the
 * peer is SESSION_ABORTED with its reason.
 */
enum vms_code vms_native_link_open(struct vms_native_link *link, struct vms_error *err);
/** What both ends agreed on. After vms_native_link_open(). */
const struct vms_agreement *vms_native_link_agreement(const struct vms_native_link *link);
/** The session id, 16 bytes. */
const uint8_t *vms_native_link_session_id(const struct vms_native_link *link);
/** Destination: the reason of the last refused connection; code VMS_OK: none was. */
struct vms_error vms_native_link_refused(struct vms_native_link *link);

/** Source: opens a channel of that number (1 and up), once for each. */
enum vms_code vms_native_link_attach(struct vms_native_link *link, uint16_t channel, uint32_t kind,
                                     struct vms_error *err);

/**
 * Sends a frame of class DATA, its bulk packed already if it says so; everything is copied. Waits
 * while too much is unacknowledged (RSM-4); while the link is cut it keeps what it may. The
 * session's error once it has failed.
 */
enum vms_code vms_native_link_send(struct vms_native_link *link, uint16_t channel,
                                   struct vms_native_out *out, struct vms_error *err);

/** As vms_native_link_send(), but may wait for the next frame of this channel, which the caller
 * sends at once: both leave in one piece. */
enum vms_code vms_native_link_queue(struct vms_native_link *link, uint16_t channel,
                                    struct vms_native_out *out, struct vms_error *err);

/**
 * As vms_native_link_send(), of PAGES that are not packed; their bulk is not copied but read where
 * it lies, when the frame is sealed, and again if it has to be sent again (RSM-13). It must stay
 * there until the session is over; a guest may write to it meanwhile.
 * more: the caller sends a frame of this channel again at once, or says vms_native_link_flush();
 * the end of this one may leave together with that.
 */
enum vms_code vms_native_link_send_pages(struct vms_native_link *link, uint16_t channel,
                                         struct vms_native_out *out, bool more,
                                         struct vms_error *err);

/** What `more` held back leaves. A connection that fails meanwhile is found by whoever sends next.
 */
void vms_native_link_flush(struct vms_native_link *link, uint16_t channel);

struct vms_native_link_event {
    const struct vms_native_frame *frame; /* authentic; NULL: the session is over, in good order */
    struct vms_slice bulk;                /* unpacked */
    bool placed;                          /* it is where place() said */
};
/**
 * The next DATA frame of a channel. It holds until the next call for this channel. Whatever is
 * received counts as acted on, and may be acknowledged at once.
 */
enum vms_code vms_native_link_receive(struct vms_native_link *link, uint16_t channel,
                                      struct vms_native_link_event *event, struct vms_error *err);

/**
 * Source: everything was sent, on all channels. Sends END and waits until it is acknowledged, all
 * before it too. The other direction stays open: go on receiving on channel 0.
 */
enum vms_code vms_native_link_end(struct vms_native_link *link, struct vms_error *err);
/** Waits until the peer has acknowledged all that was sent on a channel, its ATTACH included. */
enum vms_code vms_native_link_acknowledged(struct vms_native_link *link, uint16_t channel,
                                           struct vms_error *err);
/** As end(), without waiting. */
enum vms_code vms_native_link_send_end(struct vms_native_link *link, struct vms_error *err);
/**
 * Waits at most timeout_ms (-1: for ever) for the session to be up. VMS_OK; TIMEOUT; the session's
 * error once it has failed.
 */
enum vms_code vms_native_link_wait_up(struct vms_native_link *link, int timeout_ms,
                                      struct vms_error *err);
/** Source: where to connect from now on. */
void vms_native_link_redirect(struct vms_native_link *link, const struct vms_uri *uri);
/** How often the session was resumed. Cheap. */
uint32_t vms_native_link_resumes(const struct vms_native_link *link);
/** Bytes on the wire of a channel, out; the caller's own frames only. */
uint64_t vms_native_link_channel_bytes(struct vms_native_link *link, uint16_t channel);
/** As vms_channel_keep_short(), for this channel's connection now and those that follow it. */
void vms_native_link_keep_short(struct vms_native_link *link, uint16_t channel, unsigned bytes);
/** Waits until the peer has acknowledged all that was sent. */
enum vms_code vms_native_link_drain(struct vms_native_link *link, struct vms_error *err);
/** After END: the session is over. Receivers get the end. Source: tells the peer so. */
void vms_native_link_close(struct vms_native_link *link);
/** Fails the session and tells the peer why, if it can at once (SES-23). */
void vms_native_link_abort(struct vms_native_link *link, const struct vms_error *why);
/** A call of that code wanted for memory (MOD-9): cryptography that lacks it just fails. */
static inline bool vms_native_link_starves(enum vms_code code) {
    return code == VMS_E_NO_MEMORY || code == VMS_E_SEAL_CRYPTO;
}

struct vms_native_link_stats {
    uint64_t bytes_out, bytes_in; /* on the link, all connections, hellos included */
    uint64_t frames_out, frames_in;
    uint64_t resends;  /* frames sent more than once */
    uint64_t kept;     /* bytes kept for replay now */
    uint64_t kept_max; /* and at most so far */
    uint32_t resumes;  /* resumptions */
    uint32_t rekeys;
    uint32_t stalls; /* times that a sender waited for ACK */
    int64_t rtt_us;  /* of the last PING; -1: none yet */
};
struct vms_native_link_stats vms_native_link_stats(struct vms_native_link *link);

#endif
