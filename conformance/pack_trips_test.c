/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/pack.h>
#include <vmstream/pack_zstd.h>

/*
 * Packing and digests from end to end: two blocks over three channels, each in its own order and
 * acknowledged late. The model beside it remembers what was sent where, and what of it is known to
 * have come: it judges each reference when it is made, and each page when it has come.
 */
enum {
    PAGE = 1024,
    BLOCKS = 2,
    PAGES = 24, /* of a block */
    CHANNELS = 3,
    BATCH = 4, /* pages of a frame */
    QUEUE = 8, /* frames under way on a channel */
    STEPS = 4000,
    REF = 12, /* octets of a reference behind 4 of the frame's own generation [PACK-10] */
};

struct frame {
    struct vms_pack_announced announced;
    uint64_t ticket, pages[BATCH];
    size_t count;
    uint32_t block;
    uint8_t info[4 + BATCH * REF], bulk[BATCH * PAGE], content[BATCH * PAGE];
};

struct version { /* of a page, the last that was sent */
    bool any, came;
    uint16_t channel;
    uint32_t generation;
    uint64_t ticket, hash;
};

struct channel {
    struct vms_packer *packer;
    void *mem;
    struct frame queue[QUEUE];
    size_t first, count;          /* of queue, a ring */
    uint64_t ticket, came, acked; /* numbers of frames; 0: none */
};

struct world {
    uint64_t seed;
    void *zstd_mem, *known_mem, *unpacker_mem;
    struct vms_zip_ops zip;
    struct vms_known *known;
    struct vms_unpacker *unpacker;
    struct vms_generations generations;
    struct channel channels[CHANNELS];
    struct version versions[BLOCKS][PAGES];
    uint8_t source[BLOCKS][PAGES][PAGE], destination[BLOCKS][PAGES][PAGE];
    unsigned deltas, strange; /* references made; those to a channel other than the frame's */
};

static uint32_t dice(struct world *w, uint32_t n) {
    w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(w->seed >> 33) % n;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const uint8_t *p) {
    return (uint64_t)be32(p) << 32 | be32(p + 4);
}

static struct world *world_new(uint64_t seed) {
    struct world *w = calloc(1, sizeof *w);
    struct vms_zstd_config zstd = {.level_max = 1, .unpacked_max = BATCH * PAGE};
    struct vms_known_config known = {.bytes = 40 * (PAGE + 128), .page_size = PAGE}; /* two sets */
    cr_assert_not_null(w);
    w->seed = seed;
    w->zstd_mem = malloc(vms_zstd_size(&zstd));
    w->zip = vms_zstd_ops(vms_zstd_init(w->zstd_mem, vms_zstd_size(&zstd), &zstd));
    w->known_mem = malloc(vms_known_size(&known));
    w->known = vms_known_init(w->known_mem, vms_known_size(&known), &known);
    cr_assert(w->known && vms_known_capacity(w->known) < (size_t)BLOCKS * PAGES);
    struct vms_unpack_config unpack = {
        .zip = w->zip, .page_size = PAGE, .unpacked_max = BATCH * PAGE};
    w->unpacker_mem = malloc(vms_unpacker_size(&unpack));
    w->unpacker = vms_unpacker_init(w->unpacker_mem, vms_unpacker_size(&unpack), &unpack);
    for (uint16_t c = 0; c < CHANNELS; c++) {
        struct vms_pack_config pack = {.zip = w->zip,
                                       .page_size = PAGE,
                                       .known = w->known,
                                       .unpacked_max = BATCH * PAGE,
                                       .channel = c};
        w->channels[c].mem = malloc(vms_packer_size(&pack));
        w->channels[c].packer = vms_packer_init(w->channels[c].mem, vms_packer_size(&pack), &pack);
        cr_assert(w->unpacker && w->channels[c].packer);
    }
    for (size_t i = 0; i < sizeof w->source[0]; i++) /* the blocks are alike: the more to mix up */
        w->source[0][i / PAGE][i % PAGE] = (uint8_t)dice(w, 256);
    memcpy(w->source[1], w->source[0], sizeof w->source[0]);
    return w;
}

static void world_free(struct world *w) {
    for (int c = 0; c < CHANNELS; c++)
        free(w->channels[c].mem);
    free(w->unpacker_mem);
    free(w->known_mem);
    free(w->zstd_mem);
    free(w);
}

/* The guest writes a few octets, seldom a whole page. */
static void scribble(struct world *w, uint8_t *page) {
    uint32_t n = dice(w, 8) ? 1 + dice(w, 20) : PAGE;
    for (uint32_t i = 0; i < n; i++)
        page[n == PAGE ? i : dice(w, PAGE)] = (uint8_t)(1 + dice(w, 255));
}

/* ---- source ---- */

