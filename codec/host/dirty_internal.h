/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_DIRTY_INTERNAL_H
#define VMSTREAM_HOST_DIRTY_INTERNAL_H

#include "host/dirty.h"
#include "host/uffd.h"

/*
 *   dirty.c        which tracker, and what both by the kernel share
 *   dirty_async.c  WP_ASYNC: the kernel notes writes by itself, PAGEMAP_SCAN reads them out
 *   dirty_sync.c   a write waits until a thread has noted it
 *   dirty_log.c    over a VMM's own log
 */

enum vms_code vms_dirty_new_async(const struct vms_guest *guest, struct vms_dirty *out,
                                  struct vms_error *err);
/* features: what it may use of those of the kernel, so that tests can play an older one. */
enum vms_code vms_dirty_new_sync(const struct vms_guest *guest, uint64_t features,
                                 struct vms_dirty *out, struct vms_error *err);

/* A guest's memory under write protection. */
struct vms_dirty_memory {
    const struct vms_guest *guest;
    uint64_t features; /* of userfaultfd, switched on */
    int uffd;          /* -1: not started */
};

/* Registers and protects all blocks; nothing on error. */
enum vms_code vms_dirty_protect_all(struct vms_dirty_memory *memory, struct vms_error *err);
/* Memory is writable again, who waited goes on. Idempotent. */
void vms_dirty_release_all(struct vms_dirty_memory *memory);

static inline uint64_t vms_dirty_pages(const struct vms_guest_block *block) {
    return block->length / block->page_size;
}

/* Whether collect() was asked for pages that there are. */
enum vms_code vms_dirty_check_range(const struct vms_guest *guest, size_t block, uint64_t first,
                                    uint64_t count, struct vms_error *err);

/* ORs bits into a word of a bitmap and counts those that were not set. */
static inline void vms_dirty_or(uint64_t *bitmap, uint64_t word, uint64_t bits, uint64_t *found) {
    *found += (uint64_t)__builtin_popcountll(bits & ~bitmap[word]);
    bitmap[word] |= bits;
}

/* The bits of [first, end) that lie in this word. */
static inline uint64_t vms_dirty_mask(uint64_t word, uint64_t first, uint64_t end) {
    uint64_t mask = ~UINT64_C(0);
    if (first > word * 64)
        mask &= mask << (first - word * 64);
    if (end < word * 64 + 64)
        mask &= ~UINT64_C(0) >> (word * 64 + 64 - end);
    return mask;
}

#endif
