/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/hello.h"
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <vmstream/openssl.h>
#include <vmstream/session.h>

/*
 * The hellos of a live session, both ways, with a list of suites: every field changed under way,
 * downgrades among them. Then as if nobody had checked the hello's tag: the keys that both ends
 * make of hellos that differ do not fit.
 */

enum {
    HELLO_BYTES = 4096,
    PAYLOAD = 64,
};

static const uint8_t secret[32] = {7, 3, 9};
static const uint32_t LIST[] = {VMS_SUITE_AES_256_GCM, VMS_SUITE_CHACHA20_POLY1305,
                                VMS_SUITE_AES_256_GMAC};
static const enum vms_code TAG[] = {VMS_E_SEAL_TAG, VMS_OK};

struct end {
    enum vms_direction direction;
    struct vms_sealer sealer;
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    uint8_t hello[HELLO_BYTES]; /* as on the wire */
    size_t len;
};

static struct vms_openssl *openssl;
static const struct vms_crypto_ops *crypto;

static struct vms_native_hello hello_of(const struct end *e) {
    struct vms_native_hello h = {.version = 1,
                                 .version_min = 1,
                                 .suite_count = 3,
                                 .suites = LIST,
                                 .features = VMS_FEATURE_MUX | VMS_FEATURE_QEVM,
                                 .body_bytes = 65536,
                                 .bulk_bytes = 1 << 20,
                                 .channels = 256,
                                 .replay_bytes = 1 << 24,
                                 .keepalive_ms = 1000,
                                 .machine = vms_str("pc")};
    h.who = (struct vms_native_who){
        .role = e->direction == VMS_SOURCE_TO_DESTINATION ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION,
        .session = {1, 2},
        .secret = VMS_SECRET_PSK,
        .identity = vms_str("vm-a")};
    memcpy(h.who.random, e->random, sizeof e->random);
    return h;
}

static void say_hello(struct end *e, enum vms_direction direction) {
    struct vms_limits limits = vms_limits_default();
    struct vms_native_encoder encoder;
    struct vms_native_gather g;
    struct vms_error err;
    e->direction = direction;
    vms_sealer_init(&e->sealer, crypto, direction, 0, &limits);
    vms_native_encoder_init(&encoder, &e->sealer, 0, &limits);
    cr_assert_eq(vms_sealer_hello(&e->sealer, vms_slice(secret, 32), e->random, &err), VMS_OK);
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    f.u.hello = hello_of(e);
    struct vms_room out = {e->hello, sizeof e->hello};
    cr_assert_eq(vms_native_encode(&encoder, &f, NULL, 0, out, &g, &e->len), VMS_OK);
    memmove(e->hello, g.head.ptr, g.head.len);
    memmove(e->hello + g.head.len, g.tail.ptr, g.tail.len);
}

/* ---- the tag of the hello itself ---- */

struct receiver {
    struct vms_opener opener;
    enum vms_direction direction;
};

static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct receiver *r = ctx;
    struct vms_limits limits = vms_limits_default();
    vms_opener_init(&r->opener, crypto, r->direction, 0, &limits);
    *opener = &r->opener;
    return vms_opener_hello(&r->opener, vms_slice(secret, 32), frame->u.hello.who.random, err);
}

static struct vms_opener *find_opener(void *ctx, uint16_t channel) {
    struct receiver *r = ctx;
    return channel == 0 ? &r->opener : NULL;
}

static struct verdict receive(struct vms_slice frame, enum vms_direction direction) {
    struct receiver r = {.direction = direction};
    struct vms_native_config config = vms_native_config_default();
    struct text input = {NULL, 0, 0};
    struct vms_native_event ev;
    struct verdict v = {.ended = false};
    enum vms_native_step s = VMS_NATIVE_STEP_HEAD;
    config.keys = (struct vms_native_keys){true, find_opener, on_hello, &r};
    size_t len = vms_native_decoder_size(&config);
    void *mem = malloc(len);
    struct vms_native_decoder *d = vms_native_decoder_init(mem, len, &config);
    text_add(&input, vms_native_label, VMS_NATIVE_LABEL);
    text_add(&input, frame.ptr, frame.len);
    struct vms_room room = {(uint8_t *)input.ptr, input.len};
    while (s == VMS_NATIVE_STEP_HEAD)
        s = vms_native_decode(d, &room, &ev);
    v.ended = s != VMS_NATIVE_STEP_ERROR;
    if (!v.ended)
        v.error = *ev.error;
    vms_opener_free(&r.opener);
    text_free(&input);
    free(mem);
    return v;
}

static void changed_under_way(const struct end *e, const char *attack) {
    static const enum vms_code right[] = {VMS_E_SEAL_TAG, VMS_E_NATIVE_HELLO, VMS_E_NATIVE_VALUE,
                                          VMS_OK};
    struct forged forged[FORGED_MAX];
    struct tally t = tally_for(attack, VMS_SUITE_AES_256_GCM);
    cr_assert(receive(vms_slice(e->hello, e->len), e->direction).ended, "as it was sent");
    size_t count = forge_hellos(vms_slice(e->hello, e->len), forged);
    for (size_t i = 0; i < count; i++) {
        struct text *f = &forged[i].frame;
        struct verdict v = receive(vms_slice(f->ptr, f->len), e->direction);
        tally_add(&t, &v, right);
        text_free(f);
    }
    tally_close(&t);
}

