/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/subject.h"
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * The integrity figures of the native wire: a sealed file is damaged in every way that an attacker
 * has, and none may be reported complete. Every reading goes on to the end, as a destination would.
 * This file: damage to octets. integrity_frames_test.c: to the order of frames.
 * integrity_keys_test.c, integrity_live_test.c: to keys and hellos. integrity_good_test.c: no
 * damage. Each attack prints a line.
 */

enum {
    PIECE = 160,
    RANDOM_FLIPS = 10000,
    RANDOM_CUTS = 1000,
    FLIPS_MAX = 8,
};

/* What a wrong octet of a file may be refused with, by where it is. */
static const enum vms_code IN_LABEL[] = {VMS_E_NATIVE_LABEL, VMS_OK};
static const enum vms_code IN_MAGIC[] = {VMS_E_NATIVE_MAGIC, VMS_OK};
static const enum vms_code IN_EPOCH[] = {VMS_E_SEAL_EPOCH, VMS_E_NATIVE_ORDER, VMS_E_NATIVE_FLAGS,
                                         VMS_OK};
static const enum vms_code IN_SEQUENCE[] = {VMS_E_SEAL_SEQUENCE, VMS_E_NATIVE_ORDER, VMS_OK};
static const enum vms_code IN_TAG[] = {VMS_E_SEAL_TAG, VMS_OK};
/* Header and body are looked at before the tag, to find what it is made with (NAT-19). */
#define BODY_CODES                                                                                 \
    VMS_E_SEAL_TAG, VMS_E_NATIVE_CBOR, VMS_E_NATIVE_KEY, VMS_E_NATIVE_VALUE, VMS_E_NATIVE_BULK,    \
        VMS_E_NATIVE_RECORD, VMS_E_LIMIT
static const enum vms_code IN_BODY[] = {BODY_CODES, VMS_OK};
static const enum vms_code IN_HELLO_BODY[] = {BODY_CODES, VMS_E_NATIVE_HELLO,
                                              VMS_E_SEAL_PSK_IDENTITY, VMS_OK};
static const enum vms_code IN_TYPE[] = {BODY_CODES,         VMS_E_NATIVE_TYPE,
                                        VMS_E_NATIVE_ORDER, VMS_E_NATIVE_CHANNEL,
                                        VMS_E_NATIVE_FLAGS, VMS_OK};
static const enum vms_code IN_FLAGS[] = {BODY_CODES, VMS_E_NATIVE_FLAGS, VMS_E_SEAL_UNSEALED,
                                         VMS_OK};
static const enum vms_code IN_CHANNEL[] = {VMS_E_SEAL_TAG,       VMS_E_SEAL_SEQUENCE, VMS_E_LIMIT,
                                           VMS_E_NATIVE_CHANNEL, VMS_E_NATIVE_ORDER,  VMS_OK};
static const enum vms_code IN_LENGTHS[] = {BODY_CODES, VMS_E_TRUNCATED, VMS_OK};
static const enum vms_code ANYWHERE[] = {BODY_CODES,          VMS_E_NATIVE_LABEL,
                                         VMS_E_NATIVE_MAGIC,  VMS_E_NATIVE_TYPE,
                                         VMS_E_NATIVE_ORDER,  VMS_E_NATIVE_CHANNEL,
                                         VMS_E_NATIVE_FLAGS,  VMS_E_NATIVE_HELLO,
                                         VMS_E_SEAL_EPOCH,    VMS_E_SEAL_SEQUENCE,
                                         VMS_E_SEAL_UNSEALED, VMS_E_SEAL_PSK_IDENTITY,
                                         VMS_E_TRUNCATED,     VMS_OK};

static code_list right_in_header(size_t offset) {
    static const struct {
        size_t end;
        code_list right;
    } FIELDS[] = {{4, IN_MAGIC},  {8, IN_TYPE},      {10, IN_FLAGS},  {12, IN_CHANNEL},
                  {16, IN_EPOCH}, {24, IN_SEQUENCE}, {32, IN_LENGTHS}};
    size_t i = 0;
    while (FIELDS[i].end <= offset)
        i++;
    return FIELDS[i].right;
}

static code_list right_at(const struct sealed *s, size_t offset) {
    const struct sealed_frame *f = s->frames;
    if (offset < VMS_NATIVE_LABEL)
        return IN_LABEL;
    while (offset >= f->at + f->len)
        f++;
    offset -= f->at;
    if (offset < VMS_NATIVE_HEADER)
        return right_in_header(offset);
    if (offset < VMS_NATIVE_HEADER + f->header.body_len)
        return f->header.epoch ? IN_BODY : IN_HELLO_BODY;
    return IN_TAG; /* bulk, tag */
}

