/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_CARD_H
#define VMSTREAM_HOST_VDPA_CARD_H

#include "host/guest.h"
#include "host/vdpa_state.h"

/**
 * A device that runs for a guest, is stopped with all its state, and runs again, here or elsewhere.
 * Its control queue is a shadow: the VMM takes the guest's commands and gives them on by
 * vms_vdpa_card_control, so that their effect is known and can be restored [VDPA-15].
 */
struct vms_vdpa_card;

/** Of a device that was opened, and outlives it. It is in state NEW. */
enum vms_code vms_vdpa_card_new(struct vms_vdpa *device, struct vms_vdpa_card **out,
                                struct vms_error *err);
/** Leaves the device as it is. NULL is allowed. */
void vms_vdpa_card_free(struct vms_vdpa_card *card);

/**
 * What must be mapped for the shadow control queue beside the guest's memory: in an address space
 * of its own where the device has one [VDPA-16], else at the end of the common one.
 */
struct vms_vdpa_region vms_vdpa_card_region(const struct vms_vdpa_card *card);

/** eventfds of a data queue, or -1. */
struct vms_vdpa_events {
    int kick, call;
};

/**
 * [VDPA-15] Makes the device what the state says, and lets it run: features, rings, DRIVER_OK, what
 * the control queue had said, then data queues. All of the guest's memory and card_region() are
 * mapped before [VDPA-4]. events: one for each data queue, or NULL. On failure it is reset.
 */
enum vms_code vms_vdpa_card_start(struct vms_vdpa_card *card, const struct vms_vdpa_state *state,
                                  const struct vms_vdpa_events *events, struct vms_error *err);
/**
 * [VDPA-28] Makes the device what the state says, but for its data queues, which stay off: it is
 * started, and obeys its control queue. Again: what differs since then. Where the device cannot be
 * changed while it is started, nothing is done: start() does all then. Maps as for start(). On
 * failure it is reset.
 */
enum vms_code vms_vdpa_card_prepare(struct vms_vdpa_card *card, const struct vms_vdpa_state *state,
                                    const struct vms_vdpa_events *events, struct vms_error *err);
/** A prepared card is as if it had never been; its maps may be lost. */
enum vms_code vms_vdpa_card_reset(struct vms_vdpa_card *card, struct vms_error *err);
/** Whether start() has only queues to enable and what differs. */
bool vms_vdpa_card_is_prepared(const struct vms_vdpa_card *card);
/** A command of the guest's driver (virtio 1.2, 5.1.6.5). *ok: the device's answer. */
enum vms_code vms_vdpa_card_control(struct vms_vdpa_card *card, uint8_t class_, uint8_t command,
                                    const void *data, size_t len, bool *ok, struct vms_error *err);
/**
 * Where shadow rings of the data queues lie, beside card_region(), for vms_vdpa_card_watch.
 */
struct vms_vdpa_region vms_vdpa_card_rings(const struct vms_vdpa_card *card);
/** The guest's memory at an IOVA; NULL: len bytes are not there in one piece. */
typedef const void *vms_vdpa_memory(void *ctx, uint64_t iova, size_t len);
/**
 * [VDPA-18] As resume(), after a stop: but until it is stopped again, what the device writes is
 * told: wrote (vdpa_watch.h), by a thread of the card's; card_rings() is mapped. Not with packed
 * rings, nor with rings that are not in memory: *watched is false then, and it runs as before.
 */
enum vms_code vms_vdpa_card_watch(struct vms_vdpa_card *card, vms_vdpa_memory *memory,
                                  void (*wrote)(void *ctx, uint64_t iova, uint64_t length),
                                  void *ctx, bool *watched, struct vms_error *err);
bool vms_vdpa_card_is_watched(const struct vms_vdpa_card *card);
/** Whether card_resume() will do without a reset. */
bool vms_vdpa_card_can_resume(const struct vms_vdpa_card *card);

/**
 * [VDPA-3] It falls silent, and its state is complete. Where SUSPEND is not offered it is reset and
 * rings of the split form go on behind the last buffer that was used; memory: reads of the guest's
 * memory at an IOVA, for that. A packed ring is refused then. Idempotent.
 */
enum vms_code vms_vdpa_card_stop(struct vms_vdpa_card *card, vms_vdpa_memory *memory, void *ctx,
                                 struct vms_error *err);
/** [VDPA-17] It runs on after a stop: by RESUME, else from a reset (made here if need be) and as
 * start() does. */
enum vms_code vms_vdpa_card_resume(struct vms_vdpa_card *card, struct vms_error *err);
/** As last started, told by the control queue, or stopped. Valid until the next call. */
const struct vms_vdpa_state *vms_vdpa_card_state(const struct vms_vdpa_card *card);

#endif
