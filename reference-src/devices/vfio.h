/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_DEVICES_VFIO_H
#define REFERENCE_SRC_DEVICES_VFIO_H

#include "host/vfio_guest.h"
#include "reference-src/devices/device.h"

/**
 * The saving half of VFIO devices: one struct src_device each, and what they do together. The
 * session is given src_vfio_guest() in place of the guest, and src_vfio_dirty() in place of the
 * tracker; then nothing else of it has to know of them:
 *
 *   stop()  stops the CPUs, looks for REINIT once more, lets all devices fall silent and stop.
 *           With a REINIT they stay in PRE_COPY: the next pending() has its generation [VDEV-8]
 *   run()   brings devices back before the CPUs: to PRE_COPY where their stream still goes on,
 *           else to RUNNING; the migration is then over for them
 */
struct src_vfio;

/** How the destination acknowledges initial data (chapter ACK). */
enum src_vfio_ack {
    SRC_VFIO_ACK_EACH,   /* native, and QEVM's new mechanism: each generation */
    SRC_VFIO_ACK_LEGACY, /* QEVM: the first one only; a second mark is refused (ACK-8) */
    SRC_VFIO_ACK_NONE,   /* it is not used: no marks (VFIO-9) */
};

/** specs as vms_vfio_spec has them; their numbers in the engine are first, first + 1, …. */
enum vms_code src_vfio_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           uint32_t first, enum src_vfio_ack ack, struct src_vfio **out,
                           struct vms_error *err);
/** After the session and the tracker. NULL is allowed. */
void src_vfio_free(struct src_vfio *vfio);

size_t src_vfio_count(const struct src_vfio *vfio);
/** Valid while vfio is. */
struct src_device src_vfio_device(struct src_vfio *vfio, size_t index);
/** Whether it has initial data to be acknowledged: src_config.initial_data. */
bool src_vfio_has_initial(const struct src_vfio *vfio, size_t index);
const struct vms_guest *src_vfio_guest(struct src_vfio *vfio);
/** As vms_vfio_guest_dirty. */
enum vms_code src_vfio_dirty(struct src_vfio *vfio, struct vms_dirty inner, struct vms_dirty *out,
                             struct vms_error *err);

/** What came of a device, for the report. */
struct src_vfio_figures {
    const char *name, *idstr;
    enum vms_vfio_state state;
    uint64_t precopy_bytes, stop_bytes; /* sent before and after it was stopped */
    uint64_t generation, sent, granted; /* of its initial data: last known, sent, acknowledged */
    uint64_t stopped_ns;                /* CLOCK_MONOTONIC: when all were stopped; 0: not yet */
};
struct src_vfio_figures src_vfio_figures(const struct src_vfio *vfio, size_t index);
/** The first device that could not be brought back: code OK, none. The guest runs without it. */
const struct vms_error *src_vfio_lost(const struct src_vfio *vfio);

#endif
