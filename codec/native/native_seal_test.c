/* SPDX-License-Identifier: MIT */
#include "native/body.h"
#include "native/native_test_util.h"
#include <criterion/criterion.h>
#include <vmstream/openssl.h>

/* Frames under keys: a file in each suite, and what an attacker may do to it. */

static const uint8_t SECRET[32] = "a secret of thirty-two octets...";

enum {
    KEYED_SUITES = 3
};
static const enum vms_suite SUITES[KEYED_SUITES] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                                    VMS_SUITE_CHACHA20_POLY1305};

static struct vms_slice secret(void) {
    return vms_slice(SECRET, sizeof SECRET);
}

/* [SEAL-13] Of a file: the writer's random and hello, and no destination. */
static void master_of(const struct vms_crypto_ops *crypto, const uint8_t random[32],
                      struct vms_slice hello, uint8_t master[32]) {
    struct vms_seal_salt salt = {0};
    struct vms_transcript t = {0};
    struct vms_error err;
    memcpy(salt.source_random, random, 32);
    cr_assert_eq(vms_transcript_init(&t, crypto, &err), VMS_OK);
    cr_assert_eq(vms_transcript_hello(&t, hello, &err), VMS_OK);
    cr_assert_eq(vms_transcript_value(&t, salt.hello_hash, &err), VMS_OK);
    vms_transcript_free(&t);
    cr_assert_eq(vms_seal_master(crypto, secret(), &salt, master, &err), VMS_OK);
}

/* ---- writing ---- */

/* All but END. */
static void begin_file(struct sender *s, const struct vms_crypto_ops *crypto,
                       enum vms_suite suite) {
    struct vms_limits limits = vms_limits_default();
    const uint32_t suites[] = {suite};
    struct vms_error err;
    uint8_t master[32];
    memset(s, 0, sizeof *s);
    vms_sealer_init(&s->sealer, crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    vms_native_encoder_init(&s->encoder, &s->sealer, 0, &limits);
    sender_append(s, vms_slice(vms_native_label, VMS_NATIVE_LABEL));
    struct vms_native_frame f = hello_frame();
    f.u.hello.suites = suites;
    f.u.hello.who.secret = VMS_SECRET_PSK;
    f.u.hello.who.identity = vms_str("me");
    cr_assert_eq(vms_sealer_hello(&s->sealer, secret(), f.u.hello.who.random, &err), VMS_OK);
    uint8_t room[2000];
    struct vms_native_gather g;
    size_t len;
    cr_assert_eq(
        vms_native_encode(&s->encoder, &f, NULL, 0, (struct vms_room){room, sizeof room}, &g, &len),
        VMS_OK);
    sender_append(s, vms_slice(room, len));
    master_of(crypto, f.u.hello.who.random, vms_slice(room, len), master);
    cr_assert_eq(vms_sealer_rekey(&s->sealer, suite, master, 1, 0, &err), VMS_OK);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_OPAQUE};
    cr_assert_eq(send_frame(s, &f, vms_str("the guest's memory")), VMS_OK);
    /* [SES-6] */
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_REKEY, .u.epoch = 2};
    cr_assert_eq(send_frame(s, &f, vms_str("")), VMS_OK);
    cr_assert_eq(vms_sealer_rekey(&s->sealer, suite, master, 2, s->sealer.link.sequence, &err),
                 VMS_OK);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_OPAQUE};
    cr_assert_eq(send_frame(s, &f, vms_str("and more of it")), VMS_OK);
}

static void write_file(struct sender *s, const struct vms_crypto_ops *crypto,
                       enum vms_suite suite) {
    begin_file(s, crypto, suite);
    cr_assert_eq(send_end(s), VMS_OK);
}

/* ---- reading ---- */

struct keys {
    const struct vms_crypto_ops *crypto;
    struct vms_opener opener;
    enum vms_suite suite;
    uint8_t master[32], random[32];
    uint8_t key[32];
    uint32_t epoch; /* to come */
    bool open;
    char seen[200];
    unsigned frames;
};

