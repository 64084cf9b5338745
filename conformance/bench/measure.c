/* SPDX-License-Identifier: MIT */
#include "conformance/bench/measure.h"

#include <math.h>
#include <stdlib.h>

#define METRIC(name, unit, text) NAN,
const struct measured NOT_MEASURED = {.value = {METRICS(METRIC)}};
#undef METRIC

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/*
 * The k-th smallest and k-th largest of n enclose the median with 1 - 2 P(X < k), X binomial with
 * n and 1/2. Returns the largest k (from 1) for which that is at least 95 %; 1 when none is.
 */
static int order_of(int n) {
    double term = pow(0.5, n), below = term; /* P(X <= 0) */
    int k = 1;
    for (int i = 1; i < n && 2 * (below + term * (n - i + 1) / i) <= 0.05; i++) {
        term *= (double)(n - i + 1) / i;
        below += term;
        k = i + 1;
    }
    return k;
}

static struct summary of_values(double *values, int n) {
    struct summary s = {.count = n, .median = NAN, .low = NAN, .high = NAN};
    if (n == 0)
        return s;
    qsort(values, (size_t)n, sizeof *values, by_value);
    int k = order_of(n);
    s.median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    s.low = values[k - 1];
    s.high = values[n - k];
    return s;
}

struct summary summarize(const struct series *s, enum metric m) {
    double values[ROUNDS_MAX];
    int n = 0;
    for (int i = 0; i < ROUNDS_MAX; i++)
        if (s->done[i] && !isnan(s->runs[i].value[m]))
            values[n++] = s->runs[i].value[m];
    return of_values(values, n);
}

struct summary compare(const struct series *a, const struct series *b, enum metric m) {
    double values[ROUNDS_MAX];
    int n = 0;
    for (int i = 0; i < ROUNDS_MAX; i++) {
        double x = a->runs[i].value[m], y = b->runs[i].value[m];
        if (a->done[i] && b->done[i] && !isnan(x) && y > 0)
            values[n++] = x / y;
    }
    return of_values(values, n);
}

#define METRIC(name, unit, text) {#name, text, unit},
static const struct { const char *key, *text, *unit; } METRIC_NAMES[] = {METRICS(METRIC)};
#undef METRIC

const char *metric_key(enum metric m) {
    return METRIC_NAMES[m].key;
}
const char *metric_text(enum metric m) {
    return METRIC_NAMES[m].text;
}
const char *metric_unit(enum metric m) {
    return METRIC_NAMES[m].unit;
}
