/* SPDX-License-Identifier: MIT */
#include "reference-dst/session_test_util.h"

/* TLS on the channels of one migration: real sessions over TCP, with a key of both ends. */

static const char KEY[] = "qemu:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

struct tls_scene {
    struct scene s;
    char keys[64];
    struct vms_tls_creds *creds;
};

static void open_tls(struct tls_scene *t, const char *dialect) {
    static const char dir[] = "/tmp/vms-dst-tls-XXXXXX";
    struct vms_error err;
    int fd;
    (void)memcpy(t->keys, dir, sizeof dir);
    fd = mkstemp(t->keys);
    cr_assert(fd >= 0 && write(fd, KEY, sizeof KEY - 1) == (ssize_t)sizeof KEY - 1);
    close(fd);
    struct vms_tls_config config = {.psk = t->keys};
    cr_assert_eq(vms_tls_creds_load(&config, VMS_TLS_CLIENT, &t->creds, &err), VMS_OK, "%s",
                 err.message);
    t->s.options.psk = t->keys;
    cr_assert_eq(vms_dialect_parse(vms_str(dialect), &t->s.options.dialect, &err), VMS_OK);
    w = (struct vms_writer){bytes, sizeof bytes, 0};
    t->s.options.listen = "tls:127.0.0.1:0";
    t->s.options.limits = vms_limits_default();
    t->s.options.multifd_channels = -1;
    t->s.options.timeout_ms = REPLY_MS;
    t->s.options.quiet = true;
    t->s.session = calloc(1, sizeof *t->s.session);
    cr_assert_eq(pthread_create(&t->s.thread, NULL, run_session, &t->s), 0);
}

static uint16_t port_of(struct tls_scene *t) {
    uint16_t port = 0;
    while (!port) { /* the session's thread makes the listener */
        struct vms_listener *l = __atomic_load_n(&t->s.session->listener, __ATOMIC_ACQUIRE);
        port = l ? vms_listener_port(l) : 0;
        (void)usleep(1000);
    }
    return port;
}

/* A channel of its own; without tls what is sent goes as it is. */
static struct vms_channel *connect_channel(struct tls_scene *t, bool tls) {
    struct vms_channel_options o = vms_channel_options_default();
    struct vms_channel *io = NULL;
    struct vms_uri uri;
    struct vms_error err;
    char text[64];
    (void)snprintf(text, sizeof text, "%s:127.0.0.1:%u", tls ? "tls" : "tcp", port_of(t));
    cr_assert_eq(vms_uri_parse(text, &uri, &err), VMS_OK);
    o.tls = t->creds;
    cr_assert_eq(vms_channel_connect(&uri, &o, &io, &err), VMS_OK, "%s", err.message);
    return io;
}

static void say(struct vms_channel *io) {
    struct vms_error err;
    (void)vms_channel_write_all(io, vms_slice(bytes, w.pos), &err);
    w.pos = 0;
}

static enum vms_code close_tls(struct tls_scene *t) {
    enum vms_code code;
    pthread_join(t->s.thread, NULL);
    code = t->s.session->error.code;
    dst_session_free(t->s.session);
    free(t->s.session);
    vms_tls_creds_free(t->creds);
    (void)unlink(t->keys);
    return code;
}

TestSuite(tls_channels, .timeout = 300);

/* [HOST-6] Main and one multifd channel are TLS, the next is not. */
Test(tls_channels, one_without) {
    struct tls_scene t = {.keys = ""};
    open_tls(&t, "11.1");
    struct vms_channel *main = connect_channel(&t, true), *plain;
    header();
    open_return_path();
    say(main);
    plain = connect_channel(&t, false);
    hello(0);
    say(plain);
    cr_expect_eq(close_tls(&t), VMS_E_TLS);
    (void)vms_channel_close(plain, NULL);
    (void)vms_channel_close(main, NULL);
}

/* What becomes of a channel counts as long as the main one goes on. */
static void wait_for_one_end(struct dst_session *s) {
    bool ended = false;
    pthread_mutex_lock(&s->lock);
    while (!ended && !s->over) {
        for (size_t i = 0; i < s->channel_count; i++)
            ended |= s->channels[i]->ended;
        if (!ended)
            pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

/* A whole migration whose multifd channel says goodbye, or is cut behind its last packet. */
static enum vms_code multifd_end(const char *dialect, bool goodbye) {
    struct tls_scene t = {.keys = ""};
    struct vms_error err;
    open_tls(&t, dialect);
    struct vms_channel *main = connect_channel(&t, true), *multifd = connect_channel(&t, true);
    hello(0);
    sync_packet(0);
    say(multifd);
    header();
    ram_start(true);
    say(main);
    if (goodbye)
        cr_assert_eq(vms_channel_shutdown(multifd, VMS_SHUT_WRITE, &err), VMS_OK);
    else
        (void)vms_channel_shutdown(multifd, VMS_SHUT_BOTH, &err);
    wait_for_one_end(t.s.session);
    ram_end();
    end();
    say(main);
    (void)vms_channel_shutdown(main, VMS_SHUT_WRITE, &err);
    enum vms_code code = close_tls(&t);
    (void)vms_channel_close(multifd, NULL);
    (void)vms_channel_close(main, NULL);
    return code;
}

/* [MFD-19] */
Test(tls_channels, goodbye_of_multifd) {
    cr_expect_eq(multifd_end("11.1", true), VMS_OK);
    cr_expect_eq(multifd_end("11.1", false), VMS_E_TLS);
    cr_expect_eq(multifd_end("qemu=9.2,machine=9.2", false), VMS_OK);
    cr_expect_eq(multifd_end("qemu=11.1,machine=9.2", false), VMS_OK);
}
