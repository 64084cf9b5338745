/* SPDX-License-Identifier: MIT */
#include "core/writer.h"
#include "pack_test_util.h"
#include <zstd.h>

/* Hostile input: every lie has its error, and memory outside the rooms is never touched. */

static struct rig *rig;
static uint8_t wire[2 * BATCH * PAGE];
static struct vms_pack_announced said;

static void setup(void) {
    rig = rig_new(1, true);
    for (size_t i = 0; i < PAGES; i++)
        make_page(&rig->rng, CONTENT_TEXT, rig->source + i * PAGE);
}

static void teardown(void) {
    rig_free(rig);
}

TestSuite(unpack, .init = setup, .fini = teardown);

/* Packs some pages with method 1 or 2 and keeps a copy of the bulk in wire. */
static void make_frame(enum vms_pack_method method) {
    uint64_t pages[8];
    for (uint64_t i = 0; i < 8; i++)
        pages[i] = 2 * i;
    rig_batch(rig, pages, 8, 1);
    if (method == VMS_PACK_DELTA) {
        cr_assert_eq(rig_unpack(rig), VMS_OK);
        rig->generation++;
        for (size_t i = 0; i < 8; i++)
            touch_page(&rig->rng, rig->source + pages[i] * PAGE, 30);
        rig_batch(rig, pages, 8, 1);
    }
    cr_assert_eq(rig->packed.method, method);
    memcpy(wire, rig->packed.bulk.ptr, rig->packed.bulk.len);
    said = announced(&rig->packed);
}

/* Unpacks wire as `said` says. */
static enum vms_code unpack(void) {
    struct vms_room rooms[BATCH];
    size_t count = rig_rooms(rig, rooms);
    memset(&rig->error, 0, sizeof rig->error);
    return vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), rooms, count,
                      &rig->generations, &rig->error);
}

/* [PACK-1] methods from 3 on, and method 2 for what is not pages. */
Test(unpack, method) {
    make_frame(VMS_PACK_ZSTD);
    for (said.method = 3; said.method < 16; said.method++)
        cr_assert_eq(unpack(), VMS_E_PACK_METHOD);
    said.method = 2;
    said.pages = false;
    cr_assert_eq(unpack(), VMS_E_PACK_METHOD);
    cr_assert_str_eq(rig->error.clause, "PACK-1");
}

/* [PACK-6] [LIM-1] sizes are refused before any bulk is needed; at the limit they are taken. */
Test(unpack, announced_sizes) {
    struct vms_pack_announced a = {.method = 1, .bulk_len = 5, .unpacked = BATCH * PAGE};
    struct vms_error *err = &rig->error;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_OK);
    a.unpacked++;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_LIMIT);
    cr_assert_eq(err->class_, VMS_CLASS_LIMIT);
    a.unpacked = UINT64_MAX;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_LIMIT);
    a.unpacked = 5; /* not shorter */
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_PACK_SIZE);
    a.unpacked = 6;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_OK);
    a.bulk_len = 0;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_PACK_SIZE);
    a = (struct vms_pack_announced){.method = 0, .bulk_len = 8, .unpacked = 7};
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_PACK_SIZE);
    a = (struct vms_pack_announced){.method = 0, .bulk_len = 8, .unpacked = 8, .pages = true};
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_E_PACK_SIZE);
    a.pages = false;
    cr_assert_eq(vms_unpack_check(rig->unpacker, &a, err), VMS_OK);
}

/* [PACK-8] any other announced size than the frame's own, up or down. */
Test(unpack, lying_sizes) {
    make_frame(VMS_PACK_ZSTD);
    for (size_t pages = 1; pages <= BATCH; pages++) {
        struct vms_room room = {rig->target, pages * PAGE};
        said.unpacked = room.len;
        enum vms_code code =
            vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), &room, 1,
                       &rig->generations, &rig->error);
        cr_assert(code == (pages == 8                 ? VMS_OK
                           : said.bulk_len < room.len ? VMS_E_PACK_FRAME
                                                      : VMS_E_PACK_SIZE));
    }
}

