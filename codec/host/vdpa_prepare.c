/* SPDX-License-Identifier: MIT */
#include "host/vdpa_card_internal.h"

#include <string.h>

/* [VDPA-28] Ahead of the start: all that takes time but the data queues themselves. */

/** Rings of a started device change while it is suspended; filters by its control queue. */
static bool can(const struct vms_vdpa_card *card, const struct vms_vdpa_profile *profile) {
    static const enum vms_vdpa_backend_bit needed[] = {VMS_VDPA_SUSPEND, VMS_VDPA_RESUME,
                                                       VMS_VDPA_ENABLE_AFTER_DRIVER_OK};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!vms_vdpa_has(card->device, needed[i]))
            return false;
    return vms_vdpa_has_control(profile);
}

static bool same_place(const struct vms_vdpa_queue *a, const struct vms_vdpa_queue *b) {
    return a->enabled == b->enabled && a->ring.size == b->ring.size &&
           a->ring.desc == b->ring.desc && a->ring.avail == b->ring.avail &&
           a->ring.used == b->ring.used;
}

static bool same_rings(const struct vms_vdpa_card *card, const struct vms_vdpa_state *to) {
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card); i++) {
        const struct vms_vdpa_queue *a = &card->state.queue[i], *b = &to->queue[i];
        if (!same_place(a, b) || a->ring.base != b->ring.base)
            return false;
    }
    return true;
}

static enum vms_code set_ring(struct vms_vdpa_card *card, uint32_t i,
                              const struct vms_vdpa_queue *to, struct vms_error *err) {
    const struct vms_vdpa_queue *had = &card->state.queue[i];
    if (!to->enabled)
        return VMS_OK; /* it stays off */
    if (!same_place(had, to))
        return vms_vdpa_set_ring(card->device, i, &to->ring, card->events[i].kick,
                                 card->events[i].call, err);
    return had->ring.base == to->ring.base ? VMS_OK
                                           : vms_vdpa_set_base(card->device, i, to->ring.base, err);
}

static enum vms_code change_rings(struct vms_vdpa_card *card, const struct vms_vdpa_state *to,
                                  struct vms_error *err) {
    if (same_rings(card, to))
        return VMS_OK;
    enum vms_code code = vms_vdpa_suspend(card->device, err);
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card) && code == VMS_OK; i++)
        code = set_ring(card, i, &to->queue[i], err);
    return code == VMS_OK ? vms_vdpa_resume(card->device, err) : code;
}

static enum vms_code change(struct vms_vdpa_card *card, const struct vms_vdpa_state *to,
                            struct vms_error *err) {
    struct vms_vdpa_net had = card->state.net;
    enum vms_code code = change_rings(card, to, err);
    card->state = *to;
    return code == VMS_OK ? vms_vdpa_shadow_restore(card, &had, err) : code;
}

static enum vms_code first(struct vms_vdpa_card *card, const struct vms_vdpa_state *to,
                           const struct vms_vdpa_events *events, struct vms_error *err) {
    card->state = *to;
    vms_vdpa_card_events(card, events);
    enum vms_code code = vms_vdpa_accept(card->device, to->profile.features, err);
    if (code == VMS_OK)
        code = vms_vdpa_card_set_rings(card, err);
    return code == VMS_OK ? vms_vdpa_card_control_on(card, err) : code;
}

bool vms_vdpa_card_is_prepared(const struct vms_vdpa_card *card) {
    return card->prepared;
}

enum vms_code vms_vdpa_card_prepare(struct vms_vdpa_card *card, const struct vms_vdpa_state *state,
                                    const struct vms_vdpa_events *events, struct vms_error *err) {
    struct vms_error ignored;
    if (!can(card, &state->profile) || card->running)
        return VMS_OK;
    enum vms_code code = vms_vdpa_fits(card->device, &state->profile, err);
    if (code == VMS_OK)
        code = card->prepared ? change(card, state, err) : first(card, state, events, err);
    card->prepared = code == VMS_OK;
    if (code != VMS_OK)
        (void)vms_vdpa_reset(card->device, &ignored);
    return code;
}

enum vms_code vms_vdpa_card_reset(struct vms_vdpa_card *card, struct vms_error *err) {
    card->prepared = false;
    return vms_vdpa_reset(card->device, err);
}
