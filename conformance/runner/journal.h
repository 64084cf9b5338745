/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_JOURNAL_H
#define CONFORMANCE_RUNNER_JOURNAL_H

#include "conformance/runner/util.h"

/**
 * results.jsonl, the source of all reports, and what a run that was interrupted continues from: a
 * line of JSON for the run, then one for each cell as soon as it is judged ("first" where it is
 * to be run again, and "cell" later with the first attempt in it), at last a summary. Each
 * line is on the disk before the next cell's. A last line that is not whole does not count.
 */
struct cert_journal {
    FILE *file;
    json_t *run;   /* first line */
    json_t *cells; /* array: what has been judged */
    json_t *first; /* {id: line} of cells that want, or had, a second attempt */
    bool finished; /* there was a summary */
};

/**
 * Opens the journal at `path`. What is there is taken over when its run has the same "plan" and
 * "versions" as `run` and, unless `again`, is unfinished; else it begins anew. 0, or -1 with errno.
 */
int cert_journal_open(struct cert_journal *j, const char *path, const json_t *run, bool fresh,
                      bool again);
/** Only reads; -1: cannot be read. */
int cert_journal_read(struct cert_journal *j, const char *path);
int cert_journal_add(struct cert_journal *j, json_t *line);
const json_t *cert_journal_find(const struct cert_journal *j, const char *id);
/** The line of its first attempt, or NULL: there was none that did not count. */
const json_t *cert_journal_first(const struct cert_journal *j, const char *id);
void cert_journal_close(struct cert_journal *j);

#endif
