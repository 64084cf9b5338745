/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"
#include <stdlib.h>

/*
 * [SEAL-29] Both back ends give the same octets: what one has sealed in random pieces the other
 * opens in others, and refuses with one bit changed. Every test says its seed when it fails.
 */
enum {
    TEXT_MAX = 70000,
    PIECES_MAX = 12,
    ROUNDS = 1500,
    SLACK = 64, /* bytes behind the text, which stay as they were; and steps of alignment */
};

static const struct vms_crypto_ops *back_ends[2];
static uint64_t state;

static void setup(void) {
    back_ends[0] = test_openssl_ops();
    back_ends[1] = test_ipsecmb_ops();
}

TestSuite(seal_ipsecmb, .init = setup, .fini = test_crypto_free);

/* splitmix64, as published by its author into the public domain. */
static uint64_t draw(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(size_t n) {
    return (size_t)(draw() % n);
}

/* Small ones are where blocks are cut; round ones are where the code changes its stride. */
static size_t draw_length(void) {
    switch (below(4)) {
    case 0: return below(130);
    case 1: return below(4) * 16384 + below(64);
    default: return below(TEXT_MAX + 1);
    }
}

static void fill(uint8_t *at, size_t len) {
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)draw();
}

struct message {
    uint8_t key[VMS_KEY_BYTES], nonce[VMS_NONCE_BYTES], tag[VMS_TAG_BYTES];
    uint8_t associated[80];
    size_t associated_len, len;
    uint8_t plain[TEXT_MAX + 2 * SLACK], sealed[TEXT_MAX + 2 * SLACK];
};

/* Takes from in to out, which may be the same, in random pieces, empty ones among them. */
static void run_pieces(const struct vms_crypto_ops *ops, struct vms_aead *key, const uint8_t *in,
                       uint8_t *out, size_t len) {
    size_t most = below(2) ? 100 : len + 1, done = 0;
    for (unsigned i = 0; i < PIECES_MAX && done < len; i++) {
        size_t n = below(most);
        n = n < len - done ? n : len - done;
        cr_assert(ops->aead_data(key, in + done, out ? out + done : NULL, n));
        done += n;
    }
    cr_assert(ops->aead_data(key, in + done, out ? out + done : NULL, len - done));
}

static void draw_message(struct message *m) {
    fill(m->key, sizeof m->key);
    fill(m->nonce, sizeof m->nonce);
    m->associated_len = below(3) ? VMS_FRAME_HEADER_BYTES : below(sizeof m->associated + 1);
    fill(m->associated, sizeof m->associated);
    m->len = draw_length();
    fill(m->plain, sizeof m->plain);
}

static struct vms_aead *start(const struct vms_crypto_ops *ops, enum vms_aead_algorithm algorithm,
                              enum vms_aead_use use, const struct message *m) {
    struct vms_aead *key = ops->aead_new(ops->ctx, algorithm, use, m->key);
    cr_assert_not_null(key);
    cr_assert(ops->aead_start(key, m->nonce, vms_slice(m->associated, m->associated_len)));
    return key;
}

/* In place or not, and wherever in a line of the cache. */
static void seal_message(const struct vms_crypto_ops *ops, enum vms_aead_algorithm algorithm,
                         struct message *m) {
    static uint8_t area[TEXT_MAX + 2 * SLACK];
    uint8_t *at = area + below(SLACK);
    bool in_place = below(2);
    memset(area, 0x5a, sizeof area);
    if (in_place)
        memcpy(at, m->plain, m->len);
    struct vms_aead *key = start(ops, algorithm, VMS_AEAD_SEAL, m);
    run_pieces(ops, key, in_place ? at : m->plain, at, m->len);
    cr_assert(ops->aead_finish(key, m->tag));
    ops->aead_free(key);
    for (size_t i = 0; i < SLACK; i++)
        cr_assert_eq(at[m->len + i], 0x5a, "written past the end");
    memcpy(m->sealed, algorithm == VMS_AEAD_AES_256_GMAC ? m->plain : at, m->len);
}

