/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_RIG_H
#define CONFORMANCE_VFIO_RIG_H

#include "conformance/adapters/qemu.h"
#include "conformance/adapters/tap.h"

#include <stdint.h>

/**
 * Simulated VFIO devices in unmodified QEMUs: build/vfio-sim.so before their libc, a text for each
 * device as its file descriptor, the wire through a recording proxy. What a device did stands in
 * its log. Functions that end a test say why.
 */
enum {
    VFIO_DEVICES_MAX = 4,
};

enum vfio_outcome {
    VFIO_COMPLETED,
    VFIO_REFUSED,  /* the source fails and runs on; the destination ends */
    VFIO_STUCK,    /* it never ends; cancelled by the test */
    VFIO_LOST,     /* both ends say completed, but the device refused its state: E-56 */
    VFIO_BOTH_RUN, /* the source fails and runs on, and so does the destination */
};

struct vfio_case {
    const char *src_machine, *dst_machine; /* NULL: pc */
    const char *src_global, *dst_global;   /* -global; NULL: none */
    const char *src[VFIO_DEVICES_MAX];     /* texts of the source's devices, without first lines */
    const char *dst[VFIO_DEVICES_MAX];     /* of the destination's; NULL: only the name */
    bool src_no_ack, dst_no_ack;           /* without the capability switchover-ack */
    unsigned multifd;                      /* channels; 0: without */
    unsigned reinits;                      /* that must have happened before it may converge */
    enum vfio_outcome outcome;
    unsigned init_data_sent, acks; /* that the wire must have */
    const char *error;             /* in the source's error-desc, or its output; NULL: any */
    /**
     * The source is reference-src: it sends a guest that a QEMU of src_machine (a whole name, with
     * its version) has run, with devices of its own. More arguments for it, NULL-terminated.
     */
    const char *const *reference;
    /** The destination is reference-dst. More arguments for it, NULL-terminated. */
    const char *const *reference_dst;
};

struct vfio_rig {
    const struct vfio_case *what;
    char dir[64];
    struct vms_qemu *src, *dst;
    struct vms_tap *tap;
    int reference_status; /* exit status of reference-src */
    pid_t reference_dst;  /* reference-dst, or 0 */
};

/** Runs the case and checks all that it says; skips when QEMU 11.1 is absent. */
void vfio_case_run(const struct vfio_case *what);

/** The same, and keeps the folder: dir gets it, with what was on the wire as wire.N.fwd and .rev.
 */
void vfio_case_keep(const struct vfio_case *what, char *dir, size_t size);
void vfio_case_forget(const char *dir);

/* vfio_rig_reference.c: reference-src as the source; runs it to its end */
void vfio_rig_run_reference(struct vfio_rig *rig, const char *uri);
void vfio_rig_expect_reference(struct vfio_rig *rig);
void vfio_rig_expect_status(struct vms_qemu *qemu, const char *want);
/** The source's devices are in RUNNING. */
void vfio_rig_expect_devices_back(struct vfio_rig *rig);
/** Starts reference-dst; it listens on the path when it returns. */
void vfio_rig_listen(struct vfio_rig *rig, const char *path);
/** Its end: exit status 0 if it completed, else another. */
void vfio_rig_expect_listener(struct vfio_rig *rig);
/** A program of the build folder, in static storage for two. */
const char *vfio_rig_build(const char *name);
void vfio_rig_path(const struct vfio_rig *rig, char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/** A device's text as a file, dir/SIDEn.sim; open, to be inherited. */
int vfio_rig_description(const struct vfio_rig *rig, const char *side, unsigned device,
                         const char *text);

/** The device's log, whole; NULL: none. The caller's to free. */
char *vfio_rig_log(const struct vfio_rig *rig, const char *side, unsigned device);
/** How often needle stands in the log. */
unsigned vfio_rig_count(const struct vfio_rig *rig, const char *side, unsigned device,
                        const char *needle);
/** The number behind the last "key": of the log, or UINT64_MAX. */
uint64_t vfio_rig_number(const struct vfio_rig *rig, const char *side, unsigned device,
                         const char *event, const char *key);

#endif
