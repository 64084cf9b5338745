/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

/* Frames in: what they mean for the session, and which of them the user gets. */

/* ---- control frames; with mutex ---- */

static bool is_idle(const struct vms_native_frame *f) {
    return f->header.type == VMS_NATIVE_ACK || f->header.type == VMS_NATIVE_PING ||
           f->header.type == VMS_NATIVE_PONG;
}

/* [RSM-5] Sooner than need be, so that a sender that shares its room out never waits for long, and
 * what it has lent (RSM-15) it fills again while the processor's cache has it. */
static void call_for_ack(struct vms_native_link *l, const struct vms_native_frame *f) {
    uint64_t share = l->session.agreement.peer_replay_bytes / 64;
    l->idle_frames += is_idle(f);
    l->ack_now |= f->header.type == VMS_NATIVE_END || l->idle_frames >= LINK_IDLE_FRAMES ||
                  (l->session.untold && l->session.untold >= share);
    if (l->ack_now)
        pthread_cond_signal(&l->work);
}

/* [SES-20] The transcript is over what came before END. */
static enum vms_code on_end(struct link_conn *c, struct vms_error *err) {
    uint8_t have[VMS_SHA256_BYTES];
    if (vms_transcript_value(&c->transcript, have, err) != VMS_OK)
        return err->code;
    if (memcmp(have, c->event.native.frame->u.end.transcript, sizeof have) != 0)
        return vms_error_set(err, VMS_E_SESSION_END, "the transcript differs");
    return VMS_OK;
}

static enum vms_code transcribe(struct link_conn *c, struct vms_error *err) {
    const struct vms_native_event *ev = &c->event.native;
    bool wanted = c->link->config.role == VMS_ROLE_DESTINATION && c->channel == 0 &&
                  ev->frame->header.type != VMS_NATIVE_END;
    return wanted ? vms_transcript_frame(&c->transcript, ev->header, ev->tag, err) : VMS_OK;
}

static enum vms_code on_rekey(struct link_conn *c, struct vms_error *err) {
    const struct vms_native_frame *f = c->event.native.frame;
    return vms_opener_rekey(&c->opener, c->link->session.agreement.suite,
                            c->secret_len ? c->master : NULL, f->u.epoch, f->header.sequence + 1,
                            err);
}

static void on_ack(struct vms_native_link *l) {
    for (uint16_t i = 0; i < l->channel_count; i++)
        link_forget(l, i);
    pthread_cond_broadcast(&l->changed);
}

static void on_pong(struct vms_native_link *l, uint64_t value) {
    uint64_t now = (uint64_t)link_now_us();
    if (value && value <= now)
        l->stats.rtt_us = (int64_t)(now - value);
}

static enum vms_code act(struct link_conn *c, struct vms_error *err) {
    struct vms_native_link *l = c->link;
    const struct vms_native_frame *f = c->event.native.frame;
    switch (f->unknown ? 0 : f->header.type) {
    case VMS_NATIVE_ACK: on_ack(l); return VMS_OK;
    case VMS_NATIVE_REKEY: return on_rekey(c, err);
    case VMS_NATIVE_END: return on_end(c, err);
    case VMS_NATIVE_PONG:
        l->farewell_heard |= l->farewell && f->u.value >= l->farewell; /* or a later one's */
        on_pong(l, f->u.value);
        return VMS_OK;
    case VMS_NATIVE_PING:
        l->pong_due = true;
        l->pong = f->u.value;
        l->farewell_due |= l->end_place && l->accounts[0].out_acked >= l->end_place;
        pthread_cond_broadcast(&l->changed);
        pthread_cond_signal(&l->work);
        return VMS_OK;
    default: return VMS_OK;
    }
}

void link_read_out(struct vms_native_link *l) {
    struct vms_error ignored;
    if (vms_session_end_status(&l->session) != VMS_END_COMPLETE)
        return;
    for (uint32_t i = 1; i < l->channel_count; i++)
        if (l->channels[i].conn)
            (void)vms_channel_shutdown(l->channels[i].conn->io, VMS_SHUT_READ, &ignored);
}

enum vms_code link_take(struct link_conn *c, struct vms_error *err) {
    struct vms_native_link *l = c->link;
    const struct vms_native_event *ev = &c->event.native;
    uint64_t bytes = VMS_NATIVE_HEADER + ev->body.len + ev->frame->header.bulk_len + ev->tag.len;
    enum vms_session_action a = vms_session_received(&l->session, ev->frame, bytes);
    if (a == VMS_SES_DO_FAIL || a == VMS_SES_DO_REFUSE || a == VMS_SES_DO_MISUSE) {
        *err = l->session.error;
        return err->code;
    }
    l->session.heard_ms = (uint64_t)link_now_ms();
    l->stats.frames_in++;
    call_for_ack(l, ev->frame);
    if (c->channel != 0 || ev->frame->header.type == VMS_NATIVE_END)
        link_read_out(l);
    enum vms_code code = transcribe(c, err);
    return code == VMS_OK ? act(c, err) : code;
}

