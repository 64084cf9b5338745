/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

Test(decoder, kinds) {
    static const char *const names[] = {"main", "recovery", "multifd", "preempt", "return-path"};
    for (int i = 0; i < 5; i++)
        cr_expect_str_eq(vms_qevm_kind_name((enum vms_qevm_kind)i), names[i]);
    cr_expect_str_eq(vms_qevm_kind_name((enum vms_qevm_kind)5), "unknown");
}

/* [HDR-1] [MFD-1] [PRE-1] */
Test(decoder, sniff) {
    cr_expect_eq(vms_qevm_sniff(vms_str("QEVM"), VMS_QEVM_PREEMPT), VMS_QEVM_MAIN);
    cr_expect_eq(vms_qevm_sniff(vms_slice("\x11\x22\x33\x44", 4), VMS_QEVM_MAIN), VMS_QEVM_MULTIFD);
    cr_expect_eq(vms_qevm_sniff(vms_slice("\x44\x33\x22\x11", 4), VMS_QEVM_PREEMPT),
                 VMS_QEVM_PREEMPT);
    cr_expect_eq(vms_qevm_sniff(vms_str("QEV"), VMS_QEVM_RECOVERY), VMS_QEVM_RECOVERY);
    cr_expect_eq(vms_qevm_sniff(vms_str(""), VMS_QEVM_RECOVERY), VMS_QEVM_RECOVERY);
}

/* [MOD-10] The size follows from the configuration; less is refused; sums do not wrap [LIM-3]. */
Test(decoder, size) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
    size_t size = vms_qevm_decoder_size(&c);
    uint8_t *mem = malloc(size);
    cr_expect_eq(vms_qevm_decoder_size(&c), size);
    cr_expect_null(vms_qevm_decoder_init(mem, size - 1, &c));
    cr_expect_null(vms_qevm_decoder_init(NULL, size, &c));
    cr_expect_not_null(vms_qevm_decoder_init(mem, size, &c));
    c.limits.device_tail_bytes += 4096;
    cr_expect_eq(vms_qevm_decoder_size(&c), size + 4096);
    c.kind = VMS_QEVM_RETURN_PATH;
    cr_expect_lt(vms_qevm_decoder_size(&c), (size_t)1 << 17);
    free(mem);
#define VMS_LIMIT(name, value, unit, text)                                                         \
    c = tape_config(VMS_QEVM_MAIN, "");                                                            \
    c.limits.name = UINT64_MAX;                                                                    \
    cr_expect_geq(vms_qevm_decoder_size(&c), size, "%s", #name);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
}

/* [LIM-1] [MOD-8] A raised limit makes room for the longer record as well. */
Test(decoder, long_configuration) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
    c.limits.machine_name_bytes = 200000;
    char *hex = malloc(400100);
    strcpy(hex, "5145564d 00000003 07 00030d40 ");
    size_t n = strlen(hex);
    memset(hex + n, '6', 400000);
    strcpy(hex + n + 400000, " 00");
    struct tape t = tape_open(&c, hex);
    struct vms_slice all = t.rest;
    enum vms_step step = VMS_STEP_NEED;
    for (t.ev.record.type = VMS_RECORD_NONE; all.len && t.ev.record.type != VMS_R_CONFIGURATION;) {
        struct vms_slice part = vms_slice_head(all, 1000);
        all = vms_slice_tail(all, part.len);
        while ((step = vms_qevm_decode(t.d, &part, &t.ev)) == VMS_STEP_RECORD)
            ;
        cr_assert_neq(step, VMS_STEP_ERROR, "%s", t.ev.error->message);
    }
    cr_expect_eq(step, VMS_STEP_NEED);
    cr_expect_eq(vms_qevm_offset(t.d), t.len);
    tape_close(&t);
    free(hex);
}

/* [MOD-4] NEED takes all of the input and says how much is missing at least. */
Test(decoder, need) {
    struct tape t = tape_main(T_HEAD);
    struct vms_slice part = vms_slice_head(t.rest, 3), rest = vms_slice(t.octets + 3, 1);
    cr_assert_eq(vms_qevm_decode(t.d, &part, &t.ev), VMS_STEP_NEED);
    cr_expect(part.len == 0 && t.ev.need == 1);
    cr_assert_eq(vms_qevm_decode(t.d, &part, &t.ev), VMS_STEP_NEED);
    cr_expect_eq(t.ev.need, 1);
    cr_assert_eq(vms_qevm_decode(t.d, &rest, &t.ev), VMS_STEP_NEED);
    cr_expect(rest.len == 0 && t.ev.need == 4);
    cr_expect_eq(vms_qevm_offset(t.d), 4);
    tape_close(&t);
}

