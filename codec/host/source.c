/* SPDX-License-Identifier: MIT */
#include "host/source.h"
#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IOV_COUNT = 64,
};

static enum vms_source_status failed(struct vms_error *err, const char *what) {
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return VMS_SOURCE_AGAIN;
    (void)vms_error_set(err, VMS_E_IO, "%s: %s", what, strerror(errno));
    return VMS_SOURCE_ERROR;
}

static enum vms_source_status fd_read(void *ctx, const struct vms_room *rooms, size_t count,
                                      size_t *got, struct vms_error *err) {
    const struct vms_fd_source *s = ctx;
    struct iovec iov[IOV_COUNT];
    size_t n = count < IOV_COUNT ? count : IOV_COUNT;
    for (size_t i = 0; i < n; i++)
        iov[i] = (struct iovec){rooms[i].ptr, rooms[i].len};
    ssize_t r;
    do
        r = readv(s->fd, iov, (int)n);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return failed(err, "read");
    *got = (size_t)r;
    return r == 0 ? VMS_SOURCE_END : VMS_SOURCE_DATA;
}

/* A seek past the end of a file succeeds, so the size is looked at first: a region that a file does
 * not hold must be found missing. */
static enum vms_source_status fd_skip(void *ctx, uint64_t n, uint64_t *got, struct vms_error *err) {
    const struct vms_fd_source *s = ctx;
    struct stat st;
    *got = 0;
    if (!s->seekable)
        return VMS_SOURCE_DATA;
    off_t at = lseek(s->fd, 0, SEEK_CUR);
    if (at < 0 || fstat(s->fd, &st) < 0)
        return failed(err, "seek");
    uint64_t left = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    if (left == 0)
        return VMS_SOURCE_END;
    *got = n < left ? n : left;
    return lseek(s->fd, (off_t)*got, SEEK_CUR) < 0 ? failed(err, "seek") : VMS_SOURCE_DATA;
}

static bool fd_quiet(void *ctx, int ms) {
    const struct vms_fd_source *s = ctx;
    struct pollfd p = {s->fd, POLLIN, 0};
    return poll(&p, 1, ms) == 0;
}

static const struct vms_source_ops FD_OPS = {fd_read, fd_skip, fd_quiet};

struct vms_source vms_source_from_fd(struct vms_fd_source *state, int fd) {
    struct stat st;
    struct vms_source source = {&FD_OPS, state, UINT64_MAX};
    *state = (struct vms_fd_source){fd, false};
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        state->seekable = true;
        source.total = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    }
    return source;
}
