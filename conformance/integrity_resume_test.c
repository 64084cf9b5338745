/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <vmstream/openssl.h>
#include <vmstream/session.h>

/*
 * RESUME, RESUMED and REKEY of a live sealed session: every bit changed under way, old ones played
 * again, one end's sent back to it. Each end is what an implementation has: a decoder, an opener,
 * the session's accounts. The attacker has recorded everything and has no key.
 */

enum {
    FRAME_BYTES = 2048,
    EPOCH = 7, /* that the session has come to */
};

static const uint8_t secret[32] = {5, 1, 4};
static const uint8_t ID[16] = {9, 8, 7};
static const enum vms_suite KEYED[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                       VMS_SUITE_CHACHA20_POLY1305};

static struct vms_openssl *openssl;
static const struct vms_crypto_ops *crypto;

static void open_crypto(void) {
    openssl = vms_openssl_new();
    cr_assert_not_null(openssl);
    crypto = vms_openssl_ops(openssl);
}

/* ---- frames as on the wire ---- */

struct wire {
    uint8_t bytes[FRAME_BYTES];
    size_t len;
};

static void encode(struct vms_sealer *sealer, struct vms_native_frame *f, struct wire *out) {
    struct vms_limits limits = vms_limits_default();
    struct vms_native_encoder encoder;
    struct vms_native_gather g;
    struct vms_room room = {out->bytes, sizeof out->bytes};
    vms_native_encoder_init(&encoder, sealer, 0, &limits);
    cr_assert_eq(vms_native_encode(&encoder, f, NULL, 0, room, &g, &out->len), VMS_OK);
    memmove(out->bytes, g.head.ptr, g.head.len);
    memmove(out->bytes + g.head.len, g.tail.ptr, g.tail.len);
}

/* RESUME of the source, RESUMED of the destination. */
static struct wire resume_frame(enum vms_native_role role, uint32_t epoch, uint8_t random[32]) {
    static const struct vms_native_position at[] = {{0, 3}};
    struct vms_limits limits = vms_limits_default();
    struct vms_sealer sealer;
    struct vms_error err;
    struct wire out;
    bool source = role == VMS_ROLE_SOURCE;
    struct vms_native_frame f = {.header.type = source ? VMS_NATIVE_RESUME : VMS_NATIVE_RESUMED};
    vms_sealer_init(&sealer, crypto, source ? VMS_SOURCE_TO_DESTINATION : VMS_DESTINATION_TO_SOURCE,
                    0, &limits);
    cr_assert_eq(vms_sealer_hello(&sealer, vms_slice(secret, 32), random, &err), VMS_OK);
    f.u.resume = (struct vms_native_resume){
        {.role = (uint8_t)role, .secret = VMS_SECRET_PSK, .identity = vms_str("vm-a")},
        epoch,
        1,
        at};
    memcpy(f.u.resume.who.session, ID, sizeof ID);
    memcpy(f.u.resume.who.random, random, 32);
    encode(&sealer, &f, &out);
    vms_sealer_free(&sealer);
    return out;
}

/* ---- an end that receives ---- */

struct end {
    struct vms_session session;
    struct vms_session_channel channels[2];
    struct vms_opener opener;
    enum vms_direction direction; /* of what it receives */
    bool open;                    /* behind the hello: opener has the epoch's key */
};

static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct end *e = ctx;
    struct vms_limits limits = vms_limits_default();
    vms_opener_free(&e->opener);
    vms_opener_init(&e->opener, crypto, e->direction, 0, &limits);
    *opener = &e->opener;
    return vms_opener_hello(&e->opener, vms_slice(secret, 32), frame->u.resume.who.random, err);
}

static struct vms_opener *find_opener(void *ctx, uint16_t channel) {
    struct end *e = ctx;
    return e->open && channel == 0 ? &e->opener : NULL;
}

