/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/ram_cursor.h"

#include <string.h>

/* Bitmaps over target pages, and the cursor of precopy. */

enum {
    WORD = 64,
};

static uint64_t words_of(uint64_t pages) {
    return (pages + WORD - 1) / WORD;
}

static size_t head_bytes(size_t count) {
    return sizeof(struct src_ram) + count * sizeof(struct src_ram_block);
}

size_t src_ram_size(const struct vms_guest_block *blocks, size_t count, uint32_t page_size) {
    size_t size = head_bytes(count);
    for (size_t i = 0; i < count; i++)
        size += (size_t)words_of(blocks[i].length / page_size) * sizeof(uint64_t);
    return size;
}

struct src_ram *src_ram_init(void *mem, const struct vms_guest_block *blocks, size_t count,
                             uint32_t page_size) {
    struct src_ram *ram = mem;
    memset(ram, 0, src_ram_size(blocks, count, page_size));
    ram->page_size = page_size;
    ram->block_count = (uint32_t)count;
    ram->blocks = (struct src_ram_block *)(ram + 1);
    uint64_t *words = (uint64_t *)(ram->blocks + count);
    for (uint32_t i = 0; i < count; i++) {
        struct src_ram_block *b = &ram->blocks[i];
        b->pages = blocks[i].length / page_size;
        b->per_host =
            blocks[i].page_size > page_size ? (uint32_t)(blocks[i].page_size / page_size) : 1;
        b->dirty = words;
        words += words_of(b->pages);
        src_ram_mark(ram, i, 0, b->pages);
    }
    return ram;
}

/* ---- bits ---- */

static void add_bits(struct src_ram *ram, struct src_ram_block *b, uint64_t word, uint64_t bits) {
    uint64_t fresh = bits & ~b->dirty[word];
    unsigned n = (unsigned)__builtin_popcountll(fresh);
    b->dirty[word] |= fresh;
    b->count += n;
    ram->dirty += n;
}

static void clear(struct src_ram *ram, struct src_ram_block *b, uint64_t page) {
    b->dirty[page / WORD] &= ~(UINT64_C(1) << page % WORD);
    b->count--;
    ram->dirty--;
}

static bool is_set(const struct src_ram_block *b, uint64_t page) {
    return b->dirty[page / WORD] >> page % WORD & 1;
}

/* Bits from..to of a word, to not included; 0 < to - from <= 64. */
static uint64_t mask(unsigned from, unsigned to) {
    return UINT64_MAX >> (WORD - (to - from)) << from;
}

void src_ram_mark(struct src_ram *ram, uint32_t block, uint64_t first, uint64_t count) {
    struct src_ram_block *b = &ram->blocks[block];
    if (first >= b->pages)
        return;
    uint64_t end = count < b->pages - first ? first + count : b->pages;
    while (first < end) {
        uint64_t word = first / WORD;
        uint64_t stop = end < (word + 1) * WORD ? end : (word + 1) * WORD;
        add_bits(ram, b, word, mask((unsigned)(first % WORD), (unsigned)(stop - word * WORD)));
        first = stop;
    }
}

/* The bits of a word that stand for pages of the block. */
static uint64_t valid(const struct src_ram_block *b, uint64_t word) {
    uint64_t left = b->pages - word * WORD;
    return left < WORD ? mask(0, (unsigned)left) : UINT64_MAX;
}

void src_ram_merge(struct src_ram *ram, uint32_t block, uint64_t *words) {
    struct src_ram_block *b = &ram->blocks[block];
    uint64_t n = words_of((b->pages + b->per_host - 1) / b->per_host);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t bits = words[i];
        words[i] = 0;
        for (; bits && b->per_host > 1; bits &= bits - 1)
            src_ram_mark(ram, block, (i * WORD + (unsigned)__builtin_ctzll(bits)) * b->per_host,
                         b->per_host);
        if (bits)
            add_bits(ram, b, i, bits & valid(b, i));
    }
}

bool src_ram_is_dirty(const struct src_ram *ram, uint32_t block, uint64_t page) {
    return page < ram->blocks[block].pages && is_set(&ram->blocks[block], page);
}

/* The first page from `page` on, below end, whose bit is `value`; end: there is none. */
static uint64_t find(const struct src_ram_block *b, uint64_t page, uint64_t end, bool value) {
    while (page < end) {
        uint64_t word = b->dirty[page / WORD];
        uint64_t bits = (value ? word : ~word) >> page % WORD;
        if (bits) {
            page += (unsigned)__builtin_ctzll(bits);
            return page < end ? page : end;
        }
        page = (page / WORD + 1) * WORD;
    }
    return end;
}

