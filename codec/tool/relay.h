/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_RELAY_H
#define VMSTREAM_TOOL_RELAY_H

#include "host/listener.h"
#include "host/native_link.h"
#include "tool/psk_text.h"
#include "tool/tool.h"

#include <pthread.h>
#include <stdatomic.h>

/**
 * `vmstream relay` (spec/03.5-relay.md): QEMU's connections on one side, a native session on the
 * other. Each connection of QEMU's is a lane, which is one channel of the session.
 *
 *   relay.c          the run, its end           relay_options.c  the command line
 *   relay_source.c   QEMU -> native: lanes      relay_up.c       octets of QEVM -> frames
 *   relay_dest.c     native -> QEMU: lanes      relay_down.c     frames -> octets of QEVM
 *   relay_report.c   progress, report           relay_pass.c     QEVM on both sides
 */
enum relay_wire {
    RELAY_QEVM,
    RELAY_NATIVE,
};

struct relay_options {
    const char *listen, *connect;
    enum relay_wire listen_wire, connect_wire;
    const char *seal, *pack, *psk, *identity, *tls_creds, *report, *dialect_text;
    int level; /* VMS_LEVEL_NONE: nothing is packed */
    uint32_t suite;
    bool has_suite, quiet;
    int resume_ms, keepalive_ms, wait_ms;
    struct vms_dialect dialect;
    struct vms_limits limits;
};

enum {
    RELAY_LANES = 256,
    RELAY_MULTIFD_MAX = 199,
    RELAY_PREEMPT = 250,
    RELAY_RECOVERY = 251,
    RELAY_BUFFER = 256 * 1024,
    RELAY_OPEN_MS = 10000,
    RELAY_SILENT_MS = 500, /* of a connection that has no magic to send: QEMU's preempt channel */
};

struct relay;

/** One connection of QEMU's. */
struct relay_lane {
    struct relay *relay;
    uint16_t channel;
    enum vms_qevm_kind kind;
    struct vms_channel *qemu;   /* NULL: not connected yet */
    struct vms_channel *onward; /* QEVM on both sides: the other one */
    pthread_t thread, reverse;
    bool runs, reverse_runs;
    bool open, over;                       /* mutex */
    _Atomic uint64_t bytes, reverse_bytes; /* of QEVM */
};

struct relay {
    struct relay_options options;
    struct psk_text psk;
    struct vms_uri listen_uri, connect_uri;
    struct vms_tls_creds *server_creds, *client_creds;
    struct vms_cancel *cancel;
    struct vms_listener *listener;
    struct vms_native_link *link;
    struct vms_channel_options qemu_options;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct relay_lane lanes[RELAY_LANES];
    pthread_mutex_t arrivals;        /* held while one is accepted; before mutex */
    pthread_t starting[RELAY_LANES]; /* source: one for each connection that came */
    unsigned started;
    unsigned arriving;         /* accepted, and not yet connected at the other end */
    atomic_bool listen_coming; /* LISTEN is held back: what is silent is the preempt channel */
    unsigned recoveries;       /* recovery connections so far */
    unsigned rp_read;          /* destination: return paths that QEMU has ended */
    unsigned rp_ended;         /* those whose end was passed on, in their order */
    bool linked, done;
    bool failed;
    struct vms_error error;
    struct vms_cancel *interrupt; /* raised by a signal */

    /* what the stream has shown; learn is held while the main channel is decoded */
    pthread_mutex_t learn;
    struct vms_qevm_decoder *main_decoder;
    atomic_bool postcopy, shut_seen;
    int64_t started_ms;
    atomic_bool shown, watch_stop;
};

/* relay_options.c */
int relay_options_read(int argc, char **argv, struct relay_options *out, bool *help);
void relay_help(void);

/* relay.c */
void relay_fail(struct relay *r, const struct vms_error *why);
bool relay_failed(struct relay *r);
void relay_announce(struct relay *r);
/** Sleeps, at most ms, until something changes. */
void relay_wait(struct relay *r, int ms);
void relay_say(struct relay *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* relay_source.c, relay_dest.c: run to the end; the error is in the relay. */
void relay_run_source(struct relay *r);
void relay_run_destination(struct relay *r);
void relay_attached(void *ctx, uint16_t channel, uint32_t kind);
/** A connection is on its way no more: it is connected at the other end, or was dropped. */
void relay_arrived(struct relay *r);
/** [RLY-15] Before LISTEN goes on: waits until all connections that QEMU has made by now are
 * connected at the other end. */
enum vms_code relay_hold_listen(struct relay *r, struct vms_error *err);

/* relay_up.c: reads a connection to its end and sends it. VMS_OK: at its end in good order, or one
 * that a recovery can follow. */
enum vms_code relay_up(struct relay *r, struct vms_channel *from, uint16_t channel,
                       enum vms_qevm_kind kind, bool known, _Atomic uint64_t *bytes,
                       struct vms_error *err);

/* relay_pass.c: QEVM on both sides. Runs a lane to its end, both ways. */
enum vms_code relay_pass_lane(struct relay_lane *lane, bool known, struct vms_error *err);

/* relay_down.c */
struct relay_down;
struct relay_down *relay_down_new(struct relay *r, uint16_t channel, enum vms_qevm_kind kind);
void relay_down_free(struct relay_down *d);
/** Writes what the frame stands for. *last: the channel is over. */
enum vms_code relay_down_frame(struct relay_down *d, struct vms_channel *to,
                               const struct vms_native_link_event *ev, _Atomic uint64_t *bytes,
                               bool *last, struct vms_error *err);

/* relay_report.c */
void relay_progress(struct relay *r);
void relay_progress_end(struct relay *r);
int relay_write_report(struct relay *r, int status);
int64_t relay_now_ms(void);

#endif
