/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/ram_cursor.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The cursor against a model that keeps a flag for every page and looks at all of them. */

enum {
    PAGE = 4096,
    BLOCKS = 3,
    PAGES_MAX = 2048,
};

static uint64_t seed;

static uint32_t roll(uint32_t below) {
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(seed >> 33) % below;
}

struct model {
    struct vms_guest_block blocks[BLOCKS];
    struct src_ram *ram;
    void *mem;
    bool dirty[BLOCKS][PAGES_MAX];
    bool given[BLOCKS][PAGES_MAX]; /* precopy: in this pass; postcopy: ever */
    uint64_t count;
};

static uint64_t pages_of(const struct model *m, uint32_t block) {
    return m->blocks[block].length / PAGE;
}

static uint64_t per_host(const struct model *m, uint32_t block) {
    return m->blocks[block].page_size / PAGE;
}

static void set_up(struct model *m, uint64_t number) {
    static const uint64_t host[] = {PAGE, 4 * PAGE, 64 * PAGE, 512 * PAGE};
    memset(m, 0, sizeof *m);
    seed = number;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint64_t size = host[roll(4)];
        uint64_t most = (uint64_t)PAGES_MAX * PAGE / size;
        m->blocks[i] = (struct vms_guest_block){
            .page_size = size, .length = size * (1 + roll((uint32_t)(most < 300 ? most : 300)))};
        memset(m->dirty[i], 1, pages_of(m, i));
        m->count += pages_of(m, i);
    }
    m->mem = malloc(src_ram_size(m->blocks, BLOCKS, PAGE));
    m->ram = src_ram_init(m->mem, m->blocks, BLOCKS, PAGE);
}

static void mark(struct model *m, uint32_t block, uint64_t first, uint64_t count) {
    for (uint64_t p = first; p < first + count && p < pages_of(m, block); p++) {
        m->count += !m->dirty[block][p];
        m->dirty[block][p] = true;
    }
}

static void expect_equal(const struct model *m) {
    cr_assert_eq(m->ram->dirty, m->count);
    for (uint32_t b = 0; b < BLOCKS; b++)
        for (uint64_t p = 0; p < pages_of(m, b); p++)
            cr_assert_eq(src_ram_is_dirty(m->ram, b, p), m->dirty[b][p], "block %u page %llu", b,
                         (unsigned long long)p);
}

/* Every batch: one block, one group, ascending, only dirty pages, each once. */
static void take(struct model *m, const struct src_batch *batch) {
    uint64_t group = SRC_BATCH_BYTES / PAGE;
    cr_assert(batch->count >= 1 && batch->count <= SRC_BATCH_PAGES);
    cr_assert_eq(batch->page_size, (uint32_t)PAGE);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t p = batch->pages[i];
        cr_assert_lt(p, pages_of(m, batch->block));
        cr_assert(m->dirty[batch->block][p], "a clean page was given");
        cr_assert_not(m->given[batch->block][p], "a page was given twice");
        cr_assert_eq(p / group, batch->pages[0] / group);
        cr_assert(i == 0 || p > batch->pages[i - 1]);
        m->dirty[batch->block][p] = false;
        m->given[batch->block][p] = true;
        m->count--;
    }
}

static void dirty_some(struct model *m) {
    uint32_t block = roll(BLOCKS);
    uint64_t hosts = pages_of(m, block) / per_host(m, block);
    if (roll(2)) {
        uint64_t words[PAGES_MAX / 64 + 1] = {0};
        for (unsigned n = roll(8); n; n--) {
            uint64_t h = roll((uint32_t)hosts);
            words[h / 64] |= UINT64_C(1) << h % 64;
            mark(m, block, h * per_host(m, block), per_host(m, block));
        }
        src_ram_merge(m->ram, block, words);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            cr_assert_eq(words[i], UINT64_C(0));
    } else {
        uint64_t first = roll((uint32_t)pages_of(m, block) + 10), count = roll(200);
        src_ram_mark(m->ram, block, first, count);
        mark(m, block, first, count);
    }
}

/* [SRC-8] Each page at most once in a pass, and all of them sooner or later. */
Test(ram_cursor, precopy_equals_the_model) {
    for (uint64_t number = 1; number <= 200; number++) {
        struct model m;
        struct src_batch batch;
        set_up(&m, number);
        for (unsigned i = 0; i < 400; i++) {
            if (i < 300 && roll(3) == 0)
                dirty_some(&m);
            enum src_ram_step step = src_ram_next(m.ram, 1 + roll(300), &batch);
            cr_assert_eq(step == SRC_RAM_CLEAN, m.count == 0);
            if (step == SRC_RAM_BATCH)
                take(&m, &batch);
            if (step == SRC_RAM_PASS_OVER)
                memset(m.given, 0, sizeof m.given);
        }
        expect_equal(&m);
        while (src_ram_next(m.ram, 256, &batch) != SRC_RAM_CLEAN)
            ;
        cr_assert_eq(m.ram->dirty, UINT64_C(0));
        free(m.mem);
    }
}

