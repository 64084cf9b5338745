/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The mutator for engines: AFL++ loads it as AFL_CUSTOM_MUTATOR_LIBRARY, libFuzzer's build links
 * it. The harness is FUZZ_HARNESS in the environment, or the program's name. Half of what libFuzzer
 * asks for is its own to mutate, with its dictionary and what it learnt from comparisons; AFL++
 * mixes its own havoc in by itself.
 */
/* A small stream of the wire that the harness does not read, for transplants: both are tiny, the
 * records of an empty QEVM machine and a HELLO. */
static const uint8_t SOME_QEVM[] = {
    'Q', 'E', 'V', 'M', 0,   0, 0, 3, 7, 0, 0, 0,    4, 'n', 'o', 'n', 'e', 1, 0,    0, 0,    2,
    3,   'r', 'a', 'm', 0,   0, 0, 0, 0, 0, 0, 4,    0, 0,   0,   0,   0,   0, 0x10, 4, 6,    'p',
    'c', '.', 'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0x10, 0, 0,   0,   0,   0,   0, 0,    0, 0x10, 0x7e,
    0,   0,   0,   2,   8,   0, 1, 0, 0, 8, 0, 2,    0, 4,   0,   0,   0,   1, 0};
static const uint8_t SOME_NATIVE[] = {
    0xd9, 0xd9, 0xf9, 0xda, 'V', 'M', 'S', '1', 'C', 'B',  'O',  'R',  'V', 'M',  'S',
    'F',  0,    0,    0,    9,   0,   0,   0,   0,   0,    0,    0,    1,   0,    0,
    0,    0,    0,    0,    0,   0,   0,   0,   0,   4,    0,    0,    0,   0,    0xa1,
    0x18, 0x1e, 7,    0,    0,   0,   0,   'V', 'M', 'S',  'F',  0,    0,   0,    0x21,
    0,    0,    0,    0,    0,   0,   0,   1,   0,   0,    0,    0,    0,   0,    0,
    1,    0,    0,    0,    9,   0,   0,   0,   0,   0xa3, 0x18, 0x23, 0,   0x18, 0x24,
    0x0c, 0x18, 0x25, 0x82, 0,   0,   0,   0,   0};

static const struct fuzz_shape *shape(void) {
    static struct fuzz_shape found;
    static bool asked;
    if (!asked) {
        const char *name = getenv("FUZZ_HARNESS");
        found = fuzz_shape_of(name ? name : program_invocation_short_name);
        asked = true;
    }
    return &found;
}

static struct vms_slice other_wire(uint64_t seed) {
    bool native = shape()->wire == FUZZ_WIRE_NATIVE;
    if (native != (seed % 8 == 0)) /* now and then one of its own */
        return vms_slice(SOME_QEVM, sizeof SOME_QEVM);
    return vms_slice(SOME_NATIVE, sizeof SOME_NATIVE);
}

/* ---- libFuzzer ---- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                                 uint8_t *out, size_t max, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed) {
    struct vms_slice nothing = {NULL, 0};
    if (LLVMFuzzerMutate && seed % 2)
        return LLVMFuzzerMutate(data, size, max);
    return fuzz_mutate(shape(), data, size, max, seed, nothing, other_wire(seed), NULL);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                                 uint8_t *out, size_t max, unsigned seed) {
    size_t n = a_len < max ? a_len : max;
    if (n)
        memcpy(out, a, n);
    return fuzz_mutate(shape(), out, n, max, seed, vms_slice(b, b_len), other_wire(seed), NULL);
}

/* ---- AFL++ ---- */

struct state {
    uint64_t seed;
    uint8_t *out;
    size_t cap;
};

void *afl_custom_init(void *afl, unsigned seed);
size_t afl_custom_fuzz(void *data, uint8_t *buf, size_t size, uint8_t **out, uint8_t *add,
                       size_t add_size, size_t max);
void afl_custom_deinit(void *data);

void *afl_custom_init(void *afl, unsigned seed) {
    struct state *s = calloc(1, sizeof *s);
    (void)afl;
    if (s)
        s->seed = seed;
    return s;
}

size_t afl_custom_fuzz(void *data, uint8_t *buf, size_t size, uint8_t **out, uint8_t *add,
                       size_t add_size, size_t max) {
    struct state *s = data;
    if (s->cap < max) {
        free(s->out);
        s->out = malloc(max);
        s->cap = s->out ? max : 0;
    }
    *out = s->out;
    if (!s->out)
        return 0;
    size_t n = size < max ? size : max;
    memcpy(s->out, buf, n);
    s->seed++;
    return fuzz_mutate(shape(), s->out, n, max, s->seed, vms_slice(add, add_size),
                       other_wire(s->seed), NULL);
}

void afl_custom_deinit(void *data) {
    struct state *s = data;
    if (s)
        free(s->out);
    free(s);
}