/* ---- receiving ---- */

/* What the user gets. */
static bool is_wanted(const struct vms_native_link *l, const struct vms_native_frame *f) {
    uint32_t type = f->header.type;
    if (f->unknown)
        return false;
    return type >= VMS_NATIVE_RECORDS ||
           (l->config.handover && (type >= VMS_NATIVE_START || type == VMS_NATIVE_END));
}

/* The connection to read from, waiting for one; NULL: the session is over or has failed. */
static struct link_conn *current(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    struct link_conn *old = NULL;
    pthread_mutex_lock(&l->mutex);
    while (!link_failed(l) && !l->over && !ch->conn)
        pthread_cond_wait(&l->changed, &l->mutex);
    struct link_conn *c = link_failed(l) || l->over ? NULL : ch->conn;
    if (c && c != ch->reading) {
        old = ch->reading;
        ch->reading = link_conn_ref(c);
    }
    pthread_mutex_unlock(&l->mutex);
    link_conn_put(l, old);
    return c;
}

/* A frame from a connection that is not used any more will come again (RSM-7). */
static enum vms_code take(struct link_conn *c, bool *mine, struct vms_error *err) {
    struct vms_native_link *l = c->link;
    enum vms_code code = VMS_OK;
    pthread_mutex_lock(&l->mutex);
    *mine = l->channels[c->channel].conn == c;
    if (*mine) {
        code = link_take(c, err);
        if (code == VMS_E_SESSION_ABORTED)
            link_fail_locked(l, err);
    }
    pthread_mutex_unlock(&l->mutex);
    return code;
}

/* [SES-20] Behind a complete END a channel's connection may go as it likes. */
static bool is_complete(struct vms_native_link *l, uint16_t channel) {
    pthread_mutex_lock(&l->mutex);
    bool complete = channel != 0 && vms_session_end_status(&l->session) == VMS_END_COMPLETE;
    pthread_mutex_unlock(&l->mutex);
    return complete;
}

/* The connection ended inside a frame. */
static bool has_begun_another(struct link_conn *c) {
    return vms_intake_finish(c->intake, &c->event) != VMS_NATIVE_STEP_END;
}

/* [SES-29] Octets of a frame that END does not list. */
static bool goes_on(struct link_conn *c, struct vms_error *why) {
    if (!has_begun_another(c))
        return false;
    (void)vms_error_set(why, VMS_E_SESSION_END, "channel %u goes on", c->channel);
    return true;
}

static bool still_used(struct vms_native_link *l, const struct link_conn *c) {
    pthread_mutex_lock(&l->mutex);
    bool used = l->channels[c->channel].conn == c;
    pthread_mutex_unlock(&l->mutex);
    return used;
}

static enum vms_code give_up(struct vms_native_link *l, const struct vms_error *why,
                             struct vms_error *err) {
    vms_native_link_abort(l, why);
    pthread_mutex_lock(&l->mutex);
    *err = l->error;
    pthread_mutex_unlock(&l->mutex);
    return err->code;
}

/* True: *code is the answer. */
static bool step(struct vms_native_link *l, struct link_conn *c,
                 struct vms_native_link_event *event, enum vms_code *code, struct vms_error *err) {
    struct vms_error why = {.clause = ""};
    bool mine;
    enum link_read got = link_conn_read(c, &why);
    *code = VMS_OK;
    if (got == LINK_READ_CUT) {
        if (is_complete(l, c->channel)) {
            if (still_used(l, c) && goes_on(c, &why))
                *code = give_up(l, &why, err);
            return true;
        }
        c->torn = c->channel == 0 && has_begun_another(c);
        link_lost(l, c, c->channel == 0, &why);
        return false;
    }
    if (got == LINK_READ_BAD && !still_used(l, c))
        return false;
    if (got == LINK_READ_BAD || take(c, &mine, &why) != VMS_OK) {
        *code = give_up(l, &why, err);
        return true;
    }
    if (!mine || !is_wanted(l, c->event.native.frame))
        return false;
    *event = (struct vms_native_link_event){c->event.native.frame, c->event.bulk, c->event.placed};
    return true;
}

enum vms_code vms_native_link_receive(struct vms_native_link *l, uint16_t channel,
                                      struct vms_native_link_event *event, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    *event = (struct vms_native_link_event){.frame = NULL};
    if (channel >= l->channel_count)
        return vms_error_set(err, VMS_E_MISUSE, "channel %u", channel);
    for (;;) {
        struct link_conn *c = current(l, channel);
        if (!c)
            break;
        if (step(l, c, event, &code, err))
            return code;
    }
    pthread_mutex_lock(&l->mutex);
    if (link_failed(l))
        *err = l->error;
    code = link_failed(l) ? l->error.code : VMS_OK;
    pthread_mutex_unlock(&l->mutex);
    return code;
}
