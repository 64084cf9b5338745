/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * LD_PRELOAD: one step of one thread comes late. A step is a call by which threads and processes
 * meet, and it is named by where the program calls from. $LATE_STEPS is a file that gets how often
 * each was taken; $LATE_STEP, "OFFSET CALL VISIT", is the one that sleeps for $LATE_MS: a lock, a
 * shutdown or a close before it is made, what moves octets or starts a thread afterwards, so that
 * the sleep is in what others see of this thread.
 */

/* Also in `cases`, which names them. */
enum call {
    LOCK = 1,
    UNLOCK,
    CREATE,
    JOIN,
    READ,
    WRITE,
    RECV,
    SEND,
    RECVMSG,
    SENDMSG,
    IOCTL,
    SHUTDOWN,
    CLOSE,
};

enum {
    STEPS = 1 << 13,
    CALL_BITS = 4,
};

struct step {
    _Atomic uint64_t key; /* offset in the program and call; 0: free */
    _Atomic uint64_t visits;
};

static struct step *steps;
static uintptr_t base, text, text_end;
static uint64_t late_key, late_visit;
static struct timespec late_time;

/* The first object is the program. */
static int find_text(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        text = base + p->p_vaddr;
        text_end = text + p->p_memsz;
    }
    return 1;
}

static struct step *map_steps(const char *path) {
    size_t size = STEPS * sizeof(struct step);
    int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        return NULL;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

__attribute__((constructor)) static void begin(void) {
    const char *late = getenv("LATE_STEP"), *ms = getenv("LATE_MS");
    unsigned long long offset, call, visit;
    long wait = ms ? strtol(ms, NULL, 10) : 500;
    (void)dl_iterate_phdr(find_text, NULL);
    late_time = (struct timespec){wait / 1000, wait % 1000 * 1000000};
    if (late && sscanf(late, "%llx %llu %llu", &offset, &call, &visit) == 3) {
        late_key = offset << CALL_BITS | call;
        late_visit = visit;
    }
    steps = map_steps(getenv("LATE_STEPS"));
}

/* Its place in the table; NULL: the table is full. */
static struct step *find(uint64_t key) {
    uint64_t at = key * 0x9e3779b97f4a7c15u >> 51;
    for (unsigned tries = 0; tries < STEPS; tries++, at++) {
        struct step *s = &steps[at % STEPS];
        uint64_t free_key = 0;
        if (atomic_load(&s->key) == key ||
            atomic_compare_exchange_strong(&s->key, &free_key, key) || free_key == key)
            return s;
    }
    return NULL;
}

static void step(const void *caller, enum call call) {
    uintptr_t from = (uintptr_t)caller;
    if (!steps || from < text || from >= text_end)
        return;
    uint64_t key = (uint64_t)(from - base) << CALL_BITS | call;
    struct step *s = find(key);
    if (!s || atomic_fetch_add(&s->visits, 1) != late_visit || key != late_key)
        return;
    int saved = errno;
    struct timespec left = late_time;
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    errno = saved;
}

/* ---- the calls; each has the C library's own name and shape ---- */

#define NEXT(kind, name)                                                                           \
    static __typeof__(name) *_Atomic next;                                                         \
    if (!next)                                                                                     \
        next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);                                        \
    const void *caller = __builtin_return_address(0);                                              \
    const enum call this_call = kind

#define AFTER(type, result)                                                                        \
    type got = result;                                                                             \
    step(caller, this_call);                                                                       \
    return got

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    NEXT(LOCK, pthread_mutex_lock);
    step(caller, this_call);
    return next(mutex);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex) {
    NEXT(UNLOCK, pthread_mutex_unlock);
    AFTER(int, next(mutex));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg) {
    NEXT(CREATE, pthread_create);
    AFTER(int, next(thread, attr, run, arg));
}

int pthread_join(pthread_t thread, void **result) {
    NEXT(JOIN, pthread_join);
    AFTER(int, next(thread, result));
}

ssize_t read(int fd, void *buffer, size_t n) {
    NEXT(READ, read);
    AFTER(ssize_t, next(fd, buffer, n));
}

ssize_t write(int fd, const void *buffer, size_t n) {
    NEXT(WRITE, write);
    AFTER(ssize_t, next(fd, buffer, n));
}

ssize_t recv(int fd, void *buffer, size_t n, int flags) {
    NEXT(RECV, recv);
    AFTER(ssize_t, next(fd, buffer, n, flags));
}

ssize_t send(int fd, const void *buffer, size_t n, int flags) {
    NEXT(SEND, send);
    AFTER(ssize_t, next(fd, buffer, n, flags));
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    NEXT(RECVMSG, recvmsg);
    AFTER(ssize_t, next(fd, message, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    NEXT(SENDMSG, sendmsg);
    AFTER(ssize_t, next(fd, message, flags));
}

int ioctl(int fd, unsigned long request, ...) {
    NEXT(IOCTL, ioctl);
    __builtin_va_list args;
    __builtin_va_start(args, request);
    void *arg = __builtin_va_arg(args, void *);
    __builtin_va_end(args);
    AFTER(int, next(fd, request, arg));
}

int shutdown(int fd, int how) {
    NEXT(SHUTDOWN, shutdown);
    step(caller, this_call);
    return next(fd, how);
}

int close(int fd) {
    NEXT(CLOSE, close);
    step(caller, this_call);
    return next(fd);
}
