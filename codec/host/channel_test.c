/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"
#include "host/socket.h"
#include "host/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>

/* Sends data in pieces of 1, 2, 3 … bytes and reads it back in pieces of another size. */
static void cut_up_round_trip(struct vms_channel *to, struct vms_channel *from) {
    uint8_t data[2000];
    uint8_t got[2000];
    struct vms_slice left = vms_slice(data, sizeof data);
    size_t have = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t step = 1; left.len > 0; step++) {
        OK(vms_channel_write_all(to, vms_slice_head(left, step), &err));
        left = vms_slice_tail(left, step);
    }
    while (have < sizeof got) {
        size_t n = 0;
        struct vms_room room = {got + have, sizeof got - have < 37 ? sizeof got - have : 37};
        OK(vms_channel_read(from, room, &n, &err));
        cr_assert_gt(n, 0);
        have += n;
    }
    cr_assert_arr_eq(got, data, sizeof data);
    cr_assert_eq(vms_channel_bytes_in(from), sizeof data);
    cr_assert_eq(vms_channel_bytes_out(to), sizeof data);
}

static void socket_round_trip(const char *uri) {
    struct ends ends = {0};
    open_ends(&ends, uri);
    cut_up_round_trip(ends.client, ends.server);
    cut_up_round_trip(ends.server, ends.client);
    cr_assert_not(vms_channel_is_seekable(ends.client));
    cr_assert_not(vms_channel_is_tls(ends.client));
    close_ends(&ends);
}

Test(channel, tcp_v4) {
    socket_round_trip("tcp:127.0.0.1:0");
}
Test(channel, tcp_name) {
    socket_round_trip("tcp:localhost:0");
}

Test(channel, tcp_v6) {
    struct vms_listener *listener = NULL;
    struct vms_error err = {0};
    struct vms_uri uri = uri_of("tcp:[::1]:0");
    if (vms_listener_open(&uri, NULL, &listener, &err) != VMS_OK)
        cr_skip_test("no IPv6 here: %s", err.message);
    vms_listener_close(listener);
    socket_round_trip("tcp:[::1]:0");
}

Test(channel, unix_socket) {
    char path[128];
    char uri[140];
    (void)snprintf(uri, sizeof uri, "unix:%s", in_test_dir("socket", path, sizeof path));
    socket_round_trip(uri);
    cr_assert_neq(access(path, F_OK), 0, "the listener left its path");
}

Test(channel, names) {
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    cr_assert_str_eq(vms_channel_name(ends.client), vms_listener_name(ends.listener));
    cr_assert_not_null(strstr(vms_channel_name(ends.server), " from 127.0.0.1:"));
    close_ends(&ends);
}

Test(channel, connect_refused) {
    struct vms_channel *channel;
    struct vms_uri uri = uri_in_dir("unix:", "nobody", "");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "No such file");
    uri = uri_of("tcp:127.0.0.1:1");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT,
          "tcp:127.0.0.1:1: cannot connect: Connection refused");
    uri = uri_of("tcp::5");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "no host");
    uri = uri_of("tcp:no-such-host.invalid:5");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "no-such-host.invalid");
    uri = uri_of("tls:127.0.0.1:1");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_MISUSE, "a client's credentials");
    FAILS(vms_channel_open(&uri, NULL, &channel, &err), VMS_E_CONNECT, "listened on");
}

/* --- vectors --- */

Test(channel, vectors) {
    uint8_t data[300];
    uint8_t got[300] = {0};
    struct iovec out[150];
    struct iovec in[100];
    struct ends ends = {0};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i ^ 0x5a);
    for (size_t i = 0; i < 150; i++) /* pieces of 0 and 4 bytes, more than one system call takes */
        out[i] = (struct iovec){data + i / 2 * 4, i % 2 ? 4 : 0};
    for (size_t i = 0; i < 100; i++)
        in[i] = (struct iovec){got + i * 3, 3};
    open_ends(&ends, "tcp:127.0.0.1:0");
    OK(vms_channel_writev_all(ends.client, out, 150, &err));
    OK(vms_channel_readv_full(ends.server, in, 100, &err));
    cr_assert_arr_eq(got, data, sizeof data);
    OK(vms_channel_writev_all(ends.client, out, 1, &err));
    OK(vms_channel_readv_full(ends.server, NULL, 0, &err));
    close_ends(&ends);
}

/* --- peek --- */

Test(channel, peek_does_not_take) {
    char got[8] = "";
    size_t n;
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "QEVM1234");
    for (size_t len = 2; len <= 4; len++) {
        OK(vms_channel_peek(ends.server, (struct vms_room){(uint8_t *)got, len}, &n, &err));
        cr_assert_eq(n, len);
    }
    cr_assert_str_eq(got, "QEVM");
    cr_assert_eq(vms_channel_bytes_in(ends.server), 0);
    expect_text(ends.server, "QE");
    OK(vms_channel_peek(ends.server, (struct vms_room){(uint8_t *)got, 4}, &n, &err));
    cr_assert_str_eq(got, "VM12");
    expect_text(ends.server, "VM1234");
    cr_assert_eq(vms_channel_bytes_in(ends.server), 8);
    close_ends(&ends);
}

