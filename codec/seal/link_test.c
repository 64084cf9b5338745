/* SPDX-License-Identifier: MIT */
#include "seal/link_test_util.h"

#include <pthread.h>
#include <stdatomic.h>

static const enum vms_suite SUITES[] = {VMS_SUITE_NONE, VMS_SUITE_AES_256_GMAC,
                                        VMS_SUITE_AES_256_GCM, VMS_SUITE_CHACHA20_POLY1305};

TestSuite(seal_link, .init = link_setup, .fini = link_teardown);

/* [SEAL-8] whichever bit is flipped in header, body, bulk or tag: refused, and so ever after. */
Test(seal_link, tampering) {
    const size_t len = 40;
    for (unsigned suite = 0; suite < 4; suite++) {
        size_t tag_len = vms_suite_tag_bytes(suite);
        for (size_t bit = 0; bit < 8 * (VMS_FRAME_HEADER_BYTES + len + tag_len); bit++) {
            fresh(suite);
            cr_assert_eq(seal(len), VMS_OK);
            size_t at = bit / 8;
            uint8_t *byte = at < 32         ? f.header + at
                            : at < 32 + len ? f.data + (at - 32)
                                            : f.tag + (at - 32 - len);
            *byte ^= (uint8_t)(1u << bit % 8);
            enum vms_code code = test_open(&o, &f, &err);
            cr_assert_neq(code, VMS_OK, "suite %u bit %zu", suite, bit);
            if (code == VMS_E_MISUSE) /* lengths and channel: not this opener's frame at all */
                continue;
            cr_assert_eq(err.code, code);
            cr_assert_eq(err.channel, 7);
            *byte ^= (uint8_t)(1u << bit % 8);
            cr_assert_eq(test_open(&o, &f, &err), code, "it stays refused");
        }
    }
}

/* [SEAL-6] replayed, left out, reordered. */
Test(seal_link, sequence) {
    for (unsigned suite = 0; suite < 4; suite++) {
        static struct test_frame frames[3];
        fresh(suite);
        for (unsigned i = 0; i < 3; i++) {
            test_frame_make(&frames[i], 33, 100, i);
            cr_assert_eq(test_seal(&s, &frames[i], &err), VMS_OK);
            cr_assert_eq(vms_be64(frames[i].header + VMS_HEADER_SEQUENCE), i);
        }
        f = frames[0];
        cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
        struct vms_opener keep = o; /* to try on after each refusal */
        f = frames[0];
        cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_SEQUENCE);
        cr_assert_str_eq(err.clause, "SEAL-6");
        o = keep;
        f = frames[2];
        cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_SEQUENCE);
        o = keep;
        cr_assert_eq(test_open(&o, &frames[1], &err), VMS_OK);
        cr_assert_eq(test_open(&o, &frames[2], &err), VMS_OK);
    }
}

/* [SEAL-7] a frame of the last epoch, and one of the next. */
Test(seal_link, epoch) {
    for (unsigned suite = 0; suite < 4; suite++) {
        fresh(suite);
        cr_assert_eq(seal(10), VMS_OK);
        const uint8_t *master = suite ? test_master : NULL;
        cr_assert_eq(vms_opener_rekey(&o, suite, master, 2, 0, &err), VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_EPOCH);
        fresh(suite);
        cr_assert_eq(vms_sealer_rekey(&s, suite, master, 2, 0, &err), VMS_OK);
        cr_assert_eq(seal(10), VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_EPOCH);
        cr_assert_str_eq(err.clause, "SEAL-7");
    }
}

/* [SEAL-22] with out, what is sealed is what stands there; without, nothing is copied. */
Test(seal_link, copies) {
    for (unsigned i = 0; i < 2; i++) {
        static uint8_t in[40000], out[40000], back[40000];
        uint8_t header[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES];
        fresh(i ? VMS_SUITE_AES_256_GMAC : VMS_SUITE_NONE);
        test_fill(in, sizeof in, 3);
        test_header(header, 33, 0, sizeof in);
        struct vms_seal_piece piece = {in, out, sizeof in};
        cr_assert_eq(vms_sealer_seal(&s, header, &piece, 1, tag, &err), VMS_OK);
        cr_assert_arr_eq(out, in, sizeof in);
        memset(in, 0, sizeof in);
        piece = (struct vms_seal_piece){out, back, sizeof out};
        cr_assert_eq(vms_opener_open(&o, header, &piece, 1, tag, &err), VMS_OK);
        cr_assert_arr_eq(back, out, sizeof out);
        piece = (struct vms_seal_piece){out, NULL, sizeof out};
        cr_assert_eq(vms_sealer_seal(&s, header, &piece, 1, tag, &err), VMS_OK);
        cr_assert_eq(vms_opener_open(&o, header, &piece, 1, tag, &err), VMS_OK);
    }
}

/* A guest that writes to its memory whenever it is looked at. */
static uint8_t guest[40000];

static uint32_t racing_crc32c(uint32_t crc, const uint8_t *ptr, size_t len) {
    guest[sizeof guest - 1]++;
    guest[0]++;
    return vms_crc32c(crc, ptr, len);
}

static uint32_t racing_copy(uint32_t crc, uint8_t *out, const uint8_t *in, size_t len) {
    return vms_crc32c_copy_by(racing_crc32c, crc, out, in, len);
}

static bool racing_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    guest[sizeof guest - 1]++;
    guest[0]++;
    return test_crypto()->aead_data(key, in, out, len);
}

