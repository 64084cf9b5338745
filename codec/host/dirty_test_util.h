/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_DIRTY_TEST_UTIL_H
#define VMSTREAM_HOST_DIRTY_TEST_UTIL_H

#include "host/dirty_internal.h"
#include "host/guest_test_util.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- trackers under test, and a VMM's log of writes ---- */

enum {
    LOG_PAGES = 16384,
    WRITERS = 3
};

struct rig {
    struct vms_guest_block block;
    struct vms_guest guest;
    struct vms_dirty dirty;
    struct vms_error err;
    uint64_t *bitmap;
    bool logging; /* writers tell the VMM's log */
    _Atomic uint64_t log[LOG_PAGES / 64];
    _Atomic bool done;
    _Atomic uint64_t writes;
};

static inline enum vms_code log_enable(void *ctx, bool on, struct vms_error *err) {
    struct rig *r = ctx;
    (void)err;
    for (size_t i = 0; on && i < LOG_PAGES / 64; i++)
        atomic_store(&r->log[i], 0);
    return VMS_OK;
}

static inline enum vms_code log_fetch(void *ctx, size_t block, uint64_t first, uint64_t count,
                                      uint64_t *bits, struct vms_error *err) {
    struct rig *r = ctx;
    (void)err;
    cr_assert_eq(block, 0);
    cr_assert(first % 64 == 0 && first + count <= LOG_PAGES && count <= VMS_DIRTY_LOG_MAX);
    for (uint64_t i = 0; i < (count + 63) / 64; i++)
        bits[i] = atomic_exchange(&r->log[first / 64 + i], 0);
    return VMS_OK;
}

static inline enum vms_code new_async(struct rig *r) {
    return vms_dirty_new(VMS_DIRTY_WP_ASYNC, &r->guest, &r->dirty, &r->err);
}
static inline enum vms_code new_sync(struct rig *r) {
    return vms_dirty_new(VMS_DIRTY_UFFD_WP, &r->guest, &r->dirty, &r->err);
}
/* As on Linux before 6.4, which does not protect holes. */
static inline enum vms_code new_old(struct rig *r) {
    uint64_t features = vms_uffd_features() & ~(uint64_t)UFFD_FEATURE_WP_UNPOPULATED;
    return vms_dirty_new_sync(&r->guest, features, &r->dirty, &r->err);
}
static inline enum vms_code new_log(struct rig *r) {
    struct vms_dirty_log log = {r, SMALL_PAGE, log_enable, log_fetch};
    r->logging = true;
    return vms_dirty_from_bitmap(&log, &r->guest, &r->dirty, &r->err);
}

static const struct tracker {
    const char *name;
    enum vms_code (*make)(struct rig *r);
} TRACKERS[] = {{"wp-async", new_async},
                {"uffd-wp", new_sync},
                {"uffd-wp, old kernel", new_old},
                {"log", new_log}};

enum {
    TRACKER_COUNT = sizeof TRACKERS / sizeof *TRACKERS
};

/* False, and a skip, when the machine cannot do it. */
static inline bool rig_open(struct rig *r, const struct tracker *tracker,
                            const struct memory_kind *kind, uint64_t pages) {
    memset(r, 0, sizeof *r);
    r->block = block_new(kind, pages);
    if (!r->block.memory) {
        skip_without(kind->name);
        return false;
    }
    r->guest = (struct vms_guest){.blocks = &r->block, .block_count = 1};
    if (tracker->make(r) != VMS_OK) {
        block_free(&r->block);
        skip_without(r->err.message);
        return false;
    }
    r->bitmap = calloc(pages / 64 + 1, 8);
    return true;
}

static inline void rig_close(struct rig *r) {
    r->dirty.ops->free(r->dirty.ctx);
    block_free(&r->block);
    free(r->bitmap);
}

static inline uint64_t pages_of(const struct rig *r) {
    return r->block.length / r->block.page_size;
}

static inline bool bit(const uint64_t *bitmap, uint64_t page) {
    return bitmap[page / 64] >> page % 64 & 1;
}

static inline uint64_t collect(struct rig *r, uint64_t first, uint64_t count) {
    uint64_t found = 0;
    enum vms_code code =
        r->dirty.ops->collect(r->dirty.ctx, 0, first, count, r->bitmap, &found, &r->err);
    cr_assert_eq(code, VMS_OK, "%s", r->err.message);
    return found;
}

/* What a guest does; the log is told when the write is done. */
__attribute__((no_sanitize("thread"))) static inline void poke(struct rig *r, uint64_t offset,
                                                               uint64_t value) {
    __atomic_store_n((uint64_t *)(void *)(r->block.memory + offset), value, __ATOMIC_RELAXED);
    if (r->logging)
        atomic_fetch_or(&r->log[offset / SMALL_PAGE / 64], UINT64_C(1) << offset / SMALL_PAGE % 64);
}

#endif
