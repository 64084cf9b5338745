/* SPDX-License-Identifier: MIT */
#include "host/histogram.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(histogram, .timeout = 60);

Test(histogram, buckets_follow_each_other_without_gap) {
    cr_assert_eq(vms_histogram_low(0), 0);
    for (size_t i = 1; i < VMS_HISTOGRAM_BUCKETS; i++)
        cr_assert_eq(vms_histogram_low(i), vms_histogram_high(i - 1) + 1, "bucket %zu", i);
    cr_assert_eq(vms_histogram_high(VMS_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}

Test(histogram, a_value_lies_in_its_bucket) {
    for (unsigned bit = 0; bit < 64; bit++)
        for (int away = -1; away <= 1; away++) {
            struct vms_histogram h = {0};
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)away;
            vms_histogram_add(&h, v);
            size_t i = 0;
            while (i < VMS_HISTOGRAM_BUCKETS && !h.buckets[i])
                i++;
            cr_assert(vms_histogram_low(i) <= v && v <= vms_histogram_high(i));
            cr_assert_eq(vms_histogram_quantile(&h, 0.5), v);
        }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The oracle sorts. */
Test(histogram, quantiles_are_at_most_a_sixteenth_too_large) {
    enum {
        COUNT = 9973
    };
    static uint64_t values[COUNT];
    static struct vms_histogram h, half[2];
    uint64_t x = 1;
    double sum = 0;
    for (size_t i = 0; i < COUNT; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = x >> (x >> 58) >> 4;
        sum += (double)values[i];
        vms_histogram_add(&half[i % 2], values[i]);
    }
    vms_histogram_merge(&h, &half[0]);
    vms_histogram_merge(&h, &half[1]);
    qsort(values, COUNT, sizeof *values, by_value);
    cr_assert_eq(h.count, COUNT);
    cr_assert_eq(h.min, values[0]);
    cr_assert_eq(h.max, values[COUNT - 1]);
    cr_assert(vms_histogram_mean(&h) > sum / COUNT * 0.999);
    cr_assert(vms_histogram_mean(&h) < sum / COUNT * 1.001);
    for (int permille = 0; permille <= 1000; permille++) {
        size_t rank = ((size_t)permille * COUNT + 999) / 1000;
        uint64_t want = values[rank ? rank - 1 : 0];
        uint64_t got = vms_histogram_quantile(&h, permille / 1000.0);
        cr_assert(got >= want && got - want <= want / 16, "%d: %llu, want %llu", permille,
                  (unsigned long long)got, (unsigned long long)want);
    }
}

Test(histogram, empty_is_zero) {
    struct vms_histogram h = {0};
    vms_histogram_merge(&h, &(struct vms_histogram){0});
    cr_assert_eq(vms_histogram_mean(&h), 0);
    cr_assert_eq(vms_histogram_quantile(&h, 0.99), 0);
}
