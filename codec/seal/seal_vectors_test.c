/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"
#include <jansson.h>

/* The vectors of conformance/vectors/seal.json, which an implementation of its own has made. */

struct bytes {
    uint8_t ptr[8192];
    size_t len;
};

static json_t *root;

static void teardown(void) {
    json_decref(root);
    test_crypto_free();
}

TestSuite(seal_vectors, .fini = teardown);

static json_t *load(const char *group) {
    json_error_t why;
    root = json_load_file("conformance/vectors/seal.json", 0, &why);
    cr_assert_not_null(root, "seal.json, to be read from the top folder: %s", why.text);
    json_t *array = json_object_get(root, group);
    cr_assert_gt(json_array_size(array), 0);
    return array;
}

static struct bytes hex(const json_t *object, const char *key) {
    struct bytes b = {.len = 0};
    const char *text = json_string_value(json_object_get(object, key));
    cr_assert_not_null(text, "no %s", key);
    cr_assert_leq(strlen(text), 2 * sizeof b.ptr);
    for (unsigned value; sscanf(text, "%2x", &value) == 1; text += 2)
        b.ptr[b.len++] = (uint8_t)value;
    return b;
}

static struct vms_slice slice(const struct bytes *b) {
    return vms_slice(b->ptr, b->len);
}

static unsigned number(const json_t *object, const char *key) {
    return (unsigned)json_integer_value(json_object_get(object, key));
}

static void check(const struct bytes *want, const void *got, const char *what) {
    cr_assert_arr_eq(got, want->ptr, want->len, "%s", what);
}

static void check_crc32c(const struct vms_crc32c_ops *ops, struct vms_slice data, uint32_t want) {
    size_t cut = data.len / 3;
    uint32_t head = ops->sum(0, data.ptr, cut);
    cr_assert_eq(ops->sum(0, data.ptr, data.len), want, "%s", ops->name);
    cr_assert_eq(ops->sum(head, data.ptr + cut, data.len - cut), want, "%s", ops->name);
}

/* [SEAL-2] every way of this processor, and any cut. */
Test(seal_vectors, crc32c) {
    json_t *v, *array = load("crc32c");
    size_t i;
    json_array_foreach(array, i, v) {
        struct bytes data = hex(v, "data"), crc = hex(v, "crc");
        uint32_t want = vms_be32(crc.ptr);
        cr_assert_eq(vms_crc32c(0, data.ptr, data.len), want);
        const struct vms_crc32c_ops *ops;
        for (size_t k = 0; (ops = vms_crc32c_ops_at(k)); k++)
            check_crc32c(ops, vms_slice(data.ptr, data.len), want);
    }
}

/* RFC 5869, appendix A. */
Test(seal_vectors, hkdf) {
    const struct vms_crypto_ops *crypto = test_crypto();
    json_t *v, *array = load("hkdf");
    size_t i;
    json_array_foreach(array, i, v) {
        struct bytes ikm = hex(v, "ikm"), salt = hex(v, "salt"), info = hex(v, "info");
        struct bytes prk = hex(v, "prk"), okm = hex(v, "okm");
        uint8_t got[32], out[128];
        cr_assert(vms_hkdf_extract(crypto, slice(&salt), slice(&ikm), got));
        check(&prk, got, "prk");
        cr_assert(vms_hkdf_expand(crypto, got, slice(&info), (struct vms_room){out, okm.len}));
        check(&okm, out, "okm");
    }
}

static enum vms_aead_algorithm algorithm_of(const json_t *v) {
    enum vms_suite suite;
    enum vms_aead_algorithm algorithm = VMS_AEAD_COUNT;
    const char *name = json_string_value(json_object_get(v, "algorithm"));
    cr_assert(vms_suite_parse(vms_str(name), &suite));
    cr_assert(vms_suite_algorithm(suite, &algorithm));
    return algorithm;
}

