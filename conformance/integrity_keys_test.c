/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/hello.h"
#include "conformance/integrity/subject.h"
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Wrong keys, no keys, and hellos that somebody without the key has changed. */

enum {
    PIECE = 160,
    KEY_BITS = 256,
    RANDOM_KEYS = 200,
};

static const enum vms_suite KEYED[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                       VMS_SUITE_CHACHA20_POLY1305};
static const enum vms_code TAG[] = {VMS_E_SEAL_TAG, VMS_OK};
static const enum vms_code UNSEALED[] = {VMS_E_SEAL_UNSEALED, VMS_OK};
static const enum vms_code NO_KEY[] = {VMS_E_SEAL_NO_KEY, VMS_OK};
static const enum vms_code NO_IDENTITY[] = {VMS_E_SEAL_PSK_IDENTITY, VMS_OK};

/* ---- keys ---- */

static void key_text(char *out, size_t size, const uint8_t *key, size_t len) {
    size_t n = (size_t)snprintf(out, size, "vm-a:");
    for (size_t i = 0; i < len; i++)
        n += (size_t)snprintf(out + n, size - n, "%02x", key[i]);
}

static void try_key(struct tally *t, const struct subject *s, const uint8_t *key, size_t len) {
    char text[256];
    key_text(text, sizeof text, key, len);
    struct verdict v = sealed_read(subject_file(s), text, &s->sealed);
    cr_assert_eq(v.frames, 0);
    tally_add(t, &v, TAG);
}

static void wrong_keys(const struct subject *s) {
    struct tally t = tally_for("wrong key of that identity", s->plan.suite);
    uint64_t seed = random_seed(3);
    uint8_t key[VMS_PSK_MAX];
    memcpy(key, s->psk.key, sizeof key);
    for (size_t bit = 0; bit < KEY_BITS; bit++) {
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        try_key(&t, s, key, s->psk.key_len);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 16; len <= VMS_PSK_MAX; len++)
        if (len != s->psk.key_len)
            try_key(&t, s, key, len);
    for (int i = 0; i < RANDOM_KEYS; i++) {
        for (size_t j = 0; j < sizeof key; j++)
            key[j] = (uint8_t)random_next(&seed);
        try_key(&t, s, key, 16 + random_next(&seed) % 49);
    }
    tally_close(&t);
}

static void one(const char *attack, const struct subject *s, const char *keys, code_list right) {
    struct tally t = tally_for(attack, s->plan.suite);
    struct verdict v = sealed_read(subject_file(s), keys, NULL);
    cr_assert_eq(v.frames, 0);
    tally_add(&t, &v, right);
    tally_close(&t);
}

/* [SEAL-11] [SEAL-17] [SEAL-18] [SEAL-23] [SEAL-25] [NAT-47] */
Test(integrity_keys, keys, .timeout = 300) {
    struct subject s;
    for (size_t k = 0; k < 3; k++) {
        subject_open(&s, KEYED[k], PIECE);
        wrong_keys(&s);
        one("no key here", &s, "", NO_KEY);
        one("identity not in the key file", &s, "vm-c:000102030405060708090a0b0c0d0e0f\n",
            NO_IDENTITY);
        subject_close(&s);
    }
    subject_open(&s, VMS_SUITE_NONE, PIECE);
    one("unkeyed file, a key here", &s, SUBJECT_KEYS, UNSEALED);
    subject_close(&s);
}

/* ---- hellos of files ---- */

static struct text with_frame(const struct sealed *s, size_t i, const struct text *forged) {
    const struct sealed_frame *f = &s->frames[i];
    struct text file = {NULL, 0, 0};
    text_add(&file, s->file.ptr, f->at);
    text_add(&file, forged->ptr, forged->len);
    text_add(&file, s->file.ptr + f->at + f->len, s->file.len - f->at - f->len);
    return file;
}

/* The attacker can make a CRC: the frame's flag cleared, its tag of 4 octets. */
static struct text unsealed(const struct text *forged) {
    struct text out = {NULL, 0, 0};
    struct vms_native_header h = sealed_header((const uint8_t *)forged->ptr);
    struct vms_sealer sealer;
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    uint8_t tag[VMS_TAG_BYTES];
    text_add(&out, forged->ptr, VMS_NATIVE_HEADER + h.body_len);
    uint8_t *octets = (uint8_t *)out.ptr;
    h.flags = 0;
    sealed_put_header(octets, &h);
    struct vms_seal_piece body = {octets + VMS_NATIVE_HEADER, NULL, h.body_len};
    vms_sealer_init(&sealer, NULL, VMS_SOURCE_TO_DESTINATION, h.channel, &limits);
    if (vms_sealer_hello_plain(&sealer, &err) != VMS_OK ||
        vms_sealer_seal(&sealer, octets, &body, 1, tag, &err) != VMS_OK)
        abort();
    text_add(&out, tag, 4);
    return out;
}

static void try_forged(struct tally *t, const struct subject *s, size_t i, const struct text *frame,
                       code_list right) {
    struct text file = with_frame(&s->sealed, i, frame);
    struct verdict v = sealed_read(vms_slice(file.ptr, file.len), SUBJECT_KEYS, &s->sealed);
    tally_add(t, &v, right);
    text_free(&file);
}

/* Values that cannot be are refused as that, before the tag. */
static void forged_frames(const struct subject *s, size_t i, const char *sealed_attack,
                          const char *unsealed_attack) {
    static const enum vms_code right[] = {VMS_E_SEAL_TAG, VMS_E_NATIVE_HELLO, VMS_E_NATIVE_VALUE,
                                          VMS_E_SEAL_PSK_IDENTITY, VMS_OK};
    const struct sealed_frame *f = &s->sealed.frames[i];
    struct forged forged[FORGED_MAX];
    struct tally t = tally_for(sealed_attack, s->plan.suite);
    struct tally u = tally_for(unsealed_attack, s->plan.suite);
    size_t count = forge_hellos(vms_slice(s->sealed.file.ptr + f->at, f->len), forged);
    for (size_t k = 0; k < count; k++) {
        struct text plain = unsealed(&forged[k].frame);
        try_forged(&t, s, i, &forged[k].frame, right);
        try_forged(&u, s, i, &plain, UNSEALED);
        text_free(&plain);
        text_free(&forged[k].frame);
    }
    tally_close(&t);
    tally_close(&u);
}

/* [SEAL-13] [SEAL-16] [SEAL-17] [NAT-45] [NAT-47] [SES-4] Every field, suites among them. */
Test(integrity_keys, hellos, .timeout = 300) {
    for (size_t k = 0; k < 3; k++) {
        struct subject s;
        subject_open(&s, KEYED[k], PIECE);
        for (size_t i = 0; i < s.sealed.count; i++)
            if (s.sealed.frames[i].header.type == VMS_NATIVE_HELLO)
                forged_frames(&s, i, "HELLO, each field", "HELLO, each field, made unsealed");
            else if (s.sealed.frames[i].header.type == VMS_NATIVE_ATTACH)
                forged_frames(&s, i, "ATTACH, each field", "ATTACH, each field, made unsealed");
        subject_close(&s);
    }
}
