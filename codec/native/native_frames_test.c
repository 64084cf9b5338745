/* SPDX-License-Identifier: MIT */
#include "native/body.h"
#include "native/native_test_util.h"
#include <criterion/criterion.h>

/* The encoder, the decoder's edges, and both together. */

static struct vms_native_frame opaque(void) {
    return (struct vms_native_frame){.header.type = VMS_NATIVE_OPAQUE};
}

/* Tables ascend, and every frame of the registry has one: [NAT-20], [NAT-31]. */
Test(native_frames, tables) {
    static const uint32_t types[] = {
#define VMS_NATIVE_FRAME(name, value, class, text) value,
#include <vmstream/registry/native_frames.def>
#undef VMS_NATIVE_FRAME
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct vms_native_frame f = {.header.type = types[i]};
        const struct vms_body *body = vms_body_of(&f);
        cr_assert(body, "%s", vms_native_type_name(types[i]));
        for (size_t k = 1; k < body->count; k++)
            cr_assert_gt(body->fields[k].key, body->fields[k - 1].key, "%s",
                         vms_native_type_name(types[i]));
        cr_assert_neq(vms_frame_class(types[i]), FRAME_UNKNOWN);
        /* [NAT-21], [NAT-22] */
        cr_assert_not(types[i] & (VMS_NATIVE_IGNORABLE | VMS_NATIVE_PRIVATE_MASK));
    }
}

/* [NAT-1] */
Test(native_frames, sniff) {
    cr_assert(vms_native_sniff(vms_slice(vms_native_label, 12)));
    cr_assert_not(vms_native_sniff(vms_slice(vms_native_label, 11)));
    cr_assert_not(vms_native_sniff(vms_str("QEVM00000000")));
}

/* [MOD-6] Too little room: the exact number, and nothing has changed. */
Test(native_frames, space) {
    struct sender s;
    uint8_t room[300];
    struct vms_slice bulk = vms_str("bulk bytes");
    sender_open(&s, 0);
    send_hello(&s);
    size_t need = 0;
    for (size_t have = 0; have < sizeof room; have++) {
        struct vms_native_frame f = opaque();
        struct vms_native_gather g;
        size_t len;
        uint64_t sequence = s.sealer.link.sequence;
        f.u.opaque.offset = 1000;
        enum vms_code code =
            vms_native_encode(&s.encoder, &f, &bulk, 1, (struct vms_room){room, have}, &g, &len);
        if (!have)
            need = len;
        cr_assert_eq(len, need);
        cr_assert_eq(code, have < need ? VMS_E_SPACE : VMS_OK, "%zu", have);
        cr_assert_eq(s.sealer.link.sequence, sequence + (have >= need));
    }
    cr_assert_eq(need, 32 + 1 + 2 + 3 + 4);
    sender_close(&s);
}

/* [MOD-11] The bulk is where the caller has it, in as many pieces; or copied, if so ordered. */
Test(native_frames, gather) {
    struct sender s;
    uint8_t room[300];
    struct vms_slice bulk[] = {vms_str("one"), vms_str(""), vms_str("two")};
    struct vms_native_gather g;
    size_t len;
    sender_open(&s, 0);
    send_hello(&s);
    struct vms_native_frame f = opaque();
    cr_assert_eq(vms_native_encode(&s.encoder, &f, bulk, 3, (struct vms_room){room, 300}, &g, &len),
                 VMS_OK);
    cr_assert_eq(g.bulk, bulk);
    cr_assert_eq(g.bulk_count, 3);
    cr_assert_eq(g.head.len + g.tail.len, len);
    cr_assert_eq(f.header.bulk_len, 6);
    s.encoder.copy_bulk = true; /* [SEAL-22] */
    cr_assert_eq(vms_native_encode(&s.encoder, &f, bulk, 3, (struct vms_room){room, 300}, &g, &len),
                 VMS_OK);
    cr_assert_eq(g.bulk_count, 0);
    cr_assert_eq(g.head.len, 32 + 1 + 6);
    cr_assert(memcmp(g.head.ptr + 33, "onetwo", 6) == 0);
    sender_close(&s);
}