/* [MOD-12] */
Test(decoder, errors_stay) {
    struct tape t = tape_main("00000000 5145564d 00000003");
    cr_assert_eq(tape_step(&t), VMS_STEP_ERROR);
    const struct vms_error first = *t.ev.error;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(vms_qevm_decode(t.d, &t.rest, &t.ev), VMS_STEP_ERROR);
        cr_assert_eq(vms_qevm_finish(t.d, &t.ev), VMS_STEP_ERROR);
        cr_expect_eq(memcmp(t.ev.error, &first, sizeof first), 0);
    }
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 0);
    tape_close(&t);
}

/* [ERR-1] The channel's number goes into records and errors. */
Test(decoder, channel_number) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
    c.channel = 77;
    struct tape t = tape_open(&c, "5145564d 00000003 01");
    cr_expect_eq(tape_record(&t, VMS_R_HEADER)->channel, 77);
    cr_assert_eq(tape_step(&t), VMS_STEP_ERROR);
    cr_expect(t.ev.error->channel == 77 && t.ev.error->offset == 8 && t.ev.error->record == 1);
    tape_close(&t);
}

#define PAGE_HEAD T_RAM T_PART "0000000000000008 01 61 "

/* [MOD-11] Bulk may go past the decoder, in part or as a whole. */
Test(decoder, bulk_direct) {
    struct tape t = tape_main(PAGE_HEAD "0102");
    cr_assert_eq(tape_seek(&t, VMS_R_RAM_PAGE)->bulk_len, 4096);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 4096);
    vms_qevm_bulk_taken(t.d, 1000);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 3096);
    cr_assert_eq(vms_qevm_decode(t.d, &t.rest, &t.ev), VMS_STEP_BULK);
    cr_expect(t.ev.bulk.len == 2 && t.ev.bulk_offset == 1000);
    vms_qevm_bulk_taken(t.d, 3094);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 0);
    cr_expect_eq(vms_qevm_offset(t.d), T_RAM_LEN + 5 + 10 + 4096);
    tape_error(&t, VMS_E_TRUNCATED, T_RAM_LEN + 5 + 10 + 4096);
}

/* [MOD-7] */
Test(decoder, bulk_taken_too_much) {
    struct tape t = tape_main(PAGE_HEAD);
    (void)tape_seek(&t, VMS_R_RAM_PAGE);
    vms_qevm_bulk_taken(t.d, 4097);
    tape_error(&t, VMS_E_MISUSE, T_RAM_LEN + 5 + 10);
}

/* [MOD-3] */
Test(decoder, finish) {
    struct tape t = tape_main("");
    tape_error(&t, VMS_E_TRUNCATED, 0);
    t = tape_main(PAGE_HEAD "00");
    (void)tape_seek(&t, VMS_R_RAM_PAGE);
    (void)tape_step(&t);
    cr_assert_eq(tape_step(&t), VMS_STEP_ERROR);
    cr_expect_eq(t.ev.error->code, VMS_E_TRUNCATED);
    cr_expect_eq(t.ev.error->record, 9, "the page it is in");
    tape_close(&t);
}

/* [REC-2] What is adopted is cut to the adopter's own limits. */
Test(decoder, adopt) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_RECOVERY, "");
    struct tape m = tape_main(T_RAM);
    (void)tape_seek(&m, VMS_R_SECTION_FOOTER);
    struct tape t = tape_open(&c, T_PART "0000000000000002 01 62 00");
    vms_qevm_adopt(t.d, m.d);
    const struct vms_record *r = tape_record(&t, VMS_R_SECTION_PART);
    cr_expect(r->u.section.version == 4 && slice_is(r->u.section.idstr, "ram"));
    cr_expect_eq(tape_record(&t, VMS_R_RAM_ZERO)->u.page.block_index, 1);
    tape_close(&t);
    c.limits.ram_blocks = 1;
    c.limits.sections = 0;
    t = tape_open(&c, T_PART);
    vms_qevm_adopt(t.d, m.d);
    tape_error(&t, VMS_E_UNKNOWN_SECTION, 1);
    tape_close(&m);
}

/* [SEC-12] Thousands of empty PARTs. */
Test(decoder, empty_parts) {
    struct tape t = tape_main(T_RAM);
    static const uint8_t part[] = {2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 2};
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    for (int i = 0; i < 10000; i++) {
        struct vms_slice in = vms_slice(part, sizeof part);
        for (int k = 0; k < 3; k++)
            cr_assert_eq(vms_qevm_decode(t.d, &in, &t.ev), VMS_STEP_RECORD);
        cr_assert_eq(in.len, 0);
    }
    cr_expect_eq(vms_qevm_offset(t.d), T_RAM_LEN + 10000 * sizeof part);
    tape_close(&t);
}
