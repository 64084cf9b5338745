/* SPDX-License-Identifier: MIT */
#include "native/cbor.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* [NAT-30], [NAT-34] The reader by itself; whole bodies are in conformance/vectors/native.json. */

static struct vms_cbor reader(const void *bytes, size_t len) {
    struct vms_limits limits = vms_limits_default();
    return vms_cbor(vms_slice(bytes, len), &limits);
}

static struct vms_writer writer(uint8_t *room, size_t len) {
    return vms_writer((struct vms_room){room, len});
}

Test(cbor, integers) {
    static const struct {
        uint64_t value;
        size_t len;
    } cases[] = {{0, 1},         {23, 1},         {24, 2},
                 {255, 2},       {256, 3},        {65535, 3},
                 {65536, 5},     {UINT32_MAX, 5}, {UINT64_C(1) << 32, 9},
                 {UINT64_MAX, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[16];
        struct vms_writer w = writer(room, sizeof room);
        vms_cbor_put_uint(&w, cases[i].value);
        cr_assert_eq(w.pos, cases[i].len);
        struct vms_cbor c = reader(room, w.pos);
        cr_assert_eq(vms_cbor_uint(&c, 0, UINT64_MAX), cases[i].value);
        vms_cbor_end(&c);
        cr_assert_eq(c.code, VMS_OK);
        if (cases[i].len == 1)
            continue;
        c = reader(room, w.pos - 1); /* cut short */
        (void)vms_cbor_uint(&c, 0, UINT64_MAX);
        cr_assert_eq(c.code, VMS_E_NATIVE_CBOR);
    }
}

/* Every head that is not the shortest, for every type and every small length. */
Test(cbor, longer_heads_are_refused) {
    static const uint8_t majors[] = {0x00, 0x40, 0x60, 0x80, 0xa0};
    for (size_t m = 0; m < sizeof majors; m++)
        for (unsigned form = 24; form <= 27; form++) {
            uint8_t bytes[64] = {0};
            size_t width = (size_t)1 << (form - 24);
            bytes[0] = (uint8_t)(majors[m] | form);
            bytes[width] = 1; /* a length, count or value of 1 */
            bytes[width + 1] = 0x61;
            struct vms_cbor c = reader(bytes, sizeof bytes);
            vms_cbor_skip(&c, 0);
            cr_assert_eq(c.code, VMS_E_NATIVE_CBOR, "major %02x form %u", majors[m], form);
        }
}

/* All single octets that begin something this wire does not have. */
Test(cbor, first_octets) {
    for (unsigned first = 0; first < 256; first++) {
        uint8_t bytes[300] = {0};
        bytes[0] = (uint8_t)first;
        struct vms_cbor c = reader(bytes, sizeof bytes);
        vms_cbor_skip(&c, 0);
        unsigned major = first >> 5, info = first & 31;
        bool fine = major == 0 ? info < 24 : (major >= 2 && major <= 4 && info < 24);
        /* Texts of NUL are not printable; maps of zeros have a key twice, unless they have one. */
        if (major == 3)
            fine = info == 0;
        if (major == 5)
            fine = info <= 1;
        cr_assert_eq(c.code == VMS_OK, fine, "%02x: %s", first, c.why);
    }
}

Test(cbor, errors_are_sticky) {
    static const uint8_t bytes[] = {0x1c, 0x01, 0x02};
    struct vms_cbor c = reader(bytes, sizeof bytes);
    cr_assert_eq(vms_cbor_uint(&c, 0, 9), 0);
    cr_assert_eq(c.code, VMS_E_NATIVE_CBOR);
    cr_assert_eq(c.at, 0);
    cr_assert_eq(vms_cbor_uint(&c, 0, 9), 0);
    cr_assert_eq(vms_cbor_bytes(&c, 9).len, 0);
    cr_assert_eq(vms_cbor_array(&c, 9, ""), 0);
    cr_assert_eq(vms_cbor_peek(&c), VMS_CBOR_NOTHING);
    vms_cbor_fail(&c, VMS_E_LIMIT, 7, "later");
    cr_assert_eq(c.code, VMS_E_NATIVE_CBOR);
}

/* [LIM-1] */
Test(cbor, counts_and_depth) {
    struct vms_limits limits = vms_limits_default();
    for (unsigned depth = 1; depth <= 8; depth++) {
        uint8_t bytes[16];
        memset(bytes, 0x81, depth);
        bytes[depth] = 0;
        limits.native_depth = 4;
        struct vms_cbor c = vms_cbor(vms_slice(bytes, depth + 1), &limits);
        vms_cbor_skip(&c, 0);
        cr_assert_eq(c.code, depth <= 4 ? VMS_OK : VMS_E_LIMIT, "%u", depth);
    }
    for (unsigned count = 4; count <= 6; count++) {
        uint8_t bytes[16] = {(uint8_t)(0x80 | count)};
        limits.native_items = 5;
        struct vms_cbor c = vms_cbor(vms_slice(bytes, sizeof bytes), &limits);
        cr_assert_eq(vms_cbor_array(&c, UINT64_MAX, ""), count <= 5 ? count : 0);
        cr_assert_eq(c.code, count <= 5 ? VMS_OK : VMS_E_LIMIT);
    }
}

/* A depth limit that is larger than the stack of the reader is a limit all the same. */
Test(cbor, depth_without_limit) {
    struct vms_limits limits = vms_limits_default();
    uint8_t bytes[200];
    memset(bytes, 0x81, sizeof bytes);
    limits.native_depth = UINT64_MAX;
    struct vms_cbor c = vms_cbor(vms_slice(bytes, sizeof bytes), &limits);
    vms_cbor_skip(&c, 0);
    cr_assert_eq(c.code, VMS_E_LIMIT);
}

Test(cbor, random_octets_end) {
    unsigned seed = 1;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[40];
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)(rand_r(&seed) >> 7);
        struct vms_cbor c = reader(bytes, (size_t)(rand_r(&seed) % 40));
        vms_cbor_skip(&c, 0);
        cr_assert_leq(c.pos, c.len);
    }
}

/* What is written is counted exactly, room or not: [MOD-6]. */
Test(cbor, writing_counts) {
    uint8_t room[64];
    for (size_t have = 0; have <= 20; have++) {
        struct vms_writer w = writer(room, have);
        vms_cbor_put_map(&w, 1);
        vms_cbor_put_uint(&w, 300);
        vms_cbor_put_array(&w, 2);
        vms_cbor_put_bytes(&w, vms_str("abc"));
        vms_cbor_put_text(&w, vms_str("text"));
        cr_assert_eq(w.pos, 1 + 3 + 1 + 4 + 5);
        cr_assert_eq(vms_writer_over(&w), have < w.pos);
    }
}