/* [MOD-7], [LIM-1] What cannot be said is refused before anything is written. */
Test(native_frames, misuse) {
    static uint8_t huge[4194305];
    struct sender s;
    uint32_t suites[17] = {0};
    sender_open(&s, 0);
    struct vms_native_frame f = opaque();
    cr_assert_eq(send_frame(&s, &f, vms_str("x")), VMS_E_MISUSE); /* epoch 0 */
    f = hello_frame();
    f.u.hello.suites = suites;
    f.u.hello.suite_count = 17;
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE);
    send_hello(&s);
    f = hello_frame();
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE); /* behind epoch 0 */
    f = opaque();
    cr_assert_eq(send_frame(&s, &f, vms_slice(huge, sizeof huge)), VMS_E_LIMIT);
    cr_assert_eq(send_frame(&s, &f, vms_slice(huge, sizeof huge - 1)), VMS_OK);
    f = (struct vms_native_frame){.header.type = 4711};
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_PING};
    cr_assert_eq(send_frame(&s, &f, vms_str("x")), VMS_E_MISUSE); /* [NAT-17] */
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_ABORT};
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE); /* no code */
    f.u.abort.code = vms_str("two\nlines");
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE);
    f.u.abort.code = vms_str("CODE");
    f.u.abort.has_who = true;
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE); /* [SES-24] */
    s.encoder.channel = 5;
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_PING};
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_MISUSE); /* [NAT-14] */
    sender_close(&s);
}

/* [NAT-48] The peer's smaller limits bind the encoder. */
Test(native_frames, peer_limits) {
    struct sender s;
    uint8_t name[255] = {0};
    sender_open(&s, 0);
    send_hello(&s);
    s.encoder.limits.native_body_bytes = 100;
    s.encoder.limits.native_bulk_bytes = 10;
    struct vms_native_frame f = opaque();
    cr_assert_eq(send_frame(&s, &f, vms_slice(name, 10)), VMS_OK);
    cr_assert_eq(send_frame(&s, &f, vms_slice(name, 11)), VMS_E_LIMIT);
    memset(name, 'a', sizeof name);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_ABORT};
    f.u.abort.code = vms_slice(name, 60);
    f.u.abort.message = vms_slice(name, 31);
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_OK); /* 100 octets */
    f.u.abort.message = vms_slice(name, 32);
    cr_assert_eq(send_frame(&s, &f, vms_str("")), VMS_E_LIMIT);
    sender_close(&s);
}

/* ---- direct bulk ---- */

static void step_until(struct reader *r, struct vms_room *in, enum vms_native_step want,
                       struct vms_native_event *ev) {
    enum vms_native_step step;
    while ((step = vms_native_decode(r->decoder, in, ev)) != want)
        cr_assert(step != VMS_NATIVE_STEP_ERROR && step != VMS_NATIVE_STEP_NEED, "%d", step);
}

/* [MOD-11] Straight into the caller's memory, in pieces, mixed with pieces through the decoder. */
Test(native_frames, direct) {
    struct sender s;
    struct reader r;
    uint8_t taken[10];
    struct vms_native_event ev;
    struct vms_native_frame f = opaque();
    sender_open(&s, 0);
    send_hello(&s);
    (void)send_frame(&s, &f, vms_str("0123456789"));
    (void)send_end(&s);
    reader_open(&r);
    struct vms_room in = {s.ptr, s.len};
    step_until(&r, &in, VMS_NATIVE_STEP_FRAME, &ev);
    step_until(&r, &in, VMS_NATIVE_STEP_HEAD, &ev);
    cr_assert_eq(vms_native_bulk_direct(r.decoder), 10);
    memcpy(taken, in.ptr, 4);
    vms_native_bulk_taken(r.decoder, taken, 4);
    in = (struct vms_room){in.ptr + 4, in.len - 4};
    struct vms_room piece = {in.ptr, 3};
    cr_assert_eq(vms_native_decode(r.decoder, &piece, &ev), VMS_NATIVE_STEP_BULK);
    cr_assert_eq(ev.bulk_offset, 4);
    cr_assert_eq(ev.bulk.len, 3);
    in = (struct vms_room){in.ptr + 3, in.len - 3};
    memcpy(taken, in.ptr, 3);
    vms_native_bulk_taken(r.decoder, taken, 3);
    in = (struct vms_room){in.ptr + 3, in.len - 3};
    cr_assert_eq(vms_native_decode(r.decoder, &in, &ev), VMS_NATIVE_STEP_FRAME);
    cr_assert_eq(vms_native_bulk_direct(r.decoder), 0);
    step_until(&r, &in, VMS_NATIVE_STEP_FRAME, &ev);
    cr_assert_eq(vms_native_finish(r.decoder, &ev), VMS_NATIVE_STEP_END);
    vms_native_bulk_taken(r.decoder, taken, 1);
    cr_assert_eq(vms_native_finish(r.decoder, &ev), VMS_NATIVE_STEP_ERROR);
    cr_assert_eq(ev.error->code, VMS_E_MISUSE);
    reader_close(&r);
    sender_close(&s);
}

