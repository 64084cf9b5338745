/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_BENCH_VFIO_H
#define CONFORMANCE_BENCH_VFIO_H

#include "conformance/vfio-matrix/run.h"

#include "host/embed.h"

#include <jansson.h>
#include <stdint.h>

/**
 * The downtime scene: four simulated VFIO devices, one busy, that make new initial data while they
 * are migrated; with and without REINIT. Times are those of the devices' own logs, one clock for
 * both ends.
 */
enum {
    VB_DEVICES = 4, /* the first one is the busy one */
    VB_CASES = 12,
    VB_ROUNDS_MAX = 9,
};

struct vb_case {
    const char *name, *src, *dst; /* ends of the matrix */
    unsigned multifd;             /* QEMU's wire: channels for device state */
    bool reinit;
    bool main_alone; /* native: without DEVICE_CHANNELS */
};
extern const struct vb_case vb_cases[VB_CASES];

struct vb_device {
    double ms;       /* of the downtime that it takes: below */
    double quiet_ms; /* at the source: falls silent, stops */
    double data_ms;  /* from the first octet read until the last one was loaded */
    double run_ms;   /* at the destination: verdict, and runs again */
};

/* Pairs: without REINIT, with it. */
enum {
    VB_QEMU = 0,
    VB_QEMU_MULTIFD = 2,
    VB_QEVM = 4,
    VB_QEVM_MULTIFD = 6,
    VB_NATIVE_MAIN = 8,
    VB_NATIVE = 10,
};

/**
 * downtime: from the first device that is told to fall silent, the CPUs having stopped just before,
 * until the last one runs at the destination, and the CPUs next. A device's part is the time in
 * which it holds things up: its changes of state, and its data from the first octet that is read
 * until the last is loaded. What several of them take at the same time is parted evenly.
 */
struct vb_run {
    bool good;
    double downtime_ms;
    struct vb_device device[VB_DEVICES];
    char why[1024];
};

/** Runs a case; lanes gets a new reference for the page. */
void vb_run(const struct vb_case *what, const struct vfm_options *options, const char *scene,
            struct vb_run *out, json_t **lanes);
/** Out of a folder of logs. -1: they do not tell. */
/** page.js. */
struct vms_asset vb_page_script(void);

int vb_read_logs(const char *dir, struct vb_run *out, json_t **lanes);

#endif
