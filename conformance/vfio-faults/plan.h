/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_FAULTS_PLAN_H
#define CONFORMANCE_VFIO_FAULTS_PLAN_H

#include "conformance/vfio-matrix/cells.h"

#include <stdint.h>

/** A migration and the fault of one simulated device in it: all of it follows from a seed. Pure. */
struct vff_plan {
    struct vfm_cell cell;
    bool destination; /* the end whose device fails */
    unsigned device;
    const char *op, *state, *kind; /* as conformance/vfio-sim/README.md has them */
    char text[160];                /* lines of the device's description */
    bool refuses;                  /* the device may not come back: it was told to refuse */
    bool changes;                  /* what it changes is data, or what it tells of its size */
    bool after_commit;             /* it fails when the guest is the destination's */
};

struct vff_plan vff_plan(uint64_t seed);
/** A line for people. */
void vff_plan_text(const struct vff_plan *plan, char *out, size_t size);

#endif
