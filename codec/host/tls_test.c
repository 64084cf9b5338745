/* SPDX-License-Identifier: MIT */
#include "host/tls_test_util.h"

/* --- who may talk --- */

/* [HOST-7] Each end knows whom it speaks to. */
Test(tls, x509_both_ways) {
    char name[100];
    struct tls_ends t;
    struct vms_tls_config config = x509_config();
    tls_open(&t, &config, &config);
    talk(&t);
    vms_channel_peer(t.ends.server, name, sizeof name);
    cr_assert_str_eq(name, "CN=the client");
    vms_channel_peer(t.ends.client, name, sizeof name);
    cr_assert_str_eq(name, "CN=the server");
    tls_close(&t);
}

Test(tls, psk_both_ways) {
    char name[100];
    struct tls_ends t;
    struct vms_tls_config config =
        psk_config("keys.psk", "other:ffffffffffffffffffffffffffffffff\n" PSK_LINE);
    tls_open(&t, &config, &config);
    talk(&t);
    vms_channel_peer(t.ends.server, name, sizeof name);
    cr_assert_str_eq(name, "qemu");
    tls_close(&t);
    config.identity = "other";
    tls_open(&t, &config, &config);
    vms_channel_peer(t.ends.server, name, sizeof name);
    cr_assert_str_eq(name, "other");
    tls_close(&t);
}

Test(tls, over_unix) {
    char path[128];
    char uri[160];
    struct tls_ends t;
    struct vms_tls_config server = x509_config();
    struct vms_tls_config client = server;
    (void)snprintf(uri, sizeof uri, "tls:unix:%s", in_test_dir("socket", path, sizeof path));
    client.host_name = "localhost";
    tls_meet_at(&t, &client, &server, uri, NULL);
    cr_assert_eq(t.ends.client_code, VMS_OK, "%s", t.ends.client_error.message);
    talk(&t);
    tls_close(&t);
    client.host_name = NULL;
    tls_meet_at(&t, &client, &server, uri, NULL);
    expect_client_failure(&t, "no host name");
    tls_close(&t);
}

Test(tls, wrong_authority) {
    char dir[128];
    struct tls_ends t;
    struct vms_tls_config server = x509_config();
    struct vms_tls_config client = {.dir = pki_dir("others", dir, sizeof dir)};
    pki_full_dir(NULL, dir);
    tls_meet(&t, &client, &server);
    expect_client_failure(&t, "certificate verify failed");
    expect_refusal(&t, "alert");
    tls_close(&t);
    client.no_verify_peer = true; /* then it is the server that refuses */
    tls_meet(&t, &client, &server);
    expect_refusal(&t, "certificate verify failed");
    expect_client_failure(&t, "alert");
    tls_close(&t);
    server.no_verify_peer = true;
    tls_open(&t, &client, &server);
    talk(&t);
    tls_close(&t);
}

static struct vms_tls_config without_client_cert(const struct vms_tls_config *full) {
    static char dir[128];
    char command[400];
    (void)pki_dir("anonymous", dir, sizeof dir);
    (void)snprintf(command, sizeof command, "cp %s/ca-cert.pem %s/", full->dir, dir);
    cr_assert_eq(system(command), 0);
    return (struct vms_tls_config){.dir = dir};
}

/* [HOST-7] */
Test(tls, missing_client_certificate) {
    struct tls_ends t;
    struct vms_tls_config server = x509_config();
    struct vms_tls_config client = without_client_cert(&server);
    tls_meet(&t, &client, &server);
    expect_refusal(&t, "did not return a certificate");
    expect_client_failure(&t, "alert certificate required");
    tls_close(&t);
    server.no_verify_peer = true;
    tls_open(&t, &client, &server);
    talk(&t);
    tls_close(&t);
}

/* The refusal comes after the client believes to be connected: one that only writes learns why. */
Test(tls, refusal_reaches_a_writer) {
    static uint8_t lots[4u << 20];
    struct tls_ends t;
    struct vms_error refusal = {0};
    struct vms_tls_config server = x509_config();
    struct vms_tls_config client = without_client_cert(&server);
    tls_meet(&t, &client, &server);
    cr_assert_eq(t.ends.client_code, VMS_OK, "%s", t.ends.client_error.message);
    while (refusal.code == VMS_OK)
        (void)vms_channel_write_all(t.ends.client, vms_slice(lots, sizeof lots), &refusal);
    cr_assert_eq(refusal.code, VMS_E_TLS, "%s", refusal.message);
    cr_assert_not_null(strstr(refusal.message, "alert certificate required"), "%s",
                       refusal.message);
    tls_close(&t);
}

/* [HOST-7] */
Test(tls, host_names) {
    struct tls_ends t;
    struct vms_tls_config server = x509_config();
    struct vms_tls_config client = server;
    tls_meet_at(&t, &client, &server, "tls:127.0.0.1:0", "tls:localhost:%u");
    cr_assert_eq(t.ends.client_code, VMS_OK, "%s", t.ends.client_error.message);
    tls_close(&t);
    client.host_name = "elsewhere.example";
    tls_meet(&t, &client, &server);
    expect_client_failure(&t, "hostname mismatch");
    tls_close(&t);
    client.host_name = "127.0.0.2";
    tls_meet(&t, &client, &server);
    expect_client_failure(&t, "IP address mismatch");
    tls_close(&t);
    client.host_name = "localhost";
    tls_open(&t, &client, &server);
    tls_close(&t);
}

