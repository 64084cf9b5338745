/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <vmstream/ipsecmb.h>

/* [SEAL-29] AES-256-GCM and GMAC by intel-ipsec-mb; the Makefile says whether the library is here.
 */
#ifdef VMS_IPSECMB
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

struct vms_ipsecmb {
    struct vms_crypto_ops ops;
    const struct vms_crypto_ops *base;
    IMB_MGR *mgr; /* no job is ever given to it: a table of functions, which threads share */
};

/* A key of ours, or one of the base back end's in an envelope. */
struct vms_aead {
    struct gcm_key_data schedule; /* first: it is aligned to 64 bytes */
    struct gcm_context_data frame;
    const struct vms_crypto_ops *base;
    struct vms_aead *inner; /* the base's; NULL: the key is ours */
    IMB_MGR *mgr;
    enum vms_aead_algorithm algorithm;
    enum vms_aead_use use;
};

/* ---- what the base does ---- */

static bool get_random(void *ctx, struct vms_room out) {
    const struct vms_crypto_ops *base = ((struct vms_ipsecmb *)ctx)->base;
    return base->random(base->ctx, out);
}

static struct vms_sha256 *sha256_new(void *ctx) {
    const struct vms_crypto_ops *base = ((struct vms_ipsecmb *)ctx)->base;
    return base->sha256_new(base->ctx);
}

static bool hmac(void *ctx, struct vms_slice key, const struct vms_slice *pieces, size_t count,
                 uint8_t out[VMS_SHA256_BYTES]) {
    const struct vms_crypto_ops *base = ((struct vms_ipsecmb *)ctx)->base;
    return base->hmac(base->ctx, key, pieces, count, out);
}

/* ---- keys ---- */

static bool is_ours(enum vms_aead_algorithm algorithm) {
    return algorithm == VMS_AEAD_AES_256_GMAC || algorithm == VMS_AEAD_AES_256_GCM;
}

static bool has_aead(void *ctx, enum vms_aead_algorithm algorithm) {
    const struct vms_crypto_ops *base = ((struct vms_ipsecmb *)ctx)->base;
    return is_ours(algorithm) || base->has_aead(base->ctx, algorithm);
}

static void aead_free(struct vms_aead *key) {
    if (!key)
        return;
    key->base->aead_free(key->inner);
    vms_wipe(key, sizeof *key);
    free(key);
}

static struct vms_aead *aead_new(void *ctx, enum vms_aead_algorithm algorithm,
                                 enum vms_aead_use use, const uint8_t key[VMS_KEY_BYTES]) {
    const struct vms_ipsecmb *mb = ctx;
    struct vms_aead *aead = aligned_alloc(_Alignof(struct vms_aead), sizeof *aead);
    if (!aead)
        return NULL;
    *aead = (struct vms_aead){.base = mb->base, .mgr = mb->mgr, .algorithm = algorithm, .use = use};
    if (is_ours(algorithm)) {
        IMB_AES256_GCM_PRE(mb->mgr, key, &aead->schedule);
        return aead;
    }
    aead->inner = mb->base->aead_new(mb->base->ctx, algorithm, use, key);
    if (aead->inner)
        return aead;
    aead_free(aead);
    return NULL;
}

/* ---- a frame ---- */

static void gmac_data(struct vms_aead *key, const uint8_t *in, size_t len) {
    if (len)
        IMB_AES256_GMAC_UPDATE(key->mgr, &key->schedule, &key->frame, in, len);
}

static bool aead_start(struct vms_aead *key, const uint8_t nonce[VMS_NONCE_BYTES],
                       struct vms_slice associated) {
    if (key->inner)
        return key->base->aead_start(key->inner, nonce, associated);
    if (key->algorithm == VMS_AEAD_AES_256_GCM) {
        IMB_AES256_GCM_INIT(key->mgr, &key->schedule, &key->frame, nonce, associated.ptr,
                            associated.len);
        return true;
    }
    IMB_AES256_GMAC_INIT(key->mgr, &key->schedule, &key->frame, nonce, VMS_NONCE_BYTES);
    gmac_data(key, associated.ptr, associated.len);
    return true;
}

static bool aead_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    if (key->inner)
        return key->base->aead_data(key->inner, in, out, len);
    if (key->algorithm == VMS_AEAD_AES_256_GMAC)
        gmac_data(key, in, len);
    else if (len && !out)
        return false;
    else if (len && key->use == VMS_AEAD_SEAL)
        IMB_AES256_GCM_ENC_UPDATE(key->mgr, &key->schedule, &key->frame, out, in, len);
    else if (len)
        IMB_AES256_GCM_DEC_UPDATE(key->mgr, &key->schedule, &key->frame, out, in, len);
    return true;
}

