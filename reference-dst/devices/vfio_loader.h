/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VFIO_LOADER_H
#define REFERENCE_DST_DEVICES_VFIO_LOADER_H

#include "reference-dst/devices/vfio.h"

/**
 * A thread that gives one device what comes for it on an ordered wire, so that devices load side by
 * side and the wire does not wait for the slowest [VDEV-16]. Bounded: a put waits for room. One
 * thread puts.
 */
struct dst_vfio_loader;

enum dst_vfio_load {
    DST_VFIO_LOAD_DATA,        /* a piece of its stream */
    DST_VFIO_LOAD_MARK,        /* all initial data was sent */
    DST_VFIO_LOAD_END,         /* its stream is over */
    DST_VFIO_LOAD_CONFIG,      /* a piece of its config state; whole, not above the limit below */
    DST_VFIO_LOAD_CONFIG_LAST, /* the last piece: it is loaded */
};

enum {
    DST_VFIO_LOADER_BYTES = 32 << 20,  /* that wait at most */
    DST_VFIO_LOADER_CONFIG = 64 << 20, /* bytes: device_state_bytes, as QEMU's wire has it */
};

/** What happens in its thread. */
struct dst_vfio_loader_owner {
    /** The device has taken everything before the mark: acknowledge the generation. */
    void (*marked)(void *ctx, uint64_t generation);
    /** The first error; nothing more is given to the device. */
    void (*failed)(void *ctx, const struct vms_error *err);
    void *ctx;
};

/** The device had its setup, and outlives it. */
enum vms_code dst_vfio_loader_new(const struct dst_device *device,
                                  const struct dst_vfio_loader_owner *owner,
                                  struct dst_vfio_loader **out, struct vms_error *err);
/** Copies the bytes. The error that the thread has met, if it has. */
enum vms_code dst_vfio_loader_put(struct dst_vfio_loader *loader, enum dst_vfio_load what,
                                  const uint8_t *bytes, size_t len, struct vms_error *err);
/** Waits until the device has everything, or for the error. */
enum vms_code dst_vfio_loader_flush(struct dst_vfio_loader *loader, struct vms_error *err);
/** Gives up what waits, joins the thread, frees. NULL is allowed. */
void dst_vfio_loader_free(struct dst_vfio_loader *loader);

#endif
