/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Blocks and runs of pages (NAT-53 to NAT-56), and their records. */

/* ---- BLOCK ---- */

void vms_read_block(struct vms_body_in *in, uint64_t name_min, struct vms_native_block *block) {
    size_t at = in->c.pos;
    block->index = VMS_NATIVE_NO_INDEX;
    if (vms_cbor_peek(&in->c) == VMS_CBOR_UINT) {
        block->index = (uint32_t)vms_cbor_uint(&in->c, 0, VMS_NATIVE_NO_INDEX - 1);
        return;
    }
    block->name = vms_cbor_bytes(&in->c, VMS_NAME_MAX);
    if (!in->c.code && block->name.len < name_min)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty name");
}

void vms_write_block(struct vms_writer *w, const struct vms_native_block *block) {
    if (block->index != VMS_NATIVE_NO_INDEX)
        vms_cbor_put_uint(w, block->index);
    else
        vms_cbor_put_bytes(w, block->name);
}

static const char *object_block(const struct vms_native_block *block) {
    bool named = block->index == VMS_NATIVE_NO_INDEX;
    return named && (!block->name.len || block->name.len > VMS_NAME_MAX) ? "a block's name" : NULL;
}

static void read_block_pages(struct vms_body_in *in, struct vms_native_frame *frame) {
    vms_read_block(in, 1, &frame->u.pages.block);
}
static void write_block_pages(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_write_block(w, &frame->u.pages.block);
}
static const char *object_block_pages(const struct vms_native_frame *frame,
                                      const struct vms_limits *limits) {
    (void)limits;
    return object_block(&frame->u.pages.block);
}
static void read_block_range(struct vms_body_in *in, struct vms_native_frame *frame) {
    vms_read_block(in, 1, &frame->u.range.block);
}
static void write_block_range(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_write_block(w, &frame->u.range.block);
}
static const char *object_block_range(const struct vms_native_frame *frame,
                                      const struct vms_limits *limits) {
    (void)limits;
    return object_block(&frame->u.range.block);
}

const struct vms_codec vms_codec_block_pages = {read_block_pages, write_block_pages,
                                                object_block_pages, NULL};
const struct vms_codec vms_codec_block_range = {read_block_range, write_block_range,
                                                object_block_range, NULL};

/* ---- RUNS ---- */

/* A run that a page number can count: its end is at most 2^64 bytes (LIM-3). */
static bool run_fits(const struct vms_native_run *run, unsigned page_bits) {
    uint64_t pages = UINT64_MAX >> page_bits;
    return run->count && run->count <= INT32_MAX && run->first <= pages &&
           run->count - 1 <= pages - run->first;
}

static void read_run(struct vms_body_in *in, unsigned page_bits, bool zero_allowed,
                     struct vms_native_run *run) {
    size_t at = in->c.pos;
    run->first = vms_cbor_uint(&in->c, 0, UINT64_MAX);
    size_t at_count = in->c.pos;
    uint64_t word = vms_cbor_uint(&in->c, 2, UINT32_MAX);
    run->count = (uint32_t)(word >> 1);
    run->zero = word & 1;
    if (!in->c.code && !run_fits(run, page_bits))
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an impossible run of pages");
    if (!in->c.code && run->zero && !zero_allowed)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at_count, "zero pages");
}

static void read_list(struct vms_body_in *in, struct vms_native_frame *frame, bool zero_allowed) {
    struct vms_native_pages *p = &frame->u.pages;
    size_t at = in->c.pos;
    uint32_t items = vms_cbor_array(&in->c, 2 * in->limits->native_runs, "native_runs");
    if (!in->c.code && (!items || items % 2))
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "runs that are no pairs");
    p->run_count = items / 2;
    struct vms_native_run *runs = vms_body_list(in, p->run_count, sizeof *runs);
    for (uint32_t i = 0; runs && !in->c.code && i < p->run_count; i++)
        read_run(in, p->page_bits, zero_allowed, &runs[i]);
    p->runs = runs;
}