Test(tls, expired_and_revoked) {
    char dir[128];
    struct tls_ends t;
    struct authority ca = pki_authority("a CA");
    struct vms_tls_config config = {.dir = pki_dir("creds", dir, sizeof dir)};
    pki_full_dir(&ca, dir);
    X509 *client = pki_issue(&ca, dir, "client", "a revoked client", 10);
    pki_revoke(&ca, dir, client);
    tls_meet(&t, &config, &config);
    expect_refusal(&t, "certificate revoked");
    tls_close(&t);
    X509_free(client);
    X509_free(pki_issue(&ca, dir, "client", "the client", 10));
    tls_open(&t, &config, &config);
    tls_close(&t);
    X509_free(pki_issue(&ca, dir, "server", "the server", -1));
    tls_meet(&t, &config, &config);
    expect_client_failure(&t, "certificate has expired");
    tls_close(&t);
    pki_free(&ca);
}

/* [HOST-8] */
Test(tls, wrong_psk) {
    struct tls_ends t;
    struct vms_tls_config server = psk_config("server.psk", PSK_LINE);
    struct vms_tls_config client = psk_config(
        "client.psk",
        "qemu:ffffffffffffffffffffffffffffffff\nstranger:01010101010101010101010101010101\n");
    tls_meet(&t, &client, &server);
    expect_refusal(&t, "binder does not verify");
    expect_client_failure(&t, "alert");
    tls_close(&t);
    client.identity = "stranger";
    tls_meet(&t, &client, &server);
    expect_refusal(&t, "unknown PSK identity 'stranger'");
    expect_client_failure(&t, "alert");
    tls_close(&t);
}

/* A server that shows a certificate instead of knowing the key must not be believed, nor the
 * reverse. */
Test(tls, psk_against_x509) {
    struct tls_ends t;
    struct vms_tls_config x509 = x509_config();
    struct vms_tls_config psk = psk_config("keys.psk", PSK_LINE);
    x509.no_verify_peer = true;
    tls_meet(&t, &psk, &x509);
    expect_client_failure(&t, "certificate verify failed");
    expect_refusal(&t, "alert");
    tls_close(&t);
    tls_meet(&t, &x509, &psk);
    expect_refusal(&t, "");
    expect_client_failure(&t, "alert");
    tls_close(&t);
}

/* --- a peer that does not play along --- */

static struct vms_channel *deferred_server(struct tls_ends *t, const char *client_uri,
                                           struct vms_channel **raw) {
    struct vms_channel *server = NULL;
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    struct vms_channel_options options = patient();
    struct vms_uri uri = uri_of("tls:127.0.0.1:0");
    char text[64];
    *t = (struct tls_ends){.server = load_creds(&config, VMS_TLS_SERVER)};
    options.tls = t->server;
    options.defer_handshake = true;
    options.open_timeout_ms = 30;
    OK(vms_listener_open(&uri, &options, &t->ends.listener, &err));
    (void)snprintf(text, sizeof text, client_uri, vms_listener_port(t->ends.listener));
    uri = uri_of(text);
    OK(vms_channel_connect(&uri, NULL, raw, &err));
    OK(vms_listener_accept(t->ends.listener, PATIENCE_MS, &server, &err));
    return server;
}

static void end_deferred(struct tls_ends *t, struct vms_channel *raw, struct vms_channel *server) {
    OK(vms_channel_close(raw, &err));
    OK(vms_channel_close(server, &err));
    vms_listener_close(t->ends.listener);
    vms_tls_creds_free(t->server);
}

Test(tls, silent_client_times_out) {
    struct tls_ends t;
    struct vms_channel *raw;
    uint8_t byte;
    size_t n;
    struct vms_channel *server = deferred_server(&t, "tcp:127.0.0.1:%u", &raw);
    FAILS(vms_channel_read(server, (struct vms_room){&byte, 1}, &n, &err), VMS_E_MISUSE,
          "before the handshake");
    FAILS(vms_channel_write_all(server, vms_str("x"), &err), VMS_E_MISUSE, "before the handshake");
    FAILS(vms_channel_handshake(server, &err), VMS_E_TIMEOUT, "TLS handshake");
    end_deferred(&t, raw, server);
}

Test(tls, client_that_leaves_in_the_handshake) {
    struct tls_ends t;
    struct vms_channel *raw;
    struct vms_channel *server = deferred_server(&t, "tcp:127.0.0.1:%u", &raw);
    OK(vms_channel_shutdown(raw, VMS_SHUT_WRITE, &err));
    FAILS(vms_channel_handshake(server, &err), VMS_E_PEER_CLOSED, "inside a TLS handshake");
    end_deferred(&t, raw, server);
}

Test(tls, client_that_speaks_no_tls) {
    struct tls_ends t;
    struct vms_channel *raw;
    struct vms_channel *server = deferred_server(&t, "tcp:127.0.0.1:%u", &raw);
    send_text(raw, "QEVM plain text instead of a hello");
    FAILS(vms_channel_handshake(server, &err), VMS_E_TLS, "wrong version number");
    end_deferred(&t, raw, server);
}
