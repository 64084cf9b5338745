/* SPDX-License-Identifier: MIT */
#include "host/dirty_test_util.h"

#include <sched.h>

/* ---- exactness, ranges, beginning and end ---- */

typedef void (*scene)(struct rig *r);

static void with_each(scene play) {
    for (size_t t = 0; t < TRACKER_COUNT; t++)
        for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
            struct rig r;
            if (!rig_open(&r, &TRACKERS[t], &MEMORY_KINDS[k], 20))
                return;
            play(&r);
            rig_close(&r);
        }
}

static void start(struct rig *r) {
    cr_assert_eq(r->dirty.ops->start(r->dirty.ctx, &r->err), VMS_OK, "%s", r->err.message);
}

static void first_write(struct rig *r) {
    start(r);
    cr_assert_eq(collect(r, 0, 20), 0);
    for (uint64_t page = 0; page < 20; page += 3) {
        if (page % 2)
            (void)*(volatile uint8_t *)(r->block.memory + page * r->block.page_size);
        poke(r, (page + 1) * r->block.page_size - 8, 1);
    }
    cr_assert_eq(collect(r, 0, 20), 7);
    for (uint64_t page = 0; page < 20; page++)
        cr_assert_eq(bit(r->bitmap, page), page % 3 == 0, "page %d", (int)page);
    cr_assert_eq(collect(r, 0, 20), 0);
}

/* [HOST-13] a page that was never touched, or only read, is reported when it is written first. */
Test(dirty, first_write) {
    with_each(first_write);
}

static void ranges(struct rig *r) {
    start(r);
    for (uint64_t page = 0; page < 20; page++)
        poke(r, page * r->block.page_size, page);
    r->bitmap[0] = 1u << 6;
    cr_assert_eq(collect(r, 5, 3), 2, "page 6 was set before");
    cr_assert_eq(r->bitmap[0], 7u << 5);
    cr_assert_eq(collect(r, 19, 1), 1);
    cr_assert_eq(collect(r, 3, 0), 0);
    cr_assert_eq(collect(r, 0, 20), 16);
    cr_assert_eq(r->bitmap[0], 0xfffff);
    cr_assert_eq(r->dirty.ops->collect(r->dirty.ctx, 0, 19, 2, r->bitmap, NULL, &r->err),
                 VMS_E_MISUSE);
    cr_assert_eq(r->dirty.ops->collect(r->dirty.ctx, 1, 0, 0, r->bitmap, NULL, &r->err),
                 VMS_E_MISUSE);
    cr_assert_eq(collect(r, 0, 20), 0, "page 6 was collected, though it counted for nothing");
}

/* Only what was asked for is collected, the rest stays to be collected. */
Test(dirty, ranges) {
    with_each(ranges);
}

static void again(struct rig *r) {
    start(r);
    cr_assert_eq(r->dirty.ops->start(r->dirty.ctx, &r->err), VMS_E_MISUSE);
    poke(r, 0, 1);
    r->dirty.ops->stop(r->dirty.ctx);
    r->dirty.ops->stop(r->dirty.ctx);
    cr_assert_eq(r->dirty.ops->collect(r->dirty.ctx, 0, 0, 1, r->bitmap, NULL, &r->err),
                 VMS_E_MISUSE);
    for (uint64_t page = 0; page < 20; page++)
        poke(r, page * r->block.page_size, 7); /* nobody answers: it is writable */
    start(r);
    cr_assert_eq(collect(r, 0, 20), 0);
    poke(r, 3 * r->block.page_size, 8);
    cr_assert_eq(collect(r, 0, 20), 1);
    cr_assert_eq(r->bitmap[0], 1u << 3);
    r->dirty.ops->stop(r->dirty.ctx);
    for (uint64_t page = 0; page < 20; page++)
        cr_assert_eq(*(uint64_t *)(void *)(r->block.memory + page * r->block.page_size),
                     page == 3 ? 8u : 7u);
}

/* [HOST-15] the end leaves memory as it was, and writable; then it can begin again. */
Test(dirty, again) {
    with_each(again);
}

