/* SPDX-License-Identifier: MIT */
#include <vmstream/ipsecmb.h>
#include <vmstream/openssl.h>

/* Few processors have what it needs; where it is not, it says why. */
int main(void) {
    const char *why = NULL;
    struct vms_openssl *openssl = vms_openssl_new();
    if (!openssl)
        return 1;
    struct vms_ipsecmb *ipsecmb = vms_ipsecmb_new(vms_openssl_ops(openssl), &why);
    bool good = !!why;
    if (ipsecmb) {
        const struct vms_crypto_ops *ops = vms_ipsecmb_ops(ipsecmb);
        good = ops->has_aead(ops->ctx, VMS_AEAD_AES_256_GCM);
    }
    vms_ipsecmb_free(ipsecmb);
    vms_openssl_free(openssl);
    return !good;
}
