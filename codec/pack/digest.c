/* SPDX-License-Identifier: MIT */
#include "arena.h"
#include "internal.h"
#include <inttypes.h>

struct vms_digest {
    uint64_t pages;
    uint64_t pending; /* set bits in bits */
    uint64_t *hashes; /* 0: not known */
    uint64_t *bits;   /* a page each, the lowest first */
    uint32_t block;
};

static struct vms_digest *lay_out(struct vms_arena *arena, uint64_t pages) {
    struct vms_digest *digest = vms_arena_take(arena, sizeof *digest);
    uint64_t most = SIZE_MAX / 16;
    size_t n = (size_t)(pages < most ? pages : most);
    uint64_t *hashes = vms_arena_take(arena, n * 8);
    uint64_t *bits = vms_arena_take(arena, (n + 63) / 64 * 8);
    if (digest)
        *digest = (struct vms_digest){.pages = pages, .hashes = hashes, .bits = bits};
    return digest;
}

size_t vms_digest_size(uint64_t pages) {
    struct vms_arena arena = {NULL, 0};
    (void)lay_out(&arena, pages);
    return arena.used;
}

struct vms_digest *vms_digest_init(void *mem, size_t mem_len, uint32_t block, uint64_t pages) {
    struct vms_arena arena = {mem, 0};
    size_t size = vms_digest_size(pages);
    if (!mem || mem_len < size || pages >= SIZE_MAX / 16)
        return NULL;
    memset(mem, 0, size);
    struct vms_digest *digest = lay_out(&arena, pages);
    digest->block = block;
    return digest;
}

static bool is_pending(const struct vms_digest *d, uint64_t page) {
    return d->bits[page / 64] >> page % 64 & 1;
}

static void set_pending(struct vms_digest *d, uint64_t page, bool pending) {
    uint64_t bit = UINT64_C(1) << page % 64;
    if (is_pending(d, page) == pending)
        return;
    d->bits[page / 64] ^= bit;
    d->pending += pending ? 1 : UINT64_MAX;
}

static bool inside(const struct vms_digest *d, uint64_t first, uint64_t count) {
    return first <= d->pages && count <= d->pages - first;
}

void vms_digest_set(struct vms_digest *d, uint64_t page, uint64_t hash) {
    if (page >= d->pages)
        return;
    d->hashes[page] = hash;
    set_pending(d, page, true);
}

uint64_t vms_digest_get(const struct vms_digest *d, uint64_t page) {
    return page < d->pages ? d->hashes[page] : 0;
}

/* The first page at or after `from` that is pending or not, as asked; pages when there is none. */
static uint64_t seek(const struct vms_digest *d, uint64_t from, bool pending) {
    uint64_t skip = pending ? 0 : UINT64_MAX;
    while (from < d->pages && is_pending(d, from) != pending)
        from += from % 64 == 0 && d->bits[from / 64] == skip ? 64 : 1;
    return from < d->pages ? from : d->pages;
}

bool vms_digest_next(const struct vms_digest *d, uint64_t from, uint64_t *first, uint64_t *count) {
    *first = seek(d, from, true);
    *count = seek(d, *first, false) - *first;
    return *count != 0;
}

enum vms_code vms_digest_export(struct vms_digest *d, uint64_t first, uint64_t count,
                                struct vms_room out, struct vms_error *err) {
    struct vms_writer w = vms_writer(out);
    if (!inside(d, first, count))
        return vms_error_set(err, VMS_E_MISUSE, "pages past the end of the block");
    if (out.len / 8 < count)
        return vms_error_set(err, VMS_E_SPACE, NULL);
    for (uint64_t page = first; page < first + count; page++) {
        vms_write_u64(&w, d->hashes[page]);
        set_pending(d, page, false);
    }
    return VMS_OK;
}

enum vms_code vms_digest_import(struct vms_digest *d, uint64_t first, struct vms_slice hashes,
                                struct vms_error *err) {
    struct vms_reader r = vms_reader(hashes);
    if (hashes.len % 8 || !inside(d, first, hashes.len / 8))
        return vms_error_set(err, VMS_E_PACK_DIGEST_RANGE,
                             "%zu bytes from page %" PRIu64 " of %" PRIu64, hashes.len, first,
                             d->pages);
    for (uint64_t page = first; r.pos < r.len; page++) {
        uint64_t hash = vms_read_u64(&r);
        if (!hash || hash == d->hashes[page])
            continue; /* says nothing, or nothing new: compared pages stay so */
        d->hashes[page] = hash;
        set_pending(d, page, true);
    }
    return VMS_OK;
}

void vms_digest_touch(struct vms_digest *d, uint64_t first, uint64_t count) {
    if (!inside(d, first, count))
        return;
    for (uint64_t page = first; page < first + count; page++)
        set_pending(d, page, true);
}

bool vms_digest_check(struct vms_digest *d, uint64_t page, struct vms_slice content) {
    if (page >= d->pages || d->hashes[page] != vms_page_hash(content))
        return false;
    set_pending(d, page, false);
    return true;
}

bool vms_digest_compare(struct vms_digest *d, uint64_t page, uint64_t hash) {
    if (page >= d->pages)
        return false;
    set_pending(d, page, d->hashes[page] != hash);
    return d->hashes[page] == hash;
}

uint64_t vms_digest_pending(const struct vms_digest *d) {
    return d->pending;
}

enum vms_code vms_digest_verdict(const struct vms_digest *d, struct vms_error *err) {
    if (!d->pending)
        return VMS_OK;
    return vms_error_set(err, VMS_E_PACK_DIGEST,
                         "%" PRIu64 " of block %" PRIu32 ", the first is %" PRIu64, d->pending,
                         d->block, seek(d, 0, true));
}

uint64_t vms_digest_range(const struct vms_digest *d, uint64_t first, uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count && first + i < d->pages; i++)
        sum += vms_page_share(d->block, first + i, d->hashes[first + i]);
    return sum;
}
