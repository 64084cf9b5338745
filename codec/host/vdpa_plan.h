/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_PLAN_H
#define VMSTREAM_HOST_VDPA_PLAN_H

#include "host/vdpa.h"

/** A list of regions, sorted by address space and IOVA, none of which overlap. */
struct vms_vdpa_list {
    struct vms_vdpa_region *at;
    size_t count, room;
};

void vms_vdpa_list_clear(struct vms_vdpa_list *list);
/** At its place. False: no memory. */
bool vms_vdpa_list_insert(struct vms_vdpa_list *list, const struct vms_vdpa_region *region);
void vms_vdpa_list_remove(struct vms_vdpa_list *list, size_t index);
/** Sorts a copy of regions that vms_vdpa_check has seen. VMS_E_VDPA_ADDRESSES: two overlap. */
enum vms_code vms_vdpa_list_copy(struct vms_vdpa_list *list, const struct vms_vdpa_region *regions,
                                 size_t count, struct vms_error *err);
uint64_t vms_vdpa_list_bytes(const struct vms_vdpa_list *list);

/**
 * [VDPA-6] From what is held to what is wanted: `unmap` gets what is held but not wanted so, whole,
 * `map` what is wanted but not held then, in pieces that pass no multiple of chunk. False: no
 * memory.
 */
bool vms_vdpa_plan(const struct vms_vdpa_list *held, const struct vms_vdpa_list *wanted,
                   uint64_t chunk, struct vms_vdpa_list *unmap, struct vms_vdpa_list *map);

#endif
