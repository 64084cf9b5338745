/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/session.h>

/* What was sent, received, acknowledged and kept; END; resumption: clauses SES-20, RSM. */

enum {
    FIRST_EPOCH = 1, /* behind HELLO, whether a frame has used it or not (SES-6) */
};

void vms_session_init(struct vms_session *session, enum vms_native_role role, const uint8_t id[16],
                      struct vms_session_channel *channels, uint32_t channel_count) {
    memset(session, 0, sizeof *session);
    session->role = role;
    memcpy(session->id, id, sizeof session->id);
    session->channels = channels;
    session->channel_count = channel_count;
    session->agreement.limits = vms_limits_default();
}

static enum vms_session_action fail(struct vms_session *s, enum vms_code code, const char *detail) {
    s->state = VMS_SES_FAILED;
    (void)vms_error_set(&s->error, code, detail ? "%s" : NULL, detail);
    return VMS_SES_DO_FAIL;
}

/* [SES-3] What cannot be resumed has failed. */
static bool fatal_cut(const struct vms_session *s, enum vms_session_event event) {
    bool open = s->state == VMS_SES_OPEN || s->state == VMS_SES_ENDED;
    return event == VMS_SES_EV_CUT && open && !(s->agreement.features & VMS_FEATURE_RESUME);
}

static void blame(struct vms_session *s, enum vms_session_action action,
                  enum vms_session_event event, enum vms_session_state before) {
    if (action == VMS_SES_DO_REFUSE)
        (void)vms_error_set(&s->error, VMS_E_SESSION_UNEXPECTED, "in %s",
                            vms_session_state_name(before));
    else if (action == VMS_SES_DO_FAIL && event == VMS_SES_EV_CUT)
        (void)vms_error_set(&s->error, VMS_E_PEER_CLOSED, NULL);
    else if (action == VMS_SES_DO_FAIL && event == VMS_SES_EV_CLOSE)
        (void)vms_error_set(&s->error, VMS_E_SESSION_NO_END, NULL);
}

enum vms_session_action vms_session_event(struct vms_session *session,
                                          enum vms_session_event event) {
    enum vms_session_state before = session->state;
    if (fatal_cut(session, event))
        return fail(session, VMS_E_PEER_CLOSED, NULL);
    enum vms_session_action action =
        vms_session_step(session->role, before, event, &session->state);
    if (!session->error.code)
        blame(session, action, event, before);
    return action;
}

static struct vms_session_channel *channel_of(struct vms_session *s, uint32_t channel) {
    return channel < s->channel_count ? &s->channels[channel] : NULL;
}

static uint32_t higher(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* ---- acknowledgement ---- */

/* [RSM-2] What is acknowledged was sent, and stays acknowledged. */
static bool acknowledges(const struct vms_session_channel *c, uint64_t next) {
    return c && c->out_open && next >= c->out_acked && next <= c->out_next;
}

static enum vms_session_action on_ack(struct vms_session *s, const struct vms_native_ack *ack) {
    for (uint32_t i = 0; i < ack->position_count; i++)
        if (!acknowledges(channel_of(s, ack->positions[i].channel), ack->positions[i].next))
            return fail(s, VMS_E_SESSION_ACK, NULL);
    for (uint32_t i = 0; i < ack->position_count; i++)
        s->channels[ack->positions[i].channel].out_acked = ack->positions[i].next;
    return VMS_SES_DO_NOTHING;
}

bool vms_session_ack_due(const struct vms_session *session) {
    uint64_t quarter = session->agreement.peer_replay_bytes / 4;
    return session->agreement.features & VMS_FEATURE_RESUME && session->untold &&
           session->untold >= quarter;
}

uint32_t vms_session_positions(struct vms_session *session, struct vms_native_position *positions) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < session->channel_count; i++) {
        struct vms_session_channel *c = &session->channels[i];
        if (!c->in_open)
            continue;
        positions[count++] = (struct vms_native_position){(uint16_t)i, c->in_next};
        c->in_told = c->in_next;
    }
    session->untold = 0;
    return count;
}

bool vms_session_may_send(const struct vms_session *session, uint64_t bytes) {
    uint64_t most = session->agreement.limits.native_replay_bytes;
    bool keeps = session->agreement.features & VMS_FEATURE_RESUME;
    if (session->state != VMS_SES_OPEN && session->state != VMS_SES_ENDED)
        return false;
    /* One frame may always go: else one above the bound would wait for ever. */
    return !keeps || !session->kept || (session->kept <= most && bytes <= most - session->kept);
}