/* An end of a session in which three frames have passed each way, all in EPOCH. */
static void make_end(struct end *e, enum vms_native_role role) {
    memset(e, 0, sizeof *e);
    vms_session_init(&e->session, role, ID, e->channels, 2);
    e->direction = role == VMS_ROLE_SOURCE ? VMS_DESTINATION_TO_SOURCE : VMS_SOURCE_TO_DESTINATION;
    e->session.agreement.features = VMS_FEATURE_RESUME;
    e->session.state = role == VMS_ROLE_SOURCE ? VMS_SES_RESUMING : VMS_SES_OPEN;
    e->session.epoch = e->session.peer_epoch = EPOCH;
    e->channels[0] = (struct vms_session_channel){.in_open = true,
                                                  .out_open = true,
                                                  .in_next = 3,
                                                  .out_next = 3,
                                                  .in_epoch = EPOCH,
                                                  .out_epoch = EPOCH};
}

struct listener {
    struct vms_native_decoder *decoder;
    void *mem;
};

static struct listener listen_to(struct end *e) {
    struct vms_native_config config = vms_native_config_default();
    struct listener l;
    config.end_optional = true;
    config.keys = (struct vms_native_keys){true, find_opener, on_hello, e};
    size_t len = vms_native_decoder_size(&config);
    l.mem = malloc(len);
    l.decoder = vms_native_decoder_init(l.mem, len, &config);
    return l;
}

/* One frame: deciphered, checked, and taken by the session; else the error. */
static struct verdict hear(struct end *e, struct listener *l, struct vms_slice octets) {
    uint8_t copy[FRAME_BYTES + VMS_NATIVE_LABEL];
    struct vms_room room = {copy, octets.len};
    struct vms_native_event ev;
    struct verdict v = {.ended = false};
    enum vms_native_step s = VMS_NATIVE_STEP_HEAD;
    memcpy(copy, octets.ptr, octets.len);
    while (s == VMS_NATIVE_STEP_HEAD || s == VMS_NATIVE_STEP_BULK)
        s = vms_native_decode(l->decoder, &room, &ev);
    if (s == VMS_NATIVE_STEP_ERROR)
        v.error = *ev.error;
    else if (s == VMS_NATIVE_STEP_NEED)
        v.error.code = VMS_E_TRUNCATED; /* nothing more comes */
    if (s != VMS_NATIVE_STEP_FRAME)
        return v;
    enum vms_session_action a = vms_session_received(&e->session, ev.frame, octets.len);
    v.ended = a != VMS_SES_DO_FAIL && a != VMS_SES_DO_REFUSE && a != VMS_SES_DO_MISUSE;
    v.error = e->session.error;
    return v;
}

/* A frame on a new connection of that end. */
static struct verdict greet(struct end *e, const struct wire *w) {
    uint8_t octets[FRAME_BYTES + VMS_NATIVE_LABEL];
    struct listener l = listen_to(e);
    memcpy(octets, vms_native_label, VMS_NATIVE_LABEL);
    memcpy(octets + VMS_NATIVE_LABEL, w->bytes, w->len);
    struct verdict v = hear(e, &l, vms_slice(octets, VMS_NATIVE_LABEL + w->len));
    vms_opener_free(&e->opener);
    free(l.mem);
    return v;
}

static struct verdict greet_new(enum vms_native_role role, uint32_t ours, const struct wire *w) {
    struct end e;
    make_end(&e, role);
    if (ours) /* the RESUME that is to be answered */
        e.session.epoch = ours;
    return greet(&e, w);
}

/* ---- RESUME and RESUMED ---- */

static const enum vms_code CHANGED[] = {VMS_E_SEAL_TAG,
                                        VMS_E_SEAL_UNSEALED,
                                        VMS_E_NATIVE_MAGIC,
                                        VMS_E_NATIVE_TYPE,
                                        VMS_E_NATIVE_FLAGS,
                                        VMS_E_NATIVE_CHANNEL,
                                        VMS_E_NATIVE_ORDER,
                                        VMS_E_NATIVE_BULK,
                                        VMS_E_NATIVE_CBOR,
                                        VMS_E_NATIVE_KEY,
                                        VMS_E_NATIVE_VALUE,
                                        VMS_E_NATIVE_HELLO,
                                        VMS_E_LIMIT,
                                        VMS_E_TRUNCATED,
                                        VMS_E_SEAL_EPOCH,
                                        VMS_E_SEAL_SEQUENCE,
                                        VMS_OK};
static const enum vms_code STALE[] = {VMS_E_RESUME_STALE, VMS_OK};

