/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_SEAL_TEST_UTIL_H
#define VMSTREAM_SEAL_TEST_UTIL_H

#include "seal/internal.h"
#include <criterion/criterion.h>
#include <vmstream/ipsecmb.h>
#include <vmstream/openssl.h>

/* What most tests need: the back end, a master secret, frames. */

enum {
    FRAME_MAX = 1 << 16,
};

/* A frame as a test holds it. */
struct test_frame {
    uint8_t header[VMS_FRAME_HEADER_BYTES];
    uint8_t tag[VMS_TAG_BYTES];
    uint8_t data[FRAME_MAX];
    size_t len;
};

static const uint8_t test_master[VMS_MASTER_BYTES] = "a master secret of 32 octets....";
static const uint8_t test_secret[] = "sixteen or more octets of secret";

static inline struct vms_slice test_secret_slice(void) {
    return vms_slice(test_secret, sizeof test_secret - 1);
}

static inline void test_header(uint8_t *header, uint32_t type, size_t body, size_t bulk) {
    struct vms_writer w = vms_writer((struct vms_room){header, VMS_FRAME_HEADER_BYTES});
    vms_write_u32(&w, 0x564d5346);
    vms_write_u32(&w, type);
    vms_write_zeros(&w, 16);
    vms_write_u32(&w, (uint32_t)body);
    vms_write_u32(&w, (uint32_t)bulk);
}

static inline void test_fill(uint8_t *at, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
}

static inline void test_frame_make(struct test_frame *f, uint32_t type, size_t len, unsigned seed) {
    cr_assert_leq(len, sizeof f->data);
    test_header(f->header, type, len / 4, len - len / 4);
    test_fill(f->data, len, seed);
    f->len = len;
}

/* Seals and opens in place, as one piece. */
static inline enum vms_code test_seal(struct vms_sealer *s, struct test_frame *f,
                                      struct vms_error *err) {
    struct vms_seal_piece piece = {f->data, f->data, f->len};
    return vms_sealer_seal(s, f->header, &piece, 1, f->tag, err);
}
static inline enum vms_code test_open(struct vms_opener *o, struct test_frame *f,
                                      struct vms_error *err) {
    struct vms_seal_piece piece = {f->data, f->data, f->len};
    return vms_opener_open(o, f->header, &piece, 1, f->tag, err);
}

static struct vms_openssl *test_openssl;
static struct vms_ipsecmb *test_ipsecmb;

/* Made at the first call; test_crypto_free() ends every suite that asks for it. */
static inline const struct vms_crypto_ops *test_openssl_ops(void) {
    if (!test_openssl)
        test_openssl = vms_openssl_new();
    cr_assert_not_null(test_openssl);
    return vms_openssl_ops(test_openssl);
}

/* The same of the other back end, which not every machine has: then the test is skipped. */
static inline const struct vms_crypto_ops *test_ipsecmb_ops(void) {
    const char *why = NULL;
    if (!test_ipsecmb)
        test_ipsecmb = vms_ipsecmb_new(test_openssl_ops(), &why);
    if (!test_ipsecmb)
        cr_skip_test("ipsec-mb: %s", why);
    return vms_ipsecmb_ops(test_ipsecmb);
}

/* All tests of seal are there twice: test program seal-ipsecmb is linked with this, seal is not. */
extern const bool test_with_ipsecmb __attribute__((weak));

static inline const struct vms_crypto_ops *test_crypto(void) {
    return &test_with_ipsecmb ? test_ipsecmb_ops() : test_openssl_ops();
}
static inline void test_crypto_free(void) {
    vms_ipsecmb_free(test_ipsecmb);
    vms_openssl_free(test_openssl);
}

#endif
