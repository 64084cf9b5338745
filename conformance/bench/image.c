/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t next(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Words of 8 octets out of 64: zstd makes about a fifth of it. */
static void fill_compressible(uint8_t *out, size_t n, uint64_t *seed) {
    static const char letters[] = "etaoinshrdlucmfw ygpbvkxqjz.,-:;";
    for (size_t i = 0; i < n; i += 8) {
        uint64_t pick = next(seed) % 64;
        for (size_t k = 0; k < 8; k++)
            out[i + k] = (uint8_t)letters[(pick * 7 + k * (pick | 1)) % 32];
    }
}

static void fill_random(uint8_t *out, size_t n, uint64_t *seed) {
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = next(seed);
        memcpy(out + i, &word, 8);
    }
}

void image_fill(uint8_t *image, uint64_t bytes) {
    uint64_t seed = 42;
    size_t quarter = IMAGE_STRIPE / 4;
    for (uint64_t at = 0; at + IMAGE_STRIPE <= bytes; at += IMAGE_STRIPE) {
        fill_compressible(image + at + quarter, quarter, &seed);
        fill_random(image + at + 2 * quarter, 2 * quarter, &seed);
    }
}

uint64_t image_bytes(void) {
    const char *text = getenv("BENCH_MIB");
    uint64_t mib = text ? strtoull(text, NULL, 10) : 0;
    return (mib ? mib : 2048) << 20;
}

bool bench_time_is_up(void) {
    static time_t begin;
    const char *text = getenv("BENCH_SECONDS");
    time_t now = time(NULL);
    if (begin == 0)
        begin = now;
    return text && now - begin >= strtol(text, NULL, 10);
}
