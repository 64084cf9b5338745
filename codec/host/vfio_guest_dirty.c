/* SPDX-License-Identifier: MIT */
#include "host/vfio_guest_internal.h"

#include <stdlib.h>

/*
 * What devices write, beside what the CPUs write: by their own logs, or by that of a legacy
 * container, which tells of whole mappings at once: what was not asked for yet is held.
 */
struct dirty {
    struct vms_vfio_guest *devices;
    struct vms_dirty inner;
    bool container;  /* [VDEV-23] it logs, for devices that do not, or whose log is lost */
    uint64_t **held; /* of each block: a bit a page */
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

static uint64_t pages_of(const struct vms_guest_block *b) {
    return (b->length + b->page_size - 1) / b->page_size;
}

static void drop_held(struct dirty *d) {
    for (size_t i = 0; d->held && i < d->devices->guest->block_count; i++)
        free(d->held[i]);
    free(d->held);
    d->held = NULL;
}

static enum vms_code start_container(struct dirty *d, struct vms_error *err) {
    const struct vms_guest *guest = d->devices->guest;
    drop_held(d);
    d->held = calloc(guest->block_count + 1, sizeof *d->held);
    bool whole = d->held != NULL;
    for (size_t i = 0; i < guest->block_count && whole; i++) {
        d->held[i] = calloc(pages_of(&guest->blocks[i]) / 64 + 1, sizeof **d->held);
        whole = d->held[i] != NULL;
    }
    if (!whole)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    return vms_vfio_container_log_start(d->devices->iommu, err);
}

static enum vms_code start(void *ctx, struct vms_error *err) {
    struct dirty *d = ctx;
    enum vms_code code = d->inner.ops->start(d->inner.ctx, err);
    d->container = d->devices->count && vms_vfio_container_logs(d->devices->iommu);
    if (code == VMS_OK && d->container) /* one that does not begin is none */
        d->container = start_container(d, err) == VMS_OK;
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

/* *missing: nobody knows what this one has written. */
static enum vms_code collect_device(struct dirty *d, struct vms_vfio *device, size_t block,
                                    uint64_t first, uint64_t count, uint64_t *bits, bool *missing,
                                    struct vms_error *err) {
    uint64_t page = d->devices->guest->blocks[block].page_size;
    uint64_t *own = calloc(count / 64 + 1, sizeof *own);
    bool lost = true;
    enum vms_code code = own ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (code == VMS_OK && vms_vfio_features(device)->dma_logging)
        code = vms_vfio_log_report(device, d->devices->iova[block] + first * page, count * page,
                                   page, own, &lost, err);
    for (uint64_t i = 0; i <= count / 64 && code == VMS_OK && !lost; i++)
        bits[i] |= own[i];
    *missing = *missing || lost;
    free(own);
    return code;
}

/* What the container tells of the whole block, and the part of it that is asked for. */
static enum vms_code collect_container(struct dirty *d, size_t block, uint64_t first,
                                       uint64_t count, uint64_t *bits, struct vms_error *err) {
    const struct vms_guest_block *b = &d->devices->guest->blocks[block];
    uint64_t *held = d->held[block];
    bool lost;
    enum vms_code code = vms_vfio_container_log_report(d->devices->iommu, d->devices->iova[block],
                                                       b->length, b->page_size, held, &lost, err);
    for (uint64_t i = 0; i < count && code == VMS_OK; i++) {
        uint64_t at = first + i, bit = 1ull << (at % 64);
        if (held[at / 64] & bit)
            bits[i / 64] |= 1ull << (i % 64);
        held[at / 64] &= ~bit;
    }
    return code;
}

/* [VDEV-23], or [VDEV-3] */
static enum vms_code collect_missing(struct dirty *d, size_t block, uint64_t first, uint64_t count,
                                     uint64_t *bits, struct vms_error *err) {
    if (d->container)
        return collect_container(d, block, first, count, bits, err);
    for (uint64_t i = 0; i < count; i++)
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
    bool missing = false;
    for (size_t i = 0; i < d->devices->count && code == VMS_OK; i++)
        code = collect_device(d, d->devices->device[i], block, first, count, bits, &missing, err);
    if (code == VMS_OK && missing)
        code = collect_missing(d, block, first, count, bits, err);
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
    vms_vfio_container_log_stop(d->devices->iommu);
}

static void free_dirty(void *ctx) {
    struct dirty *d = ctx;
    drop_held(d);
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
