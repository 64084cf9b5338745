/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair.h"
#include "host/native_link.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <vmstream/pack.h>

enum {
    SIZE = 48 << 20,
};

static void expect_good(const struct pair *p) {
    cr_expect_eq(p->source_code, VMS_OK, "source: %s", p->source_error.message);
    cr_expect_eq(p->destination_code, VMS_OK, "destination: %s", p->destination_error.message);
    cr_expect_eq(p->result.state, DST_N_COMPLETED, "%s", dst_native_state_name(p->result.state));
    cr_expect_eq(pair_different(p), 0);
    cr_expect_eq(p->dest.running, 1);
    cr_expect_eq(p->dest.announced, 1);
    cr_expect_eq(p->dest.locked, 1);
    cr_expect_eq(p->dest.state_len, p->source.state_len);
    cr_expect_eq(memcmp(p->dest.state, p->source.state, p->source.state_len), 0);
    cr_expect_eq(p->wrong, 0);
}

/* [MIG-3] [MIG-4] [MIG-6] [MIG-10] [MIG-11] [HND-8] every suite, channel count and transport */
Test(native_pair, suites_and_channels, .timeout = 300) {
    static const unsigned channels[] = {1, 4, 16};
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_CHACHA20_POLY1305; suite++)
        for (int i = 0; i < 3; i++) {
            struct pair p;
            pair_init(&p, SIZE);
            pair_seal(&p, (enum vms_suite)suite);
            p.transport = i % 2 ? "tcp" : "unix";
            p.options.channels = channels[i];
            pair_run(&p);
            expect_good(&p);
            cr_expect_eq(p.result.verdict, 1);
            pair_free(&p);
        }
}

/* [MIG-12] [PACK-12] [PACK-16] pages packed, differences against what the destination has */
Test(native_pair, packing, .timeout = 300) {
    static const int levels[] = {1, 3, VMS_LEVEL_NONE};
    for (int i = 0; i < 3; i++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_seal(&p, VMS_SUITE_AES_256_GCM);
        p.options.pack = true;
        p.options.pack_level = levels[i];
        p.passes = 6;
        pair_run(&p);
        expect_good(&p);
        cr_expect_gt(p.result.deltas, 0);
        cr_expect_lt(p.bytes_sent, (SIZE + (4 << 20)) * UINT64_C(3) / 4);
        pair_free(&p);
    }
}

/* [MIG-2] without what either end does not want; the hello has what the option said */
Test(native_pair, features, .timeout = 300) {
    for (int i = 0; i < 4; i++) {
        struct pair p;
        pair_init(&p, SIZE);
        p.options.no_digest = i == 0;
        p.destination.no_digest = i == 1;
        if (i == 2)
            p.options.reconnect_ms = 0;
        if (i == 3)
            p.destination.resume_ms = 0;
        p.destination.keepalive_ms = 5000 + i; /* [SES-25] */
        pair_run(&p);
        expect_good(&p);
        cr_expect_eq(p.result.verdict, i > 1);
        cr_expect_eq(p.silence_ms, 5000u + (unsigned)i);
        pair_free(&p);
    }
}

/* [PACK-12] [MIG-15] differences against pages that were read straight into memory */
Test(native_pair, differences_of_what_does_not_pack, .timeout = 300) {
    for (int i = 0; i < 2; i++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_fill_at_random(&p);
        p.options.pack = true;
        p.options.pack_level = i ? 1 : VMS_LEVEL_NONE;
        p.passes = 6;
        pair_run(&p);
        expect_good(&p);
        cr_expect_gt(p.result.deltas, 0);
        pair_free(&p);
    }
}

/* [RSM-7] [RSM-13] [MIG-13] [MIG-15] the connections are cut while pages travel */
Test(native_pair, cuts, .timeout = 300) {
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_AES_256_GCM; suite++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_seal(&p, (enum vms_suite)suite);
        p.options.pack = suite == VMS_SUITE_AES_256_GCM;
        p.options.pack_level = 1;
        p.options.replay_bytes = 8 << 20;
        p.cuts = 4;
        p.passes = 60;
        pair_run(&p);
        expect_good(&p);
        cr_expect_gt(p.cuts_made, 1);
        cr_expect_geq(p.result.resumes, 1);
        pair_free(&p);
    }
}

/* [HND-4] [HND-12] cut around COMMIT: the hand-over is settled all the same */
Test(native_pair, cut_at_commit, .timeout = 300) {
    struct pair p;
    pair_init(&p, SIZE);
    p.cut_at_commit = true;
    pair_run(&p);
    expect_good(&p);
    pair_free(&p);
}

static void spoil(void *ctx, size_t block, uint64_t first, uint64_t count, uint8_t *memory) {
    (void)ctx;
    if (block == 0 && first <= 777 && 777 < first + count)
        memory[(777 - first) * 4096 + 5] ^= 4;
    if (block == 1 && first <= 7 && 7 < first + count)
        memory[(7 - first) * 4096] ^= 1;
}