/* The tag comes out of the same computation whether the text was enciphered or deciphered. */
static void make_tag(struct vms_aead *key, uint8_t tag[VMS_TAG_BYTES]) {
    if (key->algorithm == VMS_AEAD_AES_256_GMAC)
        IMB_AES256_GMAC_FINALIZE(key->mgr, &key->schedule, &key->frame, tag, VMS_TAG_BYTES);
    else if (key->use == VMS_AEAD_SEAL)
        IMB_AES256_GCM_ENC_FINALIZE(key->mgr, &key->schedule, &key->frame, tag, VMS_TAG_BYTES);
    else
        IMB_AES256_GCM_DEC_FINALIZE(key->mgr, &key->schedule, &key->frame, tag, VMS_TAG_BYTES);
}

static bool aead_finish(struct vms_aead *key, uint8_t tag[VMS_TAG_BYTES]) {
    if (key->inner)
        return key->base->aead_finish(key->inner, tag);
    if (key->use != VMS_AEAD_SEAL)
        return false;
    make_tag(key, tag);
    return true;
}

/* The library compares nothing; OpenSSL's comparison takes the same time whatever differs. */
static bool aead_verify(struct vms_aead *key, const uint8_t tag[VMS_TAG_BYTES]) {
    uint8_t right[VMS_TAG_BYTES];
    if (key->inner)
        return key->base->aead_verify(key->inner, tag);
    if (key->use != VMS_AEAD_OPEN)
        return false;
    make_tag(key, right);
    bool same = CRYPTO_memcmp(right, tag, sizeof right) == 0;
    vms_wipe(right, sizeof right);
    return same;
}

/* ---- the back end ---- */

static struct vms_crypto_ops ops_over(const struct vms_crypto_ops *base, struct vms_ipsecmb *mb) {
    struct vms_crypto_ops ops = *base; /* what has no ctx of its own stays */
    ops.ctx = mb;
    ops.random = get_random;
    ops.sha256_new = sha256_new;
    ops.hmac = hmac;
    ops.has_aead = has_aead;
    ops.aead_new = aead_new;
    ops.aead_free = aead_free;
    ops.aead_start = aead_start;
    ops.aead_data = aead_data;
    ops.aead_finish = aead_finish;
    ops.aead_verify = aead_verify;
    return ops;
}

/* Why the library is of no use here; NULL when it is. Without these instructions it is no faster
 * than others. Keys do not stay behind on the stack only if it was built to see to that. */
static const char *objection(IMB_MGR *mgr) {
    IMB_ARCH arch = IMB_ARCH_NONE;
    init_mb_mgr_auto(mgr, &arch);
    uint64_t has = mgr->features;
    if (arch != IMB_ARCH_AVX512 || (has & IMB_CPUFLAGS_AVX512_T2) != IMB_CPUFLAGS_AVX512_T2)
        return "this processor has no VAES with AVX-512";
    if (!(has & IMB_FEATURE_SAFE_DATA))
        return "the library leaves keys behind";
    if ((has & IMB_FEATURE_SELF_TEST) && !(has & IMB_FEATURE_SELF_TEST_PASS))
        return "the library fails its self-test";
    return NULL;
}

void vms_ipsecmb_free(struct vms_ipsecmb *ipsecmb) {
    if (!ipsecmb)
        return;
    if (ipsecmb->mgr)
        free_mb_mgr(ipsecmb->mgr);
    free(ipsecmb);
}

struct vms_ipsecmb *vms_ipsecmb_new(const struct vms_crypto_ops *base, const char **why) {
    struct vms_ipsecmb *mb = calloc(1, sizeof *mb);
    if (mb)
        mb->mgr = alloc_mb_mgr(0);
    *why = mb && mb->mgr ? objection(mb->mgr) : "no memory";
    if (*why) {
        vms_ipsecmb_free(mb);
        return NULL;
    }
    mb->base = base;
    mb->ops = ops_over(base, mb);
    return mb;
}

const struct vms_crypto_ops *vms_ipsecmb_ops(const struct vms_ipsecmb *ipsecmb) {
    return &ipsecmb->ops;
}

const char *vms_ipsecmb_version(void) {
    return imb_get_version_str();
}
#else
struct vms_ipsecmb *vms_ipsecmb_new(const struct vms_crypto_ops *base, const char **why) {
    (void)base;
    *why = "built without libIPSec_MB";
    return NULL;
}

void vms_ipsecmb_free(struct vms_ipsecmb *ipsecmb) {
    (void)ipsecmb;
}

const struct vms_crypto_ops *vms_ipsecmb_ops(const struct vms_ipsecmb *ipsecmb) {
    (void)ipsecmb;
    return NULL;
}

const char *vms_ipsecmb_version(void) {
    return NULL;
}
#endif