static void check_aead(const struct vms_crypto_ops *crypto, const json_t *v) {
    struct bytes key = hex(v, "key"), nonce = hex(v, "nonce"), aad = hex(v, "aad");
    struct bytes plain = hex(v, "plain"), text = hex(v, "text"), tag = hex(v, "tag");
    uint8_t out[256], made[VMS_TAG_BYTES];
    struct vms_aead *s = crypto->aead_new(crypto->ctx, algorithm_of(v), VMS_AEAD_SEAL, key.ptr);
    struct vms_aead *o = crypto->aead_new(crypto->ctx, algorithm_of(v), VMS_AEAD_OPEN, key.ptr);
    cr_assert(crypto->aead_start(s, nonce.ptr, slice(&aad)));
    cr_assert(crypto->aead_data(s, plain.ptr, out, plain.len));
    cr_assert(crypto->aead_finish(s, made));
    check(&text, out, "text");
    check(&tag, made, "tag");
    cr_assert(crypto->aead_start(o, nonce.ptr, slice(&aad)));
    cr_assert(crypto->aead_data(o, out, out, text.len));
    cr_assert(crypto->aead_verify(o, made));
    check(&plain, out, "plain");
    crypto->aead_free(s);
    crypto->aead_free(o);
}

/* NIST's and RFC 8439's vectors: the back end is what the vtable says. */
Test(seal_vectors, aead) {
    const struct vms_crypto_ops *crypto = test_crypto();
    json_t *v, *array = load("aead");
    size_t i;
    json_array_foreach(array, i, v) check_aead(crypto, v);
}

/* [SEAL-13] [SEAL-14] [SEAL-25] */
Test(seal_vectors, keys) {
    const struct vms_crypto_ops *crypto = test_crypto();
    json_t *v, *f, *array = load("sessions");
    size_t i, j;
    json_array_foreach(array, i, v) {
        struct bytes secret = hex(v, "secret"), master = hex(v, "master");
        struct bytes source = hex(v, "source_random"), hash = hex(v, "hello_hash");
        struct bytes destination = hex(v, "destination_random");
        struct vms_seal_salt salt;
        uint8_t got[VMS_MASTER_BYTES];
        struct vms_key_iv k;
        struct vms_error err;
        memcpy(salt.source_random, source.ptr, 32);
        memcpy(salt.destination_random, destination.ptr, 32);
        memcpy(salt.hello_hash, hash.ptr, 32);
        cr_assert_eq(vms_seal_master(crypto, slice(&secret), &salt, got, &err), VMS_OK);
        check(&master, got, "master");
        json_array_foreach(json_object_get(v, "hellos"), j, f) {
            struct bytes random = hex(f, "random"), want = hex(f, "key_iv");
            cr_assert(
                vms_seal_hello_key(crypto, slice(&secret), number(f, "direction"), random.ptr, &k));
            check(&want, &k, "hello key");
        }
        json_array_foreach(json_object_get(v, "frames"), j, f) {
            struct bytes want = hex(f, "key_iv");
            cr_assert(vms_seal_frame_key(crypto, master.ptr, number(f, "direction"),
                                         (uint16_t)number(f, "channel"), number(f, "epoch"), &k));
            check(&want, &k, "frame key");
        }
    }
}

/* One frame in both directions, body and bulk in pieces of `cut` bytes. */
struct run {
    const struct vms_crypto_ops *crypto;
    const json_t *v;
    const uint8_t *master;
    size_t cut;
    bool in_place;
};

static size_t cut_up(struct vms_seal_piece *pieces, const uint8_t *in, uint8_t *out, size_t len,
                     size_t cut) {
    size_t count = 0;
    for (size_t at = 0; at < len; at += cut) {
        size_t n = len - at < cut ? len - at : cut;
        pieces[count++] = (struct vms_seal_piece){in + at, out + at, n};
    }
    return count;
}

