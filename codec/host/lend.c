/* SPDX-License-Identifier: MIT */
#include "host/lend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PIPE = 1 << 20, /* bytes; as many as anybody may have (/proc/sys/fs/pipe-max-size) */
};

void vms_lender_close(struct vms_lender *lender) {
    if (lender->state != VMS_LEND_WORKS)
        return;
    (void)close(lender->in);
    (void)close(lender->out);
    *lender = (struct vms_lender){.state = VMS_LEND_REFUSED};
}

/* splice() into a socket waits unless the socket's description says not to. */
static bool suits(int fd) {
    int domain = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof domain;
    return flags >= 0 && flags & O_NONBLOCK &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static bool ready(struct vms_lender *lender, int fd) {
    int ends[2];
    if (lender->state != VMS_LEND_UNTRIED)
        return lender->state == VMS_LEND_WORKS;
    lender->state = VMS_LEND_REFUSED;
    if (!suits(fd) || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE);
    *lender = (struct vms_lender){.state = VMS_LEND_WORKS, .in = ends[1], .out = ends[0]};
    return true;
}

static bool is_refusal(int errnum) {
    return errnum == EINVAL || errnum == ENOSYS || errnum == EPERM || errnum == EOPNOTSUPP;
}

/* What stands in the pipe was given by an earlier call that the socket had no room for. */
static bool fill(struct vms_lender *lender, const void *data, size_t len) {
    struct iovec iov = {(void *)(uintptr_t)data, len};
    if (lender->inside)
        return true;
    ssize_t got = vmsplice(lender->in, &iov, 1, SPLICE_F_NONBLOCK);
    if (got > 0)
        lender->inside = (size_t)got;
    return got > 0;
}

enum vms_io vms_lend(struct vms_lender *lender, int fd, const void *data, size_t len, size_t *n,
                     const char *name, struct vms_error *err) {
    *n = 0;
    if (!ready(lender, fd))
        return VMS_IO_END;
    if (!fill(lender, data, len)) { /* nothing is on its way: it can as well be copied */
        vms_lender_close(lender);
        return VMS_IO_END;
    }
    enum vms_io io = vms_pipe_to_socket(lender->out, fd, lender->inside, n, name, err);
    if (io == VMS_IO_OK)
        lender->inside -= *n;
    if (io != VMS_IO_FAILED || !is_refusal(errno))
        return io;
    vms_lender_close(lender); /* with what stood in the pipe, which is written instead */
    return VMS_IO_END;
}
