/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_CARDS_H
#define REFERENCE_SRC_CARDS_H

#include "reference-src/devices/vdpa.h"
#include "reference-src/options.h"
#include "reference-src/vm/card.h"

/** --vdpa: a network card in the guest for each device, and the device behind it. */
struct src_cards {
    struct vms_vm_cards *cards; /* NULL: none */
    struct src_vdpa *vdpa;
    struct vms_vdpa_state state; /* of the one that is being started */
};

/** *guest becomes the guest with its cards. Nothing is done without --vdpa. */
enum vms_code src_cards_add(struct src_cards *cards, const struct src_options *options,
                            const struct vms_guest **guest, struct vms_error *err);
/**
 * The devices, numbered from `first`: mapped, started, and the drivers work. *guest and *tracker
 * are wrapped (struct src_vdpa); the tracker is taken over, on failure, too.
 */
enum vms_code src_cards_start(struct src_cards *cards, const struct src_options *options,
                              uint32_t first, const struct vms_guest **guest,
                              struct vms_dirty *tracker, struct vms_error *err);
/** The stopped guest's cards are as their drivers want them. */
enum vms_code src_cards_check(struct src_cards *cards, struct vms_error *err);
/** Frees the devices, which wrap the guest that others may wrap below them; before those. */
void src_cards_detach(struct src_cards *cards);
void src_cards_free(struct src_cards *cards);

#endif
