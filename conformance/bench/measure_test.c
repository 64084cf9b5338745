/* SPDX-License-Identifier: MIT */
#include "conformance/bench/measure.h"

#include <criterion/criterion.h>
#include <math.h>

TestSuite(measure, .timeout = 60);

static struct series counting(int n, double factor) {
    struct series s = {0};
    for (int i = 0; i < n; i++) {
        s.runs[i] = NOT_MEASURED;
        s.runs[i].value[METRIC_SECONDS] = factor * ((i * 7) % n + 1); /* 1 to n, shuffled */
        s.done[i] = true;
    }
    return s;
}

/* Orders for 95 % out of the sign test's tables. */
Test(measure, interval_of_the_median) {
    static const struct {
        int n, k;
    } table[] = {{1, 1},  {5, 1},  {6, 1},  {8, 1},  {9, 2},  {11, 2},
                 {12, 3}, {15, 4}, {17, 5}, {20, 6}, {25, 8}, {50, 18}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int n = table[i].n;
        struct series s = counting(n, 1);
        if (n % 7 == 0)
            continue;
        struct summary got = summarize(&s, METRIC_SECONDS);
        cr_assert_eq(got.count, n);
        cr_assert_eq(got.median, (n + 1) / 2.0, "%d", n);
        cr_assert_eq(got.low, table[i].k, "%d: %f", n, got.low);
        cr_assert_eq(got.high, n + 1 - table[i].k, "%d: %f", n, got.high);
    }
}

Test(measure, rounds_are_compared_pair_by_pair) {
    struct series a = counting(9, 3), b = counting(9, 2);
    b.done[4] = false;
    a.done[5] = false;
    a.runs[6].value[METRIC_SECONDS] = NAN;
    struct summary got = compare(&a, &b, METRIC_SECONDS);
    cr_assert_eq(got.count, 6);
    cr_assert_eq(got.median, 1.5);
    cr_assert_eq(got.low, 1.5);
    cr_assert_eq(got.high, 1.5);
}

Test(measure, nothing_measured_is_not_a_number) {
    struct series none = {0};
    cr_assert(isnan(summarize(&none, METRIC_WIRE).median));
    cr_assert(isnan(compare(&none, &none, METRIC_WIRE).median));
    struct series a = counting(9, 1);
    cr_assert_eq(summarize(&a, METRIC_WIRE).count, 0);
}
