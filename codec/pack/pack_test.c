/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"

/* [PACK-4] [PACK-9] pages of all kinds come out as they went in, at every level. */
Test(pack, round_trip) {
    static const int levels[] = {VMS_LEVEL_NONE, -3, 1, 3, 9};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig *rig = rig_new(seed, false);
        rig_fill(rig);
        rig_send(rig, 0, PAGES, levels[seed % 5]);
        cr_assert(rig_equal(rig), "seed %zu", (size_t)seed);
        rig_free(rig);
    }
}

/* [PACK-10] [PACK-13] rounds of changes with method 2: memory stays equal, differences are small.
 */
Test(pack, round_trip_delta) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig *rig = rig_new(seed, true);
        rig_fill(rig);
        for (rig->generation = 1; rig->generation < 12; rig->generation++) {
            size_t first = rng_below(&rig->rng, PAGES),
                   count = rng_below(&rig->rng, 1 + PAGES - first);
            rig_send(rig, first, count, rig->generation % 4 ? 1 : VMS_LEVEL_NONE);
            cr_assert(
                !memcmp(rig->source + first * PAGE, rig->target + first * PAGE, count * PAGE));
            for (size_t n = rng_below(&rig->rng, 400); n > 0; n--) {
                uint8_t *page = rig->source + rng_below(&rig->rng, PAGES) * PAGE;
                if (n % 16)
                    touch_page(&rig->rng, page, rng_below(&rig->rng, 200));
                else
                    make_page(&rig->rng, n % CONTENT_KINDS, page);
            }
        }
        rig_send(rig, 0, PAGES, 1);
        cr_assert(rig_equal(rig), "seed %zu", (size_t)seed);
        rig_free(rig);
    }
}

static double resend_cost(size_t changed, enum content content) {
    struct rig *rig = rig_new(changed, true);
    for (size_t i = 0; i < PAGES; i++)
        make_page(&rig->rng, content, rig->source + i * PAGE);
    rig_send(rig, 0, PAGES, 1);
    for (size_t i = 0; i < PAGES; i++)
        touch_page(&rig->rng, rig->source + i * PAGE, changed);
    rig->generation++;
    rig->wire = 0;
    rig_send(rig, 0, PAGES, 1);
    cr_assert(rig_equal(rig));
    double cost = (double)rig->wire / (PAGES * PAGE);
    rig_free(rig);
    return cost;
}

/* [PACK-10] a page of which 8 to 64 bytes changed costs at most a tenth of its size again. */
Test(pack, small_changes_are_cheap) {
    for (size_t changed = 8; changed <= 64; changed *= 2) {
        cr_assert_leq(resend_cost(changed, CONTENT_RANDOM), 0.1);
        cr_assert_leq(resend_cost(changed, CONTENT_POINTERS), 0.1);
        cr_assert_leq(resend_cost(changed, CONTENT_TEXT), 0.1);
    }
    cr_assert_leq(resend_cost(8, CONTENT_RANDOM), 0.02);
}

/* [PACK-5] what does not get smaller by 1/32 goes as it is. */
Test(pack, raw_when_it_does_not_pay) {
    struct rig *rig = rig_new(1, false);
    uint8_t data[BATCH * PAGE];
    for (size_t len = 1; len <= sizeof data; len += 1 + len / 3) {
        for (size_t filler = 0; filler <= len / 16; filler += 1 + len / 64) {
            for (size_t i = 0; i < len; i++)
                data[i] = i < filler ? 0 : (uint8_t)rng_next(&rig->rng);
            struct vms_slice piece = vms_slice(data, len);
            vms_packer_pack_bulk(rig->packer, 1, &piece, 1, &rig->packed, &rig->error);
            cr_assert_eq(rig->packed.unpacked, len);
            if (rig->packed.method == VMS_PACK_NONE)
                cr_assert_eq(rig->packed.bulk.len, len);
            else
                cr_assert_leq(rig->packed.bulk.len, len - (len + 31) / 32);
        }
        memset(data, 7, len);
        struct vms_slice piece = vms_slice(data, len);
        vms_packer_pack_bulk(rig->packer, 1, &piece, 1, &rig->packed, &rig->error);
        cr_assert_eq(rig->packed.method, len < 32 ? rig->packed.method : VMS_PACK_ZSTD);
    }
    rig_free(rig);
}

