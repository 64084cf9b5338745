/* SPDX-License-Identifier: MIT */
#include "conformance/vdpa-sim/preload/vdpa.h"
#include "conformance/vdpa-sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/*
 * A simulated device behind a descriptor: ioctl and write of /dev/vhost-vdpa-N, and a thread that
 * is the hardware: it hears the kicks.
 */
enum {
    NAP = 200000, /* ns; shorter waits add up first */
    TEXT = 16384,
    OLD = 64, /* descriptors that wait to be closed */
};

struct vdpa {
    struct object object;
    pthread_mutex_t lock;
    pthread_t thread;
    bool has_thread, over;
    int wake[2]; /* a pipe: kicks have changed */
    struct vds_device *sim;
    struct vfs_log log;
    uint64_t debt;
    int held[VDS_QUEUES_MAX][2]; /* ours, of the rings' kicks and calls */
    int old[OLD]; /* of rings that have others now: the hardware may still be at them */
    unsigned old_count;
    pthread_cond_t closed;
};

static void nap(uint64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* Memory of this process, by the kernel: what is not there is an answer, not a signal. */
static bool memory(void *ctx, uint64_t address, void *buf, size_t len, bool write) {
    struct iovec here = {buf, len}, there = {(void *)(uintptr_t)address, len};
    (void)ctx;
    ssize_t n = write ? process_vm_writev(getpid(), &here, 1, &there, 1, 0)
                      : process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    if (n < 0 && (errno == EPERM || errno == ENOSYS)) { /* a container may forbid it */
        memcpy(write ? there.iov_base : buf, write ? buf : there.iov_base, len);
        return true;
    }
    return n == (ssize_t)len;
}

static void line(void *ctx, const char *text) {
    struct vdpa *v = ctx;
    if (v->log.line)
        v->log.line(v->log.ctx, text);
}

static uint64_t memlock(void *ctx) {
    struct rlimit limit;
    (void)ctx;
    return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

/* ---- the hardware ---- */

static void hear(struct vdpa *v, uint32_t queue, int kick) {
    uint64_t count = 1;
    (void)kernel(SYS_read, kick, (long)&count, sizeof count, 0, 0);
    (void)pthread_mutex_lock(&v->lock);
    bool did = vds_kick(v->sim, now_ns(), queue), echo = vds_description(v->sim)->echo;
    int call = did ? vds_ring(v->sim, queue)->call : -1;
    int second = did && echo && queue % 2 ? vds_ring(v->sim, queue - 1)->call : -1;
    uint64_t took = vds_took(v->sim);
    (void)pthread_mutex_unlock(&v->lock);
    if (took)
        nap(took);
    count = 1;
    if (second >= 0)
        (void)kernel(SYS_write, second, (long)&count, sizeof count, 0, 0);
    if (call >= 0)
        (void)kernel(SYS_write, call, (long)&count, sizeof count, 0, 0);
}

/* With lock. */
static void close_old(struct vdpa *v) {
    while (v->old_count)
        (void)kernel(SYS_close, v->old[--v->old_count], 0, 0, 0, 0);
    (void)pthread_cond_broadcast(&v->closed);
}

static void *hardware(void *ctx) {
    struct vdpa *v = ctx;
    for (;;) {
        struct pollfd fds[VDS_QUEUES_MAX + 1] = {{.fd = v->wake[0], .events = POLLIN}};
        uint8_t drain[64];
        (void)pthread_mutex_lock(&v->lock);
        close_old(v);
        uint32_t n = vds_queues(v->sim);
        bool over = v->over, runs = vds_runs(v->sim);
        for (uint32_t i = 0; i < n; i++) {
            const struct vds_ring *r = vds_ring(v->sim, i);
            fds[i + 1] = (struct pollfd){.fd = runs && r->enabled ? r->kick : -1, .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&v->lock);
        if (over)
            return NULL;
        if (poll(fds, n + 1, -1) <= 0)
            continue;
        if (fds[0].revents)
            (void)kernel(SYS_read, v->wake[0], (long)drain, sizeof drain, 0, 0);
        for (uint32_t i = 0; i < n; i++)
            if (fds[i + 1].revents & POLLIN)
                hear(v, i, fds[i + 1].fd);
            else if (fds[i + 1].revents) /* closed under the device */
                nap(1000000);
    }
}

static void start(struct vdpa *v) {
    sigset_t all, old;
    if (v->has_thread || kernel(SYS_pipe2, (long)v->wake, 02000000 /* O_CLOEXEC */, 0, 0, 0) < 0)
        return;
    (void)sigfillset(&all); /* signals are the program's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    v->has_thread = pthread_create(&v->thread, NULL, hardware, v) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void wake(struct vdpa *v) {
    if (v->has_thread)
        (void)kernel(SYS_write, v->wake[1], (long)"", 1, 0, 0);
}

/* ---- descriptors ---- */

/* With lock. Only the hardware closes what it may be reading. */
static void let_go(struct vdpa *v, int fd) {
    while (v->has_thread && v->old_count == OLD) {
        wake(v);
        (void)pthread_cond_wait(&v->closed, &v->lock);
    }
    if (v->has_thread && fd >= 0)
        v->old[v->old_count++] = fd;
    else if (fd >= 0)
        (void)kernel(SYS_close, fd, 0, 0, 0, 0);
}

/* With lock. */
static void follow(struct vdpa *v, int *held, int now) {
    if (*held != now)
        let_go(v, *held);
    *held = now;
}

/* With lock. What the rings have now; a reset takes them all. */
static void follow_rings(struct vdpa *v) {
    for (uint32_t i = 0; i < VDS_QUEUES_MAX; i++) {
        follow(v, &v->held[i][0], vds_ring(v->sim, i)->kick);
        follow(v, &v->held[i][1], vds_ring(v->sim, i)->call);
    }
}

/* With lock. A kernel refers to the file that it is given, whatever the program closes behind the
 * call, and whatever gets its number then. */
static int give_descriptor(struct vdpa *v, unsigned long request,
                           const struct vhost_vring_file *arg, uint64_t *busy) {
    struct vhost_vring_file own = *arg;
    if (own.fd >= 0)
        own.fd = (int)kernel(SYS_fcntl, own.fd, F_DUPFD_CLOEXEC, 0, 0, 0);
    if (own.fd < -1)
        return own.fd;
    int result = vds_ioctl(v->sim, now_ns(), request, &own, busy);
    if (result != 0)
        let_go(v, own.fd);
    return result;
}

/* ---- calls ---- */

static void leave(struct vdpa *v, uint64_t busy) {
    v->debt += busy;
    busy = v->debt >= NAP ? v->debt : 0;
    v->debt -= busy;
    (void)pthread_mutex_unlock(&v->lock);
    if (busy)
        nap(busy);
}

/* A ring that is new to the device may have been kicked before. */
static void look_at_rings(struct vdpa *v, unsigned long request) {
    if (request == VHOST_SET_VRING_KICK)
        start(v);
    if (request == VHOST_SET_VRING_KICK || request == VHOST_VDPA_SET_VRING_ENABLE ||
        request == VHOST_VDPA_SET_STATUS || request == VHOST_VDPA_SUSPEND ||
        request == VHOST_VDPA_RESUME)
        wake(v);
}

static int vdpa_ioctl(struct object *object, unsigned long request, void *arg) {
    struct vdpa *v = (struct vdpa *)object;
    uint64_t busy;
    (void)pthread_mutex_lock(&v->lock);
    bool gives = request == VHOST_SET_VRING_KICK || request == VHOST_SET_VRING_CALL;
    int result = gives ? give_descriptor(v, request, arg, &busy)
                       : vds_ioctl(v->sim, now_ns(), request, arg, &busy);
    follow_rings(v);
    look_at_rings(v, request);
    leave(v, busy);
    return result;
}

static ssize_t vdpa_write(struct object *object, const void *buf, size_t len) {
    struct vdpa *v = (struct vdpa *)object;
    uint64_t busy;
    (void)pthread_mutex_lock(&v->lock);
    ssize_t result = vds_write(v->sim, now_ns(), buf, len, &busy);
    leave(v, busy);
    return result;
}

static ssize_t no_read(struct object *object, void *buf, size_t len) {
    (void)object, (void)buf, (void)len;
    return -EAGAIN;
}
static ssize_t no_pread(struct object *object, void *buf, size_t len, uint64_t at) {
    (void)object, (void)buf, (void)len, (void)at;
    return -ESPIPE;
}
static ssize_t no_pwrite(struct object *object, const void *buf, size_t len, uint64_t at) {
    (void)object, (void)buf, (void)len, (void)at;
    return -ESPIPE;
}

static void vdpa_release(struct object *object) {
    struct vdpa *v = (struct vdpa *)object;
    if (v->has_thread) {
        (void)pthread_mutex_lock(&v->lock);
        v->over = true;
        (void)pthread_mutex_unlock(&v->lock);
        wake(v);
        (void)pthread_join(v->thread, NULL);
        (void)kernel(SYS_close, v->wake[0], 0, 0, 0, 0);
        (void)kernel(SYS_close, v->wake[1], 0, 0, 0, 0);
    }
    for (uint32_t i = 0; i < VDS_QUEUES_MAX; i++) {
        follow(v, &v->held[i][0], -1);
        follow(v, &v->held[i][1], -1);
    }
    close_old(v);
    vds_free(v->sim);
    log_close(v->log);
    (void)pthread_cond_destroy(&v->closed);
    (void)pthread_mutex_destroy(&v->lock);
    free(v);
}

static const struct object_ops vdpa_ops = {
    .ioctl = vdpa_ioctl,
    .read = no_read,
    .write = vdpa_write,
    .pread = no_pread,
    .pwrite = no_pwrite,
    .release = vdpa_release,
};

struct object *vdpa_new(int fd) {
    static char text[TEXT]; /* the caller holds the table's lock */
    char error[200];
    struct vds_description description;
    long n = kernel(SYS_pread64, fd, (long)text, sizeof text, 0, 0);
    struct vdpa *v = calloc(1, sizeof *v);
    if (!v || n <= 0 || vds_parse(text, (size_t)n, &description, error, sizeof error) != 0) {
        if (v && n > 0)
            (void)fprintf(stderr, "vdpa-sim: %s\n", error);
        free(v);
        return NULL;
    }
    struct vds_world world = {.memory = memory, .line = line, .memlock = memlock, .ctx = v};
    v->object.ops = &vdpa_ops;
    v->object.references = 1;
    v->log = log_open(description.log);
    (void)pthread_mutex_init(&v->lock, NULL);
    (void)pthread_cond_init(&v->closed, NULL);
    v->sim = vds_new(&description, &world);
    memset(v->held, -1, sizeof v->held);
    return v->sim ? &v->object : NULL;
}
