/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

static int64_t now_ns(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

Test(wait, deadline_left) {
    cr_assert_eq(vms_deadline_in(-1), VMS_NEVER);
    cr_assert_eq(vms_deadline_left(VMS_NEVER), -1);
    cr_assert_eq(vms_deadline_left(vms_deadline_in(0)), 0);
    cr_assert_eq(vms_deadline_left(0), 0);
    int left = vms_deadline_left(vms_deadline_in(PATIENCE_MS));
    cr_assert(left > 0 && left <= PATIENCE_MS);
    cr_assert_eq(vms_deadline_left(VMS_NEVER - 1), INT32_MAX);
}

Test(wait, times_out_after_the_time) {
    int64_t before = now_ns();
    cr_assert_eq(vms_wait_fd(-1, 0, vms_deadline_in(20), NULL, NULL), VMS_WAIT_TIMEOUT);
    cr_assert_geq(now_ns() - before, 19000000);
}

Test(wait, ready_descriptor) {
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(vms_wait_fd(pipe_fds[0], POLLIN, vms_deadline_in(0), NULL, NULL),
                 VMS_WAIT_TIMEOUT);
    cr_assert_eq(vms_wait_fd(pipe_fds[1], POLLOUT, VMS_NEVER, NULL, NULL), VMS_WAIT_READY);
    (void)close(pipe_fds[1]);
    cr_assert_eq(vms_wait_fd(pipe_fds[0], POLLIN, VMS_NEVER, NULL, NULL), VMS_WAIT_READY);
    (void)close(pipe_fds[0]);
}

Test(wait, tokens_win_and_stay) {
    struct vms_cancel *first = vms_cancel_new();
    struct vms_cancel *second = vms_cancel_new();
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    cr_assert_not(vms_cancel_raised(NULL));
    cr_assert_not(vms_cancel_raised(second));
    vms_cancel_raise(second);
    vms_cancel_raise(second);
    cr_assert_eq(vms_wait_fd(fd, POLLOUT, VMS_NEVER, first, second), VMS_WAIT_WOKEN);
    vms_cancel_raise(first);
    cr_assert_eq(vms_wait_fd(fd, POLLOUT, VMS_NEVER, first, second), VMS_WAIT_CANCELLED);
    cr_assert(vms_cancel_raised(first));
    vms_cancel_free(first);
    vms_cancel_free(second);
    vms_cancel_free(NULL);
    (void)close(fd);
}

static struct vms_cancel *token;

static void raise_token(int signum) {
    (void)signum;
    vms_cancel_raise(token);
}

static void wait_for_token(void *arg) {
    enum vms_wait *wait = arg;
    *wait = vms_wait_fd(-1, 0, VMS_NEVER, token, NULL);
}

/* A signal handler may raise the token, and a signal that does not does not end the wait. */
Test(wait, signals) {
    enum vms_wait wait = VMS_WAIT_READY;
    struct worker worker;
    token = vms_cancel_new();
    (void)signal(SIGUSR1, raise_token);
    start_worker(&worker, wait_for_token, &wait);
    await_asleep(&worker);
    (void)pthread_kill(worker.thread, SIGUSR1);
    join_worker(&worker);
    cr_assert_eq(wait, VMS_WAIT_CANCELLED);
    vms_cancel_free(token);
}