/* [PACK-8] cut at every byte, and with bytes behind. */
Test(unpack, truncated) {
    make_frame(VMS_PACK_ZSTD);
    uint64_t whole = said.bulk_len;
    for (said.bulk_len = 1; said.bulk_len < whole; said.bulk_len++)
        cr_assert_eq(unpack(), VMS_E_PACK_FRAME, "%zu", (size_t)said.bulk_len);
    cr_assert_eq(unpack(), VMS_OK);
    said.bulk_len = whole + 1;
    cr_assert_eq(unpack(), VMS_E_PACK_FRAME);
}

/* A zstd frame made by hand: content size in 4 bytes, then this many RLE blocks of 128 KiB. */
static void make_bomb(uint32_t content_size, size_t blocks) {
    struct vms_writer w = vms_writer((struct vms_room){wire, sizeof wire});
    vms_write_bytes(&w, vms_slice("\x28\xb5\x2f\xfd\xa0", 5));
    for (int i = 0; i < 4; i++)
        vms_write_u8(&w, (uint8_t)(content_size >> 8 * i));
    for (size_t i = 0; i < blocks; i++) {
        uint32_t header = (128u << 10) << 3 | 1 << 1 | (i + 1 == blocks);
        for (int k = 0; k < 3; k++)
            vms_write_u8(&w, (uint8_t)(header >> 8 * k));
        vms_write_u8(&w, 0x55);
    }
    said.bulk_len = w.pos;
}

/* [PACK-7] [PACK-8] a frame that would unpack to a gigabyte is not begun. */
Test(unpack, bomb) {
    struct vms_room room = {rig->target, BATCH * PAGE};
    said = (struct vms_pack_announced){.method = 1, .unpacked = room.len};
    make_bomb((uint32_t)room.len, 1);
    cr_assert_eq(vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), &room, 1,
                            NULL, &rig->error),
                 VMS_OK, "the honest one: %s", rig->error.message);
    memset(rig->target, 0, BATCH * PAGE);
    for (size_t blocks = 2; blocks < 8192; blocks = blocks * 2) {
        make_bomb((uint32_t)room.len, blocks);
        cr_assert_eq(vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), &room,
                                1, NULL, &rig->error),
                     VMS_E_PACK_FRAME);
        make_bomb((uint32_t)(blocks << 17), blocks); /* says so itself */
        cr_assert_eq(vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), &room,
                                1, NULL, &rig->error),
                     VMS_E_PACK_FRAME);
    }
    for (size_t i = 0; i < BATCH * PAGE; i++)
        cr_assert_eq(rig->target[i], 0);
}

/* Compresses what `said` announces with these settings of zstd's own. */
static void compress_with(ZSTD_cParameter parameter, int value) {
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(cctx, parameter, value);
    said.bulk_len = ZSTD_compress2(cctx, wire, sizeof wire, rig->source, BATCH * PAGE);
    cr_assert_not(ZSTD_isError((size_t)said.bulk_len));
    ZSTD_freeCCtx(cctx);
}

static enum vms_code unpack_bulk(void) {
    struct vms_room room = {rig->target, BATCH * PAGE};
    said =
        (struct vms_pack_announced){.method = 1, .unpacked = room.len, .bulk_len = said.bulk_len};
    return vms_unpack(rig->unpacker, &said, vms_slice(wire, (size_t)said.bulk_len), &room, 1, NULL,
                      &rig->error);
}

