/* SPDX-License-Identifier: MIT */
#include "host/transport.h"

#include <errno.h>
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

/* Writes with SIGPIPE held back in this thread. One that the write raised is taken off the queue,
 * one that was pending before is left: it is not ours. */
static ssize_t writev_without_sigpipe(int fd, const struct iovec *iov, int count) {
    static const struct timespec at_once = {0, 0};
    sigset_t pipe_set;
    sigset_t old;
    sigset_t pending;
    (void)sigemptyset(&pipe_set);
    (void)sigaddset(&pipe_set, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    ssize_t put = writev(fd, iov, count);
    int saved = errno;
    if (put < 0 && saved == EPIPE && sigismember(&pending, SIGPIPE) == 0)
        while (sigtimedwait(&pipe_set, NULL, &at_once) < 0 && errno == EINTR) {
        }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return put;
}

enum vms_io vms_stream_writev(int fd, const struct iovec *iov, int count, size_t *n,
                              const char *name, struct vms_error *err) {
    return write_result(writev_without_sigpipe(fd, iov, count), n, name, err);
}
