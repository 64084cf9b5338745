/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_MAP_H
#define VMSTREAM_HOST_VDPA_MAP_H

#include "host/vdpa.h"

/**
 * Keeps what a device sees of the guest's memory as it shall be. [VDPA-5] A thread of its own, one
 * a device, tells the kernel, in pieces of a bounded size and in batches where the device takes
 * them; nobody waits for it who does not ask to. The caller says what shall be mapped, as often as
 * that changes; the thread does what is different, and that only [VDPA-6].
 *
 * Functions may be called by any thread. While the thread lives, map, unmap and batch of the device
 * are its own.
 */
struct vms_vdpa_map;

struct vms_vdpa_progress {
    uint64_t wanted, mapped; /* bytes; mapped may be more for a while */
    uint64_t maps;           /* pieces that are mapped */
    uint64_t generation;     /* of what is wanted */
    uint64_t gone, done;     /* what this one does not want is unmapped; all of it is mapped */
    uint64_t busy_ns;        /* that the kernel took */
    bool failed;
};

struct vms_vdpa_map_options {
    uint64_t chunk; /* the largest piece, bytes, a power of two; 0: 128 MiB */
    uint32_t batch; /* the most pieces of one batch; 0: 16 */
    uint32_t
        max_maps; /* that the device takes; 0: 2048, the kernel's own. Larger pieces keep to it */
    /** A batch is in, a generation is, or all has failed. By the thread; must not call back. */
    void (*changed)(void *ctx, const struct vms_vdpa_progress *progress);
    void *ctx;
};

/** Nothing is wanted yet: generation 0. The device outlives it. */
enum vms_code vms_vdpa_map_new(struct vms_vdpa *device, const struct vms_vdpa_map_options *options,
                               struct vms_vdpa_map **out, struct vms_error *err);
/**
 * From now on exactly these, copied. *generation, from 1, tells this layout. Memory that was mapped
 * and is not wanted any more must stay until vms_vdpa_map_wait_gone(). VMS_E_VDPA_ADDRESSES
 * [VDPA-9]: two of them overlap, or are not whole pages: all stays as it was.
 */
enum vms_code vms_vdpa_map_want(struct vms_vdpa_map *map, const struct vms_vdpa_region *regions,
                                size_t count, uint64_t *generation, struct vms_error *err);
/** Until that generation, or a later one, is in. Else the error that the thread has met. */
enum vms_code vms_vdpa_map_wait(struct vms_vdpa_map *map, uint64_t generation,
                                struct vms_error *err);
/** Until nothing is mapped any more that this generation, or a later one, does not want. */
enum vms_code vms_vdpa_map_wait_gone(struct vms_vdpa_map *map, uint64_t generation,
                                     struct vms_error *err);
void vms_vdpa_map_progress(struct vms_vdpa_map *map, struct vms_vdpa_progress *out);
/** The error that the thread has met; VMS_OK: none. */
enum vms_code vms_vdpa_map_error(struct vms_vdpa_map *map, struct vms_error *err);
/**
 * [VDPA-7] Gives up: when it returns, nothing is mapped any more. After at most one batch. What
 * waits returns VMS_E_VDPA_DEVICE. Idempotent.
 */
void vms_vdpa_map_cancel(struct vms_vdpa_map *map);
/** Ends the thread; what is mapped stays so, for the device to run on. NULL is allowed. */
void vms_vdpa_map_free(struct vms_vdpa_map *map);

#endif
