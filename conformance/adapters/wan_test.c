// SPDX-License-Identifier: MIT
#include "conformance/adapters/net.h"
#include "conformance/adapters/wan.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Two ends with the long line between them.
enum {
    DELAY_MS = 40,
    WAIT_MS = 5000,
    SHORT_MS = 150,
    BULK = 1 << 20,
};

struct ends {
    char dir[64], path[96], error[200];
    struct vms_wan *wan;
    int listener, near, far;
};

static int64_t now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void join(struct ends *e) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", e->path);
    e->near = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(e->near, (struct sockaddr *)&address, sizeof address), 0);
    e->far = accept(e->listener, NULL, NULL);
    cr_assert_geq(e->far, 0);
}

static void begin(struct ends *e) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;

    strcpy(e->dir, "/tmp/vms-wan-XXXXXX");
    cr_assert(mkdtemp(e->dir));
    snprintf(e->path, sizeof e->path, "%s/line", e->dir);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    e->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(e->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(e->listener, 5), 0);
    cr_assert_eq(getsockname(e->listener, (struct sockaddr *)&address, &len), 0);
    struct vms_wan_options o = {.listen_path = e->path,
                                .connect_host = "127.0.0.1",
                                .connect_port = ntohs(address.sin_port),
                                .delay_ms = DELAY_MS};
    e->wan = vms_wan_start(&o, e->error, sizeof e->error);
    cr_assert(e->wan, "%s", e->error);
    join(e);
}

static void finish(struct ends *e) {
    vms_wan_stop(e->wan);
    close(e->near);
    close(e->far);
    close(e->listener);
    cr_assert_eq(rmdir(e->dir), 0);
}

// Whether something comes within that time; the end counts.
static bool comes(int fd, int timeout_ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) == 1;
}

static void echo(int from, int to) {
    char byte = 'x';
    int64_t start = now_ms();

    cr_assert_eq(write(from, &byte, 1), 1);
    cr_assert(comes(to, WAIT_MS));
    cr_expect_geq(now_ms() - start, DELAY_MS - 1);
    cr_assert_eq(read(to, &byte, 1), 1);
}

Test(wan, delays_each_way) {
    struct ends e;

    begin(&e);
    echo(e.near, e.far);
    echo(e.far, e.near);
    cr_expect_eq(vms_wan_forward(e.wan), 1);
    cr_expect_eq(vms_wan_count(e.wan), 1);
    finish(&e);
}

// More than fits into the line passes whole and in order, and so does the end.
Test(wan, carries_bulk) {
    static uint8_t sent[BULK], got[BULK + 1];
    struct ends e;
    size_t out = 0, in = 0;
    ssize_t n = 1;

    for (size_t i = 0; i < BULK; i++) {
        sent[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    begin(&e);
    while (n > 0) {
        struct pollfd p[2] = {{.fd = out < BULK ? e.near : -1, .events = POLLOUT},
                              {.fd = e.far, .events = POLLIN}};

        cr_assert_gt(poll(p, 2, WAIT_MS), 0);
        if (p[0].revents != 0) {
            ssize_t done = send(e.near, sent + out, BULK - out, MSG_DONTWAIT);

            out += done > 0 ? (size_t)done : 0;
            if (out == BULK) {
                shutdown(e.near, SHUT_WR);
            }
        }
        if (p[1].revents != 0) {
            n = read(e.far, got + in, sizeof got - in);
            in += n > 0 ? (size_t)n : 0;
        }
    }
    cr_assert_eq(in, BULK);
    cr_assert_eq(memcmp(sent, got, BULK), 0);
    cr_assert_eq(vms_wan_wait_forward(e.wan, BULK, WAIT_MS), 0);
    finish(&e);
}

Test(wan, holds_up_and_goes_on) {
    struct ends e;

    begin(&e);
    vms_wan_stall(e.wan);
    cr_assert_eq(write(e.near, "a", 1), 1);
    cr_assert_eq(write(e.far, "b", 1), 1);
    cr_assert_not(comes(e.far, SHORT_MS)); // this time is what is tested
    cr_assert_not(comes(e.near, 0));
    vms_wan_go_on(e.wan);
    cr_assert(comes(e.far, WAIT_MS));
    cr_assert(comes(e.near, WAIT_MS));
    finish(&e);
}

Test(wan, cuts_and_takes_new_ones) {
    struct ends e;
    char byte;

    begin(&e);
    vms_wan_cut(e.wan);
    cr_assert(comes(e.near, WAIT_MS));
    cr_assert(comes(e.far, WAIT_MS));
    cr_assert_leq(read(e.near, &byte, 1), 0);
    cr_assert_leq(read(e.far, &byte, 1), 0);
    close(e.near);
    close(e.far);
    join(&e);
    cr_assert_eq(vms_wan_wait_connections(e.wan, 2, WAIT_MS), 0);
    echo(e.near, e.far);
    finish(&e);
}

// The two hosts are apart from this one and see each other; afterwards nothing is left of them.
Test(net, two_hosts) {
    struct vms_net net;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7)};
    char error[200], path[64];

    if (vms_net_open(&net, 100, error, sizeof error) != 0) {
        cr_skip_test("peer absent: %s", error);
    }
    cr_assert_eq(inet_pton(AF_INET, VMS_NET_ADDRESS_B, &address.sin_addr), 1);
    cr_assert_eq(vms_net_enter(&net, VMS_NET_B), 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(vms_net_enter(&net, VMS_NET_A), 0);
    int near = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(near, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(vms_net_leave(&net), 0);
    int outside = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_neq(bind(outside, (struct sockaddr *)&address, sizeof address), 0);
    close(near);
    close(outside);
    close(listener);
    snprintf(path, sizeof path, "/proc/%d", (int)net.holders[0]);
    cr_assert_eq(access(path, F_OK), 0);
    vms_net_close(&net);
    cr_assert_neq(access(path, F_OK), 0);
}
