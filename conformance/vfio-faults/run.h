/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_FAULTS_RUN_H
#define CONFORMANCE_VFIO_FAULTS_RUN_H

#include "conformance/vfio-faults/plan.h"
#include "conformance/vfio-matrix/run.h"

/**
 * Runs a plan with real processes. What must hold: the guest never runs at both ends; what fails
 * has a name; before COMMIT the source's guest and its devices run again, after it only the
 * destination's. [VDEV-1] [VDEV-2] [VDEV-6] [VDEV-11] [VDEV-15]
 */
struct vff_result {
    enum vfm_verdict verdict;
    struct vfm_seen seen;
    bool good, struck; /* struck: the fault has happened */
    char why[1024];    /* what does not hold */
};
void vff_run(const struct vff_plan *plan, const struct vfm_options *options,
             struct vff_result *result);

#endif
