/* SPDX-License-Identifier: MIT */
/*
 * How fast frames are sealed and opened in place by each back end that is here, beside a copy of as
 * much: one thread, frames of 1 MiB that the cache holds. Ways take turns; the medians are told.
 *
 *     seal-bench [ROUNDS]
 */
#include "conformance/bench/native_bench.h"
#include "host/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAME = 1 << 20,
    FRAMES = 48, /* a round */
    ROUNDS_MAX = 99,
    WAYS_MAX = 16,
};

enum work {
    WORK_COPY,
    WORK_CRC32C,
    WORK_CRC32C_COPY,
    WORK_SEAL,
    WORK_OPEN,
};

struct seal_way {
    char name[64];
    enum work work;
    const struct vms_crypto_ops *ops;
    struct vms_aead *key;
    double seconds[ROUNDS_MAX];
};

static struct seal_way ways[WAYS_MAX];
static size_t way_count;
static uint8_t frame[FRAME], copy[FRAME];
static volatile uint32_t sink;

static void run_frame(const struct seal_way *w, uint64_t number) {
    uint8_t header[VMS_FRAME_HEADER_BYTES] = {0}, nonce[VMS_NONCE_BYTES] = {0}, tag[VMS_TAG_BYTES];
    memcpy(nonce, &number, sizeof number);
    bool ok = w->ops->aead_start(w->key, nonce, vms_slice(header, sizeof header)) &&
              w->ops->aead_data(w->key, frame, frame, FRAME);
    memset(tag, 0, sizeof tag);
    if (w->work == WORK_SEAL)
        ok = ok && w->ops->aead_finish(w->key, tag);
    else
        ok =
            ok && !w->ops->aead_verify(w->key, tag); /* what is opened is anything: it is refused */
    if (!ok)
        abort();
}

static double time_of(const struct seal_way *w, uint64_t round) {
    const struct vms_crc32c_ops *crc32c = vms_crc32c_ops();
    double start = bench_now();
    for (uint64_t i = 0; i < FRAMES; i++) {
        if (w->work == WORK_COPY)
            memcpy(i % 2 ? frame : copy, i % 2 ? copy : frame, FRAME);
        else if (w->work == WORK_CRC32C)
            sink = crc32c->sum(0, frame, FRAME);
        else if (w->work == WORK_CRC32C_COPY)
            sink = crc32c->copy(0, i % 2 ? frame : copy, i % 2 ? copy : frame, FRAME);
        else
            run_frame(w, round * FRAMES + i);
    }
    return bench_now() - start;
}

static struct seal_way *add(const char *name, enum work work) {
    struct seal_way *w = &ways[way_count++];
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    w->work = work;
    return w;
}

static void add_keyed(const char *name, const struct vms_crypto_ops *ops) {
    static const char *const suites[VMS_AEAD_COUNT] = {"gmac", "gcm", "chacha20"};
    static const uint8_t key[VMS_KEY_BYTES] = {1};
    for (enum vms_aead_algorithm a = 0; a < VMS_AEAD_COUNT; a++)
        for (enum work work = WORK_SEAL; work <= WORK_OPEN; work++) {
            char text[64];
            (void)snprintf(text, sizeof text, "%s, %s, %s", suites[a],
                           work == WORK_SEAL ? "seal" : "open", name);
            if (a == VMS_AEAD_CHACHA20_POLY1305 && strcmp(name, "openssl") != 0)
                continue; /* the same code */
            struct seal_way *w = add(text, work);
            w->ops = ops;
            w->key =
                ops->aead_new(ops->ctx, a, work == WORK_SEAL ? VMS_AEAD_SEAL : VMS_AEAD_OPEN, key);
            if (!w->key)
                abort();
        }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(struct seal_way *w, int rounds) {
    const double gib = (double)FRAME * FRAMES / (1 << 30);
    qsort(w->seconds, (size_t)rounds, sizeof *w->seconds, by_value);
    printf("%-27s %6.2f  (%5.2f to %5.2f)\n", w->name, gib / w->seconds[rounds / 2],
           gib / w->seconds[rounds - 1], gib / w->seconds[0]);
}

int main(int argc, char **argv) {
#ifdef BENCH_SANITIZED
    fprintf(stderr, "seal-bench: not with a sanitizer\n");
    return 2;
#endif
    static const char *const names[] = {"openssl", "ipsec-mb"};
    struct vms_backend *back_ends[2];
    struct vms_error err;
    int rounds = argc > 1 ? atoi(argv[1]) : 9;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    add("memcpy", WORK_COPY);
    add("none (crc32c)", WORK_CRC32C);
    add("none, copied", WORK_CRC32C_COPY);
    for (int i = 0; i < 2; i++) {
        back_ends[i] = vms_backend_new(names[i], &err);
        if (back_ends[i])
            add_keyed(names[i], vms_backend_ops(back_ends[i]));
        printf("%-10s %s\n", names[i], back_ends[i] ? vms_backend_text(back_ends[i]) : err.message);
    }
    memset(frame, 1, sizeof frame);
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < way_count; i++)
            ways[i].seconds[round] = time_of(&ways[i], (uint64_t)round);
    printf("%-27s %6s  %16s\n", "1 MiB frames, in place", "GiB/s", "(interval)");
    for (size_t i = 0; i < way_count; i++) {
        print(&ways[i], rounds);
        if (ways[i].key)
            ways[i].ops->aead_free(ways[i].key);
    }
    for (int i = 0; i < 2; i++)
        vms_backend_free(back_ends[i]);
    return 0;
}
