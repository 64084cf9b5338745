/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/captures.h"
#include "conformance/qevm/counting.h"
#include "conformance/qevm/streams.h"
#include "conformance/transcode/trip.h"
#include "conformance/vectors/build.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vmstream/pack_zstd.h>
#include <vmstream/vmdesc.h>

/*
 * QEVM to native and back: the same octets and the same records, whatever the cuts, the batch and
 * the packing [MOD-13] [TRC-1].
 */

struct subject {
    const char *name;
    struct vms_qevm_config config;
    const struct vms_qevm_decoder *main_channel;
    struct vms_slice octets;
};

static struct trip trip_for(const struct subject *s) {
    return (struct trip){.config = s->config, .main_channel = s->main_channel};
}

static void check_same(const struct subject *s, struct trip *trip, const char *how) {
    cr_assert(trip_there(trip, s->octets), "%s (%s): there: %s", s->name, how, trip->error.message);
    cr_assert(trip_back(trip), "%s (%s): back: %s [%s]", s->name, how, trip->error.message,
              trip->error.clause);
    cr_assert(vms_slice_eq(vms_slice(trip->qevm.ptr, trip->qevm.len), s->octets),
              "%s (%s): %zu other octets than %zu", s->name, how, trip->qevm.len, s->octets.len);
    cr_assert(trip->trace_there.len == trip->trace_back.len &&
                  !memcmp(trip->trace_there.ptr, trip->trace_back.ptr, trip->trace_back.len),
              "%s (%s): other records\n%s\n---\n%s", s->name, how, trip->trace_there.ptr,
              trip->trace_back.ptr);
}

static const struct {
    const char *name;
    struct cut there, back;
    bool flush;
    uint32_t batch;
} WAYS[] = {
    {"whole", {.kind = CUT_WHOLE}, {.kind = CUT_WHOLE}, false, 0},
    {"bytes", {.kind = CUT_FIXED, .n = 1}, {.kind = CUT_FIXED, .n = 1}, false, 0},
    {"7, flushed", {.kind = CUT_FIXED, .n = 7}, {.kind = CUT_FIXED, .n = 13}, true, 0},
    {"4096, flushed", {.kind = CUT_FIXED, .n = 4096}, {.kind = CUT_WHOLE}, true, 65536},
    {"random",
     {.kind = CUT_RANDOM, .n = 9000, .seed = 5},
     {.kind = CUT_RANDOM, .n = 9000, .seed = 6},
     false,
     65536},
    {"direct",
     {.kind = CUT_RANDOM, .n = 50000, .seed = 7},
     {.kind = CUT_RANDOM, .n = 500, .seed = 8, .direct = true},
     true,
     1 << 20},
};

static void check_all_ways(const struct subject *s) {
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++) {
        struct trip trip = trip_for(s);
        trip.there = WAYS[i].there;
        trip.back = WAYS[i].back;
        trip.flush = WAYS[i].flush;
        trip.batch_bytes = WAYS[i].batch;
        check_same(s, &trip, WAYS[i].name);
        trip_free(&trip);
    }
}

/* [MOD-13] [TRC-1] */
Test(transcode, made_streams) {
    for (int id = 0; id < STREAM_COUNT; id++) {
        struct vb *v = stream_make((enum stream_id)id);
        struct vms_qevm_decoder *main_channel = stream_main(v);
        struct subject s = {v->comment, stream_config(v), main_channel, stream_octets(v)};
        check_all_ways(&s);
        free(main_channel);
        vb_free(v);
    }
}

static struct vms_qevm_decoder *open_made(enum stream_id id, struct vb **v, struct subject *s) {
    *v = stream_make(id);
    struct vms_qevm_decoder *main_channel = stream_main(*v);
    *s = (struct subject){(*v)->comment, stream_config(*v), main_channel, stream_octets(*v)};
    return main_channel;
}

/* [TRC-1] Every record type makes the journey. */
Test(transcode, every_record) {
    struct trip trip = {.level = 0};
    for (int id = 0; id < STREAM_COUNT; id++) {
        struct vb *v;
        struct subject s;
        struct vms_qevm_decoder *main_channel = open_made((enum stream_id)id, &v, &s);
        struct trip one = trip_for(&s);
        check_same(&s, &one, "types");
        for (int i = 0; i < VMS_RECORD_TYPE_COUNT; i++)
            trip.types[i] |= one.types[i];
        trip_free(&one);
        free(main_channel);
        vb_free(v);
    }
    for (int i = 1; i < VMS_RECORD_TYPE_COUNT; i++)
        cr_expect(trip.types[i], "%s", vms_record_name((enum vms_record_type)i));
}

