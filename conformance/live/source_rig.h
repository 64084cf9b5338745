/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_SOURCE_RIG_H
#define CONFORMANCE_SOURCE_RIG_H

#include "conformance/adapters/tap.h"
#include "conformance/live/live.h"

/**
 * A guest that a real QEMU was running goes into another real QEMU by way of reference-src, which
 * has its recorded stream; and proof that it lives on: its memory is the recorded one (precopy),
 * its heartbeat goes on from where it stopped, it finds no bad page, and neither does the checker.
 * Functions return 0, or -1 with the reason in live.error.
 */
struct source_case {
    const char *version, *machine;   /* of both QEMUs */
    const char *const *capabilities; /* of the destination; NULL: none */
    const char *parameters;          /* JSON, of the destination; NULL: none */
    const char *const *src_args;     /* more arguments for reference-src; NULL: none */
    const char *const *qemu_args;    /* more for both QEMUs; NULL: none */
    const char *memory;              /* -m; NULL: as live.h */
    bool postcopy;                   /* the destination runs while memory comes */
    bool recover;                    /* cut in the middle of postcopy, recovered by order */
};

struct source_rig {
    const struct source_case *what;
    struct live live; /* the first QEMU; live.dst is reference-src */
    struct live_case first;
    struct vms_qemu *destination;
    struct vms_tap *tap;
    char control[128];
    unsigned long beat; /* the last heartbeat before */
};

/** All of it. program: path of reference-src. */
int source_run(struct source_rig *rig, const struct source_case *what, const char *program);
void source_free(struct source_rig *rig);

/** Sends one order to a control socket; the answer, a new reference, or NULL. */
json_t *source_order(const char *control, const char *line);

#endif
