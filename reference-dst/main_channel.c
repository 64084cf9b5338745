/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* The main channel: each record goes to the engine, then to memory; actions are carried out. */

/* ---- actions ---- */

static enum vms_code pong(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    return dst_reply(s, VMS_R_RP_PONG, ping, err);
}

static enum vms_code barrier(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    if (dst_barrier_main(s, s->engine.syncs))
        return VMS_OK;
    *err = s->error;
    return s->error.code;
}

static enum vms_code listen_for_pages(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    return dst_postcopy_start(s, err);
}

static enum vms_code run_guest(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    return dst_guest_run(s, err);
}

static enum vms_code fill(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    return dst_postcopy_fill(s, err);
}

static enum vms_code resume(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    return dst_answer_resume(s, err);
}

/* Whether the source hears it changes nothing for a guest that runs. */
static enum vms_code shut_good(struct dst_session *s, uint32_t ping, struct vms_error *err) {
    (void)ping;
    if (!s->engine.return_path)
        return VMS_OK;
    enum vms_code code = dst_reply(s, VMS_R_RP_SHUT, 0, err);
    s->shut_sent = code == VMS_OK;
    return s->ran && code != VMS_OK ? VMS_OK : code;
}

/* In the order in which they are carried out. */
static const struct {
    unsigned action;
    enum vms_code (*act)(struct dst_session *, uint32_t, struct vms_error *);
} ACTIONS[] = {
    {DST_DO_PONG, pong},
    {DST_DO_SYNC | DST_DO_DRAIN, barrier},
    {DST_DO_LISTEN, listen_for_pages},
    {DST_DO_RUN, run_guest},
    {DST_DO_FILL, fill},
    {DST_DO_RESUME, resume},
    {DST_DO_SHUT_GOOD, shut_good},
};

