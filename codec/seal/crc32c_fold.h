/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C (SEAL-2) by multiplication without carries, for crc32c_avx2.c and crc32c_avx512.c, which
 * say before what differs: V, a register; HERE, what it takes; load, store, fold, gather, FIRST and
 * K_STEP. Four registers of 128-bit sums, each of which goes on by what is four registers behind
 * it.
 *
 * A sum (low, high) that is followed by n bits becomes low * x^(n+32-1) + high * x^(n-32-1) mod P,
 * reflected; K_n is that pair.
 */
enum {
    STEP = 4 * sizeof(V),
    AHEAD = 2048, /* bytes; a guest's memory that is to be sent is in no cache */
    LINE = 64,
};

struct sums {
    V a, b, c, d;
};

/* [SEAL-22] The barrier keeps the compiler from reading twice what may have changed meanwhile. */
HERE static inline V take(uint8_t *out, const uint8_t *in) {
    V v = load(in);
    __asm__("" : "+x"(v));
    if (out)
        store(out, v);
    return v;
}

HERE static inline struct sums take_step(uint8_t *out, const uint8_t *in) {
    const size_t n = sizeof(V);
    for (int line = 0; out && line < STEP; line += LINE)
        _mm_prefetch((const char *)in + AHEAD + line, _MM_HINT_T0);
    return (struct sums){take(out, in), take(out ? out + n : NULL, in + n),
                         take(out ? out + 2 * n : NULL, in + 2 * n),
                         take(out ? out + 3 * n : NULL, in + 3 * n)};
}

/* len: STEP or a multiple of it. out may be NULL. */
HERE static inline __attribute__((always_inline)) uint32_t steps(uint32_t crc, uint8_t *out,
                                                                 const uint8_t *in, size_t len) {
    const V k = K_STEP;
    struct sums s = take_step(out, in);
    s.a = FIRST(s.a, ~crc);
    for (size_t at = STEP; at < len; at += STEP) {
        struct sums next = take_step(out ? out + at : NULL, in + at);
        s = (struct sums){fold(s.a, k, next.a), fold(s.b, k, next.b), fold(s.c, k, next.c),
                          fold(s.d, k, next.d)};
    }
    return ~gather(s);
}

HERE static uint32_t sum(uint32_t crc, const uint8_t *ptr, size_t len) {
    size_t whole = len / STEP * STEP;
    if (whole)
        crc = steps(crc, NULL, ptr, whole);
    return vms_crc32c_by_instruction(crc, ptr + whole, len - whole);
}

HERE static uint32_t copy(uint32_t crc, uint8_t *out, const uint8_t *in, size_t len) {
    size_t whole = len / STEP * STEP;
    if (whole)
        crc = steps(crc, out, in, whole);
    return vms_crc32c_copy_by(vms_crc32c_by_instruction, crc, out + whole, in + whole, len - whole);
}
