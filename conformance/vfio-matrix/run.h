/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_MATRIX_RUN_H
#define CONFORMANCE_VFIO_MATRIX_RUN_H

#include "conformance/adapters/qemu.h"
#include "conformance/adapters/tap.h"
#include "conformance/vfio-matrix/cells.h"

#include <stdint.h>
#include <sys/types.h>

/**
 * One cell as real processes: unmodified QEMUs and our programs, simulated devices in them, the
 * wire through a recording proxy. What happened is observed without knowing what should have.
 */
enum vfm_outcome {
    VFM_COMPLETES, /* the guest runs at the destination only, every byte of the devices is right */
    VFM_FAILS,     /* it runs at the source only, and so do its devices */
    VFM_WAITS,     /* the source iterates and does not switch over; ended from outside */
    VFM_BOTH,      /* it runs at both ends */
    VFM_DOUBT,     /* the source stays silent: the guest may run, or does, at the destination */
    VFM_OUTCOMES,
};
/** "completes", … */
const char *vfm_outcome_name(enum vfm_outcome outcome);

enum {
    VFM_UNKNOWN = -1, /* a count that this end does not tell */
};

struct vfm_seen {
    enum vfm_outcome outcome;
    int sent, requests, acks; /* INIT_DATA_SENT, requests of the source, acknowledgements */
    char said[4096];          /* by both ends, when it did not complete */
    double seconds;
    char versions[2][128]; /* of source and destination, exact */
};

/** What the description of one device has besides: a fault, for one. */
struct vfm_more {
    const char *text; /* lines; NULL: nothing */
    bool destination;
    unsigned device;
    bool lost;    /* it may stay where it is: it was told to refuse everything */
    bool *struck; /* gets whether a fault has happened; NULL: nobody asks */
};

/** Devices of one's own, measured: no proxy between the ends, nothing counted on the wire. */
struct vfm_scene {
    const char *text[2][VFM_DEVICES_MAX]; /* of the source's and the destination's devices */
    unsigned multifd;                     /* QEMU's wire: channels, with device state; 0: none */
    const char *const *src_args;          /* more for reference-src; NULL-terminated */
    unsigned lots; /* REINITs, told or not, that there must be before the source may switch over */
};

struct vfm_options {
    const char *build; /* folder of the programs */
    const char *cache; /* folder for recorded guests, shared by runs of one matrix */
    const char *keep;  /* the folder of the run goes there; NULL: it is removed */
    struct vfm_more more;
    const struct vfm_scene *scene; /* NULL: the cell's own devices */
};

enum vfm_verdict {
    VFM_RAN,
    VFM_ABSENT, /* a peer is not here: said in why */
    VFM_BROKEN, /* something else than what is measured went wrong, or devices lost data: why */
};
enum vfm_verdict vfm_run(const struct vfm_cell *cell, const struct vfm_options *options,
                         struct vfm_seen *seen, char *why, size_t size);

#endif
