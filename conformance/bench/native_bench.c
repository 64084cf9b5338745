/* SPDX-License-Identifier: MIT */
/*
 * How fast guest memory gets from one process to another on the native wire, sealed and packed in
 * each way, beside a bare copy through the same kind of socket. Rounds take turns.
 *
 *     native-bench [ROUNDS]         environment: BENCH_MIB, megabytes of guest memory (2048);
 *     BENCH_SECONDS, after which no further round begins
 */
#include "conformance/bench/native_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    ROUNDS_MAX = 99,
    SLOW_ROUNDS = 3, /* of what takes seconds */
};

static const struct way WAYS[] = {
    {"bare copy", true, VMS_SUITE_NONE, 0, NULL},
    {"native none", false, VMS_SUITE_NONE, 0, NULL},
    {"native gmac", false, VMS_SUITE_AES_256_GMAC, 0, NULL},
    {"native gcm", false, VMS_SUITE_AES_256_GCM, 0, NULL},
    {"native gmac, openssl", false, VMS_SUITE_AES_256_GMAC, 0, "openssl"},
    {"native gcm, openssl", false, VMS_SUITE_AES_256_GCM, 0, "openssl"},
    {"native chacha20", false, VMS_SUITE_CHACHA20_POLY1305, 0, NULL},
    {"native none, zstd 1", false, VMS_SUITE_NONE, 1, NULL},
    {"native none, zstd 3", false, VMS_SUITE_NONE, 3, NULL},
    {"native none, zstd adaptive", false, VMS_SUITE_NONE, LEVEL_ADAPTIVE, NULL},
    {"native gcm, zstd 1", false, VMS_SUITE_AES_256_GCM, 1, NULL},
};
enum {
    WAY_COUNT = sizeof WAYS / sizeof *WAYS,
    SOCKETS = 2,
};
static const char *const SOCKET_NAMES[SOCKETS] = {"unix", "tcp"};

static uint8_t *image;
static uint64_t bytes;

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
    struct transfer t = bench_transfer(way, kind == 1, image, bytes, f->count == 0);
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
    uint8_t *memory = bench_fresh_memory(bytes);
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
