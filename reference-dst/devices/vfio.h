/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VFIO_H
#define REFERENCE_DST_DEVICES_VFIO_H

#include "host/vfio_guest.h"

/**
 * The loading half of VFIO devices. All members are set.
 *
 * Call order, for each device: setup; data and initial_sent in any order; end; config and
 * load_config; then for all of them together dst_vfio_verify, dst_vfio_run. reset at any time, as
 * often as one likes, ends it. What comes out of order is refused: VFIO_UNEXPECTED [VDEV-12]; other
 * errors are the device's (VFIO_DEVICE) or the config state's (VFIO_CONFIG). Calls for one device
 * come from one thread at a time, for different devices from as many as there are. Bytes are the
 * caller's, for the time of the call.
 */
struct dst_device_ops {
    /** START of its section: from here on it takes state. */
    enum vms_code (*setup)(void *ctx, struct vms_error *err);
    /** A piece of its stream, of any size, in the order of the stream. Returns when it is taken. */
    enum vms_code (*data)(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err);
    /**
     * All initial data up to here was sent. *generation, from 1: it is taken, acknowledge it now
     * [VDEV-10]. A device without pre-copy refuses (VFIO-9).
     */
    enum vms_code (*initial_sent)(void *ctx, uint64_t *generation, struct vms_error *err);
    /** Its stream is over. */
    enum vms_code (*end)(void *ctx, struct vms_error *err);
    /** Its config state, kept until load_config. More than VMS_VFIO_CONFIG_MAX: VFIO_CONFIG. */
    enum vms_code (*config)(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err);
    /** It may be loaded now: at once, or with CONFIG_LOAD_READY (VFIO-8). */
    enum vms_code (*load_config)(void *ctx, struct vms_error *err);
    /** [VDEV-24] The migration has failed: nothing that was loaded runs; the device as new. */
    void (*reset)(void *ctx);
};

struct dst_device {
    const struct dst_device_ops *ops;
    void *ctx;
    const char *idstr; /* of its section */
    bool initial;      /* a user of switchover acknowledgement: it has pre-copy (chapter ACK) */
};

struct dst_vfio;

/** specs as vms_vfio_spec has them. The guest outlives it. */
enum vms_code dst_vfio_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           struct dst_vfio **out, struct vms_error *err);
/** NULL is allowed. Devices stay as they are. */
void dst_vfio_free(struct dst_vfio *vfio);

size_t dst_vfio_count(const struct dst_vfio *vfio);
/** Valid while vfio is. */
struct dst_device dst_vfio_device(struct dst_vfio *vfio, size_t index);
/** By the idstr of its section; count: there is none. */
size_t dst_vfio_find(const struct dst_vfio *vfio, const uint8_t *idstr, size_t len);
/** Generations whose mark has come: native REQUEST of g is ready when it is g or more. */
uint64_t dst_vfio_generation(const struct dst_vfio *vfio, size_t index);

/**
 * [VDEV-11] All devices have all: each says whether its state is good. They are stopped then. A
 * device that is not complete: VFIO_UNEXPECTED. Before READY, or before SHUT.
 */
enum vms_code dst_vfio_verify(struct dst_vfio *vfio, struct vms_error *err);
/** [VDEV-6] The guest is ours: the devices run, all of them. After verify, before the CPUs. */
enum vms_code dst_vfio_run(struct dst_vfio *vfio, struct vms_error *err);
/** reset() of all. A failure: the first one's that had to be quieted in another way. */
enum vms_code dst_vfio_reset(struct dst_vfio *vfio, struct vms_error *err);

/** What came of a device, for people. */
struct dst_vfio_figures {
    const char *name, *idstr;
    enum vms_vfio_state state;
    uint64_t bytes, config_bytes, generation;
};
struct dst_vfio_figures dst_vfio_figures(const struct dst_vfio *vfio, size_t index);
/** After each step of a device but data, by the thread that took it. Before anything comes. */
typedef void dst_vfio_watch(void *ctx, size_t index, const struct dst_vfio_figures *now);
void dst_vfio_tell(struct dst_vfio *vfio, dst_vfio_watch *watch, void *ctx);

#endif
