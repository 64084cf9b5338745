/* SPDX-License-Identifier: MIT */
#include "host/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Who may open one depends on vm.unprivileged_userfaultfd and on the device's mode; what is always
 * permitted sees no faults of system calls. */
static int open_any(void) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 || errno != EPERM)
        return fd;
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device >= 0) {
        fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
        close(device);
        if (fd >= 0)
            return fd;
    }
    return (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
}

static uint64_t kernel_features;

/* The handshake with no feature wanted tells all that there are; it can be done once for a
 * descriptor. */
static void probe(void) {
    int fd = open_any();
    struct uffdio_api api = {.api = UFFD_API};
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0)
        kernel_features = api.features;
    if (fd >= 0)
        close(fd);
}

uint64_t vms_uffd_features(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, probe);
    return kernel_features;
}

enum vms_code vms_uffd_open(uint64_t features, int *fd, struct vms_error *err) {
    uint64_t missing = features & ~vms_uffd_features();
    *fd = -1;
    if (missing)
        return vms_error_set(err, VMS_E_IO, "this kernel's userfaultfd lacks features %#llx",
                             (unsigned long long)missing);
    int opened = open_any();
    if (opened < 0)
        return vms_error_set(err, VMS_E_IO, "userfaultfd: %s", strerror(errno));
    struct uffdio_api api = {.api = UFFD_API, .features = features};
    if (ioctl(opened, UFFDIO_API, &api) != 0) {
        int why = errno;
        close(opened);
        return vms_error_set(err, VMS_E_IO, "userfaultfd handshake: %s", strerror(why));
    }
    *fd = opened;
    return VMS_OK;
}

static struct uffdio_range range_of(const void *start, uint64_t len) {
    return (struct uffdio_range){.start = (uintptr_t)start, .len = len};
}

enum vms_code vms_uffd_register(int fd, void *start, uint64_t len, unsigned modes,
                                struct vms_error *err) {
    struct uffdio_register reg = {
        .range = range_of(start, len),
        .mode = (modes & VMS_UFFD_MISSING ? UFFDIO_REGISTER_MODE_MISSING : 0) |
                (modes & VMS_UFFD_MINOR ? UFFDIO_REGISTER_MODE_MINOR : 0) |
                (modes & VMS_UFFD_WP ? UFFDIO_REGISTER_MODE_WP : 0),
    };
    if (ioctl(fd, UFFDIO_REGISTER, &reg) != 0)
        return vms_error_set(err, VMS_E_IO,
                             "registering %llu bytes with userfaultfd (modes %u): %s",
                             (unsigned long long)len, modes, strerror(errno));
    return VMS_OK;
}

/*
 * [HOST-17] The kernel wakes by itself only where faults of missing pages were reported, and before
 * it locks the mapping: who faults in between (under the lock of its mapping alone, since 6.6)
 * would wait for ever. Behind it nobody can begin to wait any more.
 */
void vms_uffd_unregister(int fd, void *start, uint64_t len) {
    struct uffdio_range range = range_of(start, len);
    (void)ioctl(fd, UFFDIO_UNREGISTER, &range);
    (void)ioctl(fd, UFFDIO_WAKE, &range);
}

static struct vms_uffd_fault fault_of(const struct uffd_msg *msg) {
    uint64_t flags = msg->arg.pagefault.flags;
    return (struct vms_uffd_fault){
        .address = (uint8_t *)(uintptr_t)msg->arg.pagefault.address,
        .mode = flags & UFFD_PAGEFAULT_FLAG_WP      ? VMS_UFFD_WP
                : flags & UFFD_PAGEFAULT_FLAG_MINOR ? VMS_UFFD_MINOR
                                                    : VMS_UFFD_MISSING,
        .write = flags & UFFD_PAGEFAULT_FLAG_WRITE,
        .thread = msg->arg.pagefault.feat.ptid,
    };
}

/* 0: nothing there. Other events than faults were not asked for; they are passed over. */
static ssize_t read_faults(int fd, struct vms_uffd_fault *faults, size_t max) {
    struct uffd_msg msgs[VMS_UFFD_BATCH];
    ssize_t got = read(fd, msgs, (max < VMS_UFFD_BATCH ? max : VMS_UFFD_BATCH) * sizeof *msgs);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    ssize_t count = 0;
    for (size_t i = 0; i < (size_t)got / sizeof *msgs; i++)
        if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
            faults[count++] = fault_of(&msgs[i]);
    return count;
}