/* [SEAL-8] [SEAL-25] */
static void every_bit_of_hello(enum vms_native_role from, const char *attack) {
    bool source = from == VMS_ROLE_SOURCE;
    enum vms_native_role to = source ? VMS_ROLE_DESTINATION : VMS_ROLE_SOURCE;
    uint8_t random[32] = {1};
    struct wire w = resume_frame(from, EPOCH + 1, random);
    struct tally t = tally_for(attack, VMS_SUITE_AES_256_GMAC);
    cr_assert(greet_new(to, source ? 0 : EPOCH + 1, &w).ended, "as it was sent");
    for (size_t bit = 0; bit < 8 * w.len; bit++) {
        w.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct verdict v = greet_new(to, source ? 0 : EPOCH + 1, &w);
        tally_add(&t, &v, CHANGED);
        w.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    tally_close(&t);
}

/* [SEAL-8] [SEAL-25] [RSM-6] */
Test(integrity_resume, every_bit, .timeout = 120) {
    open_crypto();
    every_bit_of_hello(VMS_ROLE_SOURCE, "RESUME, each bit");
    every_bit_of_hello(VMS_ROLE_DESTINATION, "RESUMED, each bit");
    vms_openssl_free(openssl);
}

/* [RSM-8] An authentic RESUME of before, when a later one was taken, and one that never came. */
static void old_resumes(void) {
    struct tally t = tally_for("old RESUME again", VMS_SUITE_AES_256_GMAC);
    for (uint32_t taken = EPOCH + 1; taken < EPOCH + 6; taken++)
        for (uint32_t old = EPOCH - 2; old <= taken; old++) {
            uint8_t one[32] = {1}, two[32] = {2};
            struct wire w = resume_frame(VMS_ROLE_SOURCE, taken, one);
            struct wire again = resume_frame(VMS_ROLE_SOURCE, old, two);
            struct end e;
            make_end(&e, VMS_ROLE_DESTINATION);
            cr_assert(greet(&e, &w).ended);
            struct verdict v = greet(&e, old == taken ? &w : &again);
            tally_add(&t, &v, STALE);
        }
    tally_close(&t);
}

/* [RSM-8] An old RESUMED in answer to a new RESUME. */
static void old_answers(void) {
    struct tally t = tally_for("old RESUMED again", VMS_SUITE_AES_256_GMAC);
    for (uint32_t asked = EPOCH + 2; asked < EPOCH + 6; asked++)
        for (uint32_t old = EPOCH; old < asked; old++) {
            uint8_t random[32] = {3};
            struct wire w = resume_frame(VMS_ROLE_DESTINATION, old, random);
            struct verdict v = greet_new(VMS_ROLE_SOURCE, asked, &w);
            tally_add(&t, &v, STALE);
        }
    tally_close(&t);
}

/* [SEAL-14] One end's own does not pass for its peer's; [SES-4] nor another session's for this
 * one's.
 */
static void misdirected(void) {
    static const enum vms_code back[] = {VMS_E_SEAL_TAG, VMS_E_SESSION_UNEXPECTED, VMS_OK};
    static const enum vms_code other[] = {VMS_E_SESSION_ID, VMS_OK};
    struct tally t = tally_for("RESUME, RESUMED sent back", VMS_SUITE_AES_256_GMAC);
    uint8_t random[32] = {4};
    struct wire ask = resume_frame(VMS_ROLE_SOURCE, EPOCH + 1, random);
    struct wire answer = resume_frame(VMS_ROLE_DESTINATION, EPOCH + 1, random);
    struct verdict v = greet_new(VMS_ROLE_SOURCE, 0, &ask);
    tally_add(&t, &v, back);
    v = greet_new(VMS_ROLE_DESTINATION, 0, &answer);
    tally_add(&t, &v, back);
    tally_close(&t);
    t = tally_for("RESUME of another session", VMS_SUITE_AES_256_GMAC);
    struct end e;
    make_end(&e, VMS_ROLE_DESTINATION);
    e.session.id[15] ^= 1;
    v = greet(&e, &ask);
    tally_add(&t, &v, other);
    tally_close(&t);
}

Test(integrity_resume, played_again, .timeout = 120) {
    open_crypto();
    old_resumes();
    old_answers();
    misdirected();
    vms_openssl_free(openssl);
}

/* ---- REKEY ---- */

/* Two ends behind a RESUME in EPOCH + 1, with the keys that it gave. */
struct rekeying {
    struct end receiver;
    struct listener listener;
    struct vms_sealer sealer;
    uint8_t master[VMS_MASTER_BYTES];
};

static void open_rekeying(struct rekeying *r, enum vms_suite suite) {
    struct vms_limits limits = vms_limits_default();
    uint8_t random[32] = {6}, octets[FRAME_BYTES + VMS_NATIVE_LABEL];
    struct wire w = resume_frame(VMS_ROLE_SOURCE, EPOCH + 1, random);
    struct vms_error err;
    memset(r->master, 0x5a, sizeof r->master);
    make_end(&r->receiver, VMS_ROLE_DESTINATION);
    r->listener = listen_to(&r->receiver);
    memcpy(octets, vms_native_label, VMS_NATIVE_LABEL);
    memcpy(octets + VMS_NATIVE_LABEL, w.bytes, w.len);
    cr_assert(hear(&r->receiver, &r->listener, vms_slice(octets, VMS_NATIVE_LABEL + w.len)).ended);
    r->receiver.open = true;
    vms_sealer_init(&r->sealer, crypto, VMS_SOURCE_TO_DESTINATION, 0, &limits);
    cr_assert_eq(vms_sealer_rekey(&r->sealer, suite, r->master, EPOCH + 1, 3, &err), VMS_OK);
    cr_assert_eq(vms_opener_rekey(&r->receiver.opener, suite, r->master, EPOCH + 1, 3, &err),
                 VMS_OK);
}

static void close_rekeying(struct rekeying *r) {
    vms_opener_free(&r->receiver.opener);
    vms_sealer_free(&r->sealer);
    free(r->listener.mem);
}

static struct wire rekey_frame(struct rekeying *r) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_REKEY, .u.epoch = EPOCH + 2};
    struct wire w;
    encode(&r->sealer, &f, &w);
    return w;
}