Test(channel, peek_keeps_what_came_before_a_timeout) {
    uint8_t got[8];
    size_t n;
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "ab");
    vms_channel_set_timeouts(ends.server, 20, -1);
    FAILS(vms_channel_peek(ends.server, (struct vms_room){got, 4}, &n, &err), VMS_E_TIMEOUT,
          "read");
    send_text(ends.client, "cd");
    vms_channel_set_timeouts(ends.server, PATIENCE_MS, -1);
    OK(vms_channel_peek(ends.server, (struct vms_room){got, 4}, &n, &err));
    cr_assert_arr_eq(got, "abcd", 4);
    expect_text(ends.server, "abcd");
    close_ends(&ends);
}

Test(channel, peek_at_the_end_gives_less) {
    uint8_t got[VMS_PEEK_MAX + 1];
    size_t n;
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "ab");
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    OK(vms_channel_peek(ends.server, (struct vms_room){got, 4}, &n, &err));
    cr_assert_eq(n, 2);
    OK(vms_channel_peek(ends.server, (struct vms_room){got, VMS_PEEK_MAX}, &n, &err));
    cr_assert_eq(n, 2);
    expect_text(ends.server, "ab");
    expect_end(ends.server, VMS_CHANNEL_ENDED);
    FAILS(vms_channel_peek(ends.server, (struct vms_room){got, sizeof got}, &n, &err), VMS_E_MISUSE,
          "more than 64");
    close_ends(&ends);
}

Test(channel, skip_reads) {
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "12345678rest");
    OK(vms_channel_skip(ends.server, 8, &err));
    expect_text(ends.server, "rest");
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    FAILS(vms_channel_skip(ends.server, 1, &err), VMS_E_PEER_CLOSED, "after 12 bytes");
    close_ends(&ends);
}

/* --- ends --- */

Test(channel, half_close) {
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "last");
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    FAILS(vms_channel_write_all(ends.client, vms_str("x"), &err), VMS_E_MISUSE, "after shutdown");
    expect_text(ends.server, "last");
    cr_assert_eq(vms_channel_end(ends.server), VMS_CHANNEL_OPEN);
    expect_end(ends.server, VMS_CHANNEL_ENDED);
    send_text(ends.server, "answer");
    expect_text(ends.client, "answer");
    close_ends(&ends);
}

/* Of TCP and Unix sockets alike. */
Test(channel, no_more_is_read) {
    const char *const uris[] = {"tcp:127.0.0.1:0", "unix:@vmstream-no-more-is-read"};
    for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
        struct ends ends = {0};
        open_ends(&ends, uris[i]);
        send_text(ends.client, "arrived");
        OK(vms_channel_shutdown(ends.server, VMS_SHUT_READ, &err));
        expect_text(ends.server, "arrived");
        expect_end(ends.server, VMS_CHANNEL_ENDED);
        send_text(ends.server, "answer");
        expect_text(ends.client, "answer");
        close_ends(&ends);
    }
}

Test(channel, stream_ends_too_early) {
    uint8_t got[8];
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    send_text(ends.client, "abc");
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    FAILS(vms_channel_read_full(ends.server, (struct vms_room){got, 8}, &err), VMS_E_PEER_CLOSED,
          "ended after 3 bytes");
    close_ends(&ends);
}

/* SIGPIPE has its default action here: it would kill the test. */
static void write_until_broken(struct vms_channel *channel) {
    struct vms_error broken = {0};
    while (broken.code == VMS_OK)
        (void)vms_channel_write_all(channel, vms_str("data"), &broken);
    cr_assert_eq(broken.code, VMS_E_PEER_CLOSED, "%s", broken.message);
    FAILS(vms_channel_write_all(channel, vms_str("x"), &err), VMS_E_IO, "earlier write failed");
}

Test(channel, broken_socket) {
    int other;
    struct vms_channel *channel = channel_on_pair(&other, NULL);
    (void)close(other);
    write_until_broken(channel);
    OK(vms_channel_close(channel, &err));
}

Test(channel, broken_pipe) {
    int fds[2];
    sigset_t pending;
    cr_assert_eq(pipe(fds), 0);
    struct vms_channel *channel = channel_on_fd(fds[1]);
    (void)close(fds[0]);
    write_until_broken(channel);
    cr_assert_eq(sigpending(&pending), 0);
    cr_assert_eq(sigismember(&pending, SIGPIPE), 0);
    OK(vms_channel_close(channel, &err));
}

/* A thread that holds the signal back for good keeps the one that its write has raised. */
static void *write_without_sigpipe(void *arg) {
    sigset_t pending;
    vms_thread_without_sigpipe();
    write_until_broken(arg);
    cr_expect_eq(sigpending(&pending), 0);
    cr_expect_eq(sigismember(&pending, SIGPIPE), 1);
    return NULL;
}