static bool open_message(const struct vms_crypto_ops *ops, enum vms_aead_algorithm algorithm,
                         const struct message *m) {
    static uint8_t area[TEXT_MAX + 2 * SLACK];
    uint8_t *at = area + below(SLACK);
    memcpy(at, m->sealed, m->len);
    struct vms_aead *key = start(ops, algorithm, VMS_AEAD_OPEN, m);
    run_pieces(ops, key, at, algorithm == VMS_AEAD_AES_256_GMAC ? NULL : at, m->len);
    bool right = ops->aead_verify(key, m->tag);
    ops->aead_free(key);
    if (right)
        cr_assert(memcmp(at, m->plain, m->len) == 0, "deciphered otherwise");
    return right;
}

/* One bit of what the tag is over, or of the tag, the nonce or the key. */
static void flip(struct message *m) {
    struct vms_room places[] = {{m->sealed, m->len},
                                {m->tag, sizeof m->tag},
                                {m->nonce, sizeof m->nonce},
                                {m->key, sizeof m->key},
                                {m->associated, m->associated_len}};
    struct vms_room at;
    do
        at = places[below(sizeof places / sizeof *places)];
    while (at.len == 0);
    at.ptr[below(at.len)] ^= (uint8_t)(1u << below(8));
}

static void cross(enum vms_aead_algorithm algorithm, unsigned rounds) {
    static struct message one, other;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t seed = state = (uint64_t)algorithm << 32 | i;
        draw_message(&one);
        other = one;
        seal_message(back_ends[0], algorithm, &one);
        seal_message(back_ends[1], algorithm, &other);
        cr_assert(memcmp(one.sealed, other.sealed, one.len) == 0, "text, seed %#lx", seed);
        cr_assert_arr_eq(one.tag, other.tag, VMS_TAG_BYTES, "tag, seed %#lx", seed);
        cr_assert(open_message(back_ends[1], algorithm, &one), "refused, seed %#lx", seed);
        cr_assert(open_message(back_ends[0], algorithm, &other), "refused, seed %#lx", seed);
        flip(&one);
        cr_assert_not(open_message(back_ends[1], algorithm, &one), "taken, seed %#lx", seed);
        cr_assert_not(open_message(back_ends[0], algorithm, &one), "taken, seed %#lx", seed);
    }
}

Test(seal_ipsecmb, gcm) {
    cross(VMS_AEAD_AES_256_GCM, ROUNDS);
}

Test(seal_ipsecmb, gmac) {
    cross(VMS_AEAD_AES_256_GMAC, ROUNDS);
}

/* What is not its own it leaves to the other. */
Test(seal_ipsecmb, chacha20) {
    cross(VMS_AEAD_CHACHA20_POLY1305, ROUNDS / 10);
    const struct vms_crypto_ops *ops = back_ends[1];
    cr_assert_not(ops->has_aead(ops->ctx, VMS_AEAD_COUNT));
}

/* A frame as long as frames get, sealed in one piece: counters pass 2^16 and the lengths 2^20. */
Test(seal_ipsecmb, long_frame) {
    const size_t len = (5u << 20) + 13;
    uint8_t key[VMS_KEY_BYTES] = {3}, nonce[VMS_NONCE_BYTES] = {4}, tags[2][VMS_TAG_BYTES];
    uint8_t *text[2] = {calloc(1, len), calloc(1, len)};
    cr_assert(text[0] && text[1]);
    for (unsigned i = 0; i < 2; i++) {
        const struct vms_crypto_ops *ops = back_ends[i];
        struct vms_aead *k = ops->aead_new(ops->ctx, VMS_AEAD_AES_256_GCM, VMS_AEAD_SEAL, key);
        cr_assert(ops->aead_start(k, nonce, vms_str("")));
        cr_assert(ops->aead_data(k, text[i], text[i], len));
        cr_assert(ops->aead_finish(k, tags[i]));
        ops->aead_free(k);
    }
    cr_assert(memcmp(text[0], text[1], len) == 0);
    cr_assert_arr_eq(tags[0], tags[1], VMS_TAG_BYTES);
    free(text[0]);
    free(text[1]);
}