void vms_session_sent(struct vms_session *session, const struct vms_native_frame *frame,
                      uint64_t kept) {
    struct vms_session_channel *c = channel_of(session, frame->header.channel);
    if (!c)
        return;
    c->out_open = true;
    session->epoch = higher(session->epoch, frame->header.epoch);
    if (frame->header.type == VMS_NATIVE_REKEY)
        session->epoch = higher(session->epoch, frame->u.epoch);
    if (frame->header.type == VMS_NATIVE_RESUME || frame->header.type == VMS_NATIVE_RESUMED)
        session->epoch = higher(session->epoch, frame->u.resume.epoch);
    if (!frame->header.epoch)
        return;
    if (frame->header.type == VMS_NATIVE_END)
        session->out_end = frame->header.sequence + 1;
    /* [SES-20] The main channel's epoch is that of the last frame before END. */
    if (frame->header.channel || !session->out_end || frame->header.sequence + 1 < session->out_end)
        c->out_epoch = frame->header.epoch;
    if (frame->header.sequence < c->out_next)
        return; /* a replay: its bytes are counted already */
    c->out_next = frame->header.sequence + 1;
    c->out_kept += kept;
    session->kept += kept;
}

void vms_session_forgot(struct vms_session *session, uint16_t channel, uint64_t bytes) {
    struct vms_session_channel *c = channel_of(session, channel);
    if (!c)
        return;
    bytes = bytes < c->out_kept ? bytes : c->out_kept;
    c->out_kept -= bytes;
    session->kept -= bytes;
}

/* ---- resumption ---- */

uint32_t vms_session_next_epoch(const struct vms_session *session) {
    uint32_t epoch = higher(session->epoch, FIRST_EPOCH);
    for (uint32_t i = 0; i < session->channel_count; i++) {
        const struct vms_session_channel *c = &session->channels[i];
        epoch = higher(epoch, higher(c->out_epoch, c->in_epoch));
    }
    return epoch + 1;
}

static bool is_ours(const struct vms_session *s, const struct vms_native_who *who) {
    return memcmp(who->session, s->id, sizeof s->id) == 0;
}

/* The next frame that the peer wants of this channel: 0 when it does not name it. */
static uint64_t wanted(const struct vms_native_resume *r, uint32_t channel) {
    for (uint32_t i = 0; i < r->position_count; i++)
        if (r->positions[i].channel == channel)
            return r->positions[i].next;
    return 0;
}

/* [RSM-9] Everything that the peer lacks is still here. */
static enum vms_code check_wanted(struct vms_session *s, const struct vms_native_resume *r) {
    for (uint32_t i = 0; i < r->position_count; i++) {
        const struct vms_session_channel *c = channel_of(s, r->positions[i].channel);
        if (!c || !c->out_open || r->positions[i].next > c->out_next)
            return VMS_E_SESSION_ACK;
    }
    for (uint32_t i = 0; i < s->channel_count; i++)
        if (s->channels[i].out_open && wanted(r, i) < s->channels[i].out_acked)
            return VMS_E_RESUME_LOST;
    return VMS_OK;
}

/*
 * [RSM-8] A RESUME is measured by what its sender has used, which it knows: what the destination
 * has used may have been lost in the cut, so that it is for the answer to be above that.
 */
static bool epoch_is_stale(const struct vms_session *s, const struct vms_native_frame *frame) {
    bool answer = frame->header.type == VMS_NATIVE_RESUMED;
    uint32_t epoch = frame->u.resume.epoch;
    if (answer)
        return epoch < s->epoch;
    return epoch <= higher(s->peer_epoch, FIRST_EPOCH) || epoch == UINT32_MAX;
}

/* [RSM-16] What END has listed and is not here comes again in another epoch. */
static void expect_again(struct vms_session *s) {
    for (uint32_t i = 1; s->end_known && i < s->channel_count; i++) {
        struct vms_session_channel *c = &s->channels[i];
        c->end_resumed |= c->end_listed && c->in_next < c->end_next;
    }
}

