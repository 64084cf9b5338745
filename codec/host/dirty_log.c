/* SPDX-License-Identifier: MIT */
#include "host/dirty_internal.h"

#include <stdlib.h>
#include <string.h>

struct log {
    struct vms_dirty_log vmm;
    const struct vms_guest *guest;
    bool on;
    uint64_t **kept; /* of each block, of each host page: fetched, not asked for yet */
    uint64_t fetched[VMS_DIRTY_LOG_MAX / 64];
};

static uint64_t min64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Log pages [first, first + count), as fetched, become dirty host pages: one suffices. */
static void keep(struct log *l, size_t index, uint64_t ratio, uint64_t first, uint64_t count) {
    uint64_t *kept = l->kept[index];
    for (uint64_t word = 0; word * 64 < count; word++)
        for (uint64_t bits = l->fetched[word]; bits; bits &= bits - 1) {
            uint64_t page = (first + word * 64 + (uint64_t)__builtin_ctzll(bits)) / ratio;
            kept[page / 64] |= UINT64_C(1) << page % 64;
        }
}

/* Fetches the log of host pages [first, end), and of what shares words with it. */
static enum vms_code fetch(struct log *l, size_t index, uint64_t first, uint64_t end,
                           struct vms_error *err) {
    const struct vms_guest_block *block = &l->guest->blocks[index];
    uint64_t ratio = block->page_size / l->vmm.page_size;
    uint64_t total = vms_dirty_pages(block) * ratio;
    uint64_t at = first * ratio / 64 * 64, last = min64((end * ratio + 63) / 64 * 64, total);
    while (at < last) {
        uint64_t count = min64(last - at, VMS_DIRTY_LOG_MAX);
        memset(l->fetched, 0, (count + 63) / 64 * 8);
        enum vms_code code = l->vmm.fetch(l->vmm.ctx, index, at, count, l->fetched, err);
        if (code != VMS_OK)
            return code;
        keep(l, index, ratio, at, count);
        at += count;
    }
    return VMS_OK;
}

/* [HOST-13] */
static enum vms_code collect(void *ctx, size_t index, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err) {
    struct log *l = ctx;
    uint64_t sum = 0, end = first + count;
    if (vms_dirty_check_range(l->guest, index, first, count, err) != VMS_OK)
        return err->code;
    if (!l->on)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was not started");
    if (count && fetch(l, index, first, end, err) != VMS_OK)
        return err->code;
    for (uint64_t word = first / 64; word * 64 < end; word++) {
        uint64_t mask = vms_dirty_mask(word, first, end);
        vms_dirty_or(bitmap, word, l->kept[index][word] & mask, &sum);
        l->kept[index][word] &= ~mask;
    }
    if (found)
        *found = sum;
    return VMS_OK;
}

static enum vms_code start(void *ctx, struct vms_error *err) {
    struct log *l = ctx;
    if (l->on)
        return vms_error_set(err, VMS_E_MISUSE, "dirty tracking was started twice");
    for (size_t i = 0; i < l->guest->block_count; i++)
        memset(l->kept[i], 0, (vms_dirty_pages(&l->guest->blocks[i]) + 63) / 64 * 8);
    enum vms_code code = l->vmm.enable(l->vmm.ctx, true, err);
    l->on = code == VMS_OK;
    return code;
}

static void stop(void *ctx) {
    struct log *l = ctx;
    struct vms_error ignored;
    if (l->on)
        (void)l->vmm.enable(l->vmm.ctx, false, &ignored);
    l->on = false;
}

static void free_log(void *ctx) {
    struct log *l = ctx;
    stop(l);
    for (size_t i = 0; l->kept && i < l->guest->block_count; i++)
        free(l->kept[i]);
    free(l->kept);
    free(l);
}

static bool fits(const struct vms_dirty_log *log, const struct vms_guest *guest) {
    for (size_t i = 0; i < guest->block_count; i++)
        if (!log->page_size || guest->blocks[i].page_size % log->page_size)
            return false;
    return true;
}

static bool allocate(struct log *l) {
    l->kept = calloc(l->guest->block_count ? l->guest->block_count : 1, sizeof *l->kept);
    for (size_t i = 0; l->kept && i < l->guest->block_count; i++) {
        l->kept[i] = calloc((vms_dirty_pages(&l->guest->blocks[i]) + 63) / 64, 8);
        if (!l->kept[i])
            return false;
    }
    return l->kept;
}

enum vms_code vms_dirty_from_bitmap(const struct vms_dirty_log *log, const struct vms_guest *guest,
                                    struct vms_dirty *out, struct vms_error *err) {
    static const struct vms_dirty_ops ops = {start, collect, stop, free_log};
    if (!fits(log, guest))
        return vms_error_set(err, VMS_E_MISUSE, "the log's pages of %llu bytes fit no block's",
                             (unsigned long long)log->page_size);
    struct log *l = calloc(1, sizeof *l);
    if (!l)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    l->vmm = *log;
    l->guest = guest;
    if (!allocate(l)) {
        free_log(l);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    *out = (struct vms_dirty){&ops, l, "vmm"};
    return VMS_OK;
}
