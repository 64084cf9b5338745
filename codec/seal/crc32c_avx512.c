/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define HERE           __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2")))
#define V              __m512i
#define PAIR(...)      _mm512_broadcast_i32x4(_mm_setr_epi32(__VA_ARGS__))
#define K_STEP         PAIR((int)0xdcb17aa4, 0, (int)0xb9e02b86, 0) /* K_2048 */
#define K_512          PAIR(0x740eef02, 0, (int)0x9e4addf8, 0)
#define K_128          (int)0xf20c0dfe, 0, 0x493c7d27, 0
#define FIRST(v, bits) _mm512_xor_si512(v, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)(bits))))

struct sums;
HERE static uint32_t gather(struct sums s);

HERE static inline V load(const uint8_t *ptr) {
    return _mm512_loadu_si512(ptr);
}

HERE static inline void store(uint8_t *ptr, V v) {
    _mm512_storeu_si512(ptr, v);
}

HERE static inline V fold(V sum, V k, V next) {
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, k, 0x00),
                                     _mm512_clmulepi64_epi128(sum, k, 0x11), next, 0x96);
}

#include "seal/crc32c_fold.h"

HERE static inline __m128i fold128(__m128i sum, __m128i next) {
    const __m128i k = _mm_setr_epi32(K_128);
    return _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(sum, k, 0x00), _mm_clmulepi64_si128(sum, k, 0x11)),
        next);
}

HERE static uint32_t gather(struct sums s) {
    V all = fold(fold(fold(s.a, K_512, s.b), K_512, s.c), K_512, s.d);
    __m128i sum = _mm512_castsi512_si128(all);
    sum = fold128(sum, _mm512_extracti32x4_epi32(all, 1));
    sum = fold128(sum, _mm512_extracti32x4_epi32(all, 2));
    sum = fold128(sum, _mm512_extracti32x4_epi32(all, 3));
    uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_extract_epi64(sum, 0));
    return (uint32_t)_mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(sum, 1));
}

const struct vms_crc32c_ops *vms_crc32c_avx512(void) {
    static const struct vms_crc32c_ops ops = {"avx512", sum, copy};
    bool has = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq");
    return has && vms_crc32c_sse42() ? &ops : NULL;
}

#else

const struct vms_crc32c_ops *vms_crc32c_avx512(void) {
    return NULL;
}

#endif
