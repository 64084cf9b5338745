/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vdpa_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * [VDPA-18] What devices write: shadow rings tell it. Of a device that cannot have them nothing
 * tells: when it was stopped, all memory is dirty once more.
 */
struct dirty {
    struct src_vdpa *vdpa;
    struct vms_dirty inner;
    uint64_t stops; /* of unwatched devices that are in the bitmaps */
};

static uint64_t words_of(const struct vms_guest_block *b) {
    return b->length / b->page_size / 64 + 1;
}

uint64_t **src_vdpa_bitmaps(const struct vms_guest *guest) {
    uint64_t **bitmaps = calloc(guest->block_count + 1, sizeof *bitmaps);
    for (size_t i = 0; bitmaps && i < guest->block_count; i++) {
        bitmaps[i] = calloc(words_of(&guest->blocks[i]), sizeof **bitmaps);
        if (!bitmaps[i]) {
            src_vdpa_bitmaps_free(bitmaps, guest);
            return NULL;
        }
    }
    return bitmaps;
}

void src_vdpa_bitmaps_free(uint64_t **bitmaps, const struct vms_guest *guest) {
    for (size_t i = 0; bitmaps && i < guest->block_count; i++)
        free(bitmaps[i]);
    free(bitmaps);
}

void src_vdpa_wrote(void *ctx, uint64_t iova, uint64_t length) {
    const struct src_vdpa_one *one = ctx;
    const struct vms_guest *g = one->set->wrap.inner;
    for (size_t i = 0; i < g->block_count; i++) {
        const struct vms_guest_block *b = &g->blocks[i];
        const uint64_t start = vms_vdpa_seat_iova(g, i), end = iova + length;
        uint64_t from = iova > start ? iova - start : 0;
        uint64_t to = end > start ? end - start : 0;
        to = to < b->length ? to : b->length;
        for (uint64_t p = from / b->page_size; from < to && p <= (to - 1) / b->page_size; p++)
            (void)__atomic_fetch_or(&one->set->written[i][p / 64], UINT64_C(1) << (p % 64),
                                    __ATOMIC_RELEASE);
    }
}

static void take_stops(struct dirty *d) {
    const struct vms_guest *g = d->vdpa->wrap.inner;
    if (d->stops == d->vdpa->stops)
        return;
    d->stops = d->vdpa->stops;
    for (size_t i = 0; i < g->block_count; i++)
        for (uint64_t w = 0; w < words_of(&g->blocks[i]); w++)
            __atomic_store_n(&d->vdpa->written[i][w], UINT64_MAX, __ATOMIC_RELEASE);
}

/** Bits of [first, first + count) of one word of the bitmap. */
static uint64_t mask(uint64_t word, uint64_t first, uint64_t count) {
    uint64_t low = word * 64 > first ? word * 64 : first;
    uint64_t high = word * 64 + 64 < first + count ? word * 64 + 64 : first + count;
    return (high - low == 64 ? UINT64_MAX : (UINT64_C(1) << (high - low)) - 1) << (low % 64);
}

static enum vms_code collect(void *ctx, size_t block, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err) {
    struct dirty *d = ctx;
    enum vms_code code =
        d->inner.ops->collect(d->inner.ctx, block, first, count, bitmap, found, err);
    if (code != VMS_OK || count == 0)
        return code;
    take_stops(d);
    for (uint64_t w = first / 64; w <= (first + count - 1) / 64; w++) {
        uint64_t *word = &d->vdpa->written[block][w], wanted = mask(w, first, count);
        uint64_t got = __atomic_fetch_and(word, ~wanted, __ATOMIC_ACQUIRE) & wanted;
        if (found)
            *found += (uint64_t)__builtin_popcountll(got & ~bitmap[w]);
        bitmap[w] |= got;
    }
    return code;
}

/* What was written before is read after this: no matter. */
static enum vms_code start(void *ctx, struct vms_error *err) {
    struct dirty *d = ctx;
    const struct vms_guest *g = d->vdpa->wrap.inner;
    d->stops = d->vdpa->stops;
    for (size_t i = 0; i < g->block_count; i++)
        for (uint64_t w = 0; w < words_of(&g->blocks[i]); w++)
            __atomic_store_n(&d->vdpa->written[i][w], 0, __ATOMIC_RELEASE);
    return d->inner.ops->start(d->inner.ctx, err);
}

static void stop(void *ctx) {
    struct dirty *d = ctx;
    d->inner.ops->stop(d->inner.ctx);
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

enum vms_code src_vdpa_dirty(struct src_vdpa *vdpa, struct vms_dirty inner, struct vms_dirty *out,
                             struct vms_error *err) {
    struct dirty *d = calloc(1, sizeof *d);
    if (!d) {
        inner.ops->free(inner.ctx);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    *d = (struct dirty){.vdpa = vdpa, .inner = inner, .stops = vdpa->stops};
    *out = inner;
    out->ops = &ops;
    out->ctx = d;
    return VMS_OK;
}
