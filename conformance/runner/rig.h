/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_RIG_H
#define CONFORMANCE_RUNNER_RIG_H

#include "conformance/adapters/tap.h"
#include "conformance/runner/process.h"
#include "conformance/runner/verdict.h"

/** One cell being run: in a process of its own, which the scheduler started. */
enum cert_end_index {
    CERT_SOURCE,
    CERT_DESTINATION,
};

struct cert_end {
    const json_t *implementation;
    const char *role, *machine;
    char folder[CERT_PATH];
    struct cert_process process;
    json_t *said; /* its end.json, or NULL */
};

struct cert_rig {
    const json_t *profile, *cell, *test;
    const char *build, *cache;
    char folder[CERT_PATH]; /* of the cell: kept */
    char sockets[64];       /* a short path, as sockets need */
    char uri_listen[CERT_PATH], uri_connect[CERT_PATH];
    struct cert_end ends[2]; /* of a decoder the first alone */
    struct cert_process relays[2];
    struct vms_tap *tap;  /* before the destination */
    struct vms_tap *link; /* between two relays, or NULL */
    unsigned patience;    /* deadlines are so many times as long */
    json_t *result;
};

struct cert_context {
    const json_t *profile, *cases;
    const char *build, *out;
    unsigned patience;
};

/**
 * Runs a cell and judges it; its files go to `folder`. The result is a new reference, complete but
 * for expected failures; it is in result.json, too.
 */
json_t *cert_cell_run(const struct cert_context *c, const json_t *cell, const char *folder);

/** Removes what is large, memory and wire: for cells in which nothing is to be found out. */
void cert_cell_tidy(const char *folder);

/* rig.c */
bool cert_rig_open(struct cert_rig *r, const struct cert_context *c, const json_t *cell,
                   const char *folder);
void cert_rig_close(struct cert_rig *r);
/** Starts an adapter; `peer` may be NULL. */
int cert_rig_start(struct cert_rig *r, struct cert_end *end, const struct cert_end *peer,
                   const char *uri);
/** The cell's deadline, in seconds. */
unsigned cert_rig_seconds(const struct cert_rig *r);
/** Whether an end has made that file. */
bool cert_end_has(const struct cert_end *end, const char *file);
void cert_end_read(struct cert_end *end);

/* shared.c: what both ends may use: guest image, VM file, keys, certificates */
int cert_shared_make(struct cert_rig *r);

/* pair.c, decode.c, probe.c: what is run */
void cert_run_pair(struct cert_rig *r);
void cert_run_decoder(struct cert_rig *r);
void cert_run_probe(struct cert_rig *r);
void cert_run_dialogue(struct cert_rig *r);

/* fault.c */
/** Called again and again while a pair runs; does what the case's fault says when it is time. */
void cert_fault_step(struct cert_rig *r);

/* ends.c */
/** How the processes ended. False: it was not by themselves, and the result says how. */
bool cert_judge_processes(struct cert_rig *r);
/** The same, and whether that is what the case wants. False: nothing is left to judge. */
bool cert_judge_ends(struct cert_rig *r);
/* wire.c: what the tap has seen */
void cert_judge_wire(struct cert_rig *r);
/* wire_native.c: the same of the native wire, whose frames only the two ends can open */
void cert_judge_frames(struct cert_rig *r);
/* oracle.c: what is left when all is over */
void cert_judge_state(struct cert_rig *r);
/** FAIL or, for a SHOULD, WARN. */
void cert_break(struct cert_rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** expect.outcome, "completed" where nothing is said. */
const char *cert_expected_outcome(const struct cert_rig *r);

#endif
