/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

#include <stdio.h>

void vms_opener_init(struct vms_opener *opener, const struct vms_crypto_ops *crypto,
                     enum vms_direction direction, uint16_t channel,
                     const struct vms_limits *limits) {
    vms_link_init(&opener->link, crypto, VMS_AEAD_OPEN, direction, channel, limits);
}

void vms_opener_free(struct vms_opener *opener) {
    vms_link_free(&opener->link);
}

enum vms_code vms_opener_hello(struct vms_opener *opener, struct vms_slice secret,
                               const uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err) {
    return vms_link_hello(&opener->link, secret, random, err);
}

enum vms_code vms_opener_hello_plain(struct vms_opener *opener, struct vms_error *err) {
    return vms_link_hello_plain(&opener->link, err);
}

enum vms_code vms_opener_rekey(struct vms_opener *opener, enum vms_suite suite,
                               const uint8_t *master, uint32_t epoch, uint64_t sequence,
                               struct vms_error *err) {
    return vms_link_rekey(&opener->link, suite, master, epoch, sequence, err);
}

/* What is wrong with a frame of this header: a code, or VMS_OK. */
static enum vms_code check_header(const struct vms_seal_link *link, const uint8_t *header) {
    if (vms_be32(header + VMS_HEADER_EPOCH) != link->epoch)
        return VMS_E_SEAL_EPOCH; /* [SEAL-7] */
    if (vms_be64(header + VMS_HEADER_SEQUENCE) != link->sequence)
        return VMS_E_SEAL_SEQUENCE; /* [SEAL-6] */
    if (!vms_link_fits(link, vms_frame_bytes(header), 0, 0))
        return VMS_E_SEAL_KEY_LIMIT; /* [SEAL-12] */
    return VMS_OK;
}

static enum vms_code refuse_header(struct vms_seal_link *link, enum vms_code code,
                                   const uint8_t *header, struct vms_error *err) {
    char detail[64];
    (void)snprintf(detail, sizeof detail, "the header has %lu and %llu, expected: ",
                   (unsigned long)vms_be32(header + VMS_HEADER_EPOCH),
                   (unsigned long long)vms_be64(header + VMS_HEADER_SEQUENCE));
    return vms_link_fail(link, code, detail, err);
}

enum vms_code vms_opener_begin(struct vms_opener *opener,
                               const uint8_t header[VMS_FRAME_HEADER_BYTES],
                               struct vms_error *err) {
    struct vms_seal_link *link = &opener->link;
    enum vms_code code = vms_link_expect(link, VMS_LINK_READY, err);
    if (code != VMS_OK)
        return code;
    if (vms_be16(header + VMS_HEADER_CHANNEL) != link->channel)
        return vms_link_refuse(link, VMS_E_MISUSE, "a frame of another channel: ", err);
    code = check_header(link, header);
    if (code != VMS_OK)
        return refuse_header(link, code, header, err);
    if (link->epoch == 0 && vms_seal_check_hello(header, link->key != NULL, err) != VMS_OK)
        return vms_link_fail(link, err->code, "", err);
    return vms_link_start(link, header, err);
}

enum vms_code vms_opener_data(struct vms_opener *opener, struct vms_seal_piece piece,
                              struct vms_error *err) {
    return vms_link_data(&opener->link, piece, err);
}

/* [SEAL-8] */
enum vms_code vms_opener_end(struct vms_opener *opener, const uint8_t *tag, struct vms_error *err) {
    struct vms_seal_link *link = &opener->link;
    enum vms_code code = vms_link_whole(link, err);
    if (code != VMS_OK)
        return code;
    bool right = link->key ? link->crypto->aead_verify(link->key, tag) : vms_be32(tag) == link->crc;
    if (!right)
        return vms_link_fail(link, VMS_E_SEAL_TAG, "", err);
    vms_link_next(link);
    return VMS_OK;
}

enum vms_code vms_opener_open(struct vms_opener *opener,
                              const uint8_t header[VMS_FRAME_HEADER_BYTES],
                              const struct vms_seal_piece *pieces, size_t count, const uint8_t *tag,
                              struct vms_error *err) {
    if (!vms_link_accepts(&opener->link, header, pieces, count))
        return vms_link_refuse(&opener->link, VMS_E_MISUSE, "the pieces are not the frame: ", err);
    enum vms_code code = vms_opener_begin(opener, header, err);
    for (size_t i = 0; code == VMS_OK && i < count; i++)
        code = vms_opener_data(opener, pieces[i], err);
    return code == VMS_OK ? vms_opener_end(opener, tag, err) : code;
}
