/* SPDX-License-Identifier: MIT */
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The functions that stand before libc's. Also those that _FORTIFY_SOURCE puts in their places.
 * Nothing else of this object is visible.
 */
#define VISIBLE __attribute__((visibility("default")))

long kernel(long number, long a, long b, long c, long d, long e) {
    long result = syscall(number, a, b, c, d, e);
    return result < 0 ? -(long)errno : result;
}

/** As libc returns it. */
static long answer(long result) {
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

VISIBLE int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    bool ours = _IOC_TYPE(request) == VFIO_TYPE || _IOC_TYPE(request) == VHOST_VIRTIO;
    struct object *object = ours ? object_get(fd, true) : NULL;
    if (!object)
        return (int)answer(kernel(SYS_ioctl, fd, (long)request, (long)arg, 0, 0));
    int result = object->ops->ioctl(object, request, arg);
    object_put(object);
    return (int)answer(result);
}

static ssize_t do_read(int fd, void *buf, size_t len) {
    struct object *object = object_get(fd, false);
    if (!object)
        return answer(kernel(SYS_read, fd, (long)buf, (long)len, 0, 0));
    ssize_t result = object->ops->read(object, buf, len);
    object_put(object);
    return answer(result);
}

static ssize_t do_pread(int fd, void *buf, size_t len, off_t at) {
    struct object *object = object_get(fd, false);
    if (!object)
        return answer(kernel(SYS_pread64, fd, (long)buf, (long)len, at, 0));
    ssize_t result = object->ops->pread(object, buf, len, (uint64_t)at);
    object_put(object);
    return answer(result);
}

static ssize_t do_pwrite(int fd, const void *buf, size_t len, off_t at) {
    struct object *object = object_get(fd, false);
    if (!object)
        return answer(kernel(SYS_pwrite64, fd, (long)buf, (long)len, at, 0));
    ssize_t result = object->ops->pwrite(object, buf, len, (uint64_t)at);
    object_put(object);
    return answer(result);
}

VISIBLE ssize_t read(int fd, void *buf, size_t len) {
    return do_read(fd, buf, len);
}

VISIBLE ssize_t write(int fd, const void *buf, size_t len) {
    struct object *object = object_get(fd, false);
    if (!object)
        return answer(kernel(SYS_write, fd, (long)buf, (long)len, 0, 0));
    ssize_t result = object->ops->write(object, buf, len);
    object_put(object);
    return answer(result);
}

VISIBLE ssize_t pread(int fd, void *buf, size_t len, off_t at) {
    return do_pread(fd, buf, len, at);
}

VISIBLE ssize_t pwrite(int fd, const void *buf, size_t len, off_t at) {
    return do_pwrite(fd, buf, len, at);
}

VISIBLE int close(int fd) {
    object_close(fd);
    return (int)answer(kernel(SYS_close, fd, 0, 0, 0, 0));
}

static int do_open(int at, const char *path, int flags, unsigned mode) {
    struct object *object = NULL;
    if (strcmp(path, "/dev/iommu") == 0)
        object = iommu_new();
    else if (strcmp(path, "/dev/vfio/vfio") == 0)
        object = container_new();
    if (!object)
        return (int)answer(kernel(SYS_openat, at, (long)path, flags, mode, 0));
    return (int)answer(object_open(object, "vfio-sim-iommu"));
}

#define MODE(flags, last)                                                                          \
    unsigned mode = 0;                                                                             \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list args;                                                                              \
        va_start(args, last);                                                                      \
        mode = va_arg(args, unsigned);                                                             \
        va_end(args);                                                                              \
    }

VISIBLE int open(const char *path, int flags, ...) {
    MODE(flags, flags)
    return do_open(AT_FDCWD, path, flags, mode);
}

VISIBLE int openat(int at, const char *path, int flags, ...) {
    MODE(flags, flags)
    return do_open(at, path, flags, mode);
}

/* What a 64-bit libc has the same function for, under other names. */
ssize_t sim_read_chk(int fd, void *buf, size_t len, size_t size) __asm__("__read_chk");
ssize_t sim_pread_chk(int fd, void *buf, size_t len, off_t at, size_t size) __asm__("__pread_chk");
ssize_t sim_pread64_chk(int fd, void *buf, size_t len, off_t at,
                        size_t size) __asm__("__pread64_chk");
int sim_open_2(const char *path, int flags) __asm__("__open_2");
int sim_open64_2(const char *path, int flags) __asm__("__open64_2");
int sim_open64(const char *path, int flags, ...) __asm__("open64");
int sim_openat64(int at, const char *path, int flags, ...) __asm__("openat64");
ssize_t sim_pread64(int fd, void *buf, size_t len, off_t at) __asm__("pread64");
ssize_t sim_pwrite64(int fd, const void *buf, size_t len, off_t at) __asm__("pwrite64");

VISIBLE ssize_t sim_read_chk(int fd, void *buf, size_t len, size_t size) {
    return do_read(fd, buf, len < size ? len : size);
}

VISIBLE ssize_t sim_pread_chk(int fd, void *buf, size_t len, off_t at, size_t size) {
    return do_pread(fd, buf, len < size ? len : size, at);
}

VISIBLE ssize_t sim_pread64_chk(int fd, void *buf, size_t len, off_t at, size_t size) {
    return do_pread(fd, buf, len < size ? len : size, at);
}

VISIBLE int sim_open_2(const char *path, int flags) {
    return do_open(AT_FDCWD, path, flags, 0);
}

VISIBLE int sim_open64_2(const char *path, int flags) {
    return do_open(AT_FDCWD, path, flags, 0);
}

VISIBLE int sim_open64(const char *path, int flags, ...) {
    MODE(flags, flags)
    return do_open(AT_FDCWD, path, flags, mode);
}

VISIBLE int sim_openat64(int at, const char *path, int flags, ...) {
    MODE(flags, flags)
    return do_open(at, path, flags, mode);
}

VISIBLE ssize_t sim_pread64(int fd, void *buf, size_t len, off_t at) {
    return do_pread(fd, buf, len, at);
}

VISIBLE ssize_t sim_pwrite64(int fd, const void *buf, size_t len, off_t at) {
    return do_pwrite(fd, buf, len, at);
}
