/* SPDX-License-Identifier: MIT */
#include "host/tls_impl.h"

#include <stdio.h>
#include <string.h>

/* An external key is bound to a hash, SHA-256 unless agreed otherwise (RFC 8446 §4.2.11), and
 * GnuTLS agrees nothing else. A SHA-384 suite would silently drop the key, so none is offered. */
#define PSK_SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define PSK_SUITES_12                                                                              \
    "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:DHE-PSK-AES128-GCM-SHA256:"             \
    "DHE-PSK-CHACHA20-POLY1305"

static struct vms_tls_creds *creds_of(SSL *ssl) {
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* A session that holds nothing but the key: what OpenSSL takes for an external key. */
static SSL_SESSION *key_session(SSL *ssl, struct vms_slice key) {
    static const unsigned char aes_128_gcm_sha256[2] = {0x13, 0x01};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *session = SSL_SESSION_new();
    if (session && cipher && SSL_SESSION_set1_master_key(session, key.ptr, key.len) &&
        SSL_SESSION_set_cipher(session, cipher) &&
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

static bool server_key(SSL *ssl, struct vms_slice identity, struct vms_slice *key) {
    struct vms_tls_note *note = SSL_get_app_data(ssl);
    (void)snprintf(note->identity, sizeof note->identity, "%.*s", (int)identity.len,
                   (const char *)identity.ptr);
    note->unknown_identity = !vms_psk_find(creds_of(ssl)->psk, identity, key);
    return !note->unknown_identity;
}

static int find_session(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **session) {
    struct vms_slice key;
    *session = NULL;
    if (id_len > VMS_PSK_IDENTITY_MAX || !server_key(ssl, vms_slice(id, id_len), &key))
        return 1; /* "no such key": the client may have offered another */
    *session = key_session(ssl, key);
    return *session != NULL;
}

static unsigned int server_key_12(SSL *ssl, const char *id, unsigned char *psk, unsigned int max) {
    struct vms_slice key;
    if (!server_key(ssl, vms_str(id), &key) || key.len > max)
        return 0;
    memcpy(psk, key.ptr, key.len);
    return (unsigned int)key.len;
}

static bool client_key(SSL *ssl, struct vms_slice *key) {
    const struct vms_tls_creds *creds = creds_of(ssl);
    return vms_psk_find(creds->psk, vms_str(creds->identity), key);
}

static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
                       SSL_SESSION **session) {
    const struct vms_tls_creds *creds = creds_of(ssl);
    struct vms_slice key;
    *session = NULL;
    if ((md && !EVP_MD_is_a(md, "SHA256")) || !client_key(ssl, &key))
        return 1;
    *id = (const unsigned char *)creds->identity;
    *id_len = strlen(creds->identity);
    *session = key_session(ssl, key);
    return *session != NULL;
}

static unsigned int client_key_12(SSL *ssl, const char *hint, char *id, unsigned int id_max,
                                  unsigned char *psk, unsigned int psk_max) {
    const struct vms_tls_creds *creds = creds_of(ssl);
    struct vms_slice key;
    (void)hint;
    if (!client_key(ssl, &key) || key.len > psk_max || strlen(creds->identity) >= id_max)
        return 0;
    memcpy(id, creds->identity, strlen(creds->identity) + 1);
    memcpy(psk, key.ptr, key.len);
    return (unsigned int)key.len;
}

static void set_callbacks(struct vms_tls_creds *creds) {
    if (creds->role == VMS_TLS_SERVER) {
        SSL_CTX_set_psk_find_session_callback(creds->ctx, find_session);
        SSL_CTX_set_psk_server_callback(creds->ctx, server_key_12);
    } else {
        SSL_CTX_set_psk_use_session_callback(creds->ctx, use_session);
        SSL_CTX_set_psk_client_callback(creds->ctx, client_key_12);
    }
}

enum vms_code vms_tls_use_psk(struct vms_tls_creds *creds, struct vms_error *err) {
    char reason[128];
    struct vms_slice key;
    if (creds->role == VMS_TLS_CLIENT && !vms_psk_find(creds->psk, vms_str(creds->identity), &key))
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s has no identity '%.60s'",
                             vms_psk_path(creds->psk), creds->identity);
    if (!SSL_CTX_set_ciphersuites(creds->ctx, PSK_SUITES_13) ||
        !SSL_CTX_set_cipher_list(creds->ctx, PSK_SUITES_12))
        return vms_error_set(err, VMS_E_TLS, "%s",
                             vms_tls_reason(VMS_TLS_FIRST, reason, sizeof reason));
    /* With no authority to trust, a server that ignores the key and shows a certificate fails. */
    if (creds->role == VMS_TLS_CLIENT)
        SSL_CTX_set_verify(creds->ctx, SSL_VERIFY_PEER, NULL);
    set_callbacks(creds);
    return VMS_OK;
}

bool vms_tls_session_is_psk(SSL *ssl) {
    /* Nothing is ever resumed, so a resumed TLS 1.3 session is one by external key. */
    if (SSL_version(ssl) >= TLS1_3_VERSION)
        return SSL_session_reused(ssl);
    return SSL_CIPHER_get_auth_nid(SSL_get_current_cipher(ssl)) == NID_auth_psk;
}
