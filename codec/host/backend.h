/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_BACKEND_H
#define VMSTREAM_HOST_BACKEND_H

#include <vmstream/crypto.h>
#include <vmstream/error.h>

/**
 * The cryptography of a program: OpenSSL, and over it Intel's multi-buffer library for AES-256-GCM
 * and GMAC where that is faster. What goes over the wire is the same (SEAL-29).
 */
struct vms_backend;

/** The environment's variable that takes the choice away: "openssl" or "ipsec-mb". */
#define VMS_BACKEND_VARIABLE "VMSTREAM_CRYPTO"

/**
 * name: "openssl" or "ipsec-mb"; NULL: what VMS_BACKEND_VARIABLE says, or else the faster one that
 * is here. Whoever asks for the same gets the same: a program that holds one from its start spares
 * its first session what the libraries take to begin. From any thread. NULL: VMS_E_NO_MEMORY, or
 * VMS_E_SEAL_CRYPTO when what was asked for is not here, with why.
 */
struct vms_backend *vms_backend_new(const char *name, struct vms_error *err);
/** Once for each vms_backend_new(); NULL is allowed. */
void vms_backend_free(struct vms_backend *backend);
/** Owned by backend. */
const struct vms_crypto_ops *vms_backend_ops(const struct vms_backend *backend);
/** What it is, with versions, such as "OpenSSL 3.0.19, AES-256-GCM by intel-ipsec-mb 1.3.0".
 * Owned by backend. */
const char *vms_backend_text(const struct vms_backend *backend);

/**
 * Whether intel-ipsec-mb, which works here, is what to take: OpenSSL 3.1 and later have code for
 * the same instructions, and where FIPS is on nothing but OpenSSL's provider will do. openssl: its
 * version number, as OPENSSL_VERSION_NUMBER.
 */
bool vms_backend_wants_ipsecmb(unsigned long openssl, bool fips);

#endif
