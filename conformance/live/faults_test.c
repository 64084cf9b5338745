/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Whole migrations by both programs, with a fault at a moment of each phase. Which moments is fixed
 * here, the rest is the seed's; `build/faults` runs as many others as one likes.
 */

struct moment {
    enum fault_wire wire;
    enum fault_kind kind;
    enum fault_phase phase;
    uint64_t seed;
};

static void run(const struct moment *moments, size_t count) {
    const char *build = getenv("VMSTREAM_BUILD");
    const char *keep = getenv("FAULTS_KEEP"); /* a folder for logs and journals of failures */
    struct fault_setup setup = {
        .build = build ? build : "build", .keep = keep, .can_mount = fault_own_mounts()};
    unsigned skipped = 0;
    for (size_t i = 0; i < count; i++) {
        const struct moment *m = &moments[i];
        struct fault_plan plan = fault_plan_of(m->seed, m->wire, m->kind, m->phase);
        struct fault_result result;
        char text[256];
        fault_plan_text(&plan, text, sizeof text);
        cr_expect(fault_plan_fits(m->wire, m->kind, m->phase), "%s", text);
        fault_run(&plan, &setup, &result);
        skipped += result.outcome == FAULT_SKIPPED;
        cr_expect_neq(result.outcome, FAULT_BAD, "seed %llu, %s: %s", (unsigned long long)plan.seed,
                      text, result.why);
        cr_expect(result.reached || result.outcome == FAULT_SKIPPED,
                  "seed %llu, %s: it ended before", (unsigned long long)plan.seed, text);
    }
    if (skipped == count)
        cr_skip_test("peer absent: no file system may be mounted here");
}

#define RUN(list) run(list, sizeof(list) / sizeof *(list))

/* [HND-2] [HND-4] [HND-6] [HND-9] [HND-10] [HND-12] [HND-14] [MIG-25] [MIG-32] [ENG-6] [ENG-7] */
Test(faults, native_kills, .timeout = 300) {
    static const struct moment list[] = {
        {FAULT_NATIVE, FAULT_KILL_DESTINATION, FAULT_AT_PRECOPY, 1},
        {FAULT_NATIVE, FAULT_KILL_DESTINATION, FAULT_AT_READY, 2},
        {FAULT_NATIVE, FAULT_KILL_DESTINATION, FAULT_AT_COMMITTING, 3},
        {FAULT_NATIVE, FAULT_KILL_SOURCE, FAULT_AT_READY, 4},
        {FAULT_NATIVE, FAULT_KILL_SOURCE, FAULT_AT_COMMITTING, 5},
        {FAULT_NATIVE, FAULT_KILL_SOURCE, FAULT_AT_RUNNING, 6},
        {FAULT_NATIVE, FAULT_KILL_BOTH, FAULT_AT_COMMITTING, 7},
        {FAULT_NATIVE, FAULT_KILL_DESTINATION, FAULT_AT_RUNNING, 5043}, /* postcopy; it is asked */
    };
    RUN(list);
}

/* [RSM-7] [HND-12] [MIG-25] [ENG-8] [ENG-13] [SRC-14] [SES-25] */
Test(faults, native_cuts_and_orders, .timeout = 300) {
    static const struct moment list[] = {
        {FAULT_NATIVE, FAULT_CUTS, FAULT_AT_PRECOPY, 11},
        {FAULT_NATIVE, FAULT_CUT, FAULT_AT_READY, 12},
        {FAULT_NATIVE, FAULT_CUT, FAULT_AT_COMMITTING, 13},
        {FAULT_NATIVE, FAULT_CUT, FAULT_AT_RUNNING, 14},
        {FAULT_NATIVE, FAULT_CUTS, FAULT_AT_POSTCOPY, 203},
        {FAULT_NATIVE, FAULT_CANCEL, FAULT_AT_SWITCHOVER, 16},
        {FAULT_NATIVE, FAULT_CANCEL, FAULT_AT_COMMITTING, 17},
    };
    RUN(list);
}

/* [HND-11] [HND-13] [HND-15] a disk that is full when the journal is to be written */
Test(faults, full_disks, .timeout = 300) {
    static const struct moment list[] = {
        {FAULT_NATIVE, FAULT_FULL_SOURCE, FAULT_AT_HELD, 21},
        {FAULT_NATIVE, FAULT_FULL_SOURCE, FAULT_AT_READY, 22},
        {FAULT_NATIVE, FAULT_FULL_DESTINATION, FAULT_AT_HELD, 23},
        {FAULT_NATIVE, FAULT_FULL_DESTINATION, FAULT_AT_COMMITTING, 24},
    };
    RUN(list);
}

/* [SRC-2] [SRC-3] [DST-8] [DST-11] [DST-18] [DST-19] [ENG-24] [REC-1] */
Test(faults, qevm, .timeout = 300) {
    static const struct moment list[] = {
        {FAULT_QEVM, FAULT_KILL_DESTINATION, FAULT_AT_SWITCHOVER, 31},
        {FAULT_QEVM, FAULT_KILL_DESTINATION, FAULT_AT_COMMITTING, 32},
        {FAULT_QEVM, FAULT_KILL_SOURCE, FAULT_AT_COMMITTING, 33},
        {FAULT_QEVM, FAULT_CUT, FAULT_AT_PRECOPY, 34},
        {FAULT_QEVM, FAULT_CUT, FAULT_AT_RUNNING, 35},
        {FAULT_QEVM, FAULT_CUTS, FAULT_AT_POSTCOPY, 36},
        {FAULT_QEVM, FAULT_CANCEL, FAULT_AT_PRECOPY, 37},
    };
    RUN(list);
}
