/* SPDX-License-Identifier: MIT */
#include "host/zero_page.h"
#include "reference-dst/native_internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
    POPULATE_MIN = 4 /* pages */
};

/* Blocks, and pages on their way into them. */

/* ---- the block list ---- */

/*
 * Nearly all of memory will be written: a fault for every 2 MiB, not for every 4 KiB. Not where
 * postcopy may follow, which places page after page.
 */
static bool prefer_huge(const struct dst_native_session *s, const struct vms_guest_block *map) {
    if (map->page_size > DN_PAGE)
        return true;
    return !(s->features & VMS_FEATURE_POSTCOPY) && !map->shared &&
           madvise(map->memory, map->length, MADV_HUGEPAGE) == 0;
}

enum vms_code dn_add_block(struct dst_native_session *s, const struct vms_rec_ram_block *record,
                           struct vms_error *err) {
    if (s->blocks_done)
        return vms_error_set(err, VMS_E_RAM_LIST_TWICE, NULL);
    if (vms_ram_image_find(s->config.image, record->name) != SIZE_MAX)
        return vms_error_set(err, VMS_E_RAM_BLOCK_TWICE, NULL);
    if (vms_ram_image_add(s->config.image, record, err) != VMS_OK)
        return err->code;
    struct dn_block *list = realloc(s->blocks, (s->block_count + 1) * sizeof *list);
    if (!list)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    s->blocks = list;
    struct dn_block *b = &list[s->block_count];
    const struct vms_ram_block *have =
        vms_ram_image_block(s->config.image, vms_ram_image_find(s->config.image, record->name));
    *b = (struct dn_block){.map = {.name = have->name,
                                   .memory = have->memory,
                                   .length = have->used_length,
                                   .page_size = have->map_page,
                                   .shared = have->shared,
                                   .fd = have->fd},
                           .pages = have->used_length >> DN_PAGE_BITS};
    b->arrived = calloc((size_t)(b->pages + 63) / 64, sizeof *b->arrived);
    if (!b->arrived) /* [MOD-9] not in the list: frames that are still read must not find it */
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    b->huge = prefer_huge(s, &b->map);
    s->block_count++;
    return VMS_OK;
}

static enum vms_code make_digest(struct dn_block *b, uint32_t index, struct vms_error *err) {
    size_t size = vms_digest_size(b->pages);
    void *mem = malloc(size);
    b->digest = mem ? vms_digest_init(mem, size, index, b->pages) : NULL;
    return b->digest ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "hashes of pages");
}

enum vms_code dn_blocks_finish(struct dst_native_session *s, struct vms_error *err) {
    static const uint8_t zeros[DN_PAGE];
    uint64_t total = 0;
    s->zero_hash = vms_page_hash(vms_slice(zeros, sizeof zeros));
    for (size_t i = 0; i < s->block_count; i++) {
        total += s->blocks[i].map.length;
        pthread_mutex_init(&s->blocks[i].lock, NULL);
        if (s->features & VMS_FEATURE_DIGEST &&
            make_digest(&s->blocks[i], (uint32_t)i, err) != VMS_OK)
            return err->code;
    }
    if (total != s->ram_total || !s->block_count)
        return vms_error_set(err, VMS_E_RAM_BLOCK_SUM, NULL);
    s->blocks_done = true;
    return dn_devices_layout(s, err);
}

void dn_blocks_free(struct dst_native_session *s) {
    for (size_t i = 0; i < s->block_count; i++) {
        free(s->blocks[i].arrived);
        free(s->blocks[i].digest);
        if (s->blocks_done)
            pthread_mutex_destroy(&s->blocks[i].lock);
    }
    free(s->blocks);
}

struct dn_block *dn_block_of(struct dst_native_session *s, const struct vms_native_block *block,
                             uint8_t page_bits, struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    bool known = s->set_up && block->index < s->block_count;
    pthread_mutex_unlock(&s->lock);
    if (!known) {
        (void)vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "block %u", block->index);
        return NULL;
    }
    if (page_bits != DN_PAGE_BITS) {
        (void)vms_error_set(err, VMS_E_MIG_PAGES, "pages of 2^%u octets", page_bits);
        return NULL;
    }
    return &s->blocks[block->index];
}