/* [PACK-2] zero pages are not packed but told to the caller; they are no base afterwards. */
Test(pack, zero_pages) {
    struct rig *rig = rig_new(2, true);
    uint64_t hash = 0, page = 5;
    make_page(&rig->rng, CONTENT_TEXT, rig->source + 5 * PAGE);
    rig_send(rig, 5, 1, 1);
    cr_assert_eq(vms_known_count(rig->known), 1);
    vms_packer_begin(rig->packer, BLOCK_ID, 2);
    memset(rig->source + 5 * PAGE, 0, PAGE);
    cr_assert_eq(vms_packer_add(rig->packer, page, rig->source + 5 * PAGE, &hash), VMS_PAGE_ZERO);
    cr_assert_eq(hash, vms_page_hash(vms_slice(rig->source, PAGE)));
    cr_assert_eq(vms_known_count(rig->known), 0);
    rig->source[5 * PAGE] = 1;
    cr_assert_eq(vms_packer_add(rig->packer, page, rig->source + 5 * PAGE, &hash), VMS_PAGE_FULL);
    rig_free(rig);
}

/* [PACK-21] the packed bytes, the hash and the base are of the copy, not of memory later. */
Test(pack, made_of_the_copy) {
    struct rig *rig = rig_new(3, true);
    uint8_t *page = rig->source + 7 * PAGE, before[PAGE];
    uint64_t hash;
    for (int round = 0; round < 4; round++) {
        touch_page(&rig->rng, page, 20);
        memcpy(before, page, PAGE);
        vms_packer_begin(rig->packer, BLOCK_ID, rig->generation++);
        vms_packer_add(rig->packer, 7, page, &hash);
        touch_page(&rig->rng, page, 40); /* the guest goes on */
        rig_deliver(rig, round % 2 ? 1 : VMS_LEVEL_NONE);
        cr_assert_arr_eq(rig->target + 7 * PAGE, before, PAGE);
        cr_assert_eq(hash, vms_page_hash(vms_slice(before, PAGE)));
    }
    rig_free(rig);
}

/* Full pages and differences share a frame, in the order in which they were added. */
Test(pack, mixed_frame) {
    struct rig *rig = rig_new(4, true);
    static const uint64_t first[] = {2, 9, 4}, then[] = {1, 9, 3, 2, 4};
    for (size_t i = 0; i < 16; i++)
        make_page(&rig->rng, CONTENT_TEXT, rig->source + i * PAGE);
    rig_batch(rig, first, 3, 1);
    cr_assert_eq(rig->packed.method, VMS_PACK_ZSTD);
    cr_assert_eq(rig_unpack(rig), VMS_OK);
    rig->generation++;
    touch_page(&rig->rng, rig->source + 9 * PAGE, 9);
    make_page(&rig->rng, CONTENT_RANDOM, rig->source + 2 * PAGE); /* all new: not a difference */
    rig_batch(rig, then, 5, 1);
    cr_assert_eq(rig->packed.method, VMS_PACK_DELTA);
    cr_assert_eq(rig->packed.deltas, 2);
    cr_assert_arr_eq(rig->packed.pages, then, sizeof then);
    cr_assert_eq(rig_unpack(rig), VMS_OK, "%s", rig->error.message);
    for (size_t i = 0; i < 5; i++)
        cr_assert(!memcmp(rig->source + then[i] * PAGE, rig->target + then[i] * PAGE, PAGE));
    rig_free(rig);
}

/* Pages that the destination holds as they are can be left out. */
Test(pack, skip_same) {
    struct rig *rig = rig_new(5, true);
    free(rig->packer);
    rig->packer = make_packer(rig, rig->known, 0, true);
    make_page(&rig->rng, CONTENT_TEXT, rig->source);
    uint64_t page = 0, hash = 0;
    rig_batch(rig, &page, 1, 1);
    vms_packer_begin(rig->packer, BLOCK_ID, 2);
    cr_assert_eq(vms_packer_add(rig->packer, 0, rig->source, &hash), VMS_PAGE_SAME);
    cr_assert_eq(hash, vms_page_hash(vms_slice(rig->source, PAGE)));
    rig->source[17] ^= 1;
    cr_assert_eq(vms_packer_add(rig->packer, 0, rig->source, &hash), VMS_PAGE_DELTA);
    rig_free(rig);
}

