/* SPDX-License-Identifier: MIT */
#include "transcode/transcode_test_util.h"

/* What a peer may send to the reader, and the name of each refusal. Tags are right in all of it. */

struct reader {
    struct vms_from_native *t;
    enum vms_step step; /* the last one: NEED, END or ERROR */
    enum vms_code code;
    uint8_t out[1 << 16];
    size_t len;
    uint64_t records, zeros;
};

static struct reader *reader_new(enum vms_qevm_kind kind) {
    struct vms_from_native_config config = vms_from_native_config_default();
    config.kind = kind;
    config.limits.native_frame_pages = 64;
    config.limits.ram_blocks = 2;
    size_t size = vms_from_native_size(&config);
    struct reader *r = calloc(1, sizeof *r);
    r->t = vms_from_native_init(malloc(size), size, &config);
    cr_assert_not_null(r->t);
    return r;
}

static void reader_free(struct reader *r) {
    free(r->t);
    free(r);
}

static void add(struct reader *r, struct vms_slice s) {
    if (s.len && s.len <= sizeof r->out - r->len) {
        memcpy(r->out + r->len, s.ptr, s.len);
        r->len += s.len;
    }
}

static enum vms_code give(struct reader *r, const struct vms_native_frame *frame, size_t bulk) {
    static const uint8_t zeros[1 << 16];
    struct vms_from_native_event ev;
    cr_assert_eq(vms_from_native_frame(r->t, frame, vms_slice(zeros, bulk)), VMS_OK);
    while ((r->step = vms_from_native_next(r->t, &ev)) == VMS_STEP_RECORD ||
           r->step == VMS_STEP_BULK) {
        r->records += r->step == VMS_STEP_RECORD;
        r->zeros += ev.zeros;
        add(r, ev.head);
        add(r, ev.bulk);
    }
    r->code = r->step == VMS_STEP_ERROR ? ev.error->code : VMS_OK;
    return r->code;
}

static struct vms_native_frame records(const struct vms_record *list, uint32_t count) {
    return (struct vms_native_frame){.header.type = VMS_NATIVE_RECORDS, .u.records = {count, list}};
}

static struct vms_native_frame pages(struct vms_native_block block,
                                     const struct vms_native_run *run, uint8_t bits) {
    return (struct vms_native_frame){
        .header.type = VMS_NATIVE_PAGES,
        .u.pages = {.block = block, .page_bits = bits, .run_count = 1, .runs = run}};
}

static struct vms_native_frame more(uint64_t zeros, bool last) {
    return (struct vms_native_frame){.header.type = VMS_NATIVE_BULK, .u.bulk = {zeros, last}};
}

static struct vms_native_frame opaque(uint64_t offset, bool last) {
    return (struct vms_native_frame){.header.type = VMS_NATIVE_OPAQUE, .u.opaque = {offset, last}};
}

static enum vms_code one_record(struct reader *r, struct vms_record record, size_t bulk) {
    struct vms_native_frame f = records(&record, 1);
    return give(r, &f, bulk);
}

static struct vms_record block_record(const char *name, uint64_t pages_of) {
    return (struct vms_record){.type = VMS_R_RAM_BLOCK,
                               .u.block = {.name = vms_str(name), .used_length = pages_of * PAGE}};
}

static const struct vms_native_block BY_NAME = {VMS_NATIVE_NO_INDEX, {(const uint8_t *)"a", 1}};

/* [NAT-53] */
Test(from_native, blocks) {
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_native_run run = {0, 1, true};
    struct vms_native_frame f = pages((struct vms_native_block){.index = 0}, &run, 12);
    cr_assert_eq(one_record(r, block_record("a", 4), 0), VMS_OK);
    cr_assert_eq(give(r, &f, 0), VMS_OK);
    cr_assert_eq(r->records, 2);
    f.u.pages.block.index = 1;
    cr_assert_eq(give(r, &f, 0), VMS_E_RAM_BLOCK_UNKNOWN);
    cr_assert_eq(give(r, &f, 0), VMS_E_RAM_BLOCK_UNKNOWN, "an error stays");
    reader_free(r);
    r = reader_new(VMS_QEVM_MAIN);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(one_record(r, block_record("a", 4), 0), i < 2 ? VMS_OK : VMS_E_LIMIT);
    reader_free(r);
    r = reader_new(VMS_QEVM_PREEMPT);
    cr_assert_eq(give(r, &f, 0), VMS_E_RAM_BLOCK_UNKNOWN);
    reader_free(r);
}

/* [NAT-53] Another channel uses the main one's list. */
Test(from_native, adopted_blocks) {
    struct reader *m = reader_new(VMS_QEVM_MAIN), *p = reader_new(VMS_QEVM_PREEMPT);
    struct vms_native_run run = {3, 1, true};
    struct vms_native_frame f = pages((struct vms_native_block){.index = 0}, &run, 12);
    cr_assert_eq(one_record(m, block_record("a", 4), 0), VMS_OK);
    vms_from_native_adopt(p->t, m->t);
    cr_assert_eq(give(p, &f, 0), VMS_OK);
    run.first = 4;
    cr_assert_eq(give(p, &f, 0), VMS_E_TRANSCODE_PAGES);
    reader_free(m);
    reader_free(p);
}

