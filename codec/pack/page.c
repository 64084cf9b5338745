/* SPDX-License-Identifier: MIT */
#include "internal.h"

static uint64_t load64(const uint8_t *ptr) {
    uint64_t v;
    memcpy(&v, ptr, sizeof v);
    return v;
}

static bool is_zero_bytes(const uint8_t *ptr, size_t len) {
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= ptr[i];
    return any == 0;
}

static bool is_zero_portable(const uint8_t *ptr, size_t len) {
    size_t at = 0;
    for (; len - at >= 64; at += 64) {
        uint64_t any = 0;
        for (size_t i = 0; i < 64; i += 8)
            any |= load64(ptr + at + i);
        if (any)
            return false;
    }
    return is_zero_bytes(ptr + at, len - at);
}

/* How many bytes of the word are not 0: a bit for each, moved to the lowest place and added up. */
static size_t count_bytes(uint64_t v) {
    const uint64_t low = UINT64_C(0x0101010101010101), rest = low * 0x7f;
    uint64_t set = (((v & rest) + rest) | v) >> 7 & low;
    return (size_t)(set * low >> 56);
}

static size_t xor_portable(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t len) {
    size_t changed = 0, at = 0;
    for (; len - at >= 8; at += 8) {
        uint64_t v = load64(a + at) ^ load64(b + at);
        changed += count_bytes(v);
        memcpy(out + at, &v, sizeof v);
    }
    for (; at < len; at++) {
        out[at] = a[at] ^ b[at];
        changed += out[at] != 0;
    }
    return changed;
}

const struct vms_page_ops *vms_page_ops_portable(void) {
    static const struct vms_page_ops ops = {"portable", is_zero_portable, xor_portable};
    return &ops;
}

const struct vms_page_ops *vms_page_ops_at(size_t index) {
    const struct vms_page_ops *all[] = {vms_page_ops_portable(), vms_page_ops_sse2(),
                                        vms_page_ops_neon(), vms_page_ops_avx2()};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && index-- == 0)
            return all[i];
    return NULL;
}

const struct vms_page_ops *vms_page_ops(void) {
    const struct vms_page_ops *best = vms_page_ops_avx2();
    if (!best)
        best = vms_page_ops_sse2();
    if (!best)
        best = vms_page_ops_neon();
    return best ? best : vms_page_ops_portable();
}

size_t vms_zero_run(const struct vms_page_ops *ops, struct vms_slice pages, uint32_t page_size,
                    bool *zero) {
    size_t count = page_size ? pages.len / page_size : 0;
    *zero = count && ops->is_zero(pages.ptr, page_size);
    size_t n = count ? 1 : 0;
    while (n < count && ops->is_zero(pages.ptr + n * page_size, page_size) == *zero)
        n++;
    return n;
}