/* [HND-8] [PACK-24] memory that changes after it was deciphered is not run on */
Test(native_pair, spoilt_memory, .timeout = 300) {
    struct pair p;
    pair_init(&p, SIZE);
    pair_seal(&p, VMS_SUITE_AES_256_GCM);
    p.destination.applied = spoil;
    pair_run(&p);
    cr_expect_eq(p.source_code, VMS_E_HANDOVER_DIGEST, "%s", p.source_error.message);
    cr_expect(strstr(p.source_error.message, "2 pages differ"), "%s", p.source_error.message);
    cr_expect_eq(p.result.pages_different, 2);
    cr_expect_eq(p.result.state, DST_N_FAILED);
    cr_expect_neq(p.destination_code, VMS_OK);
    cr_expect_eq(p.dest.running, 0);
    pair_free(&p);
}

/* [HND-15] [MIG-30] without the storage locks the guest is refused, and the source told */
Test(native_pair, no_locks, .timeout = 300) {
    struct pair p;
    pair_init(&p, SIZE);
    p.dest.fail_locks = true;
    pair_run(&p);
    cr_expect_neq(p.source_code, VMS_OK);
    cr_expect(p.seen[SRC_EV_NOT_STARTED]);
    cr_expect_eq(p.result.state, DST_N_FAILED);
    cr_expect_eq(p.dest.running, 0);
    pair_free(&p);
}

/* [HND-17] [MIG-30] a guest that cannot be released behind STARTED goes back, also in postcopy */
Test(native_pair, cannot_run, .timeout = 300) {
    for (int postcopy = 0; postcopy < 2; postcopy++) {
        struct pair p;
        pair_init(&p, SIZE);
        p.dest.fail_run = true;
        p.postcopy = p.options.postcopy = postcopy;
        pair_run(&p);
        cr_expect_neq(p.source_code, VMS_OK);
        cr_expect(p.seen[SRC_EV_NOT_STARTED]);
        cr_expect_not(p.seen[SRC_EV_RUNNING]);
        cr_expect_eq(p.destination_code, VMS_E_VFIO_DEVICE, "%s", p.destination_error.message);
        cr_expect_eq(p.result.state, DST_N_FAILED);
        cr_expect(p.result.refused);
        cr_expect_eq(p.dest.locked, 0);
        cr_expect_eq(p.dest.announced, 0);
        pair_free(&p);
    }
}

static void expect_postcopy(const struct pair *p) {
    expect_good(p);
    cr_expect(p->result.postcopy);
    cr_expect_gt(p->result.requests, 0);
}

/* [MIG-20] [MIG-21] [MIG-22] [MIG-23] [MIG-24] [MIG-26] pages behind the guest */
Test(native_pair, postcopy, .timeout = 300) {
    for (int i = 0; i < 4; i++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_seal(&p, i % 2 ? VMS_SUITE_AES_256_GCM : VMS_SUITE_NONE);
        p.postcopy = p.options.postcopy = true;
        p.options.preempt = i < 2;
        p.options.pack = i == 1 || i == 2;
        p.options.pack_level = 1;
        p.passes = i == 3 ? 0 : 1;
        pair_run(&p);
        expect_postcopy(&p);
        pair_free(&p);
    }
}

/* [MIG-25] cut while the guest waits for pages, several times */
Test(native_pair, postcopy_cuts, .timeout = 300) {
    for (int i = 0; i < 2; i++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_seal(&p, VMS_SUITE_AES_256_GCM);
        p.postcopy = p.options.postcopy = true;
        p.options.preempt = i == 0;
        p.passes = 0;
        p.cuts = 3;
        pair_run(&p);
        expect_postcopy(&p);
        cr_expect_gt(p.cuts_made, 0);
        pair_free(&p);
    }
}

/* [SES-3] [HND-14] [MIG-32] no resumption in force, cut at COMMIT: an inquiry settles it */
Test(native_pair, inquiry, .timeout = 300) {
    for (int suite = VMS_SUITE_NONE; suite <= VMS_SUITE_AES_256_GMAC; suite++) {
        struct pair p;
        pair_init(&p, SIZE);
        pair_seal(&p, (enum vms_suite)suite);
        p.options.reconnect_ms = 0;
        p.cut_at_commit = p.asks = true;
        pair_run(&p);
        expect_good(&p);
        pair_free(&p);
    }
}

/* ---- what a source must not do ---- */

static void send(struct vms_native_link *l, uint16_t channel, struct vms_native_frame f,
                 struct vms_slice bulk) {
    struct vms_native_out out = {.frame = f, .bulk = &bulk, .bulk_count = bulk.len ? 1 : 0};
    struct vms_error ignored;
    (void)vms_native_link_send(l, channel, &out, &ignored);
}