static enum vms_session_action on_resume(struct vms_session *s,
                                         const struct vms_native_frame *frame,
                                         enum vms_session_action action) {
    const struct vms_native_resume *r = &frame->u.resume;
    bool answer = frame->header.type == VMS_NATIVE_RESUMED;
    if (epoch_is_stale(s, frame))
        return fail(s, VMS_E_RESUME_STALE, NULL);
    enum vms_code code = check_wanted(s, r);
    if (code != VMS_OK)
        return fail(s, code, NULL);
    for (uint32_t i = 0; i < s->channel_count; i++)
        if (s->channels[i].out_open)
            s->channels[i].out_acked = wanted(r, i);
    s->epoch = answer ? r->epoch : higher(r->epoch, vms_session_next_epoch(s));
    s->peer_epoch = higher(s->peer_epoch, r->epoch);
    expect_again(s);
    return action;
}

/* ---- END ---- */

/* [SES-20] The main channel's number is END's own. */
static enum vms_session_action on_end(struct vms_session *s, const struct vms_native_frame *frame) {
    const struct vms_native_end *e = &frame->u.end;
    for (uint32_t i = 0; i < e->sent_count; i++) {
        struct vms_session_channel *c = channel_of(s, e->sent[i].channel);
        if (!c)
            return fail(s, VMS_E_SESSION_END, "a channel that was not opened");
        c->end_listed = true;
        c->end_next = e->sent[i].next;
        c->end_epoch = e->sent[i].epoch;
        c->end_resumed = false;
    }
    s->end_known = true;
    const struct vms_session_channel *own = &s->channels[0];
    if (!own->end_listed || own->end_next != frame->header.sequence ||
        own->end_epoch != own->in_epoch)
        return fail(s, VMS_E_SESSION_END, "the main channel");
    return vms_session_end_status(s) == VMS_END_WRONG ? fail(s, VMS_E_SESSION_END, NULL)
                                                      : VMS_SES_DO_NOTHING;
}

enum vms_session_end vms_session_end_status(const struct vms_session *session) {
    bool waiting = false;
    if (!session->end_known)
        return VMS_END_NONE;
    for (uint32_t i = 1; i < session->channel_count; i++) {
        const struct vms_session_channel *c = &session->channels[i];
        uint64_t sent = c->end_listed ? c->end_next : 0;
        bool same_epoch = !c->in_next || c->end_resumed || c->in_epoch == c->end_epoch;
        if (c->in_next > sent || (c->in_open && !c->end_listed) ||
            (c->in_next == sent && !same_epoch))
            return VMS_END_WRONG;
        waiting |= c->in_next < sent || (c->end_listed && !c->in_open);
    }
    return waiting ? VMS_END_WAITING : VMS_END_COMPLETE;
}

uint32_t vms_session_fill_end(const struct vms_session *session, struct vms_native_sent *sent) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < session->channel_count; i++) {
        const struct vms_session_channel *c = &session->channels[i];
        if (c->out_open)
            sent[count++] =
                (struct vms_native_sent){(uint16_t)i, c->out_next, c->out_next ? c->out_epoch : 0};
    }
    return count;
}

/* ---- frames ---- */

/* END tells of the frames before it, so that its own epoch does not count (SES-20). */
static void count_numbered(struct vms_session *s, struct vms_session_channel *c,
                           const struct vms_native_frame *frame, uint64_t bytes) {
    c->in_next = frame->header.sequence + 1;
    if (frame->header.type != VMS_NATIVE_END)
        c->in_epoch = frame->header.epoch;
    s->epoch = higher(s->epoch, frame->header.epoch);
    s->peer_epoch = higher(s->peer_epoch, frame->header.epoch);
    bool idle = frame->header.type == VMS_NATIVE_ACK || frame->header.type == VMS_NATIVE_PING ||
                frame->header.type == VMS_NATIVE_PONG;
    if (!idle)
        s->untold += bytes;
}

/* What every frame does to its channel's account. */
static enum vms_session_action count_in(struct vms_session *s, const struct vms_native_frame *frame,
                                        uint64_t bytes) {
    struct vms_session_channel *c = channel_of(s, frame->header.channel);
    if (!c)
        return fail(s, VMS_E_LIMIT, "native_channels");
    c->in_open = true;
    if (frame->header.epoch)
        count_numbered(s, c, frame, bytes);
    /* [SES-20] A channel that goes on behind what END has listed. */
    if (s->end_known && frame->header.channel && vms_session_end_status(s) == VMS_END_WRONG)
        return fail(s, VMS_E_SESSION_END, NULL);
    return VMS_SES_DO_NOTHING;
}

