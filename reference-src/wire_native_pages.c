/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "host/zero_page.h"
#include "reference-src/wire_native_internal.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Pages of the guest, as frames. What is packed is packed from one copy (PACK-21); what is not is
 * read from the guest's memory on its way out (RSM-13, SEAL-22).
 */
enum {
    PAGE = 1 << WN_PAGE_BITS,
    AHEAD = 8,          /* pages: most are seen not to be zero by their first octets */
    WAITING = 64 << 10, /* bytes in a socket that a requested page may stand behind */
};

/* A batch on its way into a PAGES frame. */
struct making {
    struct wn_channel *c;
    const struct src_batch *batch;
    const uint8_t *memory; /* of the block */
    struct vms_native_run runs[SRC_BATCH_PAGES];
    uint32_t run_count;
    uint32_t full;        /* pages with data */
    uint64_t first, span; /* pages that DIGEST is about */
};

/* ---- packers ---- */

enum vms_code wn_packer_make(struct wn_channel *c, struct vms_error *err) {
    const struct wire_native *w = c->wire;
    struct vms_zstd_config zstd = {.level_max = w->adaptive    ? 9
                                                : w->level > 1 ? w->level
                                                               : 1,
                                   .unpacked_max = SRC_BATCH_BYTES};
    struct vms_known_config known = {.bytes = WN_KNOWN / w->wanted, .page_size = PAGE};
    struct vms_pack_config config = {.page_size = PAGE,
                                     .unpacked_max = SRC_BATCH_BYTES,
                                     .channel = (uint16_t)(c->number < 256 ? c->number : 0),
                                     .skip_same = true};
    if (!w->packs)
        return VMS_OK;
    c->zstd_mem = malloc(vms_zstd_size(&zstd));
    c->known_mem = malloc(vms_known_size(&known));
    if (!c->zstd_mem || !c->known_mem)
        return vms_error_set(err, VMS_E_NO_MEMORY, "zstd");
    config.zip = vms_zstd_ops(vms_zstd_init(c->zstd_mem, vms_zstd_size(&zstd), &zstd));
    config.known = c->known = vms_known_init(c->known_mem, vms_known_size(&known), &known);
    if (!(vms_native_link_agreement(w->link)->features & VMS_FEATURE_ZSTD_DELTA))
        config.known = NULL;
    c->packer_mem = malloc(vms_packer_size(&config));
    c->packer =
        c->packer_mem ? vms_packer_init(c->packer_mem, vms_packer_size(&config), &config) : NULL;
    vms_chooser_init(&c->chooser, -3, 9);
    return c->packer ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a packer");
}

void wn_packer_free(struct wn_channel *c) {
    free(c->zstd_mem);
    free(c->known_mem);
    free(c->packer_mem);
}

/* ---- runs and hashes ---- */

