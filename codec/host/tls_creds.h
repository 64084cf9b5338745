/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TLS_CREDS_H
#define VMSTREAM_HOST_TLS_CREDS_H

#include <stdbool.h>
#include <vmstream/error.h>

/**
 * TLS credentials with QEMU's file names, so that one directory serves both programs:
 *   x509  ca-cert.pem, ca-crl.pem (if it is there), server-cert.pem and server-key.pem (server),
 *         client-cert.pem and client-key.pem (client, if they are there)
 *   PSK   keys.psk, see host/psk.h
 * TLS 1.2 and later, AEAD suites with forward secrecy only, no resumption, no renegotiation.
 */
struct vms_tls_creds;

enum vms_tls_role {
    VMS_TLS_CLIENT, /* connects */
    VMS_TLS_SERVER, /* listens */
};

/** Exactly one of dir and psk is set. Strings are copied. */
struct vms_tls_config {
    const char *dir;      /* --tls-creds DIR */
    const char *psk;      /* --psk FILE; a directory means its keys.psk */
    const char *identity; /* PSK, client: who we are; NULL is QEMU's default, "qemu" */
    const char
        *host_name; /* x509, client: the name to find in the certificate instead of the URI's */
    bool no_verify_peer; /* x509: take any certificate, or none */
};

/**
 * Loads credentials. VMS_E_CONNECT or VMS_E_TLS with the file and the reason, VMS_E_MISUSE for a
 * contradictory config. *out is the caller's and must outlive every channel made with it; threads
 * may share it. Keys that are encrypted are refused: nobody is asked for a passphrase.
 */
enum vms_code vms_tls_creds_load(const struct vms_tls_config *config, enum vms_tls_role role,
                                 struct vms_tls_creds **out, struct vms_error *err);
/** NULL is allowed. */
void vms_tls_creds_free(struct vms_tls_creds *creds);

#endif