/* A page does not change its channel while a version of it is under way: order is the sender's. */
static bool may_go(const struct world *w, uint32_t block, uint64_t page, uint16_t channel) {
    const struct version *v = &w->versions[block][page];
    return !v->any || v->came || v->channel == channel;
}

/* [PACK-13] [PACK-14] The last version, of which this channel's frames before, or ACK, tell. */
static void judge_reference(struct world *w, const struct frame *f, uint16_t channel, size_t i) {
    const struct version *v = &w->versions[f->block][f->pages[i]];
    const uint8_t *at = f->info + 4 + i * REF;
    uint32_t generation = be32(at);
    if (!generation)
        return;
    cr_assert(v->any, "a base that was never sent");
    cr_assert_eq(generation, v->generation, "not the page's last version");
    cr_assert_eq(be64(at + 4), v->hash, "the hash of another version");
    cr_assert(v->channel == channel || v->ticket <= w->channels[v->channel].acked,
              "page %u of block %u: the destination is not known to hold the base",
              (unsigned)f->pages[i], f->block);
    w->deltas++;
    w->strange += v->channel != channel;
}

static void note_version(struct world *w, const struct frame *f, uint16_t channel,
                         uint32_t generation) {
    for (size_t i = 0; i < f->count; i++)
        w->versions[f->block][f->pages[i]] = (struct version){
            true,       false,     channel,
            generation, f->ticket, vms_page_hash(vms_slice(f->content + i * PAGE, PAGE))};
}

/* Some pages of a block in one frame, behind those that are under way. */
static void send_frame(struct world *w, uint16_t c, uint32_t generation) {
    struct channel *ch = &w->channels[c];
    struct vms_packed packed;
    struct vms_error err;
    if (ch->count == QUEUE)
        return;
    struct frame *f = &ch->queue[(ch->first + ch->count) % QUEUE];
    *f = (struct frame){.block = dice(w, BLOCKS)};
    vms_packer_begin(ch->packer, f->block, generation);
    uint32_t first = dice(w, PAGES), want = 1 + dice(w, BATCH);
    for (uint32_t i = 0; i < PAGES && f->count < want; i++) {
        uint64_t page = (first + i) % PAGES;
        uint8_t *content = w->source[f->block][page];
        if (!may_go(w, f->block, page, c))
            continue;
        scribble(w, content);
        enum vms_page_kind kind = vms_packer_add(ch->packer, page, content, NULL);
        cr_assert(kind == VMS_PAGE_FULL || kind == VMS_PAGE_DELTA);
        memcpy(f->content + f->count * PAGE, content, PAGE);
        f->pages[f->count++] = page;
    }
    if (!f->count)
        return;
    f->ticket = ++ch->ticket;
    cr_assert_eq(vms_packer_pack(ch->packer, 1, f->ticket, &packed, &err), VMS_OK);
    cr_assert(packed.count == f->count && packed.info.len <= sizeof f->info);
    cr_assert(!memcmp(packed.pages, f->pages, f->count * sizeof *f->pages));
    memcpy(f->bulk, packed.bulk.ptr, packed.bulk.len);
    if (packed.info.len)
        memcpy(f->info, packed.info.ptr, packed.info.len);
    f->announced = (struct vms_pack_announced){.method = packed.method,
                                               .bulk_len = packed.bulk.len,
                                               .unpacked = packed.unpacked,
                                               .info = vms_slice(f->info, packed.info.len),
                                               .pages = true};
    for (size_t i = 0; packed.method == VMS_PACK_DELTA && i < f->count; i++)
        judge_reference(w, f, c, i);
    note_version(w, f, c, generation);
    ch->count++;
}

/* ---- destination ---- */

static enum vms_code unpack(struct world *w, const struct frame *f) {
    struct vms_room rooms[BATCH];
    struct vms_error err;
    for (size_t i = 0; i < f->count; i++)
        rooms[i] = (struct vms_room){w->destination[f->block][f->pages[i]], PAGE};
    return vms_unpack(w->unpacker, &f->announced, vms_slice(f->bulk, (size_t)f->announced.bulk_len),
                      rooms, f->count, &w->generations, &err);
}

static bool as_sent(const struct world *w, const struct frame *f) {
    for (size_t i = 0; i < f->count; i++)
        if (memcmp(w->destination[f->block][f->pages[i]], f->content + i * PAGE, PAGE) != 0)
            return false;
    return true;
}

/* [PACK-17] The same frame once more: it is not applied to what it has made. */
static void deliver_again(struct world *w, const struct frame *f) {
    if (f->announced.method != VMS_PACK_DELTA || !be32(f->info + 4))
        return;
    cr_assert_eq(unpack(w, f), VMS_E_PACK_BASE, "a difference was applied twice");
    cr_assert(as_sent(w, f), "memory was changed by a frame that was refused");
}