Test(channel, broken_pipe_without_sigpipe) {
    int fds[2];
    sigset_t blocked;
    pthread_t t;
    cr_assert_eq(pipe(fds), 0);
    struct vms_channel *channel = channel_on_fd(fds[1]);
    (void)close(fds[0]);
    cr_assert_eq(pthread_create(&t, NULL, write_without_sigpipe, channel), 0);
    cr_assert_eq(pthread_join(t, NULL), 0);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    cr_assert_eq(sigismember(&blocked, SIGPIPE), 0, "it is that thread's alone");
    OK(vms_channel_close(channel, &err));
}

/* --- fd: --- */

Test(channel, fd_pipe) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    int watched = dup(fds[0]);
    struct vms_channel *to = channel_on_fd(fds[1]);
    struct vms_channel *from = channel_on_fd(fds[0]);
    cut_up_round_trip(to, from);
    cr_assert(fcntl(watched, F_GETFL) & O_NONBLOCK);
    OK(vms_channel_close(to, &err));
    expect_end(from, VMS_CHANNEL_ENDED);
    OK(vms_channel_close(from, &err));
    cr_assert_not(fcntl(watched, F_GETFL) & O_NONBLOCK, "the flags were not given back");
    (void)close(watched);
}

static int send_buffer(int fd) {
    int bytes = 0;
    socklen_t len = sizeof bytes;
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len), 0);
    return bytes;
}

static void control_of(int fd, char name[16]) {
    socklen_t len = 16;
    cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
}

static void system_control(char name[16]) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    control_of(fd, name);
    (void)close(fd);
}

static void expect_control(const char *listen, const char *want) {
    char have[16];
    struct vms_uri uri = uri_of(listen);
    int listening, out = -1, in = -1;
    OK(vms_socket_listen(&uri, &listening, &err));
    uri.port = vms_socket_port(listening);
    OK(vms_socket_connect(&uri, vms_deadline_in(PATIENCE_MS), NULL, &out, &err));
    OK(vms_socket_accept(listening, "", vms_deadline_in(PATIENCE_MS), NULL, NULL, &in, &err));
    control_of(out, have);
    cr_assert_str_eq(have, want, "%s", listen);
    control_of(in, have);
    cr_assert_str_eq(have, want, "%s", listen);
    (void)close(out);
    (void)close(in);
    (void)close(listening);
}

/* [HOST-19] */
Test(channel, loopback_is_not_paced) {
    expect_control("tcp:127.0.0.1:0", "reno");
    expect_control("tcp:127.3.2.1:0", "reno");
}

Test(channel, loopback6_is_not_paced) {
    struct vms_uri uri = uri_of("tcp:[::1]:0");
    struct vms_error err;
    int fd;
    if (vms_socket_listen(&uri, &fd, &err) != VMS_OK)
        cr_skip_test("no IPv6 here: %s", err.message);
    (void)close(fd);
    expect_control("tcp:[::ffff:127.0.0.1]:0", "reno");
    expect_control("tcp:[::1]:0", "reno");
}

/* No loopback address, although the kernel makes one of it. */
Test(channel, others_keep_the_systems_control) {
    char system[16];
    system_control(system);
    expect_control("tcp:0.0.0.0:0", system);
}

/* A UNIX socket's buffer is as asked, as far as the kernel goes; it counts its own overhead. */
Test(channel, send_room) {
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    int watched = dup(fds[0]);
    struct vms_channel *channel = channel_on_fd(fds[0]);
    vms_channel_send_room(channel, 16 << 10);
    cr_assert_eq(send_buffer(watched), 32 << 10);
    vms_channel_send_room(channel, 64 << 10);
    cr_assert_eq(send_buffer(watched), 128 << 10);
    OK(vms_channel_close(channel, &err));
    (void)close(watched);
    (void)close(fds[1]);
}

Test(channel, fd_that_cannot_serve) {
    struct vms_channel *channel;
    struct vms_uri uri = uri_of("fd:999");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "Bad file descriptor");
    char text[32];
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    (void)snprintf(text, sizeof text, "fd:%d", fd);
    uri = uri_of(text);
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "not a connected stream");
    cr_assert_geq(fcntl(fd, F_GETFD), 0, "a refused descriptor was closed");
    (void)close(fd);
    uri = uri_of("file:/tmp");
    FAILS(vms_channel_open(&uri, NULL, &channel, &err), VMS_E_CONNECT, "directory");
}

/* --- exec: --- */

Test(channel, exec_both_directions) {
    struct vms_channel *channel = NULL;
    struct vms_channel_options options = patient();
    struct vms_uri uri = uri_of("exec:cat");
    OK(vms_channel_connect(&uri, &options, &channel, &err));
    send_text(channel, "through the command");
    expect_text(channel, "through the command");
    OK(vms_channel_shutdown(channel, VMS_SHUT_WRITE, &err));
    expect_end(channel, VMS_CHANNEL_ENDED);
    OK(vms_channel_close(channel, &err));
}
