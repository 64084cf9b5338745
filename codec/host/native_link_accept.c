/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

/* The destination's half of opening, joining and resuming. */

static bool ours(const struct vms_native_link *l, const struct vms_native_who *who) {
    return who->role == VMS_ROLE_SOURCE &&
           memcmp(who->session, l->session.id, sizeof who->session) == 0;
}

static void install_main(struct vms_native_link *l, struct link_conn *c, uint32_t epoch) {
    struct link_channel *ch = &l->channels[0];
    uint32_t silence = l->session.agreement.keepalive_ms;
    pthread_mutex_lock(&ch->write);
    pthread_mutex_lock(&l->mutex);
    memcpy(l->master, c->master, sizeof l->master);
    l->base_epoch = epoch;
    vms_channel_set_timeouts(c->io, silence ? (int)silence : -1, -1);
    link_rewind(l, 0);
    ch->open = true;
    ch->conn = link_conn_ref(c);
    link_shorten(ch);
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->mutex);
    pthread_mutex_unlock(&ch->write);
}

static enum vms_code session_takes(struct vms_native_link *l, const struct vms_native_frame *f,
                                   struct vms_error *err) {
    enum vms_session_action a = vms_session_received(&l->session, f, 0);
    bool bad = a == VMS_SES_DO_FAIL || a == VMS_SES_DO_REFUSE || a == VMS_SES_DO_MISUSE;
    if (bad)
        *err = l->session.error;
    return bad ? err->code : VMS_OK;
}

/* ---- HELLO ---- */

static enum vms_code answer_hello(struct vms_native_link *l, struct link_conn *c, uint32_t *device,
                                  struct vms_error *err) {
    const struct vms_native_frame *peer = c->event.native.frame;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    struct vms_agreement agreement;
    if (peer->header.type != VMS_NATIVE_HELLO)
        return vms_error_set(err, VMS_E_SESSION_ID, "no session is open");
    memcpy(l->session.id, peer->u.hello.who.session, sizeof l->session.id);
    if (link_begin_hello(c, random, err) != VMS_OK)
        return err->code;
    l->config.inquiry = peer->u.hello.form == VMS_FORM_INQUIRY;
    if (l->config.inquiry && !l->config.hello)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "no inquiries are answered here");
    link_fill_hello(l, &f.u.hello, random);
    if (vms_session_negotiate(&f.u.hello, &peer->u.hello, link_has_secret(l), &l->config.limits,
                              &agreement, err) != VMS_OK ||
        (l->config.hello &&
         l->config.hello(l->config.ctx, &peer->u.hello, device, err) != VMS_OK) ||
        session_takes(l, peer, err) != VMS_OK || link_transcribe_hello(c, err) != VMS_OK ||
        link_send_hello(c, &f, err) != VMS_OK)
        return err->code;
    l->session.agreement = agreement;
    vms_session_sent(&l->session, &f, 0);
    if (link_make_master(c, peer->u.hello.who.random, random, err) != VMS_OK)
        return err->code;
    return link_set_keys(c, 1, true, true, err);
}

/* A refused HELLO must leave nothing behind: the next one is the first again. */
static void reset_session(struct vms_native_link *l) {
    static const uint8_t no_id[16];
    vms_session_init(&l->session, VMS_ROLE_DESTINATION, no_id, l->accounts, l->channel_count);
    memset(l->accounts, 0, l->channel_count * sizeof *l->accounts);
}

static void refuse(struct vms_native_link *l, struct link_conn *c, const struct vms_error *why,
                   uint32_t device) {
    pthread_mutex_lock(&l->mutex);
    l->refused = *why;
    pthread_mutex_unlock(&l->mutex);
    link_note(l, "refused %.80s: %s (%s)", vms_channel_name(c->io), why->message, why->clause);
    if (why->class_ != VMS_CLASS_LOCAL || why->code == VMS_E_SEAL_NO_KEY)
        link_refuse(c, why, device);
}

static enum vms_code accept_conn(struct vms_native_link *l, int timeout_ms, struct link_conn **out,
                                 struct vms_error *err) {
    struct vms_channel *io = l->config.first;
    struct vms_error ignored;
    l->config.first = NULL;
    if (!io && vms_listener_accept(l->config.listener, timeout_ms, &io, err) != VMS_OK)
        return err->code;
    vms_channel_set_timeouts(io, l->config.handshake_ms, l->config.handshake_ms);
    enum vms_code code = vms_channel_handshake(io, err);
    if (code == VMS_OK) {
        *out = link_conn_new(l, io, 0, err);
        return *out ? VMS_OK : err->code;
    }
    link_note(l, "refused %.80s: %s", vms_channel_name(io), err->message);
    (void)vms_channel_close(io, &ignored);
    return vms_error_set(err, VMS_E_TLS, NULL);
}

