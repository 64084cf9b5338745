/* SPDX-License-Identifier: MIT */
#include "host/tls_creds.h"
#include "host/tls_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define X509_SUITES_12 "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK:!SRP"

const char *vms_tls_reason(enum vms_tls_which which, char *text, size_t size) {
    unsigned long code = which == VMS_TLS_FIRST ? ERR_peek_error() : ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (reason)
        (void)snprintf(text, size, "%s", reason);
    else if (ERR_SYSTEM_ERROR(code))
        (void)snprintf(text, size, "%s", strerror(ERR_GET_REASON(code)));
    else
        (void)snprintf(text, size, "OpenSSL error %#lx", code);
    ERR_clear_error();
    return text;
}

/* A file of the credentials' directory. */
struct cred_file {
    const char *name;
    char path[4096];
};

static enum vms_code name_file(const char *dir, const char *name, struct cred_file *file,
                               struct vms_error *err) {
    file->name = name;
    int len = snprintf(file->path, sizeof file->path, "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof file->path)
        return vms_error_set(err, VMS_E_CONNECT, "TLS credentials %.60s...: the path is too long",
                             dir);
    return VMS_OK;
}

static bool exists(const struct cred_file *file) {
    return access(file->path, F_OK) == 0 || errno != ENOENT;
}

static enum vms_code bad_file(struct vms_error *err, const struct cred_file *file) {
    char reason[100];
    /* OpenSSL's first error for a missing file does not say which. */
    if (access(file->path, R_OK) != 0) {
        int saved = errno;
        ERR_clear_error();
        return vms_error_set(err, VMS_E_CONNECT, "TLS credentials %.80s: %s", file->path,
                             strerror(saved));
    }
    return vms_error_set(err, VMS_E_TLS, "%.80s: %s", file->path,
                         vms_tls_reason(VMS_TLS_FIRST, reason, sizeof reason));
}

static enum vms_code load_authority(struct vms_tls_creds *creds, const char *dir,
                                    struct vms_error *err) {
    struct cred_file file;
    enum vms_code code = name_file(dir, "ca-cert.pem", &file, err);
    if (code != VMS_OK)
        return code;
    if (!SSL_CTX_load_verify_file(creds->ctx, file.path))
        return bad_file(err, &file);
    if (creds->role == VMS_TLS_SERVER) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file.path);
        if (!names)
            return bad_file(err, &file);
        SSL_CTX_set_client_CA_list(creds->ctx, names);
    }
    return VMS_OK;
}

static enum vms_code load_revocations(struct vms_tls_creds *creds, const char *dir,
                                      struct vms_error *err) {
    struct cred_file file;
    enum vms_code code = name_file(dir, "ca-crl.pem", &file, err);
    if (code != VMS_OK || !exists(&file))
        return code;
    X509_STORE *store = SSL_CTX_get_cert_store(creds->ctx);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!lookup || X509_load_crl_file(lookup, file.path, X509_FILETYPE_PEM) <= 0)
        return bad_file(err, &file);
    (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return VMS_OK;
}

static enum vms_code load_identity(struct vms_tls_creds *creds, const char *dir,
                                   struct vms_error *err) {
    bool server = creds->role == VMS_TLS_SERVER;
    struct cred_file cert;
    struct cred_file key;
    enum vms_code code = name_file(dir, server ? "server-cert.pem" : "client-cert.pem", &cert, err);
    if (code == VMS_OK)
        code = name_file(dir, server ? "server-key.pem" : "client-key.pem", &key, err);
    if (code != VMS_OK || (!server && !exists(&cert) && !exists(&key)))
        return code;
    if (!SSL_CTX_use_certificate_chain_file(creds->ctx, cert.path))
        return bad_file(err, &cert);
    if (!SSL_CTX_use_PrivateKey_file(creds->ctx, key.path, SSL_FILETYPE_PEM))
        return bad_file(err, &key);
    return VMS_OK;
}

static enum vms_code use_x509(struct vms_tls_creds *creds, const char *dir, struct vms_error *err) {
    char reason[100];
    int mode = creds->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
    if (creds->verify && creds->role == VMS_TLS_SERVER)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(creds->ctx, mode, NULL);
    if (!SSL_CTX_set_cipher_list(creds->ctx, X509_SUITES_12))
        return vms_error_set(err, VMS_E_TLS, "%s",
                             vms_tls_reason(VMS_TLS_FIRST, reason, sizeof reason));
    enum vms_code code = load_authority(creds, dir, err);
    if (code == VMS_OK)
        code = load_revocations(creds, dir, err);
    return code == VMS_OK ? load_identity(creds, dir, err) : code;
}

/* The passphrase callback of OpenSSL's default would ask on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *user) {
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

static void set_options(SSL_CTX *ctx) {
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    /* No tickets: a source that never reads would close with them unread, and TCP then resets. */
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_dh_auto(ctx, 1);
    (void)SSL_CTX_set_mode(ctx,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Several records with one recv(). */
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, 65536);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
}

static bool copy_name(char *to, size_t size, const char *from) {
    int len = snprintf(to, size, "%s", from ? from : "");
    return len >= 0 && (size_t)len < size;
}

static enum vms_code set_up(struct vms_tls_creds *creds, const struct vms_tls_config *config,
                            struct vms_error *err) {
    const char *identity = config->identity ? config->identity : "qemu";
    if (!config->dir == !config->psk)
        return vms_error_set(err, VMS_E_MISUSE, "TLS needs a directory or a PSK file, one of them");
    if (!copy_name(creds->identity, sizeof creds->identity, identity) ||
        !copy_name(creds->host_name, sizeof creds->host_name, config->host_name))
        return vms_error_set(err, VMS_E_CONNECT, "TLS: the identity or host name is too long");
    creds->ctx =
        SSL_CTX_new(creds->role == VMS_TLS_SERVER ? TLS_server_method() : TLS_client_method());
    creds->bio = vms_tls_bio_method();
    if (!creds->ctx || !creds->bio)
        return vms_error_set(err, VMS_E_NO_MEMORY, "TLS credentials");
    SSL_CTX_set_app_data(creds->ctx, creds);
    set_options(creds->ctx);
    if (config->dir)
        return use_x509(creds, config->dir, err);
    enum vms_code code = vms_psk_load(config->psk, &creds->psk, err);
    return code == VMS_OK ? vms_tls_use_psk(creds, err) : code;
}

enum vms_code vms_tls_creds_load(const struct vms_tls_config *config, enum vms_tls_role role,
                                 struct vms_tls_creds **out, struct vms_error *err) {
    struct vms_tls_creds *creds = calloc(1, sizeof *creds);
    if (!creds)
        return vms_error_set(err, VMS_E_NO_MEMORY, "TLS credentials");
    creds->role = role;
    creds->verify = !config->no_verify_peer;
    ERR_clear_error();
    enum vms_code code = set_up(creds, config, err);
    if (code != VMS_OK) {
        vms_tls_creds_free(creds);
        return code;
    }
    *out = creds;
    return VMS_OK;
}

void vms_tls_creds_free(struct vms_tls_creds *creds) {
    if (!creds)
        return;
    SSL_CTX_free(creds->ctx);
    BIO_meth_free(creds->bio);
    vms_psk_free(creds->psk);
    free(creds);
}
