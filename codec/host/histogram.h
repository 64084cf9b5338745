/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_HISTOGRAM_H
#define VMSTREAM_HOST_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/**
 * How values of any size are distributed, in constant memory: log-linear buckets, exact below
 * 2 * HISTOGRAM_STEPS, above that HISTOGRAM_STEPS to each power of two, so that a quantile is at
 * most 1 / HISTOGRAM_STEPS too large. A plain value; all zero is an empty one. No lock.
 */
enum {
    VMS_HISTOGRAM_STEPS = 16,
    VMS_HISTOGRAM_BUCKETS = 61 * VMS_HISTOGRAM_STEPS,
};

struct vms_histogram {
    uint64_t count, min, max; /* min and max: of count > 0 */
    double sum;
    uint64_t buckets[VMS_HISTOGRAM_BUCKETS];
};

void vms_histogram_add(struct vms_histogram *h, uint64_t value);
/** Adds what is in from. */
void vms_histogram_merge(struct vms_histogram *h, const struct vms_histogram *from);
/** 0 when empty. */
double vms_histogram_mean(const struct vms_histogram *h);
/**
 * The smallest bound that a share of at least q (0 to 1) of the values do not pass: the last value
 * of the bucket where that is reached, never above max. 0 when empty.
 */
uint64_t vms_histogram_quantile(const struct vms_histogram *h, double q);
/** First and last value of a bucket. */
uint64_t vms_histogram_low(size_t bucket);
uint64_t vms_histogram_high(size_t bucket);

#endif
