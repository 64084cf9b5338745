/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_IPSECMB_H
#define VMSTREAM_IPSECMB_H

#include <vmstream/crypto.h>

/**
 * AES-256-GCM and GMAC by Intel's multi-buffer crypto library, for processors that cipher 64 bytes
 * at a time (VAES and AVX-512), on top of another back end for all else: archive
 * libvmstream-ipsecmb.a, to be linked with -lIPSec_MB -lcrypto. What it seals is octet for octet
 * what any back end seals (SEAL-29). It may be built without the library (nothing but -lcrypto
 * then), and makes no back end.
 */
struct vms_ipsecmb;

/**
 * base: does the hashes, the randoms and ChaCha20-Poly1305; it outlives the result. NULL: not here,
 * and *why tells (static text): built without the library, processor without the instructions, no
 * memory, or a library whose self-test fails.
 */
struct vms_ipsecmb *vms_ipsecmb_new(const struct vms_crypto_ops *base, const char **why);
/** NULL is allowed. */
void vms_ipsecmb_free(struct vms_ipsecmb *ipsecmb);
/** Owned by ipsecmb. */
const struct vms_crypto_ops *vms_ipsecmb_ops(const struct vms_ipsecmb *ipsecmb);
/** The library's version, such as "1.3.0"; NULL when built without it. Static text. */
const char *vms_ipsecmb_version(void);

#endif
