/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <poll.h>
#include <stdlib.h>
#include <vmstream/native.h>

/* Connections are taken as they come; each finds out by its first bytes what it is (DST-3). */

enum {
    SILENT_MS = 500, /* that a multifd channel's first packet may be late */
};

static void register_channel(struct dst_session *s, struct dst_channel *c) {
    pthread_mutex_lock(&s->lock);
    c->number = s->connections++;
    c->generation = s->generation;
    s->channels[s->channel_count++] = c;
    if (!s->stats.times.connected)
        s->stats.times.connected = dst_now_ms();
    pthread_mutex_unlock(&s->lock);
}

static void refuse(struct dst_session *s, enum vms_code code, const char *what) {
    struct vms_error err = {0};
    (void)vms_error_set(&err, code, "%s", what);
    (void)dst_session_fail(s, &err);
}

/* ---- what a connection is ---- */

enum arrival {
    ARRIVAL_NONE, /* nothing: it was closed before it said anything, or may not be what it says */
    ARRIVAL_MAIN,
    ARRIVAL_MULTIFD,
    ARRIVAL_PREEMPT,
    ARRIVAL_RECOVERY,
};

struct first_bytes {
    uint8_t bytes[4];
    size_t n;
};

/* Postcopy: a preempt channel may be silent for ever. */
static bool may_be_silent(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    bool may = s->engine.advised && s->main;
    pthread_mutex_unlock(&s->lock);
    return may;
}

static bool runs_here(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    bool runs = dst_engine_runs(s->engine.state) || s->engine.state == DST_COMPLETED;
    pthread_mutex_unlock(&s->lock);
    return runs;
}

static enum vms_code first_bytes(struct dst_channel *c, struct first_bytes *f,
                                 struct vms_error *err) {
    struct vms_room room = {f->bytes, sizeof f->bytes};
    enum vms_code code = vms_channel_handshake(c->io, err);
    if (code != VMS_OK)
        return code;
    do
        code = vms_channel_peek(c->io, room, &f->n, err);
    while (code == VMS_E_TIMEOUT && (may_be_silent(c->session) || runs_here(c->session)));
    return code;
}

/*
 * [HOST-9] [REC-1] [DST-18] A recovery begins with a command. What begins with the top of a page's
 * offset, 0, while a connection is awaited is what the preempt channel of the old one had sent
 * last. What ended without an octet may be that of a recovery that was cut: it takes nobody's seat.
 */
static enum arrival without_magic(const struct dst_channel *c, const struct first_bytes *f) {
    const struct dst_session *s = c->session;
    bool record = f->bytes[0] != 0;
    if (f->n == 0)
        return ARRIVAL_NONE;
    if (record && (s->broken || dst_engine_runs(s->engine.state)))
        return ARRIVAL_RECOVERY;
    if (s->broken || c->generation != s->generation)
        return ARRIVAL_NONE;
    return s->engine.advised || !s->main ? ARRIVAL_PREEMPT : ARRIVAL_NONE;
}

static enum arrival arrival_of(const struct dst_channel *c, const struct first_bytes *f) {
    switch (vms_qevm_sniff(vms_slice(f->bytes, f->n), VMS_QEVM_PREEMPT)) {
    case VMS_QEVM_MAIN: return ARRIVAL_MAIN;
    case VMS_QEVM_MULTIFD: return ARRIVAL_MULTIFD;
    default: return without_magic(c, f);
    }
}

/* [DST-4] NULL, or why it cannot be one. Lock held. */
static const char *admit(struct dst_channel *c, enum arrival kind) {
    struct dst_session *s = c->session;
    if (kind == ARRIVAL_MAIN && s->first)
        return "a second main channel";
    if (kind == ARRIVAL_MULTIFD && s->settled)
        return "a multifd channel after the first synchronisation";
    if (kind == ARRIVAL_PREEMPT && s->preempt)
        return "a second preempt channel";
    c->generation = s->generation;
    if (kind == ARRIVAL_MAIN) {
        s->first = c;
        dst_reply_to(s, c);
    }
    if (kind == ARRIVAL_PREEMPT)
        s->preempt = c;
    return NULL;
}

