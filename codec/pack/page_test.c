/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"

static bool zero_by_bytes(const uint8_t *ptr, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (ptr[i])
            return false;
    return true;
}

static size_t zeros_in(const uint8_t *ptr, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ptr[i] == 0;
    return n;
}

/* [PACK-3] every bit of every byte counts, at any length and alignment, for every kind of CPU. */
Test(page, one_bit_anywhere) {
    static uint8_t buffer[1024 + 64];
    for (size_t k = 0; vms_page_ops_at(k); k++) {
        const struct vms_page_ops *ops = vms_page_ops_at(k);
        for (size_t len = 0; len <= 300; len++) {
            size_t shift = len % 33;
            cr_assert(ops->is_zero(buffer + shift, len), "%s %zu", ops->name, len);
            for (size_t at = 0; at < len; at++) {
                buffer[shift + at] = (uint8_t)(1 << (at + len) % 8);
                cr_assert_not(ops->is_zero(buffer + shift, len), "%s %zu %zu", ops->name, len, at);
                buffer[shift + at] = 0;
            }
        }
    }
}

/* [PACK-3] bytes around the page do not count. */
Test(page, neighbours) {
    uint8_t buffer[4096 + 128];
    for (size_t k = 0; vms_page_ops_at(k); k++) {
        const struct vms_page_ops *ops = vms_page_ops_at(k);
        for (size_t len = 0; len <= 4096; len += 1 + len / 7) {
            memset(buffer, 0xff, sizeof buffer);
            memset(buffer + 64, 0, len);
            cr_assert(ops->is_zero(buffer + 64, len), "%s %zu", ops->name, len);
        }
    }
}

/* [PACK-3] SIMD and portable agree on random sparse input. */
Test(page, agree) {
    struct rng rng = {77};
    uint8_t buffer[8192];
    for (int round = 0; round < 20000; round++) {
        size_t at = rng_below(&rng, 200), len = rng_below(&rng, 4200);
        memset(buffer, 0, sizeof buffer);
        for (size_t n = rng_below(&rng, 3); n > 0; n--)
            buffer[rng_below(&rng, 4500)] = (uint8_t)rng_next(&rng);
        bool want = zero_by_bytes(buffer + at, len);
        for (size_t k = 0; vms_page_ops_at(k); k++)
            cr_assert_eq(vms_page_ops_at(k)->is_zero(buffer + at, len), want, "round %d", round);
    }
}

/* [PACK-3] differences and their count: the same for every kind, in place or not. */
Test(page, differences) {
    struct rng rng = {78};
    uint8_t a[700], b[700], out[700];
    for (int round = 0; round < 5000; round++) {
        size_t at = rng_below(&rng, 40), len = rng_below(&rng, 600), want = 0;
        for (size_t i = 0; i < sizeof a; i++) {
            a[i] = (uint8_t)rng_next(&rng);
            b[i] = round % 3 && rng_next(&rng) % 4 ? a[i] : (uint8_t)rng_next(&rng);
            want += i >= at && i < at + len && a[i] != b[i];
        }
        for (size_t k = 0; vms_page_ops_at(k); k++) {
            const struct vms_page_ops *ops = vms_page_ops_at(k);
            memset(out, 0xa5, sizeof out);
            cr_assert_eq(ops->xor (out + at, a + at, b + at, len), want, "%s", ops->name);
            for (size_t i = 0; i < sizeof out; i++)
                cr_assert_eq(out[i], i >= at && i < at + len ? a[i] ^ b[i] : 0xa5);
            cr_assert_eq(ops->xor (out + at, out + at, b + at, len),
                         len - (size_t)(zeros_in(a + at, len)));
            cr_assert(!memcmp(out + at, a + at, len));
        }
    }
}

/* The best one is the last of those that this CPU can do. */
Test(page, dispatch) {
    size_t n = 0;
    while (vms_page_ops_at(n))
        n++;
    cr_assert_geq(n, 1);
    cr_assert_eq(vms_page_ops(), vms_page_ops_at(n - 1));
    cr_assert_str_eq(vms_page_ops_at(0)->name, "portable");
}

/* [PACK-2] runs of zero and of other pages. */
Test(page, runs) {
    static uint8_t pages[8 * PAGE];
    const struct vms_page_ops *ops = vms_page_ops();
    bool zero;
    pages[3 * PAGE + 5] = 1;
    pages[5 * PAGE - 1] = 1;
    cr_assert_eq(vms_zero_run(ops, vms_slice(pages, sizeof pages), PAGE, &zero), 3);
    cr_assert(zero);
    cr_assert_eq(vms_zero_run(ops, vms_slice(pages + 3 * PAGE, 5 * PAGE), PAGE, &zero), 2);
    cr_assert_not(zero);
    cr_assert_eq(vms_zero_run(ops, vms_slice(pages + 5 * PAGE, 3 * PAGE), PAGE, &zero), 3);
    cr_assert(zero);
    cr_assert_eq(vms_zero_run(ops, vms_slice(pages, PAGE - 1), PAGE, &zero), 0);
    cr_assert_eq(vms_zero_run(ops, vms_slice(pages, PAGE), 0, &zero), 0);
}
