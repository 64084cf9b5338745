/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_PACK_TEST_UTIL_H
#define VMSTREAM_PACK_TEST_UTIL_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/pack_zstd.h>

/* Seeded content, a packer and an unpacker over zstd, and a destination's memory. */

enum {
    PAGE = 4096,
    PAGES = 256,  /* of guest memory */
    BATCH = 32,   /* pages of a frame */
    BLOCK_ID = 3, /* any */
};

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state;
}

static inline size_t rng_below(struct rng *r, size_t n) {
    return (size_t)(rng_next(r) % n);
}

enum content {
    CONTENT_ZERO,
    CONTENT_RANDOM,
    CONTENT_TEXT,
    CONTENT_POINTERS,
    CONTENT_KINDS,
};

static inline void make_page(struct rng *r, enum content content, uint8_t *page) {
    static const char words[] = "int struct page list_head next; -> ";
    memset(page, 0, PAGE);
    for (size_t i = 0; i < PAGE && content != CONTENT_ZERO; i += 8) {
        uint64_t v = rng_next(r);
        if (content == CONTENT_POINTERS)
            v = v % 3 ? 0 : UINT64_C(0xffff888000000000) | (v & 0xffffff8);
        if (content == CONTENT_TEXT)
            memcpy(&v, words + v % (sizeof words - 8), 8);
        memcpy(page + i, &v, 8);
    }
}

/* Changes n bytes of a page, scattered. */
static inline void touch_page(struct rng *r, uint8_t *page, size_t n) {
    for (size_t i = 0; i < n; i++)
        page[rng_below(r, PAGE)] ^= (uint8_t)(1 + rng_below(r, 255));
}

static inline void *test_alloc(size_t n) {
    void *mem = n ? aligned_alloc(64, (n + 63) / 64 * 64) : NULL;
    cr_assert_not_null(mem);
    return mem;
}

struct rig {
    struct rng rng;
    uint8_t *source, *target; /* PAGES each */
    struct vms_zstd *zstd;
    struct vms_known *known;
    struct vms_packer *packer;
    struct vms_unpacker *unpacker;
    struct vms_generations generations;
    struct vms_packed packed;
    struct vms_error error;
    uint32_t generation;
    uint64_t ticket;
    uint64_t wire;        /* bytes of bulk and info so far */
    uint64_t hash[PAGES]; /* as the packer gave them */
};

static inline struct vms_known *make_known(uint64_t bytes) {
    struct vms_known_config config = {bytes, PAGE};
    size_t size = vms_known_size(&config);
    cr_assert_leq(size, bytes);
    return vms_known_init(test_alloc(size), size, &config);
}

static inline struct vms_zstd *make_zstd(int level_max, size_t unpacked_max) {
    struct vms_zstd_config config = {level_max, unpacked_max};
    size_t size = vms_zstd_size(&config);
    return vms_zstd_init(test_alloc(size), size, &config);
}

static inline struct vms_packer *make_packer(struct rig *rig, struct vms_known *known,
                                             uint16_t channel, bool skip_same) {
    struct vms_pack_config config = {.zip = vms_zstd_ops(rig->zstd),
                                     .page_size = PAGE,
                                     .unpacked_max = BATCH * PAGE,
                                     .known = known,
                                     .channel = channel,
                                     .skip_same = skip_same};
    size_t size = vms_packer_size(&config);
    return vms_packer_init(test_alloc(size), size, &config);
}

static inline struct rig *rig_new(uint64_t seed, bool deltas) {
    struct rig *rig = calloc(1, sizeof *rig);
    rig->rng.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    rig->source = calloc(PAGES, PAGE);
    rig->target = calloc(PAGES, PAGE);
    rig->zstd = make_zstd(9, BATCH * PAGE);
    if (deltas)
        rig->known = make_known(2 * PAGES * PAGE);
    rig->packer = make_packer(rig, rig->known, 0, false);
    struct vms_unpack_config config = {
        .zip = vms_zstd_ops(rig->zstd), .page_size = PAGE, .unpacked_max = BATCH * PAGE};
    size_t size = vms_unpacker_size(&config);
    rig->unpacker = vms_unpacker_init(test_alloc(size), size, &config);
    cr_assert(rig->packer && rig->unpacker && rig->zstd);
    rig->generation = 1;
    return rig;
}

