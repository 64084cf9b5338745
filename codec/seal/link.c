/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

enum {
    CHUNK = 16384, /* bytes copied at a time before they are hashed, while the cache holds them */
};

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void vms_link_init(struct vms_seal_link *link, const struct vms_crypto_ops *crypto,
                   enum vms_aead_use use, enum vms_direction direction, uint16_t channel,
                   const struct vms_limits *limits) {
    struct vms_limits most = vms_limits_default();
    *link = (struct vms_seal_link){
        .crypto = crypto,
        .crc32c = vms_crc32c_ops(),
        .use = use,
        .direction = direction,
        .channel = channel,
        .max_bytes = min_u64(limits->seal_key_bytes, most.seal_key_bytes),
        .max_frames = min_u64(limits->seal_key_frames, most.seal_key_frames),
    };
}

static void drop_key(struct vms_seal_link *link) {
    if (link->key)
        link->crypto->aead_free(link->key);
    link->key = NULL;
    vms_wipe(link->iv, sizeof link->iv);
}

void vms_link_free(struct vms_seal_link *link) {
    drop_key(link);
    vms_wipe(link, sizeof *link);
}

enum vms_code vms_link_refuse(const struct vms_seal_link *link, enum vms_code code,
                              const char *detail, struct vms_error *err) {
    err->channel = link->channel;
    return vms_error_set(err, code, "%schannel %u, epoch %lu, sequence %llu", detail,
                         (unsigned)link->channel, (unsigned long)link->epoch,
                         (unsigned long long)link->sequence);
}

enum vms_code vms_link_fail(struct vms_seal_link *link, enum vms_code code, const char *detail,
                            struct vms_error *err) {
    link->state = VMS_LINK_FAILED;
    link->failed = code;
    return vms_link_refuse(link, code, detail, err);
}

enum vms_code vms_link_expect(const struct vms_seal_link *link, int state, struct vms_error *err) {
    static const char *const reasons[] = {
        "no key: ", "no frame in progress: ", "a frame is in progress: "};
    if (link->state == state)
        return VMS_OK;
    if (link->state == VMS_LINK_FAILED)
        return vms_link_refuse(link, link->failed, "", err);
    return vms_link_refuse(link, VMS_E_MISUSE, reasons[link->state], err);
}

/* ---- keys ---- */

/* Makes the key object before it touches the link, so that a failure leaves the old one. */
static bool set_key(struct vms_seal_link *link, enum vms_suite suite, const struct vms_key_iv *k) {
    enum vms_aead_algorithm algorithm;
    struct vms_aead *key = NULL;
    if (vms_suite_algorithm(suite, &algorithm)) {
        key = link->crypto->aead_new(link->crypto->ctx, algorithm, link->use, k->key);
        if (!key)
            return false;
    }
    drop_key(link);
    link->key = key;
    memcpy(link->iv, k->iv, sizeof link->iv);
    return true;
}

static void begin_epoch(struct vms_seal_link *link, enum vms_suite suite, uint32_t epoch,
                        uint64_t sequence) {
    link->suite = suite;
    link->epoch = epoch;
    link->sequence = sequence;
    link->frames = 0;
    link->bytes = 0;
    link->left = 0;
    link->keyed = link->keyed || suite != VMS_SUITE_NONE;
    link->state = VMS_LINK_READY;
    link->failed = VMS_OK;
    if (epoch > link->last_epoch)
        link->last_epoch = epoch;
}

enum vms_code vms_link_hello(struct vms_seal_link *link, struct vms_slice secret,
                             const uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err) {
    struct vms_key_iv k = {0};
    if (!link->crypto || secret.len < VMS_SECRET_MIN)
        return vms_link_refuse(link, VMS_E_MISUSE, "no back end or no secret: ", err);
    bool ok = vms_seal_hello_key(link->crypto, secret, link->direction, random, &k) &&
              set_key(link, VMS_SUITE_AES_256_GMAC, &k);
    vms_wipe(&k, sizeof k);
    if (!ok)
        return vms_link_refuse(link, VMS_E_SEAL_CRYPTO, "hello key: ", err);
    begin_epoch(link, VMS_SUITE_AES_256_GMAC, 0, 0);
    return VMS_OK;
}

