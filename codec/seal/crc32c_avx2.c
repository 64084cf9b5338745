/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define HERE           __attribute__((target("avx2,vpclmulqdq,pclmul,sse4.2")))
#define V              __m256i
#define PAIR(...)      _mm256_broadcastsi128_si256(_mm_setr_epi32(__VA_ARGS__))
#define K_STEP         PAIR(0x6992cea2, 0, 0x0d3b6092, 0) /* K_1024 */
#define K_256          PAIR(0x3da6d0cb, 0, (int)0xba4fc28e, 0)
#define K_128          (int)0xf20c0dfe, 0, 0x493c7d27, 0
#define FIRST(v, bits) _mm256_xor_si256(v, _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)(bits))))

struct sums;
HERE static uint32_t gather(struct sums s);

HERE static inline V load(const uint8_t *ptr) {
    return _mm256_loadu_si256((const V *)(const void *)ptr);
}

HERE static inline void store(uint8_t *ptr, V v) {
    _mm256_storeu_si256((V *)(void *)ptr, v);
}

HERE static inline V fold(V sum, V k, V next) {
    return _mm256_xor_si256(_mm256_xor_si256(_mm256_clmulepi64_epi128(sum, k, 0x00), next),
                            _mm256_clmulepi64_epi128(sum, k, 0x11));
}

#include "seal/crc32c_fold.h"

HERE static uint32_t gather(struct sums s) {
    const __m128i k = _mm_setr_epi32(K_128);
    V both = fold(fold(fold(s.a, K_256, s.b), K_256, s.c), K_256, s.d);
    __m128i sum = _mm256_castsi256_si128(both);
    sum = _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(sum, k, 0x00), _mm_clmulepi64_si128(sum, k, 0x11)),
        _mm256_extracti128_si256(both, 1));
    uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_extract_epi64(sum, 0));
    return (uint32_t)_mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(sum, 1));
}

const struct vms_crc32c_ops *vms_crc32c_avx2(void) {
    static const struct vms_crc32c_ops ops = {"avx2", sum, copy};
    bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
    return has && vms_crc32c_sse42() ? &ops : NULL;
}

#else

const struct vms_crc32c_ops *vms_crc32c_avx2(void) {
    return NULL;
}

#endif
