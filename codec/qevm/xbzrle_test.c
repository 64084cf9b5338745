/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/qevm.h>

enum {
    PAGE = 4096,
};

static bool apply(const char *diff, size_t n, uint8_t *page, size_t len) {
    return vms_xbzrle_apply(vms_slice(diff, n), (struct vms_room){page, len});
}

/* [XBZ-2] The example of the specification: 01 0003 00 01 b3. */
Test(xbzrle, example) {
    uint8_t page[PAGE] = {0};
    cr_assert(apply("\x00\x01\xb3", 3, page, PAGE));
    cr_expect_eq(page[0], 0xb3);
    cr_expect_eq(page[1], 0);
}

/* [XBZ-4] */
Test(xbzrle, nothing_changes_nothing) {
    uint8_t page[4] = {1, 2, 3, 4};
    cr_assert(apply("", 0, page, 4));
    cr_expect_eq(memcmp(page, "\1\2\3\4", 4), 0);
}

/* [XBZ-2] Lengths of two bytes: 0x80 0x01 is 128. */
Test(xbzrle, long_runs) {
    uint8_t page[256] = {0};
    cr_assert(apply("\x80\x01\x01x\xff\x00", 4, page, 256));
    cr_expect_eq(page[128], 'x');
    char diff[3 + 200] = {0, (char)0xc8, 0x01};
    memset(diff + 3, 'y', 200);
    cr_assert(apply(diff, sizeof diff, page, 256));
    cr_expect(page[0] == 'y' && page[199] == 'y' && page[200] == 0);
}

/* [XBZ-2] */
Test(xbzrle, malformed) {
    static const struct {
        const char *diff;
        size_t n;
    } bad[] = {{"\x00", 1},               /* ends within a pair */
               {"\x05", 1},               /* behind a staying run */
               {"\x00\x00", 2},           /* changes nothing */
               {"\x00\x02x", 3},          /* ends within the new bytes */
               {"\x00\x01x\x00\x01y", 6}, /* a later run of 0 that stays */
               {"\x80", 1},               /* ends within a length */
               {"\x80\x80\x01\x01x", 5},  /* a third octet of a length */
               {"\x00\x81\x80x", 4},      /* the same in a changing run */
               {"\x10\x01x", 3},          /* passes the end */
               {"\x11\x01x", 3},          /* passes it while staying */
               {"\x0f\x02xy", 4},         /* passes it while changing */
               {"\xff\x7f\x01x", 4}};     /* the longest run */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t page[16 + 8];
        memset(page, 0xee, sizeof page);
        cr_expect_not(apply(bad[i].diff, bad[i].n, page, 16), "%zu was taken", i);
        for (size_t k = 16; k < sizeof page; k++)
            cr_expect_eq(page[k], 0xee, "%zu wrote outside", i);
    }
}

static uint64_t next(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* A page, and a version of it with some runs changed. */
static void make_pair(uint64_t seed, uint8_t *old_page, uint8_t *new_page, size_t n) {
    uint64_t rng = seed;
    for (size_t i = 0; i < n; i++)
        old_page[i] = (uint8_t)next(&rng);
    memcpy(new_page, old_page, n);
    for (uint64_t runs = next(&rng) % 40; runs; runs--) {
        size_t at = next(&rng) % n, len = 1 + next(&rng) % (seed % 3 ? 20 : 600);
        for (size_t i = at; i < n && i < at + len; i++)
            new_page[i] = (uint8_t)next(&rng);
    }
}

/* [XBZ-2] [XBZ-5] Applying what was encoded gives the new page, over random pairs. */
Test(xbzrle, encode_and_apply) {
    static uint8_t old_page[16383], new_page[16383], out[40000];
    static const size_t sizes[] = {1, 2, 127, 128, 1024, 4096, 16383};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        size_t n = sizes[seed % 7];
        make_pair(seed, old_page, new_page, n);
        size_t len = vms_xbzrle_encode(vms_slice(old_page, n), vms_slice(new_page, n),
                                       (struct vms_room){out, sizeof out});
        cr_assert_neq(len, SIZE_MAX, "seed %d", (int)seed);
        cr_assert_eq(len == 0, memcmp(old_page, new_page, n) == 0, "seed %d", (int)seed);
        cr_assert(vms_xbzrle_apply(vms_slice(out, len), (struct vms_room){old_page, n}));
        cr_assert_eq(memcmp(old_page, new_page, n), 0, "seed %d", (int)seed);
    }
}

/* [XBZ-5] Exactly the room it needs is enough, one octet less is not. */
Test(xbzrle, encode_into_little_room) {
    static uint8_t old_page[PAGE], new_page[PAGE], out[2 * PAGE];
    for (uint64_t seed = 1; seed < 50; seed++) {
        make_pair(seed, old_page, new_page, PAGE);
        struct vms_slice a = vms_slice(old_page, PAGE), b = vms_slice(new_page, PAGE);
        size_t len = vms_xbzrle_encode(a, b, (struct vms_room){out, sizeof out});
        if (!len)
            continue;
        out[len] = 0xee;
        cr_expect_eq(vms_xbzrle_encode(a, b, (struct vms_room){out, len}), len);
        cr_expect_eq(vms_xbzrle_encode(a, b, (struct vms_room){out, len - 1}), SIZE_MAX);
        cr_expect_eq(out[len], 0xee);
    }
}

Test(xbzrle, encode_refuses) {
    static uint8_t page[0x4000];
    uint8_t out[8];
    struct vms_room room = {out, sizeof out};
    cr_expect_eq(vms_xbzrle_encode(vms_slice(page, 4), vms_slice(page, 5), room), SIZE_MAX);
    cr_expect_eq(vms_xbzrle_encode(vms_slice(page, 0x4000), vms_slice(page, 0x4000), room),
                 SIZE_MAX);
}