/* [TRC-6] at the limit and one past it: before a record is made */
Test(from_native, frame_pages) {
    for (uint32_t n = 64; n <= 65; n++) {
        struct reader *r = reader_new(VMS_QEVM_MAIN);
        struct vms_native_run run = {0, n, true};
        struct vms_native_frame f = pages(BY_NAME, &run, 12);
        cr_assert_eq(give(r, &f, 0), n == 64 ? VMS_OK : VMS_E_LIMIT);
        cr_assert_eq(r->records, n == 64 ? 64 : 0);
        reader_free(r);
    }
}

/* [TRC-10] */
Test(from_native, frames) {
    static const uint32_t others[] = {VMS_NATIVE_HELLO, VMS_NATIVE_END, VMS_NATIVE_DEVICE,
                                      VMS_NATIVE_DIGEST, 0x7000};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct reader *r = reader_new(VMS_QEVM_MAIN);
        struct vms_native_frame f = {.header.type = others[i]};
        cr_assert_eq(give(r, &f, 0), VMS_E_TRANSCODE_FRAME);
        cr_assert(!vms_from_native_takes(others[i]));
        reader_free(r);
    }
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_native_frame f = opaque(0, false), g = opaque(5, true), h = opaque(5, false);
    cr_assert_eq(give(r, &f, 5), VMS_OK);
    cr_assert_eq(give(r, &g, 0), VMS_OK);
    cr_assert_eq(r->records, 1);
    cr_assert_eq(r->len, 5);
    cr_assert_eq(give(r, &h, 1), VMS_E_TRANSCODE_FRAME);
    reader_free(r);
    r = reader_new(VMS_QEVM_MAIN);
    cr_assert_eq(give(r, &f, 5), VMS_OK);
    cr_assert_eq(one_record(r, eos(), 0), VMS_E_TRANSCODE_FRAME);
    reader_free(r);
}

/* [TRC-11] */
Test(from_native, records_of_channels) {
    static const enum vms_record_type first[] = {
        [VMS_QEVM_MAIN] = VMS_R_HEADER,           [VMS_QEVM_RECOVERY] = VMS_R_COMMAND,
        [VMS_QEVM_MULTIFD] = VMS_R_MULTIFD_HELLO, [VMS_QEVM_PREEMPT] = VMS_R_RAM_ZERO,
        [VMS_QEVM_RETURN_PATH] = VMS_R_RP_PONG,
    };
    for (int kind = VMS_QEVM_MAIN; kind <= VMS_QEVM_RETURN_PATH; kind++)
        for (int other = VMS_QEVM_MAIN; other <= VMS_QEVM_RETURN_PATH; other++) {
            struct reader *r = reader_new((enum vms_qevm_kind)kind);
            struct vms_record record = {.type = first[other]};
            if (record.type == VMS_R_RAM_ZERO)
                record = page(VMS_R_RAM_ZERO, "a", 0);
            bool mains = kind <= VMS_QEVM_RECOVERY &&
                         (other <= VMS_QEVM_RECOVERY || other == VMS_QEVM_PREEMPT);
            cr_assert_eq(one_record(r, record, 0),
                         kind == other || mains ? VMS_OK : VMS_E_TRANSCODE_RECORD, "%d %d", kind,
                         other);
            reader_free(r);
        }
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_record odd = page(VMS_R_RAM_PAGE, "a", 0);
    odd.bulk_len = 100;
    cr_assert_eq(one_record(r, odd, 100), VMS_E_TRANSCODE_RECORD);
    reader_free(r);
}

