/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * [RLY-1] Two relays with the test at both ends: a connection that was silent for so long that it
 * was taken for a preempt channel (RLY-5), and then says what no such channel does.
 */
enum {
    WAIT_MS = 60000,
    OCTETS = 3 << 20, /* many times what a relay holds */
};

static char folder[64];
static uint8_t sent[OCTETS], got[OCTETS + 1];

/* A whole stream: header, configuration, an empty RAM section and its end, a description. */
static const uint8_t STREAM[] =
    "QEVM\0\0\0\3\7\0\0\0\4none"
    "\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4\0\0\0\0\0\0\x10\4\3ram\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\x10"
    "\x7e\0\0\0\1"
    "\3\0\0\0\1\0\0\0\0\0\0\0\x10\x7e\0\0\0\1\0\6\0\0\0\x1f{\"page_size\":4096,\"devices\":[]}";

static struct sockaddr_un address(const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%.60s/%s", folder, name);
    return a;
}

static int listen_on(const char *name) {
    struct sockaddr_un a = address(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(fd, 4), 0);
    return fd;
}

/* Nothing else tells that a relay listens. */
static void until_there(const char *name) {
    struct sockaddr_un a = address(name);
    for (int ms = 0; access(a.sun_path, F_OK) != 0; ms += 10) {
        cr_assert_lt(ms, WAIT_MS);
        (void)usleep(10000);
    }
}

static int dial(const char *name) {
    struct sockaddr_un a = address(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int ms = 0; connect(fd, (struct sockaddr *)&a, sizeof a) != 0; ms += 10) {
        cr_assert_lt(ms, WAIT_MS);
        (void)usleep(10000);
    }
    return fd;
}

static int take(int listener) {
    struct pollfd p = {listener, POLLIN, 0};
    cr_assert_eq(poll(&p, 1, WAIT_MS), 1);
    return accept(listener, NULL, NULL);
}

static pid_t relay(const char *listen_name, const char *connect_name, const char *native) {
    char program[512], from[96], to[96], log[96];
    const char *build = getenv("VMSTREAM_BUILD");
    const char *const argv[] = {program,     "relay", "-q",   "--listen", from,
                                "--connect", to,      native, "native",   NULL};
    (void)snprintf(program, sizeof program, "%s/vmstream", build ? build : "build");
    (void)snprintf(from, sizeof from, "unix:%.60s/%s", folder, listen_name);
    (void)snprintf(to, sizeof to, "unix:%.60s/%s", folder, connect_name);
    (void)snprintf(log, sizeof log, "%.60s/%s.log", folder, listen_name);
    return live_spawn(argv, log, NULL);
}

static void write_all(int fd, const uint8_t *p, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, p + done, n - done);
        cr_assert_gt(put, 0);
        done += (size_t)put;
    }
}

static size_t read_to_end(int fd, uint8_t *p, size_t most) {
    size_t done = 0;
    for (ssize_t n = 1; n > 0 && done<most; done += n> 0 ? (size_t)n : 0) {
        struct pollfd wait = {fd, POLLIN, 0};
        cr_assert_eq(poll(&wait, 1, WAIT_MS), 1);
        n = read(fd, p + done, most - done);
    }
    return done;
}

static void *write_late(void *fd) {
    write_all(*(int *)fd, sent, sizeof sent);
    (void)shutdown(*(int *)fd, SHUT_WR);
    return NULL;
}

/* None of these octets is a record of a preempt channel: they look like a multifd channel's. */
static void make_octets(void) {
    static const uint8_t head[] = {0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1};
    uint32_t x = 2463534242;
    for (size_t i = 0; i < sizeof sent; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        sent[i] = i < sizeof head ? head[i] : (uint8_t)x;
    }
}

Test(relay_octets, of_a_channel_whose_kind_was_guessed, .timeout = 120) {
    pthread_t writer;
    (void)strcpy(folder, "/tmp/vms-octets-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    make_octets();
    int qemu = listen_on("qemu");
    pid_t b = relay("link", "qemu", "--listen-wire"), a;
    until_there("link");
    a = relay("near", "link", "--connect-wire");
    int main = dial("near");
    write_all(main, STREAM, 20);
    int main_there = take(qemu), late = dial("near");
    int late_there = take(qemu); /* only a preempt channel is made before it says anything */
    cr_assert_eq(pthread_create(&writer, NULL, write_late, &late), 0);
    size_t n = read_to_end(late_there, got, sizeof got);
    cr_assert_eq(pthread_join(writer, NULL), 0);
    cr_expect_eq(n, sizeof sent);
    cr_expect(memcmp(got, sent, sizeof sent) == 0, "the octets are not those that were sent");
    write_all(main, STREAM + 20, sizeof STREAM - 1 - 20);
    (void)shutdown(main, SHUT_WR);
    n = read_to_end(main_there, got, sizeof got);
    cr_expect(n == sizeof STREAM - 1 && memcmp(got, STREAM, n) == 0);
    (void)close(main_there);
    (void)close(late_there);
    cr_expect_eq(live_wait(a, WAIT_MS), 0);
    cr_expect_eq(live_wait(b, WAIT_MS), 0);
    const char *const rm[] = {"/bin/rm", "-rf", folder, NULL};
    (void)live_wait(live_spawn(rm, NULL, NULL), WAIT_MS);
}
