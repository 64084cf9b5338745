/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BENCH_CASES_H
#define VMSTREAM_CONFORMANCE_BENCH_CASES_H

#include "conformance/bench/rig.h"

/*
 * What migrate-bench measures: rows, each a way to migrate at a place, and aims that compare rows.
 * Rows of one suite and size take turns.
 */
enum row_kind {
    ROW_FLOOR,
    ROW_OURS,
    ROW_QEMU,
    ROW_QEMU_POSTCOPY,
};

struct row {
    const char *suite;
    char name[56];
    enum row_kind kind;
    struct ours ours;
    struct qemu qemu;
    struct qemu_postcopy qemu_postcopy;
    enum place place;
    uint64_t bytes;
    struct series series;
    int failures; /* in a row: two, and it is left out */
    bool skipped; /* the error is that the machine has not what it takes */
    char error[600];
};

enum {
    ROWS_MAX = 256,
};

struct rows {
    size_t count;
    struct row list[ROWS_MAX];
};

/* Adds the rows of a suite: "whole", "dirty", "size", "channels", "postcopy",
 * "digest", "delta". bytes: of
 * guest memory where the suite does not say. False: no such suite. */
bool cases_add(struct rows *rows, const char *suite, uint64_t bytes);

/* The best row that fits `a` beside the best that fits `b`, at each place that has both. */
struct aim {
    const char *suite, *text;
    enum metric metric;
    const char *a; /* names, with | between them; one that ends in * begins so */
    const char *b; /* NULL: absolute, in the metric's unit */
    double most;   /* a / b, or a; 0: is told only */
    bool link;     /* holds for the link of 10 Gbit/s only */
};
extern const struct aim AIMS[];
extern const size_t AIM_COUNT;

bool name_fits(const char *name, const char *patterns);

#endif