enum vms_code vms_link_hello_plain(struct vms_seal_link *link, struct vms_error *err) {
    if (!link->crc32c || link->keyed)
        return vms_link_refuse(link, VMS_E_MISUSE, "a plain hello after a sealed one: ", err);
    begin_epoch(link, VMS_SUITE_NONE, 0, 0);
    return VMS_OK;
}

/* [SEAL-10] What must hold of a new key; NULL when it does. */
static const char *bad_rekey(const struct vms_seal_link *link, enum vms_suite suite,
                             const uint8_t *master, uint32_t epoch, uint64_t sequence) {
    if (link->state == VMS_LINK_FRAME || !link->crc32c)
        return "a new key inside a frame, or none was made ready: ";
    if (epoch <= link->last_epoch || sequence > INT64_MAX)
        return "an epoch that was there already: ";
    if ((suite == VMS_SUITE_NONE) != (master == NULL) || (master && !link->crypto))
        return "suite and master secret do not agree: ";
    return suite == VMS_SUITE_NONE && link->keyed ? "back to no key: " : NULL;
}

enum vms_code vms_link_rekey(struct vms_seal_link *link, enum vms_suite suite,
                             const uint8_t *master, uint32_t epoch, uint64_t sequence,
                             struct vms_error *err) {
    struct vms_key_iv k = {0};
    const char *bad = bad_rekey(link, suite, master, epoch, sequence);
    if (link->state == VMS_LINK_FAILED)
        return vms_link_expect(link, VMS_LINK_READY, err);
    if (!vms_suite_name(suite))
        return vms_link_refuse(link, VMS_E_SEAL_SUITE, "", err);
    if (bad)
        return vms_link_refuse(link, VMS_E_MISUSE, bad, err);
    bool ok = (!master || vms_seal_frame_key(link->crypto, master, link->direction, link->channel,
                                             epoch, &k)) &&
              set_key(link, suite, &k);
    vms_wipe(&k, sizeof k);
    if (!ok)
        return vms_link_refuse(link, VMS_E_SEAL_CRYPTO, "new key: ", err);
    begin_epoch(link, suite, epoch, sequence);
    return VMS_OK;
}

size_t vms_seal_tag_bytes(const struct vms_seal_link *link) {
    return link->state == VMS_LINK_EMPTY ? 0 : vms_suite_tag_bytes(link->suite);
}

/* ---- a frame ---- */

uint64_t vms_frame_bytes(const uint8_t header[VMS_FRAME_HEADER_BYTES]) {
    return VMS_FRAME_HEADER_BYTES + (uint64_t)vms_be32(header + VMS_HEADER_BODY) +
           vms_be32(header + VMS_HEADER_BULK);
}

/* A hello's key is for one frame; a sum of checksums wears out nothing. */
bool vms_link_fits(const struct vms_seal_link *link, uint64_t bytes, uint64_t reserve_frames,
                   uint64_t reserve_bytes) {
    if (link->epoch == 0)
        return link->frames == 0;
    if (link->suite == VMS_SUITE_NONE)
        return true;
    if (reserve_frames >= link->max_frames || reserve_bytes > link->max_bytes)
        return false;
    uint64_t most = link->max_bytes - reserve_bytes;
    return link->frames < link->max_frames - reserve_frames && link->bytes <= most &&
           bytes <= most - link->bytes;
}

/* [SEAL-5] */
static void make_nonce(const struct vms_seal_link *link, uint8_t nonce[VMS_NONCE_BYTES]) {
    memcpy(nonce, link->iv, VMS_NONCE_BYTES);
    for (unsigned i = 0; i < 8; i++)
        nonce[VMS_NONCE_BYTES - 1 - i] ^= (uint8_t)(link->sequence >> (8 * i));
}

