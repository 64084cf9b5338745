/* SPDX-License-Identifier: MIT */
#include "host/tls.h"
#include "host/tls_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD_MAX 16384u

struct vms_tls {
    pthread_mutex_t lock;
    struct vms_tls_note note;
    SSL *ssl;
    const struct vms_tls_creds *creds;
    const char *name;
    int fd;
    int sys_errno;   /* of the last failed recv or send, 0: none */
    bool socket_end; /* recv gave 0 */
    bool established;
    uint64_t rekey_bytes;
    uint64_t since_rekey;
    uint8_t gather[RECORD_MAX];
};

/* --- the socket under the session --- */

/* OpenSSL's own socket BIO would raise SIGPIPE and needs O_NONBLOCK on a description that others
 * may share. The end of the socket is shown to OpenSSL as "nothing yet": it would otherwise fail
 * the whole session, the direction that still works included. */
static int bio_read(BIO *bio, char *buf, size_t len, size_t *n) {
    struct vms_tls *tls = BIO_get_data(bio);
    ssize_t got = recv(tls->fd, buf, len, MSG_DONTWAIT);
    BIO_clear_retry_flags(bio);
    *n = got > 0 ? (size_t)got : 0;
    if (got > 0)
        return 1;
    tls->socket_end = tls->socket_end || got == 0;
    if (got == 0 || errno == EAGAIN || errno == EINTR)
        BIO_set_retry_read(bio);
    else
        tls->sys_errno = errno;
    return 0;
}

static int bio_write(BIO *bio, const char *buf, size_t len, size_t *n) {
    struct vms_tls *tls = BIO_get_data(bio);
    ssize_t put = send(tls->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    *n = put > 0 ? (size_t)put : 0;
    if (put >= 0)
        return 1;
    if (errno == EAGAIN || errno == EINTR)
        BIO_set_retry_write(bio);
    else
        tls->sys_errno = errno;
    return 0;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr) {
    (void)bio, (void)number, (void)ptr;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *vms_tls_bio_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "vmstream socket");
    if (method && BIO_meth_set_read_ex(method, bio_read) &&
        BIO_meth_set_write_ex(method, bio_write) && BIO_meth_set_ctrl(method, bio_ctrl))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* --- making a session --- */

enum vms_code vms_tls_check_role(const struct vms_tls_creds *creds, const struct vms_uri *uri,
                                 enum vms_tls_role role, struct vms_error *err) {
    if (!uri->tls || (creds && creds->role == role))
        return VMS_OK;
    return vms_error_set(err, VMS_E_MISUSE, "%.80s: TLS needs %s credentials", uri->text,
                         role == VMS_TLS_SERVER ? "a server's" : "a client's");
}

static bool set_host(SSL *ssl, const char *host) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, host))
        return true;
    ERR_clear_error(); /* it is not an address */
    return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, host);
}

static enum vms_code set_peer_name(struct vms_tls *tls, const char *host, struct vms_error *err) {
    const struct vms_tls_creds *creds = tls->creds;
    if (creds->role == VMS_TLS_SERVER || creds->psk)
        return VMS_OK;
    if (creds->host_name[0])
        host = creds->host_name;
    if (host && *host)
        return set_host(tls->ssl, host)
                   ? VMS_OK
                   : vms_error_set(err, VMS_E_TLS, "%.60s: bad host name '%.60s'", tls->name, host);
    if (creds->verify)
        return vms_error_set(err, VMS_E_TLS, "%.60s: no host name to find in the certificate",
                             tls->name);
    return VMS_OK;
}

static bool make_ssl(struct vms_tls *tls) {
    BIO *bio = BIO_new(tls->creds->bio);
    tls->ssl = SSL_new(tls->creds->ctx);
    if (!tls->ssl || !bio) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, &tls->note);
    if (tls->creds->role == VMS_TLS_SERVER)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return true;
}

