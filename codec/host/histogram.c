/* SPDX-License-Identifier: MIT */
#include "host/histogram.h"

/*
 * Bucket of v: below two rounds of steps v itself; above, the leading bit's place says which round
 * and the four bits behind it which step.
 */
static size_t bucket_of(uint64_t v) {
    if (v < 2 * VMS_HISTOGRAM_STEPS)
        return (size_t)v;
    unsigned shift = 63 - (unsigned)__builtin_clzll(v) - 4;
    return (size_t)shift * VMS_HISTOGRAM_STEPS + (size_t)(v >> shift);
}

_Static_assert(VMS_HISTOGRAM_STEPS == 1 << 4, "bucket_of() takes four bits");

uint64_t vms_histogram_low(size_t bucket) {
    if (bucket < 2 * VMS_HISTOGRAM_STEPS)
        return bucket;
    return (uint64_t)(bucket % VMS_HISTOGRAM_STEPS + VMS_HISTOGRAM_STEPS)
           << (bucket / VMS_HISTOGRAM_STEPS - 1);
}

uint64_t vms_histogram_high(size_t bucket) {
    if (bucket < 2 * VMS_HISTOGRAM_STEPS)
        return bucket;
    return vms_histogram_low(bucket) + ((UINT64_C(1) << (bucket / VMS_HISTOGRAM_STEPS - 1)) - 1);
}

void vms_histogram_add(struct vms_histogram *h, uint64_t value) {
    if (h->count == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->count++;
    h->sum += (double)value;
    h->buckets[bucket_of(value)]++;
}

void vms_histogram_merge(struct vms_histogram *h, const struct vms_histogram *from) {
    if (from->count == 0)
        return;
    if (h->count == 0 || from->min < h->min)
        h->min = from->min;
    if (from->max > h->max)
        h->max = from->max;
    h->count += from->count;
    h->sum += from->sum;
    for (size_t i = 0; i < VMS_HISTOGRAM_BUCKETS; i++)
        h->buckets[i] += from->buckets[i];
}

double vms_histogram_mean(const struct vms_histogram *h) {
    return h->count ? h->sum / (double)h->count : 0;
}

uint64_t vms_histogram_quantile(const struct vms_histogram *h, double q) {
    uint64_t seen = 0;
    for (size_t i = 0; i < VMS_HISTOGRAM_BUCKETS && h->count; i++) {
        seen += h->buckets[i];
        if (seen > 0 && (double)seen >= q * (double)h->count) {
            uint64_t high = vms_histogram_high(i);
            return high < h->max ? high : h->max;
        }
    }
    return h->max;
}