/* A page that is marked behind the cursor waits for the next pass, one before it does not. */
Test(ram_cursor, passes) {
    struct vms_guest_block block = {.length = 512 * PAGE, .page_size = PAGE};
    void *mem = malloc(src_ram_size(&block, 1, PAGE));
    struct src_ram *ram = src_ram_init(mem, &block, 1, PAGE);
    struct src_batch batch;
    cr_assert_eq(src_ram_next(ram, 256, &batch), SRC_RAM_BATCH);
    src_ram_mark(ram, 0, 3, 1);
    src_ram_mark(ram, 0, 400, 1);
    cr_assert_eq(src_ram_next(ram, 256, &batch), SRC_RAM_BATCH);
    cr_assert_eq(batch.count, 256u);
    cr_assert_eq(src_ram_next(ram, 256, &batch), SRC_RAM_PASS_OVER);
    cr_assert_eq(ram->passes, UINT64_C(1));
    cr_assert_eq(src_ram_next(ram, 256, &batch), SRC_RAM_BATCH);
    cr_assert(batch.count == 1 && batch.pages[0] == 3);
    cr_assert_eq(src_ram_next(ram, 256, &batch), SRC_RAM_CLEAN);
    free(mem);
}

/* ---- postcopy ---- */

/* What a destination holds of a channel: the host page that is not complete there. */
struct channel {
    bool open;
    uint32_t block;
    uint64_t host, left;
};

/* [RAM-14] Host pages come whole on one channel, none in between. */
static void arrive(struct model *m, struct channel *c, const struct src_batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t host = batch->pages[i] / per_host(m, batch->block);
        if (!c->open)
            *c = (struct channel){true, batch->block, host, per_host(m, batch->block)};
        cr_assert(c->block == batch->block && c->host == host, "host pages are interleaved");
        if (--c->left == 0)
            c->open = false;
    }
}

static void whole_host_pages(struct model *m) {
    for (uint32_t b = 0; b < BLOCKS; b++)
        for (uint64_t p = 0; p < pages_of(m, b); p++)
            if (m->dirty[b][p])
                mark(m, b, p / per_host(m, b) * per_host(m, b), per_host(m, b));
}

static void expect_ranges(const struct model *m) {
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint64_t from = 0, ranges[2 * 12], page = 0;
        for (size_t n; (n = src_ram_ranges(m->ram, b, &from, ranges, 12)) > 0;)
            for (size_t i = 0; i < n; i++) {
                for (; page < ranges[2 * i]; page++)
                    cr_assert_not(m->dirty[b][page]);
                cr_assert_gt(ranges[2 * i + 1], UINT64_C(0));
                cr_assert_eq(ranges[2 * i] % per_host(m, b), UINT64_C(0));
                cr_assert_eq(ranges[2 * i + 1] % per_host(m, b), UINT64_C(0));
                for (; page < ranges[2 * i] + ranges[2 * i + 1]; page++)
                    cr_assert(m->dirty[b][page]);
            }
        for (; page < pages_of(m, b); page++)
            cr_assert_not(m->dirty[b][page]);
    }
}

static struct src_ram_request some_request(const struct model *m) {
    uint32_t block = roll(BLOCKS);
    uint64_t hosts = pages_of(m, block) / per_host(m, block);
    return (struct src_ram_request){block, roll((uint32_t)hosts) * per_host(m, block),
                                    per_host(m, block) * (1 + roll(2))};
}

static bool is_missing(const struct model *m, const struct src_ram_request *r) {
    for (uint64_t p = r->first; p < r->first + r->count && p < pages_of(m, r->block); p++)
        if (m->dirty[r->block][p])
            return true;
    return false;
}

/* Recovery at any moment: what was on its way is lost, whole host pages at a time. */
static void recover(struct model *m, struct channel *channels) {
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint8_t bytes[PAGES_MAX / 8 + 8] = {0};
        size_t len = (size_t)(pages_of(m, b) + 63) / 64 * 8;
        for (uint64_t p = 0; p < pages_of(m, b); p += per_host(m, b)) {
            bool there = !m->dirty[b][p] && !m->dirty[b][p + per_host(m, b) - 1] && roll(4);
            for (uint64_t q = p; q < p + per_host(m, b); q++) {
                bytes[q / 8] |= (uint8_t)(there << q % 8);
                m->given[b][q] = there;
                m->count += !there && !m->dirty[b][q];
                m->dirty[b][q] = !there;
            }
        }
        cr_assert_not(src_ram_received(m->ram, b, bytes, len - 8 + 1));
        cr_assert_not(src_ram_received(m->ram, b, bytes, len + 8));
        cr_assert(src_ram_received(m->ram, b, bytes, len)); /* [REC-6] */
    }
    src_ram_resume(m->ram);
    memset(channels, 0, 2 * sizeof *channels);
    expect_equal(m);
}

