/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"

#include <sys/resource.h>
#include <sys/un.h>

Test(listener, many_connections) {
    struct vms_channel *clients[20];
    struct vms_channel *servers[20];
    struct vms_listener *listener = NULL;
    struct vms_channel_options options = patient();
    struct vms_uri uri = uri_of("tcp:127.0.0.1:0");
    OK(vms_listener_open(&uri, &options, &listener, &err));
    cr_assert_not(vms_listener_is_single(listener));
    cr_assert_neq(vms_listener_port(listener), 0);
    uri = uri_of(vms_listener_name(listener));
    cr_assert_eq(uri.port, vms_listener_port(listener));
    for (int i = 0; i < 20; i++)
        OK(vms_channel_connect(&uri, &options, &clients[i], &err));
    for (int i = 0; i < 20; i++)
        OK(vms_listener_accept(listener, PATIENCE_MS, &servers[i], &err));
    vms_listener_close(listener); /* accepted channels live on */
    for (int i = 0; i < 20; i++) {
        send_text(clients[i], "hello");
        expect_text(servers[i], "hello");
        OK(vms_channel_close(clients[i], &err));
        OK(vms_channel_close(servers[i], &err));
    }
}

static void accepts_on(const char *listen, const char *connect_to) {
    char text[64];
    struct vms_channel *client = NULL;
    struct vms_channel *server = NULL;
    struct vms_listener *listener = NULL;
    struct vms_uri uri = uri_of(listen);
    OK(vms_listener_open(&uri, NULL, &listener, &err));
    (void)snprintf(text, sizeof text, connect_to, (unsigned)vms_listener_port(listener));
    uri = uri_of(text);
    OK(vms_channel_connect(&uri, NULL, &client, &err));
    OK(vms_listener_accept(listener, PATIENCE_MS, &server, &err));
    OK(vms_channel_close(client, &err));
    OK(vms_channel_close(server, &err));
    vms_listener_close(listener);
}

Test(listener, any_address) {
    accepts_on("tcp::0", "tcp:127.0.0.1:%u");
    accepts_on("tcp:0:0", "tcp:127.0.0.1:%u");
}

Test(listener, deadline) {
    struct vms_channel *channel;
    struct vms_listener *listener = NULL;
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    OK(vms_listener_open(&uri, NULL, &listener, &err));
    FAILS(vms_listener_accept(listener, 20, &channel, &err), VMS_E_TIMEOUT, "accept");
    FAILS(vms_listener_accept(listener, 0, &channel, &err), VMS_E_TIMEOUT, "accept");
    vms_listener_close(listener);
}

struct blocked_accept {
    struct vms_listener *listener;
    enum vms_code code;
};

static void accept_one(void *arg) {
    struct blocked_accept *blocked = arg;
    struct vms_channel *channel;
    struct vms_error err;
    blocked->code = vms_listener_accept(blocked->listener, -1, &channel, &err);
}

Test(listener, cancel_and_shutdown_wake) {
    struct worker worker;
    struct vms_channel_options options = vms_channel_options_default();
    struct blocked_accept blocked = {0};
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    options.cancel = vms_cancel_new();
    for (int round = 0; round < 2; round++) {
        OK(vms_listener_open(&uri, &options, &blocked.listener, &err));
        start_worker(&worker, accept_one, &blocked);
        await_asleep(&worker);
        if (round == 0)
            vms_listener_shutdown(blocked.listener);
        else
            vms_cancel_raise(options.cancel);
        join_worker(&worker);
        cr_assert_eq(blocked.code, VMS_E_IO);
        accept_one(&blocked);
        cr_assert_eq(blocked.code, VMS_E_IO);
        vms_listener_close(blocked.listener);
    }
    vms_cancel_free(options.cancel);
}

/* Who waits for the path to appear may connect at once, however the two threads run. */
static void *connect_when_there(void *arg) {
    struct vms_uri *uri = arg;
    struct vms_channel *client = NULL;
    struct vms_error failed = {0};
    while (access(uri->target, F_OK) != 0)
        ;
    enum vms_code code = vms_channel_connect(uri, NULL, &client, &failed);
    if (code == VMS_OK)
        (void)vms_channel_close(client, NULL);
    return code == VMS_OK ? NULL : arg;
}

Test(listener, a_path_that_is_there_listens) {
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    for (int i = 0; i < 300; i++) {
        struct vms_listener *listener = NULL;
        pthread_t thread;
        void *failed;
        cr_assert_eq(pthread_create(&thread, NULL, connect_when_there, &uri), 0);
        OK(vms_listener_open(&uri, NULL, &listener, &err));
        cr_assert_eq(pthread_join(thread, &failed), 0);
        cr_assert_null(failed);
        vms_listener_close(listener);
    }
}