static struct vms_opener *get_opener(void *ctx, uint16_t channel) {
    struct keys *k = ctx;
    struct vms_error err;
    if (channel || !k->open)
        return NULL;
    if (k->opener.link.epoch < k->epoch &&
        vms_opener_rekey(&k->opener, k->suite, k->master, k->epoch,
                         k->epoch == 1 ? 0 : k->opener.link.sequence, &err) != VMS_OK)
        return NULL;
    return &k->opener;
}

static enum vms_code take_hello(void *ctx, const struct vms_native_frame *frame,
                                struct vms_opener **opener, struct vms_error *err) {
    struct keys *k = ctx;
    struct vms_limits limits = vms_limits_default();
    const struct vms_native_who *who = &frame->u.hello.who;
    if (frame->header.type != VMS_NATIVE_HELLO || k->open)
        return vms_error_set(err, VMS_E_SESSION_UNEXPECTED, NULL);
    vms_opener_init(&k->opener, k->crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    memcpy(k->random, who->random, 32);
    k->suite = (enum vms_suite)frame->u.hello.suites[0];
    *opener = &k->opener;
    return vms_opener_hello(&k->opener, vms_slice(k->key, 32), who->random, err);
}

static void on_frame(void *ctx, enum vms_native_step step, const struct vms_native_event *ev) {
    struct keys *k = ctx;
    if (step == VMS_NATIVE_STEP_BULK && strlen(k->seen) + ev->bulk.len < sizeof k->seen)
        strncat(k->seen, (const char *)ev->bulk.ptr, ev->bulk.len);
    if (step != VMS_NATIVE_STEP_FRAME)
        return;
    k->frames++;
    if (ev->frame->header.type == VMS_NATIVE_REKEY)
        k->epoch = ev->frame->u.epoch;
    if (ev->frame->header.type != VMS_NATIVE_HELLO)
        return;
    uint8_t hello[1000];
    size_t body = ev->body.len;
    memcpy(hello, ev->header, 32);
    memcpy(hello + 32, ev->body.ptr, body);
    memcpy(hello + 32 + body, ev->tag.ptr, ev->tag.len);
    master_of(k->crypto, k->random, vms_slice(hello, 32 + body + ev->tag.len), k->master);
    k->open = true;
    k->epoch = 1;
}

static enum vms_native_step read_file(const struct vms_crypto_ops *crypto, struct vms_slice stream,
                                      bool right_key, struct keys *k, struct vms_error *err) {
    struct reader r;
    memset(k, 0, sizeof *k);
    k->crypto = crypto;
    memcpy(k->key, SECRET, 32);
    k->key[0] ^= (uint8_t)!right_key;
    reader_open(&r);
    r.config.keys = (struct vms_native_keys){true, get_opener, take_hello, k};
    r.decoder = vms_native_decoder_init(r.mem, vms_native_decoder_size(&r.config), &r.config);
    enum vms_native_step step = feed(&r, stream, (struct cut){13, 1}, on_frame, k, err);
    vms_opener_free(&k->opener);
    reader_close(&r);
    return step;
}

/* ---- tests ---- */

struct fixture {
    struct vms_openssl *openssl;
    const struct vms_crypto_ops *crypto;
    struct sender s;
};

static void open_fixture(struct fixture *f, enum vms_suite suite) {
    f->openssl = vms_openssl_new();
    f->crypto = vms_openssl_ops(f->openssl);
    write_file(&f->s, f->crypto, suite);
}

static void close_fixture(struct fixture *f) {
    sender_close(&f->s);
    vms_openssl_free(f->openssl);
}

/* [SEAL-4] [MOD-4] Good files are read, through a REKEY; [SEAL-3] GMAC's are readable on the wire.
 */
Test(native_seal, files) {
    for (int i = 0; i < KEYED_SUITES; i++) {
        struct fixture f;
        struct keys k;
        struct vms_error err;
        open_fixture(&f, SUITES[i]);
        cr_assert_eq(read_file(f.crypto, vms_slice(f.s.ptr, f.s.len), true, &k, &err),
                     VMS_NATIVE_STEP_END, "%s", err.message);
        cr_assert_str_eq(k.seen, "the guest's memoryand more of it");
        cr_assert_eq(k.frames, 5);
        bool readable = memmem(f.s.ptr, f.s.len, "memory", 6) != NULL;
        cr_assert_eq(readable, SUITES[i] == VMS_SUITE_AES_256_GMAC);
        close_fixture(&f);
    }
}

/* [SEAL-8] */
Test(native_seal, wrong_key) {
    for (int i = 0; i < KEYED_SUITES; i++) {
        struct fixture f;
        struct keys k;
        struct vms_error err;
        open_fixture(&f, SUITES[i]);
        cr_assert_eq(read_file(f.crypto, vms_slice(f.s.ptr, f.s.len), false, &k, &err),
                     VMS_NATIVE_STEP_ERROR);
        cr_assert_eq(err.code, VMS_E_SEAL_TAG);
        cr_assert_eq(k.frames, 0);
        close_fixture(&f);
    }
}

/* A frame whose body is no CBOR, sealed as any. */
static void send_bad_body(struct sender *s, struct vms_slice bulk) {
    struct vms_native_header h = {.type = VMS_NATIVE_OPAQUE,
                                  .epoch = s->sealer.link.epoch,
                                  .sequence = s->sealer.link.sequence,
                                  .body_len = 3,
                                  .bulk_len = (uint32_t)bulk.len};
    uint8_t header[VMS_NATIVE_HEADER], body[3] = {0xff, 1, 2}, room[100], tag[VMS_NATIVE_TAG];
    struct vms_seal_piece pieces[2] = {{body, body, sizeof body}, {room, room, bulk.len}};
    struct vms_error err;
    memcpy(room, bulk.ptr, bulk.len);
    vms_header_write(&h, header);
    cr_assert_eq(vms_sealer_seal(&s->sealer, header, pieces, 2, tag, &err), VMS_OK, "%s",
                 err.message);
    sender_append(s, vms_slice(header, sizeof header));
    sender_append(s, vms_slice(body, sizeof body));
    sender_append(s, vms_slice(room, bulk.len));
    sender_append(s, vms_slice(tag, sizeof tag));
}

static enum vms_code code_of(const struct fixture *f, size_t len, struct keys *k) {
    struct vms_error err;
    cr_assert_eq(read_file(f->crypto, vms_slice(f->s.ptr, len), true, k, &err),
                 VMS_NATIVE_STEP_ERROR);
    return err.code;
}

/*
 * [SEAL-28] [NAT-24] A bad body under a good tag is told as such, with its own offset; under a bad
 * tag it is the tag that is told, with a suite that enciphers. Its bulk is given to nobody.
 */
Test(native_seal, bad_body) {
    for (int i = 0; i < KEYED_SUITES; i++) {
        struct fixture f = {.openssl = vms_openssl_new()};
        struct keys k;
        bool plain = SUITES[i] == VMS_SUITE_AES_256_GMAC;
        f.crypto = vms_openssl_ops(f.openssl);
        begin_file(&f.s, f.crypto, SUITES[i]);
        size_t at = f.s.len;
        send_bad_body(&f.s, vms_str("bulk that nobody gets"));
        cr_assert_eq(code_of(&f, f.s.len, &k), VMS_E_NATIVE_CBOR);
        cr_assert_null(strstr(k.seen, "nobody"));
        cr_assert_eq(code_of(&f, f.s.len - 1, &k), plain ? VMS_E_NATIVE_CBOR : VMS_E_TRUNCATED);
        for (size_t bit = 8 * (at + VMS_NATIVE_HEADER); bit < 8 * f.s.len; bit += 5) {
            f.s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
            bool in_body = bit / 8 < at + VMS_NATIVE_HEADER + 3;
            enum vms_code code = code_of(&f, f.s.len, &k);
            cr_assert_eq(code, plain ? VMS_E_NATIVE_CBOR : VMS_E_SEAL_TAG, "bit %zu", bit);
            cr_assert(in_body || !strstr(k.seen, "nobody"));
            f.s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        close_fixture(&f);
    }
}

/* [NAT-47] */
Test(native_seal, unsealed) {
    struct fixture f;
    struct sender plain;
    struct keys k;
    struct vms_error err;
    open_fixture(&f, VMS_SUITE_AES_256_GCM);
    sender_open(&plain, 0);
    send_hello(&plain);
    (void)send_end(&plain);
    cr_assert_eq(read_file(f.crypto, vms_slice(plain.ptr, plain.len), true, &k, &err),
                 VMS_NATIVE_STEP_ERROR);
    cr_assert_eq(err.code, VMS_E_SEAL_UNSEALED);
    cr_assert_eq(err.offset, 20);
    sender_close(&plain);
    close_fixture(&f);
}

/* Every bit in turn: refused. [NAT-19] Behind a frame without bulk only the tag is to blame. */
static void flip_all(enum vms_suite suite) {
    struct fixture f;
    struct keys k;
    struct vms_error err;
    open_fixture(&f, suite);
    struct vms_native_header h;
    size_t end_frame = f.s.len;
    for (size_t at = 12; at < f.s.len;) {
        vms_header_read(f.s.ptr + at, &h);
        end_frame = at;
        at += 32 + (size_t)h.body_len + h.bulk_len + 16;
    }
    for (size_t bit = 0; bit < 8 * f.s.len; bit++) {
        f.s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum vms_native_step step =
            read_file(f.crypto, vms_slice(f.s.ptr, f.s.len), true, &k, &err);
        cr_assert_eq(step, VMS_NATIVE_STEP_ERROR, "bit %zu", bit);
        if (bit / 8 >= end_frame + 32)
            cr_assert_eq(err.code, VMS_E_SEAL_TAG, "bit %zu: %s", bit, err.message);
        f.s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    close_fixture(&f);
}

Test(native_seal, every_bit_gmac) {
    flip_all(VMS_SUITE_AES_256_GMAC);
}
Test(native_seal, every_bit_gcm) {
    flip_all(VMS_SUITE_AES_256_GCM);
}
Test(native_seal, every_bit_chacha) {
    flip_all(VMS_SUITE_CHACHA20_POLY1305);
}

/* [NAT-16], [SEAL-6], [SEAL-7] Frames dropped, doubled, exchanged. */
Test(native_seal, moved_frames) {
    struct fixture f;
    struct keys k;
    struct vms_error err;
    open_fixture(&f, VMS_SUITE_AES_256_GCM);
    size_t at[8], count = 0;
    for (size_t n = 12; n < f.s.len; count++) {
        struct vms_native_header h;
        vms_header_read(f.s.ptr + n, &h);
        at[count] = n;
        n += 32 + (size_t)h.body_len + h.bulk_len + 16;
    }
    at[count] = f.s.len;
    cr_assert_eq(count, 5);
    for (size_t i = 1; i < count; i++)
        for (size_t j = 1; j < count; j++) {
            /* Frame j in the place of frame i, and then all that come behind i. */
            struct sender mixed = {0};
            if (i == j)
                continue;
            sender_append(&mixed, vms_slice(f.s.ptr, at[i]));
            sender_append(&mixed, vms_slice(f.s.ptr + at[j], at[j + 1] - at[j]));
            sender_append(&mixed, vms_slice(f.s.ptr + at[i], f.s.len - at[i]));
            cr_assert_eq(read_file(f.crypto, vms_slice(mixed.ptr, mixed.len), true, &k, &err),
                         VMS_NATIVE_STEP_ERROR);
            cr_assert(err.code == VMS_E_SEAL_SEQUENCE || err.code == VMS_E_SEAL_EPOCH,
                      "%zu at %zu: %s", j, i, err.message);
            free(mixed.ptr);
        }
    for (size_t i = 1; i + 1 < count; i++) { /* dropped */
        struct sender mixed = {0};
        sender_append(&mixed, vms_slice(f.s.ptr, at[i]));
        sender_append(&mixed, vms_slice(f.s.ptr + at[i + 1], f.s.len - at[i + 1]));
        cr_assert_eq(read_file(f.crypto, vms_slice(mixed.ptr, mixed.len), true, &k, &err),
                     VMS_NATIVE_STEP_ERROR);
        cr_assert(err.code == VMS_E_SEAL_SEQUENCE || err.code == VMS_E_SEAL_EPOCH);
        free(mixed.ptr);
    }
    close_fixture(&f);
}