static enum vms_session_action on_attach(struct vms_session *s,
                                         const struct vms_native_frame *frame) {
    if (!is_ours(s, &frame->u.attach.who))
        return fail(s, VMS_E_SESSION_ID, NULL);
    return VMS_SES_DO_NOTHING;
}

static enum vms_session_action on_abort(struct vms_session *s, const struct vms_native_abort *a,
                                        enum vms_session_action action) {
    if (action == VMS_SES_DO_FAIL)
        (void)vms_error_set(&s->error, VMS_E_SESSION_ABORTED, "%.*s %.*s", (int)a->code.len,
                            (const char *)a->code.ptr, (int)a->message.len,
                            (const char *)a->message.ptr);
    return action;
}

/* [SES-6] */
static enum vms_session_action on_rekey(struct vms_session *s, const struct vms_native_frame *frame,
                                        enum vms_session_action action) {
    if (frame->u.epoch - 1 != frame->header.epoch)
        return fail(s, VMS_E_SEAL_EPOCH, "REKEY to another epoch than the next");
    s->epoch = higher(s->epoch, frame->u.epoch);
    s->peer_epoch = higher(s->peer_epoch, frame->u.epoch);
    return action;
}

/* [NAT-13] What is packed by a method is so by one that is in force. */
static bool pack_in_force(const struct vms_session *s, const struct vms_native_frame *frame) {
    uint64_t features = s->agreement.features;
    switch (frame->unknown ? 0 : frame->header.flags & VMS_NATIVE_PACK_MASK) {
    case 0: return true;
    case 1: return features & VMS_FEATURE_ZSTD;
    default: return features & VMS_FEATURE_ZSTD_DELTA;
    }
}

static enum vms_session_action account(struct vms_session *s, const struct vms_native_frame *frame,
                                       enum vms_session_action action) {
    if (frame->unknown)
        return action;
    switch (frame->header.type) {
    case VMS_NATIVE_ATTACH: return on_attach(s, frame);
    case VMS_NATIVE_RESUME:
    case VMS_NATIVE_RESUMED:
        if (!is_ours(s, &frame->u.resume.who))
            return fail(s, VMS_E_SESSION_ID, NULL);
        return on_resume(s, frame, action);
    case VMS_NATIVE_ACK: return on_ack(s, &frame->u.ack);
    case VMS_NATIVE_END: return on_end(s, frame);
    case VMS_NATIVE_REKEY: return on_rekey(s, frame, action);
    default: return action;
    }
}

enum vms_session_action vms_session_received(struct vms_session *session,
                                             const struct vms_native_frame *frame, uint64_t bytes) {
    struct vms_session *s = session;
    bool failed = s->error.code != VMS_OK;
    enum vms_session_action action = vms_session_event(s, vms_session_frame_event(frame));
    if (frame->header.type == VMS_NATIVE_ABORT && !frame->unknown && !failed)
        return on_abort(s, &frame->u.abort, action);
    if (action == VMS_SES_DO_REFUSE || action == VMS_SES_DO_FAIL || action == VMS_SES_DO_MISUSE)
        return action;
    if (!pack_in_force(s, frame))
        return fail(s, VMS_E_NATIVE_FLAGS, "a pack method that is not in force");
    if (count_in(s, frame, bytes) == VMS_SES_DO_FAIL)
        return VMS_SES_DO_FAIL;
    return account(s, frame, action);
}

/* ---- keep-alive (SES-25) ---- */

enum vms_session_alive vms_session_alive(struct vms_session *session, uint64_t now_ms,
                                         uint32_t own_keepalive_ms, uint64_t *wait_ms) {
    uint64_t peer = session->agreement.keepalive_ms, own = own_keepalive_ms / 2;
    uint64_t silent = now_ms - session->heard_ms, quiet = now_ms - session->said_ms;
    *wait_ms = UINT64_MAX;
    if (peer && silent > peer)
        return VMS_ALIVE_DEAD;
    if (peer)
        *wait_ms = peer - silent + 1;
    if (own && quiet >= own) {
        *wait_ms = 0;
        return VMS_ALIVE_PING;
    }
    if (own && own - quiet < *wait_ms)
        *wait_ms = own - quiet;
    return VMS_ALIVE_FINE;
}
