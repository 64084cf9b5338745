/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <stdlib.h>
#include <string.h>

/*
 * [MIG-15] Pages that are put where they belong before their tag has come. Whoever can write to the
 * connection can spoil pages with it, but never unnoticed: a wrong tag ends the session, and after
 * a cut the same frame has to come again, which overwrites the same pages. Once it has been decided
 * that everything is there (END, the marks) nothing is put into memory unproven any more.
 */

static bool same_runs(const struct dn_channel *c, const struct vms_native_pages *p) {
    bool same = p->block.index == c->unproven_block && p->run_count == c->unproven_count;
    for (uint32_t i = 0; same && i < p->run_count; i++) {
        const struct vms_native_run *a = &p->runs[i], *b = &c->unproven_runs[i];
        same = a->first == b->first && a->count == b->count && a->zero == b->zero;
    }
    return same;
}

static bool is_raw_pages(const struct vms_native_frame *f) {
    return f->header.type == VMS_NATIVE_PAGES && !(f->header.flags & VMS_NATIVE_PACK_MASK) &&
           f->u.pages.run_count <= DN_RUNS;
}

/* False: pages go aside from now on. A frame that has come again goes where it went before. */
static bool begin(struct dn_channel *c, const struct vms_native_pages *p) {
    struct dst_native_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    bool free_now = !c->unproven && !s->sealed_off && !c->marked;
    c->unproven |= free_now;
    pthread_mutex_unlock(&s->lock);
    if (!free_now)
        return false;
    c->unproven_block = p->block.index;
    c->unproven_count = p->run_count;
    memcpy(c->unproven_runs, p->runs, p->run_count * sizeof *p->runs);
    return true;
}

size_t dn_rooms(void *ctx, uint16_t channel, const struct vms_native_frame *f,
                struct vms_room *rooms, size_t max) {
    struct dst_native_session *s = ctx;
    struct vms_error err;
    if (channel == 0 || channel >= DN_CHANNELS || !is_raw_pages(f))
        return 0;
    struct dn_channel *c = &s->channels[channel];
    const struct vms_native_pages *p = &f->u.pages;
    const struct dn_block *b = dn_pages_block(c, p, &err);
    if (!b || p->run_count > max || !c->unproven_runs || !begin(c, p))
        return 0;
    return dn_page_rooms(b, p, rooms);
}

enum vms_code dn_proven(struct dn_channel *c, const struct vms_native_link_event *ev,
                        struct vms_error *err) {
    const struct vms_native_frame *f = ev->frame;
    if (!c->unproven)
        return VMS_OK;
    if (!is_raw_pages(f) || !same_runs(c, &f->u.pages))
        return vms_error_set(err, VMS_E_MIG_UNPROVEN, "channel %u", c->number);
    pthread_mutex_lock(&c->session->lock);
    c->unproven = false;
    pthread_mutex_unlock(&c->session->lock);
    return VMS_OK;
}

bool dn_seal_off(struct dst_native_session *s) {
    bool clean = true;
    pthread_mutex_lock(&s->lock);
    s->sealed_off = true;
    for (size_t i = 0; i < DN_CHANNELS; i++)
        clean &= !s->channels[i].unproven;
    pthread_mutex_unlock(&s->lock);
    return clean;
}
