/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/* What the destination's program does on both wires. */

void reply(struct world *w, enum msg_type type, uint32_t device, uint64_t generation,
           uint64_t value) {
    struct msg m = {.type = (uint8_t)type,
                    .device = device,
                    .generation = generation,
                    .value = value,
                    .bytes = 32};
    (void)net_send(w, SRC, &m);
}

/* [ACK-2] [ACK-3] [ACK-10] */
static void acknowledge(struct world *w) {
    if (!w->ack)
        return;
    if (!w->legacy || (w->dst.users && --w->dst.users == 0))
        reply(w, MSG_ACK, SRC_NO_DEVICE, 0, 0);
}

void device_loaded(struct world *w, uint32_t d, uint64_t generation) {
    struct device *v = &w->device[d];
    if (!w->dst.alive)
        return;
    v->loaded = v->loaded > generation ? v->loaded : generation;
    if (!w->config.native)
        acknowledge(w);
    else if (v->asked && v->asked <= v->loaded)
        native_event(w, (struct dst_native_event){
                            .kind = DST_NEV_DEVICE_READY, .device = d, .generation = v->loaded});
}

/* What is not the machine's business: memory and device data. */
void destination_message(struct world *w, const struct msg *m) {
    struct device *v = &w->device[m->device % DEVICES];
    if (m->type == MSG_PAGES)
        pages_arrive(w, m);
    if (m->type == MSG_DATA || m->type == MSG_INITIAL)
        v->received += m->value;
    if (m->type == MSG_INITIAL) {
        struct item *i = later(w, v->load_ns, IT_LOADED, DST);
        i->device = m->device;
        i->value = m->generation;
    }
    for (uint32_t p = 0; m->type == MSG_DISCARD && p < w->pages; p++)
        if (bit(m->bits, p))
            clear_bit(w->dst.memory.here, p);
}

void destination_listens(struct world *w) {
    struct destination *d = &w->dst;
    d->listening = true;
    d->missing = 0;
    memcpy(d->arrived, d->memory.here, sizeof d->arrived);
    for (uint32_t p = 0; p < w->pages; p++)
        d->missing += !bit(d->arrived, p);
}

/* The last page is in: said once, and when the guest runs. */
void destination_pages(struct world *w) {
    struct destination *d = &w->dst;
    if (!d->alive || !d->listening || d->missing || d->filled)
        return;
    if (w->config.native ? !d->native.guest_runs : !d->fill || d->qevm.state != DST_FILLING)
        return;
    d->filled = true;
    destination_whole(w);
    if (w->config.native)
        native_event(w, (struct dst_native_event){.kind = DST_NEV_PAGES_IN});
    else
        qevm_event(w, DST_EV_CHANNELS_DONE);
}

void destination_bitmap(struct world *w) {
    struct msg m = {.type = MSG_BITMAP, .bytes = PAGES / 8};
    memcpy(m.bits, w->dst.arrived, sizeof m.bits);
    (void)net_send(w, SRC, &m);
}

/* [REC-4] */
void destination_resumes(struct world *w) {
    reply(w, MSG_RESUMED, 0, 0, 0);
    if (w->dst.waits_for)
        reply(w, MSG_NEED, 0, 0, w->dst.waits_for - 1);
}

void destination_crash(struct world *w) {
    struct destination *d = &w->dst;
    if (!d->alive || (d->finished && !d->runs))
        return;
    trace(w, "the destination dies");
    w->result->dst_crashed = true;
    net_cut(w);
    w->net.epoch++; /* what was under way to a program that is no more, or from it */
    net_forget(w);
    d->epoch++;
    d->alive = d->runs = d->locks = false;
    d->listening = false;
    if (w->config.native)
        (void)later(w, spread(w, 24, 31), IT_START, DST);
}
