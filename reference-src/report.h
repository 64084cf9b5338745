/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_REPORT_H
#define REFERENCE_SRC_REPORT_H

#include "reference-src/devices/vdpa.h"
#include "reference-src/devices/vfio.h"
#include "reference-src/session.h"

/** Lanes of devices: what was told of each already. Begins zeroed, with the pointers. */
struct src_report_devices {
    const struct src_vfio *vfio; /* NULL: none */
    const struct src_vdpa *vdpa; /* likewise */
    struct vms_timeline *timeline;
    struct src_session *session; /* that is noted to; NULL: none */
    struct src_vfio_figures told[SRC_VFIO_MAX];
    struct src_vdpa_figures told_vdpa[SRC_VFIO_MAX];
};

/**
 * For src_session_host.watch, ctx is the struct above: what has changed since the last time goes
 * into the device's lane: its state, initial data that are all sent, REINITs, bytes (REP-11).
 */
void src_report_watch(void *devices, uint64_t now_ns);

/** Writes --report FILE (chapter REP). 0, or -1 with the reason in *err. */
int src_report_write(const struct src_options *options, const struct src_report_devices *devices,
                     struct vms_timeline *timeline, const struct src_outcome *outcome,
                     struct vms_error *err);

#endif