/* [TRC-9] Broken off after any octet: what there was comes back. */
Test(transcode, broken_off) {
    for (int id = 0; id <= STREAM_PREEMPT; id++) {
        struct vb *v;
        struct subject s;
        struct vms_qevm_decoder *main_channel = open_made((enum stream_id)id, &v, &s);
        size_t whole = s.octets.len;
        for (size_t n = 1; n < whole; n += 1 + n / 64) {
            struct trip trip = trip_for(&s);
            cr_assert(trip_there(&trip, vms_slice_head(s.octets, n)), "%s: %s", s.name,
                      trip.error.message);
            bool ended = trip_back(&trip);
            cr_assert(ended || trip.error.code == VMS_E_TRUNCATED, "%s at %zu: %s", s.name, n,
                      trip.error.message);
            cr_assert(
                vms_slice_eq(vms_slice(trip.qevm.ptr, trip.qevm.len), vms_slice_head(s.octets, n)),
                "%s at %zu: %zu octets", s.name, n, trip.qevm.len);
            trip_free(&trip);
        }
        free(main_channel);
        vb_free(v);
    }
}

/* ---- packing ---- */

struct zip {
    void *zstd_mem, *packer_mem;
    struct vms_zip_ops ops;
    struct vms_packer *packer;
};

static struct zip zip_new(int level) {
    struct vms_zstd_config zstd = {.level_max = level, .unpacked_max = 4 << 20};
    struct zip z = {.zstd_mem = malloc(vms_zstd_size(&zstd))};
    z.ops = vms_zstd_ops(vms_zstd_init(z.zstd_mem, vms_zstd_size(&zstd), &zstd));
    struct vms_pack_config pack = {.zip = z.ops, .page_size = 4096, .unpacked_max = 1 << 20};
    z.packer_mem = malloc(vms_packer_size(&pack));
    z.packer = vms_packer_init(z.packer_mem, vms_packer_size(&pack), &pack);
    cr_assert_not_null(z.packer);
    return z;
}

static void zip_free(struct zip *z) {
    free(z->packer_mem);
    free(z->zstd_mem);
}

static void set_zip(struct trip *trip, const struct zip *z, int level) {
    trip->zip = z->ops;
    trip->packer = z->packer;
    trip->level = level;
}

/* [TRC-1] [TRC-8] The same octets through the packer. */
Test(transcode, packed) {
    struct zip z = zip_new(3);
    for (int id = 0; id < STREAM_COUNT; id++) {
        struct vb *v;
        struct subject s;
        struct vms_qevm_decoder *main_channel = open_made((enum stream_id)id, &v, &s);
        struct trip trip = trip_for(&s);
        trip.there = (struct cut){.kind = CUT_RANDOM, .n = 30000, .seed = 3};
        set_zip(&trip, &z, 3);
        check_same(&s, &trip, "packed");
        if (id == STREAM_RICH)
            cr_assert_lt(trip.native.len, s.octets.len / 4);
        trip_free(&trip);
        free(main_channel);
        vb_free(v);
    }
    zip_free(&z);
}

/* [TRC-16] A reader without a decompressor says so. */
Test(transcode, packed_without_zip) {
    struct zip z = zip_new(1);
    struct vb *v;
    struct subject s;
    (void)open_made(STREAM_RICH, &v, &s);
    struct trip trip = trip_for(&s);
    set_zip(&trip, &z, 1);
    cr_assert(trip_there(&trip, s.octets));
    trip.zip = (struct vms_zip_ops){0};
    cr_assert_not(trip_back(&trip));
    cr_assert_eq(trip.error.code, VMS_E_TRANSCODE_PACKED);
    trip_free(&trip);
    vb_free(v);
    zip_free(&z);
}

/* ---- captured streams ---- */

static struct vms_qevm_config capture_config(enum vms_qevm_kind kind) {
    struct vms_qevm_config config = vms_qevm_config_default();
    config.kind = kind;
    return config;
}