/* ---- precopy ---- */

/* Moves the cursor to the next dirty page. False: there is none up to the end. */
static bool seek(struct src_ram *ram) {
    for (; ram->block < ram->block_count; ram->block++, ram->page = 0) {
        const struct src_ram_block *b = &ram->blocks[ram->block];
        ram->page = b->count ? find(b, ram->page, b->pages, true) : b->pages;
        if (ram->page < b->pages)
            return true;
    }
    return false;
}

static void rewind_cursor(struct src_ram *ram) {
    ram->block = 0;
    ram->page = 0;
    ram->passes++;
}

/* Takes dirty pages from [page, end) into the batch, at most max. Returns where it stopped. */
static uint64_t take(struct src_ram *ram, uint32_t block, uint64_t page, uint64_t end, uint32_t max,
                     struct src_batch *batch) {
    struct src_ram_block *b = &ram->blocks[block];
    *batch = (struct src_batch){.block = block, .page_size = ram->page_size};
    for (page = find(b, page, end, true); page < end && batch->count < max;
         page = find(b, page + 1, end, true)) {
        batch->pages[batch->count++] = page;
        clear(ram, b, page);
    }
    return page;
}

/* The end of the group of SRC_BATCH_BYTES that a page lies in. */
static uint64_t group_end(const struct src_ram *ram, uint32_t block, uint64_t page) {
    uint64_t n = ram->page_size < SRC_BATCH_BYTES ? SRC_BATCH_BYTES / ram->page_size : 1;
    uint64_t end = (page / n + 1) * n;
    return end < ram->blocks[block].pages ? end : ram->blocks[block].pages;
}

enum src_ram_step src_ram_next(struct src_ram *ram, uint32_t max, struct src_batch *batch) {
    if (!ram->dirty)
        return SRC_RAM_CLEAN;
    if (!seek(ram)) {
        rewind_cursor(ram);
        return SRC_RAM_PASS_OVER;
    }
    if (max > SRC_BATCH_PAGES)
        max = SRC_BATCH_PAGES;
    ram->page = take(ram, ram->block, ram->page, group_end(ram, ram->block, ram->page), max, batch);
    return SRC_RAM_BATCH;
}

/* ---- postcopy ---- */

static uint64_t host_first(const struct src_ram_block *b, uint64_t page) {
    return page / b->per_host * b->per_host;
}

static uint64_t host_end(const struct src_ram_block *b, uint64_t page) {
    uint64_t end = host_first(b, page) + b->per_host;
    return end < b->pages ? end : b->pages;
}

static void whole_host_pages(struct src_ram *ram, uint32_t block) {
    struct src_ram_block *b = &ram->blocks[block];
    if (b->per_host == 1)
        return;
    for (uint64_t p = find(b, 0, b->pages, true); p < b->pages;
         p = find(b, host_end(b, p), b->pages, true))
        src_ram_mark(ram, block, host_first(b, p), b->per_host);
}

void src_ram_begin_postcopy(struct src_ram *ram) {
    for (uint32_t i = 0; i < ram->block_count; i++)
        whole_host_pages(ram, i);
    ram->block = 0;
    ram->page = 0;
    src_ram_resume(ram);
}

size_t src_ram_ranges(const struct src_ram *ram, uint32_t block, uint64_t *from, uint64_t *ranges,
                      size_t max) {
    const struct src_ram_block *b = &ram->blocks[block];
    size_t n = 0;
    while (n < max) {
        uint64_t first = find(b, *from, b->pages, true);
        *from = find(b, first, b->pages, false);
        if (first >= b->pages)
            break;
        ranges[2 * n] = first;
        ranges[2 * n + 1] = *from - first;
        n++;
    }
    return n;
}

static void fly(struct src_ram *ram, struct src_ram_flight *flight, uint32_t block, uint64_t page) {
    const struct src_ram_block *b = &ram->blocks[block];
    *flight = (struct src_ram_flight){
        .active = true, .block = block, .next = host_first(b, page), .end = host_end(b, page)};
}

/* The next piece of a host page that is under way. */
static void go_on(struct src_ram *ram, struct src_ram_flight *f, uint32_t max,
                  struct src_batch *batch) {
    uint64_t end = group_end(ram, f->block, f->next);
    f->next = take(ram, f->block, f->next, end < f->end ? end : f->end, max, batch);
    f->active = find(&ram->blocks[f->block], f->next, f->end, true) < f->end;
}