/* ---- and without it: keys of hellos that differ ---- */

static void master_of(const struct end *source, const struct end *destination,
                      struct vms_slice first, struct vms_slice second, uint8_t *master) {
    struct vms_transcript t;
    struct vms_seal_salt salt;
    struct vms_error err;
    memcpy(salt.source_random, source->random, sizeof salt.source_random);
    memcpy(salt.destination_random, destination->random, sizeof salt.destination_random);
    if (vms_transcript_init(&t, crypto, &err) != VMS_OK ||
        vms_transcript_hello(&t, first, &err) != VMS_OK ||
        vms_transcript_hello(&t, second, &err) != VMS_OK ||
        vms_transcript_value(&t, salt.hello_hash, &err) != VMS_OK ||
        vms_seal_master(crypto, vms_slice(secret, 32), &salt, master, &err) != VMS_OK)
        abort();
    vms_transcript_free(&t);
}

/* The first frame behind the hellos, between ends with these master secrets. */
static struct verdict first_frame(enum vms_suite suite, const uint8_t *sender,
                                  const uint8_t *receiver) {
    struct vms_limits limits = vms_limits_default();
    struct vms_sealer sealer;
    struct vms_opener opener;
    struct verdict v = {.ended = false};
    uint8_t payload[PAYLOAD] = {1}, tag[VMS_TAG_BYTES], header[VMS_NATIVE_HEADER] = "VMSF";
    struct vms_native_header h = {.type = VMS_NATIVE_RECORDS, .body_len = PAYLOAD};
    struct vms_seal_piece piece = {payload, payload, PAYLOAD};
    sealed_put_header(header, &h);
    vms_sealer_init(&sealer, crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    vms_opener_init(&opener, crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    if (vms_sealer_rekey(&sealer, suite, sender, 1, 0, &v.error) != VMS_OK ||
        vms_opener_rekey(&opener, suite, receiver, 1, 0, &v.error) != VMS_OK ||
        vms_sealer_seal(&sealer, header, &piece, 1, tag, &v.error) != VMS_OK)
        abort();
    v.ended = vms_opener_open(&opener, header, &piece, 1, tag, &v.error) == VMS_OK;
    vms_sealer_free(&sealer);
    vms_opener_free(&opener);
    return v;
}

static void other_keys(const struct end *source, const struct end *destination, bool second) {
    static const enum vms_suite suites[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                            VMS_SUITE_CHACHA20_POLY1305};
    struct vms_slice a = vms_slice(source->hello, source->len);
    struct vms_slice b = vms_slice(destination->hello, destination->len);
    struct forged forged[FORGED_MAX];
    uint8_t right[VMS_MASTER_BYTES], other[VMS_MASTER_BYTES];
    size_t count = forge_hellos(second ? b : a, forged);
    master_of(source, destination, a, b, right);
    for (size_t k = 0; k < 3; k++) {
        struct tally t =
            tally_for(second ? "keys of another answer" : "keys of another HELLO", suites[k]);
        cr_assert(first_frame(suites[k], right, right).ended);
        for (size_t i = 0; i < count; i++) {
            struct vms_slice f = vms_slice(forged[i].frame.ptr, forged[i].frame.len);
            master_of(source, destination, second ? a : f, second ? f : b, other);
            struct verdict v = first_frame(suites[k], right, other);
            tally_add(&t, &v, TAG);
        }
        tally_close(&t);
    }
    for (size_t i = 0; i < count; i++)
        text_free(&forged[i].frame);
}

/* [SEAL-13] [SEAL-14] [SEAL-16] [SEAL-25] */
Test(integrity_live, hellos, .timeout = 300) {
    struct end source, destination;
    openssl = vms_openssl_new();
    cr_assert_not_null(openssl);
    crypto = vms_openssl_ops(openssl);
    say_hello(&source, VMS_SOURCE_TO_DESTINATION);
    say_hello(&destination, VMS_DESTINATION_TO_SOURCE);
    changed_under_way(&source, "live HELLO, each field");
    changed_under_way(&destination, "live answer, each field");
    other_keys(&source, &destination, false);
    other_keys(&source, &destination, true);
    /* [SEAL-14] One end's hello does not pass for the other's. */
    struct tally t = tally_for("HELLO sent back", VMS_SUITE_AES_256_GCM);
    struct verdict v = receive(vms_slice(source.hello, source.len), VMS_DESTINATION_TO_SOURCE);
    tally_add(&t, &v, TAG);
    tally_close(&t);
    vms_sealer_free(&source.sealer);
    vms_sealer_free(&destination.sealer);
    vms_openssl_free(openssl);
}
