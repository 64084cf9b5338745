/* SPDX-License-Identifier: MIT */
/*
 * How fast guest memory gets from one process to another on the native wire, sealed and packed in
 * each way, beside a bare copy through the same kind of socket. Rounds take turns.
 *
 *     native-bench [ROUNDS]         environment: BENCH_MIB, megabytes of guest memory (2048);
 *     BENCH_SECONDS, after which no further round begins
 */
#include "conformance/bench/native_bench.h"

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

enum {
    ROUNDS_MAX = 99,
    SLOW_ROUNDS = 3, /* of what takes seconds */
};

const char BENCH_KEYS[] =
    "bench:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

static const struct way WAYS[] = {
    {"bare copy", true, VMS_SUITE_NONE, 0},
    {"native none", false, VMS_SUITE_NONE, 0},
    {"native gmac", false, VMS_SUITE_AES_256_GMAC, 0},
    {"native gcm", false, VMS_SUITE_AES_256_GCM, 0},
    {"native chacha20", false, VMS_SUITE_CHACHA20_POLY1305, 0},
    {"native none, zstd 1", false, VMS_SUITE_NONE, 1},
    {"native none, zstd 3", false, VMS_SUITE_NONE, 3},
    {"native none, zstd adaptive", false, VMS_SUITE_NONE, LEVEL_ADAPTIVE},
    {"native gcm, zstd 1", false, VMS_SUITE_AES_256_GCM, 1},
};
enum {
    WAY_COUNT = sizeof WAYS / sizeof *WAYS,
    SOCKETS = 2,
};
static const char *const SOCKET_NAMES[SOCKETS] = {"unix", "tcp"};

static uint8_t *image;
static uint64_t bytes;

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

/* ---- one run ---- */

static void tcp_pair(int fds[2]) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&a, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) != 0 ||
        connect(fds[0], (struct sockaddr *)&a, len) != 0)
        abort();
    fds[1] = accept(listener, NULL, NULL);
    if (fds[1] < 0 || setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        abort();
    (void)close(listener);
}

static void run_source(struct transfer *t, const struct way *way, int fd) {
    if (way->bare)
        send_bare(t, fd, image, bytes);
    else
        send_native(t, way, fd, image, bytes);
    _exit(0);
}

/* Fresh memory, in huge pages where the kernel has them, as QEMU asks for guest memory. */
static uint8_t *fresh_memory(void) {
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return memory;
}

static void run_destination(struct transfer *t, const struct way *way, int fd) {
    uint8_t *memory = fresh_memory();
    if (way->bare)
        receive_bare(t, fd, memory, bytes);
    else
        receive_native(t, way, fd, memory, bytes);
    if (t->check && memcmp(memory, image, bytes) != 0)
        abort();
    _exit(0);
}

static struct transfer run(const struct way *way, int kind, bool check) {
    struct transfer *t =
        mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fds[2], status[2];
    pid_t pids[2];
    t->check = check;
    if (kind == 1)
        tcp_pair(fds);
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        abort();
    for (int side = 0; side < 2; side++)
        if ((pids[side] = fork()) == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            (void)close(fds[!side]);
            (side == 0 ? run_source : run_destination)(t, way, fds[side]);
        }
    (void)close(fds[0]);
    (void)close(fds[1]);
    for (int side = 0; side < 2; side++)
        if (waitpid(pids[side], &status[side], 0) < 0 || status[side] != 0) {
            fprintf(stderr, "native-bench: %s failed at the %s\n", way->name,
                    side ? "destination" : "source");
            exit(1);
        }
    struct transfer result = *t;
    munmap(t, sizeof *t);
    return result;
}

/* ---- figures ---- */

struct figures {
    double seconds[ROUNDS_MAX], cpu[2][ROUNDS_MAX];
    int count;
    uint64_t wire;
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static void measure(struct figures *f, const struct way *way, int kind) {
    struct transfer t = run(way, kind, f->count == 0);
    f->seconds[f->count] = t.end - t.start;
    f->cpu[0][f->count] = t.cpu[0];
    f->cpu[1][f->count] = t.cpu[1];
    f->wire = t.wire;
    f->count++;
}

static void print(struct figures *f, const char *name, const char *socket) {
    double gib = (double)bytes / (1 << 30), mid = median(f->seconds, f->count);
    double source = median(f->cpu[0], f->count), destination = median(f->cpu[1], f->count);
    printf("%-27s %-4s %6.2f  (%5.2f to %5.2f) %8.1f %8.2f %8.2f %6d\n", name, socket, gib / mid,
           gib / f->seconds[f->count - 1], gib / f->seconds[0], (double)f->wire / (1 << 20),
           source / gib, destination / gib, f->count);
}

/* The floor below the floor: one process, into fresh memory. */
static void measure_memcpy(struct figures *f) {
    uint8_t *memory = fresh_memory();
    double cpu = bench_cpu(), start = bench_now();
    for (uint64_t at = IMAGE_STRIPE / 4; at < bytes; at += IMAGE_STRIPE)
        memcpy(memory + at, image + at, IMAGE_STRIPE / 4 * 3);
    f->seconds[f->count] = bench_now() - start;
    f->cpu[0][f->count++] = bench_cpu() - cpu;
    munmap(memory, bytes);
}

int main(int argc, char **argv) {
#ifdef BENCH_SANITIZED
    fprintf(stderr, "native-bench: not with a sanitizer\n");
    return 2;
#endif
    static struct figures figures[WAY_COUNT][SOCKETS], copy;
    int rounds = argc > 1 ? atoi(argv[1]) : 9;
    bytes = image_bytes();
    if (rounds < 1 || rounds > ROUNDS_MAX || bytes % IMAGE_STRIPE)
        return 2;
    image = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (image == MAP_FAILED)
        return 3;
    image_fill(image, bytes);
    (void)bench_time_is_up();
    for (int round = 0; round < rounds && !(round > 0 && bench_time_is_up()); round++) {
        measure_memcpy(&copy);
        for (int way = 0; way < WAY_COUNT; way++)
            for (int kind = 0; kind < SOCKETS; kind++)
                if (round < SLOW_ROUNDS || WAYS[way].level == 0)
                    measure(&figures[way][kind], &WAYS[way], kind);
    }
    printf("%-27s %-4s %6s  %16s %8s %8s %8s %6s\n", "native, 1 channel", "", "GiB/s", "(interval)",
           "MiB wire", "cpu src", "cpu dst", "rounds");
    print(&copy, "memcpy into fresh memory", "");
    for (int kind = 0; kind < SOCKETS; kind++)
        for (int way = 0; way < WAY_COUNT; way++)
            print(&figures[way][kind], WAYS[way].name, SOCKET_NAMES[kind]);
    return 0;
}
