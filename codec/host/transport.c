/* SPDX-License-Identifier: MIT */
#include "host/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static bool peer_gone(int errnum) {
    return errnum == EPIPE || errnum == ECONNRESET || errnum == ETIMEDOUT ||
           errnum == EHOSTUNREACH || errnum == ENETUNREACH;
}

enum vms_code vms_io_error(struct vms_error *err, const char *name, const char *what, int errnum) {
    return vms_error_set(err, peer_gone(errnum) ? VMS_E_PEER_CLOSED : VMS_E_IO,
                         "%.80s: cannot %s: %s", name, what, strerror(errnum));
}

static bool would_block(int errnum) {
    return errnum == EAGAIN || errnum == EWOULDBLOCK || errnum == EINTR;
}

static enum vms_io read_result(ssize_t got, size_t *n, const char *name, struct vms_error *err) {
    if (got > 0) {
        *n = (size_t)got;
        return VMS_IO_OK;
    }
    if (got == 0)
        return VMS_IO_END;
    if (would_block(errno))
        return VMS_IO_WANT_READ;
    (void)vms_io_error(err, name, "read", errno);
    return VMS_IO_FAILED;
}

static enum vms_io write_result(ssize_t put, size_t *n, const char *name, struct vms_error *err) {
    if (put >= 0) {
        *n = (size_t)put;
        return VMS_IO_OK;
    }
    if (would_block(errno))
        return VMS_IO_WANT_WRITE;
    (void)vms_io_error(err, name, "write", errno);
    return VMS_IO_FAILED;
}

/* The kernel does not write to a message's iovec. */
static struct iovec *as_mutable(const struct iovec *iov) {
    return (struct iovec *)(uintptr_t)iov;
}

enum vms_io vms_socket_readv(int fd, const struct iovec *iov, int count, size_t *n,
                             const char *name, struct vms_error *err) {
    struct msghdr msg = {.msg_iov = as_mutable(iov), .msg_iovlen = (size_t)count};
    return read_result(recvmsg(fd, &msg, MSG_DONTWAIT), n, name, err);
}

enum vms_io vms_socket_writev(int fd, const struct iovec *iov, int count, size_t *n,
                              const char *name, struct vms_error *err) {
    struct msghdr msg = {.msg_iov = as_mutable(iov), .msg_iovlen = (size_t)count};
    return write_result(sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL), n, name, err);
}

enum vms_io vms_stream_readv(int fd, const struct iovec *iov, int count, size_t *n,
                             const char *name, struct vms_error *err) {
    return read_result(readv(fd, iov, count), n, name, err);
}

/*
 * SIGPIPE held back in this thread for one call. One that the call raised is taken off the queue,
 * one that was pending before is left: it is not ours.
 */
struct hush {
    sigset_t pipe_set, old, pending;
    bool needless;
};

static _Thread_local bool without_sigpipe;

void vms_thread_without_sigpipe(void) {
    sigset_t pipe_set;
    (void)sigemptyset(&pipe_set);
    (void)sigaddset(&pipe_set, SIGPIPE);
    without_sigpipe = pthread_sigmask(SIG_BLOCK, &pipe_set, NULL) == 0;
}

static void hush(struct hush *h) {
    h->needless = without_sigpipe;
    if (h->needless)
        return;
    (void)sigemptyset(&h->pipe_set);
    (void)sigaddset(&h->pipe_set, SIGPIPE);
    (void)sigpending(&h->pending);
    (void)pthread_sigmask(SIG_BLOCK, &h->pipe_set, &h->old);
}

/* put: what the call has returned, with errno as it left it; both stay. A call that got some bytes
 * through before the peer was gone has raised the signal too, and does not say so. */
static ssize_t unhush(const struct hush *h, ssize_t put) {
    static const struct timespec at_once = {0, 0};
    int saved = errno;
    if (h->needless)
        return put;
    if (sigismember(&h->pending, SIGPIPE) == 0)
        while (sigtimedwait(&h->pipe_set, NULL, &at_once) < 0 && errno == EINTR) {
        }
    (void)pthread_sigmask(SIG_SETMASK, &h->old, NULL);
    errno = saved;
    return put;
}

enum vms_io vms_stream_writev(int fd, const struct iovec *iov, int count, size_t *n,
                              const char *name, struct vms_error *err) {
    struct hush h;
    hush(&h);
    return write_result(unhush(&h, writev(fd, iov, count)), n, name, err);
}

enum vms_io vms_pipe_to_socket(int pipe, int fd, size_t len, size_t *n, const char *name,
                               struct vms_error *err) {
    struct hush h;
    hush(&h);
    ssize_t put = unhush(&h, splice(pipe, NULL, fd, NULL, len, SPLICE_F_NONBLOCK));
    int saved = errno;
    enum vms_io io = write_result(put, n, name, err);
    errno = saved;
    return io;
}
