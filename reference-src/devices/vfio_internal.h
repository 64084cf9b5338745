/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_DEVICES_VFIO_INTERNAL_H
#define REFERENCE_SRC_DEVICES_VFIO_INTERNAL_H

#include "host/guest_wrap.h"
#include "reference-src/devices/vfio.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * vfio.c: one device   vfio_set.c: all of them, the guest that stops and runs with them
 * vfio_final.c: what they have when they are stopped
 */

enum {
    SRC_VFIO_CHUNK = 1 << 20, /* of one DATA, bytes: what QEMU puts into a PART */
};

struct src_vfio_one {
    struct src_vfio *set;
    struct vms_vfio *device;
    struct vms_vfio_spec spec;
    uint32_t number;
    uint64_t initial, dirty, stop; /* left, as last told, less what was read since */
    uint64_t generation, sent, granted;
    uint64_t told; /* the generation that pending() has named: no mark goes out before it is */
    uint64_t precopy_bytes;
    _Atomic uint64_t stop_bytes; /* figures are read while it gives */
    bool flagged;                /* REINIT was reported, and nothing was read since */
    bool dry;    /* there was nothing to read: no initial data is left until a REINIT */
    bool ended;  /* the end of its stream is sent */
    bool broken; /* its stream was given up: it cannot go on in this migration */
    bool lane;   /* a thread gives what it has: the three below are its own until it is joined */
    pthread_t lane_thread;
};

struct src_vfio {
    struct vms_guest guest; /* the wrapped one */
    struct vms_guest_wrap wrap;
    struct vms_vfio_guest *devices;
    struct src_vfio_one one[VMS_VFIO_GUEST_MAX];
    size_t count;
    enum src_vfio_ack ack;
    uint64_t stopped_ns;
    struct vms_error lost;
    uint8_t *chunk; /* SRC_VFIO_CHUNK bytes */
    struct src_wire lane_wire;
    struct vms_error lane_error; /* the first; by who has set give_up */
    bool lanes_began;
    atomic_bool give_up; /* one has failed, or they are brought back: lanes end */
};

extern const struct src_device_ops src_vfio_ops;

/** Asks the device what is left, and takes a REINIT. In PRE_COPY states. */
enum vms_code src_vfio_look(struct src_vfio_one *one, struct vms_error *err);
/** All devices stop; [VDEV-6]. Nothing to do where they have. */
enum vms_code src_vfio_stop_all(struct src_vfio *vfio, struct vms_error *err);

/** All that it has, and its config state, after all have stopped. */
enum vms_code src_vfio_give(struct src_vfio_one *one, struct src_wire *wire, struct vms_error *err);
/** Before a device is brought back or let go: nobody reads from any of them any more. */
void src_vfio_give_up(struct src_vfio *vfio);

#endif
