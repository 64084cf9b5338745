/* SPDX-License-Identifier: MIT */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <vmstream/openssl.h>

struct vms_openssl {
    struct vms_crypto_ops ops;
    EVP_MD *sha256;
    EVP_MAC *hmac;
    EVP_CIPHER *gcm;
    EVP_CIPHER *chacha20;
};

struct vms_sha256 {
    EVP_MD_CTX *live;
    EVP_MD_CTX *copy; /* takes the state when a value is asked for in between */
    const EVP_MD *md;
};

struct vms_aead {
    EVP_CIPHER_CTX *ctx; /* holds the key schedule; OpenSSL wipes it when it is freed */
    enum vms_aead_algorithm algorithm;
};

static bool get_random(void *ctx, struct vms_room out) {
    (void)ctx;
    return out.len <= INT32_MAX && RAND_bytes(out.ptr, (int)out.len) == 1;
}

/* ---- SHA-256 ---- */

static bool sha256_reset(struct vms_sha256 *hash) {
    return EVP_DigestInit_ex2(hash->live, hash->md, NULL) == 1;
}

static void sha256_free(struct vms_sha256 *hash) {
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->live);
    EVP_MD_CTX_free(hash->copy);
    free(hash);
}

static struct vms_sha256 *sha256_new(void *ctx) {
    const struct vms_openssl *openssl = ctx;
    struct vms_sha256 *hash = malloc(sizeof *hash);
    if (!hash)
        return NULL;
    *hash = (struct vms_sha256){EVP_MD_CTX_new(), EVP_MD_CTX_new(), openssl->sha256};
    if (hash->live && hash->copy && sha256_reset(hash))
        return hash;
    sha256_free(hash);
    return NULL;
}

static bool sha256_update(struct vms_sha256 *hash, struct vms_slice data) {
    return data.len == 0 || EVP_DigestUpdate(hash->live, data.ptr, data.len) == 1;
}

static bool sha256_value(struct vms_sha256 *hash, uint8_t out[VMS_SHA256_BYTES]) {
    return EVP_MD_CTX_copy_ex(hash->copy, hash->live) == 1 &&
           EVP_DigestFinal_ex(hash->copy, out, NULL) == 1;
}

/* ---- HMAC ---- */

static bool hmac_run(EVP_MAC_CTX *mac, struct vms_slice key, const struct vms_slice *pieces,
                     size_t count, uint8_t out[VMS_SHA256_BYTES]) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    const uint8_t *bytes = key.len ? key.ptr : (const uint8_t *)""; /* NULL means: no new key */
    size_t len;
    if (EVP_MAC_init(mac, bytes, key.len, params) != 1)
        return false;
    for (size_t i = 0; i < count; i++)
        if (pieces[i].len && EVP_MAC_update(mac, pieces[i].ptr, pieces[i].len) != 1)
            return false;
    return EVP_MAC_final(mac, out, &len, VMS_SHA256_BYTES) == 1 && len == VMS_SHA256_BYTES;
}

static bool hmac(void *ctx, struct vms_slice key, const struct vms_slice *pieces, size_t count,
                 uint8_t out[VMS_SHA256_BYTES]) {
    const struct vms_openssl *openssl = ctx;
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(openssl->hmac);
    bool ok = mac && hmac_run(mac, key, pieces, count, out);
    EVP_MAC_CTX_free(mac);
    return ok;
}

/* ---- AEAD ---- */

static const EVP_CIPHER *cipher_of(const struct vms_openssl *openssl,
                                   enum vms_aead_algorithm algorithm) {
    switch (algorithm) {
    case VMS_AEAD_AES_256_GMAC:
    case VMS_AEAD_AES_256_GCM: return openssl->gcm;
    case VMS_AEAD_CHACHA20_POLY1305: return openssl->chacha20;
    default: return NULL;
    }
}

static bool has_aead(void *ctx, enum vms_aead_algorithm algorithm) {
    return cipher_of(ctx, algorithm) != NULL;
}

static void aead_free(struct vms_aead *key) {
    if (!key)
        return;
    EVP_CIPHER_CTX_free(key->ctx);
    free(key);
}

