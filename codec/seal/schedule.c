/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

/* [SEAL-14] [SEAL-25] The key schedule. Everything that a key could be made of is wiped on the way.
 */

static struct vms_slice written(const struct vms_writer *w) {
    return vms_slice(w->ptr, w->pos);
}

static bool expand(const struct vms_crypto_ops *crypto, const uint8_t *prk,
                   const struct vms_writer *info, struct vms_key_iv *out) {
    return vms_hkdf_expand(crypto, prk, written(info),
                           (struct vms_room){(uint8_t *)out, sizeof *out});
}

/* The random makes the key, so that a hello's key seals just that one frame. */
bool vms_seal_hello_key(const struct vms_crypto_ops *crypto, struct vms_slice secret,
                        enum vms_direction direction, const uint8_t random[VMS_SEAL_RANDOM_BYTES],
                        struct vms_key_iv *out) {
    uint8_t prk[VMS_SHA256_BYTES];
    uint8_t info[64];
    struct vms_writer w = vms_writer((struct vms_room){info, sizeof info});
    vms_write_bytes(&w, vms_str("hello"));
    vms_write_u8(&w, (uint8_t)direction);
    vms_write_bytes(&w, vms_slice(random, VMS_SEAL_RANDOM_BYTES));
    bool ok = vms_hkdf_extract(crypto, vms_str("vmstream-1 hello"), secret, prk) &&
              expand(crypto, prk, &w, out);
    vms_wipe(prk, sizeof prk);
    return ok;
}

/* [SEAL-13] */
enum vms_code vms_seal_master(const struct vms_crypto_ops *crypto, struct vms_slice secret,
                              const struct vms_seal_salt *salt, uint8_t master[VMS_MASTER_BYTES],
                              struct vms_error *err) {
    uint8_t bytes[2 * VMS_SEAL_RANDOM_BYTES + VMS_SHA256_BYTES];
    struct vms_writer w = vms_writer((struct vms_room){bytes, sizeof bytes});
    if (secret.len < VMS_SECRET_MIN)
        return vms_error_set(err, VMS_E_MISUSE, "a secret of %zu bytes", secret.len);
    vms_write_bytes(&w, vms_slice(salt->source_random, VMS_SEAL_RANDOM_BYTES));
    vms_write_bytes(&w, vms_slice(salt->destination_random, VMS_SEAL_RANDOM_BYTES));
    vms_write_bytes(&w, vms_slice(salt->hello_hash, VMS_SHA256_BYTES));
    if (!vms_hkdf_extract(crypto, written(&w), secret, master))
        return vms_error_set(err, VMS_E_SEAL_CRYPTO, "HMAC");
    return VMS_OK;
}

bool vms_seal_frame_key(const struct vms_crypto_ops *crypto, const uint8_t master[VMS_MASTER_BYTES],
                        enum vms_direction direction, uint16_t channel, uint32_t epoch,
                        struct vms_key_iv *out) {
    uint8_t info[16];
    struct vms_writer w = vms_writer((struct vms_room){info, sizeof info});
    vms_write_bytes(&w, vms_str("key"));
    vms_write_u8(&w, (uint8_t)direction);
    vms_write_u16(&w, channel);
    vms_write_u32(&w, epoch);
    return expand(crypto, master, &w, out);
}