static bool open_one(struct vms_native_link *l, struct link_conn *c) {
    struct vms_error err = {.clause = ""};
    uint32_t device = UINT32_MAX;
    enum vms_code code = link_read_hello(c, &err);
    if (code == VMS_OK)
        code = answer_hello(l, c, &device, &err);
    if (code == VMS_OK) {
        install_main(l, c, 1);
    } else {
        refuse(l, c, &err, device);
        reset_session(l);
    }
    link_conn_put(l, c);
    return code == VMS_OK;
}

enum vms_code link_open_destination(struct vms_native_link *l, struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(l->config.open_ms);
    for (;;) {
        struct link_conn *c = NULL;
        enum vms_code code = accept_conn(l, vms_deadline_left(deadline), &c, err);
        if (code == VMS_OK && open_one(l, c))
            return VMS_OK;
        if (code != VMS_OK && code != VMS_E_TLS && code != VMS_E_PEER_CLOSED)
            return code;
        if (vms_listener_is_single(l->config.listener)) {
            *err = l->refused;
            return err->code ? err->code : code;
        }
    }
}

/* ---- ATTACH ---- */

/* One that comes late, for a time that is past, does no harm. */
static bool attach_is_due(const struct vms_native_link *l, const struct vms_native_frame *f) {
    uint16_t channel = f->header.channel;
    return link_is_up(l) && ours(l, &f->u.attach.who) && channel < l->channel_count &&
           f->u.attach.epoch >= l->base_epoch && !l->channels[channel].conn;
}

static enum vms_code on_attach(struct vms_native_link *l, struct link_conn *c, bool *first,
                               struct vms_error *err) {
    const struct vms_native_frame *f = c->event.native.frame;
    struct link_channel *ch = &l->channels[f->header.channel];
    if (!attach_is_due(l, f))
        return vms_error_set(err, VMS_E_SESSION_ID, "no such session waits for this channel");
    if (session_takes(l, f, err) != VMS_OK) {
        link_fail_locked(l, err);
        return err->code;
    }
    memcpy(c->master, l->master, sizeof c->master);
    if (link_set_keys(c, f->u.attach.epoch, false, true, err) != VMS_OK)
        return err->code;
    vms_channel_set_timeouts(c->io, -1, -1);
    *first = !ch->open;
    ch->open = true;
    ch->kind = f->u.attach.kind;
    ch->conn = link_conn_ref(c);
    link_shorten(ch);
    link_read_out(l);
    pthread_cond_broadcast(&l->changed);
    return VMS_OK;
}

/* ---- RESUME ---- */

/* A repeated one, or one of another session, must not disturb the session (SES-4). */
static bool resume_is_due(const struct vms_native_link *l, const struct vms_native_frame *f) {
    return ours(l, &f->u.resume.who) && !l->over && f->u.resume.epoch > l->session.peer_epoch;
}

/* [RSM-6] Nothing more is read from the old connections. */
static enum vms_code begin_resume(struct vms_native_link *l, struct link_conn *c,
                                  struct vms_native_resume *answer,
                                  struct vms_native_position *positions, struct vms_error *err) {
    const struct vms_native_frame *f = c->event.native.frame;
    pthread_mutex_lock(&l->mutex);
    enum vms_code code = VMS_OK;
    if (link_failed(l))
        code = (*err = l->error).code; /* SES-24: who did not get our ABORT learns it now */
    else if (!(l->session.agreement.features & VMS_FEATURE_RESUME)) /* NAT-42 */
        code = vms_error_set(err, VMS_E_SESSION_UNEXPECTED, "RESUME is not in force");
    else if (!resume_is_due(l, f))
        code = vms_error_set(err, VMS_E_RESUME_STALE, NULL);
    if (code == VMS_OK) {
        link_drop_conns(l);
        code = session_takes(l, f, err);
        if (code != VMS_OK)
            link_fail_locked(l, err);
    }
    if (code == VMS_OK) {
        answer->epoch = l->session.epoch; /* RSM-8 */
        answer->position_count = vms_session_positions(&l->session, positions);
        answer->positions = positions;
    }
    pthread_mutex_unlock(&l->mutex);
    return code;
}