static void begin(const struct run *r, struct vms_sealer *s, struct vms_opener *o) {
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    enum vms_suite suite = number(r->v, "suite");
    uint64_t sequence = strtoull(json_string_value(json_object_get(r->v, "sequence")), NULL, 10);
    const uint8_t *master = suite == VMS_SUITE_NONE ? NULL : r->master;
    uint16_t channel = (uint16_t)number(r->v, "channel");
    vms_sealer_init(s, r->crypto, number(r->v, "direction"), channel, &limits);
    vms_opener_init(o, r->crypto, number(r->v, "direction"), channel, &limits);
    cr_assert_eq(vms_sealer_rekey(s, suite, master, number(r->v, "epoch"), sequence, &err), VMS_OK);
    cr_assert_eq(vms_opener_rekey(o, suite, master, number(r->v, "epoch"), sequence, &err), VMS_OK);
}

static void check_frame(const struct run *r) {
    struct bytes header = hex(r->v, "header"), body = hex(r->v, "body"), bulk = hex(r->v, "bulk");
    struct bytes want = hex(r->v, "payload"), want_tag = hex(r->v, "tag");
    uint8_t plain[2048], sent[2048], head[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES] = {0};
    struct vms_seal_piece pieces[2048];
    struct vms_sealer s;
    struct vms_opener o;
    struct vms_error err;
    size_t len = body.len + bulk.len;
    memcpy(plain, body.ptr, body.len);
    memcpy(plain + body.len, bulk.ptr, bulk.len);
    test_header(head, 33, body.len, bulk.len);
    begin(r, &s, &o);
    uint8_t *out = r->in_place ? plain : sent;
    size_t count = cut_up(pieces, plain, out, len, r->cut);
    cr_assert_eq(vms_sealer_seal(&s, head, pieces, count, tag, &err), VMS_OK);
    check(&header, head, "header");
    check(&want, out, "payload");
    check(&want_tag, tag, "tag");
    uint8_t *back = r->in_place ? out : plain;
    count = cut_up(pieces, out, back, len, r->cut + 1);
    cr_assert_eq(vms_opener_open(&o, head, pieces, count, tag, &err), VMS_OK);
    check(&body, back, "body");
    check(&bulk, back + body.len, "bulk");
    vms_sealer_free(&s);
    vms_opener_free(&o);
}

/* [SEAL-1] [SEAL-3] [SEAL-4] [SEAL-5] in place and out of place, in all cuts. */
Test(seal_vectors, frames) {
    struct run r = {.crypto = test_crypto()};
    json_t *v, *array = load("sessions");
    size_t i, j;
    static const size_t cuts[] = {1, 15, 16, 17, 64, 500, 2000};
    json_array_foreach(array, i, v) {
        struct bytes master = hex(v, "master");
        r.master = master.ptr;
        json_array_foreach(json_object_get(v, "frames"), j, r.v) {
            for (size_t c = 0; c < 2 * sizeof cuts / sizeof *cuts; c++) {
                r.cut = cuts[c / 2];
                r.in_place = c % 2;
                check_frame(&r);
            }
        }
    }
}

static uint8_t next_random[32];
static bool given_random(void *ctx, struct vms_room out) {
    (void)ctx;
    memcpy(out.ptr, next_random, out.len);
    return true;
}