/* bit: that is changed; SIZE_MAX: none. */
static struct verdict hear_rekey(enum vms_suite suite, size_t bit, unsigned times, size_t *len) {
    struct rekeying r;
    struct verdict v = {.ended = false};
    open_rekeying(&r, suite);
    struct wire w = rekey_frame(&r);
    *len = w.len;
    if (bit != SIZE_MAX)
        w.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    for (unsigned i = 0; i < times; i++)
        v = hear(&r.receiver, &r.listener, vms_slice(w.bytes, w.len));
    close_rekeying(&r);
    return v;
}

/* [SEAL-6] [SEAL-8] [SES-6] A key never changes but by a REKEY as it was sent, and once. */
Test(integrity_resume, rekey, .timeout = 120) {
    static const enum vms_code again[] = {VMS_E_SEAL_SEQUENCE, VMS_E_SEAL_EPOCH, VMS_OK};
    open_crypto();
    for (size_t k = 0; k < 3; k++) {
        struct tally t = tally_for("REKEY, each bit", KEYED[k]);
        size_t len;
        struct verdict v = hear_rekey(KEYED[k], SIZE_MAX, 1, &len);
        cr_assert(v.ended, "%s", v.error.message);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            v = hear_rekey(KEYED[k], bit, 1, &len);
            tally_add(&t, &v, CHANGED);
        }
        tally_close(&t);
        t = tally_for("REKEY again", KEYED[k]);
        v = hear_rekey(KEYED[k], SIZE_MAX, 2, &len);
        tally_add(&t, &v, again);
        tally_close(&t);
    }
    vms_openssl_free(openssl);
}

/* ---- how much one key seals ---- */

enum {
    KEY_FRAMES = 12,
    BODY = 100,
};

/* A frame of that type as it is: header, body, tag. */
static enum vms_code seal_one(struct vms_sealer *sealer, uint8_t header[VMS_NATIVE_HEADER],
                              uint32_t type, uint8_t tag[VMS_NATIVE_TAG]) {
    static uint8_t body[BODY];
    struct vms_seal_piece piece = {body, body, sizeof body};
    struct vms_error err;
    memset(header, 0, VMS_NATIVE_HEADER);
    memcpy(header, "VMSF", 4);
    header[7] = (uint8_t)type;
    header[27] = BODY;
    return vms_sealer_seal(sealer, header, &piece, 1, tag, &err);
}