/* [SEAL-22] a guest that writes while its memory is sealed: what is sent is what was sealed. */
Test(seal_link, racing_guest) {
    static uint8_t sent[sizeof guest];
    static const struct vms_crc32c_ops sums = {"racing", racing_crc32c, racing_copy};
    struct vms_crypto_ops racing = *crypto;
    racing.aead_data = racing_data;
    crypto = &racing;
    for (unsigned suite = 0; suite < 4; suite++) {
        uint8_t header[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES];
        struct vms_seal_piece piece = {guest, sent, sizeof guest};
        fresh(suite);
        s.link.crc32c = &sums;
        test_header(header, 33, 0, sizeof guest);
        cr_assert_eq(vms_sealer_seal(&s, header, &piece, 1, tag, &err), VMS_OK);
        piece.in = sent;
        cr_assert_eq(vms_opener_open(&o, header, &piece, 1, tag, &err), VMS_OK, "suite %u", suite);
    }
    drop();
    crypto = test_crypto();
}

static void *write_on(void *stop) {
    for (uint32_t at = 1; !atomic_load((_Atomic bool *)stop); at = at * 1664525u + 1013904223u)
        ((volatile uint8_t *)guest)[(at >> 8) % sizeof guest]++;
    return NULL;
}

/* [SEAL-22] the same by another thread, for each way to sum that copies: memory is read once. */
Test(seal_link, guest_of_another_thread) {
    static uint8_t sent[sizeof guest];
    const struct vms_crc32c_ops *ops;
    _Atomic bool stop = false;
    pthread_t writer;
    cr_assert_eq(pthread_create(&writer, NULL, write_on, &stop), 0);
    for (size_t k = 0; (ops = vms_crc32c_ops_at(k)); k++)
        for (int i = 0; i < 2000; i++) {
            uint8_t header[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES];
            struct vms_seal_piece piece = {guest, sent, sizeof guest};
            fresh(VMS_SUITE_NONE);
            s.link.crc32c = ops;
            test_header(header, 33, 0, sizeof guest);
            cr_assert_eq(vms_sealer_seal(&s, header, &piece, 1, tag, &err), VMS_OK);
            piece.in = sent;
            cr_assert_eq(vms_opener_open(&o, header, &piece, 1, tag, &err), VMS_OK, "%s",
                         ops->name);
        }
    atomic_store(&stop, true);
    (void)pthread_join(writer, NULL);
}

/* [SEAL-1] */
Test(seal_link, unknown_suite) {
    cr_assert_eq(vms_sealer_rekey(&s, (enum vms_suite)4, test_master, 1, 0, &err),
                 VMS_E_SEAL_SUITE);
    cr_assert_eq(vms_opener_rekey(&o, (enum vms_suite)255, test_master, 1, 0, &err),
                 VMS_E_SEAL_SUITE);
    cr_assert_str_eq(err.clause, "SEAL-1");
}

/* [MOD-7] calls out of order change nothing. */
Test(seal_link, misuse) {
    uint8_t header[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES], data[8] = {0};
    struct vms_seal_piece four = {data, data, 4}, last = {data + 4, data + 4, 4};
    struct vms_seal_piece five = {data, data, 5}, none = {data, NULL, 4};
    test_header(header, 33, 4, 4);
    cr_assert_eq(vms_seal_tag_bytes(&s.link), 0);
    cr_assert_eq(vms_sealer_begin(&s, header, &err), VMS_E_MISUSE, "no key");
    rekey(VMS_SUITE_AES_256_GCM, 1);
    cr_assert_eq(vms_sealer_data(&s, four, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_end(&s, tag, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_seal(&s, header, &four, 1, tag, &err), VMS_E_MISUSE, "too short");
    cr_assert_eq(vms_sealer_begin(&s, header, &err), VMS_OK);
    cr_assert_eq(vms_sealer_begin(&s, header, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 2, 0, &err), VMS_E_MISUSE,
                 "inside a frame");
    cr_assert_eq(vms_sealer_data(&s, four, &err), VMS_OK);
    cr_assert_eq(vms_sealer_data(&s, five, &err), VMS_E_MISUSE, "too long");
    cr_assert_eq(vms_sealer_data(&s, none, &err), VMS_E_MISUSE, "no room for what is enciphered");
    cr_assert_eq(vms_sealer_end(&s, tag, &err), VMS_E_MISUSE, "too short");
    cr_assert_eq(vms_sealer_data(&s, last, &err), VMS_OK);
    cr_assert_eq(vms_sealer_end(&s, tag, &err), VMS_OK);
    struct vms_seal_piece whole[] = {four, last};
    cr_assert_eq(vms_opener_open(&o, header, whole, 2, tag, &err), VMS_OK);
}

/* A link that needs no back end has none, and one that was freed can be freed. */
Test(seal_link, without_crypto) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    drop();
    crypto = NULL;
    make_pair();
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), random, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 1, 0, &err),
                 VMS_E_MISUSE);
    for (unsigned i = 0; i < sizeof SUITES / sizeof *SUITES; i++)
        cr_assert_eq(vms_suite_available(NULL, SUITES[i]), SUITES[i] == VMS_SUITE_NONE);
    rekey(VMS_SUITE_NONE, 1);
    cr_assert_eq(seal(1000), VMS_OK);
    cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
    drop();
    drop();
    cr_assert_eq(vms_sealer_hello_plain(&s, &err), VMS_E_MISUSE);
}