/* [SEAL-25] a hello is sealed with GMAC in epoch 0, and carries the flag. */
Test(seal_vectors, hellos) {
    struct vms_crypto_ops ops = *test_crypto();
    struct vms_limits limits = vms_limits_default();
    json_t *v, *h, *array = load("sessions");
    size_t i, j;
    ops.random = given_random;
    json_array_foreach(array, i, v) json_array_foreach(json_object_get(v, "hellos"), j, h) {
        struct bytes secret = hex(v, "secret"), random = hex(h, "random"), body = hex(h, "body");
        struct bytes header = hex(h, "header"), want = hex(h, "tag");
        uint8_t head[VMS_FRAME_HEADER_BYTES], tag[VMS_TAG_BYTES], drawn[32];
        struct vms_seal_piece piece = {body.ptr, NULL, body.len};
        struct vms_sealer s;
        struct vms_opener o;
        struct vms_error err;
        memcpy(next_random, random.ptr, 32);
        test_header(head, 1, body.len, 0);
        vms_sealer_init(&s, &ops, number(h, "direction"), 0, &limits);
        vms_opener_init(&o, &ops, number(h, "direction"), 0, &limits);
        cr_assert_eq(vms_sealer_hello(&s, slice(&secret), drawn, &err), VMS_OK);
        check(&random, drawn, "random");
        cr_assert_eq(vms_sealer_seal(&s, head, &piece, 1, tag, &err), VMS_OK);
        check(&header, head, "header");
        check(&want, tag, "tag");
        cr_assert_eq(vms_opener_hello(&o, slice(&secret), drawn, &err), VMS_OK);
        cr_assert_eq(vms_opener_open(&o, head, &piece, 1, tag, &err), VMS_OK);
        vms_sealer_free(&s);
        vms_opener_free(&o);
    }
}

/* [SEAL-20] hello frames whole, of later frames header and tag; asked for in between. */
Test(seal_vectors, transcript) {
    const struct vms_crypto_ops *crypto = test_crypto();
    struct vms_transcript t;
    struct vms_error err;
    json_t *v, *f, *array = load("sessions");
    size_t i, j;
    cr_assert_eq(vms_transcript_init(&t, crypto, &err), VMS_OK);
    json_array_foreach(array, i, v) {
        struct bytes hash = hex(v, "hello_hash"), want = hex(v, "transcript");
        uint8_t got[VMS_SHA256_BYTES];
        cr_assert_eq(vms_transcript_restart(&t, &err), VMS_OK);
        json_array_foreach(json_object_get(v, "hellos"), j, f) {
            struct bytes header = hex(f, "header"), body = hex(f, "body"), tag = hex(f, "tag");
            cr_assert_eq(vms_transcript_hello(&t, slice(&header), &err), VMS_OK);
            cr_assert_eq(vms_transcript_hello(&t, slice(&body), &err), VMS_OK);
            cr_assert_eq(vms_transcript_hello(&t, slice(&tag), &err), VMS_OK);
        }
        cr_assert_eq(vms_transcript_value(&t, got, &err), VMS_OK);
        check(&hash, got, "hello hash");
        json_array_foreach(json_object_get(v, "frames"), j, f) {
            struct bytes header = hex(f, "header"), tag = hex(f, "tag");
            cr_assert_eq(vms_transcript_frame(&t, header.ptr, slice(&tag), &err), VMS_OK);
        }
        cr_assert_eq(vms_transcript_value(&t, got, &err), VMS_OK);
        check(&want, got, "transcript");
    }
    vms_transcript_free(&t);
    vms_transcript_free(&t);
}

/* [SEAL-2] around the lengths at which each way changes its step; nothing is written behind. */
Test(seal_vectors, crc32c_of_all_lengths) {
    static uint8_t bytes[6400], copied[6401];
    const struct vms_crc32c_ops *ops;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 >> 3 ^ i);
    for (size_t k = 0; (ops = vms_crc32c_ops_at(k)); k++)
        for (size_t len = 0; len < sizeof bytes - 3; len++) {
            uint32_t before = (uint32_t)len * 2654435761u;
            const uint8_t *in = bytes + len % 3;
            uint32_t want = vms_crc32c(before, in, len);
            memset(copied, 0x5a, len + 1);
            cr_assert_eq(ops->sum(before, in, len), want, "%s, %zu", ops->name, len);
            cr_assert_eq(ops->copy(before, copied, in, len), want, "%s, %zu", ops->name, len);
            cr_assert_arr_eq(copied, in, len, "%s, %zu", ops->name, len);
            cr_assert_eq(copied[len], 0x5a, "%s, %zu", ops->name, len);
        }
}
