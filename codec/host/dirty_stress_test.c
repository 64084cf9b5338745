/* SPDX-License-Identifier: MIT */
#include "host/dirty_test_util.h"

/* No write is ever missed. */

static uint64_t next(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

struct writer {
    struct rig *rig;
    uint64_t seed;
    pthread_t thread;
};

static void *write_pages(void *ctx) {
    struct writer *w = ctx;
    while (!atomic_load_explicit(&w->rig->done, memory_order_relaxed)) {
        uint64_t at = next(&w->seed) % (w->rig->block.length / 8) * 8;
        /* one in two to few pages, so that the same page is written and collected at a time */
        if (w->seed >> 63)
            at %= 8 * w->rig->block.page_size;
        poke(w->rig, at, w->seed);
        atomic_fetch_add_explicit(&w->rig->writes, 1, memory_order_relaxed);
    }
    return NULL;
}

__attribute__((no_sanitize("thread"))) static void copy_page(const struct rig *r, uint8_t *copy,
                                                             uint64_t page) {
    uint64_t size = r->block.page_size;
    const uint64_t *from = (const uint64_t *)(const void *)(r->block.memory + page * size);
    for (uint64_t i = 0; i < size / 8; i++)
        ((uint64_t *)(void *)(copy + page * size))[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
}

/* One pass of a source: collect, then read. [HOST-14] */
static uint64_t pass(struct rig *r, uint8_t *copy) {
    uint64_t pages = pages_of(r);
    memset(r->bitmap, 0, (pages + 63) / 64 * 8);
    uint64_t found = collect(r, 0, pages);
    for (uint64_t page = 0; page < pages; page++)
        if (bit(r->bitmap, page))
            copy_page(r, copy, page);
    return found;
}

/* Some pages were written before, some only read, most never touched. */
static void touch_some(struct rig *r) {
    for (uint64_t page = 0; page < pages_of(r); page++) {
        if (page % 4 == 0)
            poke(r, page * r->block.page_size + 8 * (page % 512), page + 1);
        if (page % 4 == 1)
            (void)*(volatile uint8_t *)(r->block.memory + page * r->block.page_size);
    }
}

static void stress(struct rig *r, const char *what) {
    struct writer writers[WRITERS];
    uint8_t *copy = calloc(1, r->block.length);
    touch_some(r);
    cr_assert_eq(r->dirty.ops->start(r->dirty.ctx, &r->err), VMS_OK, "%s", r->err.message);
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.rig = r, .seed = 88172645463325252u + i * 7919};
        pthread_create(&writers[i].thread, NULL, write_pages, &writers[i]);
    }
    for (uint64_t page = 0; page < pages_of(r); page++)
        copy_page(r, copy, page);
    uint64_t seen = 0;
    for (int i = 0; i < 40 || atomic_load(&r->writes) < 20000; i++)
        seen += pass(r, copy);
    atomic_store(&r->done, true);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    seen += pass(r, copy);
    cr_assert_gt(seen, 0, "%s reports nothing", what);
    cr_assert(!memcmp(copy, r->block.memory, r->block.length), "%s misses a write", what);
    cr_assert_eq(pass(r, copy), 0, "%s reports pages that nobody writes", what);
    free(copy);
}

/* [HOST-13] [HOST-14] with collections running against writers all the time, a copy that is made of
 * what is reported becomes equal to memory, for every tracker and kind of memory. */
static void stress_all(const struct tracker *tracker) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        char what[64];
        uint64_t pages = MEMORY_KINDS[k].page_size == SMALL_PAGE ? 3001 : 9;
        if (!rig_open(&r, tracker, &MEMORY_KINDS[k], pages))
            return;
        snprintf(what, sizeof what, "%s, %s", tracker->name, MEMORY_KINDS[k].name);
        stress(&r, what);
        rig_close(&r);
    }
}

Test(dirty_stress, complete_async) {
    stress_all(&TRACKERS[0]);
}
Test(dirty_stress, complete_sync) {
    stress_all(&TRACKERS[1]);
}
Test(dirty_stress, complete_sync_old) {
    stress_all(&TRACKERS[2]);
}
Test(dirty_stress, complete_log) {
    stress_all(&TRACKERS[3]);
}

/* [HOST-13] small pages which the kernel puts together to huge ones, as it does with the memory of
 * most VMMs, and takes apart again when they are protected or written. */
Test(dirty_stress, transparent_huge_pages) {
    for (size_t t = 0; t < TRACKER_COUNT; t++) {
        struct rig r;
        if (!rig_open(&r, &TRACKERS[t], &MEMORY_KINDS[0], 4001))
            return;
        cr_assert_eq(madvise(r.block.memory, r.block.length, MADV_HUGEPAGE), 0);
        stress(&r, TRACKERS[t].name);
        rig_close(&r);
    }
}
