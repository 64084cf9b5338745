/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include "conformance/qevm/streams.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MAX = 1 << 15,
    ROUNDS = 20000,
};

/* Input of a harness of QEVM: options, then a stream with records of many kinds. */
static size_t an_input(uint8_t *buf, enum stream_id id) {
    struct vb *v = stream_make(id);
    struct vms_slice s = stream_octets(v);
    memset(buf, 0, 4);
    memcpy(buf + 4, s.ptr, s.len);
    size_t n = 4 + s.len;
    vb_free(v);
    return n;
}

/* Records that the decoder finds, one after the other, up to the end. */
Test(mutator, splits_into_records) {
    static uint8_t buf[MAX];
    struct fuzz_span spans[FUZZ_SPANS];
    struct fuzz_shape shape = fuzz_shape_of("qevm_main");
    size_t n = an_input(buf, (enum stream_id)0);
    size_t count = fuzz_split(&shape, vms_slice(buf, n), spans);
    cr_assert_gt(count, 5);
    cr_assert_eq(spans[0].at, 4);
    cr_assert_eq(spans[0].type, VMS_R_HEADER);
    for (size_t i = 0; i < count; i++) {
        uint32_t end = i + 1 < count ? spans[i + 1].at : (uint32_t)n;
        cr_assert_eq(spans[i].at + spans[i].len, end, "%zu", i);
        cr_assert_leq(spans[i].head, spans[i].len);
    }
}

Test(mutator, is_a_function_of_the_seed) {
    static uint8_t a[MAX], b[MAX];
    struct fuzz_shape shape = fuzz_shape_of("qevm_main");
    struct vms_slice nothing = {NULL, 0};
    size_t different = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        size_t n = an_input(a, (enum stream_id)0);
        memcpy(b, a, n);
        size_t x = fuzz_mutate(&shape, a, n, MAX, seed, nothing, nothing, NULL);
        size_t y = fuzz_mutate(&shape, b, n, MAX, seed, nothing, nothing, NULL);
        cr_assert_eq(x, y);
        cr_assert(!memcmp(a, b, x));
        size_t m = an_input(b, (enum stream_id)0);
        different += m != x || memcmp(a, b, x) != 0;
    }
    cr_assert_gt(different, 450);
}

/* Within max from any input, which ASan checks to the octet. */
Test(mutator, stays_within_max) {
    static uint8_t buf[MAX], donor[MAX];
    struct fuzz_shape shape = fuzz_shape_of("qevm_main");
    size_t donor_len = an_input(donor, (enum stream_id)1);
    for (uint64_t seed = 0; seed < ROUNDS / 4; seed++) {
        size_t n = an_input(buf, (enum stream_id)0) % (1 + seed % MAX), max = 1 + seed * 7 % 3000;
        uint8_t *tight = malloc(max);
        n = n < max ? n : max;
        memcpy(tight, buf, n);
        size_t got = fuzz_mutate(&shape, tight, n, max, seed, vms_slice(donor, donor_len),
                                 vms_slice(donor + 4, donor_len - 4), NULL);
        cr_assert_leq(got, max);
        cr_assert_gt(got, 0);
        free(tight);
    }
    cr_assert_eq(mutate(buf, 0, 0, 1), 0);
}

/* Every operation is met, on both wires and on lists of actions. */
Test(mutator, every_operation_is_reached) {
    static uint8_t buf[MAX], donor[MAX];
    unsigned applied[FUZZ_OPS] = {0};
    struct fuzz_shape shape = fuzz_shape_of("qevm_main");
    size_t donor_len = an_input(donor, (enum stream_id)1);
    size_t n = an_input(buf, (enum stream_id)0);
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        if (seed % 8 == 0)
            n = an_input(buf, (enum stream_id)0);
        n = fuzz_mutate(&shape, buf, n, MAX, seed, vms_slice(donor, donor_len),
                        vms_slice(donor + 4, donor_len - 4), applied);
    }
    for (int op = 0; op < FUZZ_OPS; op++)
        cr_expect_gt(applied[op], 0, "%s", fuzz_op_name((enum fuzz_op)op));
}

/* Swapping twice and dropping what was doubled would give the input back; here: no octet is lost.
 */
Test(mutator, reordering_keeps_the_octets) {
    static uint8_t buf[MAX];
    struct fuzz_shape shape = {
        .wire = FUZZ_WIRE_ACTIONS, .options = 2, .dialect_at = 2, .action = 3};
    struct vms_slice nothing = {NULL, 0};
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        unsigned applied[FUZZ_OPS] = {0}, sum = 0, all = 0;
        for (unsigned i = 0; i < 62; i++)
            buf[i] = (uint8_t)i;
        size_t n = fuzz_mutate(&shape, buf, 62, MAX, seed, nothing, nothing, applied);
        for (int op = 0; op < FUZZ_OPS; op++)
            all += applied[op];
        if (all != applied[FUZZ_OP_SWAP] + applied[FUZZ_OP_REORDER])
            continue;
        seen++;
        cr_assert_eq(n, 62);
        for (unsigned i = 0; i < 62; i++)
            sum += buf[i];
        cr_assert_eq(sum, 61 * 62 / 2);
        for (unsigned i = 2; i < 62; i += 3)
            cr_assert_eq(buf[i + 1], buf[i] + 1, "an action was torn");
    }
    cr_assert_gt(seen, 100);
}
