/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_RESOLVE_H
#define REFERENCE_SRC_RESOLVE_H

#include "host/journal.h"
#include "reference-src/options.h"

/** What became of a hand-over that was in doubt. */
enum src_settling {
    SRC_SETTLED_OURS,
    SRC_SETTLED_THEIRS,
    SRC_SETTLED_LOST, /* settled: theirs, and pages of it went with the program that had them */
    SRC_UNSETTLED,    /* still in doubt: not reached, no answer, or nothing could be made durable */
    SRC_PEER_BROKE,   /* still in doubt: the destination said what the rules do not allow */
    SRC_SETTLINGS,
};

/**
 * --resolve, --inquire: after a restart, for every hand-over in the journal folder that is in
 * doubt, makes durable what the operator or fencing has found out (HND-12), or what the destination
 * answers (HND-14). Says on standard error what came of each. Exit status: 0 all are settled, 1 a
 * destination broke the rules, 3 one is still in doubt.
 */
int src_resolve_journals(const struct src_options *options);

/**
 * Asks the destination at options->connect about the session of one journal, COMMITTED or LOST,
 * again and again for options->reconnect_ms, and writes its answer into the journal. *why, unless
 * it is settled: the last thing that went wrong.
 */
enum src_settling src_inquire(const struct src_options *options,
                              const struct vms_journal_record *record, struct vms_error *why);

#endif
