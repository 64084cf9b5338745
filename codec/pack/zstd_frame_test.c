/* SPDX-License-Identifier: MIT */
#include "internal.h"
#include "pack_test_util.h"

/* Outlines of zstd frames made by hand (RFC 8878, 3.1.1). */

static uint8_t frame[1 << 20];
static struct vms_writer w;

static void put_le(uint64_t v, size_t n) {
    for (size_t i = 0; i < n; i++)
        vms_write_u8(&w, (uint8_t)(v >> 8 * i));
}

/* Magic and descriptor; whatever else the header has is the caller's. */
static void begin(uint8_t descriptor) {
    w = vms_writer((struct vms_room){frame, sizeof frame});
    put_le(0xfd2fb528, 4);
    put_le(descriptor, 1);
}

static void put_block(bool last, unsigned type, uint32_t size, size_t content) {
    put_le((uint64_t)size << 3 | type << 1 | last, 3);
    vms_write_zeros(&w, content);
}

static bool ok(uint64_t size) {
    cr_assert_not(vms_writer_over(&w));
    return vms_zstd_frame_ok(vms_slice(frame, w.pos), size);
}

/* [PACK-8] content sizes of 1, 2, 4 and 8 octets; none is refused. */
Test(zstd_frame, content_size) {
    static const size_t field[] = {1, 2, 4, 8};
    for (uint8_t i = 0; i < 4; i++) {
        begin((uint8_t)(i << 6 | 0x20));
        put_le(5, field[i]);
        put_block(true, 0, 5, 5);
        uint64_t size = i == 1 ? 5 + 256 : 5;
        cr_assert(ok(size));
        cr_assert_not(ok(size - 1));
        cr_assert_not(ok(size + 1));
    }
    begin(0);
    put_le(0, 1);
    put_block(true, 0, 5, 5);
    for (uint64_t size = 0; size < 10; size++)
        cr_assert_not(ok(size));
    cr_assert_not(ok(UINT64_MAX));
}

/* [PACK-8] the reserved bit, the checksum and each form of dictionary id are refused. */
Test(zstd_frame, descriptor) {
    for (unsigned bits = 0; bits < 32; bits++) {
        begin((uint8_t)(0x20 | bits));
        put_le(5, 1);
        put_block(true, 0, 5, 5);
        if (bits & 4)
            put_le(0x12345678, 4);
        cr_assert_eq(ok(5), bits == 0 || bits == 16, "%u", bits); /* bit 4 is unused */
    }
}

/* [PACK-8] blocks: the reserved type, 128 KiB and one more, a last one that is missing. */
Test(zstd_frame, blocks) {
    for (unsigned type = 0; type < 4; type++)
        for (uint32_t size = (128 << 10) - 1; size <= (128 << 10) + 1; size++) {
            begin(0xa0);
            put_le(size, 4);
            put_block(true, type, size, type == 1 ? 1 : size);
            cr_assert_eq(ok(size), type < 3 && size <= 128 << 10, "%u %u", type, size);
        }
    begin(0x20);
    put_le(5, 1);
    put_block(false, 0, 5, 5);
    cr_assert_not(ok(5));
    put_block(true, 0, 0, 0);
    cr_assert(ok(5));
    vms_write_u8(&w, 0);
    cr_assert_not(ok(5));
}

/* [PACK-8] raw and RLE blocks do not sum up to more than the content. */
Test(zstd_frame, sum) {
    for (uint32_t over = 0; over < 2; over++) {
        begin(0xa0);
        put_le(100000 + 70000, 4);
        put_block(false, 1, 100000, 1);
        put_block(true, 0, 70000 + over, 70000 + over);
        cr_assert_eq(ok(170000), over == 0);
    }
}

/* Cut anywhere, a frame is not one; what follows it in memory is not read. */
Test(zstd_frame, cut) {
    begin(0x60);
    put_le(1000 - 256, 2);
    put_block(false, 1, 500, 1);
    put_block(true, 0, 500, 500);
    size_t whole = w.pos;
    for (w.pos = 0; w.pos < whole; w.pos++)
        cr_assert_not(ok(1000), "%zu", w.pos);
    cr_assert(ok(1000));
}