/* A hello that is sealed, where there is no key; and the other way round: [NAT-47], [SEAL-18]. */
Test(native_frames, hello_and_keys) {
    struct sender s;
    struct vms_error err;
    for (int keyed = 0; keyed < 2; keyed++) {
        struct reader r;
        sender_open(&s, 0);
        send_hello(&s);
        reader_open(&r);
        r.config.keys.have_secret = keyed;
        r.decoder = vms_native_decoder_init(r.mem, vms_native_decoder_size(&r.config), &r.config);
        if (!keyed)
            s.ptr[12 + 9] |= VMS_NATIVE_HELLO_SEALED;
        /* The header alone tells. */
        enum vms_native_step step =
            feed(&r, vms_slice(s.ptr, 12 + 32), (struct cut){1, 1}, NULL, NULL, &err);
        cr_assert_eq(step, VMS_NATIVE_STEP_ERROR);
        cr_assert_eq(err.code, keyed ? VMS_E_SEAL_UNSEALED : VMS_E_SEAL_NO_KEY);
        reader_close(&r);
        sender_close(&s);
    }
}

/* [NAT-14], [NAT-23] A connection of one channel. */
Test(native_frames, one_channel) {
    struct sender s;
    struct reader r;
    struct vms_error err;
    sender_open(&s, 0);
    send_hello(&s);
    (void)send_end(&s);
    reader_open(&r);
    r.config.any_channel = false;
    r.config.channel = 3;
    r.decoder = vms_native_decoder_init(r.mem, vms_native_decoder_size(&r.config), &r.config);
    cr_assert_eq(feed(&r, vms_slice(s.ptr, s.len), (struct cut){7, 1}, NULL, NULL, &err),
                 VMS_NATIVE_STEP_ERROR);
    cr_assert_eq(err.code, VMS_E_NATIVE_CHANNEL);
    reader_close(&r);
    sender_close(&s);
}

/* [NAT-23] ABORT in epoch 0 refuses a channel: it opens none, and may come again. */
Test(native_frames, abort_opens_no_channel) {
    struct vms_native_frame data = opaque(), abort = {.header.type = VMS_NATIVE_ABORT};
    struct sender s, third;
    struct vms_error err;
    abort.u.abort.has_who = true;
    abort.u.abort.code = vms_str("NATIVE_VERSION");
    for (int opened = 0; opened < 2; opened++) {
        struct reader r;
        sender_open(&s, 0);
        send_hello(&s);
        sender_open(&third, 3);
        third.len = 0; /* the label is there */
        cr_assert_eq(send_frame(&third, &abort, vms_slice(NULL, 0)), VMS_OK);
        for (int i = 0; i < 2; i++)
            sender_append(&s, vms_slice(third.ptr, third.len));
        size_t at = s.len;
        third.len = 0;
        cr_assert_eq(send_frame(&third, &data, vms_str("0123456789")), VMS_OK);
        if (opened)
            sender_append(&s, vms_slice(third.ptr, third.len));
        else
            (void)send_end(&s);
        reader_open(&r);
        enum vms_native_step step =
            feed(&r, vms_slice(s.ptr, s.len), (struct cut){11, 1}, NULL, NULL, &err);
        cr_assert_eq(step, opened ? VMS_NATIVE_STEP_ERROR : VMS_NATIVE_STEP_END, "%s", err.message);
        cr_assert_eq(err.code, opened ? VMS_E_NATIVE_ORDER : VMS_OK);
        cr_assert(!opened || err.offset == at);
        reader_close(&r);
        sender_close(&s);
        sender_close(&third);
    }
}

/* [MOD-3], [SES-21] Every prefix of a good stream is refused; [MOD-12] and stays so. */
Test(native_frames, every_prefix) {
    struct sender s;
    struct vms_native_frame f = opaque();
    sender_open(&s, 0);
    send_hello(&s);
    (void)send_frame(&s, &f, vms_str("0123456789"));
    (void)send_end(&s);
    for (size_t n = 0; n <= s.len; n++) {
        struct reader r;
        struct vms_error err;
        struct vms_native_event ev;
        reader_open(&r);
        enum vms_native_step step =
            feed(&r, vms_slice(s.ptr, n), (struct cut){5, 1}, NULL, NULL, &err);
        cr_assert_eq(step, n == s.len ? VMS_NATIVE_STEP_END : VMS_NATIVE_STEP_ERROR, "%zu", n);
        if (n < s.len) {
            cr_assert(err.code == VMS_E_TRUNCATED || err.code == VMS_E_SESSION_NO_END);
            cr_assert_eq(err.offset, n);
            cr_assert_eq(vms_native_finish(r.decoder, &ev), VMS_NATIVE_STEP_ERROR);
            cr_assert_eq(ev.error->code, err.code);
        }
        reader_close(&r);
    }
    sender_close(&s);
}

