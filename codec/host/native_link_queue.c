/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>

/* Who may send when; END; replays. */

/*
 * [RSM-4] Half of what may be kept is anybody's, the other half is shared out to the channels: the
 * peer may be unable to take one channel before it gets something of another (multifd's
 * synchronisation), so that no channel may use up the others' room.
 */
static bool may_keep(const struct vms_native_link *l, uint16_t channel, uint64_t bytes) {
    const struct link_channel *ch = &l->channels[channel];
    uint64_t most = l->config.limits.native_replay_bytes, open = 0;
    for (uint32_t i = 0; i < l->channel_count; i++)
        open += l->channels[i].open;
    if (!ch->queued || l->queued + bytes <= most / 2)
        return true;
    return ch->queued + bytes <= most / 2 / (open ? open : 1) && l->queued + bytes <= most;
}

/* With mutex. Without RESUME nothing is kept, and there is a connection or an error. */
static bool wait_for_room(struct vms_native_link *l, uint16_t channel, uint64_t bytes) {
    bool stalled = false;
    while (!link_failed(l) && !l->over && !may_keep(l, channel, bytes)) {
        l->stats.stalls += !stalled;
        stalled = true;
        pthread_cond_wait(&l->changed, &l->mutex);
    }
    return !link_failed(l) && !l->over;
}

static void pump(struct vms_native_link *l, uint16_t channel, bool more) {
    pthread_mutex_lock(&l->channels[channel].write);
    link_pump(l, channel, more);
    pthread_mutex_unlock(&l->channels[channel].write);
}

/* With mutex. */
static enum vms_code check(struct vms_native_link *l, uint16_t channel, const struct link_frame *f,
                           struct vms_error *err) {
    const struct vms_limits *limits = &l->session.agreement.limits;
    if (channel >= l->channel_count || !l->channels[channel].open)
        return vms_error_set(err, VMS_E_MISUSE, "channel %u is not open", channel);
    if (f->body_len > limits->native_body_bytes || f->bulk_len > limits->native_bulk_bytes)
        return vms_error_set(err, VMS_E_LIMIT, "a frame of %u and %u bytes", f->body_len,
                             f->bulk_len);
    return VMS_OK;
}

/* Takes f. What was queued or gathered before and has not left cannot be acknowledged: it goes
 * first. */
static enum vms_code append(struct vms_native_link *l, uint16_t channel, struct link_frame *f,
                            struct vms_error *err) {
    uint64_t bytes = f->body_len + (uint64_t)f->bulk_len;
    pthread_mutex_lock(&l->mutex);
    enum vms_code code = check(l, channel, f, err);
    if (code == VMS_OK && !may_keep(l, channel, bytes)) {
        pthread_mutex_unlock(&l->mutex);
        pump(l, channel, false);
        pthread_mutex_lock(&l->mutex);
    }
    if (code == VMS_OK && !wait_for_room(l, channel, bytes)) {
        *err = l->error;
        code = err->code ? err->code : vms_error_set(err, VMS_E_MISUSE, "the session is over");
    }
    if (code == VMS_OK)
        link_append(l, channel, f);
    pthread_mutex_unlock(&l->mutex);
    if (code != VMS_OK)
        free(f);
    return code;
}

enum vms_code vms_native_link_queue(struct vms_native_link *l, uint16_t channel,
                                    struct vms_native_out *out, struct vms_error *err) {
    struct link_frame *f =
        link_frame_new(out->frame.header.type, &out->frame, out->bulk, out->bulk_count, false, err);
    return f ? append(l, channel, f, err) : err->code;
}

enum vms_code vms_native_link_send(struct vms_native_link *l, uint16_t channel,
                                   struct vms_native_out *out, struct vms_error *err) {
    enum vms_code code = vms_native_link_queue(l, channel, out, err);
    if (code == VMS_OK)
        pump(l, channel, false);
    return code;
}

enum vms_code vms_native_link_send_pages(struct vms_native_link *l, uint16_t channel,
                                         struct vms_native_out *out, bool more,
                                         struct vms_error *err) {
    struct link_frame *f =
        link_frame_new(out->frame.header.type, &out->frame, out->bulk, out->bulk_count, true, err);
    if (!f || append(l, channel, f, err) != VMS_OK)
        return err->code;
    pump(l, channel, more);
    return VMS_OK;
}

void vms_native_link_flush(struct vms_native_link *l, uint16_t channel) {
    if (channel < l->channel_count)
        pump(l, channel, false);
}

void link_control(struct vms_native_link *l, struct vms_native_frame *frame) {
    struct vms_error err;
    struct link_frame *f = link_frame_new(frame->header.type, frame, NULL, 0, false, &err);
    if (!f)
        return;
    pthread_mutex_lock(&l->channels[0].write);
    pthread_mutex_lock(&l->mutex);
    link_append(l, 0, f);
    pthread_mutex_unlock(&l->mutex);
    link_pump(l, 0, false);
    pthread_mutex_unlock(&l->channels[0].write);
}

/* ---- replay ---- */

struct replay {
    struct vms_native_link *link;
    uint16_t channel;
};

static void *replay_main(void *arg) {
    struct replay r = *(struct replay *)arg;
    free(arg);
    pump(r.link, r.channel, false);
    return NULL;
}