/* The first host page of a request that is still to be sent; false: none. */
static bool wanted(const struct src_ram *ram, const struct src_ram_request *r, uint64_t *page) {
    if (r->block >= ram->block_count)
        return false;
    const struct src_ram_block *b = &ram->blocks[r->block];
    uint64_t end =
        r->first < b->pages && r->count < b->pages - r->first ? r->first + r->count : b->pages;
    *page = find(b, r->first, end, true);
    return *page < end;
}

static bool in_flight(const struct src_ram_flight *f, uint32_t block, uint64_t page) {
    return f->active && f->block == block && page >= f->next && page < f->end;
}

/* Host pages of one target page need not be kept apart: as many as fit go at once. */
static void next_background(struct src_ram *ram, uint32_t max, struct src_batch *batch) {
    if (!seek(ram)) {
        rewind_cursor(ram);
        (void)seek(ram);
    }
    if (ram->blocks[ram->block].per_host > 1) {
        fly(ram, &ram->background, ram->block, ram->page);
        go_on(ram, &ram->background, max, batch);
    } else {
        ram->page =
            take(ram, ram->block, ram->page, group_end(ram, ram->block, ram->page), max, batch);
    }
}

/* What the guest touches next often lies behind what it has just touched. */
static void follow(struct src_ram *ram, const struct src_ram_flight *urgent) {
    ram->block = urgent->block;
    ram->page = urgent->end;
}

static bool serve(struct src_ram *ram, const struct src_ram_request *r, bool preempt,
                  bool *served) {
    uint64_t page;
    if (!wanted(ram, r, &page)) {
        *served = true;
        return false;
    }
    if (in_flight(&ram->background, r->block, page)) { /* PRE-5: it goes on where it is */
        ram->background.wanted = true;
        *served = preempt && ram->background.end >= r->first + r->count;
        return false;
    }
    if (ram->background.active && !preempt)
        return false;
    fly(ram, &ram->urgent, r->block, page);
    follow(ram, &ram->urgent);
    *served = ram->urgent.end >= r->first + r->count;
    return true;
}

enum src_ram_pick src_ram_pick_urgent(struct src_ram *ram, const struct src_ram_request *request,
                                      bool preempt, uint32_t max, struct src_batch *batch,
                                      bool *served) {
    *served = false;
    if (!ram->urgent.active && !(request && serve(ram, request, preempt, served)))
        return SRC_RAM_NOTHING;
    go_on(ram, &ram->urgent, max < SRC_BATCH_PAGES ? max : SRC_BATCH_PAGES, batch);
    return SRC_RAM_URGENT;
}

enum src_ram_pick src_ram_pick_main(struct src_ram *ram, uint32_t max, struct src_batch *batch) {
    if (max > SRC_BATCH_PAGES)
        max = SRC_BATCH_PAGES;
    if (ram->background.active)
        go_on(ram, &ram->background, max, batch);
    else if (ram->dirty)
        next_background(ram, max, batch);
    else
        return SRC_RAM_NOTHING;
    return SRC_RAM_MAIN;
}

enum src_ram_pick src_ram_pick(struct src_ram *ram, const struct src_ram_request *request,
                               bool preempt, uint32_t max, struct src_batch *batch, bool *served) {
    if (src_ram_pick_urgent(ram, request, preempt, max, batch, served) == SRC_RAM_URGENT)
        return SRC_RAM_URGENT;
    return src_ram_pick_main(ram, max, batch);
}

static uint64_t load_word(const uint8_t *bytes) {
    uint64_t word = 0;
    for (unsigned i = 0; i < 8; i++)
        word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

bool src_ram_received(struct src_ram *ram, uint32_t block, const uint8_t *bytes, size_t len) {
    struct src_ram_block *b = &ram->blocks[block];
    if (len != words_of(b->pages) * 8)
        return false;
    ram->dirty -= b->count;
    b->count = 0;
    memset(b->dirty, 0, (size_t)words_of(b->pages) * sizeof *b->dirty);
    for (uint64_t i = 0; i < words_of(b->pages); i++)
        add_bits(ram, b, i, ~load_word(bytes + 8 * i) & valid(b, i));
    whole_host_pages(ram, block);
    return true;
}

void src_ram_resume(struct src_ram *ram) {
    ram->background.active = false;
    ram->urgent.active = false;
}