/* ---- pages into memory that no guest sees yet ---- */

static bool bit(const _Atomic uint64_t *bits, uint64_t i) {
    return atomic_load_explicit(&bits[i / 64], memory_order_relaxed) >> (i % 64) & 1;
}

/* Groups of one channel do not share words. */
static void set_arrived(struct dn_block *b, uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; i++)
        atomic_fetch_or_explicit(&b->arrived[i / 64], UINT64_C(1) << (i % 64),
                                 memory_order_relaxed);
}

/* Memory that nothing was written to is zero already, and is left to the kernel. */
static void make_zero(struct dn_block *b, uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; i++) {
        uint8_t *page = b->map.memory + i * DN_PAGE;
        if (bit(b->arrived, i) && !vms_page_is_zero(page, DN_PAGE))
            memset(page, 0, DN_PAGE);
    }
}

/* [MIG-10] [MIG-11] Pages are where they belong, on the channel that they belong to. */
static enum vms_code check_runs(const struct dn_channel *c, const struct dn_block *b,
                                const struct vms_native_pages *p, struct vms_error *err) {
    const struct dst_native_session *s = c->session;
    for (uint32_t i = 0; i < p->run_count; i++) {
        const struct vms_native_run *r = &p->runs[i];
        if (r->first >= b->pages || r->count > b->pages - r->first)
            return vms_error_set(err, VMS_E_RAM_OFFSET, "pages past the end of block %u",
                                 p->block.index);
        uint64_t first = r->first >> (DN_GROUP_BITS - DN_PAGE_BITS);
        uint64_t last = (r->first + r->count - 1) >> (DN_GROUP_BITS - DN_PAGE_BITS);
        uint64_t owner = (p->block.index + first) % s->data_channels + 1;
        bool ours = c->number == DN_PREEMPT || (owner == c->number && first == last);
        if (!ours)
            return vms_error_set(err, VMS_E_MIG_PAGES, "page %llu on channel %u",
                                 (unsigned long long)r->first, c->number);
    }
    return VMS_OK;
}

static struct vms_pack_announced announced(const struct vms_native_link_event *ev) {
    const struct vms_native_frame *f = ev->frame;
    unsigned method = f->header.flags & VMS_NATIVE_PACK_MASK;
    return (struct vms_pack_announced){.method = method,
                                       .bulk_len = ev->bulk.len,
                                       .unpacked = method ? f->unpacked : ev->bulk.len,
                                       .info = f->pack,
                                       .pages = true};
}

/*
 * Memory that is written for the first time: one call to the kernel instead of a fault for each
 * page. Where the kernel has no such call (before 5.14) the faults do it.
 */
static void populate(const struct dn_block *b, const struct vms_native_run *r) {
    if (!b->huge && !r->zero && r->count >= POPULATE_MIN && !bit(b->arrived, r->first))
        (void)madvise(b->map.memory + r->first * DN_PAGE, (size_t)r->count * DN_PAGE,
                      MADV_POPULATE_WRITE);
}

struct dn_block *dn_pages_block(struct dn_channel *c, const struct vms_native_pages *p,
                                struct vms_error *err) {
    struct dn_block *b = dn_block_of(c->session, &p->block, p->page_bits, err);
    return b && check_runs(c, b, p, err) == VMS_OK ? b : NULL;
}

size_t dn_page_rooms(const struct dn_block *b, const struct vms_native_pages *p,
                     struct vms_room *rooms) {
    size_t n = 0;
    for (uint32_t i = 0; i < p->run_count; i++) {
        const struct vms_native_run *r = &p->runs[i];
        if (r->zero)
            continue;
        populate(b, r);
        rooms[n++] =
            (struct vms_room){b->map.memory + r->first * DN_PAGE, (size_t)r->count * DN_PAGE};
    }
    return n;
}