static void read_runs(struct vms_body_in *in, struct vms_native_frame *frame) {
    read_list(in, frame, true);
}
static void read_requested(struct vms_body_in *in, struct vms_native_frame *frame) {
    read_list(in, frame, false);
}

static void write_runs(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_native_pages *p = &frame->u.pages;
    vms_cbor_put_array(w, (size_t)p->run_count * 2);
    for (uint32_t i = 0; i < p->run_count; i++) {
        vms_cbor_put_uint(w, p->runs[i].first);
        vms_cbor_put_uint(w, (uint64_t)p->runs[i].count << 1 | p->runs[i].zero);
    }
}

static const char *object_runs(const struct vms_native_frame *frame,
                               const struct vms_limits *limits) {
    const struct vms_native_pages *p = &frame->u.pages;
    bool pages = frame->header.type == VMS_NATIVE_PAGES;
    if (!p->run_count)
        return "no pages";
    if (p->run_count > limits->native_runs)
        return "native_runs";
    for (uint32_t i = 0; i < p->run_count; i++)
        if (!run_fits(&p->runs[i], p->page_bits) || (p->runs[i].zero && !pages))
            return "an impossible run of pages";
    return NULL;
}

const struct vms_codec vms_codec_runs = {read_runs, write_runs, object_runs, NULL};
const struct vms_codec vms_codec_requested = {read_requested, write_runs, object_runs, NULL};

/* ---- NAMED: residue (NAT-56) ---- */

static uint64_t page_count(const struct vms_native_pages *p) {
    uint64_t pages = 0;
    for (uint32_t i = 0; i < p->run_count; i++)
        pages += p->runs[i].count;
    return pages;
}

static void read_named(struct vms_body_in *in, struct vms_native_frame *frame) {
    struct vms_native_pages *p = &frame->u.pages;
    size_t at = in->c.pos;
    p->named_count = vms_cbor_array(&in->c, UINT64_MAX, "");
    if (!in->c.code && !p->named_count)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty list");
    uint32_t *named = vms_body_list(in, p->named_count, sizeof *named);
    uint64_t pages = page_count(p);
    for (uint32_t i = 0; named && !in->c.code && i < p->named_count; i++) {
        at = in->c.pos;
        named[i] = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
        if (i && !in->c.code && named[i] <= named[i - 1])
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "named pages that do not ascend");
        if (!in->c.code && named[i] >= pages)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "a named page that is not in the runs");
    }
    p->named = named;
}

static void write_named(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_cbor_put_array(w, frame->u.pages.named_count);
    for (uint32_t i = 0; i < frame->u.pages.named_count; i++)
        vms_cbor_put_uint(w, frame->u.pages.named[i]);
}

static const char *object_named(const struct vms_native_frame *frame,
                                const struct vms_limits *limits) {
    const struct vms_native_pages *p = &frame->u.pages;
    if (p->named_count > limits->native_items)
        return "native_items";
    for (uint32_t i = 1; i < p->named_count; i++)
        if (p->named[i] <= p->named[i - 1])
            return "named pages that do not ascend";
    return NULL;
}

static bool has_named(const struct vms_native_frame *frame) {
    return frame->u.pages.named_count != 0;
}

const struct vms_codec vms_codec_named = {read_named, write_named, object_named, has_named};

/* ---- as records ---- */

bool vms_native_pages_next(const struct vms_native_pages *pages, struct vms_native_walk *walk,
                           struct vms_record *record) {
    if (walk->run < pages->run_count && walk->page == pages->runs[walk->run].count) {
        walk->run++;
        walk->page = 0;
    }
    if (walk->run >= pages->run_count)
        return false;
    const struct vms_native_run *run = &pages->runs[walk->run];
    bool named = walk->named < pages->named_count && pages->named[walk->named] == walk->number;
    memset(record, 0, sizeof *record);
    record->type = run->zero ? VMS_R_RAM_ZERO : VMS_R_RAM_PAGE;
    record->bulk_len = run->zero ? 0 : (uint64_t)1 << pages->page_bits;
    record->u.page.block = pages->block.name;
    record->u.page.block_index = pages->block.index;
    record->u.page.continued = !named;
    record->u.page.offset = (run->first + walk->page) << pages->page_bits;
    walk->named += named;
    walk->page++;
    walk->number++;
    return true;
}

