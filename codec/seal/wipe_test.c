/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

/*
 * [SEAL-21] An allocator for the whole test program that, once told, keeps every block, so that
 * what is in one after it was freed can be looked at; and counts, so that no frame allocates
 * ([SEAL-27]). The sanitizer has an allocator of its own: under it these tests are left out.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__)

enum {
    BLOCKS_MAX = 1 << 16,
};

struct block {
    uint8_t *ptr;
    size_t len;
};

static struct block blocks[BLOCKS_MAX];
static size_t block_count;
static bool keeping;

void *__libc_malloc(size_t len);
void *__libc_realloc(void *ptr, size_t len);
void *__libc_memalign(size_t alignment, size_t len);
void __libc_free(void *ptr);

static void *keep(void *ptr, size_t len) {
    if (keeping && block_count == BLOCKS_MAX)
        abort();
    if (keeping)
        blocks[block_count++] = (struct block){ptr, len};
    return ptr;
}

void *malloc(size_t len) {
    return keep(__libc_malloc(len), len);
}

void *aligned_alloc(size_t alignment, size_t len) {
    return keep(__libc_memalign(alignment, len), len);
}

void *calloc(size_t count, size_t len) {
    size_t all;
    if (__builtin_mul_overflow(count, len, &all))
        return NULL;
    uint8_t *ptr = malloc(all);
    for (volatile uint8_t *p = ptr; p && p < ptr + all; p++) /* memset would become calloc again */
        *p = 0;
    return ptr;
}

void free(void *ptr) {
    if (!keeping)
        __libc_free(ptr);
}

void *realloc(void *ptr, size_t len) {
    if (!keeping)
        return __libc_realloc(ptr, len);
    void *bigger = malloc(len);
    size_t old = ptr ? malloc_usable_size(ptr) : 0;
    if (bigger && old)
        memcpy(bigger, ptr, old < len ? old : len);
    return bigger;
}

static bool found(const void *area, size_t len, const uint8_t *what, size_t what_len) {
    return memmem(area, len, what, what_len) != NULL;
}

/* Whether half a key, or more, stands in any block that was ever allocated. */
static bool anywhere(const uint8_t *key) {
    for (size_t i = 0; i < block_count; i++)
        if (found(blocks[i].ptr, blocks[i].len, key, 16) ||
            found(blocks[i].ptr, blocks[i].len, key + 16, 16))
            return true;
    return false;
}

static const struct vms_crypto_ops *crypto;
static struct vms_limits limits;
static struct vms_error err;

static void setup(void) {
    keeping = true;
    crypto = test_crypto();
    limits = vms_limits_default();
}

TestSuite(seal_wipe, .init = setup);

static const enum vms_suite KEYED[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                       VMS_SUITE_CHACHA20_POLY1305};

static void frame_key(uint32_t epoch, struct vms_key_iv *k) {
    cr_assert(vms_seal_frame_key(crypto, test_master, VMS_SOURCE_TO_DESTINATION, 3, epoch, k));
}

