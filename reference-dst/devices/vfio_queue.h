/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VFIO_QUEUE_H
#define REFERENCE_DST_DEVICES_VFIO_QUEUE_H

#include "reference-dst/devices/vfio.h"

/**
 * State of one device that comes over several channels at once: packets with an index, in any
 * order. A thread of its own gives them to the device in the order of their indices [VFIO-7]; the
 * packet with CONFIG is the last. Any number of threads put.
 *
 * Bounded: at most `bytes` wait and at most `ahead` packets are in front of the one that is wanted.
 * While the wanted one is there a put waits for room; when it is not, waiting could last for ever
 * (it may be behind this one on its channel), so it is refused: LIMIT.
 */
struct dst_vfio_queue;

enum {
    DST_VFIO_QUEUE_BYTES = 256 << 20,
    DST_VFIO_QUEUE_AHEAD = 1 << 16,
};

/** The device had its setup. bytes, ahead: 0 for the defaults. */
enum vms_code dst_vfio_queue_new(const struct dst_device *device, uint64_t bytes, uint32_t ahead,
                                 struct dst_vfio_queue **out, struct vms_error *err);
/** What the device had from the main channel is over: packets are given to it from here on. */
void dst_vfio_queue_start(struct dst_vfio_queue *queue);
/**
 * A packet; bytes are copied. config: it has the config state, and is the last. VFIO_STATE_INDEX
 * [VFIO-6]: the index is 0xffffffff, has come already, or is past that of CONFIG; LIMIT; or the
 * error that the device's thread has met.
 */
enum vms_code dst_vfio_queue_put(struct dst_vfio_queue *queue, uint32_t index, bool config,
                                 const uint8_t *bytes, size_t len, struct vms_error *err);
/**
 * Waits until everything up to CONFIG was taken: the device had end, config and, if load,
 * load_config. May come before the packets have. VMS_OK, or the first error.
 */
enum vms_code dst_vfio_queue_finish(struct dst_vfio_queue *queue, bool load, struct vms_error *err);
/** Gives up: everybody who waits returns VMS_E_VFIO_UNEXPECTED. Idempotent. */
void dst_vfio_queue_abort(struct dst_vfio_queue *queue);
/** Aborts, joins the thread, frees. NULL is allowed. */
void dst_vfio_queue_free(struct dst_vfio_queue *queue);

#endif
