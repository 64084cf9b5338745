/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

/*
 * Eight bytes at a time: TABLE[k][b] is the CRC of byte b with k zero bytes behind it. A CRC is
 * linear, so that an entry is the sum of those of its bits, and the preprocessor makes all 2048
 * from 64.
 */
#define BITS_0                                                                                     \
    0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78
#define BITS_1                                                                                     \
    0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9
#define BITS_2                                                                                     \
    0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743
#define BITS_3                                                                                     \
    0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f
#define BITS_4                                                                                     \
    0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c
#define BITS_5                                                                                     \
    0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6
#define BITS_6                                                                                     \
    0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4
#define BITS_7                                                                                     \
    0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664

#define BIT(i, n, v) (((i) >> (n)&1u) * UINT32_C(v))
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^      \
        BIT(i, 6, g) ^ BIT(i, 7, h)
#define X4(i, ...)                                                                                 \
    ENTRY(i, __VA_ARGS__), ENTRY(i + 1u, __VA_ARGS__), ENTRY(i + 2u, __VA_ARGS__),                 \
        ENTRY(i + 3u, __VA_ARGS__)
#define X16(i, ...)                                                                                \
    X4(i, __VA_ARGS__), X4(i + 4u, __VA_ARGS__), X4(i + 8u, __VA_ARGS__), X4(i + 12u, __VA_ARGS__)
#define X64(i, ...)                                                                                \
    X16(i, __VA_ARGS__), X16(i + 16u, __VA_ARGS__), X16(i + 32u, __VA_ARGS__),                     \
        X16(i + 48u, __VA_ARGS__)
#define ALL(...)                                                                                   \
    { X64(0u, __VA_ARGS__), X64(64u, __VA_ARGS__), X64(128u, __VA_ARGS__), X64(192u, __VA_ARGS__) }

static const uint32_t TABLE[8][256] = {ALL(BITS_0), ALL(BITS_1), ALL(BITS_2), ALL(BITS_3),
                                       ALL(BITS_4), ALL(BITS_5), ALL(BITS_6), ALL(BITS_7)};

static uint32_t eight(uint32_t crc, const uint8_t *p) {
    crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return TABLE[7][crc & 255] ^ TABLE[6][crc >> 8 & 255] ^ TABLE[5][crc >> 16 & 255] ^
           TABLE[4][crc >> 24] ^ TABLE[3][p[4]] ^ TABLE[2][p[5]] ^ TABLE[1][p[6]] ^ TABLE[0][p[7]];
}

/* [SEAL-2] */
uint32_t vms_crc32c(uint32_t crc, const uint8_t *ptr, size_t len) {
    crc = ~crc;
    for (; len >= 8; ptr += 8, len -= 8)
        crc = eight(crc, ptr);
    for (; len; ptr++, len--)
        crc = crc >> 8 ^ TABLE[0][(crc ^ *ptr) & 255];
    return ~crc;
}

enum {
    CHUNK = 16384, /* bytes copied at a time before they are summed, while the cache holds them */
};

uint32_t vms_crc32c_copy_by(uint32_t (*sum)(uint32_t, const uint8_t *, size_t), uint32_t crc,
                            uint8_t *out, const uint8_t *in, size_t len) {
    for (size_t done = 0, n; done < len; done += n) {
        n = len - done < CHUNK ? len - done : CHUNK;
        memcpy(out + done, in + done, n);
        crc = sum(crc, out + done, n);
    }
    return crc;
}

static uint32_t copy(uint32_t crc, uint8_t *out, const uint8_t *in, size_t len) {
    return vms_crc32c_copy_by(vms_crc32c, crc, out, in, len);
}

/* The slowest first. */
const struct vms_crc32c_ops *vms_crc32c_ops_at(size_t index) {
    static const struct vms_crc32c_ops tables = {"tables", vms_crc32c, copy};
    const struct vms_crc32c_ops *all[] = {&tables, vms_crc32c_sse42(), vms_crc32c_avx2(),
                                          vms_crc32c_avx512()};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && index-- == 0)
            return all[i];
    return NULL;
}

const struct vms_crc32c_ops *vms_crc32c_ops(void) {
    const struct vms_crc32c_ops *best = vms_crc32c_ops_at(0), *next;
    for (size_t i = 1; (next = vms_crc32c_ops_at(i)); i++)
        best = next;
    return best;
}
