// SPDX-License-Identifier: MIT
// What a case does to a stream: the mutator's operations on records, or changes of few octets where
// a device's state stands, or a single bit anywhere (what a wire without a checksum cannot show).
#include "blackbox.h"

#include <string.h>

#include "fuzz/mutator/mutate.h"

static uint64_t next(uint64_t *state) { // splitmix64
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void change_bit(struct bb_case *c, uint64_t *rng) {
    uint64_t bit = next(rng) % (c->from->description * 8);

    c->octets[bit / 8] ^= (uint8_t)(1u << (bit % 8));
}

static void put(uint8_t *at, uint64_t value, size_t width) {
    for (size_t i = 0; i < width; i++) {
        at[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    }
}

static uint64_t get(const uint8_t *at, size_t width) {
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

// One number of one, two, four or eight octets becomes an awkward one.
static void change_number(struct bb_case *c, uint64_t *rng) {
    size_t width = (size_t)1 << (next(rng) % 4);
    size_t room = c->from->description - c->from->devices;
    uint8_t *at = c->octets + c->from->devices + next(rng) % (room > width ? room - width : 1);
    uint64_t old = get(at, width);

    switch (next(rng) % 8) {
    case 0: put(at, old + 1, width); break;
    case 1: put(at, old - 1, width); break;
    case 2: put(at, old * 2, width); break;
    case 3: put(at, 0, width); break;
    case 4: put(at, UINT64_MAX, width); break;
    case 5: put(at, UINT64_MAX >> 1, width); break;
    case 6: put(at, next(rng), width); break;
    default: put(at, (uint64_t)1 << (next(rng) % (8 * width)), width);
    }
}

static void change_numbers(struct bb_case *c, uint64_t *rng) {
    for (uint64_t n = 1 + next(rng) % 4; n > 0; n--) {
        change_number(c, rng);
    }
}

bool bb_change(struct bb_case *c, uint64_t seed, uint64_t number, const struct bb_seed *seeds,
               size_t count) {
    uint64_t rng = seed * 0x2545f4914f6cdd1du + number;

    c->seed = seed;
    c->number = number;
    c->from = &seeds[number % count];
    c->size = c->from->size;
    memcpy(c->octets, c->from->octets, c->size);
    switch (next(&rng) % 4) {
    case 0:
        c->how = "bit";
        change_bit(c, &rng);
        break;
    case 1:
        if (c->from->devices + 8 < c->from->description) {
            c->how = "device octets";
            change_numbers(c, &rng);
            break;
        }
        // fall through
    default: c->how = "records"; c->size = mutate(c->octets, c->size, BB_MAX, next(&rng));
    }
    return c->size != c->from->size || memcmp(c->octets, c->from->octets, c->size) != 0;
}
