/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TLS_TEST_UTIL_H
#define VMSTREAM_HOST_TLS_TEST_UTIL_H

#include "host/tls_test_pki.h"

/* Of both ends: see struct vms_channel_options. */
static uint64_t rekey_bytes = UINT64_C(1) << 36;

/* Two credentials directories or PSK files and a connection between them. */
struct tls_ends {
    struct ends ends;
    struct vms_tls_creds *client;
    struct vms_tls_creds *server;
    enum vms_code server_code;
    struct vms_error server_error;
};

static inline void tls_meet_at(struct tls_ends *t, const struct vms_tls_config *client,
                               const struct vms_tls_config *server, const char *listen,
                               const char *connect_format) {
    char text[160];
    struct vms_uri uri = uri_of(listen);
    struct vms_channel_options options = patient();
    options.rekey_bytes = rekey_bytes;
    *t = (struct tls_ends){.client = load_creds(client, VMS_TLS_CLIENT),
                           .server = load_creds(server, VMS_TLS_SERVER)};
    t->ends.client_options = options;
    t->ends.client_options.tls = t->client;
    options.tls = t->server;
    listen_end(&t->ends, &uri, &options);
    if (connect_format) {
        (void)snprintf(text, sizeof text, connect_format, vms_listener_port(t->ends.listener));
        t->ends.uri = uri_of(text);
    }
    t->server_code = meet(&t->ends, &t->server_error);
}

static inline void tls_meet(struct tls_ends *t, const struct vms_tls_config *client,
                            const struct vms_tls_config *server) {
    tls_meet_at(t, client, server, "tls:127.0.0.1:0", NULL);
}

static inline void tls_open(struct tls_ends *t, const struct vms_tls_config *client,
                            const struct vms_tls_config *server) {
    tls_meet(t, client, server);
    cr_assert_eq(t->server_code, VMS_OK, "%s", t->server_error.message);
    cr_assert_eq(t->ends.client_code, VMS_OK, "%s", t->ends.client_error.message);
}

static inline void tls_close(struct tls_ends *t) {
    if (t->ends.client_code == VMS_OK)
        (void)vms_channel_close(t->ends.client, NULL);
    if (t->server_code == VMS_OK)
        (void)vms_channel_close(t->ends.server, NULL);
    vms_listener_close(t->ends.listener);
    vms_tls_creds_free(t->client);
    vms_tls_creds_free(t->server);
}

static inline void expect_refusal(const struct tls_ends *t, const char *server_part) {
    cr_assert_eq(t->server_code, VMS_E_TLS, "%s", t->server_error.message);
    cr_assert_not_null(strstr(t->server_error.message, server_part), "%s", t->server_error.message);
}

/* The client's failure: at once, or in TLS 1.3 with its first read. */
static inline void expect_client_failure(struct tls_ends *t, const char *part) {
    uint8_t byte;
    size_t n;
    if (t->ends.client_code == VMS_OK)
        (void)vms_channel_read(t->ends.client, (struct vms_room){&byte, 1}, &n,
                               &t->ends.client_error);
    cr_assert_eq(t->ends.client_error.code, VMS_E_TLS, "%s", t->ends.client_error.message);
    cr_assert_not_null(strstr(t->ends.client_error.message, part), "%s",
                       t->ends.client_error.message);
}

static inline struct vms_tls_config x509_config(void) {
    static char dir[128];
    pki_dir("creds", dir, sizeof dir);
    pki_full_dir(NULL, dir);
    return (struct vms_tls_config){.dir = dir};
}

static inline struct vms_tls_config psk_config(const char *name, const char *text) {
    static char paths[4][128];
    static int used;
    char *path = paths[used++];
    (void)in_test_dir(name, path, sizeof paths[0]);
    pki_write_text(test_dir, name, text);
    return (struct vms_tls_config){.psk = path};
}

static inline void talk(struct tls_ends *t) {
    send_text(t->ends.client, "QEVM from the client");
    expect_text(t->ends.server, "QEVM from the client");
    send_text(t->ends.server, "answer");
    expect_text(t->ends.client, "answer");
    cr_assert(vms_channel_is_tls(t->ends.client));
}

#endif
