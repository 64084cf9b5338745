/* SPDX-License-Identifier: MIT */
#include "internal.h"
#include <string.h>

/* XXH64, after its specification (xxHash fast digest algorithm, version 0.1.1). */

#define P1 UINT64_C(0x9e3779b185ebca87)
#define P2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define P3 UINT64_C(0x165667b19e3779f9)
#define P4 UINT64_C(0x85ebca77c2b2ae63)
#define P5 UINT64_C(0x27d4eb2f165667c5)

/* One load each, which a sanitizer checks once: it would check each octet of a sum of octets. */
static inline uint32_t le32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap32(v);
}

static inline uint64_t le64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

static inline uint64_t rotate(uint64_t v, unsigned by) {
    return v << by | v >> (64 - by);
}

static inline uint64_t lane(uint64_t acc, uint64_t input) {
    return rotate(acc + input * P2, 31) * P1;
}

static inline uint64_t merge(uint64_t acc, uint64_t of) {
    return (acc ^ lane(0, of)) * P1 + P4;
}

/* Takes stripes of 32 bytes off the front. */
static uint64_t stripes(const uint8_t **ptr, size_t *len, uint64_t seed) {
    uint64_t a = seed + P1 + P2, b = seed + P2, c = seed, d = seed - P1;
    const uint8_t *p = *ptr;
    for (; *len >= 32; p += 32, *len -= 32) {
        a = lane(a, le64(p));
        b = lane(b, le64(p + 8));
        c = lane(c, le64(p + 16));
        d = lane(d, le64(p + 24));
    }
    *ptr = p;
    uint64_t acc = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    return merge(merge(merge(merge(acc, a), b), c), d);
}

static uint64_t rest(uint64_t acc, const uint8_t *p, size_t len) {
    for (; len >= 8; p += 8, len -= 8)
        acc = rotate(acc ^ lane(0, le64(p)), 27) * P1 + P4;
    if (len >= 4) {
        acc = rotate(acc ^ le32(p) * P1, 23) * P2 + P3;
        p += 4;
        len -= 4;
    }
    for (; len; p++, len--)
        acc = rotate(acc ^ *p * P5, 11) * P1;
    return acc;
}

static uint64_t avalanche(uint64_t acc) {
    acc = (acc ^ acc >> 33) * P2;
    acc = (acc ^ acc >> 29) * P3;
    return acc ^ acc >> 32;
}

uint64_t vms_xxh64(struct vms_slice data, uint64_t seed) {
    const uint8_t *ptr = data.ptr;
    size_t len = data.len;
    uint64_t acc = len >= 32 ? stripes(&ptr, &len, seed) : seed + P5;
    return avalanche(rest(acc + data.len, ptr, len));
}

uint64_t vms_page_hash(struct vms_slice page) {
    uint64_t hash = vms_xxh64(page, 0);
    return hash ? hash : 1;
}

uint64_t vms_page_share(uint32_t block, uint64_t page, uint64_t hash) {
    uint8_t bytes[16];
    struct vms_writer w = vms_writer((struct vms_room){bytes, sizeof bytes});
    if (!hash)
        return 0;
    vms_write_u64(&w, page);
    vms_write_u64(&w, hash);
    return vms_xxh64(vms_slice(bytes, sizeof bytes), block);
}
