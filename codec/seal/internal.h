/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_SEAL_INTERNAL_H
#define VMSTREAM_SEAL_INTERNAL_H

#include "core/reader.h"
#include "core/writer.h"
#include <vmstream/seal.h>

/*
 *   suite.c    suites, their choice, the first look at a hello      crc32c*.c     checksum
 *   hkdf.c     RFC 5869                                             psk.c         key files
 *   schedule.c key schedule                                         transcript.c  the hash in END
 *   link.c     what sealer.c and opener.c share: key, epoch,        wipe.c
 *              sequence, limits, running a frame                    openssl.c, ipsecmb.c
 *                                                                   the back ends
 */

/* What seal knows of a frame's header: the rest is the business of native. */
enum {
    VMS_HEADER_TYPE = 4,
    VMS_HEADER_FLAGS = 8,
    VMS_HEADER_CHANNEL = 10,
    VMS_HEADER_EPOCH = 12,
    VMS_HEADER_SEQUENCE = 16,
    VMS_HEADER_BODY = 24,
    VMS_HEADER_BULK = 28,
};
enum {
    VMS_TYPE_REKEY = 5, /* of registry/native_frames.def */
    VMS_FLAG_HELLO_SEALED = 0x0010,
};

/* The states of a link. */
enum {
    VMS_LINK_EMPTY, /* no key yet */
    VMS_LINK_READY,
    VMS_LINK_FRAME,  /* between begin and end */
    VMS_LINK_FAILED, /* link->failed, for ever */
};

/* A key and its IV as they come out of the schedule, or the room for any other derived bytes. */
struct vms_key_iv {
    uint8_t key[VMS_KEY_BYTES];
    uint8_t iv[VMS_NONCE_BYTES];
};
_Static_assert(sizeof(struct vms_key_iv) == 44, "the output of HKDF is laid over it");

/* RFC 5869 with SHA-256. len <= 255 * 32. False: the back end failed. */
bool vms_hkdf_extract(const struct vms_crypto_ops *crypto, struct vms_slice salt,
                      struct vms_slice ikm, uint8_t prk[VMS_SHA256_BYTES]);
bool vms_hkdf_expand(const struct vms_crypto_ops *crypto, const uint8_t prk[VMS_SHA256_BYTES],
                     struct vms_slice info, struct vms_room out);

/* SEAL-14 and SEAL-15's keys. *out is the caller's to wipe. */
bool vms_seal_hello_key(const struct vms_crypto_ops *crypto, struct vms_slice secret,
                        enum vms_direction direction, const uint8_t random[VMS_SEAL_RANDOM_BYTES],
                        struct vms_key_iv *out);
bool vms_seal_frame_key(const struct vms_crypto_ops *crypto, const uint8_t master[VMS_MASTER_BYTES],
                        enum vms_direction direction, uint16_t channel, uint32_t epoch,
                        struct vms_key_iv *out);

/* The back end's algorithm; false for NONE and unknown suites. */
bool vms_suite_algorithm(unsigned suite, enum vms_aead_algorithm *out);

/* Each NULL when the processor lacks what it takes. */
const struct vms_crc32c_ops *vms_crc32c_sse42(void);
const struct vms_crc32c_ops *vms_crc32c_avx2(void);   /* and VPCLMULQDQ */
const struct vms_crc32c_ops *vms_crc32c_avx512(void); /* and VPCLMULQDQ */
uint32_t vms_crc32c_by_instruction(uint32_t crc, const uint8_t *ptr, size_t len); /* of SSE 4.2 */
/* vms_crc32c_ops.copy for those who sum only. */
uint32_t vms_crc32c_copy_by(uint32_t (*sum)(uint32_t, const uint8_t *, size_t), uint32_t crc,
                            uint8_t *out, const uint8_t *in, size_t len);

/* ---- links ---- */
void vms_link_init(struct vms_seal_link *link, const struct vms_crypto_ops *crypto,
                   enum vms_aead_use use, enum vms_direction direction, uint16_t channel,
                   const struct vms_limits *limits);
void vms_link_free(struct vms_seal_link *link);
enum vms_code vms_link_hello(struct vms_seal_link *link, struct vms_slice secret,
                             const uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err);
enum vms_code vms_link_hello_plain(struct vms_seal_link *link, struct vms_error *err);
enum vms_code vms_link_rekey(struct vms_seal_link *link, enum vms_suite suite,
                             const uint8_t *master, uint32_t epoch, uint64_t sequence,
                             struct vms_error *err);

/* *err gets code with the link's place; the link is as before. */
enum vms_code vms_link_refuse(const struct vms_seal_link *link, enum vms_code code,
                              const char *detail, struct vms_error *err);
/* The same, and the link has failed. */
enum vms_code vms_link_fail(struct vms_seal_link *link, enum vms_code code, const char *detail,
                            struct vms_error *err);
/* VMS_OK when the link is in that state. */
enum vms_code vms_link_expect(const struct vms_seal_link *link, int state, struct vms_error *err);

/* Whether one more frame of that many bytes, header included, stays within the key's limits when so
 * much of them is held back. */
bool vms_link_fits(const struct vms_seal_link *link, uint64_t bytes, uint64_t reserve_frames,
                   uint64_t reserve_bytes);
/* Header, body and bulk of the frame that the header announces. */
uint64_t vms_frame_bytes(const uint8_t header[VMS_FRAME_HEADER_BYTES]);

enum vms_code vms_link_start(struct vms_seal_link *link,
                             const uint8_t header[VMS_FRAME_HEADER_BYTES], struct vms_error *err);
enum vms_code vms_link_data(struct vms_seal_link *link, struct vms_seal_piece piece,
                            struct vms_error *err);
/* VMS_OK when all that the header announced has come. */
enum vms_code vms_link_whole(const struct vms_seal_link *link, struct vms_error *err);
/* The frame is over, in good order. */
void vms_link_next(struct vms_seal_link *link);
/* Whether the pieces are what the header announces, and have the room that they need. */
bool vms_link_accepts(const struct vms_seal_link *link,
                      const uint8_t header[VMS_FRAME_HEADER_BYTES],
                      const struct vms_seal_piece *pieces, size_t count);

#endif