static enum vms_code on_resume(struct vms_native_link *l, struct link_conn *c,
                               struct vms_error *err) {
    struct vms_native_position positions[256];
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RESUMED};
    const struct vms_native_who *peer = &c->event.native.frame->u.resume.who;
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    link_join_replays(l);
    if (link_begin_hello(c, random, err) != VMS_OK ||
        begin_resume(l, c, &f.u.resume, positions, err) != VMS_OK)
        return err->code;
    f.u.resume.who = link_who(l, random);
    pthread_mutex_lock(&l->mutex);
    vms_session_sent(&l->session, &f, 0);
    pthread_mutex_unlock(&l->mutex);
    enum vms_code code = link_transcribe_hello(c, err);
    if (code == VMS_OK)
        code = link_send_hello(c, &f, err);
    if (code == VMS_OK)
        code = link_make_master(c, peer->random, random, err);
    if (code == VMS_OK)
        code = link_set_keys(c, f.u.resume.epoch, true, true, err);
    if (code != VMS_OK) {
        link_lost(l, NULL, true, err);
        return code;
    }
    link_tell(l); /* before any frame that comes by the new connection, START say, is heard of */
    install_main(l, c, f.u.resume.epoch);
    link_start_replay(l, 0);
    pthread_mutex_lock(&l->mutex);
    l->stats.resumes++;
    pthread_mutex_unlock(&l->mutex);
    atomic_fetch_add(&l->resumes, 1);
    link_note(l, "the link is back");
    return VMS_OK;
}

/* ---- a connection while a session is open ---- */

/*
 * [HND-14] Whoever asks has given the old connections up. While they live this may be an old HELLO
 * that somebody repeats; once the link is lost the session ends, and the next inquiry is answered.
 */
static enum vms_code on_inquiry(struct vms_native_link *l, struct link_conn *c,
                                struct vms_error *err) {
    const struct vms_native_frame *f = c->event.native.frame;
    struct vms_error why = {.clause = ""};
    pthread_mutex_lock(&l->mutex);
    bool asks = l->config.handover && f->u.hello.form == VMS_FORM_INQUIRY &&
                ours(l, &f->u.hello.who) && link_is_lost(l);
    (void)vms_error_set(&why, VMS_E_PEER_CLOSED, "the source asks about the session");
    if (asks)
        link_fail_locked(l, &why);
    pthread_mutex_unlock(&l->mutex);
    return vms_error_set(err, VMS_E_SESSION_ID,
                         asks ? "ask again" : "another session is open here");
}

static enum vms_code join(struct vms_native_link *l, struct link_conn *c, struct vms_error *err) {
    const struct vms_native_frame *f = c->event.native.frame;
    bool first = false;
    switch (f->header.type) {
    case VMS_NATIVE_ATTACH: break;
    case VMS_NATIVE_RESUME: return on_resume(l, c, err);
    case VMS_NATIVE_HELLO: return on_inquiry(l, c, err);
    default: return vms_error_set(err, VMS_E_SESSION_ID, "another session is open here");
    }
    pthread_mutex_lock(&l->mutex);
    enum vms_code code = on_attach(l, c, &first, err);
    pthread_mutex_unlock(&l->mutex);
    if (code == VMS_OK && first && l->config.attached)
        l->config.attached(l->config.ctx, c->channel, l->channels[c->channel].kind);
    return code;
}

/*
 * [MOD-9] What could not be taken for want of memory may have been a channel of the session, for
 * which nobody shall wait for ever. With RESUME the source, whose connection is gone, comes again.
 */
static void give_up_starved(struct vms_native_link *l, const struct vms_error *err) {
    pthread_mutex_lock(&l->mutex);
    if (vms_native_link_starves(err->code) && link_is_up(l) &&
        !(l->session.agreement.features & VMS_FEATURE_RESUME))
        link_fail_locked(l, err);
    pthread_mutex_unlock(&l->mutex);
}

void link_accept_one(struct vms_native_link *l, int timeout_ms) {
    struct vms_error err = {.clause = ""};
    struct link_conn *c = NULL;
    if (accept_conn(l, timeout_ms, &c, &err) != VMS_OK) {
        give_up_starved(l, &err);
        return;
    }
    enum vms_code code = link_read_hello(c, &err);
    if (code == VMS_OK)
        code = join(l, c, &err);
    if (code != VMS_OK) {
        refuse(l, c, &err, UINT32_MAX);
        give_up_starved(l, &err);
    }
    link_conn_put(l, c);
}
