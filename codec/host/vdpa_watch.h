/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_WATCH_H
#define VMSTREAM_HOST_VDPA_WATCH_H

#include "host/vdpa_card.h"

/**
 * Shadow rings: what a device writes into the guest's memory, made known [VDPA-18]. The device
 * works on rings of ours, a thread carries buffers over from the guest's rings and back, and tells
 * every octet that the device may have written before the guest sees the buffer. Addresses stay the
 * guest's, so that its memory needs no other maps. Split rings only.
 */
struct vms_vdpa_watch;

/** Called by the thread, and by vms_vdpa_watch_free. */
typedef void vms_vdpa_wrote(void *ctx, uint64_t iova, uint64_t length);

struct vms_vdpa_watch_queue {
    struct vms_vdpa_ring ring; /* the guest's */
    struct vms_vdpa_events events;
    uint32_t number;
};

/** Bytes of shadow memory for one ring of that many entries, whole pages. */
uint64_t vms_vdpa_watch_bytes(uint32_t entries);
/**
 * shadow: of all queues, one behind the other, at iova for the device. The rings begin at their
 * bases. VMS_E_VDPA_DEVICE: a ring is not whole in one place of the guest's memory.
 */
enum vms_code vms_vdpa_watch_new(const struct vms_vdpa_watch_queue *queues, size_t count,
                                 bool event_index, uint8_t *shadow, uint64_t iova,
                                 vms_vdpa_memory *memory, vms_vdpa_wrote *wrote, void *ctx,
                                 struct vms_vdpa_watch **out, struct vms_error *err);
/** What the device is given for queue number index of the list. */
struct vms_vdpa_watch_queue vms_vdpa_watch_ring(const struct vms_vdpa_watch *watch, size_t index);
/** After the device stands on these rings. */
enum vms_code vms_vdpa_watch_run(struct vms_vdpa_watch *watch, struct vms_error *err);
/** The device stands still: the last buffers come back. bases: count of them, where rings go on. */
void vms_vdpa_watch_end(struct vms_vdpa_watch *watch, uint32_t *bases);
/** NULL is allowed. */
void vms_vdpa_watch_free(struct vms_vdpa_watch *watch);

#endif