static void postcopy(uint64_t number, bool preempt) {
    struct model m;
    struct src_batch batch;
    struct channel channels[2] = {0};
    set_up(&m, number);
    for (unsigned i = roll(200); i && m.count; i--)
        if (src_ram_next(m.ram, 256, &batch) == SRC_RAM_BATCH)
            take(&m, &batch);
        else
            memset(m.given, 0, sizeof m.given);
    for (unsigned i = roll(30); i; i--)
        dirty_some(&m);
    src_ram_begin_postcopy(m.ram);
    whole_host_pages(&m);
    memset(m.given, 0, sizeof m.given);
    expect_equal(&m);
    expect_ranges(&m);

    struct src_ram_request request = {0};
    bool waiting = false, served;
    for (unsigned steps = 0;; steps++) {
        if (!waiting && roll(3) == 0) {
            request = some_request(&m);
            waiting = true;
        }
        enum src_ram_pick pick =
            src_ram_pick(m.ram, waiting ? &request : NULL, preempt, 1 + roll(40), &batch, &served);
        if (waiting && served)
            waiting = false;
        if (pick == SRC_RAM_NOTHING)
            break;
        take(&m, &batch);
        arrive(&m, &channels[preempt && pick == SRC_RAM_URGENT], &batch);
        cr_assert(waiting || !served || !is_missing(&m, &request) || m.ram->urgent.active ||
                      (preempt && m.ram->background.wanted),
                  "a request was dropped");
        if (steps == 40 && number % 2)
            recover(&m, channels);
    }
    cr_assert_eq(m.count, UINT64_C(0)); /* [SRC-4] */
    cr_assert(!channels[0].open && !channels[1].open);
    free(m.mem);
}

/* [SRC-9] [RAM-14] [CMD-14] Each page once, whole host pages, across a recovery too. */
Test(ram_cursor, postcopy_equals_the_model) {
    for (uint64_t number = 1; number <= 150; number++)
        postcopy(number, number % 3 != 0);
}

static struct src_ram *huge(void *mem, const struct vms_guest_block *block) {
    struct src_ram *ram = src_ram_init(mem, block, 1, PAGE);
    src_ram_begin_postcopy(ram);
    return ram;
}

/* [PRE-5] A huge page under way is left for another on the preempt channel, and gone on with. */
Test(ram_cursor, a_huge_page_is_interrupted) {
    struct vms_guest_block block = {.length = 1024 * PAGE, .page_size = 512 * PAGE};
    void *mem = malloc(src_ram_size(&block, 1, PAGE));
    struct src_ram *ram = huge(mem, &block);
    struct src_ram_request other = {0, 512, 512}, same = {0, 0, 512};
    struct src_batch batch;
    bool served;
    cr_assert_eq(src_ram_pick(ram, NULL, true, 16, &batch, &served), SRC_RAM_MAIN);
    cr_assert_eq(batch.pages[15], UINT64_C(15));
    cr_assert_eq(src_ram_pick(ram, &other, true, 16, &batch, &served), SRC_RAM_URGENT);
    cr_assert(served && batch.pages[0] == 512);
    for (unsigned i = 1; i < 32; i++)
        cr_assert_eq(src_ram_pick(ram, NULL, true, 16, &batch, &served), SRC_RAM_URGENT);
    cr_assert_eq(src_ram_pick(ram, &same, true, 16, &batch, &served), SRC_RAM_MAIN);
    cr_assert(served && batch.pages[0] == 16 && ram->background.wanted);
    free(mem);
}

/* [RAM-14] Without a preempt channel the page under way comes first. */
Test(ram_cursor, a_huge_page_is_finished_without_preempt) {
    struct vms_guest_block block = {.length = 1024 * PAGE, .page_size = 512 * PAGE};
    void *mem = malloc(src_ram_size(&block, 1, PAGE));
    struct src_ram *ram = huge(mem, &block);
    struct src_ram_request other = {0, 512, 512};
    struct src_batch batch;
    bool served;
    cr_assert_eq(src_ram_pick(ram, NULL, false, 256, &batch, &served), SRC_RAM_MAIN);
    cr_assert_eq(src_ram_pick(ram, &other, false, 256, &batch, &served), SRC_RAM_MAIN);
    cr_assert(!served && batch.pages[0] == 256);
    cr_assert_eq(src_ram_pick(ram, &other, false, 256, &batch, &served), SRC_RAM_URGENT);
    cr_assert(served && batch.pages[0] == 512);
    free(mem);
}

/* A request outside of the guest's memory asks for nothing. */
Test(ram_cursor, requests_outside) {
    struct vms_guest_block block = {.length = 8 * PAGE, .page_size = PAGE};
    void *mem = malloc(src_ram_size(&block, 1, PAGE));
    struct src_ram *ram = huge(mem, &block);
    static const struct src_ram_request bad[] = {
        {1, 0, 1}, {0, 8, 1}, {0, UINT64_MAX, UINT64_MAX}, {UINT32_MAX, UINT64_MAX, 1}};
    struct src_batch batch;
    bool served;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(src_ram_pick(ram, &bad[i], true, 1, &batch, &served), SRC_RAM_MAIN);
        cr_assert(served && batch.pages[0] == i);
    }
    free(mem);
}