/* [PACK-4] bulk of several pieces is packed as one and comes out into other pieces. */
Test(pack, pieces) {
    struct rig *rig = rig_new(6, false);
    for (int round = 0; round < 200; round++) {
        struct vms_slice in[5];
        struct vms_room out[4];
        size_t total = 0, left, i;
        rig_fill(rig);
        memset(rig->target, 0xee, (size_t)PAGES * PAGE);
        for (i = 0; i < 5; i++) {
            in[i] = vms_slice(rig->source + i * 9 * PAGE, rng_below(&rig->rng, 6 * PAGE));
            total += in[i].len;
        }
        cr_assert_eq(vms_packer_pack_bulk(rig->packer, round % 4, in, 5, &rig->packed, &rig->error),
                     VMS_OK);
        for (i = 0, left = total; i < 4; left -= out[i].len, i++)
            out[i] = (struct vms_room){rig->target + i * 40 * PAGE,
                                       i == 3 ? left : rng_below(&rig->rng, left + 1)};
        struct vms_pack_announced a = announced(&rig->packed);
        cr_assert_eq(vms_unpack(rig->unpacker, &a, rig->packed.bulk, out, 4, NULL, &rig->error),
                     VMS_OK, "%s", rig->error.message);
        size_t piece = 0, at = 0;
        for (i = 0; i < 4; i++)
            for (size_t k = 0; k < out[i].len; k++, at++) {
                for (; at == in[piece].len; at = 0)
                    piece++;
                cr_assert_eq(out[i].ptr[k], in[piece].ptr[at]);
            }
    }
    rig_free(rig);
}

/* A single piece that is not packed stays where it is. */
Test(pack, single_piece_in_place) {
    struct rig *rig = rig_new(7, false);
    make_page(&rig->rng, CONTENT_RANDOM, rig->source);
    struct vms_slice piece = vms_slice(rig->source, PAGE), none = {NULL, 0};
    vms_packer_pack_bulk(rig->packer, 3, &piece, 1, &rig->packed, &rig->error);
    cr_assert_eq(rig->packed.method, VMS_PACK_NONE);
    cr_assert_eq(rig->packed.bulk.ptr, rig->source);
    cr_assert_eq(vms_packer_pack_bulk(rig->packer, 3, &none, 1, &rig->packed, &rig->error), VMS_OK);
    cr_assert_eq(rig->packed.bulk.len, 0);
    cr_assert_eq(vms_packer_pack_bulk(rig->packer, 3, NULL, 0, &rig->packed, &rig->error), VMS_OK);
    cr_assert_eq(rig->packed.unpacked, 0);
    rig_free(rig);
}

Test(pack, misuse) {
    struct rig *rig = rig_new(8, true);
    struct vms_slice big[2] = {vms_slice(rig->source, BATCH * PAGE), vms_slice(rig->source, 1)};
    cr_assert_eq(vms_packer_add(rig->packer, 1, rig->source, NULL), VMS_PAGE_ROOM);
    cr_assert_eq(vms_packer_pack(rig->packer, 1, 0, &rig->packed, &rig->error), VMS_E_MISUSE);
    cr_assert_eq(vms_packer_pack_bulk(rig->packer, 1, big, 1, &rig->packed, &rig->error), VMS_OK);
    cr_assert_eq(vms_packer_pack_bulk(rig->packer, 1, big, 2, &rig->packed, &rig->error),
                 VMS_E_MISUSE);
    struct vms_pack_config config = {.page_size = 3000, .unpacked_max = 6000};
    cr_assert_eq(vms_packer_size(&config), 0);
    config = (struct vms_pack_config){.page_size = 4096, .unpacked_max = 6000};
    cr_assert_eq(vms_packer_size(&config), 0);
    config = (struct vms_pack_config){.page_size = 8192, .unpacked_max = 8192, .known = rig->known};
    cr_assert_eq(vms_packer_size(&config), 0);
    cr_assert_null(vms_packer_init(rig->source, 64, &config));
    rig_free(rig);
}

/* [PACK-20] all page sizes that targets have. */
Test(pack, page_sizes) {
    for (uint32_t size = 1024; size <= 65536; size *= 2) {
        struct rig *rig = rig_new(size, false);
        struct vms_pack_config config = {
            .zip = vms_zstd_ops(rig->zstd), .page_size = size, .unpacked_max = size};
        void *mem = test_alloc(vms_packer_size(&config));
        struct vms_packer *packer = vms_packer_init(mem, vms_packer_size(&config), &config);
        rig_fill(rig);
        rig->source[0] = 1;
        uint64_t hash;
        vms_packer_begin(packer, 0, 1);
        cr_assert_eq(vms_packer_add(packer, 0, rig->source, &hash), VMS_PAGE_FULL);
        cr_assert_eq(vms_packer_add(packer, 1, rig->source, &hash), VMS_PAGE_ROOM);
        cr_assert_eq(vms_packer_pack(packer, 1, 0, &rig->packed, &rig->error), VMS_OK);
        cr_assert_eq(rig->packed.unpacked, size);
        free(mem);
        rig_free(rig);
    }
}
