/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BENCH_MEASURE_H
#define VMSTREAM_CONFORMANCE_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Figures of runs that take turns, and what follows from them. On a machine that others use too,
 * two ways are compared round by round: what slows one down slows its neighbours down.
 */
enum {
    ROUNDS_MAX = 99,
};

/* name, unit, text for tables; less is better in all */
#define METRICS(X)                                                                                 \
    X(SECONDS, "s", "total time")                                                                  \
    X(DOWNTIME, "ms", "downtime")                                                                  \
    X(WIRE, "bytes", "on the wire")                                                                \
    X(CPU_SRC, "s", "processor time, source")                                                      \
    X(CPU_DST, "s", "processor time, destination")                                                 \
    X(FAULTS, "", "faults")                                                                        \
    X(FAULT_MEAN, "us", "fault latency, mean")                                                     \
    X(FAULT_P50, "us", "fault latency, p50")                                                       \
    X(FAULT_P99, "us", "fault latency, p99")                                                       \
    X(RESENT, "", "wire bytes to a byte of re-sent pages")

enum metric {
#define METRIC(name, unit, text) METRIC_##name,
    METRICS(METRIC)
#undef METRIC
    METRIC_COUNT,
};

/* One run; NAN: does not apply. */
struct measured {
    double value[METRIC_COUNT];
};

extern const struct measured NOT_MEASURED;

/* All runs of one way. */
struct series {
    struct measured runs[ROUNDS_MAX]; /* by round */
    bool done[ROUNDS_MAX];
};

struct summary {
    int count;
    double median;
    /* The median of all that could be lies in here, at 95 %; with less than 6 runs: all of them. */
    double low, high;
};

struct summary summarize(const struct series *s, enum metric m);
/* Of the quotients a / b of the rounds that have both. */
struct summary compare(const struct series *a, const struct series *b, enum metric m);

const char *metric_key(enum metric m);
const char *metric_text(enum metric m);
const char *metric_unit(enum metric m);

#endif