/* [PACK-8] no checksum, no missing content size, no skippable frame, no second frame. */
Test(unpack, forms_of_frames) {
    compress_with(ZSTD_c_compressionLevel, 5);
    cr_assert_eq(unpack_bulk(), VMS_OK);
    size_t len = (size_t)said.bulk_len;
    memcpy(wire + len, wire, len);
    said.bulk_len = 2 * len;
    cr_assert_eq(unpack_bulk(), VMS_E_PACK_FRAME);
    memmove(wire + 12, wire, len);
    memcpy(wire, "\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);
    said.bulk_len = len + 12;
    cr_assert_eq(unpack_bulk(), VMS_E_PACK_FRAME);
    compress_with(ZSTD_c_checksumFlag, 1);
    cr_assert_eq(unpack_bulk(), VMS_E_PACK_FRAME);
    compress_with(ZSTD_c_contentSizeFlag, 0);
    cr_assert_eq(unpack_bulk(), VMS_E_PACK_FRAME);
    compress_with(ZSTD_c_windowLog, 10);
    cr_assert_eq(unpack_bulk(), VMS_OK, "a window of its own");
}

/* [PACK-8] a window of 8 MiB is taken, a larger one is not. */
Test(unpack, window) {
    compress_with(ZSTD_c_windowLog, 10);
    cr_assert_eq(wire[4] & 0x20, 0);
    for (unsigned descriptor = 0; descriptor < 256; descriptor++) {
        unsigned exponent = descriptor >> 3, mantissa = descriptor & 7;
        bool fits = exponent < 13 || (exponent == 13 && mantissa == 0);
        if (exponent == 0 && mantissa < 2)
            continue;
        wire[5] = (uint8_t)descriptor;
        cr_assert_eq(unpack_bulk() == VMS_E_PACK_FRAME, !fits, "%u", descriptor);
    }
}

/* [PACK-9] damage behind a whole outline is the decompressor's to find; nothing else happens. */
Test(unpack, damaged) {
    size_t refused = 0;
    make_frame(VMS_PACK_ZSTD);
    memset(rig->target, 0xcc, (size_t)PAGES * PAGE);
    for (int round = 0; round < 20000; round++) {
        size_t at = rng_below(&rig->rng, (size_t)said.bulk_len);
        uint8_t bit = (uint8_t)(1 << rng_below(&rig->rng, 8));
        wire[at] ^= bit;
        enum vms_code code = unpack();
        cr_assert(code == VMS_OK || code == VMS_E_PACK_DATA || code == VMS_E_PACK_FRAME);
        refused += code != VMS_OK;
        wire[at] ^= bit;
    }
    cr_assert_gt(refused, 100);
    for (size_t i = 0; i < PAGES; i++) /* pages that the frame does not have */
        if (i % 2 || i >= 16)
            for (size_t k = 0; k < PAGE; k++)
                cr_assert_eq(rig->target[i * PAGE + k], 0xcc);
}

/* Random bytes with a good beginning: no crash, no write outside. */
Test(unpack, garbage) {
    make_frame(VMS_PACK_DELTA);
    for (int round = 0; round < 20000; round++) {
        for (size_t i = 8 + rng_below(&rig->rng, 30); i < said.bulk_len; i++)
            wire[i] = (uint8_t)rng_next(&rig->rng);
        said.method = 1 + (unsigned)round % 2;
        if (said.method == 1)
            said.info.len = 4;
        else
            said.info.len = rig->packed.info.len;
        cr_assert_neq(unpack(), VMS_E_MISUSE);
    }
}

/* [PACK-17] a page at hand that is not the version named; nothing is changed, not even others. */
Test(unpack, wrong_base) {
    make_frame(VMS_PACK_DELTA);
    rig->target[6 * PAGE + 100] ^= 1;
    uint8_t *before = test_alloc((size_t)PAGES * PAGE);
    memcpy(before, rig->target, (size_t)PAGES * PAGE);
    cr_assert_eq(unpack(), VMS_E_PACK_BASE);
    cr_assert_str_eq(rig->error.clause, "PACK-17");
    cr_assert_not_null(strstr(rig->error.message, "page 3"));
    cr_assert_arr_eq(rig->target, before, (size_t)PAGES * PAGE);
    rig->target[6 * PAGE + 100] ^= 1;
    cr_assert_eq(unpack(), VMS_OK);
    cr_assert_eq(unpack(), VMS_E_PACK_BASE, "what comes twice is not applied twice");
    free(before);
}

/* [PACK-12] generations that were never announced, and [PACK-16] those before a resumption. */
Test(unpack, unknown_generation) {
    make_frame(VMS_PACK_DELTA);
    rig->generations.newest = 0;
    cr_assert_eq(unpack(), VMS_E_PACK_GENERATION);
    cr_assert_str_eq(rig->error.clause, "PACK-12");
    rig->generations.newest = 1;
    vms_generations_forget(&rig->generations);
    cr_assert_eq(unpack(), VMS_E_PACK_GENERATION);
    rig->generations = (struct vms_generations){0, 1};
    cr_assert_eq(unpack(), VMS_OK);
    cr_assert_eq(rig->generations.newest, 2);
    uint64_t other = 1; /* another channel may still be in an older generation */
    rig->generation = 1;
    rig_batch(rig, &other, 1, 1);
    cr_assert_eq(rig_unpack(rig), VMS_OK);
    cr_assert_eq(rig->generations.newest, 2);
}

/* [PACK-10] [PACK-12] Pages that are in their place already are of a generation all the same. */
Test(unpack, placed) {
    uint64_t page = 1;
    rig->generation = 3;
    rig_batch(rig, &page, 1, VMS_LEVEL_NONE);
    said = announced(&rig->packed);
    cr_assert_eq(said.method, VMS_PACK_NONE);
    struct vms_generations *g = &rig->generations;
    cr_assert_eq(vms_unpack_placed(rig->unpacker, &said, g, &rig->error), VMS_OK);
    cr_assert_eq(g->newest, 3);
    said.info.len--;
    cr_assert_eq(vms_unpack_placed(rig->unpacker, &said, g, &rig->error), VMS_E_PACK_INFO);
    make_frame(VMS_PACK_ZSTD);
    cr_assert_eq(vms_unpack_placed(rig->unpacker, &said, g, &rig->error), VMS_E_MISUSE);
}

/* [PACK-10] [PACK-11] the info's length, generation 0, a hash without generation. */
Test(unpack, info) {
    uint8_t copy[4 + 12 * 8 + 1];
    make_frame(VMS_PACK_DELTA);
    memcpy(copy, said.info.ptr, said.info.len);
    said.info.ptr = copy;
    size_t len = said.info.len;
    for (said.info.len = 0; said.info.len <= len + 1; said.info.len++)
        if (said.info.len != len)
            cr_assert_eq(unpack(), VMS_E_PACK_INFO, "%zu", said.info.len);
    said.info.len = len;
    memset(copy, 0, 4);
    cr_assert_eq(unpack(), VMS_E_PACK_INFO);
    memcpy(copy, rig->packed.info.ptr, len);
    memset(copy + 4, 0, 4);
    cr_assert_eq(unpack(), VMS_E_PACK_INFO);
    said =
        (struct vms_pack_announced){.method = 0, .bulk_len = 9, .unpacked = 9, .info = {copy, 4}};
    cr_assert_eq(vms_unpack_check(rig->unpacker, &said, &rig->error), VMS_E_PACK_INFO);
}

/* Rooms that do not go with what was announced are the caller's mistake. */
Test(unpack, misuse) {
    make_frame(VMS_PACK_ZSTD);
    struct vms_room rooms[2] = {{rig->target, 8 * PAGE - 1}, {rig->target, 1}};
    struct vms_slice bulk = vms_slice(wire, (size_t)said.bulk_len);
    cr_assert_eq(vms_unpack(rig->unpacker, &said, bulk, rooms, 2, &rig->generations, &rig->error),
                 VMS_E_MISUSE);
    rooms[0].len = 8 * PAGE;
    cr_assert_eq(vms_unpack(rig->unpacker, &said, bulk, rooms, 2, &rig->generations, &rig->error),
                 VMS_E_MISUSE);
    cr_assert_eq(vms_unpack(rig->unpacker, &said, bulk, rooms, 1, NULL, &rig->error), VMS_E_MISUSE);
    bulk.len--;
    cr_assert_eq(vms_unpack(rig->unpacker, &said, bulk, rooms, 1, &rig->generations, &rig->error),
                 VMS_E_MISUSE);
}
