/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/openssl.h>

/* FIPS 180-4's first example. */
int main(void) {
    static const uint8_t expected[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    struct vms_openssl *openssl = vms_openssl_new();
    if (!openssl)
        return 1;
    const struct vms_crypto_ops *ops = vms_openssl_ops(openssl);
    struct vms_sha256 *hash = ops->sha256_new(ops->ctx);
    uint8_t value[VMS_SHA256_BYTES];
    bool good = hash && ops->sha256_update(hash, vms_str("abc")) &&
                ops->sha256_value(hash, value) && memcmp(value, expected, sizeof expected) == 0;
    ops->sha256_free(hash);
    vms_openssl_free(openssl);
    return !good;
}
