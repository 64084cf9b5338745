/* SPDX-License-Identifier: MIT */
#include "host/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct vms_cancel {
    int fd;
    atomic_bool raised;
};

static int64_t now_ms(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

vms_deadline vms_deadline_in(int timeout_ms) {
    return timeout_ms < 0 ? VMS_NEVER : now_ms() + timeout_ms;
}

int vms_deadline_left(vms_deadline deadline) {
    if (deadline == VMS_NEVER)
        return -1;
    int64_t left = deadline - now_ms();
    if (left <= 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

struct vms_cancel *vms_cancel_new(void) {
    struct vms_cancel *cancel = malloc(sizeof *cancel);
    if (!cancel)
        return NULL;
    atomic_init(&cancel->raised, false);
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd >= 0)
        return cancel;
    int saved = errno;
    free(cancel);
    errno = saved;
    return NULL;
}

void vms_cancel_free(struct vms_cancel *cancel) {
    if (!cancel)
        return;
    (void)close(cancel->fd);
    free(cancel);
}

void vms_cancel_raise(struct vms_cancel *cancel) {
    /* Nobody reads the counter back, so the descriptor stays readable for all that wait. It can be
     * full only when it is raised already. */
    int saved = errno;
    uint64_t one = 1;
    if (!cancel) /* [MOD-9] of what is half made */
        return;
    atomic_store(&cancel->raised, true);
    ssize_t written = write(cancel->fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

void vms_cancel_lower(struct vms_cancel *cancel) {
    uint64_t count;
    (void)!read(cancel->fd, &count, sizeof count);
    atomic_store(&cancel->raised, false);
}

bool vms_cancel_raised(const struct vms_cancel *cancel) {
    return cancel && atomic_load(&cancel->raised);
}

enum vms_wait vms_wait_fd(int fd, short events, vms_deadline deadline,
                          const struct vms_cancel *cancel, const struct vms_cancel *wake) {
    struct pollfd fds[3] = {
        {.fd = fd, .events = events},
        {.fd = cancel ? cancel->fd : -1, .events = POLLIN},
        {.fd = wake ? wake->fd : -1, .events = POLLIN},
    };
    for (;;) {
        int n = poll(fds, 3, vms_deadline_left(deadline));
        if (n < 0 && errno != EINTR)
            return VMS_WAIT_FAILED;
        if (vms_cancel_raised(cancel))
            return VMS_WAIT_CANCELLED;
        if (vms_cancel_raised(wake))
            return VMS_WAIT_WOKEN;
        if (n > 0)
            return VMS_WAIT_READY;
        if (n == 0 && vms_deadline_left(deadline) == 0)
            return VMS_WAIT_TIMEOUT;
    }
}
