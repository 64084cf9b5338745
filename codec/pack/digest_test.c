/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"

enum {
    COUNT = 300,
};

static struct vms_digest *source, *target;
static struct vms_error error;
static uint8_t memory[COUNT][PAGE];

static struct vms_digest *make_digest(uint64_t pages) {
    size_t size = vms_digest_size(pages);
    cr_assert_null(vms_digest_init(memory, size - 1, 1, pages));
    return vms_digest_init(test_alloc(size), size, 1, pages);
}

static void setup(void) {
    struct rng rng = {3};
    source = make_digest(COUNT);
    target = make_digest(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        make_page(&rng, CONTENT_RANDOM, memory[i]);
        vms_digest_set(source, i, vms_page_hash(vms_slice(memory[i], PAGE)));
    }
}

static void teardown(void) {
    free(source);
    free(target);
}

TestSuite(digest, .init = setup, .fini = teardown);

static void tell(uint64_t first, uint64_t count) {
    uint8_t wire[8 * COUNT];
    cr_assert_eq(
        vms_digest_export(source, first, count, (struct vms_room){wire, sizeof wire}, &error),
        VMS_OK);
    cr_assert_eq(vms_digest_import(target, first, vms_slice(wire, 8 * (size_t)count), &error),
                 VMS_OK);
}

static void check_all(void) {
    uint64_t first, count;
    for (uint64_t at = 0; vms_digest_next(target, at, &first, &count); at = first + count)
        for (uint64_t page = first; page < first + count; page++)
            (void)vms_digest_check(target, page, vms_slice(memory[page], PAGE));
}

/* [PACK-22] [PACK-24] all pages told and compared: nothing is pending at either end. */
Test(digest, good) {
    cr_assert_eq(vms_digest_pending(source), COUNT);
    tell(0, COUNT);
    cr_assert_eq(vms_digest_pending(source), 0);
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_E_PACK_DIGEST);
    check_all();
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_OK);
}

/* [PACK-24] one changed bit in one page is found, and named. */
Test(digest, changed) {
    tell(0, COUNT);
    memory[211][4095] ^= 1;
    check_all();
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_E_PACK_DIGEST);
    cr_assert_str_eq(error.clause, "PACK-24");
    cr_assert_not_null(strstr(error.message, "1 of block 1, the first is 211"));
    memory[211][4095] ^= 1;
    check_all();
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_OK);
}

/* [PACK-23] a page that is written after it was compared is compared again. */
Test(digest, written_again) {
    tell(0, COUNT);
    check_all();
    vms_digest_touch(target, 70, 2);
    cr_assert_eq(vms_digest_pending(target), 2);
    tell(0, COUNT); /* says nothing new: the others stay compared */
    cr_assert_eq(vms_digest_pending(target), 2);
    memory[70][0] ^= 1;
    check_all();
    cr_assert_eq(vms_digest_pending(target), 1);
    vms_digest_set(source, 70, vms_page_hash(vms_slice(memory[70], PAGE)));
    tell(70, 1);
    check_all();
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_OK);
}

/* [PACK-23] a page that is compared when it is written. */
Test(digest, compared_at_once) {
    uint64_t hash = vms_page_hash(vms_slice(memory[70], PAGE));
    tell(0, COUNT);
    check_all();
    cr_assert_not(vms_digest_compare(target, 70, hash ^ 1));
    cr_assert_eq(vms_digest_pending(target), 1, "what differs waits");
    cr_assert(vms_digest_compare(target, 70, hash));
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_OK);
    cr_assert_not(vms_digest_compare(target, COUNT, hash), "past the block's end");
    cr_assert_eq(vms_digest_pending(target), 0);
}

/* [PACK-24] a page that was written but never told of does not pass. */
Test(digest, never_told) {
    tell(0, COUNT - 1);
    vms_digest_touch(target, COUNT - 1, 1);
    check_all();
    cr_assert_eq(vms_digest_verdict(target, &error), VMS_E_PACK_DIGEST);
}

/* [PACK-22] hash 0 says nothing about a page. */
Test(digest, unknown) {
    uint8_t zeros[24] = {0};
    cr_assert_eq(vms_digest_import(target, 5, vms_slice(zeros, sizeof zeros), &error), VMS_OK);
    cr_assert_eq(vms_digest_pending(target), 0);
    cr_assert_eq(vms_digest_get(target, 5), 0);
    vms_digest_touch(target, 0, COUNT);
    for (uint64_t page = COUNT; page < COUNT + 10; page++)
        cr_assert_eq(vms_digest_get(target, page), 0);
}

/* [PACK-22] hashes past the block's end, or no whole number of them. */
Test(digest, range) {
    uint8_t hashes[24] = {1};
    struct vms_slice s = vms_slice(hashes, sizeof hashes);
    cr_assert_eq(vms_digest_import(target, COUNT - 3, s, &error), VMS_OK);
    cr_assert_eq(vms_digest_import(target, COUNT - 2, s, &error), VMS_E_PACK_DIGEST_RANGE);
    cr_assert_eq(vms_digest_import(target, UINT64_MAX, s, &error), VMS_E_PACK_DIGEST_RANGE);
    cr_assert_eq(vms_digest_import(target, 0, vms_slice(hashes, 23), &error),
                 VMS_E_PACK_DIGEST_RANGE);
}

Test(digest, misuse) {
    uint8_t room[8];
    cr_assert_eq(vms_digest_export(source, COUNT, 1, (struct vms_room){room, 8}, &error),
                 VMS_E_MISUSE);
    cr_assert_eq(vms_digest_export(source, 0, 2, (struct vms_room){room, 8}, &error), VMS_E_SPACE);
    cr_assert_eq(vms_digest_pending(source), COUNT);
    vms_digest_touch(target, COUNT, 1);
    vms_digest_set(target, COUNT, 5);
    cr_assert_eq(vms_digest_pending(target), 0);
    cr_assert_not(vms_digest_check(target, COUNT, vms_slice(memory[0], PAGE)));
    cr_assert_null(vms_digest_init(memory, sizeof memory, 0, UINT64_MAX));
}

/* Runs of pending pages, by an independent count. */
Test(digest, next) {
    struct rng rng = {11};
    bool want[COUNT] = {0};
    for (int i = 0; i < 90; i++) {
        uint64_t first = rng_below(&rng, COUNT), n = rng_below(&rng, 3);
        vms_digest_touch(target, first, n);
        for (uint64_t p = first; p < first + n && first + n <= COUNT; p++)
            want[p] = true;
    }
    bool got[COUNT] = {0};
    uint64_t first, count;
    for (uint64_t at = 0; vms_digest_next(target, at, &first, &count); at = first + count)
        for (uint64_t p = first; p < first + count; p++)
            got[p] = true;
    cr_assert_arr_eq(got, want, sizeof want);
    cr_assert_not(vms_digest_next(target, COUNT, &first, &count));
}

/* [PACK-25] a range's digest is the sum of its parts', and tells contents, places and blocks. */
Test(digest, combine) {
    uint64_t all = vms_digest_range(source, 0, COUNT);
    for (uint64_t cut = 0; cut <= COUNT; cut += 37)
        cr_assert_eq(vms_digest_range(source, 0, cut) + vms_digest_range(source, cut, COUNT), all);
    uint64_t one = vms_digest_get(source, 1), two = vms_digest_get(source, 2);
    vms_digest_set(source, 1, two);
    vms_digest_set(source, 2, one);
    cr_assert_neq(vms_digest_range(source, 0, COUNT), all);
    cr_assert_eq(vms_digest_range(target, 0, COUNT), 0);
}