void vms_native_collect_init(struct vms_native_collect *collect, struct vms_native_run *runs,
                             uint32_t run_cap, uint32_t *named, uint32_t named_cap,
                             uint64_t bulk_max) {
    memset(collect, 0, sizeof *collect);
    collect->runs = runs;
    collect->run_cap = run_cap;
    collect->named = named;
    collect->named_cap = named_cap;
    collect->bulk_max = bulk_max;
}

void vms_native_collect_reset(struct vms_native_collect *collect) {
    vms_native_collect_init(collect, collect->runs, collect->run_cap, collect->named,
                            collect->named_cap, collect->bulk_max);
}

static bool same_block(const struct vms_native_block *a, const struct vms_rec_ram_page *p) {
    return a->index == p->block_index &&
           (a->index != VMS_NATIVE_NO_INDEX || vms_slice_eq(a->name, p->block));
}

/* The run that the page goes on with, NULL when it begins a new one. */
static struct vms_native_run *last_run(const struct vms_native_collect *c, uint64_t page,
                                       bool zero) {
    if (!c->pages.run_count)
        return NULL;
    struct vms_native_run *run = &c->runs[c->pages.run_count - 1];
    bool next = run->zero == zero && run->first + run->count == page && run->count < INT32_MAX;
    return next ? run : NULL;
}

static bool has_room(const struct vms_native_collect *c, const struct vms_record *record,
                     bool new_run) {
    return !(new_run && c->pages.run_count == c->run_cap) &&
           !(!record->u.page.continued && c->pages.named_count == c->named_cap) &&
           record->bulk_len <= c->bulk_max - c->bulk_len && c->number < UINT32_MAX;
}

bool vms_native_collectable(const struct vms_record *record, uint8_t page_bits) {
    const struct vms_rec_ram_page *p = &record->u.page;
    uint64_t page = (uint64_t)1 << page_bits;
    bool data = record->type == VMS_R_RAM_PAGE;
    bool zero = record->type == VMS_R_RAM_ZERO && !p->fill;
    bool named =
        p->block_index != VMS_NATIVE_NO_INDEX || (p->block.len && p->block.len <= VMS_NAME_MAX);
    return (data || zero) && !record->packaged && !record->guessed && named &&
           p->offset % page == 0 && record->bulk_len == (data ? page : 0);
}

static void set_block(struct vms_native_collect *c, const struct vms_rec_ram_page *p) {
    bool index = p->block_index != VMS_NATIVE_NO_INDEX;
    c->pages.block.index = p->block_index;
    c->pages.block.name = vms_slice(c->name, index ? 0 : p->block.len);
    if (!index)
        memcpy(c->name, p->block.ptr, p->block.len);
}

bool vms_native_collect_add(struct vms_native_collect *collect, const struct vms_record *record,
                            uint8_t page_bits) {
    struct vms_native_collect *c = collect;
    const struct vms_rec_ram_page *p = &record->u.page;
    uint64_t page = p->offset >> page_bits;
    bool zero = record->type == VMS_R_RAM_ZERO;
    if (c->number && (!same_block(&c->pages.block, p) || c->pages.page_bits != page_bits))
        return false;
    struct vms_native_run *run = last_run(c, page, zero);
    if (!has_room(c, record, !run))
        return false;
    if (!c->number)
        set_block(c, p);
    if (run)
        run->count++;
    else
        c->runs[c->pages.run_count++] = (struct vms_native_run){page, 1, zero};
    if (!p->continued)
        c->named[c->pages.named_count++] = c->number;
    c->pages.page_bits = page_bits;
    c->pages.runs = c->runs;
    c->pages.named = c->named;
    c->number++;
    c->bulk_len += record->bulk_len;
    return true;
}
