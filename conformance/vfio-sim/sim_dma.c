/* SPDX-License-Identifier: MIT */
#include "sim_device.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Logging of the pages that the device writes by DMA: VFIO_DEVICE_FEATURE_DMA_LOGGING_*, or by the
 * container. While it is on, and the device runs, dma_rate pages a second are written in turn.
 */
enum {
    PAGE = 4096,
};
#define LOG_MAX (1ull << 32) /* pages of a log that are kept: 512 MiB of bits */

void vfs_dma_hook(struct vfs_device *device, vfs_dma_write *write, void *ctx) {
    device->dma.write = write;
    device->dma.ctx = ctx;
}

static void free_bits(struct vfs_dma *dma) {
    for (size_t i = 0; i < dma->range_count; i++)
        free(dma->bits[i]);
    dma->range_count = 0;
    dma->on = false;
}

void vfs_device_clear(struct vfs_device *device) {
    free_bits(&device->dma);
}

static bool is_ranges(const struct vfs_range *r, size_t count, uint64_t page_size) {
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++) {
        if (r[i].length == 0 || r[i].first % page_size || r[i].length % page_size ||
            r[i].length / page_size > LOG_MAX || r[i].first + r[i].length - 1 < r[i].first)
            return false;
        pages += r[i].length / page_size;
        for (size_t j = 0; j < i; j++)
            if (r[i].first < r[j].first + r[j].length && r[j].first < r[i].first + r[i].length)
                return false;
    }
    return pages <= LOG_MAX;
}

static int start(struct vfs_device *device, uint64_t now, uint64_t *page_size,
                 const struct vfs_range *ranges, size_t count) {
    struct vfs_dma *dma = &device->dma;
    if (dma->on || count == 0)
        return -EINVAL;
    if (count > VFS_RANGES_MAX)
        return -E2BIG;
    if (*page_size < PAGE || (*page_size & (*page_size - 1)))
        *page_size = PAGE;
    if (!is_ranges(ranges, count, *page_size))
        return -EINVAL;
    dma->page_size = *page_size;
    for (size_t i = 0; i < count; i++) {
        dma->ranges[i] = ranges[i];
        dma->bits[i] = calloc(ranges[i].length / *page_size / 64 + 1, sizeof(uint64_t));
        dma->range_count = i + 1;
        if (!dma->bits[i]) {
            free_bits(dma);
            return -ENOMEM;
        }
    }
    dma->on = true;
    dma->started = now;
    dma->written = 0;
    vfs_note(device, now, "log-start", "\"ranges\":%zu,\"page_size\":%llu", count,
             (unsigned long long)*page_size);
    return 0;
}

static int stop(struct vfs_device *device, uint64_t now) {
    free_bits(&device->dma);
    vfs_note(device, now, "log-stop", NULL);
    return 0;
}

int vfs_log_start(struct vfs_device *device, uint64_t now, uint64_t *page_size,
                  const struct vfs_range *ranges, size_t count) {
    return device->d.dma_log ? start(device, now, page_size, ranges, count) : -ENOTTY;
}

int vfs_log_stop(struct vfs_device *device, uint64_t now) {
    return device->d.dma_log ? stop(device, now) : -ENOTTY;
}

static void mark(struct vfs_dma *dma, uint64_t iova) {
    for (size_t i = 0; i < dma->range_count; i++) {
        const struct vfs_range *r = &dma->ranges[i];
        uint64_t page = (iova - r->first) / dma->page_size;
        if (iova < r->first || iova - r->first >= r->length)
            continue;
        dma->bits[i][page / 64] |= 1ull << (page % 64);
        if (dma->write)
            dma->write(dma->ctx, iova, PAGE);
    }
}

static bool runs(enum vfs_state state) {
    return state == VFS_RUNNING || state == VFS_RUNNING_P2P || state == VFS_PRE_COPY ||
           state == VFS_PRE_COPY_P2P;
}

