/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

/* [SEAL-20] */

static enum vms_code answer(bool ok, struct vms_error *err) {
    return ok ? VMS_OK : vms_error_set(err, VMS_E_SEAL_CRYPTO, "SHA-256");
}

enum vms_code vms_transcript_init(struct vms_transcript *transcript,
                                  const struct vms_crypto_ops *crypto, struct vms_error *err) {
    *transcript = (struct vms_transcript){crypto, crypto->sha256_new(crypto->ctx)};
    return answer(transcript->hash != NULL, err);
}

void vms_transcript_free(struct vms_transcript *transcript) {
    if (transcript->crypto)
        transcript->crypto->sha256_free(transcript->hash);
    *transcript = (struct vms_transcript){NULL, NULL};
}

enum vms_code vms_transcript_restart(struct vms_transcript *transcript, struct vms_error *err) {
    return answer(transcript->crypto->sha256_reset(transcript->hash), err);
}

enum vms_code vms_transcript_hello(struct vms_transcript *transcript, struct vms_slice bytes,
                                   struct vms_error *err) {
    return answer(transcript->crypto->sha256_update(transcript->hash, bytes), err);
}

enum vms_code vms_transcript_frame(struct vms_transcript *transcript,
                                   const uint8_t header[VMS_FRAME_HEADER_BYTES],
                                   struct vms_slice tag, struct vms_error *err) {
    const struct vms_crypto_ops *crypto = transcript->crypto;
    struct vms_slice head = vms_slice(header, VMS_FRAME_HEADER_BYTES);
    return answer(crypto->sha256_update(transcript->hash, head) &&
                      crypto->sha256_update(transcript->hash, tag),
                  err);
}

enum vms_code vms_transcript_value(struct vms_transcript *transcript, uint8_t out[VMS_SHA256_BYTES],
                                   struct vms_error *err) {
    return answer(transcript->crypto->sha256_value(transcript->hash, out), err);
}