static void put64(uint8_t *p, uint64_t v) {
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void add_run(struct making *m, uint64_t page, bool zero) {
    struct vms_native_run *last = m->run_count ? &m->runs[m->run_count - 1] : NULL;
    m->full += !zero;
    if (last && last->zero == zero && last->first + last->count == page)
        last->count++;
    else
        m->runs[m->run_count++] = (struct vms_native_run){page, 1, zero};
}

static void note_hash(struct making *m, uint64_t page, uint64_t hash) {
    if (m->c->wire->digests)
        put64(m->c->hashes + (page - m->first) * 8, hash);
}

static uint64_t zero_hash(void) {
    static _Atomic uint64_t known;
    static const uint8_t zeros[PAGE];
    uint64_t hash = atomic_load_explicit(&known, memory_order_relaxed);
    if (!hash) {
        hash = vms_page_hash(vms_slice(zeros, sizeof zeros));
        atomic_store(&known, hash);
    }
    return hash;
}

/* ---- frames ---- */

static void pages_frame(const struct making *m, struct vms_native_frame *f) {
    *f = (struct vms_native_frame){.header.type = VMS_NATIVE_PAGES};
    f->u.pages = (struct vms_native_pages){.block = {.index = m->batch->block},
                                           .page_bits = WN_PAGE_BITS,
                                           .run_count = m->run_count,
                                           .runs = m->runs};
}

/* [MIG-12] Before its pages: whoever places them can compare at once. */
static enum vms_code send_digest(const struct making *m, struct vms_error *err) {
    struct vms_slice bulk = vms_slice(m->c->hashes, (size_t)m->span * 8);
    struct vms_native_out out = {.bulk = &bulk, .bulk_count = 1};
    if (!m->c->wire->digests || !m->run_count)
        return VMS_OK;
    out.frame.header.type = VMS_NATIVE_DIGEST;
    out.frame.u.range = (struct vms_native_range){.block = {.index = m->batch->block},
                                                  .page_bits = WN_PAGE_BITS,
                                                  .first = m->first,
                                                  .count = (uint32_t)m->span};
    m->c->ticket++;
    return vms_native_link_queue(m->c->wire->link, m->c->number, &out, err);
}

/* ---- as they are ---- */

/* Runs, and the pages' hashes; the pages stay where they are. */
static void look_at_pages(struct making *m) {
    const struct src_batch *b = m->batch;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *page = m->memory + b->pages[i] * PAGE;
        if (i + AHEAD < b->count)
            __builtin_prefetch(m->memory + b->pages[i + AHEAD] * PAGE);
        bool zero = vms_page_is_zero(page, PAGE);
        add_run(m, b->pages[i], zero);
        if (m->c->wire->digests)
            note_hash(m, b->pages[i], zero ? zero_hash() : vms_page_hash(vms_slice(page, PAGE)));
    }
}

/* [RSM-13] [MIG-12] A page that the guest writes to meanwhile is dirty, and comes again. */
static enum vms_code send_raw(struct making *m, struct vms_error *err) {
    struct vms_slice bulk[SRC_BATCH_PAGES];
    struct vms_native_out out = {.bulk = bulk};
    look_at_pages(m);
    if (send_digest(m, err) != VMS_OK)
        return err->code;
    pages_frame(m, &out.frame);
    for (uint32_t i = 0; i < m->run_count; i++)
        if (!m->runs[i].zero)
            bulk[out.bulk_count++] =
                vms_slice(m->memory + m->runs[i].first * PAGE, (size_t)m->runs[i].count * PAGE);
    return vms_native_link_send_pages(m->c->wire->link, m->c->number, &out, m->c->more, err);
}

/* ---- packed ---- */

/* [PACK-16] After a resumption, and before the guest may run at the destination. */
static void forget_if_resumed(struct wn_channel *c) {
    uint32_t resumes = vms_native_link_resumes(c->wire->link);
    if (resumes == c->resumes)
        return;
    vms_known_forget_all(c->known);
    atomic_fetch_add(&c->wire->generation, 1);
    c->resumes = resumes;
}

static void add_packed(struct making *m) {
    const struct src_batch *b = m->batch;
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t hash;
        const uint8_t *page = m->memory + b->pages[i] * PAGE;
        enum vms_page_kind kind =
            vms_packer_add(m->c->packer, b->pages[i], page, m->c->wire->digests ? &hash : NULL);
        if (kind == VMS_PAGE_SAME)
            continue; /* and its hash is known there */
        add_run(m, b->pages[i], kind == VMS_PAGE_ZERO);
        if (m->c->wire->digests)
            note_hash(m, b->pages[i], kind == VMS_PAGE_ZERO ? zero_hash() : hash);
    }
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t wall_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum vms_code pack(struct making *m, struct vms_packed *packed, struct vms_error *err) {
    struct wn_channel *c = m->c;
    int level = c->wire->adaptive ? vms_chooser_next(&c->chooser) : c->wire->level;
    uint64_t begin = cpu_ns();
    enum vms_code code = vms_packer_pack(c->packer, level, c->ticket + 1, packed, err);
    if (code == VMS_OK && c->wire->adaptive)
        vms_chooser_packed(&c->chooser, level, (uint64_t)m->full * PAGE, packed->bulk.len,
                           cpu_ns() - begin);
    return code;
}

