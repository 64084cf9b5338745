/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <poll.h>
#include <stdlib.h>

/* Connections are taken as they come; each finds out by its first bytes what it is (DST-3). */

static void register_channel(struct dst_session *s, struct dst_channel *c) {
    pthread_mutex_lock(&s->lock);
    c->number = (uint32_t)s->channel_count;
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

/* [DST-4] Says what the channel is, or why it cannot be one. */
static const char *classify(struct dst_channel *c, enum vms_qevm_kind kind) {
    struct dst_session *s = c->session;
    const char *why = NULL;
    pthread_mutex_lock(&s->lock);
    c->kind = kind;
    if (kind == VMS_QEVM_MAIN && s->main)
        why = "a second main channel";
    else if (kind == VMS_QEVM_MULTIFD && s->settled)
        why = "a multifd channel after the first synchronisation";
    else if (kind == VMS_QEVM_MAIN)
        s->main = c;
    c->classified = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return why;
}

static enum vms_code sniff(struct dst_channel *c, enum vms_qevm_kind *kind, struct vms_error *err) {
    uint8_t magic[4];
    size_t n = 0;
    enum vms_code code = vms_channel_handshake(c->io, err);
    if (code == VMS_OK)
        code = vms_channel_peek(c->io, (struct vms_room){magic, sizeof magic}, &n, err);
    if (code == VMS_OK)
        *kind = vms_qevm_sniff(vms_slice(magic, n), VMS_QEVM_PREEMPT);
    if (code == VMS_OK && *kind == VMS_QEVM_PREEMPT)
        return vms_error_set(err, n < sizeof magic ? VMS_E_PEER_CLOSED : VMS_E_BAD_MAGIC,
                             "%s begins neither with QEVM nor with multifd's magic",
                             vms_channel_name(c->io));
    return code;
}

static void *channel_thread(void *arg) {
    struct dst_channel *c = arg;
    struct vms_error err = {.channel = c->number};
    enum vms_qevm_kind kind = VMS_QEVM_PREEMPT;
    enum vms_code code = sniff(c, &kind, &err);
    const char *why = classify(c, kind);
    if (code != VMS_OK)
        (void)dst_session_fail(c->session, &err);
    else if (why)
        refuse(c->session, VMS_E_DST_CHANNELS, why);
    else if (kind == VMS_QEVM_MAIN)
        dst_main_channel(c);
    else
        dst_multifd_channel(c);
    pthread_mutex_lock(&c->session->lock);
    c->ended = true;
    pthread_cond_broadcast(&c->session->changed);
    pthread_mutex_unlock(&c->session->lock);
    return NULL;
}

/* Makes a channel of a connection that was just accepted. */
static void adopt(struct dst_session *s, struct vms_channel *io) {
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

void *dst_accept_thread(void *arg) {
    struct dst_session *s = arg;
    struct vms_error err = {0};
    vms_deadline first = vms_deadline_in(s->options->timeout_ms);
    int fd = vms_listener_fd(s->listener);
    for (;;) {
        vms_deadline deadline = s->channel_count ? VMS_NEVER : first;
        enum vms_wait w =
            fd < 0 ? VMS_WAIT_READY : vms_wait_fd(fd, POLLIN, deadline, s->cancel, NULL);
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

static bool all_classified(const struct dst_session *s) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (!s->channels[i]->classified)
            return false;
    return true;
}

static int multifd_count(const struct dst_session *s) {
    int n = 0;
    for (size_t i = 0; i < s->channel_count; i++)
        n += s->channels[i]->kind == VMS_QEVM_MULTIFD;
    return n;
}

/*
 * [DST-4] A source opens all its channels and sends their first SYNC before it sends the first
 * mark, so at the first mark every connection has arrived: those that have not been taken yet wait
 * in the listener's queue.
 */
void dst_settle(struct dst_session *s) {
    struct vms_error err = {0};
    vms_deadline deadline = vms_deadline_in(s->options->timeout_ms);
    int expected = s->options->multifd_channels;
    if (s->settled)
        return;
    while (!vms_listener_is_single(s->listener) && take(s, 0, &err) == VMS_OK)
        ;
    pthread_mutex_lock(&s->lock);
    while (!s->over && (!all_classified(s) || multifd_count(s) < expected))
        if (!dst_wait(s, deadline))
            break;
    s->settled = true;
    bool wrong = expected >= 0 && multifd_count(s) != expected;
    pthread_mutex_unlock(&s->lock);
    if (wrong)
        refuse(s, VMS_E_DST_CHANNELS, "not as many multifd channels as --multifd-channels says");
}