/* Reading comes first: a busy guest then costs one system call a batch. */
enum vms_wait vms_uffd_read(int fd, struct vms_uffd_fault *faults, size_t max, size_t *count,
                            vms_deadline deadline, const struct vms_cancel *cancel) {
    *count = 0;
    for (;;) {
        if (vms_cancel_raised(cancel))
            return VMS_WAIT_CANCELLED;
        ssize_t got = read_faults(fd, faults, max);
        if (got < 0)
            return VMS_WAIT_FAILED;
        if (got > 0) {
            *count = (size_t)got;
            return VMS_WAIT_READY;
        }
        enum vms_wait waited = vms_wait_fd(fd, POLLIN, deadline, cancel, NULL);
        if (waited != VMS_WAIT_READY)
            return waited;
    }
}

static enum vms_uffd_result result_of(int why) {
    switch (why) {
    case EEXIST: return VMS_UFFD_EXISTS;
    case EFAULT: return VMS_UFFD_ABSENT;
    case ENOENT:
    case ESRCH: return VMS_UFFD_GONE;
    case EINVAL: return VMS_UFFD_UNSUPPORTED;
    default: return VMS_UFFD_FAILED;
    }
}

/* One attempt to place what is left; says how many bytes, or a negative number. */
struct placement {
    int fd;
    uint8_t *to;
    const uint8_t *from;
    uint64_t len, mode;
};

static int64_t try_copy(const struct placement *p, uint64_t at) {
    struct uffdio_copy copy = {.dst = (uintptr_t)(p->to + at),
                               .src = (uintptr_t)(p->from + at),
                               .len = p->len - at,
                               .mode = p->mode};
    return ioctl(p->fd, UFFDIO_COPY, &copy) == 0 ? (int64_t)copy.len : copy.copy;
}

static int64_t try_zero(const struct placement *p, uint64_t at) {
    struct uffdio_zeropage zero = {.range = range_of(p->to + at, p->len - at), .mode = p->mode};
    return ioctl(p->fd, UFFDIO_ZEROPAGE, &zero) == 0 ? (int64_t)zero.range.len : zero.zeropage;
}

static int64_t try_continue(const struct placement *p, uint64_t at) {
    struct uffdio_continue cont = {.range = range_of(p->to + at, p->len - at), .mode = p->mode};
    return ioctl(p->fd, UFFDIO_CONTINUE, &cont) == 0 ? (int64_t)cont.range.len : cont.mapped;
}

/* EAGAIN means that a part was placed, or that nothing was because the process's mappings are
 * changing just now, which passes. */
static enum vms_uffd_result place(const struct placement *p,
                                  int64_t (*attempt)(const struct placement *, uint64_t),
                                  uint64_t *done) {
    *done = 0;
    while (*done < p->len) {
        errno = 0;
        int64_t placed = attempt(p, *done);
        if (placed > 0)
            *done += (uint64_t)placed;
        else if (errno == EAGAIN)
            sched_yield();
        else
            return result_of(errno);
    }
    return VMS_UFFD_DONE;
}

enum vms_uffd_result vms_uffd_copy(int fd, void *to, const void *from, uint64_t len, bool wake,
                                   bool protect, uint64_t *done) {
    struct placement p = {.fd = fd,
                          .to = to,
                          .from = from,
                          .len = len,
                          .mode = (wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE) |
                                  (protect ? UFFDIO_COPY_MODE_WP : 0)};
    return place(&p, try_copy, done);
}

enum vms_uffd_result vms_uffd_zero(int fd, void *to, uint64_t len, bool wake, uint64_t *done) {
    struct placement p = {
        .fd = fd, .to = to, .len = len, .mode = wake ? 0 : UFFDIO_ZEROPAGE_MODE_DONTWAKE};
    return place(&p, try_zero, done);
}

enum vms_uffd_result vms_uffd_continue(int fd, void *to, uint64_t len, bool wake, uint64_t *done) {
    struct placement p = {
        .fd = fd, .to = to, .len = len, .mode = wake ? 0 : UFFDIO_CONTINUE_MODE_DONTWAKE};
    return place(&p, try_continue, done);
}

enum vms_uffd_result vms_uffd_protect(int fd, void *start, uint64_t len, bool protect) {
    struct uffdio_writeprotect wp = {.range = range_of(start, len),
                                     .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
    while (ioctl(fd, UFFDIO_WRITEPROTECT, &wp) != 0) {
        if (errno != EAGAIN)
            return result_of(errno);
        sched_yield();
    }
    return VMS_UFFD_DONE;
}

enum vms_uffd_result vms_uffd_wake(int fd, void *start, uint64_t len) {
    struct uffdio_range range = range_of(start, len);
    return ioctl(fd, UFFDIO_WAKE, &range) == 0 ? VMS_UFFD_DONE : result_of(errno);
}
