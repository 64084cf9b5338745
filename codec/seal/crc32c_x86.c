/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define WITH_CRC __attribute__((target("sse4.2,pclmul")))

enum {
    LANE = 1024, /* bytes; three lanes run at once, since the instruction takes three cycles */
};

static inline uint64_t load(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* crc as it becomes by the zero bytes that k stands for: k is x^(8 * bytes - 33) mod P, reflected;
 * the product is by one bit too low, and the instruction that reduces it multiplies by x^32. */
WITH_CRC static uint64_t shift(uint64_t crc, uint32_t k) {
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi32_si128((int32_t)k), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

WITH_CRC static uint64_t three_lanes(uint64_t a, const uint8_t *p) {
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < LANE; i += 8) {
        a = _mm_crc32_u64(a, load(p + i));
        b = _mm_crc32_u64(b, load(p + LANE + i));
        c = _mm_crc32_u64(c, load(p + 2 * LANE + i));
    }
    return shift(a, 0xa51b6135) ^ shift(b, 0x170076fa) ^ c; /* by 2048 and by 1024 bytes */
}

WITH_CRC static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *ptr, size_t len) {
    uint64_t sum = ~crc;
    for (; len >= 3 * LANE; ptr += 3 * LANE, len -= 3 * LANE)
        sum = three_lanes(sum, ptr);
    for (; len >= 8; ptr += 8, len -= 8)
        sum = _mm_crc32_u64(sum, load(ptr));
    for (; len; ptr++, len--)
        sum = _mm_crc32_u8((uint32_t)sum, *ptr);
    return ~(uint32_t)sum;
}

/*
 * 256 bytes at a time: four registers of four 128-bit sums, each of which goes on by what is 256
 * bytes behind it. A sum (low, high) that is followed by n bits becomes
 * low * x^(n+32-1) + high * x^(n-32-1) mod P, reflected; K_n is that pair.
 */
#define WITH_512 __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2")))
#define K_2048   (int)0xdcb17aa4, 0, (int)0xb9e02b86, 0
#define K_512    0x740eef02, 0, (int)0x9e4addf8, 0
#define K_128    (int)0xf20c0dfe, 0, 0x493c7d27, 0

enum {
    WIDE = 256,
};

WITH_512 static inline __m512i fold512(__m512i sum, __m512i k, __m512i next) {
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, k, 0x00),
                                     _mm512_clmulepi64_epi128(sum, k, 0x11), next, 0x96);
}

WITH_512 static inline __m128i fold128(__m128i sum, __m128i k, __m128i next) {
    return _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(sum, k, 0x00), _mm_clmulepi64_si128(sum, k, 0x11)),
        next);
}

/* Four sums side by side to the CRC of all. */
WITH_512 static uint64_t gather(__m512i sums) {
    const __m128i k = _mm_setr_epi32(K_128);
    __m128i sum = _mm512_castsi512_si128(sums);
    sum = fold128(sum, k, _mm512_extracti32x4_epi32(sums, 1));
    sum = fold128(sum, k, _mm512_extracti32x4_epi32(sums, 2));
    sum = fold128(sum, k, _mm512_extracti32x4_epi32(sums, 3));
    uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_extract_epi64(sum, 0));
    return _mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(sum, 1));
}

WITH_512 static uint64_t wide(uint64_t crc, const uint8_t *ptr, size_t len) {
    const __m512i k2048 = _mm512_broadcast_i32x4(_mm_setr_epi32(K_2048));
    const __m512i k512 = _mm512_broadcast_i32x4(_mm_setr_epi32(K_512));
    __m512i a = _mm512_loadu_si512(ptr), b = _mm512_loadu_si512(ptr + 64);
    __m512i c = _mm512_loadu_si512(ptr + 128), d = _mm512_loadu_si512(ptr + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi64_si128((int64_t)crc)));
    for (ptr += WIDE, len -= WIDE; len >= WIDE; ptr += WIDE, len -= WIDE) {
        a = fold512(a, k2048, _mm512_loadu_si512(ptr));
        b = fold512(b, k2048, _mm512_loadu_si512(ptr + 64));
        c = fold512(c, k2048, _mm512_loadu_si512(ptr + 128));
        d = fold512(d, k2048, _mm512_loadu_si512(ptr + 192));
    }
    return gather(fold512(fold512(fold512(a, k512, b), k512, c), k512, d));
}

WITH_512 static uint32_t crc32c_avx512(uint32_t crc, const uint8_t *ptr, size_t len) {
    size_t bulk = len / WIDE * WIDE;
    if (bulk)
        crc = ~(uint32_t)wide((uint32_t)~crc, ptr, bulk);
    return crc32c_sse42(crc, ptr + bulk, len - bulk);
}

/*
 * The compiler's runtime has asked the processor, and what the system keeps, once, when the process
 * began: CPUID stops a virtual machine for as long as a page takes to seal.
 */
vms_crc32c_fn *vms_crc32c_x86(void) {
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
        return NULL;
    bool wide = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq");
    return wide ? crc32c_avx512 : crc32c_sse42;
}
#else
typedef int vms_no_x86; /* ISO C wants a declaration */
#endif
