/* SPDX-License-Identifier: MIT */
#include "host/ram_unpack.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum {
    PLAIN = 100000,
};

static uint8_t plain[PLAIN];
static uint8_t packed[2 * PLAIN];

static size_t pack(enum vms_inflate_kind kind) {
    for (size_t i = 0; i < PLAIN; i++)
        plain[i] = (uint8_t)(i * i >> 7);
    uLongf len = sizeof packed;
    if (kind == VMS_UNPACK_ZSTD)
        return ZSTD_compress(packed, sizeof packed, plain, PLAIN, 3);
    cr_assert_eq(compress(packed, &len, plain, PLAIN), Z_OK);
    return len;
}

/* Feeds in_step bytes of input at a time into out_step bytes of output at a time. */
static void round_trip(enum vms_inflate_kind kind, size_t in_step, size_t out_step) {
    static uint8_t got[PLAIN];
    struct vms_slice left = vms_slice(packed, pack(kind));
    struct vms_inflate *u = vms_inflate_new(kind);
    size_t have = 0;
    for (int again = 0; again < 2; again++, vms_inflate_reset(u)) {
        left = vms_slice(packed, pack(kind));
        for (have = 0; left.len || have < PLAIN;) {
            struct vms_slice in = vms_slice_head(left, in_step);
            struct vms_room out = {got + have, PLAIN - have < out_step ? PLAIN - have : out_step};
            size_t in_before = in.len, out_before = out.len;
            cr_assert(vms_inflate(u, &in, &out));
            left = vms_slice_tail(left, in_before - in.len);
            have += out_before - out.len;
            cr_assert(in.len < in_before || out.len < out_before);
        }
        cr_assert(vms_inflate_ended(u));
        cr_assert_eq(memcmp(got, plain, PLAIN), 0);
    }
    cr_assert_eq(vms_inflate_kind(u), kind);
    vms_inflate_free(u);
}

Test(ram_unpack, any_pieces) {
    static const size_t steps[] = {1, 13, 4096, PLAIN};
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++) {
            round_trip(VMS_UNPACK_ZLIB, steps[i], steps[k]);
            round_trip(VMS_UNPACK_ZSTD, steps[i], steps[k]);
        }
}

Test(ram_unpack, malformed) {
    for (int kind = VMS_UNPACK_ZLIB; kind <= VMS_UNPACK_ZSTD; kind++) {
        uint8_t out[100];
        struct vms_inflate *u = vms_inflate_new((enum vms_inflate_kind)kind);
        struct vms_slice in = vms_str("this is not compressed at all");
        struct vms_room room = {out, sizeof out};
        cr_assert_not(vms_inflate(u, &in, &room));
        vms_inflate_free(u);
    }
}

/* [LIM-1] a zstd frame that asks for a window of 2 GiB is refused, not served. */
Test(ram_unpack, window) {
    static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00};
    uint8_t out[100];
    struct vms_inflate *u = vms_inflate_new(VMS_UNPACK_ZSTD);
    struct vms_slice in = vms_slice(frame, sizeof frame);
    struct vms_room room = {out, sizeof out};
    cr_assert_not(vms_inflate(u, &in, &room));
    vms_inflate_free(u);
}
