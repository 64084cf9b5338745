/* SPDX-License-Identifier: MIT */
#include "core/reader.h"

#include <criterion/criterion.h>

static const uint8_t BYTES[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 2, 'h', 'i'};

Test(reader, numbers_are_big_endian) {
    struct vms_reader r = vms_reader(vms_slice(BYTES, sizeof BYTES));
    cr_expect_eq(vms_read_u8(&r), 0x01);
    cr_expect_eq(vms_read_u16(&r), 0x0203);
    cr_expect_eq(vms_read_u32(&r), 0x04050607);
    cr_expect_eq(vms_read_u64(&r), 0x08090a0b0c0d0e0f);
    cr_expect(vms_slice_eq(vms_read_str8(&r), vms_str("hi")));
    cr_expect_not(vms_reader_short(&r));
    cr_expect_eq(r.pos, sizeof BYTES);
}

/* [MOD-4] The first read that does not fit tells how long the window must be, and all later ones
 * give nothing. */
Test(reader, runs_short_once) {
    struct vms_reader r = vms_reader(vms_slice(BYTES, 6));
    cr_expect_eq(vms_read_u32(&r), 0x01020304);
    cr_expect_eq(vms_read_u32(&r), 0);
    cr_expect(vms_reader_short(&r));
    cr_expect_eq(r.need, 8);
    cr_expect_eq(vms_read_u8(&r), 0);
    cr_expect_eq(vms_read_u16(&r), 0);
    cr_expect_eq(vms_read_u64(&r), 0);
    cr_expect_eq(vms_read_bytes(&r, 0).len, 0);
    cr_expect_eq(r.need, 8);
    cr_expect_eq(r.pos, 4);
}

Test(reader, huge_reads) {
    struct vms_reader r = vms_reader(vms_slice(BYTES, 6));
    (void)vms_read_u8(&r);
    cr_expect_eq(vms_read_bytes(&r, SIZE_MAX).len, 0);
    cr_expect_eq(r.need, SIZE_MAX);
    r = vms_reader(vms_slice(NULL, 0));
    cr_expect_eq(vms_read_bytes(&r, 0).len, 0);
    cr_expect_not(vms_reader_short(&r));
    cr_expect_eq(vms_read_str8(&r).len, 0);
    cr_expect_eq(r.need, 1);
}

Test(reader, want_does_not_move) {
    struct vms_reader r = vms_reader(vms_slice(BYTES, 6));
    cr_expect(vms_reader_want(&r, 6));
    cr_expect_eq(r.pos, 0);
    cr_expect_not(vms_reader_want(&r, 7));
    cr_expect_eq(r.need, 7);
}
