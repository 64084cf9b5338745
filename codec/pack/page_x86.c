/* SPDX-License-Identifier: MIT */
#include "internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* The rest behind the last whole step is read as a step that ends with the data. */

static bool step_sse2(const uint8_t *ptr) {
    const __m128i *v = (const __m128i *)(const void *)ptr;
    __m128i low = _mm_or_si128(_mm_loadu_si128(v), _mm_loadu_si128(v + 1));
    __m128i high = _mm_or_si128(_mm_loadu_si128(v + 2), _mm_loadu_si128(v + 3));
    __m128i equal = _mm_cmpeq_epi8(_mm_or_si128(low, high), _mm_setzero_si128());
    return _mm_movemask_epi8(equal) == 0xffff;
}

static bool is_zero_sse2(const uint8_t *ptr, size_t len) {
    if (len < 64)
        return vms_page_ops_portable()->is_zero(ptr, len);
    for (size_t at = 0; at + 64 <= len; at += 64)
        if (!step_sse2(ptr + at))
            return false;
    return step_sse2(ptr + len - 64);
}

static size_t xor_sse2(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t len) {
    const __m128i ones = _mm_set1_epi8(1), zero = _mm_setzero_si128();
    __m128i equal = zero; /* two counts of 64 bits */
    size_t at = 0;
    for (; at + 16 <= len; at += 16) {
        __m128i v = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(a + at)),
                                  _mm_loadu_si128((const __m128i *)(const void *)(b + at)));
        __m128i same = _mm_and_si128(_mm_cmpeq_epi8(v, zero), ones);
        equal = _mm_add_epi64(equal, _mm_sad_epu8(same, zero));
        _mm_storeu_si128((__m128i *)(void *)(out + at), v);
    }
    uint64_t counts[2];
    memcpy(counts, &equal, sizeof counts);
    size_t changed = at - (size_t)(counts[0] + counts[1]);
    return changed + vms_page_ops_portable()->xor (out + at, a + at, b + at, len - at);
}

__attribute__((target("avx2"))) static bool step_avx2(const uint8_t *ptr) {
    const __m256i *v = (const __m256i *)(const void *)ptr;
    __m256i low = _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1));
    __m256i high = _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3));
    __m256i any = _mm256_or_si256(low, high);
    return _mm256_testz_si256(any, any);
}

__attribute__((target("avx2"))) static bool is_zero_avx2(const uint8_t *ptr, size_t len) {
    if (len < 128)
        return is_zero_sse2(ptr, len);
    for (size_t at = 0; at + 128 <= len; at += 128)
        if (!step_avx2(ptr + at))
            return false;
    return step_avx2(ptr + len - 128);
}

__attribute__((target("avx2"))) static size_t xor_avx2(uint8_t *out, const uint8_t *a,
                                                       const uint8_t *b, size_t len) {
    const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
    __m256i equal = zero; /* four counts of 64 bits */
    size_t at = 0;
    for (; at + 32 <= len; at += 32) {
        __m256i v = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)(a + at)),
                                     _mm256_loadu_si256((const __m256i *)(const void *)(b + at)));
        __m256i same = _mm256_and_si256(_mm256_cmpeq_epi8(v, zero), ones);
        equal = _mm256_add_epi64(equal, _mm256_sad_epu8(same, zero));
        _mm256_storeu_si256((__m256i *)(void *)(out + at), v);
    }
    uint64_t counts[4];
    memcpy(counts, &equal, sizeof counts);
    size_t changed = at - (size_t)(counts[0] + counts[1] + counts[2] + counts[3]);
    return changed + xor_sse2(out + at, a + at, b + at, len - at);
}

const struct vms_page_ops *vms_page_ops_sse2(void) {
    static const struct vms_page_ops ops = {"sse2", is_zero_sse2, xor_sse2};
    return &ops;
}

const struct vms_page_ops *vms_page_ops_avx2(void) {
    static const struct vms_page_ops ops = {"avx2", is_zero_avx2, xor_avx2};
    return __builtin_cpu_supports("avx2") ? &ops : NULL; /* and the system keeps its registers */
}

#else

const struct vms_page_ops *vms_page_ops_sse2(void) {
    return NULL;
}

const struct vms_page_ops *vms_page_ops_avx2(void) {
    return NULL;
}

#endif
