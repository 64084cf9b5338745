/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_MATRIX_H
#define CONFORMANCE_VFIO_MATRIX_H

#include "conformance/vfio-matrix/run.h"
#include "conformance/vfio-matrix/table.h"

/** Many cells, some at a time, each in a process of its own; a line for each on standard output. */
struct vfm_matrix_options {
    const char *spec, *build;
    const char *jsonl, *keep;    /* NULL: none */
    const char *const *patterns; /* of cells, NULL-terminated; none: all */
    unsigned jobs;
    bool list;
};

/** Exit status: 0 every cell is as the specification has it, 1 not, 3 a failure here. */
int vfm_matrix(const struct vfm_matrix_options *options);

/** Whether a cell's name fits "A/B/C" with '*' for any part. */
bool vfm_fits(const struct vfm_cell *cell, const char *pattern);

#endif
