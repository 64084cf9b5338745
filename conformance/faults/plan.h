/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_FAULTS_PLAN_H
#define CONFORMANCE_FAULTS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What one run does: all of it follows from a seed. Pure. */

enum fault_wire {
    FAULT_NATIVE,
    FAULT_QEVM,
    FAULT_BOTH_WIRES, /* of a choice: either */
};

enum fault_kind {
    FAULT_NONE,
    FAULT_KILL_SOURCE, /* kill -9 */
    FAULT_KILL_DESTINATION,
    FAULT_KILL_BOTH,
    FAULT_CUT,         /* every connection closed at once */
    FAULT_CUTS,        /* several times */
    FAULT_STOP_SOURCE, /* SIGSTOP, and SIGCONT after plan.stop_ms */
    FAULT_STOP_DESTINATION,
    FAULT_MUTE,        /* the destination stops for good: it never answers */
    FAULT_FULL_SOURCE, /* no space is left for the journal */
    FAULT_FULL_DESTINATION,
    FAULT_CANCEL,       /* by order */
    FAULT_FILES_SOURCE, /* no descriptors are left for a second, and every connection is closed */
    FAULT_FILES_DESTINATION,
    FAULT_KINDS,
};

enum fault_phase {
    FAULT_AT_SETUP,
    FAULT_AT_PRECOPY,
    FAULT_AT_HELD, /* the guest stands, nothing of the switchover was sent */
    FAULT_AT_SWITCHOVER,
    FAULT_AT_READY,      /* native: OPEN is durable, READY has not arrived */
    FAULT_AT_COMMITTING, /* native: COMMITTED is durable, COMMIT has not arrived; QEVM: EOF or
                            POSTCOPY_RUN was sent, no answer arrives */
    FAULT_AT_RUNNING, /* native: STARTED is durable; QEVM: the guest was announced; no answer yet */
    FAULT_AT_POSTCOPY,
    FAULT_AT_RECOVERY, /* a cut in postcopy, the connection after it */
    FAULT_PHASES,
};

enum {
    FAULT_MAX_CUTS = 4,
};

struct fault_plan {
    uint64_t seed;
    enum fault_wire wire;
    enum fault_kind kind;
    enum fault_phase phase;
    bool race; /* the phase is seen and the fault follows at once; else the tap holds it there */
    uint64_t extra; /* bytes that pass after the phase is seen */
    unsigned cuts;  /* of FAULT_CUTS */
    uint64_t apart; /* bytes between them */
    unsigned stop_ms;
    bool let_out; /* what a killed source has sent arrives all the same */
    bool answer;  /* a destination that died comes back to answer; else the operator decides */

    unsigned mib;
    bool huge, shared;
    unsigned channels; /* native: data channels; QEVM: multifd, 0: none */
    const char *seal;  /* NULL: no keys */
    const char *pack;  /* NULL: none */
    bool digest;
    bool postcopy, preempt, pause;
    unsigned bandwidth; /* MiB/s */
};

/** The plan of a seed, of one wire or either. */
struct fault_plan fault_plan_new(uint64_t seed, enum fault_wire wires);
/** The same, of that kind and phase; fault_plan_fits() says whether there is such a thing. */
struct fault_plan fault_plan_of(uint64_t seed, enum fault_wire wire, enum fault_kind kind,
                                enum fault_phase phase);
bool fault_plan_fits(enum fault_wire wire, enum fault_kind kind, enum fault_phase phase);

const char *fault_kind_name(enum fault_kind kind);
const char *fault_phase_name(enum fault_phase phase);
/** A line for people. */
void fault_plan_text(const struct fault_plan *plan, char *text, size_t room);

#endif
