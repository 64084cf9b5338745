/* SPDX-License-Identifier: MIT */
#include "host/exec.h"
#include "host/tls_test_util.h"

/* Against GnuTLS, which QEMU uses, with QEMU's priorities: "NORMAL", for keys followed by this. */
#define PSK_PRIORITY "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK"
#define ONLY_12      ":-VERS-ALL:+VERS-TLS1.2"
#define ONLY_13      ":-VERS-ALL:+VERS-TLS1.3"

static void need(const char *program) {
    char command[64];
    (void)snprintf(command, sizeof command, "command -v %s >/dev/null", program);
    if (system(command) != 0)
        cr_skip_test("%s is not installed (package gnutls-bin)", program);
}

/* Takes what the program says until part of it is text. */
static void await_text(struct vms_channel *program, const char *text) {
    char said[16384] = "";
    size_t have = 0;
    while (!strstr(said, text)) {
        size_t n = 0;
        struct vms_room room = {(uint8_t *)said + have, sizeof said - 1 - have};
        cr_assert_gt(room.len, 0, "it said no '%s': %s", text, said);
        OK(vms_channel_read(program, room, &n, &err));
        cr_assert_gt(n, 0, "it ended without '%s': %s", text, said);
        have += n;
    }
}

static struct vms_channel *run(const char *command) {
    char text[1200];
    struct vms_channel *program = NULL;
    struct vms_channel_options options = patient();
    (void)snprintf(text, sizeof text, "exec:exec %s 2>&1", command);
    struct vms_uri uri = uri_of(text);
    OK(vms_channel_connect(&uri, &options, &program, &err));
    return program;
}

/* --- gnutls-cli connects to us --- */

struct server {
    struct vms_tls_creds *creds;
    struct vms_listener *listener;
    struct vms_channel *channel;
    struct vms_channel *client; /* gnutls-cli's standard input and output */
};

static void meet_gnutls(struct server *s, const struct vms_tls_config *config,
                        const char *arguments) {
    char command[1000];
    struct vms_channel_options options = patient();
    struct vms_uri uri = uri_of("tls:127.0.0.1:0");
    need("gnutls-cli");
    s->creds = load_creds(config, VMS_TLS_SERVER);
    options.tls = s->creds;
    options.rekey_bytes = 1; /* every write changes the key; GnuTLS takes 8 changes a second */
    OK(vms_listener_open(&uri, &options, &s->listener, &err));
    (void)snprintf(command, sizeof command, "gnutls-cli %s -p %u 127.0.0.1", arguments,
                   (unsigned)vms_listener_port(s->listener));
    s->client = run(command);
    OK(vms_listener_accept(s->listener, PATIENCE_MS, &s->channel, &err));
}

static void part(struct server *s) {
    OK(vms_channel_close(s->channel, &err));
    (void)vms_channel_close(s->client, NULL);
    vms_listener_close(s->listener);
    vms_tls_creds_free(s->creds);
}

static void serve_gnutls(const struct vms_tls_config *config, const char *arguments) {
    struct server s = {0};
    meet_gnutls(&s, config, arguments);
    send_text(s.client, "QEVM from GnuTLS\n");
    expect_text(s.channel, "QEVM from GnuTLS\n");
    for (int i = 0; i < 4; i++)
        send_text(s.channel, "an answer for GnuTLS\n");
    send_text(s.channel, "the last one\n");
    await_text(s.client, "the last one");
    OK(vms_channel_shutdown(s.client, VMS_SHUT_WRITE, &err));
    expect_end(s.channel, VMS_CHANNEL_ENDED);
    part(&s);
}

static void serve_x509(const char *priority) {
    char arguments[800];
    struct vms_tls_config config = x509_config();
    (void)snprintf(arguments, sizeof arguments,
                   "--priority %s --x509cafile %s/ca-cert.pem --x509certfile %s/client-cert.pem "
                   "--x509keyfile %s/client-key.pem",
                   priority, config.dir, config.dir, config.dir);
    serve_gnutls(&config, arguments);
}