static struct vms_native_frame pages(uint32_t type, uint32_t block, uint8_t bits, uint64_t first,
                                     uint32_t count) {
    static struct vms_native_run run;
    run = (struct vms_native_run){first, count, type == VMS_NATIVE_PAGES};
    struct vms_native_frame f = {.header.type = type};
    f.u.pages = (struct vms_native_pages){
        .block = {.index = block}, .page_bits = bits, .run_count = 1, .runs = &run};
    return f;
}

static struct vms_native_frame device(uint32_t id, uint32_t kind, uint64_t offset, bool last) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_DEVICE};
    f.u.device = (struct vms_native_device_state){id, kind, offset, last};
    return f;
}

static const struct vms_slice NOTHING = {NULL, 0};

#define BAD(name, channel, frame, bulk)                                                            \
    static void name(struct pair *p, struct vms_native_link *l) {                                  \
        (void)p;                                                                                   \
        send(l, channel, frame, bulk);                                                             \
    }
BAD(no_such_block, 1, pages(VMS_NATIVE_PAGES, 2, 12, 0, 1), NOTHING)
BAD(past_the_end, 1, pages(VMS_NATIVE_PAGES, 1, 12, 1024, 1), NOTHING)
BAD(other_page_size, 1, pages(VMS_NATIVE_PAGES, 0, 13, 0, 1), NOTHING)
BAD(wrong_channel, 2, pages(VMS_NATIVE_PAGES, 0, 12, 0, 1), NOTHING)
BAD(two_groups, 1, pages(VMS_NATIVE_PAGES, 0, 12, 511, 2), NOTHING)
BAD(pages_on_main, 0, pages(VMS_NATIVE_PAGES, 0, 12, 0, 1), NOTHING)
BAD(request_forward, 0, pages(VMS_NATIVE_PAGE_REQUEST, 0, 12, 0, 1), NOTHING)
BAD(discard_unagreed, 1, pages(VMS_NATIVE_DISCARD, 0, 12, 0, 1), NOTHING)
BAD(device_on_data, 1, device(0, 1, 0, true), NOTHING)
BAD(second_setup, 0, device(0, 0, 0, true), vms_slice("\0\0\0\1\0\0\0\0", 8))
BAD(unknown_device, 0, device(7, 1, 0, true), NOTHING)
BAD(unknown_kind, 0, device(0, 2, 0, true), NOTHING)
BAD(state_at_9, 0, device(0, 1, 9, true), NOTHING)

/* [MIG-3] [MIG-4] [MIG-6] [MIG-7] [MIG-10] [MIG-11] refused, named at both ends, and nothing runs
 */
Test(native_pair, refusals, .timeout = 300) {
    static const struct {
        void (*misbehave)(struct pair *p, struct vms_native_link *link);
        enum vms_code code;
    } cases[] = {
        {no_such_block, VMS_E_RAM_BLOCK_UNKNOWN},
        {past_the_end, VMS_E_RAM_OFFSET},
        {other_page_size, VMS_E_MIG_PAGES},
        {wrong_channel, VMS_E_MIG_PAGES},
        {two_groups, VMS_E_MIG_PAGES},
        {pages_on_main, VMS_E_MIG_FRAME},
        {request_forward, VMS_E_MIG_FRAME},
        {discard_unagreed, VMS_E_MIG_FRAME},
        {device_on_data, VMS_E_MIG_DEVICE},
        {second_setup, VMS_E_MIG_SETUP},
        {unknown_device, VMS_E_MIG_DEVICE},
        {unknown_kind, VMS_E_MIG_DEVICE},
        {state_at_9, VMS_E_MIG_DEVICE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p;
        pair_init(&p, 8 << 20);
        p.options.no_digest = true;
        p.misbehave = cases[i].misbehave;
        pair_run(&p);
        cr_expect_eq(p.destination_code, cases[i].code, "%zu: %s", i, p.destination_error.message);
        cr_expect(strstr(p.source_error.message, vms_code_name(cases[i].code)), "%zu: %s", i,
                  p.source_error.message);
        cr_expect_eq(p.result.state, DST_N_FAILED);
        cr_expect_eq(p.dest.running, 0);
        pair_free(&p);
    }
}

/* [MIG-5] [NAT-49] a device that has no place is refused before anything is sent */
Test(native_pair, unknown_device_in_hello, .timeout = 300) {
    static const struct src_wire_device devices[] = {{1, 1, "0000:00:04.0/vfio", 0}};
    struct pair p;
    pair_init(&p, 8 << 20);
    p.options.devices = devices;
    p.options.device_count = 1;
    p.destination.open_ms = 1000;
    pair_run(&p);
    cr_expect_eq(p.source_code, VMS_E_SESSION_ABORTED, "%s", p.source_error.message);
    cr_expect(strstr(p.source_error.message, "no device 0000:00:04.0/vfio"), "%s",
              p.source_error.message);
    cr_expect_neq(p.destination_code, VMS_OK);
    pair_free(&p);
}