/* [HOST-13] writes of the kernel on the guest's behalf count as well. */
Test(dirty, system_calls) {
    for (size_t t = 0; t < 3; t++)
        for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
            struct rig r;
            int pipes[2];
            if (!rig_open(&r, &TRACKERS[t], &MEMORY_KINDS[k], 20))
                return;
            start(&r);
            cr_assert_eq(pipe(pipes), 0);
            cr_assert_eq(write(pipes[1], "disk", 4), 4);
            cr_assert_eq(read(pipes[0], r.block.memory + 5 * r.block.page_size - 2, 4), 4);
            cr_assert_eq(collect(&r, 0, 20), 2);
            cr_assert_eq(r.bitmap[0], 3u << 4);
            close(pipes[0]);
            close(pipes[1]);
            rig_close(&r);
        }
}

/* [HOST-15] memory that is not what it was any more is an error, now and later, and nobody waits.
 */
Test(dirty, lost) {
    for (size_t t = 0; t < 2; t++) {
        struct rig r;
        if (!rig_open(&r, &TRACKERS[t], &MEMORY_KINDS[0], 20))
            return;
        start(&r);
        poke(&r, 4 * SMALL_PAGE, 1);
        void *anew = mmap(r.block.memory + 4 * SMALL_PAGE, SMALL_PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        cr_assert_neq(anew, MAP_FAILED);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(r.dirty.ops->collect(r.dirty.ctx, 0, 0, 20, r.bitmap, NULL, &r.err),
                         VMS_E_IO, "%s", TRACKERS[t].name);
            cr_assert(strstr(r.err.message, "block ram"), "%s", r.err.message);
            poke(&r, 7 * SMALL_PAGE, 1);
        }
        rig_close(&r);
    }
}

/* Puts a descriptor that cannot be read in the place of the tracker's. */
static void break_tracker(void) {
    int broken = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (int fd = 3; fd < 1024; fd++) {
        char path[32], name[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof name - 1) > 0 && !strcmp(name, "anon_inode:[userfaultfd]"))
            cr_assert_eq(dup2(broken, fd), fd);
    }
    close(broken);
}

static void *write_one(void *ctx) {
    struct rig *r = ctx;
    poke(r, 3 * SMALL_PAGE, 1);
    return NULL;
}

/* [HOST-15] a tracker whose thread cannot go on lets the guest write, and says so at every
 * collection. */
Test(dirty, broken, .timeout = 60) {
    struct rig r;
    pthread_t guest;
    if (!rig_open(&r, &TRACKERS[1], &MEMORY_KINDS[0], 20))
        return;
    start(&r);
    break_tracker();
    pthread_create(&guest, NULL, write_one, &r);
    pthread_join(guest, NULL);
    while (r.dirty.ops->collect(r.dirty.ctx, 0, 0, 20, r.bitmap, NULL, &r.err) == VMS_OK)
        sched_yield();
    cr_assert_eq(r.err.code, VMS_E_IO);
    cr_assert_eq(r.dirty.ops->collect(r.dirty.ctx, 0, 0, 20, r.bitmap, NULL, &r.err), VMS_E_IO);
    poke(&r, 5 * SMALL_PAGE, 1);
    rig_close(&r);
}

/* The best that the kernel has; a log whose pages do not fit is refused. */
Test(dirty, choice) {
    struct rig r;
    if (!rig_open(&r, &TRACKERS[3], &MEMORY_KINDS[0], 20))
        return;
    struct vms_dirty best;
    cr_assert_eq(vms_dirty_new(VMS_DIRTY_BEST, &r.guest, &best, &r.err), VMS_OK);
    struct vms_dirty async;
    bool has = vms_dirty_new(VMS_DIRTY_WP_ASYNC, &r.guest, &async, &r.err) == VMS_OK;
    cr_assert_str_eq(best.name, has ? "wp-async" : "uffd-wp");
    best.ops->free(best.ctx);
    if (has)
        async.ops->free(async.ctx);
    struct vms_dirty_log log = {&r, 3000, log_enable, log_fetch};
    cr_assert_eq(vms_dirty_from_bitmap(&log, &r.guest, &best, &r.err), VMS_E_MISUSE);
    cr_assert_eq(vms_dirty_new_sync(&r.guest, 0, &best, &r.err), VMS_E_IO);
    rig_close(&r);
}