static inline void rig_free(struct rig *rig) {
    free(rig->source);
    free(rig->target);
    free(rig->zstd);
    free(rig->known);
    free(rig->packer);
    free(rig->unpacker);
    free(rig);
}

static inline void rig_fill(struct rig *rig) {
    for (size_t i = 0; i < PAGES; i++)
        make_page(&rig->rng, (enum content)rng_below(&rig->rng, CONTENT_KINDS),
                  rig->source + i * PAGE);
}

static inline struct vms_pack_announced announced(const struct vms_packed *packed) {
    return (struct vms_pack_announced){.method = (unsigned)packed->method,
                                       .bulk_len = packed->bulk.len,
                                       .unpacked = packed->unpacked,
                                       .info = packed->info,
                                       .pages = packed->pages != NULL};
}

/* The target's pages, as rooms. */
static inline size_t rig_rooms(const struct rig *rig, struct vms_room *rooms) {
    for (size_t i = 0; i < rig->packed.count; i++)
        rooms[i] = (struct vms_room){rig->target + rig->packed.pages[i] * PAGE, PAGE};
    return rig->packed.count;
}

static inline enum vms_code rig_unpack(struct rig *rig) {
    struct vms_room rooms[BATCH];
    struct vms_pack_announced a = announced(&rig->packed);
    return vms_unpack(rig->unpacker, &a, rig->packed.bulk, rooms, rig_rooms(rig, rooms),
                      &rig->generations, &rig->error);
}

/* Packs the batch and counts its bytes. */
static inline void rig_pack(struct rig *rig, int level) {
    cr_assert_eq(vms_packer_pack(rig->packer, level, rig->ticket++, &rig->packed, &rig->error),
                 VMS_OK, "%s", rig->error.message);
    rig->wire += rig->packed.info.len + rig->packed.bulk.len;
}

static inline void rig_deliver(struct rig *rig, int level) {
    rig_pack(rig, level);
    cr_assert_eq(rig_unpack(rig), VMS_OK, "%s", rig->error.message);
    vms_packer_begin(rig->packer, BLOCK_ID, rig->generation);
}

/* Begins a batch, adds these pages of the source, packs it at this level. */
static inline void rig_batch(struct rig *rig, const uint64_t *pages, size_t count, int level) {
    vms_packer_begin(rig->packer, BLOCK_ID, rig->generation);
    for (size_t i = 0; i < count; i++)
        (void)vms_packer_add(rig->packer, pages[i], rig->source + pages[i] * PAGE, NULL);
    rig_pack(rig, level);
}

/* Sends pages from first on, in as many frames as it takes. */
static inline void rig_send(struct rig *rig, size_t first, size_t count, int level) {
    size_t added = 0;
    vms_packer_begin(rig->packer, BLOCK_ID, rig->generation);
    for (size_t i = first; i < first + count; i++) {
        const uint8_t *page = rig->source + i * PAGE;
        enum vms_page_kind kind = vms_packer_add(rig->packer, i, page, &rig->hash[i]);
        if (kind == VMS_PAGE_ROOM) {
            rig_deliver(rig, level);
            added = 0;
            kind = vms_packer_add(rig->packer, i, page, &rig->hash[i]);
        }
        if (kind == VMS_PAGE_ZERO)
            memset(rig->target + i * PAGE, 0, PAGE);
        added += kind == VMS_PAGE_FULL || kind == VMS_PAGE_DELTA;
    }
    if (added)
        rig_deliver(rig, level);
}

static inline bool rig_equal(const struct rig *rig) {
    return memcmp(rig->source, rig->target, (size_t)PAGES * PAGE) == 0;
}

#endif
