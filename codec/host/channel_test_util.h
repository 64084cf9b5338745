/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_CHANNEL_TEST_UTIL_H
#define VMSTREAM_HOST_CHANNEL_TEST_UTIL_H

/* What the tests of channels share. Every test is a process of its own, so statics are per test. */

#include "host/channel.h"
#include "host/listener.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Long enough for a loaded machine; a test that reaches it fails. */
#define PATIENCE_MS 30000

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct vms_error err = {0};                                                                \
        cr_assert_eq((call), VMS_OK, "%s: %s", #call, err.message);                                \
    } while (0)

/* The call fails with code and a message that has part. */
#define FAILS(call, expected, part)                                                                \
    do {                                                                                           \
        struct vms_error err = {0};                                                                \
        enum vms_code code_ = (call);                                                              \
        cr_assert_eq(code_, (expected), "%s: %s (%s)", #call, vms_code_name(code_), err.message);  \
        cr_assert_eq(err.code, (expected));                                                        \
        cr_assert_not_null(strstr(err.message, (part)), "'%s' does not say '%s'", err.message,     \
                           (part));                                                                \
    } while (0)

static inline struct vms_uri uri_of(const char *text) {
    struct vms_uri uri;
    OK(vms_uri_parse(text, &uri, &err));
    return uri;
}

/* A directory that is removed with the files in it when the test ends. */
static char test_dir[64];

static inline void remove_test_dir(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", test_dir);
    if (system(command) != 0)
        perror(command);
}

static inline const char *in_test_dir(const char *name, char *path, size_t size) {
    if (!test_dir[0]) {
        strcpy(test_dir, "/tmp/vmstream-test-XXXXXX");
        cr_assert_not_null(mkdtemp(test_dir));
        (void)atexit(remove_test_dir);
    }
    (void)snprintf(path, size, "%s/%s", test_dir, name);
    return path;
}

/* prefix, a path in the test's directory, suffix. */
static inline struct vms_uri uri_in_dir(const char *prefix, const char *name, const char *suffix) {
    char path[128];
    char text[256];
    (void)snprintf(text, sizeof text, "%s%s%s", prefix, in_test_dir(name, path, sizeof path),
                   suffix);
    return uri_of(text);
}

static inline struct vms_channel_options patient(void) {
    struct vms_channel_options options = vms_channel_options_default();
    options.open_timeout_ms = options.read_timeout_ms = options.write_timeout_ms = PATIENCE_MS;
    return options;
}

static inline void send_text(struct vms_channel *channel, const char *text) {
    OK(vms_channel_write_all(channel, vms_str(text), &err));
}

static inline void expect_text(struct vms_channel *channel, const char *text) {
    char got[256] = "";
    size_t len = strlen(text);
    cr_assert_lt(len, sizeof got);
    OK(vms_channel_read_full(channel, (struct vms_room){(uint8_t *)got, len}, &err));
    cr_assert_str_eq(got, text);
}

static inline void expect_end(struct vms_channel *channel, enum vms_channel_end end) {
    uint8_t byte;
    size_t n = 1;
    OK(vms_channel_read(channel, (struct vms_room){&byte, 1}, &n, &err));
    cr_assert_eq(n, 0);
    cr_assert_eq(vms_channel_end(channel), end);
}

/* A call in a thread of its own. */
struct worker {
    pthread_t thread;
    sem_t started;
    pid_t tid;
    void (*run)(void *);
    void *arg;
};

static inline void *worker_main(void *arg) {
    struct worker *worker = arg;
    worker->tid = (pid_t)syscall(SYS_gettid);
    (void)sem_post(&worker->started);
    worker->run(worker->arg);
    return NULL;
}

static inline void start_worker(struct worker *worker, void (*run)(void *), void *arg) {
    worker->run = run;
    worker->arg = arg;
    (void)sem_init(&worker->started, 0, 0);
    cr_assert_eq(pthread_create(&worker->thread, NULL, worker_main, worker), 0);
    (void)sem_wait(&worker->started);
}

static inline void join_worker(struct worker *worker) {
    (void)pthread_join(worker->thread, NULL);
    (void)sem_destroy(&worker->started);
}

/* Waits until the worker sleeps in a system call: the event is its state, no time is guessed. */
static inline void await_asleep(const struct worker *worker) {
    char path[64];
    char state = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)worker->tid);
    while (state != 'S') {
        FILE *in = fopen(path, "re");
        cr_assert_not_null(in);
        cr_assert_eq(fscanf(in, "%*d (%*[^)]) %c", &state), 1);
        (void)fclose(in);
        (void)sched_yield();
    }
}

/* Both ends of a connection over a listener for uri. */
struct ends {
    struct vms_listener *listener;
    struct vms_channel *client;
    struct vms_channel *server;
    struct vms_uri uri; /* to connect to, with the port that was chosen */
    struct vms_channel_options client_options;
    enum vms_code client_code;
    struct vms_error client_error;
};

static inline void connect_end(void *arg) {
    struct ends *ends = arg;
    ends->client_code =
        vms_channel_connect(&ends->uri, &ends->client_options, &ends->client, &ends->client_error);
}

static inline void listen_end(struct ends *ends, const struct vms_uri *uri,
                              const struct vms_channel_options *options) {
    OK(vms_listener_open(uri, options, &ends->listener, &err));
    ends->uri = uri_of(vms_listener_name(ends->listener));
}

/* The server's code; the client's is in ends->client_code. */
static inline enum vms_code meet(struct ends *ends, struct vms_error *err) {
    struct worker client;
    start_worker(&client, connect_end, ends);
    enum vms_code code = vms_listener_accept(ends->listener, PATIENCE_MS, &ends->server, err);
    join_worker(&client);
    return code;
}

static inline void open_ends(struct ends *ends, const char *uri) {
    struct vms_uri parsed = uri_of(uri);
    struct vms_channel_options options = patient();
    ends->client_options = options;
    listen_end(ends, &parsed, &options);
    OK(meet(ends, &err));
    cr_assert_eq(ends->client_code, VMS_OK, "%s", ends->client_error.message);
}

static inline void close_ends(struct ends *ends) {
    OK(vms_channel_close(ends->client, &err));
    OK(vms_channel_close(ends->server, &err));
    vms_listener_close(ends->listener);
}

static inline struct vms_channel *channel_on_fd(int fd) {
    char text[32];
    struct vms_channel *channel = NULL;
    (void)snprintf(text, sizeof text, "fd:%d", fd);
    struct vms_uri uri = uri_of(text);
    OK(vms_channel_connect(&uri, NULL, &channel, &err));
    return channel;
}

/* A channel on one end of a socket pair; *other is the other end's descriptor. */
static inline struct vms_channel *channel_on_pair(int *other,
                                                  const struct vms_channel_options *options) {
    struct vms_channel *channel = NULL;
    char text[32];
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(text, sizeof text, "fd:%d", pair[0]);
    struct vms_uri uri = uri_of(text);
    OK(vms_channel_open(&uri, options, &channel, &err));
    *other = pair[1];
    return channel;
}

#endif
