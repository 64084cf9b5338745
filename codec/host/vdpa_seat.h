/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_SEAT_H
#define VMSTREAM_HOST_VDPA_SEAT_H

#include "host/vdpa_card.h"
#include "host/vdpa_map.h"

/**
 * A vDPA device that sits in a guest: device, card, and the guest's memory as the device sees it:
 * the blocks one behind the other from address 0, each at a multiple of 1 GiB (as VFIO devices of a
 * guest see them). Thread-safe where vdpa_map.h is.
 */
struct vms_vdpa_seat {
    const struct vms_guest *guest; /* as of the last layout */
    struct vms_vdpa *device;
    struct vms_vdpa_card *card;
    struct vms_vdpa_map *map;
    uint64_t generation; /* of the layout; 0: none yet */
    bool rings;          /* card_rings() is part of the layout; set between open and layout */
};

/** Opens it; name as of vms_vdpa_open. Nothing is mapped yet. */
enum vms_code vms_vdpa_seat_open(struct vms_vdpa_seat *seat, const char *name,
                                 const struct vms_vdpa_map_options *options, struct vms_error *err);
/** The device is closed: nothing stays mapped. */
void vms_vdpa_seat_close(struct vms_vdpa_seat *seat);
/**
 * The guest's blocks are these from now on; the mapping thread follows [VDPA-6]. The guest must
 * stay until the next call or close.
 */
enum vms_code vms_vdpa_seat_layout(struct vms_vdpa_seat *seat, const struct vms_guest *guest,
                                   struct vms_error *err);
/** [VDPA-4] Until the whole layout is in. */
enum vms_code vms_vdpa_seat_wait(struct vms_vdpa_seat *seat, struct vms_error *err);
/** What a device sees at iova; NULL: len bytes are not there. ctx is the seat. */
const void *vms_vdpa_seat_memory(void *ctx, uint64_t iova, size_t len);
/** Where it sees the first byte of a block. */
uint64_t vms_vdpa_seat_iova(const struct vms_guest *guest, size_t block);
/**
 * [VDPA-10] A device that forgets its maps with a reset is told all of them again. Before it is
 * started anew after one.
 */
enum vms_code vms_vdpa_seat_map_again(struct vms_vdpa_seat *seat, struct vms_error *err);

#endif
