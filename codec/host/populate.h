/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_POPULATE_H
#define VMSTREAM_HOST_POPULATE_H

#include "host/guest.h"

/**
 * Gets memory from the kernel ahead of the data that will be written into it, in a thread of its
 * own: page faults and the kernel's zeroing are then out of the way of receiving. Never changes
 * what is in memory, so that data may arrive at the same time (HOST-16). Not for memory that is
 * registered with userfaultfd for missing pages: stop it before.
 */
struct vms_populate;

struct vms_populate_progress {
    uint64_t done;  /* bytes */
    uint64_t total; /* of all blocks */
    bool finished;  /* the thread does nothing more: all is done, it was cancelled, or failed */
    bool paused;    /* asked to be */
    bool touching;  /* the kernel has no MADV_POPULATE_WRITE (5.14): pages are touched */
};

/**
 * Starts on the blocks in their order, chunk bytes at a time (0: 4 MiB; at least one host page);
 * between two chunks it looks whether to pause or stop. The blocks' memory must outlive it, the
 * array is copied. VMS_E_NO_MEMORY, VMS_E_IO when there is no thread.
 */
enum vms_code vms_populate_start(const struct vms_guest_block *blocks, size_t count, uint64_t chunk,
                                 struct vms_populate **out, struct vms_error *err);
/** The same as on a kernel without MADV_POPULATE_WRITE. */
enum vms_code vms_populate_start_touching(const struct vms_guest_block *blocks, size_t count,
                                          uint64_t chunk, struct vms_populate **out,
                                          struct vms_error *err);
/** Pauses or goes on. After a pause returns no chunk is begun; one may still be under way. */
void vms_populate_pause(struct vms_populate *populate, bool paused);
void vms_populate_progress(const struct vms_populate *populate, struct vms_populate_progress *out);
/**
 * Waits until it has finished. VMS_OK, or VMS_E_IO or VMS_E_NO_MEMORY when the kernel did not give
 * the memory: then receiving would fail on it too. Do not wait on one that is paused.
 */
enum vms_code vms_populate_wait(struct vms_populate *populate, struct vms_error *err);
/** Cancels, waits for the chunk under way, frees. NULL is allowed. */
void vms_populate_stop(struct vms_populate *populate);

#endif
