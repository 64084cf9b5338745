/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

/* Opening a session, joining channels, resuming: both ends. */

/* ---- common ---- */

static bool keyed(const struct vms_native_link *l) {
    return link_has_secret(l);
}

/* The peer's silence is judged on the main channel alone; writing waits as long as it must. */
static void go_live(struct link_conn *c) {
    uint32_t silence = c->link->session.agreement.keepalive_ms;
    bool main_channel = c->channel == 0;
    vms_channel_set_timeouts(c->io, main_channel && silence ? (int)silence : -1, -1);
}

/* conn's reference goes to the channel; one that was cut again meanwhile is of no use. */
static void install(struct vms_native_link *l, struct link_conn *c) {
    struct link_channel *ch = &l->channels[c->channel];
    pthread_mutex_lock(&ch->write);
    pthread_mutex_lock(&l->mutex);
    struct link_conn *unused = c;
    if (link_is_up(l)) {
        go_live(c);
        link_rewind(l, c->channel);
        ch->open = true;
        unused = ch->conn;
        ch->conn = c;
        link_shorten(ch);
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->mutex);
    pthread_mutex_unlock(&ch->write);
    link_conn_put(l, unused);
}

enum vms_code link_connect(struct vms_native_link *l, uint16_t channel, struct link_conn **out,
                           struct vms_error *err) {
    struct vms_channel *io = NULL;
    if (vms_channel_connect(&l->uri, &l->options, &io, err) != VMS_OK)
        return err->code;
    *out = link_conn_new(l, io, channel, err);
    return *out ? VMS_OK : err->code;
}

static void note_sent(struct vms_native_link *l, const struct vms_native_frame *f) {
    pthread_mutex_lock(&l->mutex);
    vms_session_sent(&l->session, f, 0);
    pthread_mutex_unlock(&l->mutex);
}

/* What the peer said goes into the session's table. */
static enum vms_code received(struct vms_native_link *l, const struct vms_native_frame *f,
                              struct vms_error *err) {
    pthread_mutex_lock(&l->mutex);
    enum vms_session_action a = vms_session_received(&l->session, f, 0);
    bool bad = a == VMS_SES_DO_FAIL || a == VMS_SES_DO_REFUSE || a == VMS_SES_DO_MISUSE;
    if (bad)
        *err = l->session.error;
    pthread_mutex_unlock(&l->mutex);
    return bad ? err->code : VMS_OK;
}

static void remember_keys(struct vms_native_link *l, const struct link_conn *c, uint32_t epoch) {
    memcpy(l->master, c->master, sizeof l->master);
    l->base_epoch = epoch;
}

/* ---- source: HELLO ---- */

static enum vms_code hello_exchange(struct vms_native_link *l, struct link_conn *c,
                                    struct vms_error *err) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    if (link_begin_hello(c, random, err) != VMS_OK)
        return err->code;
    link_fill_hello(l, &f.u.hello, random);
    (void)vms_session_event(&l->session, VMS_SES_EV_OPEN);
    if (link_send_hello(c, &f, err) != VMS_OK || link_read_hello(c, err) != VMS_OK)
        return err->code;
    note_sent(l, &f);
    const struct vms_native_frame *answer = c->event.native.frame;
    if (received(l, answer, err) != VMS_OK)
        return err->code;
    uint32_t device = UINT32_MAX;
    if (vms_session_negotiate(&f.u.hello, &answer->u.hello, keyed(l), &l->config.limits,
                              &l->session.agreement, err) != VMS_OK ||
        (l->config.hello &&
         l->config.hello(l->config.ctx, &answer->u.hello, &device, err) != VMS_OK) ||
        link_transcribe_hello(c, err) != VMS_OK ||
        link_make_master(c, random, answer->u.hello.who.random, err) != VMS_OK)
        return err->code;
    return link_set_keys(c, 1, true, true, err);
}

enum vms_code link_open_source(struct vms_native_link *l, struct vms_error *err) {
    struct link_conn *c = NULL;
    if (link_connect(l, 0, &c, err) != VMS_OK)
        return err->code;
    vms_channel_set_timeouts(c->io, l->config.handshake_ms, l->config.handshake_ms);
    enum vms_code code = hello_exchange(l, c, err);
    if (code != VMS_OK) {
        link_conn_put(l, c);
        return code;
    }
    remember_keys(l, c, 1);
    install(l, c);
    return VMS_OK;
}

/* ---- source: ATTACH ---- */

static enum vms_code attach_exchange(struct vms_native_link *l, struct link_conn *c, uint32_t kind,
                                     struct vms_error *err) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ATTACH};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    vms_channel_set_timeouts(c->io, l->config.handshake_ms, l->config.handshake_ms);
    if (link_begin_hello(c, random, err) != VMS_OK)
        return err->code;
    f.u.attach = (struct vms_native_attach){
        .who = link_who(l, random), .kind = kind, .epoch = l->base_epoch};
    if (link_send_hello(c, &f, err) != VMS_OK)
        return err->code;
    memcpy(c->master, l->master, sizeof c->master);
    note_sent(l, &f);
    return link_set_keys(c, l->base_epoch, true, false, err);
}

