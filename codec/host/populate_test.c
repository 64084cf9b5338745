/* SPDX-License-Identifier: MIT */
#include "host/guest_test_util.h"
#include "host/populate.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static uint64_t resident(const struct vms_guest_block *block) {
    uint64_t pages = block->length / 4096, n = 0;
    unsigned char *in = malloc(pages);
    cr_assert_eq(mincore(block->memory, block->length, in), 0);
    for (uint64_t i = 0; i < pages; i++)
        n += in[i] & 1;
    free(in);
    return n * 4096;
}

typedef enum vms_code (*starter)(const struct vms_guest_block *blocks, size_t count, uint64_t chunk,
                                 struct vms_populate **out, struct vms_error *err);

static const starter STARTERS[] = {vms_populate_start, vms_populate_start_touching};

static struct vms_populate *begin(starter start, const struct vms_guest_block *block,
                                  uint64_t chunk) {
    struct vms_populate *p;
    struct vms_error err;
    cr_assert_eq(start(block, 1, chunk, &p, &err), VMS_OK, "%s", err.message);
    return p;
}

static void finish(struct vms_populate *p) {
    struct vms_error err;
    cr_assert_eq(vms_populate_wait(p, &err), VMS_OK, "%s", err.message);
    vms_populate_stop(p);
}

static void populate_kind(starter start, const struct memory_kind *kind) {
    struct vms_guest_block block = block_new(kind, kind->page_size == SMALL_PAGE ? 700 : 5);
    struct vms_populate_progress progress;
    struct vms_error err;
    if (!block.memory) {
        skip_without(kind->name);
        return;
    }
    block.memory[block.length - 3] = 7;
    struct vms_populate *p = begin(start, &block, 100000);
    cr_assert_eq(vms_populate_wait(p, &err), VMS_OK, "%s", err.message);
    vms_populate_progress(p, &progress);
    cr_assert(progress.finished && progress.done == block.length);
    cr_assert_eq(progress.total, block.length);
    cr_assert(progress.touching || start == vms_populate_start);
    if (kind->page_size == SMALL_PAGE)
        cr_assert_eq(resident(&block), block.length);
    cr_assert_eq(block.memory[block.length - 3], 7);
    for (uint64_t i = 0; i < block.length - 3; i++)
        cr_assert_eq(block.memory[i], 0);
    vms_populate_stop(p);
    block_free(&block);
}

/* [HOST-16] all memory of every kind is there afterwards, and is what it was. */
Test(populate, all_kinds) {
    for (size_t s = 0; s < 2; s++)
        for (size_t k = 0; k < MEMORY_KIND_COUNT; k++)
            populate_kind(STARTERS[s], &MEMORY_KINDS[k]);
}

enum {
    FEW_PAGES = 4,
    COUNTS = 100
};

struct arrival {
    struct vms_guest_block *block;
    pthread_t thread;
    uint64_t page;
    _Atomic bool done;
};

/* Counts up all words of a page, again and again, as data that arrives. */
static void *arrive(void *ctx) {
    struct arrival *a = ctx;
    uint64_t *words = (uint64_t *)(void *)(a->block->memory + a->page * SMALL_PAGE);
    for (int i = 0; i < COUNTS * 512; i++)
        __atomic_fetch_add(&words[i % 512], 1, __ATOMIC_RELAXED);
    atomic_store(&a->done, true);
    return NULL;
}

/* Told that pages are of one byte, touching comes by everywhere all the time. */
static void populate_beside_data(starter start, const struct memory_kind *kind) {
    struct vms_guest_block block = block_new(kind, FEW_PAGES), bytes = block;
    bytes.page_size = start == vms_populate_start ? SMALL_PAGE : 1;
    struct arrival arrivals[FEW_PAGES];
    cr_assert_not_null(block.memory);
    for (uint64_t i = 0; i < FEW_PAGES; i++) {
        arrivals[i] = (struct arrival){.block = &block, .page = i};
        pthread_create(&arrivals[i].thread, NULL, arrive, &arrivals[i]);
    }
    for (uint64_t i = 0; i < FEW_PAGES; i++)
        while (!atomic_load(&arrivals[i].done))
            finish(begin(start, &bytes, SMALL_PAGE));
    for (uint64_t i = 0; i < FEW_PAGES; i++) {
        pthread_join(arrivals[i].thread, NULL);
        for (uint64_t at = i * SMALL_PAGE; at < (i + 1) * SMALL_PAGE; at += 8)
            cr_assert_eq(*(uint64_t *)(void *)(block.memory + at), COUNTS);
    }
    block_free(&block);
}

/* [HOST-16] what arrives while memory is populated, over and over, is not undone. */
Test(populate, beside_data) {
    for (int i = 0; i < 12; i++)
        populate_beside_data(STARTERS[i % 2], &MEMORY_KINDS[i / 2 % 2]);
}

/* After a pause at most the chunk under way is done; it goes on where it was. */
Test(populate, pause) {
    struct vms_guest_block block = block_new(&MEMORY_KINDS[0], 65536);
    struct vms_populate_progress before, after;
    cr_assert_not_null(block.memory);
    struct vms_populate *p = NULL;
    do { /* again, if it was done before the pause */
        vms_populate_stop(p);
        p = begin(vms_populate_start, &block, SMALL_PAGE);
        vms_populate_pause(p, true);
        vms_populate_progress(p, &before);
    } while (before.finished);
    cr_assert(before.paused);
    for (int i = 0; i < 2000; i++)
        sched_yield();
    vms_populate_progress(p, &after);
    cr_assert(after.done <= before.done + SMALL_PAGE && !after.finished);
    vms_populate_pause(p, false);
    finish(p);
    cr_assert_eq(resident(&block), block.length);
    block_free(&block);
}

/* Cancelled in the midst and while it is paused; nothing waits. */
Test(populate, cancel) {
    struct vms_guest_block block = block_new(&MEMORY_KINDS[0], 65536);
    cr_assert_not_null(block.memory);
    for (int i = 0; i < 20; i++) {
        struct vms_populate *p = begin(STARTERS[i % 2], &block, SMALL_PAGE);
        if (i % 4 > 1)
            vms_populate_pause(p, true);
        vms_populate_stop(p);
    }
    vms_populate_stop(NULL);
    block_free(&block);
}

/* Memory that the kernel does not give is an error, not a crash. */
Test(populate, no_memory) {
    struct vms_error err;
    struct vms_guest_block block = block_new(&MEMORY_KINDS[1], 16);
    cr_assert_eq(ftruncate(block.fd, 8 * SMALL_PAGE), 0);
    struct vms_populate *p = begin(vms_populate_start, &block, SMALL_PAGE);
    enum vms_code code = vms_populate_wait(p, &err);
    struct vms_populate_progress progress;
    vms_populate_progress(p, &progress);
    cr_assert(code == VMS_E_IO || code == VMS_E_NO_MEMORY);
    cr_assert(progress.finished && progress.done == 8 * SMALL_PAGE);
    vms_populate_stop(p);
    block_free(&block);
}
