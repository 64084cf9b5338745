/* SPDX-License-Identifier: MIT */
#include "conformance/bench/bench.h"
#include "conformance/vectors/build.h"

#include <stdio.h>
#include <stdlib.h>

static void *room(size_t n) {
    void *p = aligned_alloc(BENCH_PAGE, (n + BENCH_PAGE - 1) / BENCH_PAGE * BENCH_PAGE);
    if (!p) {
        fputs("not enough memory\n", stderr);
        exit(3);
    }
    memset(p, 1, n);
    return p;
}

static void fill_random(uint8_t *p, size_t n) {
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
}

/* Header, configuration and a RAM START with one block of so many pages. */
static struct vb *begin(size_t pages) {
    struct vb *v = vb_new("main", "MOD-11", "bench");
    vb_head(v);
    vb_start(v, VB_RAM_ID, "ram", 4);
    vb_mem_size(v, pages * BENCH_PAGE);
    vb_block(v, "pc.ram", pages * BENCH_PAGE);
    vb_close(v);
    return v;
}

static struct load finished(struct vb *v, const char *name, size_t body, size_t records) {
    struct load l = {.name = name, .stream = v->ptr, .len = v->len, .body = body};
    l.records = v->record_count - records;
    l.sink = room(v->len);
    v->ptr = NULL;
    vb_free(v);
    return l;
}

struct load load_data_pages(size_t pages) {
    struct vb *v = begin(pages);
    uint8_t *want = room(pages * BENCH_PAGE);
    size_t body = v->len, records = v->record_count;
    fill_random(want, pages * BENCH_PAGE);
    vb_part(v, VB_RAM_ID);
    for (size_t i = 0; i < pages; i++) {
        vb_word(v, "RAM_PAGE", i * BENCH_PAGE | (i ? 0x28 : 0x08));
        if (!i)
            vb_str8(v, "pc.ram");
        vb_raw(v, want + i * BENCH_PAGE, BENCH_PAGE);
    }
    vb_close(v);
    struct load l = finished(v, "data pages", body, records);
    l.pages = pages;
    l.want = want;
    l.guest = room(pages * BENCH_PAGE);
    return l;
}

struct load load_zero_pages(size_t count) {
    struct vb *v = begin(count);
    size_t body = v->len, records = v->record_count;
    vb_part(v, VB_RAM_ID);
    for (size_t i = 0; i < count; i++)
        vb_zero(v, i ? NULL : "pc.ram", i * BENCH_PAGE);
    vb_close(v);
    return finished(v, "zero pages", body, records);
}

struct load load_empty_parts(size_t parts) {
    struct vb *v = begin(1);
    size_t body = v->len, records = v->record_count;
    for (size_t i = 0; i < parts; i++) {
        vb_part(v, VB_RAM_ID);
        vb_close(v);
    }
    return finished(v, "empty PARTs", body, records);
}

struct load load_commands(size_t count) {
    struct vb *v = begin(1);
    vb_command(v, 1, 0);
    size_t body = v->len, records = v->record_count;
    for (size_t i = 0; i < count; i++)
        vb_ping(v, (uint32_t)i);
    return finished(v, "commands", body, records);
}

void load_free(struct load *l) {
    free(l->stream);
    free(l->want);
    free(l->guest);
    free(l->sink);
}
