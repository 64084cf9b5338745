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

WITH_CRC uint32_t vms_crc32c_by_instruction(uint32_t crc, const uint8_t *ptr, size_t len) {
    uint64_t sum = ~crc;
    for (; len >= 3 * LANE; ptr += 3 * LANE, len -= 3 * LANE)
        sum = three_lanes(sum, ptr);
    for (; len >= 8; ptr += 8, len -= 8)
        sum = _mm_crc32_u64(sum, load(ptr));
    for (; len; ptr++, len--)
        sum = _mm_crc32_u8((uint32_t)sum, *ptr);
    return ~(uint32_t)sum;
}

WITH_CRC static uint32_t copy(uint32_t crc, uint8_t *out, const uint8_t *in, size_t len) {
    return vms_crc32c_copy_by(vms_crc32c_by_instruction, crc, out, in, len);
}

const struct vms_crc32c_ops *vms_crc32c_sse42(void) {
    static const struct vms_crc32c_ops ops = {"sse4.2", vms_crc32c_by_instruction, copy};
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") ? &ops : NULL;
}

#else

const struct vms_crc32c_ops *vms_crc32c_sse42(void) {
    return NULL;
}

#endif
