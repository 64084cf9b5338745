/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"
#include <stdlib.h>

/*
 * [SEAL-15] [SEAL-26] A back end between libvmstream and OpenSSL that writes down with which key
 * and nonce which data was sealed. Many sessions, both directions, many channels, rekeys and
 * reconnections: no pair comes twice.
 */

enum {
    USES_MAX = 1 << 17,
};

/* Key and nonce, and a sum of what was sealed with them. */
struct use {
    uint8_t key[VMS_KEY_BYTES];
    uint8_t nonce[VMS_NONCE_BYTES];
    uint32_t sum;
};

struct spy_key {
    struct vms_aead *real;
    enum vms_aead_use use;
    struct use now;
};

static const struct vms_crypto_ops *real;
static struct vms_crypto_ops spy;
static struct use *uses;
static size_t use_count;

static struct spy_key *spied(struct vms_aead *key) {
    return (struct spy_key *)(void *)key;
}

static struct vms_aead *spy_new(void *ctx, enum vms_aead_algorithm algorithm, enum vms_aead_use use,
                                const uint8_t *key) {
    struct spy_key *k = calloc(1, sizeof *k);
    k->real = real->aead_new(ctx, algorithm, use, key);
    k->use = use;
    memcpy(k->now.key, key, VMS_KEY_BYTES);
    return (struct vms_aead *)(void *)k;
}

static void spy_free(struct vms_aead *key) {
    real->aead_free(spied(key)->real);
    free(key);
}

static bool spy_start(struct vms_aead *key, const uint8_t *nonce, struct vms_slice associated) {
    struct spy_key *k = spied(key);
    memcpy(k->now.nonce, nonce, VMS_NONCE_BYTES);
    k->now.sum = vms_crc32c(0, associated.ptr, associated.len);
    if (k->use == VMS_AEAD_SEAL) { /* at the start: key stream may leave from here on */
        cr_assert_lt(use_count, USES_MAX);
        uses[use_count++] = k->now;
    }
    return real->aead_start(k->real, nonce, associated);
}

static bool spy_data(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len) {
    struct spy_key *k = spied(key);
    k->now.sum = vms_crc32c(k->now.sum, in, len);
    return real->aead_data(k->real, in, out, len);
}

static bool spy_finish(struct vms_aead *key, uint8_t *tag) {
    return real->aead_finish(spied(key)->real, tag);
}

static bool spy_verify(struct vms_aead *key, const uint8_t *tag) {
    return real->aead_verify(spied(key)->real, tag);
}

static void setup(void) {
    real = test_crypto();
    spy = *real;
    spy.aead_new = spy_new;
    spy.aead_free = spy_free;
    spy.aead_start = spy_start;
    spy.aead_data = spy_data;
    spy.aead_finish = spy_finish;
    spy.aead_verify = spy_verify;
    uses = calloc(USES_MAX, sizeof *uses);
    use_count = 0;
}

static void teardown(void) {
    free(uses);
    test_crypto_free();
}

TestSuite(seal_nonce, .init = setup, .fini = teardown);

static int by_pair(const void *a, const void *b) {
    return memcmp(a, b, offsetof(struct use, sum));
}

static size_t pairs_used_twice(void) {
    size_t twice = 0;
    qsort(uses, use_count, sizeof *uses, by_pair);
    for (size_t i = 1; i < use_count; i++)
        twice += by_pair(&uses[i - 1], &uses[i]) == 0;
    return twice;
}

enum {
    CHANNELS = 4,
    ENDS = 2, /* of a session: the source seals direction 0, the destination direction 1 */
    FRAMES_A_KEY = 8,
};

struct session {
    enum vms_suite suite;
    struct vms_sealer sealers[ENDS][CHANNELS];
    struct vms_opener openers[ENDS][CHANNELS];
    uint32_t epoch;
    uint8_t master[VMS_MASTER_BYTES];
    struct vms_error err;
};

/* Every plaintext is another, so that a pair that comes twice seals two of them. */
static void send_frame(struct session *s, unsigned end, unsigned channel, uint32_t type) {
    static struct test_frame f;
    static unsigned seed;
    test_frame_make(&f, type, 24, seed++);
    cr_assert_eq(test_seal(&s->sealers[end][channel], &f, &s->err), VMS_OK, "%s", s->err.message);
    cr_assert_eq(test_open(&s->openers[end][channel], &f, &s->err), VMS_OK, "%s", s->err.message);
}

/* Hellos of both ends on the main channel, then the master secret. */
static void connect_ends(struct session *s) {
    struct vms_seal_salt salt = {{0}, {0}, "no transcript in this test"};
    uint8_t *randoms[ENDS] = {salt.source_random, salt.destination_random};
    struct vms_slice secret = test_secret_slice();
    for (unsigned end = 0; end < ENDS; end++) {
        cr_assert_eq(vms_sealer_hello(&s->sealers[end][0], secret, randoms[end], &s->err), VMS_OK);
        cr_assert_eq(vms_opener_hello(&s->openers[end][0], secret, randoms[end], &s->err), VMS_OK);
        send_frame(s, end, 0, 1);
    }
    cr_assert_eq(vms_seal_master(&spy, secret, &salt, s->master, &s->err), VMS_OK);
}

