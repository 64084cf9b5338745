/* SPDX-License-Identifier: MIT */
#include "host/vdpa_seat.h"

#include <stdlib.h>

#define GIB (UINT64_C(1) << 30)

uint64_t vms_vdpa_seat_iova(const struct vms_guest *guest, size_t block) {
    uint64_t iova = 0;
    for (size_t i = 0; i < block; i++)
        iova += (guest->blocks[i].length + GIB - 1) / GIB * GIB;
    return iova;
}

enum vms_code vms_vdpa_seat_open(struct vms_vdpa_seat *seat, const char *name,
                                 const struct vms_vdpa_map_options *options,
                                 struct vms_error *err) {
    *seat = (struct vms_vdpa_seat){.guest = NULL};
    enum vms_code code = vms_vdpa_open(name, &seat->device, err);
    if (code == VMS_OK)
        code = vms_vdpa_card_new(seat->device, &seat->card, err);
    if (code == VMS_OK)
        code = vms_vdpa_map_new(seat->device, options, &seat->map, err);
    if (code != VMS_OK)
        vms_vdpa_seat_close(seat);
    return code;
}

void vms_vdpa_seat_close(struct vms_vdpa_seat *seat) {
    vms_vdpa_map_free(seat->map);
    vms_vdpa_close(seat->device); /* before the shadow queue's memory goes */
    vms_vdpa_card_free(seat->card);
    *seat = (struct vms_vdpa_seat){.guest = NULL};
}

enum vms_code vms_vdpa_seat_layout(struct vms_vdpa_seat *seat, const struct vms_guest *guest,
                                   struct vms_error *err) {
    struct vms_vdpa_region *regions = calloc(guest->block_count + 2, sizeof *regions);
    uint64_t iova = 0;
    if (!regions)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < guest->block_count; i++) {
        const struct vms_guest_block *b = &guest->blocks[i];
        regions[i] =
            (struct vms_vdpa_region){.iova = iova, .memory = b->memory, .length = b->length};
        iova += (b->length + GIB - 1) / GIB * GIB;
    }
    regions[guest->block_count] = vms_vdpa_card_region(seat->card);
    regions[guest->block_count + 1] = vms_vdpa_card_rings(seat->card);
    enum vms_code code = vms_vdpa_map_want(seat->map, regions, guest->block_count + 1 + seat->rings,
                                           &seat->generation, err);
    if (code == VMS_OK)
        seat->guest = guest;
    free(regions);
    return code;
}

enum vms_code vms_vdpa_seat_wait(struct vms_vdpa_seat *seat, struct vms_error *err) {
    return vms_vdpa_map_wait(seat->map, seat->generation, err);
}

enum vms_code vms_vdpa_seat_map_again(struct vms_vdpa_seat *seat, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (vms_vdpa_has(seat->device, VMS_VDPA_IOTLB_PERSIST) || !seat->guest)
        return VMS_OK;
    code = vms_vdpa_map_want(seat->map, NULL, 0, &seat->generation, err);
    if (code == VMS_OK)
        code = vms_vdpa_seat_wait(seat, err);
    if (code == VMS_OK)
        code = vms_vdpa_seat_layout(seat, seat->guest, err);
    return code == VMS_OK ? vms_vdpa_seat_wait(seat, err) : code;
}

const void *vms_vdpa_seat_memory(void *ctx, uint64_t iova, size_t len) {
    const struct vms_vdpa_seat *seat = ctx;
    uint64_t at = 0;
    for (size_t i = 0; seat->guest && i < seat->guest->block_count; i++) {
        const struct vms_guest_block *b = &seat->guest->blocks[i];
        if (iova >= at && iova - at < b->length && len <= b->length - (iova - at))
            return b->memory + (iova - at);
        at += (b->length + GIB - 1) / GIB * GIB;
    }
    return NULL;
}