static const char *classify(struct dst_channel *c, const struct first_bytes *f,
                            enum arrival *kind) {
    static const enum vms_qevm_kind kinds[] = {
        [ARRIVAL_NONE] = VMS_QEVM_PREEMPT,      [ARRIVAL_MAIN] = VMS_QEVM_MAIN,
        [ARRIVAL_MULTIFD] = VMS_QEVM_MULTIFD,   [ARRIVAL_PREEMPT] = VMS_QEVM_PREEMPT,
        [ARRIVAL_RECOVERY] = VMS_QEVM_RECOVERY,
    };
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    *kind = arrival_of(c, f);
    c->kind = kinds[*kind];
    const char *why = admit(c, *kind);
    c->classified = *kind != ARRIVAL_RECOVERY; /* that is dst_recover()'s */
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return why;
}

/* [PRE-3] An empty preempt channel is none; before that a stream has to begin with its magic. */
static enum vms_code check_first(struct dst_channel *c, const struct first_bytes *f,
                                 enum arrival kind, struct vms_error *err) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    bool advised = s->engine.advised;
    pthread_mutex_unlock(&s->lock);
    if (kind == ARRIVAL_MAIN || kind == ARRIVAL_MULTIFD || advised)
        return VMS_OK;
    return vms_error_set(err, f->n < sizeof f->bytes ? VMS_E_PEER_CLOSED : VMS_E_BAD_MAGIC,
                         "%s begins neither with QEVM nor with multifd's magic",
                         vms_channel_name(c->io));
}

static void live(struct dst_channel *c, enum arrival kind) {
    struct vms_error ignored;
    switch (kind) {
    case ARRIVAL_MAIN: dst_main_channel(c); break;
    case ARRIVAL_MULTIFD: dst_multifd_channel(c); break;
    case ARRIVAL_PREEMPT: dst_preempt_channel(c); break;
    case ARRIVAL_RECOVERY:
        if (dst_recover(c))
            dst_main_channel(c);
        break;
    case ARRIVAL_NONE: (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored); break;
    }
}

/* [DST-18] A guest that runs does not fall with a connection that nobody has asked for. */
static void turn_away(struct dst_channel *c, enum vms_code code, const char *why,
                      const struct vms_error *err) {
    struct vms_error ignored;
    if (runs_here(c->session)) {
        dst_say(c->session, "turned a connection away: %s", why ? why : err->message);
        (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored);
    } else if (why) {
        refuse(c->session, code, why);
    } else {
        (void)dst_session_fail(c->session, err);
    }
}

/* The label of the native wire (NAT-1), on the very first connection. */
static bool is_native(struct dst_channel *c, const struct first_bytes *f) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    bool native = s->channel_count == 1 && s->channels[0] == c && f->n == sizeof f->bytes &&
                  memcmp(f->bytes, vms_native_label, f->n) == 0;
    if (native) { /* from here on the native session takes the connections */
        s->native_runs = true;
        s->native_thread = pthread_self();
        s->channel_count = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return native;
}

static void live_native(struct dst_channel *c) {
    struct dst_session *s = c->session;
    struct vms_channel *io = c->io;
    free(c);
    dst_native_live(s, io);
}

static void *channel_thread(void *arg) {
    struct dst_channel *c = arg;
    struct vms_error err = {.channel = c->number};
    struct first_bytes f = {.n = 0};
    enum arrival kind = ARRIVAL_NONE;
    enum vms_code code = first_bytes(c, &f, &err);
    if (code == VMS_OK && is_native(c, &f)) {
        live_native(c);
        return NULL;
    }
    const char *why = classify(c, &f, &kind);
    if (code == VMS_OK)
        code = check_first(c, &f, kind, &err);
    if (code != VMS_OK || why)
        turn_away(c, VMS_E_DST_CHANNELS, code == VMS_OK ? why : NULL, &err);
    else
        live(c, kind);
    pthread_mutex_lock(&c->session->lock);
    c->ended = true;
    pthread_cond_broadcast(&c->session->changed);
    pthread_mutex_unlock(&c->session->lock);
    return NULL;
}

/* Makes a channel of a connection that was just accepted. */
static void adopt(struct dst_session *s, struct vms_channel *io) {
    dst_prune(s);
    struct dst_channel *c = s->channel_count < DST_CHANNELS_MAX ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        (void)vms_channel_close(io, NULL);
        refuse(s, VMS_E_DST_CHANNELS, "too many connections");
        return;
    }
    c->session = s;
    c->io = io;
    c->section = SIZE_MAX;
    register_channel(s, c);
    if (pthread_create(&c->thread, NULL, channel_thread, c) != 0) {
        c->thread = pthread_self();
        c->classified = c->ended = true;
        refuse(s, VMS_E_NO_MEMORY, "a thread");
    }
}