static void check_capture(const struct capture *c, struct zip *z, struct vms_vmdesc *desc) {
    struct text octets = capture_read(c->file), main_octets = {0};
    struct subject s = {c->file, capture_config(c->kind), NULL, vms_slice(octets.ptr, octets.len)};
    struct vms_qevm_decoder *main_channel = NULL;
    struct vms_qevm_config main_config = capture_config(VMS_QEVM_MAIN);
    cr_assert(octets.ptr, "%s", c->file);
    if (c->main) {
        main_octets = capture_read(c->main);
        cr_assert(main_octets.ptr, "%s", c->main);
        main_channel = decoder_after(&main_config, vms_slice(main_octets.ptr, main_octets.len));
        s.main_channel = main_channel;
    }
    if (c->kind == VMS_QEVM_MAIN)
        s.config.vmdesc = vms_vmdesc_ops(desc);
    for (int way = 0; way < 3; way++) {
        struct trip trip = trip_for(&s);
        trip.there = (struct cut){.kind = CUT_RANDOM, .n = 200000, .seed = 11};
        trip.back = (struct cut){.kind = CUT_RANDOM, .n = 70000, .seed = 12, .direct = way == 1};
        trip.flush = way == 1;
        if (way == 2)
            set_zip(&trip, z, 1);
        check_same(&s, &trip, way == 2 ? "packed" : "plain");
        if (way == 0 && s.octets.len)
            printf("  %-40s %10zu -> %10zu  %.4f\n", c->file, s.octets.len, trip.native.len,
                   (double)trip.native.len / (double)s.octets.len);
        trip_free(&trip);
    }
    free(main_channel);
    text_free(&main_octets);
    text_free(&octets);
}

/* [MOD-13] [TRC-1] What QEMU sent. */
Test(transcode, captured, .timeout = 300) {
    if (!captures_folder())
        cr_skip("no captures: set VMS_CAPTURES to their folder");
    struct zip z = zip_new(1);
    struct vms_vmdesc *desc = vms_vmdesc_new();
    for (size_t i = 0; i < CAPTURE_COUNT; i++)
        check_capture(&CAPTURES[i], &z, desc);
    vms_vmdesc_free(desc);
    zip_free(&z);
}

/* ---- hostile octets, memory ---- */