enum vms_code vms_link_start(struct vms_seal_link *link,
                             const uint8_t header[VMS_FRAME_HEADER_BYTES], struct vms_error *err) {
    struct vms_slice head = vms_slice(header, VMS_FRAME_HEADER_BYTES);
    uint8_t nonce[VMS_NONCE_BYTES];
    link->left = vms_frame_bytes(header) - head.len;
    link->bytes += vms_frame_bytes(header);
    link->state = VMS_LINK_FRAME;
    if (!link->key) {
        link->crc = link->crc32c->sum(0, head.ptr, head.len);
        return VMS_OK;
    }
    make_nonce(link, nonce);
    bool ok = link->crypto->aead_start(link->key, nonce, head);
    vms_wipe(nonce, sizeof nonce);
    return ok ? VMS_OK : vms_link_fail(link, VMS_E_SEAL_CRYPTO, "", err);
}

static bool authenticate(struct vms_seal_link *link, const uint8_t *ptr, size_t len) {
    if (link->key)
        return link->crypto->aead_data(link->key, ptr, NULL, len);
    link->crc = link->crc32c->sum(link->crc, ptr, len);
    return true;
}

/* [SEAL-22] What is authenticated is what is private: the copy when sealing, the original when
 * opening. */
static bool copy_plain(struct vms_seal_link *link, struct vms_seal_piece piece) {
    if (!link->key && link->use == VMS_AEAD_SEAL) {
        link->crc = link->crc32c->copy(link->crc, piece.out, piece.in, piece.len);
        return true;
    }
    for (size_t done = 0; done < piece.len; done += CHUNK) {
        size_t n = piece.len - done < CHUNK ? piece.len - done : CHUNK;
        memcpy(piece.out + done, piece.in + done, n);
        if (!authenticate(link, (link->use == VMS_AEAD_SEAL ? piece.out : piece.in) + done, n))
            return false;
    }
    return true;
}

static bool run_piece(struct vms_seal_link *link, struct vms_seal_piece piece) {
    if (vms_suite_encrypts(link->suite))
        return link->crypto->aead_data(link->key, piece.in, piece.out, piece.len);
    if (!piece.out || piece.out == piece.in)
        return authenticate(link, piece.in, piece.len);
    return copy_plain(link, piece);
}

static bool has_room(const struct vms_seal_link *link, struct vms_seal_piece piece) {
    return piece.len == 0 || (piece.in && (piece.out || !vms_suite_encrypts(link->suite)));
}

enum vms_code vms_link_data(struct vms_seal_link *link, struct vms_seal_piece piece,
                            struct vms_error *err) {
    enum vms_code code = vms_link_expect(link, VMS_LINK_FRAME, err);
    if (code != VMS_OK)
        return code;
    if (piece.len > link->left || !has_room(link, piece))
        return vms_link_refuse(link, VMS_E_MISUSE, "more than announced, or no room: ", err);
    link->left -= piece.len;
    if (piece.len == 0 || run_piece(link, piece))
        return VMS_OK;
    return vms_link_fail(link, VMS_E_SEAL_CRYPTO, "", err);
}

enum vms_code vms_link_whole(const struct vms_seal_link *link, struct vms_error *err) {
    enum vms_code code = vms_link_expect(link, VMS_LINK_FRAME, err);
    if (code == VMS_OK && link->left)
        return vms_link_refuse(link, VMS_E_MISUSE, "less than announced: ", err);
    return code;
}

void vms_link_next(struct vms_seal_link *link) {
    link->sequence++;
    link->frames++;
    link->state = VMS_LINK_READY;
}

bool vms_link_accepts(const struct vms_seal_link *link,
                      const uint8_t header[VMS_FRAME_HEADER_BYTES],
                      const struct vms_seal_piece *pieces, size_t count) {
    uint64_t left = vms_frame_bytes(header) - VMS_FRAME_HEADER_BYTES;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > left || !has_room(link, pieces[i]))
            return false;
        left -= pieces[i].len;
    }
    return left == 0;
}
