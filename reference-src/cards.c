/* SPDX-License-Identifier: MIT */
#include "reference-src/cards.h"

static enum vms_code control(void *ctx, size_t index, uint8_t class_, uint8_t command,
                             const void *data, size_t len, bool *ok, struct vms_error *err) {
    return src_vdpa_control(ctx, index, class_, command, data, len, ok, err);
}

static const struct vms_vdpa_state *told(void *ctx, size_t index) {
    return src_vdpa_told(ctx, index);
}

enum vms_code src_cards_add(struct src_cards *c, const struct src_options *o,
                            const struct vms_guest **guest, struct vms_error *err) {
    if (!o->vdpa_count)
        return VMS_OK;
    enum vms_code code = vms_vm_cards_new(*guest, o->vdpa_count, &c->cards, err);
    if (code == VMS_OK)
        *guest = vms_vm_cards_guest(c->cards);
    return code;
}

/* [VDPA-4] All is mapped, then it runs. */
static enum vms_code start_all(struct src_cards *c, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < src_vdpa_count(c->vdpa) && code == VMS_OK; i++) {
        vms_vm_card_probe(c->cards, i, src_vdpa_about(c->vdpa, i), 0, &c->state);
        code = src_vdpa_start(c->vdpa, i, &c->state, vms_vm_card_events(c->cards, i), err);
    }
    return code;
}

enum vms_code src_cards_start(struct src_cards *c, const struct src_options *o, uint32_t first,
                              const struct vms_guest **guest, struct vms_dirty *tracker,
                              struct vms_error *err) {
    if (!o->vdpa_count)
        return VMS_OK;
    struct vms_dirty inner = *tracker;
    tracker->ops = NULL;
    enum vms_code code = src_vdpa_new(*guest, o->vdpa, o->vdpa_count, first, &c->vdpa, err);
    if (code != VMS_OK) {
        inner.ops->free(inner.ctx);
        return code;
    }
    src_vdpa_late_state(c->vdpa, o->no_early_state);
    code = src_vdpa_dirty(c->vdpa, inner, tracker, err);
    if (code == VMS_OK)
        code = start_all(c, err);
    if (code != VMS_OK)
        return code;
    *guest = src_vdpa_guest(c->vdpa);
    const struct vms_vm_plug plug = {.control = control, .state = told, .ctx = c->vdpa};
    vms_vm_cards_plug(c->cards, &plug);
    return VMS_OK;
}

enum vms_code src_cards_check(struct src_cards *c, struct vms_error *err) {
    return c->cards ? vms_vm_cards_check(c->cards, err) : VMS_OK;
}

void src_cards_detach(struct src_cards *c) {
    src_vdpa_free(c->vdpa);
    c->vdpa = NULL;
}

void src_cards_free(struct src_cards *c) {
    src_cards_detach(c);
    vms_vm_cards_free(c->cards);
}
