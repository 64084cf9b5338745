/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"

/* [SEAL-24] Each call of the back end fails in its turn: an error, once and for all, and nothing is
 * sealed by halves. */

static struct vms_crypto_ops ops;
static const struct vms_crypto_ops *real;
static struct vms_limits limits;
static struct vms_error err;

static void setup(void) {
    real = test_crypto();
    ops = *real;
    limits = vms_limits_default();
}

TestSuite(seal_backend, .init = setup, .fini = test_crypto_free);

static bool no_random(void *ctx, struct vms_room out) {
    (void)ctx, (void)out;
    return false;
}
static bool no_hmac(void *ctx, struct vms_slice key, const struct vms_slice *pieces, size_t count,
                    uint8_t *out) {
    (void)ctx, (void)key, (void)pieces, (void)count, (void)out;
    return false;
}
static struct vms_aead *no_aead(void *ctx, enum vms_aead_algorithm algorithm, enum vms_aead_use use,
                                const uint8_t *key) {
    (void)ctx, (void)algorithm, (void)use, (void)key;
    return NULL;
}
static bool no_start(struct vms_aead *key, const uint8_t *nonce, struct vms_slice associated) {
    (void)key, (void)nonce, (void)associated;
    return false;
}
static bool no_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    (void)key, (void)in, (void)out, (void)len;
    return false;
}
static bool no_finish(struct vms_aead *key, uint8_t *tag) {
    (void)key, (void)tag;
    return false;
}
static struct vms_sha256 *no_sha256(void *ctx) {
    (void)ctx;
    return NULL;
}

static void sealed_badly(void) {
    static struct test_frame f;
    struct vms_sealer s;
    vms_sealer_init(&s, &ops, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 1, 0, &err), VMS_OK);
    test_frame_make(&f, 33, 100, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_E_SEAL_CRYPTO);
    cr_assert_eq(err.class_, VMS_CLASS_LOCAL);
    ops = *real;
    test_frame_make(&f, 33, 100, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_E_SEAL_CRYPTO, "for ever");
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 2, 0, &err),
                 VMS_E_SEAL_CRYPTO);
    vms_sealer_free(&s);
}

Test(seal_backend, frames) {
    ops.aead_start = no_start;
    sealed_badly();
    ops.aead_data = no_data;
    sealed_badly();
    ops.aead_finish = no_finish;
    sealed_badly();
}

Test(seal_backend, keys) {
    static struct test_frame f;
    uint8_t random[VMS_SEAL_RANDOM_BYTES], master[VMS_MASTER_BYTES];
    struct vms_seal_salt salt = {{0}, {0}, {0}};
    struct vms_sealer s;
    vms_sealer_init(&s, &ops, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    ops.random = no_random;
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), random, &err), VMS_E_SEAL_CRYPTO);
    ops = *real;
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 1, 0, &err), VMS_OK);
    ops.hmac = no_hmac;
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 2, 0, &err),
                 VMS_E_SEAL_CRYPTO);
    cr_assert_eq(vms_seal_master(&ops, test_secret_slice(), &salt, master, &err),
                 VMS_E_SEAL_CRYPTO);
    ops = *real;
    ops.aead_new = no_aead;
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 2, 0, &err),
                 VMS_E_SEAL_CRYPTO);
    test_frame_make(&f, 33, 100, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_OK, "the old key has stayed");
    cr_assert_eq(vms_be32(f.header + VMS_HEADER_EPOCH), 1);
    vms_sealer_free(&s);
}

Test(seal_backend, hash) {
    struct vms_transcript t;
    ops.sha256_new = no_sha256;
    cr_assert_eq(vms_transcript_init(&t, &ops, &err), VMS_E_SEAL_CRYPTO);
    vms_transcript_free(&t);
}

/* A key object does what it was made for and nothing else. */
Test(seal_backend, uses) {
    uint8_t key[VMS_KEY_BYTES] = {1}, nonce[VMS_NONCE_BYTES] = {2}, tag[VMS_TAG_BYTES] = {0};
    const uint8_t text[4] = "text";
    for (unsigned i = 0; i < VMS_AEAD_COUNT; i++) {
        uint8_t out[4] = "out.";
        struct vms_aead *s = real->aead_new(real->ctx, i, VMS_AEAD_SEAL, key);
        struct vms_aead *o = real->aead_new(real->ctx, i, VMS_AEAD_OPEN, key);
        cr_assert(real->aead_start(s, nonce, vms_str("")));
        cr_assert_eq(real->aead_data(s, text, NULL, 4), i == VMS_AEAD_AES_256_GMAC);
        cr_assert_not(real->aead_verify(s, tag));
        cr_assert(real->aead_start(s, nonce, vms_str("")));
        cr_assert(real->aead_data(s, text, out, 4));
        cr_assert_eq(memcmp(out, "out.", 4) == 0, i == VMS_AEAD_AES_256_GMAC, "out is ignored");
        cr_assert(real->aead_start(o, nonce, vms_str("")));
        cr_assert_not(real->aead_finish(o, tag));
        cr_assert(real->aead_start(s, nonce, vms_str("x")), "drops what was in progress");
        cr_assert(real->aead_finish(s, tag));
        cr_assert(real->aead_start(o, nonce, vms_str("x")));
        cr_assert(real->aead_verify(o, tag));
        real->aead_free(s);
        real->aead_free(o);
    }
    cr_assert_not(real->has_aead(real->ctx, VMS_AEAD_COUNT));
    cr_assert_null(real->aead_new(real->ctx, VMS_AEAD_COUNT, VMS_AEAD_SEAL, key));
    real->aead_free(NULL);
    real->sha256_free(NULL);
}

Test(seal_backend, random) {
    uint8_t one[64] = {0}, two[64] = {0};
    cr_assert(real->random(real->ctx, (struct vms_room){one, sizeof one}));
    cr_assert(real->random(real->ctx, (struct vms_room){two, sizeof two}));
    cr_assert_arr_neq(one, two, sizeof one);
    vms_openssl_free(NULL);
}
