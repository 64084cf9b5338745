/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

/* [RAM-1] [RAM-25] */
Test(ram, pages) {
    struct tape t = tape_main(T_RAM T_PART "0000000000001002 01 61 00 0000000000002022 00 "
                                           "0000000000000040 01 62 01 0003 0001b3 "
                                           "0000000000003120 00000002 7801" T_EOS T_FOOT T_END);
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "a") && r->u.page.block_index == 0);
    cr_expect(!r->u.page.continued && r->u.page.offset == 0x1000 && r->u.page.fill == 0);
    r = tape_record(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "a") && r->u.page.continued);
    cr_expect(r->u.page.offset == 0x2000);
    r = tape_record(&t, VMS_R_RAM_XBZRLE);
    cr_expect(slice_is(r->u.page.block, "b") && r->u.page.block_index == 1 && r->bulk_len == 3);
    tape_bulk(&t, "\x00\x01\xb3", 3);
    cr_expect(slice_is(t.ev.record.u.page.block, "b"));
    tape_error(&t, VMS_E_RAM_OFFSET, T_RAM_LEN + 5 + 11 + 9 + 16);
}

/* [RAM-17] */
Test(ram, compressed) {
    struct tape t =
        tape_main(T_RAM T_PART "0000000000001100 01 61 00000002 7801" T_EOS T_FOOT T_END);
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_COMPRESSED);
    cr_expect(r->bulk_len == 2 && r->u.page.offset == 0x1000);
    tape_bulk(&t, "\x78\x01", 2);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [RAM-15] [RAM-29] Words keep their offset part as residue. */
Test(ram, words) {
    struct tape t = tape_main(T_RAM T_PART "0000000000005080 fffffffffffff200 " T_EOS T_FOOT T_END);
    cr_expect_eq(tape_seek(&t, VMS_R_RAM_HOOK)->u.ram_word, 0x5080);
    cr_expect_eq(tape_record(&t, VMS_R_RAM_MULTIFD_FLUSH)->u.ram_word, 0xfffffffffffff200);
    cr_expect_eq(tape_record(&t, VMS_R_RAM_EOS)->u.ram_word, 0x10);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* The flag words that are legal in precopy, by the specification; with the record's octets behind.
 */
static bool word_ok(unsigned flags) {
    switch (flags & ~0x20u) {
    case 0x02:
    case 0x08:
    case 0x40:
    case 0x100: return true;
    case 0x10:
    case 0x80:
    case 0x200: return !(flags & 0x20);
    default: return false;
    }
}

/* [RAM-1] [RAM-2] [RAM-15] Every word of twelve bits. */
Test(ram, every_word) {
    for (unsigned flags = 0; flags < 0x1000; flags++) {
        char hex[400];
        snprintf(hex, sizeof hex, T_RAM T_PART "0000000000000002 01 61 00 %016x ", flags);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_RAM_ZERO);
        enum vms_step step = tape_step(&t);
        bool refused = step == VMS_STEP_ERROR && t.ev.error->code != VMS_E_TRUNCATED;
        cr_expect_eq(refused, !word_ok(flags), "0x%x", flags);
        if (refused && (flags & ~0x20u) == 0x01)
            cr_expect_eq(t.ev.error->code, VMS_E_RAM_FLAG_DIALECT);
        else if (refused && flags == 0x30)
            cr_expect_eq(t.ev.error->code, VMS_E_RAM_EOS_WORD);
        else if (refused && flags == 0x04)
            cr_expect_eq(t.ev.error->code, VMS_E_RAM_LIST_TWICE);
        else if (refused)
            cr_expect_eq(t.ev.error->code, VMS_E_RAM_FLAGS, "0x%x", flags);
        tape_close(&t);
    }
}

