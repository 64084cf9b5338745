/* SPDX-License-Identifier: MIT */
#include "nocrypto.h"

#include <stdlib.h>
#include <string.h>

/* Nothing is enciphered, every tag is right, every hash is zeros. */

struct vms_sha256 {
    int unused;
};
struct vms_aead {
    int unused;
};

unsigned fuzz_nocrypto_fails;

static bool works(void) {
    return !fuzz_nocrypto_fails || --fuzz_nocrypto_fails;
}

static struct vms_sha256 the_hash;
static struct vms_aead the_key;

static bool no_random(void *ctx, struct vms_room out) {
    (void)ctx;
    memset(out.ptr, 0x11, out.len);
    return works();
}
static struct vms_sha256 *sha256_new(void *ctx) {
    (void)ctx;
    return works() ? &the_hash : NULL;
}
static void sha256_free(struct vms_sha256 *hash) {
    (void)hash;
}
static bool sha256_reset(struct vms_sha256 *hash) {
    return hash && works();
}
static bool sha256_update(struct vms_sha256 *hash, struct vms_slice data) {
    (void)data;
    return hash && works();
}
static bool sha256_value(struct vms_sha256 *hash, uint8_t out[VMS_SHA256_BYTES]) {
    memset(out, 0, VMS_SHA256_BYTES);
    return hash && works();
}
static bool hmac(void *ctx, struct vms_slice key, const struct vms_slice *pieces, size_t count,
                 uint8_t out[VMS_SHA256_BYTES]) {
    (void)ctx, (void)key, (void)pieces, (void)count;
    memset(out, 0, VMS_SHA256_BYTES);
    return works();
}
static bool has_aead(void *ctx, enum vms_aead_algorithm algorithm) {
    (void)ctx;
    return algorithm < VMS_AEAD_COUNT;
}
static struct vms_aead *aead_new(void *ctx, enum vms_aead_algorithm algorithm,
                                 enum vms_aead_use use, const uint8_t key[VMS_KEY_BYTES]) {
    (void)ctx, (void)algorithm, (void)use, (void)key;
    return works() ? &the_key : NULL;
}
static void aead_free(struct vms_aead *key) {
    (void)key;
}
static bool aead_start(struct vms_aead *key, const uint8_t nonce[VMS_NONCE_BYTES],
                       struct vms_slice associated) {
    (void)nonce, (void)associated;
    return key && works();
}
static bool aead_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    if (out && out != in && len)
        memcpy(out, in, len);
    return key && works();
}
static bool aead_finish(struct vms_aead *key, uint8_t tag[VMS_TAG_BYTES]) {
    memset(tag, 0, VMS_TAG_BYTES);
    return key && works();
}
static bool aead_verify(struct vms_aead *key, const uint8_t tag[VMS_TAG_BYTES]) {
    (void)tag;
    return key && works();
}

const struct vms_crypto_ops fuzz_nocrypto = {
    .random = no_random,
    .sha256_new = sha256_new,
    .sha256_free = sha256_free,
    .sha256_reset = sha256_reset,
    .sha256_update = sha256_update,
    .sha256_value = sha256_value,
    .hmac = hmac,
    .has_aead = has_aead,
    .aead_new = aead_new,
    .aead_free = aead_free,
    .aead_start = aead_start,
    .aead_data = aead_data,
    .aead_finish = aead_finish,
    .aead_verify = aead_verify,
};