static void set_keys(struct session *s, unsigned end, unsigned channel, uint32_t epoch) {
    struct vms_sealer *sealer = &s->sealers[end][channel];
    struct vms_opener *opener = &s->openers[end][channel];
    cr_assert_eq(vms_sealer_rekey(sealer, s->suite, s->master, epoch, 0, &s->err), VMS_OK);
    cr_assert_eq(vms_opener_rekey(opener, s->suite, s->master, epoch, 0, &s->err), VMS_OK);
}

/* Sends until the key is used up, and once more than that may be. */
static void use_key_up(struct session *s, unsigned end, unsigned channel) {
    static struct test_frame f;
    struct vms_sealer *sealer = &s->sealers[end][channel];
    while (!vms_sealer_must_rekey(sealer, 24))
        send_frame(s, end, channel, 33);
    test_frame_make(&f, 33, 24, 0);
    cr_assert_eq(test_seal(sealer, &f, &s->err), VMS_E_SEAL_REKEY_DUE);
    send_frame(s, end, channel, VMS_TYPE_REKEY);
}

static void run_connection(struct session *s, unsigned rekeys) {
    uint32_t first = s->epoch + 1;
    connect_ends(s);
    for (unsigned i = 0; i < ENDS * CHANNELS; i++) {
        for (unsigned n = 0; n <= rekeys; n++) {
            set_keys(s, i % ENDS, i / ENDS, first + n);
            use_key_up(s, i % ENDS, i / ENDS);
        }
    }
    s->epoch = first + rekeys;
}

static void open_session(struct session *s, enum vms_suite suite) {
    struct vms_limits limits = vms_limits_default();
    limits.seal_key_frames = FRAMES_A_KEY;
    s->suite = suite;
    s->epoch = 0;
    for (unsigned i = 0; i < ENDS * CHANNELS; i++) {
        enum vms_direction d = i % ENDS;
        vms_sealer_init(&s->sealers[d][i / ENDS], &spy, d, (uint16_t)(i / ENDS), &limits);
        vms_opener_init(&s->openers[d][i / ENDS], &spy, d, (uint16_t)(i / ENDS), &limits);
    }
}

static void close_session(struct session *s) {
    for (unsigned i = 0; i < ENDS * CHANNELS; i++) {
        vms_sealer_free(&s->sealers[i % ENDS][i / ENDS]);
        vms_opener_free(&s->openers[i % ENDS][i / ENDS]);
    }
}

/* One secret, three suites, four sessions each, six connections a session, five keys a connection.
 */
Test(seal_nonce, each_pair_once, .timeout = 120) {
    static struct session s;
    size_t expected = 0;
    for (unsigned i = 0; i < 12; i++) {
        open_session(&s, VMS_SUITE_AES_256_GMAC + i % 3);
        for (unsigned connection = 0; connection < 6; connection++)
            run_connection(&s, 4);
        close_session(&s);
        expected += 6 * (ENDS + ENDS * CHANNELS * 5 * FRAMES_A_KEY);
    }
    cr_assert_eq(use_count, expected);
    cr_assert_eq(pairs_used_twice(), 0);
}

/* A sealer with a frame begun and left, by a cut, does not use its nonce for another. */
Test(seal_nonce, a_frame_that_was_cut) {
    static struct session s;
    uint8_t header[VMS_FRAME_HEADER_BYTES], random[VMS_SEAL_RANDOM_BYTES];
    open_session(&s, VMS_SUITE_AES_256_GCM);
    connect_ends(&s);
    set_keys(&s, 0, 0, 1);
    test_header(header, 33, 8, 8);
    struct vms_sealer *sealer = &s.sealers[0][0];
    cr_assert_eq(vms_sealer_begin(sealer, header, &s.err), VMS_OK);
    cr_assert_eq(vms_sealer_begin(sealer, header, &s.err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_rekey(sealer, s.suite, s.master, 1, 0, &s.err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_hello(sealer, test_secret_slice(), random, &s.err), VMS_OK);
    cr_assert_eq(vms_sealer_rekey(sealer, s.suite, s.master, 1, 0, &s.err), VMS_E_MISUSE);
    close_session(&s);
    cr_assert_eq(pairs_used_twice(), 0);
}

/* The counter itself finds what it looks for. */
Test(seal_nonce, the_count_counts) {
    static struct session s;
    for (unsigned i = 0; i < 2; i++) { /* the same master twice: what fresh randoms prevent */
        open_session(&s, VMS_SUITE_AES_256_GCM);
        memcpy(s.master, test_master, sizeof s.master);
        set_keys(&s, 0, 1, 1);
        send_frame(&s, 0, 1, 33);
        close_session(&s);
    }
    cr_assert_eq(pairs_used_twice(), 1);
}
