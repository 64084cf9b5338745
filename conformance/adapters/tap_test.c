// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tap.h"

static char dir[64];
static char near_path[100];
static char far_path[100];
static char prefix[100];
static struct vms_tap *tap;
static int listener;

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    cr_assert_lt(strlen(path), sizeof address.sun_path);
    strcpy(address.sun_path, path);
    return address;
}

static void start(bool onward) {
    char error[256];
    struct vms_tap_options options = {.listen_path = near_path,
                                      .connect_path = onward ? far_path : NULL,
                                      .record_prefix = prefix};

    tap = vms_tap_start(&options, error, sizeof error);
    cr_assert_not_null(tap, "%s", error);
}

static void setup(void) {
    struct sockaddr_un address;

    strcpy(dir, "/tmp/vms-tap-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(near_path, sizeof near_path, "%s/near", dir);
    snprintf(far_path, sizeof far_path, "%s/far", dir);
    snprintf(prefix, sizeof prefix, "%s/record", dir);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    address = address_of(far_path);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 8), 0);
}

static void teardown(void) {
    char command[100];

    vms_tap_stop(tap);
    close(listener);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(tap, .init = setup, .fini = teardown, .timeout = 30);

static int connect_near(void) {
    struct sockaddr_un address = address_of(near_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_text(int fd, const char *text) {
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void expect_text(int fd, const char *text) {
    char got[64] = {0};

    cr_assert_eq(recv(fd, got, strlen(text), MSG_WAITALL), (ssize_t)strlen(text));
    cr_assert_str_eq(got, text);
}

static void expect_record(unsigned index, const char *suffix, const char *text) {
    char path[128];
    char got[64] = {0};
    FILE *file;

    snprintf(path, sizeof path, "%s.%u.%s", prefix, index, suffix);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(got, 1, sizeof got - 1, file), strlen(text));
    cr_assert_str_eq(got, text);
    fclose(file);
}

Test(tap, both_directions_and_the_order_of_connections) {
    start(true);
    for (int i = 0; i < 3; i++) {
        char text[24];
        int near = connect_near();
        int far = accept(listener, NULL, NULL);

        snprintf(text, sizeof text, "there %d", i);
        send_text(near, text);
        expect_text(far, text);
        send_text(far, "back");
        expect_text(near, "back");
        close(near);
        close(far);
    }
    cr_assert_eq(vms_tap_wait_idle(tap, 5000), 0);
    cr_assert_eq(vms_tap_count(tap), 3);
    expect_record(0, "fwd", "there 0");
    expect_record(2, "fwd", "there 2");
    expect_record(1, "rev", "back");
    cr_assert_str_empty(vms_tap_error(tap));
}

Test(tap, half_close_goes_through) {
    char byte;
    int near;
    int far;

    start(true);
    near = connect_near();
    far = accept(listener, NULL, NULL);
    send_text(near, "last words");
    shutdown(near, SHUT_WR);
    expect_text(far, "last words");
    cr_assert_eq(recv(far, &byte, 1, 0), 0);
    send_text(far, "heard");
    expect_text(near, "heard");
    close(far);
    cr_assert_eq(recv(near, &byte, 1, 0), 0);
    close(near);
}

// More than all buffers on the way hold, to a reader that begins late.
Test(tap, a_slow_reader_loses_nothing) {
    enum {
        TOTAL = 8 << 20
    };
    uint8_t *bytes = malloc(TOTAL);
    uint8_t *got = malloc(TOTAL);
    pid_t child;
    int near;
    int far;

    for (uint32_t i = 0; i < TOTAL; i++) {
        bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
    }
    start(true);
    near = connect_near();
    far = accept(listener, NULL, NULL);
    child = fork();
    if (child == 0) {
        size_t sent = 0;

        while (sent < TOTAL) {
            ssize_t n = send(near, bytes + sent, TOTAL - sent, 0);

            sent += n > 0 ? (size_t)n : 0;
        }
        _exit(0);
    }
    close(near);
    cr_assert_eq(vms_tap_wait_forward(tap, 0, 1 << 16, 5000), 0); // one socket buffer holds it
    cr_assert_eq(recv(far, got, TOTAL, MSG_WAITALL), TOTAL);
    cr_assert_eq(memcmp(bytes, got, TOTAL), 0);
    cr_assert_eq(vms_tap_connection(tap, 0).forward, TOTAL);
    close(far);
    free(bytes);
    free(got);
}

Test(tap, a_held_direction_waits) {
    char octet;
    int near, far;

    start(true);
    near = connect_near();
    far = accept(listener, NULL, NULL);
    vms_tap_hold(tap, true, false);
    send_text(near, "waits");
    send_text(far, "passes");
    expect_text(near, "passes");
    cr_expect_eq(vms_tap_connection(tap, 0).forward, 0);
    cr_expect_eq(recv(far, &octet, 1, MSG_DONTWAIT), -1);
    vms_tap_hold(tap, false, false);
    expect_text(far, "waits");
    close(near);
    close(far);
}

Test(tap, a_cut_ends_both_sides_and_new_connections_work) {
    char byte;
    int near;
    int far;

    start(true);
    near = connect_near();
    far = accept(listener, NULL, NULL);
    send_text(near, "before");
    expect_text(far, "before");
    vms_tap_cut(tap);
    cr_assert_leq(recv(near, &byte, 1, 0), 0);
    cr_assert_leq(recv(far, &byte, 1, 0), 0);
    cr_assert_not(vms_tap_connection(tap, 0).open);
    expect_record(0, "fwd", "before");
    close(near);
    close(far);
    near = connect_near();
    far = accept(listener, NULL, NULL);
    send_text(near, "after");
    expect_text(far, "after");
    cr_assert_eq(vms_tap_wait_connections(tap, 2, 1000), 0);
    close(near);
    close(far);
}

Test(tap, records_without_a_far_end) {
    int near;

    start(false);
    near = connect_near();
    send_text(near, "into the file");
    close(near);
    cr_assert_eq(vms_tap_wait_idle(tap, 5000), 0);
    expect_record(0, "fwd", "into the file");
}

Test(tap, a_missing_far_end_is_an_error) {
    char byte;
    int near;

    close(listener);
    unlink(far_path);
    start(true);
    near = connect_near();
    cr_assert_leq(recv(near, &byte, 1, 0), 0);
    cr_assert_not_null(strstr(vms_tap_error(tap), far_path));
    close(near);
    listener = -1;
}

Test(tap, waits_end) {
    start(true);
    cr_assert_eq(vms_tap_wait_connections(tap, 1, 50), -1);
    cr_assert_eq(vms_tap_wait_idle(tap, 50), -1);
}
