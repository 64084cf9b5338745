/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "reference-dst/session.h"

/* The preempt channel (PRE): bare page records, placed as they come. */

static enum vms_code on_record(void *ctx, const struct vms_record *r, struct vms_answer *answer,
                               struct vms_error *err) {
    struct dst_channel *c = ctx;
    c->bulk_to_ram = vms_ram_channel_takes(r);
    if (c->bulk_to_ram)
        return vms_ram_channel_ops.record(c->ram, r, answer, err);
    answer->want = VMS_WANT_DISCARD;
    return VMS_OK;
}

static const struct vms_pump_sink_ops OPS = {on_record, dst_ram_bulk, dst_ram_direct, dst_ram_done};

/* Nothing comes before pages are asked for, that is behind LISTEN. False: the session is over. */
static bool wait_for_listen(struct dst_channel *c) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    while (!s->over && !s->broken && !s->listening)
        (void)dst_wait(s, VMS_NEVER);
    bool go = !s->over && !s->broken;
    if (go)
        vms_qevm_adopt(vms_pump_decoder(c->pump), vms_pump_decoder(s->first->pump));
    pthread_mutex_unlock(&s->lock);
    return go;
}

/* [PRE-3] It may just end: whether pages are missing then the main channel finds out. */
void dst_preempt_channel(struct dst_channel *c) {
    struct vms_pump_sink sink = {&OPS, c};
    struct vms_error err = {.channel = c->number};
    vms_thread_urgent();
    enum vms_code code = dst_channel_prepare(c, &sink, &err);
    if (code == VMS_OK && !wait_for_listen(c))
        return;
    if (code == VMS_OK) {
        vms_ram_channel_place(c->ram, &c->session->place);
        if (vms_pump_run(c->pump, &err) == VMS_PUMP_END)
            return;
    }
    dst_broken(c, &err);
}