/* [SEAL-28] What is enciphered is never told as a bad body, where only the tag can be wrong. */
static void tag_goes_first(const struct sealed *s, size_t offset, const struct verdict *v) {
    const struct sealed_frame *f = s->frames;
    enum vms_code code = v->error.code;
    while (offset >= f->at + f->len)
        f++;
    if (vms_suite_encrypts(s->suite) && f->header.epoch)
        cr_assert(code != VMS_E_NATIVE_CBOR && code != VMS_E_NATIVE_KEY &&
                      code != VMS_E_NATIVE_VALUE && code != VMS_E_NATIVE_RECORD,
                  "octet %zu: %s", offset, v->error.message);
}

static const enum vms_suite KEYED[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                       VMS_SUITE_CHACHA20_POLY1305};

static void every_bit(enum vms_suite suite) {
    struct subject s;
    struct tally t = tally_for("single bits, each in turn", suite);
    subject_open(&s, suite, PIECE);
    uint8_t *file = (uint8_t *)s.sealed.file.ptr;
    for (size_t bit = 0; bit < 8 * s.sealed.file.len; bit++) {
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct verdict v = sealed_read(subject_file(&s), SUBJECT_KEYS, &s.sealed);
        tally_add(&t, &v, right_at(&s.sealed, bit / 8));
        tag_goes_first(&s.sealed, bit / 8, &v);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert(sealed_read(subject_file(&s), SUBJECT_KEYS, &s.sealed).ended);
    tally_close(&t);
    subject_close(&s);
}

/* [SEAL-6] [SEAL-7] [SEAL-8] [NAT-1] [NAT-10] [NAT-12] [NAT-13] [NAT-15] [NAT-19]: bit by bit */
Test(integrity, every_bit, .timeout = 300) {
    for (size_t i = 0; i < 3; i++)
        every_bit(KEYED[i]);
}

/* Flips 1 to 8 different bits; again: flips them back. */
static void flip(struct text *file, uint64_t seed) {
    size_t bits[FLIPS_MAX], count = 1 + random_next(&seed) % FLIPS_MAX;
    for (size_t i = 0; i < count; i++) {
        bits[i] = random_next(&seed) % (8 * file->len);
        for (size_t j = 0; j < i; j++)
            if (bits[j] == bits[i]) {
                bits[i] = (bits[i] + 1) % (8 * file->len);
                j = (size_t)-1;
            }
        file->ptr[bits[i] / 8] = (char)(file->ptr[bits[i] / 8] ^ 1 << bits[i] % 8);
    }
}

static void random_flips(enum vms_suite suite) {
    struct subject s;
    struct tally t = tally_for("1 to 8 random bits", suite);
    uint64_t seed = random_seed(20261120 + (uint64_t)suite);
    subject_open(&s, suite, PIECE);
    for (int i = 0; i < RANDOM_FLIPS; i++) {
        uint64_t run = random_next(&seed);
        flip(&s.sealed.file, run);
        struct verdict v = sealed_read(subject_file(&s), SUBJECT_KEYS, &s.sealed);
        tally_add(&t, &v, ANYWHERE);
        flip(&s.sealed.file, run);
    }
    cr_assert(sealed_read(subject_file(&s), SUBJECT_KEYS, &s.sealed).ended);
    tally_close(&t);
    subject_close(&s);
}

/* [SEAL-8] 10,000 times 1 to 8 bits. */
Test(integrity, random_flips, .timeout = 300) {
    for (size_t i = 0; i < 3; i++)
        random_flips(KEYED[i]);
}

static void cut_at(struct tally *t, const struct subject *s, size_t len, bool between_frames) {
    static const enum vms_code between[] = {VMS_E_SESSION_NO_END, VMS_OK};
    static const enum vms_code inside[] = {VMS_E_TRUNCATED, VMS_OK};
    struct vms_slice file = vms_slice_head(subject_file(s), len);
    struct verdict v = sealed_read(file, SUBJECT_KEYS, &s->sealed);
    tally_add(t, &v, between_frames ? between : inside);
}

/* In front of the HELLO there is no session that END could be missing of. */
static bool is_boundary(const struct sealed *s, size_t len) {
    for (size_t i = 1; i < s->count; i++)
        if (s->frames[i].at == len)
            return true;
    return false;
}

static void truncation(enum vms_suite suite) {
    struct subject s;
    uint64_t seed = random_seed(7 + (uint64_t)suite);
    struct tally frames = tally_for("cut at each frame", suite);
    struct tally places = tally_for("cut at random places", suite);
    subject_open(&s, suite, PIECE);
    for (size_t i = 0; i < s.sealed.count; i++)
        cut_at(&frames, &s, s.sealed.frames[i].at, i > 0);
    for (int i = 0; i < RANDOM_CUTS; i++) {
        size_t len = random_next(&seed) % s.sealed.file.len;
        cut_at(&places, &s, len, is_boundary(&s.sealed, len));
    }
    tally_close(&frames);
    tally_close(&places);
    subject_close(&s);
}

/* [SES-20] [SES-21] Cut between any two frames, and at 1,000 places. */
Test(integrity, truncation, .timeout = 300) {
    for (size_t i = 0; i < 3; i++)
        truncation(KEYED[i]);
}
