/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

void vms_sealer_init(struct vms_sealer *sealer, const struct vms_crypto_ops *crypto,
                     enum vms_direction direction, uint16_t channel,
                     const struct vms_limits *limits) {
    vms_link_init(&sealer->link, crypto, VMS_AEAD_SEAL, direction, channel, limits);
}

void vms_sealer_free(struct vms_sealer *sealer) {
    vms_link_free(&sealer->link);
}

/* [SEAL-15] */
enum vms_code vms_sealer_hello(struct vms_sealer *sealer, struct vms_slice secret,
                               uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err) {
    const struct vms_crypto_ops *crypto = sealer->link.crypto;
    if (crypto && !crypto->random(crypto->ctx, (struct vms_room){random, VMS_SEAL_RANDOM_BYTES}))
        return vms_link_refuse(&sealer->link, VMS_E_SEAL_CRYPTO, "random: ", err);
    return vms_link_hello(&sealer->link, secret, random, err);
}

enum vms_code vms_sealer_hello_plain(struct vms_sealer *sealer, struct vms_error *err) {
    return vms_link_hello_plain(&sealer->link, err);
}

enum vms_code vms_sealer_rekey(struct vms_sealer *sealer, enum vms_suite suite,
                               const uint8_t *master, uint32_t epoch, uint64_t sequence,
                               struct vms_error *err) {
    return vms_link_rekey(&sealer->link, suite, master, epoch, sequence, err);
}

/* [SEAL-9] The last frame of a key and its last bytes are kept for the REKEY. */
static bool may_seal(const struct vms_seal_link *link, uint64_t bytes, bool rekey) {
    return vms_link_fits(link, bytes, rekey ? 0 : 1, rekey ? 0 : VMS_SEAL_REKEY_RESERVE);
}

bool vms_sealer_must_rekey(const struct vms_sealer *sealer, uint64_t payload) {
    return payload > UINT64_MAX - VMS_FRAME_HEADER_BYTES ||
           !may_seal(&sealer->link, VMS_FRAME_HEADER_BYTES + payload, false);
}

static void put(uint8_t *at, uint64_t value, size_t n) {
    struct vms_writer w = vms_writer((struct vms_room){at, n});
    vms_write_be(&w, value, n);
}

static void stamp(const struct vms_seal_link *link, uint8_t *header) {
    unsigned flags = vms_be16(header + VMS_HEADER_FLAGS) & ~(unsigned)VMS_FLAG_HELLO_SEALED;
    if (link->epoch == 0 && link->key)
        flags |= VMS_FLAG_HELLO_SEALED;
    put(header + VMS_HEADER_FLAGS, flags, 2);
    put(header + VMS_HEADER_CHANNEL, link->channel, 2);
    put(header + VMS_HEADER_EPOCH, link->epoch, 4);
    put(header + VMS_HEADER_SEQUENCE, link->sequence, 8);
}

enum vms_code vms_sealer_begin(struct vms_sealer *sealer, uint8_t header[VMS_FRAME_HEADER_BYTES],
                               struct vms_error *err) {
    struct vms_seal_link *link = &sealer->link;
    enum vms_code code = vms_link_expect(link, VMS_LINK_READY, err);
    if (code != VMS_OK)
        return code;
    bool rekey = vms_be32(header + VMS_HEADER_TYPE) == VMS_TYPE_REKEY;
    if (!may_seal(link, vms_frame_bytes(header), rekey))
        return vms_link_refuse(link, VMS_E_SEAL_REKEY_DUE, "", err);
    stamp(link, header);
    return vms_link_start(link, header, err);
}

enum vms_code vms_sealer_data(struct vms_sealer *sealer, struct vms_seal_piece piece,
                              struct vms_error *err) {
    return vms_link_data(&sealer->link, piece, err);
}

enum vms_code vms_sealer_end(struct vms_sealer *sealer, uint8_t tag[VMS_TAG_BYTES],
                             struct vms_error *err) {
    struct vms_seal_link *link = &sealer->link;
    enum vms_code code = vms_link_whole(link, err);
    if (code != VMS_OK)
        return code;
    if (!link->key)
        put(tag, link->crc, 4);
    else if (!link->crypto->aead_finish(link->key, tag))
        return vms_link_fail(link, VMS_E_SEAL_CRYPTO, "", err);
    vms_link_next(link);
    return VMS_OK;
}

enum vms_code vms_sealer_seal(struct vms_sealer *sealer, uint8_t header[VMS_FRAME_HEADER_BYTES],
                              const struct vms_seal_piece *pieces, size_t count,
                              uint8_t tag[VMS_TAG_BYTES], struct vms_error *err) {
    if (!vms_link_accepts(&sealer->link, header, pieces, count))
        return vms_link_refuse(&sealer->link, VMS_E_MISUSE, "the pieces are not the frame: ", err);
    enum vms_code code = vms_sealer_begin(sealer, header, err);
    for (size_t i = 0; code == VMS_OK && i < count; i++)
        code = vms_sealer_data(sealer, pieces[i], err);
    return code == VMS_OK ? vms_sealer_end(sealer, tag, err) : code;
}
