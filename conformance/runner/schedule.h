/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_SCHEDULE_H
#define CONFORMANCE_RUNNER_SCHEDULE_H

#include "conformance/runner/journal.h"
#include "conformance/runner/rig.h"

/**
 * Runs the cells of a plan that the journal has not got, several at a time, each in a process of
 * its own: a cell that crashes or hangs the runner's code is that cell's ERROR.
 *
 * Probes and the first sanity case come before all others, the last one after them. Cells of an
 * implementation that a probe has found out are SKIP; all are when the first sanity case breaks.
 *
 * A cell that ends as TIMEOUT or ERROR while others ran beside it, as on a machine that has too
 * much to do, runs once more at the end, alone and with deadlines twice as long. Its line has the
 * first attempt in "first"; the second counts.
 */
struct cert_schedule {
    struct cert_context context;
    const json_t *plan, *expected;
    struct cert_journal *journal;
    unsigned jobs;
    bool quiet;
};

/** 0, or -1: the journal cannot be written, or it was interrupted (SIGINT, SIGTERM). */
int cert_schedule_run(struct cert_schedule *s);

/** As many as cores, but no more than there is memory for. */
unsigned cert_schedule_jobs(void);

#endif