/* Takes one connection if there is one within timeout_ms. */
static enum vms_code take(struct dst_session *s, int timeout_ms, struct vms_error *err) {
    struct vms_channel *io;
    pthread_mutex_lock(&s->accepting);
    enum vms_code code = vms_listener_accept(s->listener, timeout_ms, &io, err);
    if (code == VMS_OK)
        adopt(s, io);
    pthread_mutex_unlock(&s->accepting);
    return code;
}

static bool is_native_session(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    bool native = s->native_runs;
    pthread_mutex_unlock(&s->lock);
    return native;
}

void *dst_accept_thread(void *arg) {
    struct dst_session *s = arg;
    struct vms_error err = {0};
    vms_deadline first = vms_deadline_in(s->options->timeout_ms);
    int fd = vms_listener_fd(s->listener);
    for (;;) {
        pthread_mutex_lock(&s->lock);
        vms_deadline deadline = s->channel_count ? VMS_NEVER : first;
        pthread_mutex_unlock(&s->lock);
        enum vms_wait w =
            fd < 0 ? VMS_WAIT_READY : vms_wait_fd(fd, POLLIN, deadline, s->cancel, NULL);
        if (is_native_session(s))
            return NULL;
        if (w == VMS_WAIT_TIMEOUT)
            refuse(s, VMS_E_TIMEOUT, "no source has connected");
        if (w != VMS_WAIT_READY)
            return NULL;
        enum vms_code code = take(s, fd < 0 ? -1 : 0, &err);
        if (code == VMS_E_TIMEOUT)
            continue; /* the barrier took it */
        if (code != VMS_OK)
            (void)dst_session_fail(s, &err);
        if (code != VMS_OK || fd < 0)
            return NULL;
    }
}

/*
 * With postcopy the last connection may be a preempt channel, which says nothing (PRE-1, HOST-11):
 * it is given a moment. Were it a late multifd channel, it would be refused later on (DST-4).
 */
static bool all_classified(const struct dst_session *s, bool patient) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (!s->channels[i]->classified &&
            (patient || !s->engine.advised || i + 1 < s->channel_count))
            return false;
    return true;
}

static int multifd_count(const struct dst_session *s) {
    int n = 0;
    for (size_t i = 0; i < s->channel_count; i++)
        n += s->channels[i]->kind == VMS_QEVM_MULTIFD;
    return n;
}

void dst_take_waiting(struct dst_session *s) {
    struct vms_error err = {0};
    while (!vms_listener_is_single(s->listener) && take(s, 0, &err) == VMS_OK)
        ;
}

/*
 * [DST-4] A source opens all its channels and sends their first SYNC before it sends the first
 * mark, so at the first mark every connection has arrived: those that have not been taken yet wait
 * in the listener's queue.
 */
void dst_settle(struct dst_session *s) {
    /* [HOST-10] Sooner than those that say nothing are given up, and the migration with them. */
    int timeout = s->options->timeout_ms;
    vms_deadline deadline = vms_deadline_in(timeout < 0 ? timeout : timeout / 2);
    int expected = s->options->multifd_channels;
    if (s->settled)
        return;
    dst_take_waiting(s);
    vms_deadline patience = vms_deadline_in(SILENT_MS);
    pthread_mutex_lock(&s->lock);
    while (!s->over && !all_classified(s, true) && dst_wait(s, patience))
        ;
    while (!s->over && (!all_classified(s, false) || multifd_count(s) < expected))
        if (!dst_wait(s, deadline))
            break;
    s->settled = true;
    bool wrong = expected >= 0 && multifd_count(s) != expected;
    pthread_mutex_unlock(&s->lock);
    if (wrong)
        refuse(s, VMS_E_DST_CHANNELS, "not as many multifd channels as --multifd-channels says");
}

enum vms_code dst_need_multifd(struct dst_session *s, struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    bool none = multifd_count(s) == 0;
    pthread_mutex_unlock(&s->lock);
    return none ? vms_error_set(err, VMS_E_DST_UNEXPECTED, "MULTIFD_FLUSH without multifd channels")
                : VMS_OK;
}
