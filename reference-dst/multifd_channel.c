/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* A multifd channel: pages go to memory, a SYNC packet waits at the barrier. */

static enum vms_code on_hello(struct dst_channel *c, const struct vms_record *r,
                              struct vms_error *err) {
    struct dst_session *s = c->session;
    enum vms_code code = dst_settings_hello(&s->options->settings, &r->u.hello, err);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->channel_count; i++)
        if (s->channels[i]->hello && s->channels[i]->id == r->u.hello.channel_id)
            code = vms_error_set(err, VMS_E_MULTIFD_CHANNEL, "id %u", r->u.hello.channel_id);
    c->hello = true;
    c->id = r->u.hello.channel_id;
    pthread_mutex_unlock(&s->lock);
    return code;
}

static enum vms_code on_record(void *ctx, const struct vms_record *r, struct vms_answer *answer,
                               struct vms_error *err) {
    struct dst_channel *c = ctx;
    c->record = *r;
    c->bulk_to_ram = vms_ram_channel_takes(r);
    if (dst_devices_packet(c, r, err) != VMS_OK)
        return err->code;
    if (r->type == VMS_R_MULTIFD_HELLO) {
        answer->pause = true;
        return on_hello(c, r, err);
    }
    if (r->type == VMS_R_MULTIFD_PACKET && c->session->listening) /* MFD-12: they overtake */
        return vms_error_set(err, VMS_E_DST_UNEXPECTED, "a multifd packet in postcopy");
    if (r->type == VMS_R_MULTIFD_PACKET && (r->u.packet.flags & VMS_MULTIFD_SYNC))
        answer->pause = true; /* when its pages are in */
    if (c->bulk_to_ram)
        return vms_ram_channel_ops.record(c->ram, r, answer, err);
    answer->want = c->bulk_to_vfio ? VMS_WANT_PIECES : VMS_WANT_DISCARD;
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_vfio ? dst_devices_bulk(c, event->bulk, err) : dst_ram_bulk(ctx, event, err);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_vfio ? dst_devices_done(c, err) : dst_ram_done(ctx, err);
}

static const struct vms_pump_sink_ops OPS = {on_record, on_bulk, dst_ram_direct, on_done};

/* Packets need the block list, which comes on the main channel. False: the session is over. */
static bool wait_for_list(struct dst_channel *c) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    while (!s->over && !s->list_ready)
        (void)dst_wait(s, VMS_NEVER);
    bool go = !s->over;
    if (go)
        vms_qevm_adopt(vms_pump_decoder(c->pump), vms_pump_decoder(s->main->pump));
    pthread_mutex_unlock(&s->lock);
    return go;
}

/* The pump paused behind the handshake or behind a SYNC packet. */
static bool go_on(struct dst_channel *c) {
    return c->record.type == VMS_R_MULTIFD_HELLO ? wait_for_list(c) : dst_barrier_channel(c);
}

/* [MFD-19] Whoever cuts a TLS connection between two packets must not end the channel. */
static enum vms_code check_goodbye(const struct dst_channel *c, struct vms_error *err) {
    const struct vms_dialect *d = vms_qevm_dialect(vms_pump_decoder(c->pump));
    bool says = (!d->machine || d->machine >= 0x0a00) && (!d->qemu || d->qemu >= 0x0a00);
    if (!says || vms_channel_end(c->io) != VMS_CHANNEL_CUT)
        return VMS_OK;
    return vms_error_set(err, VMS_E_TLS, "multifd channel %u ended without close_notify", c->id);
}

void dst_multifd_channel(struct dst_channel *c) {
    struct vms_pump_sink sink = {&OPS, c};
    struct vms_error err = {.channel = c->number};
    enum vms_pump_status status = VMS_PUMP_ERROR;
    if (dst_channel_prepare(c, &sink, &err) == VMS_OK)
        do
            status = vms_pump_run(c->pump, &err);
        while (status == VMS_PUMP_PAUSED && go_on(c));
    if (status == VMS_PUMP_ERROR || (status == VMS_PUMP_END && check_goodbye(c, &err) != VMS_OK))
        dst_broken(c, &err);
}