static enum vms_code open_one(struct vms_opener *opener, const uint8_t header[VMS_NATIVE_HEADER],
                              const uint8_t tag[VMS_NATIVE_TAG]) {
    uint8_t body[BODY] = {0};
    struct vms_seal_piece piece = {body, body, sizeof body};
    struct vms_error err;
    return vms_opener_open(opener, header, &piece, 1, tag, &err);
}

struct limited {
    struct vms_sealer sealer;
    struct vms_opener opener;
};

static void open_limited(struct limited *l, enum vms_suite suite, struct vms_limits ours,
                         struct vms_limits theirs) {
    static const uint8_t master[VMS_MASTER_BYTES] = {7};
    struct vms_error err;
    vms_sealer_init(&l->sealer, crypto, VMS_SOURCE_TO_DESTINATION, 0, &ours);
    vms_opener_init(&l->opener, crypto, VMS_SOURCE_TO_DESTINATION, 0, &theirs);
    cr_assert_eq(vms_sealer_rekey(&l->sealer, suite, master, 1, 0, &err), VMS_OK);
    cr_assert_eq(vms_opener_rekey(&l->opener, suite, master, 1, 0, &err), VMS_OK);
}

static void close_limited(struct limited *l) {
    vms_sealer_free(&l->sealer);
    vms_opener_free(&l->opener);
}

static struct vms_limits limited_to(uint64_t frames, uint64_t bytes) {
    struct vms_limits l = vms_limits_default();
    l.seal_key_frames = frames;
    l.seal_key_bytes = bytes;
    return l;
}

/* How many PINGs go before one is refused, and by whom. GMAC: the body is in the clear. */
static unsigned pings(struct vms_limits ours, struct vms_limits theirs, enum vms_code *code) {
    struct limited l;
    unsigned n = 0;
    open_limited(&l, VMS_SUITE_AES_256_GMAC, ours, theirs);
    for (*code = VMS_OK; n < 4 * KEY_FRAMES; n++) {
        uint8_t header[VMS_NATIVE_HEADER], tag[VMS_NATIVE_TAG];
        *code = seal_one(&l.sealer, header, VMS_NATIVE_PING, tag);
        if (*code == VMS_E_SEAL_REKEY_DUE) /* the last frame and the last octets are for this */
            cr_expect_eq(seal_one(&l.sealer, header, VMS_NATIVE_REKEY, tag), VMS_OK);
        if (*code == VMS_OK)
            *code = open_one(&l.opener, header, tag);
        if (*code != VMS_OK)
            break;
    }
    close_limited(&l);
    return n;
}

/* [SEAL-9] [SEAL-12] Neither end lets a key seal more frames, or more octets, than it may. */
Test(integrity_resume, a_key_is_spent, .timeout = 120) {
    const uint64_t most = vms_limits_default().seal_key_bytes;
    const struct vms_limits free = limited_to(UINT32_MAX, most);
    const uint64_t octets = KEY_FRAMES * (VMS_NATIVE_HEADER + BODY);
    enum vms_code code;
    open_crypto();
    cr_expect_eq(pings(limited_to(KEY_FRAMES, most), free, &code), KEY_FRAMES - 1);
    cr_expect_eq(code, VMS_E_SEAL_REKEY_DUE);
    cr_expect_eq(pings(free, limited_to(KEY_FRAMES, most), &code), KEY_FRAMES);
    cr_expect_eq(code, VMS_E_SEAL_KEY_LIMIT);
    cr_expect_eq(pings(limited_to(UINT32_MAX, octets + 4096), free, &code), KEY_FRAMES);
    cr_expect_eq(code, VMS_E_SEAL_REKEY_DUE);
    cr_expect_eq(pings(free, limited_to(UINT32_MAX, octets), &code), KEY_FRAMES);
    cr_expect_eq(code, VMS_E_SEAL_KEY_LIMIT);
    vms_openssl_free(openssl);
}