Test(listener, unix_path_in_use_and_stale) {
    struct vms_listener *listener = NULL;
    struct vms_listener *second;
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, uri.target, strnlen(uri.target, sizeof addr.sun_path - 1));
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(dead, (struct sockaddr *)&addr, sizeof addr), 0);
    (void)close(dead); /* its path stays */
    OK(vms_listener_open(&uri, NULL, &listener, &err));
    FAILS(vms_listener_open(&uri, NULL, &second, &err), VMS_E_CONNECT, "Address already in use");
    /* A path that somebody else has taken since is not ours to remove. */
    cr_assert_eq(unlink(uri.target), 0);
    OK(vms_listener_open(&uri, NULL, &second, &err));
    vms_listener_close(listener);
    cr_assert_eq(access(uri.target, F_OK), 0);
    vms_listener_close(second);
    cr_assert_neq(access(uri.target, F_OK), 0);
}

Test(listener, never_replaces_a_file) {
    struct vms_listener *listener;
    struct vms_uri uri = uri_in_dir("unix:", "precious", "");
    int fd = open(uri.target, O_CREAT | O_WRONLY, 0600);
    (void)close(fd);
    FAILS(vms_listener_open(&uri, NULL, &listener, &err), VMS_E_CONNECT, "Address already in use");
    cr_assert_eq(access(uri.target, F_OK), 0);
}

static void gives_one(const struct vms_uri *uri, const char *text) {
    struct vms_channel *channel = NULL;
    struct vms_listener *listener = NULL;
    OK(vms_listener_open(uri, NULL, &listener, &err));
    cr_assert(vms_listener_is_single(listener));
    cr_assert_eq(vms_listener_port(listener), 0);
    cr_assert_eq(vms_listener_fd(listener), -1);
    OK(vms_listener_accept(listener, 0, &channel, &err));
    expect_text(channel, text);
    OK(vms_channel_close(channel, &err));
    FAILS(vms_listener_accept(listener, 0, &channel, &err), VMS_E_CONNECT, "one channel only");
    vms_listener_shutdown(listener);
    FAILS(vms_listener_accept(listener, 0, &channel, &err), VMS_E_IO, "cancelled");
    vms_listener_close(listener);
}

Test(listener, single_channels) {
    char text[32];
    int fds[2];
    struct vms_uri uri = uri_of("exec:printf from-exec");
    gives_one(&uri, "from-exec");
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], "from-fd", 7), 7);
    (void)snprintf(text, sizeof text, "fd:%d", fds[0]);
    uri = uri_of(text);
    gives_one(&uri, "from-fd");
    (void)close(fds[1]);
    uri = uri_in_dir("file:", "state", ",offset=2");
    FILE *out = fopen(uri.target, "we");
    cr_assert_geq(fputs("..from-file", out), 0);
    (void)fclose(out);
    gives_one(&uri, "from-file");
}

Test(listener, descriptor_that_listens) {
    char text[32];
    struct vms_channel *client = NULL;
    struct vms_channel *server = NULL;
    struct vms_listener *listener = NULL;
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, uri.target, strnlen(uri.target, sizeof addr.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(listen(fd, 5), 0);
    (void)snprintf(text, sizeof text, "fd:%d", fd);
    struct vms_uri fd_uri = uri_of(text);
    OK(vms_listener_open(&fd_uri, NULL, &listener, &err));
    for (int i = 0; i < 2; i++) {
        OK(vms_channel_connect(&uri, NULL, &client, &err));
        OK(vms_listener_accept(listener, PATIENCE_MS, &server, &err));
        OK(vms_channel_close(client, &err));
        OK(vms_channel_close(server, &err));
    }
    vms_listener_close(listener);
}

Test(listener, failures) {
    struct vms_listener *listener;
    struct vms_uri uri = uri_of("tcp:192.0.2.1:5");
    FAILS(vms_listener_open(&uri, NULL, &listener, &err), VMS_E_CONNECT,
          "tcp:192.0.2.1:5: cannot listen");
    uri = uri_of("tls:127.0.0.1:0");
    FAILS(vms_listener_open(&uri, NULL, &listener, &err), VMS_E_MISUSE, "a server's credentials");
    uri = uri_of("unix:/nonexistent/socket");
    FAILS(vms_listener_open(&uri, NULL, &listener, &err), VMS_E_CONNECT, "No such file");
    vms_listener_close(NULL);
}

/* [HOST-18] No descriptor for it: it waits in the queue, and is taken when there is one. */
Test(listener, no_descriptor_left) {
    struct vms_channel *client, *server;
    struct vms_listener *listener = NULL;
    struct vms_uri uri = uri_in_dir("unix:", "socket", "");
    struct rlimit limit, none;
    OK(vms_listener_open(&uri, NULL, &listener, &err));
    OK(vms_channel_connect(&uri, NULL, &client, &err));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    while (dup(0) < 4) { /* poll() takes so many, and all of them are open */
    }
    none = (struct rlimit){.rlim_cur = 4, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    FAILS(vms_listener_accept(listener, 0, &server, &err), VMS_E_TIMEOUT, "accept");
    FAILS(vms_listener_accept(listener, 120, &server, &err), VMS_E_TIMEOUT, "accept");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    OK(vms_listener_accept(listener, PATIENCE_MS, &server, &err));
    OK(vms_channel_close(client, &err));
    OK(vms_channel_close(server, &err));
    vms_listener_close(listener);
}
