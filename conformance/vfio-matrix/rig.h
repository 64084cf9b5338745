/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_MATRIX_RIG_H
#define CONFORMANCE_VFIO_MATRIX_RIG_H

#include "conformance/live/file.h"
#include "conformance/vfio-matrix/run.h"

/** Inside of a run. Functions return 0, or -1 with the reason in rig->why. */
struct vfm_rig {
    const struct vfm_cell *cell;
    const struct vfm_options *options;
    char dir[64];
    struct vms_qemu *src, *dst; /* NULL: that end is ours */
    pid_t src_pid, dst_pid;     /* ours; 0: not running */
    int src_status, dst_status; /* of ours, as live_wait tells it */
    struct vms_tap *tap;
    char *why;
    size_t why_size;
};

enum {
    VFM_WAIT_MS = 90000,
};

int vfm_fail(struct vfm_rig *rig, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vfm_path(const struct vfm_rig *rig, char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/** Waits a moment; between looks at what gives no event. */
void vfm_pause(void);

/* rig_ends.c */
/** The destination listens, the tap stands, the source is set up. */
int vfm_open(struct vfm_rig *rig);
/** It migrates. Ours: runs to its end. */
int vfm_migrate(struct vfm_rig *rig);
/** Ends what still runs. */
void vfm_close(struct vfm_rig *rig);

/* rig_look.c */
/** Text of a device's log. NULL: none. The caller's to free. */
char *vfm_log(const struct vfm_rig *rig, const char *side, unsigned device);
unsigned vfm_reinits(const struct vfm_rig *rig);
/* In a scene what is expected does not hold the switchover up: lots and acknowledgements do. */
enum {
    VFM_SCENE_DOWNTIME_MS = 60000,
};
/** Whole frames of a type in the recording of the native wire; of DEVICE: "initial data is sent".
 */
int vfm_count_frames(const struct vfm_rig *rig, bool back, uint32_t type);
/** Counts of the wire and of what the ends tell. */
int vfm_look(struct vfm_rig *rig, struct vfm_seen *seen);
/** Devices of an end that should run, or have everything. */
int vfm_check_devices(struct vfm_rig *rig, enum vfm_outcome outcome);

#endif
