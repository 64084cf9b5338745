/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

/*
 * Device sections. Descriptions come from a stand-in for vms_vmdesc_ops: a text "{d4}" describes
 * one section "d" of 4 octets, "{d4e0}" two, and so on; anything else is no description.
 */
struct fake {
    const char *text;
    size_t len, at;
    unsigned loads;
};

static bool fake_load(void *ctx, struct vms_slice json) {
    struct fake *f = ctx;
    f->loads++;
    if (json.len < 2 || json.len % 2 || json.ptr[0] != '{' || json.ptr[json.len - 1] != '}')
        return false;
    f->text = (const char *)json.ptr + 1;
    f->len = json.len - 2;
    f->at = 0;
    return true;
}

static bool fake_next(void *ctx, struct vms_slice idstr, uint32_t instance, uint64_t *length) {
    struct fake *f = ctx;
    if (f->at >= f->len || idstr.len != 1 || instance != 0 || (char)idstr.ptr[0] != f->text[f->at])
        return false;
    *length = (uint64_t)(f->text[f->at + 1] - '0');
    f->at += 2;
    return true;
}

static void fake_rewind(void *ctx) {
    ((struct fake *)ctx)->at = 0;
}

static struct fake fake;

static struct vms_qevm_config reading(const char *dialect) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, dialect);
    fake = (struct fake){0};
    c.vmdesc = (struct vms_vmdesc_ops){fake_load, fake_next, fake_rewind, &fake};
    return c;
}

#define FULL(id, name_hex) "04 000000" id " 01 " name_hex " 00000000 00000001 "
#define D5                 FULL("05", "64")
#define FOOT5              "7e 00000005 "
#define E6                 FULL("06", "65")
#define FOOT6              "7e 00000006 "
#define DESC_D4            "06 00000004 7b64347d "
enum {
    FULL_LEN = 15,
};

static const struct vms_record *full(struct tape *t, bool guessed, uint64_t bulk_len) {
    const struct vms_record *r = tape_record(t, VMS_R_SECTION_FULL);
    cr_expect_eq(r->guessed, guessed, "section at %llu", (unsigned long long)r->offset);
    cr_expect_eq(r->bulk_len, bulk_len);
    return r;
}

/* [TAIL-1] */
Test(tail, exact) {
    struct vms_qevm_config c = reading("");
    struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 E6 FOOT6 "00 06 00000006 7b643465307d");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    const struct vms_record *r = full(&t, false, 4);
    cr_expect(slice_is(r->u.section.idstr, "d") && r->u.section.id == 5);
    tape_bulk(&t, "abcd", 4);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)full(&t, false, 0);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_EOF);
    (void)tape_record(&t, VMS_R_VMDESCRIPTION);
    tape_bulk(&t, "{d4e0}", 6);
    tape_end(&t);
    cr_expect_eq(fake.loads, 1);
}

/* [TAIL-1] [TAIL-9] A forged footer, section, command and end in device data cut nothing. */
Test(tail, forged_footer) {
    struct vms_qevm_config c = reading("");
    struct tape t = tape_open(&c, T_RAM D5 FOOT5 "00 ff " FOOT5 "00 06 00000004 7b64377d ");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    (void)full(&t, false, 7);
    tape_bulk(&t, "\x7e\0\0\0\x05\0\xff", 7);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_EOF);
    (void)tape_seek(&t, VMS_R_VMDESCRIPTION);
    tape_close(&t);
}

