/* SPDX-License-Identifier: MIT */
#include "conformance/bench/bench.h"
#include "conformance/qevm/counting.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * Speed of the QEVM codec beside memcpy of the same bytes in the same run. Each figure is the
 * median of PAIRS interleaved pairs (floor, pass), the interval that of the 3rd to the 9th pair in
 * order. What a pass has made is compared with what it should make after every pass, outside of the
 * measured time.
 *
 *   qevm-bench                 the table
 *   qevm-bench --once LOAD N P a load of N pages or records in P passes, for cachegrind
 */

#if !defined(__OPTIMIZE__)
#define REFUSED "built without optimisation"
#elif defined(__SANITIZE_ADDRESS__)
#define REFUSED "built with sanitizers"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REFUSED "built with sanitizers"
#endif
#endif

enum {
    PAIRS = 11,
    LOW = 2,
    HIGH = PAIRS - 3,
    PAGES = 16384,
    SMALL = 1000000,
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    fprintf(stderr, "%s went wrong\n", what);
    exit(1);
}

static double timed(const char *what, pass *run, const struct load *l, size_t chunk) {
    double start = now();
    bool ok = run(l, chunk);
    double seconds = now() - start;
    if (!ok)
        fail(what);
    return seconds;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct figures {
    double seconds, ratio, low, high;
    uint64_t allocations;
};

typedef bool check(const struct load *l);

/* Clears what the pass will write, so that the check proves something. */
static void clear(const struct load *l) {
    if (l->guest)
        memset(l->guest, 0, l->pages * BENCH_PAGE);
    memset(l->sink, 0, l->len);
}

static struct figures measure(const char *what, pass *floor, pass *run, check *right,
                              const struct load *l, size_t chunk) {
    double seconds[PAIRS], ratio[PAIRS];
    uint64_t allocations = 0;
    (void)timed(what, run, l, chunk); /* warm up */
    for (int i = 0; i < PAIRS; i++) {
        double base = timed("memcpy", floor, l, chunk);
        clear(l);
        uint64_t before = counting_calls();
        seconds[i] = timed(what, run, l, chunk);
        allocations += counting_calls() - before;
        ratio[i] = base / seconds[i];
        if (right && !right(l))
            fail(what);
    }
    qsort(seconds, PAIRS, sizeof *seconds, by_value);
    qsort(ratio, PAIRS, sizeof *ratio, by_value);
    return (struct figures){seconds[PAIRS / 2], ratio[PAIRS / 2], ratio[LOW], ratio[HIGH],
                            allocations};
}

static void report(const char *what, const struct load *l, size_t chunk, struct figures f) {
    char size[24] = "-";
    if (chunk)
        snprintf(size, sizeof size, "%zu KiB", chunk >> 10);
    printf("%-28s %9s %8.2f %9.1f %7.2f [%.2f, %.2f] %6" PRIu64 "\n", what, size,
           (double)(l->len - l->body) / f.seconds * 1e-9, f.seconds / (double)l->records * 1e9,
           f.ratio, f.low, f.high, f.allocations);
    fflush(stdout);
}

static void bench_pages(void) {
    static const size_t chunks[] = {64 << 10, 256 << 10, 1 << 20};
    static const struct {
        const char *name;
        pass *run;
        check *right;
    } passes[] = {{"decode, pages in place", decode_in_place, guest_right},
                  {"decode, through a buffer", decode_buffered, guest_right},
                  {"decode, nothing copied", decode_only, NULL}};
    struct load l = load_data_pages(PAGES);
    report("decode, pages direct", &l, 0,
           measure("direct", copy_pages, decode_direct, guest_right, &l, 0));
    for (size_t p = 0; p < 3; p++)
        for (size_t c = 0; c < 3; c++)
            report(
                passes[p].name, &l, chunks[c],
                measure(passes[p].name, copy_pages, passes[p].run, passes[p].right, &l, chunks[c]));
    report("encode, gathered", &l, 0,
           measure("encode", copy_gather, encode_gather, sink_right, &l, 0));
    load_free(&l);
}

static struct load load_named(const char *name, size_t n) {
    if (strcmp(name, "data") == 0)
        return load_data_pages(n);
    if (strcmp(name, "zero") == 0)
        return load_zero_pages(n);
    if (strcmp(name, "parts") == 0)
        return load_empty_parts(n);
    return load_commands(n);
}

static void bench_small(const char *name) {
    struct load l = load_named(name, SMALL);
    char what[64];
    snprintf(what, sizeof what, "decode, %s", l.name);
    report(what, &l, 256 << 10, measure(what, copy_stream, decode_only, NULL, &l, 256 << 10));
    load_free(&l);
}

static int once(const char *name, size_t n, unsigned long passes) {
    struct load l = load_named(name, n);
    for (; passes; passes--)
        if (!decode_only(&l, 256 << 10))
            fail(name);
    printf("%" PRIu64 "\n", l.records);
    load_free(&l);
    return 0;
}

int main(int argc, char **argv) {
#ifdef REFUSED
    (void)bench_pages, (void)bench_small, (void)once, (void)argc;
    fprintf(stderr, "%s: " REFUSED ": its figures would mean nothing\n", argv[0]);
    return 2;
#else
    if (argc == 5 && strcmp(argv[1], "--once") == 0)
        return once(argv[2], strtoull(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    printf("compiler %s\n\n", __VERSION__);
    printf("%-28s %9s %8s %9s %7s %14s %6s\n", "pass", "chunk", "GB/s", "ns/record", "ratio",
           "interval", "allocs");
    bench_pages();
    bench_small("zero");
    bench_small("parts");
    bench_small("commands");
    return 0;
#endif
}
