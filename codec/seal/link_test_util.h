/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_LINK_TEST_UTIL_H
#define VMSTREAM_LINK_TEST_UTIL_H

#include "seal/seal_test_util.h"

/* A sealer and its opener, on channel 7. */

static const struct vms_crypto_ops *crypto;
static struct vms_limits limits;
static struct vms_sealer s;
static struct vms_opener o;
static struct vms_error err;
static struct test_frame f;

static inline void make_pair(void) {
    vms_sealer_init(&s, crypto, VMS_SOURCE_TO_DESTINATION, 7, &limits);
    vms_opener_init(&o, crypto, VMS_SOURCE_TO_DESTINATION, 7, &limits);
}

static inline void link_setup(void) {
    crypto = test_crypto();
    limits = vms_limits_default();
    make_pair();
}

static inline void drop(void) {
    vms_sealer_free(&s);
    vms_opener_free(&o);
}

static inline void link_teardown(void) {
    drop();
    test_crypto_free();
}

static inline void rekey(enum vms_suite suite, uint32_t epoch) {
    const uint8_t *master = suite == VMS_SUITE_NONE ? NULL : test_master;
    cr_assert_eq(vms_sealer_rekey(&s, suite, master, epoch, 0, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_opener_rekey(&o, suite, master, epoch, 0, &err), VMS_OK, "%s", err.message);
}

static inline void fresh(enum vms_suite suite) {
    drop();
    make_pair();
    rekey(suite, 1);
}

static inline enum vms_code seal(size_t len) {
    test_frame_make(&f, 33, len, 1);
    return test_seal(&s, &f, &err);
}

#endif