/* [TAIL-2] Forged descriptions that do not fit are passed over, up to the limit. */
Test(tail, forged_description) {
#define FORGED "7e 00000005 00 06 00000002 7b7d "
    for (unsigned limit = 0; limit <= 1; limit++) {
        struct vms_qevm_config c = reading("");
        c.limits.vmdesc_candidates = limit;
        /* one forged end of 13 octets in "x", in front of the true one; "x" = 0x30 + 13 */
        struct tape t = tape_open(&c, T_RAM D5 FORGED FOOT5 "00 06 00000004 7b643d7d");
        (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
        bool exact = limit >= 1;
        const struct vms_record *r = tape_record(&t, VMS_R_SECTION_FULL);
        cr_expect_eq(r->guessed, !exact, "limit %u", limit);
        cr_expect_eq(r->bulk_len, exact ? 13 : 0, "limit %u", limit);
        cr_expect_eq(fake.loads, limit, "only the one at the end is looked at");
        tape_close(&t);
    }
}

/* [TAIL-4] */
Test(tail, guessed) {
    struct tape t = tape_main(T_RAM D5 "61" FOOT5 E6 FOOT6 "00");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    (void)full(&t, true, 1);
    tape_bulk(&t, "a", 1);
    cr_expect(tape_record(&t, VMS_R_SECTION_FOOTER)->guessed);
    (void)full(&t, true, 0);
    cr_expect(tape_record(&t, VMS_R_SECTION_FOOTER)->guessed);
    cr_expect(tape_record(&t, VMS_R_EOF)->guessed);
    tape_end(&t);
}

/* [TAIL-4] What may stand behind a footer: FULL, a command, EOF at the end or before VMDESC, the
 * end. */
Test(tail, plausible) {
    static const struct {
        const char *behind;
        bool plausible;
    } cases[] = {{"04 00000006 01 65 00000000 00000001 ", true},
                 {"04 00000006 00 00000000 00000001 ", false},
                 {"04 00000006 01 0a 00000000 00000001 ", false},
                 {"08 000b 0000 ", true},
                 {"08 000c 0000 ", false},
                 {"08 0100 0000 ", false},
                 {"00 06 ", true},
                 {"00 07 ", false},
                 {"01 00000006 ", false},
                 {"02 00000002 ", false},
                 {"7e 00000005 ", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[400];
        snprintf(hex, sizeof hex, T_RAM D5 "6161" FOOT5 "%s" FOOT5 "00", cases[i].behind);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
        uint64_t len = tape_record(&t, VMS_R_SECTION_FULL)->bulk_len;
        cr_expect_eq(len == 2, cases[i].plausible, "%s", cases[i].behind);
        tape_close(&t);
    }
}

/* [TAIL-4] */
Test(tail, uncut) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "footers=off");
    struct tape t = tape_open(&c, T_HEAD D5 "61 00");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    tape_error(&t, VMS_E_TAIL_UNCUT, 17);
    t = tape_main(T_RAM D5 "6161 7e 00000006");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_TRUNCATED, T_RAM_LEN + FULL_LEN + 7);
}

/* [TAIL-1] Without footers the description cuts as well. */
Test(tail, exact_without_footers) {
    struct vms_qevm_config c = reading("footers=off");
    struct tape t = tape_open(&c, T_HEAD D5 "61626364" E6 "00 06 00000006 7b643465307d");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    (void)full(&t, false, 4);
    tape_bulk(&t, "abcd", 4);
    (void)full(&t, false, 0);
    (void)tape_record(&t, VMS_R_EOF);
    tape_close(&t);
}

#define PACKAGE "08 0001 0000 08 0003 0000 08 0007 0004 "
#define LISTEN  "08 0004 0000 "
#define PING3   "08 0002 0004 00000003 "
#define RUN     "08 0005 0000 "

/* [TAIL-5] Only the device sections of a package are guessed; a forged RUN in them runs nothing. */
Test(tail, package) {
    struct tape t = tape_main(T_RAM PACKAGE "0000003a " LISTEN D5 FOOT5 RUN FOOT5 PING3 PING3 RUN
                                            "08 0002 0004 00000004 " T_END);
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    for (int i = 0; i < 3; i++)
        (void)tape_record(&t, VMS_R_COMMAND);
    cr_expect_not(tape_record(&t, VMS_R_COMMAND)->guessed); /* LISTEN */
    (void)full(&t, true, 10);
    (void)tape_step(&t);
    cr_expect(tape_record(&t, VMS_R_SECTION_FOOTER)->guessed);
    for (int i = 0; i < 3; i++)
        cr_expect_not(tape_record(&t, VMS_R_COMMAND)->guessed, "command %d", i);
    cr_expect_not(tape_record(&t, VMS_R_PACKAGE_END)->guessed);
    cr_expect_not(tape_record(&t, VMS_R_COMMAND)->guessed);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [TAIL-6] */
Test(tail, opaque) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
    c.tail_mode = VMS_TAIL_OPAQUE;
    c.limits.device_tail_bytes = 1 << 30; /* not held, so no memory for it */
    cr_assert_lt(vms_qevm_decoder_size(&c), 2u << 20);
    struct tape t = tape_open(&c, T_RAM D5 "61626364");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    const struct vms_record *r = tape_record(&t, VMS_R_DEVICE_TAIL);
    cr_expect(r->bulk_len == VMS_BULK_UNKNOWN && r->offset == T_RAM_LEN);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 0);
    tape_bulk(&t,
              "\x04\0\0\0\x05\x01"
              "d\0\0\0\0\0\0\0\1"
              "abcd",
              19);
    tape_end(&t);
}

/* [TAIL-7] */
Test(tail, limit) {
    for (unsigned past = 0; past < 2; past++) {
        struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
        c.limits.device_tail_bytes = FULL_LEN + 4 + 5 + 1 - past;
        struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 "00");
        (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
        if (past)
            tape_error(&t, VMS_E_LIMIT, T_RAM_LEN + c.limits.device_tail_bytes);
        else
            (void)full(&t, true, 4), tape_close(&t);
    }
}