static enum vms_code send_packed(struct making *m, struct vms_error *err) {
    struct wn_channel *c = m->c;
    struct vms_packed packed = {.method = VMS_PACK_NONE};
    struct vms_native_out out = {.bulk = &packed.bulk};
    forget_if_resumed(c);
    uint32_t generation = atomic_load(&c->wire->generation);
    c->generation = generation > c->generation ? generation : c->generation;
    vms_packer_begin(c->packer, m->batch->block, c->generation);
    add_packed(m);
    if (!m->run_count)
        return VMS_OK;
    if (send_digest(m, err) != VMS_OK || (m->full && pack(m, &packed, err) != VMS_OK))
        return err->code;
    pages_frame(m, &out.frame);
    out.frame.header.flags = (uint16_t)packed.method;
    out.frame.unpacked = packed.unpacked;
    out.frame.pack = packed.info;
    out.bulk_count = m->full ? 1 : 0;
    c->ticket++;
    uint64_t begin = wall_ns();
    enum vms_code code = vms_native_link_send(c->wire->link, c->number, &out, err);
    if (m->full)
        vms_chooser_sent(&c->chooser, packed.bulk.len, wall_ns() - begin);
    return code;
}

/* ---- jobs ---- */

enum vms_code wn_send_batch(struct wn_channel *c, const struct src_batch *batch,
                            struct vms_error *err) {
    struct making m = {
        .c = c, .batch = batch, .memory = c->wire->guest->blocks[batch->block].memory};
    if (!batch->count)
        return VMS_OK;
    m.first = batch->pages[0];
    m.span = batch->pages[batch->count - 1] - m.first + 1;
    if (c->wire->digests)
        memset(c->hashes, 0, (size_t)m.span * 8);
    enum vms_code code = c->packer ? send_packed(&m, err) : send_raw(&m, err);
    atomic_fetch_add(&c->pages, m.full);
    atomic_fetch_add(&c->zeros, batch->count - m.full); /* and such as it has already */
    return code;
}

static enum vms_code send_discard(struct wn_channel *c, const struct wn_job *job,
                                  struct vms_error *err) {
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_DISCARD};
    out.frame.u.pages = (struct vms_native_pages){.block = {.index = job->block},
                                                  .page_bits = WN_PAGE_BITS,
                                                  .run_count = job->range_count,
                                                  .runs = job->ranges};
    c->ticket++;
    if (c->known)
        vms_known_forget_all(c->known); /* [PACK-14] [PACK-16] the guest moves next */
    return vms_native_link_send(c->wire->link, c->number, &out, err);
}

/* [MIG-21] */
static enum vms_code send_mark(struct wn_channel *c, struct vms_error *err) {
    struct vms_record eos = {.type = VMS_R_RAM_EOS};
    struct vms_native_out out = {.frame.header.type = VMS_NATIVE_RECORDS};
    out.frame.u.records = (struct vms_native_records){1, &eos};
    c->ticket++;
    if (c->known)
        vms_known_forget_all(c->known);
    vms_native_link_keep_short(c->wire->link, c->number, WAITING);
    vms_thread_background();
    return vms_native_link_send(c->wire->link, c->number, &out, err);
}

enum vms_code wn_send_job(struct wn_channel *c, const struct wn_job *job, struct vms_error *err) {
    switch (job->kind) {
    case WN_BATCH: return wn_send_batch(c, &job->batch, err);
    case WN_DISCARD: return send_discard(c, job, err);
    default: return send_mark(c, err);
    }
}