/* [NAT-61] [NAT-62] */
Test(from_native, bulk) {
    struct vms_record vfio = {.type = VMS_R_VFIO_DATA_STATE, .bulk_len = 100};
    static const struct {
        size_t begin;
        uint64_t zeros;
        size_t len;
        bool last;
        enum vms_code want;
    } cases[] = {
        {40, 0, 60, false, VMS_OK},
        {40, 60, 0, false, VMS_OK},
        {40, 10, 50, false, VMS_OK},
        {0, 100, 0, false, VMS_OK},
        {40, 0, 61, false, VMS_E_NATIVE_RECORD},
        {40, 61, 0, false, VMS_E_NATIVE_RECORD},
        {40, UINT64_MAX, 1, false, VMS_E_NATIVE_RECORD},
        {40, 30, 31, false, VMS_E_NATIVE_RECORD},
        {40, 0, 60, true, VMS_E_NATIVE_RECORD},
        {100, 0, 1, false, VMS_E_NATIVE_RECORD},
        {100, 0, 0, false, VMS_E_NATIVE_RECORD},
        {101, 0, 0, false, VMS_E_NATIVE_RECORD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reader *r = reader_new(VMS_QEVM_MAIN);
        struct vms_native_frame f = more(cases[i].zeros, cases[i].last);
        enum vms_code code = one_record(r, vfio, cases[i].begin);
        if (code == VMS_OK)
            code = give(r, &f, cases[i].len);
        cr_assert_eq(code, cases[i].want, "%zu: %s", i, vms_code_name(code));
        reader_free(r);
    }
}

/* [TRC-13] [MOD-3] */
Test(from_native, bulk_left_open) {
    struct vms_record vfio = {.type = VMS_R_VFIO_DATA_STATE, .bulk_len = 100};
    struct vms_from_native_event ev;
    struct vms_native_run run = {0, 1, true};
    struct vms_native_frame zero = pages(BY_NAME, &run, 12), tail = opaque(0, false);
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    cr_assert_eq(one_record(r, vfio, 40), VMS_OK);
    cr_assert_eq(vms_from_native_finish(r->t, &ev), VMS_STEP_ERROR);
    cr_assert_eq(ev.error->code, VMS_E_TRUNCATED);
    reader_free(r);
    const struct vms_native_frame *const wrong[] = {&zero, &tail};
    for (size_t i = 0; i < 2; i++) {
        r = reader_new(VMS_QEVM_MAIN);
        cr_assert_eq(one_record(r, vfio, 40), VMS_OK);
        cr_assert_eq(give(r, wrong[i], 0), VMS_E_NATIVE_RECORD);
        reader_free(r);
    }
    /* the decoder would refuse it (NAT-61), a caller's own frame need not be right */
    struct vms_record two[] = {vfio, vfio};
    struct vms_native_frame f = records(two, 2);
    r = reader_new(VMS_QEVM_MAIN);
    cr_assert_eq(give(r, &f, 40), VMS_E_NATIVE_RECORD);
    cr_assert_eq(vms_from_native_finish(r->t, &ev), VMS_STEP_ERROR);
    reader_free(r);
}

/* [TRC-14] */
Test(from_native, pages_of_blocks) {
    static const struct {
        uint64_t first;
        uint32_t count;
        uint8_t bits;
        bool known;
        enum vms_code want;
    } cases[] = {
        {3, 1, 12, true, VMS_OK},
        {4, 1, 12, true, VMS_E_TRANSCODE_PAGES},
        {3, 2, 12, true, VMS_E_TRANSCODE_PAGES},
        {UINT64_MAX, 2, 12, true, VMS_E_TRANSCODE_PAGES},
        {0, 1, 13, true, VMS_E_TRANSCODE_PAGES},
        {4, 1, 12, false, VMS_OK},
        {UINT64_C(0x100000000), 1, 12, false, VMS_E_TRANSCODE_PAGES},
        {UINT64_C(0xffffffff), 1, 12, false, VMS_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reader *r = reader_new(VMS_QEVM_MAIN);
        struct vms_native_run run = {cases[i].first, cases[i].count, true};
        struct vms_native_block block = BY_NAME;
        if (cases[i].known)
            block = (struct vms_native_block){.index = 0};
        struct vms_native_frame f = pages(block, &run, cases[i].bits);
        cr_assert_eq(one_record(r, block_record("a", 4), 0), VMS_OK);
        cr_assert_eq(give(r, &f, 0), cases[i].want, "%zu", i);
        reader_free(r);
    }
}

/* [TRC-15] */
Test(from_native, opaque_offset) {
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_native_frame f = opaque(8, false), wrong = opaque(9, true);
    cr_assert_eq(one_record(r, eos(), 0), VMS_OK);
    cr_assert_eq(give(r, &f, 2), VMS_OK);
    cr_assert_eq(vms_from_native_offset(r->t), 10);
    cr_assert_eq(give(r, &wrong, 0), VMS_E_TRANSCODE_OFFSET);
    reader_free(r);
}

/* [NAT-66] */
Test(from_native, opaque_that_says_nothing) {
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_native_frame nothing = opaque(0, false), later = opaque(8, false);
    cr_assert_eq(give(r, &nothing, 0), VMS_OK);
    cr_assert_eq(one_record(r, eos(), 0), VMS_OK);
    cr_assert_eq(give(r, &later, 0), VMS_OK);
    cr_assert_eq(one_record(r, eos(), 0), VMS_OK);
    cr_assert_eq(r->len, 16);
    cr_assert_eq(give(r, &nothing, 0), VMS_E_TRANSCODE_OFFSET);
    reader_free(r);
}

/* Two frames in hand are one too many; a reader with no memory is none. */
Test(from_native, misuse) {
    struct reader *r = reader_new(VMS_QEVM_MAIN);
    struct vms_record record = eos();
    struct vms_native_frame f = records(&record, 1);
    struct vms_from_native_event ev;
    cr_assert_eq(vms_from_native_next(r->t, &ev), VMS_STEP_NEED);
    cr_assert_eq(vms_from_native_frame(r->t, &f, vms_slice(NULL, 0)), VMS_OK);
    cr_assert_eq(vms_from_native_frame(r->t, &f, vms_slice(NULL, 0)), VMS_E_MISUSE);
    cr_assert_eq(vms_from_native_finish(r->t, &ev), VMS_STEP_ERROR);
    cr_assert_eq(ev.error->code, VMS_E_MISUSE);
    struct vms_from_native_config config = vms_from_native_config_default();
    cr_assert_null(vms_from_native_init(r->t, 10, &config));
    reader_free(r);
}