/* The content goes, or its difference is applied, where it belongs. */
static enum vms_code fill(struct dn_channel *c, struct dn_block *b,
                          const struct vms_native_link_event *ev, struct vms_error *err) {
    const struct vms_native_pages *p = &ev->frame->u.pages;
    struct vms_room rooms[2048]; /* native_runs */
    struct vms_pack_announced a = announced(ev);
    if (ev->placed)
        return vms_unpack_placed(c->unpacker, &a, &c->generations, err);
    size_t n = dn_page_rooms(b, p, rooms);
    if (!n)
        return VMS_OK;
    if (a.method == VMS_PACK_DELTA)
        atomic_fetch_add(&c->session->deltas, a.unpacked >> DN_PAGE_BITS);
    return vms_unpack(c->unpacker, &a, ev->bulk, rooms, n, &c->generations, err);
}

static void account(struct dn_channel *c, const struct vms_native_pages *p) {
    uint64_t zeros = 0, pages = 0;
    for (uint32_t i = 0; i < p->run_count; i++)
        *(p->runs[i].zero ? &zeros : &pages) += p->runs[i].count;
    atomic_fetch_add(&c->session->pages, pages);
    atomic_fetch_add(&c->session->zeros, zeros);
}

static enum vms_code apply(struct dn_channel *c, struct dn_block *b,
                           const struct vms_native_link_event *ev, struct vms_error *err) {
    const struct vms_native_pages *p = &ev->frame->u.pages;
    struct dst_native_session *s = c->session;
    if (fill(c, b, ev, err) != VMS_OK)
        return err->code;
    for (uint32_t i = 0; i < p->run_count; i++) {
        const struct vms_native_run *r = &p->runs[i];
        if (r->zero)
            make_zero(b, r->first, r->count);
        if (s->config.applied)
            s->config.applied(s->config.ctx, (size_t)(b - s->blocks), r->first, r->count,
                              b->map.memory + r->first * DN_PAGE);
        set_arrived(b, r->first, r->count);
        dn_compare(s, b, r->first, r->count);
    }
    return VMS_OK;
}

/* Postcopy: the content is put together aside. */
static enum vms_code apply_behind(struct dn_channel *c, const struct vms_native_link_event *ev,
                                  struct vms_error *err) {
    struct vms_pack_announced a = announced(ev);
    struct vms_slice content = ev->bulk;
    if (a.method == VMS_PACK_DELTA)
        return vms_error_set(err, VMS_E_PACK_GENERATION, "a difference in postcopy");
    if (a.method != VMS_PACK_NONE) {
        struct vms_room room = {c->scratch, (size_t)a.unpacked};
        if (vms_unpack(c->unpacker, &a, ev->bulk, &room, 1, &c->generations, err) != VMS_OK)
            return err->code;
        content = vms_slice(c->scratch, (size_t)a.unpacked);
    }
    return dn_place(c, &ev->frame->u.pages, content, err);
}

enum vms_code dn_pages(struct dn_channel *c, const struct vms_native_link_event *ev,
                       struct vms_error *err) {
    const struct vms_native_pages *p = &ev->frame->u.pages;
    struct dn_block *b = dn_pages_block(c, p, err);
    if (!b)
        return err->code;
    account(c, p);
    if (c->marked)
        return apply_behind(c, ev, err);
    return apply(c, b, ev, err);
}

enum vms_code dn_discard(struct dn_channel *c, const struct vms_native_pages *p,
                         struct vms_error *err) {
    struct dst_native_session *s = c->session;
    struct dn_block *b = dn_pages_block(c, p, err);
    if (!b)
        return err->code;
    if (c->marked || !(s->features & VMS_FEATURE_POSTCOPY))
        return vms_error_set(err, VMS_E_MIG_FRAME, "DISCARD");
    for (uint32_t i = 0; i < p->run_count; i++) {
        for (uint64_t k = p->runs[i].first; k < p->runs[i].first + p->runs[i].count; k++)
            atomic_fetch_and_explicit(&b->arrived[k / 64], ~(UINT64_C(1) << (k % 64)),
                                      memory_order_relaxed);
        atomic_fetch_add(&s->discarded, p->runs[i].count);
    }
    return VMS_OK; /* listening empties what has not arrived */
}
