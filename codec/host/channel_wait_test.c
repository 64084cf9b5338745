/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"

#include <sys/un.h>

/* --- deadlines --- */

Test(channel_wait, read_deadline) {
    uint8_t byte;
    size_t n;
    int other;
    struct vms_channel_options options = vms_channel_options_default();
    options.read_timeout_ms = 20;
    struct vms_channel *channel = channel_on_pair(&other, &options);
    FAILS(vms_channel_read(channel, (struct vms_room){&byte, 1}, &n, &err), VMS_E_TIMEOUT, "read");
    cr_assert_eq(write(other, "ab", 2), 2);
    expect_text(channel, "a"); /* a read may be tried again */
    vms_channel_set_timeouts(channel, 0, 0);
    expect_text(channel, "b");
    FAILS(vms_channel_read(channel, (struct vms_room){&byte, 1}, &n, &err), VMS_E_TIMEOUT, "read");
    OK(vms_channel_close(channel, &err));
    (void)close(other);
}

Test(channel_wait, write_deadline) {
    static uint8_t lots[16u << 20];
    int other;
    struct vms_channel_options options = vms_channel_options_default();
    options.write_timeout_ms = 20;
    struct vms_channel *channel = channel_on_pair(&other, &options);
    FAILS(vms_channel_write_all(channel, vms_slice(lots, sizeof lots), &err), VMS_E_TIMEOUT,
          "write");
    cr_assert_gt(vms_channel_bytes_out(channel), 0);
    FAILS(vms_channel_write_all(channel, vms_str("x"), &err), VMS_E_IO, "earlier write failed");
    OK(vms_channel_close(channel, &err));
    (void)close(other);
}

/* --- waking --- */

struct blocked_read {
    struct vms_channel *channel;
    enum vms_code code;
    struct vms_error err;
};

static void read_one(void *arg) {
    struct blocked_read *read = arg;
    uint8_t byte;
    size_t n;
    read->code = vms_channel_read(read->channel, (struct vms_room){&byte, 1}, &n, &read->err);
}

static void expect_stopped(const struct blocked_read *read, const char *why) {
    cr_assert_eq(read->code, VMS_E_IO, "%s", read->err.message);
    cr_assert_not_null(strstr(read->err.message, why), "%s", read->err.message);
}

Test(channel_wait, cancel_wakes_a_reader) {
    struct worker worker;
    int other;
    struct vms_channel_options options = vms_channel_options_default();
    options.cancel = vms_cancel_new();
    struct blocked_read read = {.channel = channel_on_pair(&other, &options)};
    start_worker(&worker, read_one, &read);
    await_asleep(&worker);
    vms_cancel_raise(options.cancel);
    join_worker(&worker);
    expect_stopped(&read, "cancelled");
    read_one(&read);
    expect_stopped(&read, "cancelled");
    FAILS(vms_channel_write_all(read.channel, vms_str("x"), &err), VMS_E_IO, "cancelled");
    OK(vms_channel_close(read.channel, &err));
    vms_cancel_free(options.cancel);
    (void)close(other);
}

static void shutdown_wakes(struct vms_channel *channel) {
    struct worker worker;
    struct blocked_read read = {.channel = channel};
    start_worker(&worker, read_one, &read);
    await_asleep(&worker);
    OK(vms_channel_shutdown(channel, VMS_SHUT_BOTH, &err));
    join_worker(&worker);
    expect_stopped(&read, "shut down here");
    OK(vms_channel_close(channel, &err));
}

Test(channel_wait, shutdown_wakes_a_reader) {
    int fds[2];
    int other;
    shutdown_wakes(channel_on_pair(&other, NULL));
    (void)close(other);
    cr_assert_eq(pipe(fds), 0);
    shutdown_wakes(channel_on_fd(fds[0]));
    (void)close(fds[1]);
}

/* A listening socket with room for nobody: what connects next has to wait. */
static int full_listener(struct vms_uri *uri) {
    char path[128];
    char text[140];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(text, sizeof text, "unix:%s", in_test_dir("full", path, sizeof path));
    *uri = uri_of(text);
    memcpy(addr.sun_path, path, strnlen(path, sizeof addr.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(listen(fd, 0), 0);
    return fd;
}

Test(channel_wait, connect_deadline_and_cancel) {
    struct vms_channel *first = NULL;
    struct vms_channel *second = NULL;
    struct vms_channel_options options = vms_channel_options_default();
    struct vms_uri uri;
    int fd = full_listener(&uri);
    options.open_timeout_ms = 30;
    options.cancel = vms_cancel_new();
    OK(vms_channel_connect(&uri, &options, &first, &err));
    FAILS(vms_channel_connect(&uri, &options, &second, &err), VMS_E_TIMEOUT, "connect");
    vms_cancel_raise(options.cancel);
    FAILS(vms_channel_connect(&uri, &options, &second, &err), VMS_E_IO, "cancelled");
    OK(vms_channel_close(first, &err));
    vms_cancel_free(options.cancel);
    (void)close(fd);
}
