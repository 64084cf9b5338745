/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"
#include "host/backend.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Two processes and a socket between them. */

const char BENCH_KEYS[] =
    "bench:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

struct job {
    struct transfer *t;
    const struct way *way;
    const uint8_t *image;
    uint64_t bytes;
};

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double bench_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void bench_meet(struct transfer *t) {
    atomic_fetch_add(&t->ready, 1);
    while (atomic_load(&t->ready) < 2)
        sched_yield();
}

static void tcp_pair(int fds[2]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fds[0], IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* as HOST-19 does */
    if (bind(listener, (struct sockaddr *)&a, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) != 0 ||
        connect(fds[0], (struct sockaddr *)&a, len) != 0)
        abort();
    fds[1] = accept(listener, NULL, NULL);
    if (fds[1] < 0 || setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        abort();
    (void)close(listener);
}

static void run_source(const struct job *j, int fd) {
    if (j->way->bare)
        send_bare(j->t, fd, j->image, j->bytes);
    else
        send_native(j->t, j->way, fd, j->image, j->bytes);
    _exit(0);
}

bool bench_in_pool;

uint8_t *bench_fresh_memory(uint64_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (bench_in_pool ? MAP_HUGETLB : 0);
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

static void run_destination(const struct job *j, int fd) {
    uint8_t *memory = bench_fresh_memory(j->bytes);
    if (j->way->bare)
        receive_bare(j->t, fd, memory, j->bytes);
    else
        receive_native(j->t, j->way, fd, memory, j->bytes);
    if (j->t->check && memcmp(memory, j->image, j->bytes) != 0)
        abort();
    _exit(0);
}

struct transfer bench_transfer(const struct way *way, bool tcp, const uint8_t *image,
                               uint64_t bytes, bool check) {
    struct transfer *t =
        mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct job job = {t, way, image, bytes};
    int fds[2], status[2];
    pid_t pids[2];
    t->check = check;
    if (tcp)
        tcp_pair(fds);
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        abort();
    for (int side = 0; side < 2; side++)
        if ((pids[side] = fork()) == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)close(fds[!side]);
            if (way->crypto)
                (void)setenv(VMS_BACKEND_VARIABLE, way->crypto, 1);
            (side == 0 ? run_source : run_destination)(&job, fds[side]);
        }
    (void)close(fds[0]);
    (void)close(fds[1]);
    for (int side = 0; side < 2; side++)
        if (waitpid(pids[side], &status[side], 0) < 0 || status[side] != 0) {
            fprintf(stderr, "bench: %s failed at the %s\n", way->name,
                    side ? "destination" : "source");
            exit(1);
        }
    struct transfer result = *t;
    munmap(t, sizeof *t);
    return result;
}