enum vms_code dst_act(struct dst_session *s, unsigned actions, uint32_t ping,
                      struct vms_error *err) {
    for (size_t i = 0; i < sizeof ACTIONS / sizeof *ACTIONS; i++)
        if (actions & ACTIONS[i].action && ACTIONS[i].act(s, ping, err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

/* Lock held. What the machine wants of an event that it refused is done when the reason is known to
 * everybody. */
static void follow(struct dst_session *s, enum vms_code code, unsigned actions) {
    if (code != VMS_OK)
        s->owed |= actions;
    dst_keep_time(s);
    pthread_cond_broadcast(&s->changed);
}

enum vms_code dst_happens(struct dst_session *s, enum dst_event event, uint32_t ping,
                          struct vms_error *err) {
    unsigned actions;
    pthread_mutex_lock(&s->lock);
    enum vms_code code = dst_engine_event(&s->engine, event, &actions, err);
    follow(s, code, actions);
    pthread_mutex_unlock(&s->lock);
    return code == VMS_OK ? dst_act(s, actions, ping, err) : code;
}

/* ---- records ---- */

static uint32_t ping_value(const struct vms_record *r) {
    uint32_t v = 0;
    if (r->type == VMS_R_COMMAND && r->u.command.command == VMS_CMD_PING)
        for (size_t i = 0; i < 4; i++)
            v = v << 8 | r->u.command.payload.ptr[i];
    return v;
}

static bool is_command(const struct vms_record *r, uint16_t command) {
    return r->type == VMS_R_COMMAND && r->u.command.command == command;
}

/* str8 block, checked by the decoder (CMD-8). */
static struct vms_slice named_block(const struct vms_record *r) {
    return vms_slice_tail(r->u.command.payload, 1);
}

static enum vms_code engine_takes(struct dst_channel *c, const struct vms_record *r,
                                  struct vms_error *err) {
    struct dst_session *s = c->session;
    unsigned actions;
    pthread_mutex_lock(&s->lock);
    enum vms_code code = dst_engine_record(&s->engine, r, &actions, err);
    follow(s, code, actions);
    pthread_mutex_unlock(&s->lock);
    if (code == VMS_OK && actions & DST_DO_BITMAP)
        code = dst_answer_bitmap(s, named_block(r), err);
    return code == VMS_OK ? dst_act(s, actions, ping_value(r), err) : code;
}

static bool has_list(struct dst_session *s) {
    pthread_mutex_lock(&s->lock); /* a package steps the engine, too */
    bool has = s->engine.ram_list;
    pthread_mutex_unlock(&s->lock);
    return has;
}

/* The first record behind the block list: from here on other channels may decode. */
static enum vms_code announce_list(struct dst_session *s, struct vms_error *err) {
    if (s->list_ready || !has_list(s))
        return VMS_OK;
    if (dst_postcopy_check(s, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&s->lock);
    s->list_ready = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return VMS_OK;
}

static enum vms_code follow_setup(struct dst_channel *c, const struct vms_record *r,
                                  struct vms_error *err) {
    struct dst_session *s = c->session;
    if (r->type == VMS_R_RAM_MEM_SIZE)
        return vms_ram_image_page_size(s->image, vms_qevm_page_size(vms_pump_decoder(c->pump)),
                                       err);
    if (is_command(r, VMS_CMD_POSTCOPY_ADVISE))
        return dst_postcopy_advise(s, r->u.command.payload, err);
    if (r->type == VMS_R_RAM_MULTIFD_FLUSH || r->type == VMS_R_RAM_EOS)
        return announce_list(s, err);
    return VMS_OK;
}

static enum vms_code obey(struct dst_channel *c, const struct vms_record *r,
                          struct vms_error *err) {
    struct dst_session *s = c->session;
    if (r->packaged || r->type == VMS_R_PACKAGE_END || is_command(r, VMS_CMD_PACKAGED))
        return dst_package_record(s, r, err);
    enum vms_code code = VMS_OK;
    if (r->type == VMS_R_CONFIGURATION)
        code = dst_settings_check(&s->options->settings, &r->u.config, err);
    if (code == VMS_OK)
        code = follow_setup(c, r, err);
    if (code == VMS_OK)
        code = engine_takes(c, r, err);
    return code == VMS_OK && r->type == VMS_R_RAM_MULTIFD_FLUSH ? dst_need_multifd(s, err) : code;
}

/* ---- the sink ---- */

static enum vms_code on_record(void *ctx, const struct vms_record *r, struct vms_answer *answer,
                               struct vms_error *err) {
    struct dst_channel *c = ctx;
    dst_count(c, r);
    if (obey(c, r, err) != VMS_OK || dst_devices_record(c, r, err) != VMS_OK)
        return err->code;
    if (c->session->postcopy)
        vms_ram_channel_place(c->ram, &c->session->place);
    c->bulk_to_guest = dst_guest_section(c->session, r);
    c->bulk_to_ram = vms_ram_channel_takes(r);
    if (c->bulk_to_ram)
        return vms_ram_channel_ops.record(c->ram, r, answer, err);
    answer->want = c->bulk_to_guest || c->bulk_to_vfio ? VMS_WANT_PIECES : VMS_WANT_DISCARD;
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct dst_channel *c = ctx;
    if (c->bulk_to_vfio)
        return dst_devices_bulk(c, event->bulk, err);
    return c->bulk_to_guest ? dst_guest_bytes(c->session, event->bulk, err)
                            : dst_ram_bulk(ctx, event, err);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_vfio ? dst_devices_done(c, err) : dst_ram_done(ctx, err);
}

static const struct vms_pump_sink_ops OPS = {on_record, on_bulk, dst_ram_direct, on_done};

/* [DST-10] Before SHUT is said: a full disk still hands the guest back. It is no cut. */
static enum vms_code save(struct dst_channel *c, struct vms_error *err) {
    enum vms_code code = vms_ram_image_save(c->session->image, err);
    c->fatal |= code != VMS_OK;
    return code;
}

static void complete(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    s->stats.times.finished = dst_now_ms();
    s->over = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* What the first main channel has learnt holds for every later one (REC-2). */
static void adopt(struct dst_channel *c) {
    if (c != c->session->first)
        vms_qevm_adopt(vms_pump_decoder(c->pump), vms_pump_decoder(c->session->first->pump));
}

void dst_main_channel(struct dst_channel *c) {
    struct dst_session *s = c->session;
    struct vms_pump_sink sink = {&OPS, c};
    struct vms_error err = {.channel = c->number};
    enum vms_code code = dst_channel_prepare(c, &sink, &err);
    if (code == VMS_OK && s->options->vdpa_count) /* [VDPA-25] */
        code = vms_error_set(&err, VMS_E_VDPA_UNEXPECTED, "vDPA devices come on the native wire");
    if (code == VMS_OK)
        adopt(c);
    if (code == VMS_OK && vms_pump_run(c->pump, &err) != VMS_PUMP_END)
        code = err.code;
    if (code == VMS_OK)
        code = dst_happens(s, DST_EV_MAIN_END, 0, &err);
    if (code == VMS_OK)
        code = save(c, &err);
    if (code == VMS_OK)
        code = dst_happens(s, DST_EV_CHANNELS_DONE, 0, &err);
    if (code == VMS_OK)
        complete(s);
    else
        dst_broken(c, &err);
}
