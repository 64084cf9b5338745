/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

bool vms_hkdf_extract(const struct vms_crypto_ops *crypto, struct vms_slice salt,
                      struct vms_slice ikm, uint8_t prk[VMS_SHA256_BYTES]) {
    return crypto->hmac(crypto->ctx, salt, &ikm, 1, prk);
}

/* T(n) = HMAC(prk, T(n - 1) | info | n), of which out is the concatenation. */
bool vms_hkdf_expand(const struct vms_crypto_ops *crypto, const uint8_t prk[VMS_SHA256_BYTES],
                     struct vms_slice info, struct vms_room out) {
    uint8_t t[VMS_SHA256_BYTES];
    struct vms_slice last = {t, 0};
    bool ok = true;
    uint8_t n = 1;
    for (size_t done = 0; ok && done < out.len; n++) {
        struct vms_slice pieces[] = {last, info, {&n, 1}};
        ok = crypto->hmac(crypto->ctx, vms_slice(prk, VMS_SHA256_BYTES), pieces, 3, t);
        last.len = sizeof t;
        size_t take = out.len - done < sizeof t ? out.len - done : sizeof t;
        if (ok)
            memcpy(out.ptr + done, t, take);
        done += take;
    }
    vms_wipe(t, sizeof t);
    return ok;
}
