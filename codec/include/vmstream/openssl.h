/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_OPENSSL_H
#define VMSTREAM_OPENSSL_H

#include <vmstream/crypto.h>

/** The back end of vmstream/crypto.h that OpenSSL 3 provides: archive libvmstream-openssl.a, to be
 * linked with -lcrypto. It uses the default library context, so the system's policy applies. */
struct vms_openssl;

/** Fetches the algorithms, once. NULL when there is no memory or no SHA-256, HMAC or AES-256-GCM.
 */
struct vms_openssl *vms_openssl_new(void);
/** NULL is allowed. */
void vms_openssl_free(struct vms_openssl *openssl);
/** Owned by openssl. */
const struct vms_crypto_ops *vms_openssl_ops(const struct vms_openssl *openssl);

#endif