/* [RAM-2] */
Test(ram, dialects) {
    static const struct {
        const char *dialect, *word;
        bool taken;
    } cases[] = {{"7.2", "0000000000000200", false}, {"8.1", "0000000000000200", true},
                 {"9.0", "0000000000000120", true},  {"9.1", "0000000000000120", false},
                 {"7.2", "0000000000000080", true},  {"11.1", "0000000000000080", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, cases[i].dialect);
        char hex[400];
        snprintf(hex, sizeof hex, T_RAM T_PART "0000000000000002 01 61 00 %s 00000001 78",
                 cases[i].word);
        struct tape t = tape_open(&c, hex);
        (void)tape_seek(&t, VMS_R_RAM_ZERO);
        if (cases[i].taken) {
            cr_expect_eq(tape_step(&t), VMS_STEP_RECORD, "%s %s", cases[i].dialect, cases[i].word);
            tape_close(&t);
        } else {
            tape_error(&t, VMS_E_RAM_FLAG_DIALECT, T_RAM_LEN + 5 + 11);
        }
    }
}

/* ---- postcopy ---- */

/* "a" has host pages of 8 KiB, "b" of 4 KiB. */
#define LISTENING                                                                                  \
    T_HEAD                                                                                         \
    "08 0003 0010 0000000000003000 0000000000001000 " T_RAM_START                                  \
    "000000000000a004 01 61 0000000000008000 0000000000002000 01 62 0000000000002000 " T_EOS       \
        T_FOOT "08 0004 0000 " T_PART
enum {
    LISTENING_LEN = T_RAM_LEN + 21 + 8 + 5 + 5,
};

/* [RAM-13] */
Test(ram, postcopy_words) {
    for (unsigned flags = 1; flags < 0x400; flags <<= 1) {
        char hex[600];
        bool ok = flags == 0x02 || flags == 0x08 || flags == 0x10 || flags == 0x100;
        snprintf(hex, sizeof hex, LISTENING "%016x 01 62 00 00000000", flags);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_SECTION_PART);
        enum vms_step step = tape_step(&t);
        bool refused = step == VMS_STEP_ERROR && t.ev.error->code == VMS_E_RAM_POSTCOPY_RECORD;
        bool flag_refused = flags == 0x01 || flags == 0x20;
        cr_expect_eq(refused, !ok && !flag_refused, "0x%x", flags);
        tape_close(&t);
    }
}

/* [RAM-14] */
Test(ram, host_pages) {
    struct tape t = tape_main(LISTENING "0000000000003002 01 61 00 0000000000002022 00 "
                                        "0000000000000002 01 62 00 0000000000000002 01 61 00 "
                                        "0000000000002022 00");
    for (int i = 0; i < 4; i++)
        (void)tape_seek(&t, VMS_R_RAM_ZERO);
    tape_error(&t, VMS_E_RAM_HOST_PAGE, LISTENING_LEN + 11 + 9 + 11 + 11);
    t = tape_main(LISTENING "0000000000003002 01 61 00 0000000000000002 01 62 00");
    (void)tape_seek(&t, VMS_R_RAM_ZERO);
    tape_error(&t, VMS_E_RAM_HOST_PAGE, LISTENING_LEN + 11);
}

/* [PRE-1] [PRE-3] [RAM-31] A preempt channel knows the blocks and sizes of the main one. */
Test(ram, preempt_adopts) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_PREEMPT, "");
    struct tape m = tape_main(LISTENING);
    (void)tape_seek(&m, VMS_R_SECTION_PART);
    struct tape t = tape_open(&c, "0000000000000002 01 61 00 0000000000002022 00");
    vms_qevm_adopt(t.d, m.d);
    (void)tape_record(&t, VMS_R_RAM_ZERO);
    tape_error(&t, VMS_E_RAM_HOST_PAGE, 11);
    tape_close(&m);
}

/* [PRE-2] */
Test(ram, preempt_by_itself) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_PREEMPT, "");
    struct tape t = tape_open(&c, "0000000000000002 01 78 00 0000000000000200");
    const struct vms_record *r = tape_record(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "x") && r->u.page.block_index == UINT32_MAX);
    tape_error(&t, VMS_E_PREEMPT_RECORD, 11);
}