void link_start_replay(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    struct replay *r = malloc(sizeof *r);
    if (!r)
        return;
    *r = (struct replay){l, channel};
    ch->replaying = pthread_create(&ch->replayer, NULL, replay_main, r) == 0;
    if (!ch->replaying)
        free(r);
}

void link_join_replays(struct vms_native_link *l) {
    for (uint32_t i = 0; i < l->channel_count; i++)
        if (l->channels[i].replaying) {
            (void)pthread_join(l->channels[i].replayer, NULL);
            l->channels[i].replaying = false;
        }
}

/* ---- END ---- */

/* With mutex: everything was sent and acknowledged; ACK, PING and PONG do not count (RSM-3). */
static bool all_acknowledged(const struct vms_native_link *l) {
    if (!(l->session.agreement.features & VMS_FEATURE_RESUME))
        return link_all_sent(l, 0);
    for (uint32_t i = 0; i < l->channel_count; i++)
        for (const struct link_frame *f = l->channels[i].head; f; f = f->next)
            if (f->type >= VMS_NATIVE_START || f->type == VMS_NATIVE_END)
                return false;
    return true;
}

enum vms_code vms_native_link_drain(struct vms_native_link *l, struct vms_error *err) {
    pthread_mutex_lock(&l->mutex);
    while (!link_failed(l) && !l->over && !all_acknowledged(l))
        pthread_cond_wait(&l->changed, &l->mutex);
    *err = l->error;
    bool failed = link_failed(l);
    pthread_mutex_unlock(&l->mutex);
    return failed ? err->code : VMS_OK;
}

/* What is kept may be forgotten, so that the accounts tell; without RESUME too. */
enum vms_code vms_native_link_acknowledged(struct vms_native_link *l, uint16_t channel,
                                           struct vms_error *err) {
    if (channel >= l->channel_count)
        return vms_error_set(err, VMS_E_MISUSE, "channel %u", channel);
    const struct vms_session_channel *account = &l->accounts[channel];
    pthread_mutex_lock(&l->mutex);
    while (!link_failed(l) && !l->over &&
           (l->channels[channel].cursor || account->out_acked < account->out_next))
        pthread_cond_wait(&l->changed, &l->mutex);
    *err = l->error;
    bool failed = link_failed(l);
    pthread_mutex_unlock(&l->mutex);
    return failed ? err->code : VMS_OK;
}

enum vms_code vms_native_link_send_end(struct vms_native_link *l, struct vms_error *err) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_END};
    pthread_mutex_lock(&l->mutex);
    while (!link_failed(l) && !l->over && (!link_is_up(l) || !link_all_sent(l, 0)))
        pthread_cond_wait(&l->changed, &l->mutex);
    bool up = link_is_up(l) && !link_failed(l);
    if (up)
        (void)vms_session_event(&l->session, VMS_SES_EV_SEND_END);
    *err = l->error;
    pthread_mutex_unlock(&l->mutex);
    if (!up)
        return err->code ? err->code : vms_error_set(err, VMS_E_MISUSE, "the session is over");
    link_control(l, &f);
    return VMS_OK;
}

enum vms_code vms_native_link_end(struct vms_native_link *l, struct vms_error *err) {
    enum vms_code code = vms_native_link_send_end(l, err);
    return code == VMS_OK ? vms_native_link_drain(l, err) : code;
}

/* ---- up and down ---- */

enum vms_code vms_native_link_wait_up(struct vms_native_link *l, int timeout_ms,
                                      struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(timeout_ms);
    enum vms_code code = VMS_OK;
    pthread_mutex_lock(&l->mutex);
    while (!link_failed(l) && !l->over && !link_is_up(l) && vms_deadline_left(deadline) != 0) {
        struct timespec t = link_after_ms(LINK_TICK_MS);
        (void)pthread_cond_timedwait(&l->changed, &l->mutex, &t);
    }
    if (link_failed(l) || l->over) {
        *err = l->error;
        code = err->code ? err->code : vms_error_set(err, VMS_E_MISUSE, "the session is over");
    } else if (!link_is_up(l)) {
        code = vms_error_set(err, VMS_E_TIMEOUT, "%.150s", l->cut.message);
    }
    pthread_mutex_unlock(&l->mutex);
    return code;
}

void vms_native_link_redirect(struct vms_native_link *l, const struct vms_uri *uri) {
    pthread_mutex_lock(&l->attaching);
    l->uri = *uri;
    pthread_mutex_unlock(&l->attaching);
}

void link_shorten(const struct link_channel *channel) {
    if (channel->keep_short && channel->conn)
        vms_channel_keep_short(channel->conn->io, channel->keep_short);
}

void vms_native_link_keep_short(struct vms_native_link *l, uint16_t channel, unsigned bytes) {
    pthread_mutex_lock(&l->mutex);
    if (channel < l->channel_count) {
        l->channels[channel].keep_short = bytes;
        link_shorten(&l->channels[channel]);
    }
    pthread_mutex_unlock(&l->mutex);
}

uint32_t vms_native_link_resumes(const struct vms_native_link *l) {
    return atomic_load(&l->resumes);
}

uint64_t vms_native_link_channel_bytes(struct vms_native_link *l, uint16_t channel) {
    return channel < l->channel_count ? atomic_load(&l->channels[channel].bytes_out) : 0;
}