static bool all_zero(const void *ptr, size_t len) {
    const uint8_t *p = ptr;
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

/* Freed, rekeyed: the old key is in no block that OpenSSL ever had, nor in the object. */
Test(seal_wipe, keys) {
    for (unsigned i = 0; i < 3; i++) {
        static struct test_frame f;
        struct vms_sealer s;
        struct vms_key_iv one, two;
        frame_key(1, &one);
        frame_key(2, &two);
        vms_sealer_init(&s, crypto, VMS_SOURCE_TO_DESTINATION, 3, &limits);
        cr_assert_eq(vms_sealer_rekey(&s, KEYED[i], test_master, 1, 0, &err), VMS_OK);
        test_frame_make(&f, 33, 1000, i);
        cr_assert_eq(test_seal(&s, &f, &err), VMS_OK);
        cr_assert(anywhere(one.key), "the search finds a key that is there");
        cr_assert_eq(vms_sealer_rekey(&s, KEYED[i], test_master, 2, 0, &err), VMS_OK);
        cr_assert_not(anywhere(one.key), "suite %u, after rekeying", KEYED[i]);
        cr_assert_not(found(&s, sizeof s, one.iv, sizeof one.iv));
        cr_assert(anywhere(two.key));
        vms_sealer_free(&s);
        cr_assert_not(anywhere(two.key), "suite %u, after freeing", KEYED[i]);
        cr_assert(all_zero(&s, sizeof s));
        cr_assert_not(anywhere(test_secret));
        cr_assert_not(anywhere(test_master));
    }
}

/* One step of the schedule, run on a stack of its own, with its results elsewhere. */
struct step {
    void (*run)(struct step *step);
    struct vms_sealer sealer;
    struct vms_seal_salt salt;
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    uint8_t master[VMS_MASTER_BYTES];
    struct vms_key_iv k;
    struct vms_error err;
};

static void step_hello_key(struct step *w) {
    cr_assert(vms_seal_hello_key(crypto, test_secret_slice(), VMS_SOURCE_TO_DESTINATION, w->random,
                                 &w->k));
}
static void step_frame_key(struct step *w) {
    frame_key(1, &w->k);
}
static void step_hello(struct step *w) {
    cr_assert_eq(vms_sealer_hello(&w->sealer, test_secret_slice(), w->random, &w->err), VMS_OK);
}
static void step_rekey(struct step *w) {
    cr_assert_eq(vms_sealer_rekey(&w->sealer, VMS_SUITE_AES_256_GCM, test_master, 1, 0, &w->err),
                 VMS_OK);
}
static void step_master(struct step *w) {
    cr_assert_eq(vms_seal_master(crypto, test_secret_slice(), &w->salt, w->master, &w->err),
                 VMS_OK);
}

static void *run_step(void *arg) {
    struct step *step = arg;
    volatile uint8_t above[65536]; /* so far down the thread's own end does not write */
    above[0] = 1;
    step->run(step);
    above[1] = above[0];
    return NULL;
}

static void run_on(uint8_t *stack, size_t len, struct step *step) {
    pthread_t thread;
    pthread_attr_t attr;
    memset(stack, 0, len);
    pthread_attr_init(&attr);
    cr_assert_eq(pthread_attr_setstack(&attr, stack, len), 0);
    cr_assert_eq(pthread_create(&thread, &attr, run_step, step), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    cr_assert_not(all_zero(stack, len));
}

/* Every secret that the step can have had. */
static void check_stack(const uint8_t *stack, size_t len, const struct step *step) {
    uint8_t prk[VMS_SHA256_BYTES];
    struct vms_key_iv frame, hello;
    frame_key(1, &frame);
    cr_assert(vms_seal_hello_key(crypto, test_secret_slice(), VMS_SOURCE_TO_DESTINATION,
                                 step->random, &hello));
    cr_assert(vms_hkdf_extract(crypto, vms_str("vmstream-1 hello"), test_secret_slice(), prk));
    cr_assert_not(found(stack, len, prk, 16), "pseudorandom key");
    cr_assert_not(found(stack, len, frame.key, 16), "frame key");
    cr_assert_not(found(stack, len, frame.iv, 12), "frame IV");
    cr_assert_not(found(stack, len, hello.key, 16), "hello key");
    cr_assert_not(found(stack, len, hello.iv, 12), "hello IV");
    cr_assert_not(found(stack, len, test_secret, 16), "secret");
    cr_assert_not(found(stack, len, test_master, 16), "master secret");
    cr_assert(all_zero(step->master, 32) || !found(stack, len, step->master, 16), "new master");
}

/* Nothing secret stays on the stack, whatever the step that came last. */
Test(seal_wipe, stack) {
    static void (*const steps[])(struct step *) = {step_hello_key, step_frame_key, step_hello,
                                                   step_rekey, step_master};
    const size_t len = 1 << 20;
    uint8_t *stack = aligned_alloc(4096, len);
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        static struct step step;
        step = (struct step){.run = steps[i]};
        vms_sealer_init(&step.sealer, crypto, VMS_SOURCE_TO_DESTINATION, 3, &limits);
        run_on(stack, len, &step);
        check_stack(stack, len, &step);
        vms_sealer_free(&step.sealer);
    }
}

/* [SEAL-27] a thousand frames, sealed and opened, allocate nothing. */
Test(seal_wipe, no_allocation_per_frame) {
    static struct test_frame f;
    for (unsigned i = 0; i < 3; i++) {
        struct vms_sealer s;
        struct vms_opener o;
        vms_sealer_init(&s, crypto, VMS_SOURCE_TO_DESTINATION, 3, &limits);
        vms_opener_init(&o, crypto, VMS_SOURCE_TO_DESTINATION, 3, &limits);
        cr_assert_eq(vms_sealer_rekey(&s, KEYED[i], test_master, 1, 0, &err), VMS_OK);
        cr_assert_eq(vms_opener_rekey(&o, KEYED[i], test_master, 1, 0, &err), VMS_OK);
        struct vms_transcript t;
        cr_assert_eq(vms_transcript_init(&t, crypto, &err), VMS_OK);
        size_t before = block_count;
        for (unsigned n = 0; n < 1000; n++) {
            test_frame_make(&f, 33, n * 7, n);
            cr_assert_eq(test_seal(&s, &f, &err), VMS_OK);
            cr_assert_eq(vms_transcript_frame(&t, f.header, vms_slice(f.tag, 16), &err), VMS_OK);
            cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
        }
        cr_assert_eq(block_count, before, "suite %u", KEYED[i]);
        vms_transcript_free(&t);
        vms_sealer_free(&s);
        vms_opener_free(&o);
    }
}
#endif
