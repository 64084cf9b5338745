/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_FAULTS_RUN_H
#define CONFORMANCE_FAULTS_RUN_H

#include "conformance/faults/rig.h"

/** One run: the migration, its fault, its natural end, and what the oracles make of it. */

enum fault_outcome {
    FAULT_MOVED,   /* the destination ran the guest, every page right; the source never again */
    FAULT_STAYED,  /* the source has it, every page right; the destination never ran it */
    FAULT_LOST,    /* with the host that was killed, which alone had it or its pages */
    FAULT_SETTLED, /* both were killed: the journals agree */
    FAULT_SKIPPED, /* this machine cannot */
    FAULT_BAD,     /* an oracle says no: why */
    FAULT_OUTCOMES,
};

struct fault_result {
    enum fault_outcome outcome;
    bool reached;  /* the phase was seen before the fault */
    bool doubt;    /* an end was in doubt */
    bool operator; /* somebody had to decide */
    bool restarted;
    char answer[48]; /* to the order to cancel */
    char why[400];
    int64_t ms;
};

struct fault_setup {
    const char *build;
    const char *keep; /* folder for what failed, NULL: none */
    bool can_mount, keep_all;
};

void fault_run(const struct fault_plan *plan, const struct fault_setup *setup,
               struct fault_result *result);
const char *fault_outcome_name(enum fault_outcome outcome);

/* The parts. */

/** Brings the migration to the plan's phase. False: it ended before. */
bool fault_reach(struct fault_rig *rig);
void fault_strike(struct fault_rig *rig, struct fault_result *result);
/** Lets the tap carry everything, and wakes who was to wake; after the strike. */
void fault_release(struct fault_rig *rig);
/** The natural end: what an operator does, until both have ended. */
void fault_operate(struct fault_rig *rig, struct fault_result *result);
/** The oracles; sets outcome and why. */
void fault_judge(struct fault_rig *rig, struct fault_result *result);
/** A name in the order of a source's states; -1 for another. */
int fault_state_order(const char *state);

#endif
