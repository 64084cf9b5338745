/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_REPORT_H
#define CONFORMANCE_RUNNER_REPORT_H

#include "conformance/runner/journal.h"
#include "conformance/runner/verdict.h"

/**
 * Reports, all of them rendered from the journal's lines: the same lines give the same reports.
 * Functions return 0, or -1 when the file cannot be written.
 */
struct cert_report {
    const struct cert_journal *journal;
    const json_t *cases;
    const char *out;  /* the run's folder: logs and wires of its cells */
    const char *spec; /* folder of the specification, for the coverage; NULL: none */
};

/** Number of cells of each verdict. */
void cert_count(const struct cert_journal *j, size_t counts[CERT_VERDICTS]);

/** Cells that ran twice (schedule.h), and how many of them were not bad the second time. */
size_t cert_count_again(const struct cert_journal *j, size_t *good);

/** What a row and a column of the matrix have come to: the worst of its cells. */
struct cert_matrix {
    json_t *rows;    /* "source → destination", in order */
    json_t *columns; /* features, in order */
    json_t *at;      /* {row: {column: [cell's line, ...]}} */
};
void cert_matrix_make(const struct cert_journal *j, struct cert_matrix *m);
void cert_matrix_free(struct cert_matrix *m);
/** Of an array of lines. */
enum cert_verdict cert_matrix_worst(const json_t *lines);
/** For a terminal. */
void cert_matrix_print(const struct cert_journal *j, FILE *out);

int cert_report_tap(const struct cert_report *r, const char *path);
int cert_report_junit(const struct cert_report *r, const char *path);
int cert_report_html(const struct cert_report *r, const char *path);
/** Who can migrate to whom, for schedulers: see certify(1). */
int cert_report_compat(const struct cert_report *r, const char *path);
/**
 * Looks that up: 0 it can, 1 it cannot, 3 nobody has tried, with the reason printed. Ends are NAME
 * or NAME@MACHINE, feature may be NULL: each that was tried.
 */
int cert_compat_ask(const char *path, const char *source, const char *destination,
                    const char *feature);

/** {ID: {"id", "level", "text", "cases": N, "passed": N}} of all clauses; a new reference. */
json_t *cert_coverage(const struct cert_report *r);

#endif
