/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_CARD_H
#define REFERENCE_VM_CARD_H

#include "host/vdpa_card.h"

/**
 * Network cards in a guest, with their driver: what a guest makes of vDPA devices. Each card has a
 * block of memory of its own behind the guest's blocks ("card0", ...): rings, buffers, and all that
 * the driver knows, so that it goes on at the other end where it was stopped. The driver is one
 * more virtual CPU: it transmits numbered frames, wants them back in their order where the device
 * gives them back, and tells the device VLANs now and then by the control queue. What a migration
 * loses of rings, buffers or filters is found.
 */
struct vms_vm_cards;

enum {
    VMS_VM_CARDS_MAX = 16,
};

/** Memory is empty: at a destination it comes with the migration. inner outlives it. */
enum vms_code vms_vm_cards_new(const struct vms_guest *inner, size_t count,
                               struct vms_vm_cards **out, struct vms_error *err);
/** Nothing may use its memory any more. NULL is allowed. */
void vms_vm_cards_free(struct vms_vm_cards *cards);
/** inner with the cards' blocks, and a driver that stops and runs with the CPUs. */
const struct vms_guest *vms_vm_cards_guest(struct vms_vm_cards *cards);

/**
 * Source: the driver finds a device like that: fills its rings and says what the device shall be,
 * with at most `pairs` pairs of queues (0: all). Queues lie where vms_vdpa_seat_iova() has blocks.
 */
void vms_vm_card_probe(struct vms_vm_cards *cards, size_t index, const struct vms_vdpa_about *about,
                       uint32_t pairs, struct vms_vdpa_state *out);
/** One for each data queue, VMS_VDPA_QUEUES_MAX of them; the first pair's are heard. */
const struct vms_vdpa_events *vms_vm_card_events(struct vms_vm_cards *cards, size_t index);

/** The devices behind the cards. Called by the driver's thread; both members are set. */
struct vms_vm_plug {
    /** A command of the driver's, as vms_vdpa_card_control. */
    enum vms_code (*control)(void *ctx, size_t index, uint8_t class_, uint8_t command,
                             const void *data, size_t len, bool *ok, struct vms_error *err);
    /** What the device is for the guest; the guest is stopped. */
    const struct vms_vdpa_state *(*state)(void *ctx, size_t index);
    void *ctx;
};
/** From now on the driver works, whenever the guest runs. */
void vms_vm_cards_plug(struct vms_vm_cards *cards, const struct vms_vm_plug *plug);

/** The driver lets a VLAN pass; plugged. From any thread. */
enum vms_code vms_vm_card_vlan(struct vms_vm_cards *cards, size_t index, uint16_t id,
                               struct vms_error *err);

/**
 * The stopped guest's cards: every frame that was transmitted has come back, or will, the device's
 * filters are what the driver has said. VMS_E_VM_CHECK: what is wrong.
 */
enum vms_code vms_vm_cards_check(struct vms_vm_cards *cards, struct vms_error *err);

struct vms_vm_card_stats {
    uint64_t sent, received; /* frames in the guest's whole life */
    uint64_t commands;
};
void vms_vm_card_stats(const struct vms_vm_cards *cards, size_t index,
                       struct vms_vm_card_stats *out);

#endif