void vfs_dma_advance(struct vfs_device *device, uint64_t now) {
    struct vfs_dma *dma = &device->dma;
    const struct vfs_description *d = &device->d;
    if (!dma->on || d->dma_pages == 0 || d->dma_rate == 0 || now < dma->started)
        return;
    uint64_t due = (uint64_t)((unsigned __int128)d->dma_rate * (now - dma->started) / 1000000000u);
    uint64_t from =
        due > d->dma_pages && due - d->dma_pages > dma->written ? due - d->dma_pages : dma->written;
    for (uint64_t k = from; k < due && runs(device->state); k++)
        mark(dma, d->dma_first + k % d->dma_pages * PAGE);
    dma->written = due;
}

/** One page of the log, in the answer's pages; last is the last byte that was asked for. */
static void answer(uint64_t *bitmap, uint64_t page_size, uint64_t iova, uint64_t last, uint64_t at,
                   uint64_t at_last) {
    uint64_t first = at < iova ? iova : at, end = at_last > last ? last : at_last;
    for (uint64_t b = (first - iova) / page_size; b <= (end - iova) / page_size; b++)
        bitmap[b / 64] |= 1ull << (b % 64);
}

/** Of one range: bits of [iova, last] into the answer, and away. */
static uint64_t report_range(struct vfs_dma *dma, size_t i, uint64_t iova, uint64_t last,
                             uint64_t page_size, uint64_t *bitmap) {
    const struct vfs_range *r = &dma->ranges[i];
    uint64_t found = 0, r_last = r->first + r->length - 1, *bits = dma->bits[i];
    if (r_last < iova || r->first > last)
        return 0;
    uint64_t page = iova > r->first ? (iova - r->first) / dma->page_size : 0;
    uint64_t end = ((last < r_last ? last : r_last) - r->first) / dma->page_size;
    for (; page <= end; page++) {
        if (bits[page / 64] == 0) {
            page |= 63;
            continue;
        }
        if (!(bits[page / 64] >> (page % 64) & 1))
            continue;
        uint64_t at = r->first + page * dma->page_size;
        bits[page / 64] &= ~(1ull << (page % 64));
        answer(bitmap, page_size, iova, last, at, at + dma->page_size - 1);
        found++;
    }
    return found;
}

static int report(struct vfs_device *device, uint64_t now, uint64_t iova, uint64_t length,
                  uint64_t page_size, uint64_t *bitmap) {
    struct vfs_dma *dma = &device->dma;
    if (!dma->on || page_size < PAGE || (page_size & (page_size - 1)) || length == 0 ||
        iova + length - 1 < iova)
        return -EINVAL;
    struct vfs_fault *f = vfs_fault_of(device, VFS_OP_REPORT, device->state, 0);
    if (f && f->kind <= VFS_STUCK)
        return vfs_fail(device, now, f);
    vfs_advance(device, now);
    uint64_t found = 0;
    for (size_t i = 0; i < dma->range_count; i++)
        found += report_range(dma, i, iova, iova + length - 1, page_size, bitmap);
    device->figures.reports++;
    if (found)
        vfs_note(device, now, "dirty", "\"pages\":%llu", (unsigned long long)found);
    return 0;
}

int vfs_log_report(struct vfs_device *device, uint64_t now, uint64_t iova, uint64_t length,
                   uint64_t page_size, uint64_t *bitmap) {
    return device->d.dma_log ? report(device, now, iova, length, page_size, bitmap) : -ENOTTY;
}

/* ---- by the container ---- */

bool vfs_iommu_logs(const struct vfs_device *device) {
    return device->d.iommu_log && !device->d.dma_log;
}

int vfs_iommu_log_start(struct vfs_device *device, uint64_t now, const struct vfs_range *ranges,
                        size_t count) {
    uint64_t page_size = PAGE;
    return start(device, now, &page_size, ranges, count);
}

void vfs_iommu_log_stop(struct vfs_device *device, uint64_t now) {
    (void)stop(device, now);
}

int vfs_iommu_log_report(struct vfs_device *device, uint64_t now, uint64_t iova, uint64_t length,
                         uint64_t *bitmap) {
    return report(device, now, iova, length, PAGE, bitmap);
}