/* [MOD-10] The memory is what was asked for, and a byte less is refused. */
Test(native_frames, memory) {
    struct vms_native_config config = vms_native_config_default();
    size_t size = vms_native_decoder_size(&config);
    void *mem = malloc(size);
    cr_assert_lt(size, 300000);
    cr_assert_null(vms_native_decoder_init(mem, size - 1, &config));
    cr_assert_null(vms_native_decoder_init(NULL, size, &config));
    cr_assert_not_null(vms_native_decoder_init(mem, size, &config));
    free(mem);
    /* [LIM-3] No limit makes the sum wrap. */
    config.limits.native_records = config.limits.native_runs = UINT64_MAX;
    config.limits.native_items = config.limits.native_body_bytes = UINT64_MAX;
    cr_assert_gt(vms_native_decoder_size(&config), (size_t)1 << 40);
}

/* ---- damage: [ERR-4], [SEAL-8] ---- */

static void all_frames(struct sender *s) {
    static const struct vms_native_run runs[] = {{0, 2, false}, {9, 1, true}};
    static const uint32_t named[] = {0};
    static uint8_t pages[2048];
    struct vms_record records[2] = {{.type = VMS_R_RAM_BLOCK}, {.type = VMS_R_VMDESCRIPTION}};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PAGES};
    records[0].u.block.name = vms_str("pc.ram");
    records[1].bulk_len = 5;
    f.u.pages.page_bits = 10;
    f.u.pages.runs = runs, f.u.pages.run_count = 2;
    f.u.pages.named = named, f.u.pages.named_count = 1;
    cr_assert_eq(send_frame(s, &f, vms_slice(pages, sizeof pages)), VMS_OK);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_RECORDS};
    f.u.records.records = records, f.u.records.count = 2;
    cr_assert_eq(send_frame(s, &f, vms_str("abc")), VMS_OK);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_BULK};
    cr_assert_eq(send_frame(s, &f, vms_str("de")), VMS_OK);
    f = (struct vms_native_frame){.header.type = VMS_NATIVE_GRANT};
    cr_assert_eq(send_frame(s, &f, vms_str("")), VMS_OK);
}

static uint32_t fix_crc(uint8_t *frame, size_t len) {
    uint32_t crc = vms_crc32c(0, frame, len - 4);
    for (int i = 0; i < 4; i++)
        frame[len - 4 + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    return crc;
}

/* Every bit of the stream in turn: refused, whatever it is, with an error of the wire. */
Test(native_frames, every_bit) {
    struct sender s;
    struct vms_error err;
    sender_open(&s, 0);
    send_hello(&s);
    struct vms_native_frame f = opaque();
    (void)send_frame(&s, &f, vms_str("x"));
    (void)send_end(&s);
    for (size_t bit = 0; bit < 8 * s.len; bit++) {
        struct reader r;
        s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        reader_open(&r);
        enum vms_native_step step =
            feed(&r, vms_slice(s.ptr, s.len), (struct cut){64, 1}, NULL, NULL, &err);
        cr_assert_eq(step, VMS_NATIVE_STEP_ERROR, "bit %zu", bit);
        cr_assert(err.class_ == VMS_CLASS_PEER || err.class_ == VMS_CLASS_LIMIT ||
                      err.code == VMS_E_SEAL_NO_KEY,
                  "bit %zu: %s", bit, err.message);
        reader_close(&r);
        s.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    sender_close(&s);
}

/* 100,000 random changes whose CRC is put right: the parser itself is reached, and stands. */
Test(native_frames, random_flips, .timeout = 300) {
    struct sender s;
    struct vms_error err;
    uint32_t seed = 20261120;
    sender_open(&s, 0);
    send_hello(&s);
    size_t first = s.len;
    all_frames(&s);
    (void)send_end(&s);
    uint8_t *copy = malloc(s.len);
    for (int i = 0; i < 100000; i++) {
        struct reader r;
        memcpy(copy, s.ptr, s.len);
        /* Short frames only: the pages are passed over. */
        for (uint32_t n = 1 + next_random(&seed) % 3; n; n--)
            copy[12 + next_random(&seed) % (s.len - 12)] ^= (uint8_t)(1u << next_random(&seed) % 8);
        for (size_t at = 12; at + 36 <= s.len;) {
            struct vms_native_header h;
            vms_header_read(s.ptr + at, &h);
            size_t len = 32 + (size_t)h.body_len + h.bulk_len + 4;
            (void)fix_crc(copy + at, len);
            at += len;
        }
        reader_open(&r);
        (void)feed(&r, vms_slice(copy, s.len), (struct cut){0, seed | 1}, NULL, NULL, &err);
        reader_close(&r);
    }
    cr_assert_gt(first, 12);
    free(copy);
    sender_close(&s);
}
