/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BENCH_RESULTS_H
#define VMSTREAM_CONFORMANCE_BENCH_RESULTS_H

#include "conformance/bench/cases.h"

#include <jansson.h>
#include <stdio.h>

/* What came of an aim at one place. */
struct verdict {
    const struct aim *aim;
    const struct row *a, *b; /* b NULL: absolute */
    struct summary got;
    bool met;
};

enum {
    VERDICTS_MAX = 64,
};

/* The best rows that an aim is about, at each place. Returns how many; 0: not measured. */
size_t judge(const struct rows *rows, struct verdict out[VERDICTS_MAX]);

/* What the row's error says of it: "failed", or "skipped". */
const char *trouble(const struct row *r);
/* One run as a line of JSON. */
void write_line(FILE *out, const struct row *row, int round);
/* The table of each suite, what failed, the aims. */
void print_results(const struct rows *rows);
/* All of it as a document: of it a page is made. A new reference. */
json_t *results_document(const struct rows *rows, const char *const *environment);
/* 0, or -1 with errno. */
int write_page(const char *path, const json_t *document);

#endif
