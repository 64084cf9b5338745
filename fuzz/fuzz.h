/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_H
#define VMSTREAM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/slice.h>

#include "seen.h"

/*
 * What all harnesses share. Each harness is one file with an ordinary LLVMFuzzerTestOneInput. Its
 * input begins with a few octets of options (how it is cut, the dialect), the rest is the wire.
 * A harness holds its memory in static objects that are made once: an exec allocates nothing, and
 * leaves nothing behind that the next one could see.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A rule was broken that holds for every input: an oracle, not only a crash. */
#define ORACLE(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: oracle: %s: ", __FILE__, __LINE__, #condition);                \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Takes n octets of options off the front, zeros where there are none left. */
static inline uint32_t fuzz_option(struct vms_slice *input, unsigned n) {
    uint32_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        value = value << 8 | (input->len ? *input->ptr : 0);
        if (input->len)
            *input = vms_slice_tail(*input, 1);
    }
    return value;
}

/* Lengths of pieces that the input is handed over in, from a seed; seed 0: all at once. */
struct fuzz_cuts {
    uint32_t state;
};
static inline size_t fuzz_cut(struct fuzz_cuts *cuts, size_t left) {
    if (!cuts->state)
        return left;
    cuts->state ^= cuts->state << 13;
    cuts->state ^= cuts->state >> 17;
    cuts->state ^= cuts->state << 5;
    size_t n = 1 + cuts->state % (cuts->state & 0x40000000 ? 4096u : 24u);
    return n < left ? n : left;
}

enum {
    LIST_MAX = 400, /* octets of a list of actions that are looked at */
};

/* FNV-1a, for traces. */
static inline uint64_t fuzz_hash(uint64_t hash, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}
#define FUZZ_HASH_BEGIN UINT64_C(0xcbf29ce484222325)

static inline void *fuzz_memory(size_t n) {
    void *p = malloc(n);
    if (!p)
        abort();
    return p;
}

#endif
