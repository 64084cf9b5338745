/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* --vdpa: a network card in the guest for each device, and the device behind it. */

static enum vms_code control(void *ctx, size_t index, uint8_t class_, uint8_t command,
                             const void *data, size_t len, bool *ok, struct vms_error *err) {
    return vms_vdpa_card_control(dst_vdpa_card(ctx, index), class_, command, data, len, ok, err);
}

static const struct vms_vdpa_state *state(void *ctx, size_t index) {
    return vms_vdpa_card_state(dst_vdpa_card(ctx, index));
}

enum vms_code dst_cards_add(struct dst_session *s, struct vms_error *err) {
    if (!s->guest || !s->options->vdpa_count)
        return VMS_OK;
    enum vms_code code = vms_vm_cards_new(s->guest, s->options->vdpa_count, &s->cards, err);
    if (code == VMS_OK)
        s->guest = vms_vm_cards_guest(s->cards);
    return code;
}

enum vms_code dst_cards_open(struct dst_session *s, struct vms_error *err) {
    const struct dst_options *o = s->options;
    const struct dst_vdpa_options how = {.late = o->no_early_map};
    if (!o->vdpa_count)
        return VMS_OK;
    enum vms_code code = dst_vdpa_new(o->vdpa, o->vdpa_count, &how, NULL, &s->vdpa, err);
    if (code != VMS_OK || !s->cards)
        return code;
    for (size_t i = 0; i < o->vdpa_count; i++)
        dst_vdpa_events(s->vdpa, i, vms_vm_card_events(s->cards, i));
    const struct vms_vm_plug plug = {.control = control, .state = state, .ctx = s->vdpa};
    vms_vm_cards_plug(s->cards, &plug);
    return VMS_OK;
}

/* Devices first: they see the cards' memory. */
void dst_cards_free(struct dst_session *s) {
    dst_vdpa_free(s->vdpa);
    s->vdpa = NULL;
}
