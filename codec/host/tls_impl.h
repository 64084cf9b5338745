/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TLS_IMPL_H
#define VMSTREAM_HOST_TLS_IMPL_H

/* Shared by tls_creds.c, tls_psk.c and tls.c only. */

#include "host/psk.h"
#include "host/tls_creds.h"

#include <openssl/ssl.h>

struct vms_tls_creds {
    SSL_CTX *ctx;
    BIO_METHOD *bio; /* a socket that never raises SIGPIPE and never blocks: see tls.c */
    enum vms_tls_role role;
    bool verify;
    struct vms_psk_file *psk; /* NULL: x509 */
    char identity[VMS_PSK_IDENTITY_MAX + 1];
    char host_name[256];
};

/** Of the errors that one failure leaves: a file's cause comes first, a session's verdict last. */
enum vms_tls_which {
    VMS_TLS_FIRST,
    VMS_TLS_LAST,
};

/** The reason of an error on this thread's OpenSSL queue, which is emptied. Into text. */
const char *vms_tls_reason(enum vms_tls_which which, char *text, size_t size);

/** Sets up external pre-shared keys (RFC 8446 §4.2.11, and RFC 4279 for TLS 1.2). */
enum vms_code vms_tls_use_psk(struct vms_tls_creds *creds, struct vms_error *err);
/** True when the session was authenticated by a pre-shared key. */
bool vms_tls_session_is_psk(SSL *ssl);

BIO_METHOD *vms_tls_bio_method(void);

/** What the PSK callbacks note for a session, for messages and for vms_tls_peer(). */
struct vms_tls_note {
    bool unknown_identity;
    char identity[VMS_PSK_IDENTITY_MAX + 1]; /* what the client sent, cut to fit */
};

#endif