static struct vms_aead *aead_new(void *ctx, enum vms_aead_algorithm algorithm,
                                 enum vms_aead_use use, const uint8_t key[VMS_KEY_BYTES]) {
    const EVP_CIPHER *cipher = cipher_of(ctx, algorithm);
    struct vms_aead *aead = cipher ? malloc(sizeof *aead) : NULL;
    if (!aead)
        return NULL;
    *aead = (struct vms_aead){EVP_CIPHER_CTX_new(), algorithm};
    if (aead->ctx &&
        EVP_CipherInit_ex2(aead->ctx, cipher, key, NULL, use == VMS_AEAD_SEAL, NULL) == 1)
        return aead;
    aead_free(aead);
    return NULL;
}

/* EVP counts in int. */
static bool update(EVP_CIPHER_CTX *ctx, uint8_t *out, const uint8_t *in, size_t len) {
    const size_t most = (size_t)1 << 30;
    for (size_t done = 0; done < len;) {
        size_t n = len - done < most ? len - done : most;
        int written = 0;
        if (EVP_CipherUpdate(ctx, out ? out + done : NULL, &written, in + done, (int)n) != 1 ||
            (size_t)written != n)
            return false;
        done += n;
    }
    return true;
}

static bool aead_start(struct vms_aead *key, const uint8_t nonce[VMS_NONCE_BYTES],
                       struct vms_slice associated) {
    return EVP_CipherInit_ex2(key->ctx, NULL, NULL, nonce, -1, NULL) == 1 &&
           update(key->ctx, NULL, associated.ptr, associated.len);
}

static bool aead_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    if (key->algorithm != VMS_AEAD_AES_256_GMAC && !out && len)
        return false;
    return update(key->ctx, key->algorithm == VMS_AEAD_AES_256_GMAC ? NULL : out, in, len);
}

static bool finish(EVP_CIPHER_CTX *ctx) {
    uint8_t none[EVP_MAX_BLOCK_LENGTH];
    int written = 0;
    return EVP_CipherFinal_ex(ctx, none, &written) == 1 && written == 0;
}

static bool aead_finish(struct vms_aead *key, uint8_t tag[VMS_TAG_BYTES]) {
    return EVP_CIPHER_CTX_is_encrypting(key->ctx) && finish(key->ctx) &&
           EVP_CIPHER_CTX_ctrl(key->ctx, EVP_CTRL_AEAD_GET_TAG, VMS_TAG_BYTES, tag) == 1;
}

/* OpenSSL compares with CRYPTO_memcmp, in constant time. */
static bool aead_verify(struct vms_aead *key, const uint8_t tag[VMS_TAG_BYTES]) {
    uint8_t copy[VMS_TAG_BYTES]; /* the interface takes no const */
    memcpy(copy, tag, sizeof copy);
    return !EVP_CIPHER_CTX_is_encrypting(key->ctx) &&
           EVP_CIPHER_CTX_ctrl(key->ctx, EVP_CTRL_AEAD_SET_TAG, VMS_TAG_BYTES, copy) == 1 &&
           finish(key->ctx);
}

/* ---- the back end ---- */

static const struct vms_crypto_ops OPS = {
    .random = get_random,
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

void vms_openssl_free(struct vms_openssl *openssl) {
    if (!openssl)
        return;
    EVP_MD_free(openssl->sha256);
    EVP_MAC_free(openssl->hmac);
    EVP_CIPHER_free(openssl->gcm);
    EVP_CIPHER_free(openssl->chacha20);
    free(openssl);
}

struct vms_openssl *vms_openssl_new(void) {
    struct vms_openssl *openssl = calloc(1, sizeof *openssl);
    if (!openssl)
        return NULL;
    openssl->ops = OPS;
    openssl->ops.ctx = openssl;
    openssl->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    openssl->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    openssl->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    openssl->chacha20 = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL); /* FIPS has none */
    if (openssl->sha256 && openssl->hmac && openssl->gcm)
        return openssl;
    vms_openssl_free(openssl);
    return NULL;
}

const struct vms_crypto_ops *vms_openssl_ops(const struct vms_openssl *openssl) {
    return &openssl->ops;
}