static enum vms_code attach_one(struct vms_native_link *l, uint16_t channel, struct link_conn **out,
                                struct vms_error *err) {
    enum vms_code code = link_connect(l, channel, out, err);
    if (code != VMS_OK)
        return code;
    vms_channel_send_room((*out)->io, LINK_SEND_ROOM);
    code = attach_exchange(l, *out, l->channels[channel].kind, err);
    if (code != VMS_OK)
        link_conn_put(l, *out);
    return code;
}

/* A cut while it joins is healed as any other: the channel is then attached with the rest. */
enum vms_code vms_native_link_attach(struct vms_native_link *l, uint16_t channel, uint32_t kind,
                                     struct vms_error *err) {
    struct link_channel *ch = &l->channels[channel];
    struct link_conn *c = NULL;
    if (!channel || channel >= l->channel_count || ch->open)
        return vms_error_set(err, VMS_E_MISUSE, "channel %u", channel);
    if (channel >= l->session.agreement.limits.native_channels) /* [NAT-48] */
        return vms_error_set(err, VMS_E_LIMIT, "channel %u of a peer that takes fewer", channel);
    pthread_mutex_lock(&l->attaching);
    pthread_mutex_lock(&l->mutex);
    ch->kind = kind;
    ch->open = true;
    l->accounts[channel].out_open = true;
    bool up = link_is_up(l), failed = link_failed(l);
    if (failed)
        *err = l->error;
    pthread_mutex_unlock(&l->mutex);
    enum vms_code code = failed ? err->code : up ? attach_one(l, channel, &c, err) : VMS_OK;
    if (code == VMS_OK && c)
        install(l, c);
    pthread_mutex_unlock(&l->attaching);
    if (code != VMS_OK && !failed && l->config.resume_ms) {
        link_lost(l, NULL, true, err);
        code = VMS_OK;
    }
    return code;
}

/* ---- source: RESUME ---- */

static enum vms_code resume_exchange(struct vms_native_link *l, struct link_conn *c,
                                     struct vms_error *err) {
    struct vms_native_position positions[256];
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RESUME};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    if (link_begin_hello(c, random, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&l->mutex);
    (void)vms_session_event(&l->session, VMS_SES_EV_RECONNECT);
    f.u.resume =
        (struct vms_native_resume){link_who(l, random), vms_session_next_epoch(&l->session),
                                   vms_session_positions(&l->session, positions), positions};
    pthread_mutex_unlock(&l->mutex);
    note_sent(l, &f);
    if (link_send_hello(c, &f, err) != VMS_OK || link_read_hello(c, err) != VMS_OK)
        return err->code;
    const struct vms_native_frame *answer = c->event.native.frame;
    uint32_t epoch = answer->u.resume.epoch;
    if (received(l, answer, err) != VMS_OK)
        return err->code;
    if (link_transcribe_hello(c, err) != VMS_OK ||
        link_make_master(c, random, answer->u.resume.who.random, err) != VMS_OK ||
        link_set_keys(c, epoch, true, true, err) != VMS_OK)
        return err->code;
    remember_keys(l, c, epoch);
    return VMS_OK;
}

/* All channels are attached before any is replayed: the peer's QEMU may wait for any of them. */
static enum vms_code attach_all(struct vms_native_link *l, struct link_conn **conns,
                                struct vms_error *err) {
    for (uint16_t i = 1; i < l->channel_count; i++)
        if (l->channels[i].open && attach_one(l, i, &conns[i], err) != VMS_OK) {
            conns[i] = NULL;
            return err->code;
        }
    return VMS_OK;
}

static enum vms_code resume_all(struct vms_native_link *l, struct link_conn **conns,
                                struct vms_error *err) {
    if (link_connect(l, 0, &conns[0], err) != VMS_OK)
        return err->code;
    vms_channel_set_timeouts(conns[0]->io, l->config.handshake_ms, l->config.handshake_ms);
    if (resume_exchange(l, conns[0], err) != VMS_OK)
        return err->code;
    return attach_all(l, conns, err);
}

static void undo(struct vms_native_link *l, struct link_conn **conns) {
    for (uint32_t i = 0; i < l->channel_count; i++)
        link_conn_put(l, conns[i]);
    pthread_mutex_lock(&l->mutex);
    if (!link_failed(l))
        (void)vms_session_event(&l->session, VMS_SES_EV_CUT);
    pthread_mutex_unlock(&l->mutex);
}

enum vms_code link_resume_source(struct vms_native_link *l, struct vms_error *err) {
    struct link_conn *conns[256] = {NULL};
    link_join_replays(l);
    pthread_mutex_lock(&l->attaching);
    enum vms_code code = resume_all(l, conns, err);
    if (code != VMS_OK)
        undo(l, conns);
    /* [RSM-16] The main channel last: END waits until all that it lists is sent again. */
    for (uint32_t i = l->channel_count; code == VMS_OK && i-- > 0;)
        if (conns[i])
            install(l, conns[i]);
    for (uint16_t i = 0; code == VMS_OK && i < l->channel_count; i++)
        if (conns[i])
            link_start_replay(l, i);
    pthread_mutex_unlock(&l->attaching);
    return code;
}