enum vms_code vms_tls_new(const struct vms_tls_creds *creds, int fd, const char *host,
                          const char *name, uint64_t rekey_bytes, struct vms_tls **out,
                          struct vms_error *err) {
    struct vms_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return vms_error_set(err, VMS_E_NO_MEMORY, "%.80s", name);
    (void)pthread_mutex_init(&tls->lock, NULL);
    tls->creds = creds;
    tls->fd = fd;
    tls->name = name;
    tls->rekey_bytes = rekey_bytes;
    enum vms_code code = make_ssl(tls) ? set_peer_name(tls, host, err)
                                       : vms_error_set(err, VMS_E_NO_MEMORY, "%.80s", name);
    if (code != VMS_OK) {
        vms_tls_free(tls);
        return code;
    }
    *out = tls;
    return VMS_OK;
}

void vms_tls_free(struct vms_tls *tls) {
    if (!tls)
        return;
    SSL_free(tls->ssl);
    (void)pthread_mutex_destroy(&tls->lock);
    free(tls);
}

/* --- results --- */

static void say_tls_error(struct vms_tls *tls, const char *what, struct vms_error *err) {
    char reason[80];
    long verify = SSL_get_verify_result(tls->ssl);
    bool certificate = !tls->creds->psk && tls->creds->verify && verify != X509_V_OK;
    (void)vms_tls_reason(VMS_TLS_LAST, reason, sizeof reason);
    if (tls->note.unknown_identity)
        (void)vms_error_set(err, VMS_E_TLS, "%.50s: %s: unknown PSK identity '%.30s' (%s)",
                            tls->name, what, tls->note.identity, reason);
    else
        (void)vms_error_set(err, VMS_E_TLS, "%.50s: %s: %s%s%.60s", tls->name, what, reason,
                            certificate ? ": " : "",
                            certificate ? X509_verify_cert_error_string(verify) : "");
}

/* TLS 1.3 lets a client finish before the server has refused it; the refusal then waits unread
 * behind a write that failed. */
static void fetch_alert(struct vms_tls *tls, struct vms_error *err) {
    char byte;
    size_t n;
    ERR_clear_error();
    if (!SSL_peek_ex(tls->ssl, &byte, 1, &n) && ERR_peek_error() != 0)
        say_tls_error(tls, "the peer refused", err);
}

static enum vms_io failure(struct vms_tls *tls, int ssl_error, const char *what,
                           struct vms_error *err) {
    if (ssl_error == SSL_ERROR_SYSCALL || ERR_peek_error() == 0) {
        int errnum = tls->sys_errno ? tls->sys_errno : EPROTO;
        (void)vms_io_error(err, tls->name, what, errnum);
        if (errnum == EPIPE || errnum == ECONNRESET)
            fetch_alert(tls, err);
    } else {
        say_tls_error(tls, what, err);
    }
    ERR_clear_error();
    return VMS_IO_FAILED;
}

/* True when the socket ended inside a record: bytes were lost. */
static bool cut_in_record(SSL *ssl) {
    return SSL_has_pending(ssl) || strcmp(SSL_rstate_string(ssl), "RB") == 0;
}

static enum vms_io socket_ended(struct vms_tls *tls, const char *what, struct vms_error *err) {
    if (tls->established && !cut_in_record(tls->ssl))
        return VMS_IO_END;
    (void)vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: %s: the socket ended inside a TLS %s",
                        tls->name, what, tls->established ? "record" : "handshake");
    return VMS_IO_FAILED;
}

/* What a call that did not return 1 means. Called with the lock held. */
static enum vms_io outcome(struct vms_tls *tls, int result, const char *what,
                           struct vms_error *err) {
    int ssl_error = SSL_get_error(tls->ssl, result);
    switch (ssl_error) {
    case SSL_ERROR_WANT_WRITE: return VMS_IO_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN: return VMS_IO_END;
    case SSL_ERROR_WANT_READ:
        return tls->socket_end ? socket_ended(tls, what, err) : VMS_IO_WANT_READ;
    default: return failure(tls, ssl_error, what, err);
    }
}

static void enter(struct vms_tls *tls) {
    (void)pthread_mutex_lock(&tls->lock);
    ERR_clear_error(); /* the queue is this thread's; SSL_get_error() looks at it */
    tls->sys_errno = 0;
}

static void leave(struct vms_tls *tls) {
    (void)pthread_mutex_unlock(&tls->lock);
}

/* --- the calls --- */