static const char *psk_arguments(const char *priority) {
    static char arguments[400];
    (void)snprintf(arguments, sizeof arguments, "--priority %s --pskusername qemu --pskkey %.64s",
                   priority, strchr(PSK_LINE, ':') + 1);
    return arguments;
}

static void serve_psk(const char *priority) {
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    serve_gnutls(&config, psk_arguments(priority));
}

Test(tls_interop, server_x509) {
    serve_x509("NORMAL");
}
Test(tls_interop, server_x509_12) {
    serve_x509("NORMAL" ONLY_12);
}
Test(tls_interop, server_psk) {
    serve_psk(PSK_PRIORITY);
}
Test(tls_interop, server_psk_13) {
    serve_psk(PSK_PRIORITY ONLY_13);
}

/* The handshake alone: gnutls-cli 3.7.9 crashes when it prints such a session. */
Test(tls_interop, server_psk_12) {
    char name[32];
    struct server s = {0};
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    meet_gnutls(&s, &config, psk_arguments(PSK_PRIORITY ONLY_12));
    vms_channel_peer(s.channel, name, sizeof name);
    cr_assert_str_eq(name, "qemu");
    part(&s);
}

/* --- we connect to gnutls-serv --- */

static unsigned free_port(void) {
    struct vms_listener *listener = NULL;
    struct vms_uri uri = uri_of("tcp:127.0.0.1:0");
    OK(vms_listener_open(&uri, NULL, &listener, &err));
    unsigned port = vms_listener_port(listener);
    vms_listener_close(listener);
    return port;
}

static struct vms_channel *start_gnutls_server(const char *arguments, unsigned port) {
    char command[1000];
    need("gnutls-serv");
    (void)snprintf(command, sizeof command,
                   "setpriv --pdeathsig KILL gnutls-serv --echo --port %u %s", port, arguments);
    struct vms_channel *server = run(command);
    await_text(server, "done");
    return server;
}

static void connect_to_gnutls(const struct vms_tls_config *config, const char *arguments) {
    char text[64];
    unsigned port = free_port();
    struct vms_channel *channel = NULL;
    struct vms_channel_options options = patient();
    struct vms_channel *server = start_gnutls_server(arguments, port);
    struct vms_tls_creds *creds = load_creds(config, VMS_TLS_CLIENT);
    options.tls = creds;
    options.rekey_bytes = 1;
    (void)snprintf(text, sizeof text, "tls:127.0.0.1:%u", port);
    struct vms_uri uri = uri_of(text);
    OK(vms_channel_connect(&uri, &options, &channel, &err));
    for (int i = 0; i < 4; i++) {
        send_text(channel, "QEVM to GnuTLS\n");
        expect_text(channel, "QEVM to GnuTLS\n");
    }
    OK(vms_channel_close(channel, &err));
    vms_channel_set_timeouts(server, 0, 0); /* it never ends: closing kills it */
    FAILS(vms_channel_close(server, &err), VMS_E_TIMEOUT, "killed");
    vms_tls_creds_free(creds);
}

static void connect_x509(const char *priority) {
    char arguments[800];
    struct vms_tls_config config = x509_config();
    (void)snprintf(arguments, sizeof arguments,
                   "--priority %s --require-client-cert --x509cafile %s/ca-cert.pem "
                   "--x509certfile %s/server-cert.pem --x509keyfile %s/server-key.pem",
                   priority, config.dir, config.dir, config.dir);
    connect_to_gnutls(&config, arguments);
}

static void connect_psk(const char *priority) {
    char arguments[400];
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    (void)snprintf(arguments, sizeof arguments, "--priority %s --pskpasswd %s", priority,
                   config.psk);
    connect_to_gnutls(&config, arguments);
}

Test(tls_interop, client_x509) {
    connect_x509("NORMAL");
}
Test(tls_interop, client_x509_12) {
    connect_x509("NORMAL" ONLY_12);
}
Test(tls_interop, client_psk) {
    connect_psk(PSK_PRIORITY);
}
Test(tls_interop, client_psk_12) {
    connect_psk(PSK_PRIORITY ONLY_12);
}
Test(tls_interop, client_psk_13) {
    connect_psk(PSK_PRIORITY ONLY_13);
}
