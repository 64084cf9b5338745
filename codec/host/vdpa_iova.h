/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_IOVA_H
#define VMSTREAM_HOST_VDPA_IOVA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmstream/error.h>

/**
 * The addresses of one address space of a device (IOVA): which memory of this process lies where.
 * Identity (the guest's own addresses) by insert(), any free place by alloc(), as shadow virtqueues
 * need. Two balanced trees, by IOVA and by memory: each call takes time logarithmic in what is
 * there. Not thread-safe.
 */
struct vms_vdpa_iova;

/** first to last, both included, can be given out. NULL: no memory. */
struct vms_vdpa_iova *vms_vdpa_iova_new(uint64_t first, uint64_t last);
/** NULL is allowed. */
void vms_vdpa_iova_free(struct vms_vdpa_iova *tree);

/**
 * The lowest free place of length bytes, a multiple of align (a power of two). Address 0 is never
 * given out: a ring there would look as if it were not set. VMS_E_VDPA_ADDRESSES [VDPA-9]: no room,
 * or some of the memory is there already.
 */
enum vms_code vms_vdpa_iova_alloc(struct vms_vdpa_iova *tree, const void *memory, uint64_t length,
                                  uint64_t align, uint64_t *iova, struct vms_error *err);
/** That place. VMS_E_VDPA_ADDRESSES also when it is taken. */
enum vms_code vms_vdpa_iova_insert(struct vms_vdpa_iova *tree, uint64_t iova, const void *memory,
                                   uint64_t length, struct vms_error *err);
/** What begins there; false: nothing does. */
bool vms_vdpa_iova_remove(struct vms_vdpa_iova *tree, uint64_t iova);

/** Where memory lies, and how many bytes follow on there; false: nowhere. */
bool vms_vdpa_iova_find(const struct vms_vdpa_iova *tree, const void *memory, uint64_t *iova,
                        uint64_t *length);
size_t vms_vdpa_iova_count(const struct vms_vdpa_iova *tree);

#endif