enum vms_io vms_tls_handshake(struct vms_tls *tls, struct vms_error *err) {
    enum vms_io io = VMS_IO_OK;
    enter(tls);
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1) {
        io = outcome(tls, result, "TLS handshake", err);
    } else if (tls->creds->psk && !vms_tls_session_is_psk(tls->ssl)) {
        (void)vms_error_set(err, VMS_E_TLS, "%.80s: the peer did not use the pre-shared key",
                            tls->name);
        io = VMS_IO_FAILED;
    }
    tls->established = io == VMS_IO_OK;
    leave(tls);
    return io;
}

enum vms_io vms_tls_read(struct vms_tls *tls, struct vms_room room, size_t *n,
                         struct vms_error *err) {
    enum vms_io io = VMS_IO_OK;
    enter(tls);
    int result = SSL_read_ex(tls->ssl, room.ptr, room.len, n);
    if (result != 1)
        io = outcome(tls, result, "TLS read", err);
    leave(tls);
    return io;
}

/* Small pieces go into one record together: a header and its page, not a record each. */
static struct vms_slice next_chunk(struct vms_tls *tls, const struct iovec *iov, int count) {
    size_t len = 0;
    if (count == 1 || iov[0].iov_len >= RECORD_MAX)
        return vms_slice(iov[0].iov_base, iov[0].iov_len);
    for (int i = 0; i < count && len < RECORD_MAX; i++) {
        size_t room = RECORD_MAX - len;
        size_t n = iov[i].iov_len < room ? iov[i].iov_len : room;
        if (n)
            memcpy(tls->gather + len, iov[i].iov_base, n);
        len += n;
    }
    return vms_slice(tls->gather, len);
}

/* An AES-GCM key must not seal more than 2^24.5 records (RFC 8446 §5.5). The update goes out with
 * the next record; while a record is half sent OpenSSL refuses, and the next write asks again. */
static void rekey_when_due(struct vms_tls *tls) {
    if (tls->since_rekey < tls->rekey_bytes || SSL_version(tls->ssl) < TLS1_3_VERSION)
        return;
    if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
        tls->since_rekey = 0;
    ERR_clear_error();
}

enum vms_io vms_tls_writev(struct vms_tls *tls, const struct iovec *iov, int count, size_t *n,
                           struct vms_error *err) {
    enum vms_io io = VMS_IO_OK;
    enter(tls);
    struct vms_slice chunk = next_chunk(tls, iov, count);
    rekey_when_due(tls);
    int result = SSL_write_ex(tls->ssl, chunk.ptr, chunk.len, n);
    if (result == 1)
        tls->since_rekey += *n;
    else
        io = outcome(tls, result, "TLS write", err);
    leave(tls);
    return io;
}

enum vms_io vms_tls_end(struct vms_tls *tls, struct vms_error *err) {
    enum vms_io io = VMS_IO_OK;
    enter(tls);
    int result = SSL_shutdown(tls->ssl); /* 0: sent, the peer's is not here yet */
    if (result < 0)
        io = outcome(tls, result, "TLS shutdown", err);
    leave(tls);
    return io;
}

bool vms_tls_peer_said_goodbye(struct vms_tls *tls) {
    enter(tls);
    bool said = (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    leave(tls);
    return said;
}

void vms_tls_peer(struct vms_tls *tls, char *text, size_t size) {
    (void)snprintf(text, size, "%s", tls->note.identity);
    const X509 *cert = SSL_get0_peer_certificate(tls->ssl);
    BIO *out = cert ? BIO_new(BIO_s_mem()) : NULL;
    if (!out)
        return;
    if (X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        int n = BIO_read(out, text, (int)size - 1);
        text[n > 0 ? n : 0] = '\0';
    }
    BIO_free(out);
}

enum vms_code vms_tls_export(struct vms_tls *tls, const char *label, struct vms_slice context,
                             struct vms_room out, struct vms_error *err) {
    enter(tls);
    int ok = SSL_export_keying_material(tls->ssl, out.ptr, out.len, label, strlen(label),
                                        context.ptr, context.len, 1);
    leave(tls);
    return ok == 1 ? VMS_OK : vms_error_set(err, VMS_E_TLS, "%.80s: no keying material", tls->name);
}
