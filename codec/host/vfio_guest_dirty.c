/* SPDX-License-Identifier: MIT */
#include "host/vfio_guest_internal.h"

#include <stdlib.h>

/* What devices write, beside what the CPUs write. */
struct dirty {
    struct vms_vfio_guest *devices;
    struct vms_dirty inner;
};

static enum vms_code start_device(const struct vms_vfio_guest *g, struct vms_vfio *device,
                                  struct vms_error *err) {
    struct vms_vfio_range *ranges = calloc(g->guest->block_count + 1, sizeof *ranges);
    uint64_t page_size = UINT64_MAX;
    if (!ranges)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < g->guest->block_count; i++) {
        const struct vms_guest_block *b = &g->guest->blocks[i];
        ranges[i] = (struct vms_vfio_range){g->iova[i], b->length};
        page_size = b->page_size < page_size ? b->page_size : page_size;
    }
    enum vms_code code = vms_vfio_log_start(device, ranges, g->guest->block_count, page_size, err);
    free(ranges);
    return code;
}

static enum vms_code start(void *ctx, struct vms_error *err) {
    struct dirty *d = ctx;
    enum vms_code code = d->inner.ops->start(d->inner.ctx, err);
    for (size_t i = 0; i < d->devices->count && code == VMS_OK; i++) {
        struct vms_vfio *device = d->devices->device[i];
        vms_vfio_log_stop(device);
        if (vms_vfio_features(device)->dma_logging)
            code = start_device(d->devices, device, err);
    }
    return code;
}

/* bits: count of them, from bit 0; they go to bitmap from bit first on. */
static void merge(const uint64_t *bits, uint64_t first, uint64_t count, uint64_t *bitmap,
                  uint64_t *found) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = first + i, bit = 1ull << (at % 64);
        if (bits[i / 64] == 0) {
            i |= 63;
            continue;
        }
        if (!(bits[i / 64] >> (i % 64) & 1) || (bitmap[at / 64] & bit))
            continue;
        bitmap[at / 64] |= bit;
        if (found)
            ++*found;
    }
}

static enum vms_code collect_device(struct dirty *d, struct vms_vfio *device, size_t block,
                                    uint64_t first, uint64_t count, uint64_t *bits,
                                    struct vms_error *err) {
    uint64_t page = d->devices->guest->blocks[block].page_size;
    bool lost;
    if (vms_vfio_features(device)->dma_logging)
        return vms_vfio_log_report(device, d->devices->iova[block] + first * page, count * page,
                                   page, bits, &lost, err);
    for (uint64_t i = 0; i < count; i++) /* [VDEV-3] */
        bits[i / 64] |= 1ull << (i % 64);
    return VMS_OK;
}

static enum vms_code collect(void *ctx, size_t block, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err) {
    struct dirty *d = ctx;
    enum vms_code code =
        d->inner.ops->collect(d->inner.ctx, block, first, count, bitmap, found, err);
    if (code != VMS_OK || count == 0 || d->devices->count == 0)
        return code;
    uint64_t *bits = calloc(count / 64 + 1, sizeof *bits);
    if (!bits)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < d->devices->count && code == VMS_OK; i++)
        code = collect_device(d, d->devices->device[i], block, first, count, bits, err);
    if (code == VMS_OK)
        merge(bits, first, count, bitmap, found);
    free(bits);
    return code;
}

static void stop(void *ctx) {
    struct dirty *d = ctx;
    d->inner.ops->stop(d->inner.ctx);
    for (size_t i = 0; i < d->devices->count; i++)
        vms_vfio_log_stop(d->devices->device[i]);
}

static void free_dirty(void *ctx) {
    struct dirty *d = ctx;
    d->inner.ops->free(d->inner.ctx);
    free(d);
}

static const struct vms_dirty_ops ops = {
    .start = start,
    .collect = collect,
    .stop = stop,
    .free = free_dirty,
};

enum vms_code vms_vfio_guest_dirty(struct vms_vfio_guest *devices, struct vms_dirty inner,
                                   struct vms_dirty *out, struct vms_error *err) {
    struct dirty *d = calloc(1, sizeof *d);
    if (!d) {
        inner.ops->free(inner.ctx);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    d->devices = devices;
    d->inner = inner;
    *out = inner;
    out->ops = &ops;
    out->ctx = d;
    return VMS_OK;
}