#define EARLY "04 00000007 19 782f76697274696f2d6d656d2d6465766963652d6561726c79 00000000 00000001 "
/* address, region, block size, node, size */
#define EARLY_BODY(region, block) "0000000100000000 " region " " block " 00000000 0000000000200000 "

/* [TAIL-8] The bitmap has a bit for each block of the region, in whole u64. */
Test(tail, early) {
    struct tape t = tape_main(T_HEAD EARLY EARLY_BODY(
        "0000000008200000", "0000000000200000") "0000000000000000 0000000000000001 7e 00000007 00");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    (void)full(&t, false, 36 + 16);
    (void)tape_step(&t);
    cr_expect_not(tape_record(&t, VMS_R_SECTION_FOOTER)->guessed);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
    /* a block size of 0 gives no length: it is held as any other */
    t = tape_main(T_HEAD EARLY EARLY_BODY("0000000008200000", "0000000000000000") "7e 00000007 00");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    (void)full(&t, true, 36);
    tape_close(&t);
}

/* [TAIL-10] Lengths given beforehand: nothing is held. */
Test(tail, given) {
    struct vms_qevm_config c = reading("");
    c.vmdesc_preloaded = true;
    c.limits.device_tail_bytes = 0;
    cr_assert(fake_load(&fake, vms_str("{d4}")));
    struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 "00" DESC_D4);
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    (void)full(&t, false, 4);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 4);
    tape_bulk(&t, "abcd", 4);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_EOF);
    (void)tape_record(&t, VMS_R_VMDESCRIPTION);
    tape_close(&t);
}

/* [TAIL-2] */
Test(tail, given_disagrees) {
    struct vms_qevm_config c = reading("");
    c.vmdesc_preloaded = true;
    cr_assert(fake_load(&fake, vms_str("{d3}")));
    struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 "00");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    (void)full(&t, false, 3);
    (void)tape_step(&t);
    tape_error(&t, VMS_E_TAIL_WALK, T_RAM_LEN + FULL_LEN + 3);
    fake_rewind(&fake);
    t = tape_open(&c, T_RAM E6 "61626364" FOOT6 "00");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_TAIL_WALK, T_RAM_LEN);
}

/* [END-2] */
Test(tail, bad_description) {
    struct vms_qevm_config c = reading("");
    struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 "00 06 00000004 7b64347e");
    (void)tape_seek(&t, VMS_R_EOF);
    tape_error(&t, VMS_E_BAD_VMDESC, T_RAM_LEN + FULL_LEN + 4 + 5 + 1 + 5);
}

/*
 * [MOD-4] [TAIL-2] However the input is cut, only what looks like a description and ends where the
 * input ends is looked at; here nothing does, although twenty places look like one.
 */
Test(tail, candidates_do_not_depend_on_cuts) {
    for (size_t piece = 1; piece < 600; piece += piece < 20 ? 1 : 97) {
        struct vms_qevm_config c = reading("");
        char hex[4096] = T_RAM D5;
        for (int i = 0; i < 20; i++)
            strcat(hex, i % 2 ? FORGED : "7e 00000005 00 06 00000040 7b ");
        strcat(hex, FOOT5 "00");
        struct tape t = tape_open(&c, hex);
        struct vms_slice all = t.rest;
        while (all.len) {
            struct vms_slice part = vms_slice_head(all, piece);
            enum vms_step step;
            all = vms_slice_tail(all, part.len);
            do
                step = vms_qevm_decode(t.d, &part, &t.ev);
            while (step == VMS_STEP_RECORD);
            cr_assert_eq(step, VMS_STEP_NEED);
        }
        cr_expect(!vms_qevm_tail_fits(t.d));
        cr_expect_eq(fake.loads, 0, "pieces of %zu: %u loads", piece, fake.loads);
        tape_close(&t);
    }
}

/* [TAIL-1] [TAIL-11] On a live channel the caller asks whether the stream may be over. */
Test(tail, may_be_over) {
    struct vms_qevm_config c = reading("");
    struct tape t = tape_open(&c, T_RAM D5 "61626364" FOOT5 "00 06 00000004 7b64347d 99");
    struct vms_slice all = t.rest;
    for (size_t left = all.len; left > 0; left--) {
        struct vms_slice part = vms_slice_head(all, 1);
        enum vms_step step;
        all = vms_slice_tail(all, 1);
        do
            step = vms_qevm_decode(t.d, &part, &t.ev);
        while (step == VMS_STEP_RECORD);
        cr_assert_eq(step, VMS_STEP_NEED);
        cr_expect_eq(vms_qevm_tail_fits(t.d), left == 2, "%zu bytes before the end", left - 1);
    }
    tape_close(&t);
}
