/* SPDX-License-Identifier: MIT */
#include "internal.h"

#if defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>

/* Every 64-bit ARM CPU has NEON. The rest behind the last whole step is read as a step that ends
 * with the data. */

static bool step_neon(const uint8_t *ptr) {
    uint8x16_t low = vorrq_u8(vld1q_u8(ptr), vld1q_u8(ptr + 16));
    uint8x16_t high = vorrq_u8(vld1q_u8(ptr + 32), vld1q_u8(ptr + 48));
    return vmaxvq_u8(vorrq_u8(low, high)) == 0;
}

static bool is_zero_neon(const uint8_t *ptr, size_t len) {
    if (len < 64)
        return vms_page_ops_portable()->is_zero(ptr, len);
    for (size_t at = 0; at + 64 <= len; at += 64)
        if (!step_neon(ptr + at))
            return false;
    return step_neon(ptr + len - 64);
}

static size_t xor_neon(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t len) {
    size_t changed = 0, at = 0;
    for (; at + 16 <= len; at += 16) {
        uint8x16_t v = veorq_u8(vld1q_u8(a + at), vld1q_u8(b + at));
        changed += vaddvq_u8(vshrq_n_u8(vtstq_u8(v, v), 7));
        vst1q_u8(out + at, v);
    }
    return changed + vms_page_ops_portable()->xor (out + at, a + at, b + at, len - at);
}

const struct vms_page_ops *vms_page_ops_neon(void) {
    static const struct vms_page_ops ops = {"neon", is_zero_neon, xor_neon};
    return &ops;
}

#else

const struct vms_page_ops *vms_page_ops_neon(void) {
    return NULL;
}

#endif