/* CRC-32C of a frame whose octets were changed, so that the reader gets to see them. */
static void mend_frame(uint8_t *frame, size_t len) {
    uint32_t crc = vms_crc32c(0, frame, len - 4);
    for (int i = 0; i < 4; i++)
        frame[len - 4 + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Changes some octets of bodies and bulk, and mends the tags. */
static void damage(struct text *native, uint64_t *seed) {
    uint8_t *bytes = (uint8_t *)native->ptr;
    for (size_t at = VMS_NATIVE_LABEL; at + VMS_NATIVE_HEADER <= native->len;) {
        size_t body = be32(bytes + at + 24), bulk = be32(bytes + at + 28);
        size_t len = VMS_NATIVE_HEADER + body + bulk + 4;
        bool hello = be32(bytes + at + 12) == 0;
        for (int i = 0; i < 2 && !hello && random_next(seed) % 3 == 0; i++)
            bytes[at + VMS_NATIVE_HEADER + random_next(seed) % (body + bulk)] ^=
                (uint8_t)(1u << random_next(seed) % 8);
        mend_frame(bytes + at, len);
        at += len;
    }
}

/* [ERR-4] [MOD-8] [TRC-11] [TRC-13] Changed frames end in good order or with an error of the peer.
 */
Test(transcode, hostile, .timeout = 300) {
    uint64_t seed = random_seed(77), refused = 0, runs = 0;
    for (int id = 0; id < STREAM_RICH; id++) {
        struct vb *v;
        struct subject s;
        struct vms_qevm_decoder *main_channel = open_made((enum stream_id)id, &v, &s);
        for (int i = 0; i < 500; i++, runs++) {
            struct trip trip = trip_for(&s);
            cr_assert(trip_there(&trip, s.octets));
            damage(&trip.native, &seed);
            bool ok = trip_back(&trip);
            refused += !ok;
            cr_assert(ok || trip.error.class_ == VMS_CLASS_PEER ||
                          trip.error.class_ == VMS_CLASS_LIMIT ||
                          trip.error.code == VMS_E_TRANSCODE_PACKED,
                      "%s: %s", s.name, trip.error.message);
            cr_assert(ok || trip.error.clause[0]);
            trip_free(&trip);
        }
        free(main_channel);
        vb_free(v);
    }
    cr_assert_gt(refused, runs / 10);
}

/* Runs the pure parts alone over what is prepared: nothing is allocated. */
static uint64_t allocations_of(struct vms_to_native *t, struct vms_qevm_decoder *d,
                               struct vms_slice octets) {
    uint64_t before = counting_calls();
    struct vms_event ev;
    struct vms_native_out out;
    enum vms_step step;
    while ((step = vms_qevm_decode(d, &octets, &ev)) == VMS_STEP_RECORD || step == VMS_STEP_BULK) {
        if (step == VMS_STEP_RECORD)
            while (vms_to_native_record(t, &ev.record, &out) == VMS_TRANSCODE_FRAME)
                continue;
        else
            while (vms_to_native_bulk(t, &ev.bulk, &out) == VMS_TRANSCODE_FRAME)
                continue;
    }
    while (vms_to_native_end(t, &out) == VMS_TRANSCODE_FRAME)
        continue;
    return counting_calls() - before;
}

/* [MOD-10] [PACK-19] */
Test(transcode, no_allocation) {
    struct vb *v;
    struct subject s;
    struct zip z = zip_new(1);
    (void)open_made(STREAM_RICH, &v, &s);
    struct vms_to_native_config config = vms_to_native_config_default();
    config.packer = z.packer;
    config.level = 1;
    size_t to_size = vms_to_native_size(&config), d_size = vms_qevm_decoder_size(&s.config);
    void *to_mem = malloc(to_size), *d_mem = malloc(d_size);
    struct vms_to_native *t = vms_to_native_init(to_mem, to_size, &config);
    struct vms_qevm_decoder *d = vms_qevm_decoder_init(d_mem, d_size, &s.config);
    cr_assert_eq(allocations_of(t, d, s.octets), 0);
    free(to_mem);
    free(d_mem);
    vb_free(v);
    zip_free(&z);
}

/* [MOD-10] [TRC-17] Memory is a number that follows from the limits. */
Test(transcode, memory) {
    struct vms_to_native_config to = vms_to_native_config_default();
    struct vms_from_native_config from = vms_from_native_config_default();
    struct vms_intake_config intake = {.native = vms_native_config_default()};
    cr_expect_lt(vms_to_native_size(&to), (size_t)VMS_BATCH_BYTES + (300 << 10), "%zu",
                 vms_to_native_size(&to));
    cr_expect_lt(vms_from_native_size(&from), 400 << 10);
    cr_expect_lt(vms_intake_size(&intake), (4 << 20) + (300 << 10));
    from.limits.ram_blocks = UINT64_MAX;
    cr_expect_eq(vms_from_native_size(&from), 0);
    intake.native.limits.native_bulk_bytes = UINT64_MAX;
    cr_expect_eq(vms_intake_size(&intake), 0);
}

/* [TRC-17] A frame whose tag is wrong gives nothing, however much of it came. */
Test(transcode, nothing_unproven) {
    struct vb *v;
    struct subject s;
    (void)open_made(STREAM_RICH, &v, &s);
    for (int direct = 0; direct < 2; direct++) {
        struct trip trip = trip_for(&s), good = trip_for(&s);
        cr_assert(trip_there(&good, s.octets));
        cr_assert(trip_there(&trip, s.octets));
        trip.native.ptr[trip.native.len - 1] ^= 1;
        trip.back = (struct cut){.kind = CUT_FIXED, .n = 1000, .direct = direct};
        cr_assert(trip_back(&good));
        cr_assert_not(trip_back(&trip));
        cr_assert_eq(trip.error.code, VMS_E_SEAL_TAG);
        cr_assert_lt(trip.qevm.len, good.qevm.len);
        cr_assert(!memcmp(trip.qevm.ptr, good.qevm.ptr, trip.qevm.len));
        trip_free(&trip);
        trip_free(&good);
    }
    vb_free(v);
}

/* [TRC-16] A difference from a version that is not here is refused before it is looked at. */
Test(transcode, delta) {
    static const struct vms_native_run run = {0, 1, false};
    static const uint8_t octets[32] = {0, 0, 0, 1};
    struct zip z = zip_new(1);
    struct trip trip = {.config = vms_qevm_config_default(), .zip = z.ops};
    struct vms_sealer sealer;
    struct vms_slice bulk = vms_slice(octets, sizeof octets);
    struct vms_native_frame f = {.header = {.type = VMS_NATIVE_PAGES, .flags = VMS_PACK_DELTA},
                                 .unpacked = 4096,
                                 .pack = vms_slice(octets, 16),
                                 .u.pages = {.block = {VMS_NATIVE_NO_INDEX, vms_str("a")},
                                             .page_bits = 12,
                                             .run_count = 1,
                                             .runs = &run}};
    trip_begin_native(&trip, &sealer);
    cr_assert(trip_add_frame(&trip, &sealer, &f, &bulk, 1), "%s", trip.error.message);
    cr_assert_not(trip_back(&trip));
    cr_assert_eq(trip.error.code, VMS_E_TRANSCODE_PACKED, "%s", trip.error.message);
    trip_free(&trip);
    zip_free(&z);
}

/* ---- bounds ---- */

/* [TRC-14] A run of zero pages in a block that was not listed: none lies past what a block may be.
 */
static enum vms_code zero_run(uint64_t first, uint32_t count) {
    struct vms_native_run run = {first, count, true};
    struct trip trip = {.config = vms_qevm_config_default()};
    struct vms_sealer sealer;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PAGES,
                                 .u.pages = {.block = {VMS_NATIVE_NO_INDEX, vms_str("a")},
                                             .page_bits = 12,
                                             .run_count = 1,
                                             .runs = &run}};
    trip_begin_native(&trip, &sealer);
    cr_assert(trip_add_frame(&trip, &sealer, &f, NULL, 0), "%s", trip.error.message);
    enum vms_code code = trip_back(&trip) ? VMS_OK : trip.error.code;
    trip_free(&trip);
    return code;
}

Test(transcode, runs_end_in_their_block) {
    uint64_t most = vms_limits_default().ram_bytes >> 12;
    cr_expect_neq(zero_run(most - 2, 2), VMS_E_TRANSCODE_PAGES);
    cr_expect_eq(zero_run(most - 2, 3), VMS_E_TRANSCODE_PAGES);
    cr_expect_eq(zero_run(most - 1, 2), VMS_E_TRANSCODE_PAGES);
    cr_expect_eq(zero_run(most, 1), VMS_E_TRANSCODE_PAGES);
    cr_expect_eq(zero_run(most + 1, 1), VMS_E_TRANSCODE_PAGES);
}

/* [MOD-10] [TRC-17] Memory of a batch is there again for the next: many times what a batch holds.
 */
Test(transcode, long_return_path) {
    enum {
        MESSAGES = 4096,
        NAME = 200
    };
    static const uint8_t head[] = {0, 3, 0, 12 + 1 + NAME};
    static const uint8_t shut[] = {0, 1, 0, 4, 0, 0, 0, 0};
    struct text octets = {0};
    struct subject s = {"page requests", capture_config(VMS_QEVM_RETURN_PATH), NULL, {0}};
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint8_t body[12 + 1 + NAME] = {
            [5] = (uint8_t)(i >> 4), [6] = (uint8_t)(i << 4), [10] = 0x10, [12] = NAME};
        memset(body + 13, 'a' + (int)(i % 26), NAME);
        text_add(&octets, head, sizeof head);
        text_add(&octets, body, sizeof body);
    }
    text_add(&octets, shut, sizeof shut);
    s.octets = vms_slice(octets.ptr, octets.len);
    cr_assert_gt(octets.len, 8 * (size_t)vms_limits_default().native_body_bytes);
    check_all_ways(&s);
    text_free(&octets);
}

/* [TRC-1] [TRC-3] Pages that all name their block, though it is the last one's: names stay where
 * they were, wherever a batch ends. */
Test(transcode, pages_that_name_their_block_again) {
    struct vb *v = vb_new("main", "TRC-3", "named pages");
    vb_ram(v);
    vb_part(v, VB_RAM_ID);
    for (uint64_t i = 0; i < 24; i++)
        if (i % 5 == 4)
            vb_zero(v, "pc.ram", i % 8 * VB_PAGE);
        else
            vb_normal(v, i % 7 == 6 ? NULL : "pc.ram", i % 8 * VB_PAGE);
    vb_close(v);
    vb_finish(v);
    struct subject s = {v->comment, stream_config(v), NULL, stream_octets(v)};
    check_all_ways(&s);
    vb_free(v);
}
