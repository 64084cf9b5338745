/* SPDX-License-Identifier: MIT */
#include "reference-src/control.h"
#include "reference-src/test_peer.h"

#include <signal.h>

/* Orders over a socket: lines in, lines out. */

struct desk {
    struct test_peer peer;
    struct test_guest guest;
    struct src_options options;
    struct src_session *session;
    struct src_control *control;
    struct src_outcome out;
    pthread_t thread;
    char uri[128];
};

static void *run_thread(void *ctx) {
    struct desk *d = ctx;
    src_session_run(d->session, &d->out);
    return NULL;
}

static void open_desk(struct desk *d) {
    struct src_session_host host = {.guest = &d->guest.guest};
    struct vms_error err = {0};
    src_control_block_signals();
    test_peer_start(&d->peer);
    test_guest_make(&d->guest, 4096);
    test_options(&d->options, d->peer.uri);
    (void)snprintf(d->uri, sizeof d->uri, "unix:%s/c", d->peer.dir);
    d->options.bandwidth = 1 << 20;
    d->session = src_session_new(&d->options, &host, &err);
    cr_assert_not_null(d->session, "%s", err.message);
    d->control = src_control_start(d->session, d->uri, &err);
    cr_assert_not_null(d->control, "%s", err.message);
    cr_assert_eq(pthread_create(&d->thread, NULL, run_thread, d), 0);
}

static void close_desk(struct desk *d) {
    pthread_join(d->thread, NULL);
    src_control_stop(d->control);
    src_session_free(d->session);
    cr_expect_eq(d->out.state, SRC_CANCELLED);
    cr_expect(d->guest.running);
    test_peer_stop(&d->peer);
    test_guest_free(&d->guest);
}

static struct vms_channel *client(struct desk *d) {
    struct vms_channel *io;
    struct vms_uri uri;
    struct vms_error err;
    cr_assert_eq(vms_uri_parse(d->uri, &uri, &err), VMS_OK);
    cr_assert_eq(vms_channel_connect(&uri, NULL, &io, &err), VMS_OK, "%s", err.message);
    return io;
}

static bool ask(struct vms_channel *io, const char *text, char *answer, size_t size) {
    struct vms_error err;
    size_t used = 0, n = 1;
    if (vms_channel_write_all(io, vms_str(text), &err) != VMS_OK)
        return false;
    while (n && used < size - 1 && !memchr(answer, '\n', used)) {
        if (vms_channel_read(io, (struct vms_room){(uint8_t *)answer + used, size - 1 - used}, &n,
                             &err) != VMS_OK)
            return false;
        used += n;
    }
    answer[used] = 0;
    return used > 0;
}

/* Good lines, bad lines, two in one piece, one in two pieces, one that is too long. */
Test(control, lines, .timeout = 300) {
    static struct desk d;
    static char answer[4096], flood[20000];
    struct vms_error err;
    open_desk(&d);
    struct vms_channel *io = client(&d);
    cr_expect(ask(io, "{\"order\": \"status\"}\n", answer, sizeof answer));
    cr_expect_not_null(strstr(answer, "\"ok\":true"), "%s", answer);
    cr_expect(ask(io, "not JSON\n", answer, sizeof answer));
    cr_expect_not_null(strstr(answer, "\"SRC_ORDER\""), "%s", answer);
    cr_assert_eq(vms_channel_write_all(io, vms_str("{\"order\": "), &err), VMS_OK);
    cr_expect(ask(io, "\"status\"}\n", answer, sizeof answer));
    cr_expect_not_null(strstr(answer, "\"ok\":true"), "%s", answer);
    (void)vms_channel_close(io, NULL);

    memset(flood, 'x', sizeof flood - 1);
    io = client(&d);
    cr_expect_not(ask(io, flood, answer, sizeof answer), "a line without an end is cut off");
    (void)vms_channel_close(io, NULL);

    io = client(&d);
    cr_expect(ask(io, "{\"order\": \"cancel\"}\n", answer, sizeof answer));
    cr_expect_not_null(strstr(answer, "\"state\":\"CANCELLED\""), "%s", answer);
    close_desk(&d); /* though the client is still there */
    (void)vms_channel_close(io, NULL);
}

/* SIGINT cancels. */
Test(control, signals, .timeout = 300) {
    static struct desk d;
    open_desk(&d);
    cr_assert_eq(kill(getpid(), SIGINT), 0);
    close_desk(&d);
}