static void deliver(struct world *w, struct channel *ch) {
    struct frame *f = &ch->queue[ch->first];
    if (!ch->count)
        return;
    cr_assert_eq(unpack(w, f), VMS_OK, "a frame in good order was refused");
    cr_assert(as_sent(w, f), "another content than was sent");
    if (dice(w, 4) == 0)
        deliver_again(w, f);
    ch->first = (ch->first + 1) % QUEUE;
    ch->count--;
    ch->came = f->ticket;
    for (size_t i = 0; i < f->count; i++) {
        struct version *v = &w->versions[f->block][f->pages[i]];
        v->came |= v->channel == (uint16_t)(ch - w->channels) && v->ticket == f->ticket;
    }
}

static void acknowledge(struct world *w, uint16_t c) {
    struct channel *ch = &w->channels[c];
    if (ch->came == ch->acked)
        return;
    ch->acked = ch->came;
    vms_known_acked(w->known, c, ch->acked);
}

/* [PACK-13] [PACK-14] [PACK-15] [PACK-17] */
Test(pack_trips, references_are_to_what_is_there) {
    unsigned deltas = 0, strange = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct world *w = world_new(seed);
        for (uint32_t step = 0; step < STEPS; step++) {
            uint16_t c = (uint16_t)dice(w, CHANNELS);
            switch (dice(w, 8)) {
            case 0: acknowledge(w, c); break;
            case 1:
            case 2:
            case 3: send_frame(w, c, 1 + step / 16); break;
            default: deliver(w, &w->channels[c]); break;
            }
        }
        deltas += w->deltas;
        strange += w->strange;
        world_free(w);
    }
    cr_expect_gt(deltas, 1000u, "%u references", deltas);
    cr_expect_gt(strange, 50u, "%u to versions of other channels", strange);
}

/* ---- digests ---- */

struct digests {
    void *mem[2];
    struct vms_digest *source, *destination;
    uint8_t memory[PAGES][PAGE];
};

static void digests_new(struct digests *d) {
    uint8_t octets[PAGES * 8];
    struct vms_error err;
    for (int i = 0; i < 2; i++)
        d->mem[i] = malloc(vms_digest_size(PAGES));
    d->source = vms_digest_init(d->mem[0], vms_digest_size(PAGES), 0, PAGES);
    d->destination = vms_digest_init(d->mem[1], vms_digest_size(PAGES), 0, PAGES);
    for (uint64_t page = 0; page < PAGES; page++) {
        memset(d->memory[page], (int)page, PAGE);
        vms_digest_set(d->source, page, vms_page_hash(vms_slice(d->memory[page], PAGE)));
    }
    struct vms_room room = {octets, sizeof octets};
    cr_assert_eq(vms_digest_export(d->source, 0, PAGES, room, &err), VMS_OK);
    cr_assert_eq(vms_digest_import(d->destination, 0, vms_slice(octets, sizeof octets), &err),
                 VMS_OK);
}

static void digests_free(struct digests *d) {
    free(d->mem[0]);
    free(d->mem[1]);
}

static enum vms_code verdict(const struct digests *d) {
    struct vms_error err;
    return vms_digest_verdict(d->destination, &err);
}

/* [PACK-22] [PACK-24] Until every page that a hash was told of was compared, nothing is good. */
Test(pack_trips, no_verdict_before_the_last_page) {
    struct digests d;
    digests_new(&d);
    for (uint64_t page = 0; page < PAGES; page++) {
        cr_expect_eq(verdict(&d), VMS_E_PACK_DIGEST, "good before page %d", (int)page);
        cr_expect(vms_digest_check(d.destination, page, vms_slice(d.memory[page], PAGE)));
    }
    cr_expect_eq(verdict(&d), VMS_OK);
    digests_free(&d);
}

/* [PACK-23] [PACK-24] One octet of one page, found when it is compared and when it is written. */
Test(pack_trips, a_page_that_differs_stays_pending) {
    for (uint64_t bad = 0; bad < PAGES; bad++)
        for (int written = 0; written < 2; written++) {
            struct digests d;
            digests_new(&d);
            for (uint64_t page = 0; page < PAGES; page++)
                (void)vms_digest_check(d.destination, page, vms_slice(d.memory[page], PAGE));
            d.memory[bad][bad] ^= 1;
            struct vms_slice content = vms_slice(d.memory[bad], PAGE);
            if (written)
                (void)vms_digest_compare(d.destination, bad, vms_page_hash(content));
            else
                vms_digest_touch(d.destination, bad, 1);
            cr_expect_eq(verdict(&d), VMS_E_PACK_DIGEST);
            cr_expect_not(vms_digest_check(d.destination, bad, content));
            cr_expect_eq(verdict(&d), VMS_E_PACK_DIGEST);
            d.memory[bad][bad] ^= 1;
            cr_expect(vms_digest_check(d.destination, bad, content));
            cr_expect_eq(verdict(&d), VMS_OK);
            digests_free(&d);
        }
}
