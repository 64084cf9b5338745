/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

/* [RAM-7] */
Test(ram_list, fields) {
    struct tape t = tape_main(T_RAM T_END);
    cr_expect_eq(tape_seek(&t, VMS_R_RAM_MEM_SIZE)->u.ram_total, 0xa000);
    const struct vms_record *r = tape_record(&t, VMS_R_RAM_BLOCK);
    cr_expect(slice_is(r->u.block.name, "a") && r->u.block.used_length == 0x8000);
    cr_expect(!r->u.block.has_page_size && !r->u.block.has_gpa && !r->u.block.has_mapped);
    r = tape_record(&t, VMS_R_RAM_BLOCK);
    cr_expect(slice_is(r->u.block.name, "b") && r->u.block.used_length == 0x2000);
    (void)tape_record(&t, VMS_R_RAM_EOS);
    tape_close(&t);
}

#define ADVISE "08 0003 0010 0000000000003000 0000000000001000 "

/* [RAM-20] The page size is there exactly when the octets are one that ADVISE has announced. */
Test(ram_list, page_size) {
    struct tape t = tape_main(T_HEAD ADVISE T_RAM_START
                              "000000000000a004 01 61 0000000000008000 0000000000002000 "
                              "01 62 0000000000002000 " T_EOS T_FOOT T_END);
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_BLOCK);
    cr_expect(r->u.block.has_page_size && r->u.block.page_size == 0x2000);
    r = tape_record(&t, VMS_R_RAM_BLOCK);
    cr_expect(!r->u.block.has_page_size && r->u.block.page_size == 0);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [RAM-20] A size that was not announced is no field: it is read as the next block. */
Test(ram_list, page_size_that_was_not_announced) {
    struct tape t = tape_main(T_HEAD ADVISE T_RAM_START
                              "000000000000a004 01 61 0000000000008000 0000000000004000 ");
    (void)tape_seek(&t, VMS_R_RAM_BLOCK);
    tape_error(&t, VMS_E_RAM_BLOCK_NAME, 17 + 21 + 17 + 8 + 10);
    /* nor in a dialect without postcopy */
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "postcopy=off");
    t = tape_open(&c, T_HEAD ADVISE T_RAM_START
                  "000000000000a004 01 61 0000000000008000 0000000000002000 ");
    (void)tape_seek(&t, VMS_R_RAM_BLOCK);
    tape_error(&t, VMS_E_RAM_BLOCK_NAME, 17 + 21 + 17 + 8 + 10);
}

/* [RAM-22] */
Test(ram_list, address) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "ignore-shared=on");
    struct tape t =
        tape_open(&c, T_HEAD T_RAM_START
                  "0000000000001004 01 61 0000000000001000 0000000100000000 " T_EOS T_FOOT T_END);
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_BLOCK);
    cr_expect(r->u.block.has_gpa && r->u.block.gpa == 0x100000000);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

#define MAPPED_HEAD "00000001 0000000000001000 "

/* [RAM-23] [MAP-9] The regions follow with their exact lengths, so that a caller can seek. */
Test(ram_list, mapped) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "mapped-ram=on");
    struct tape t =
        tape_open(&c, T_HEAD T_RAM_START "0000000000002004 01 61 0000000000002000 " MAPPED_HEAD
                                         "0000000000000050 0000000000001000");
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_BLOCK);
    cr_expect(r->u.block.has_mapped && r->u.block.mapped_version == 1);
    cr_expect(r->u.block.mapped_page_size == 0x1000 && r->u.block.mapped_bitmap_offset == 0x50);
    cr_expect_eq(r->u.block.mapped_pages_offset, 0x1000);
    r = tape_record(&t, VMS_R_MAPPED_BITMAP);
    cr_expect(r->bulk_len == 8 && r->offset == 0x50 && slice_is(r->u.page.block, "a"));
    cr_assert_eq(vms_qevm_bulk_direct(t.d), 8);
    vms_qevm_bulk_taken(t.d, 8);
    r = tape_record(&t, VMS_R_MAPPED_PADDING);
    cr_expect_eq(r->bulk_len, 0x1000 - 0x58);
    vms_qevm_bulk_taken(t.d, r->bulk_len);
    r = tape_record(&t, VMS_R_MAPPED_PAGES);
    cr_expect(r->bulk_len == 0x2000 && r->offset == 0x1000);
    vms_qevm_bulk_taken(t.d, r->bulk_len);
    tape_error(&t, VMS_E_TRUNCATED, 0x3000);
}

/* [MAP-5] One bit for each page, in whole 64-bit words. */
Test(ram_list, mapped_bitmap_lengths) {
    static const uint64_t pages[][2] = {{1, 8}, {64, 8}, {65, 16}, {128, 16}, {129, 24}};
    for (size_t i = 0; i < 5; i++) {
        struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "mapped-ram=on");
        char hex[300];
        snprintf(hex, sizeof hex,
                 T_HEAD T_RAM_START "%016llx 01 61 %016llx " MAPPED_HEAD
                                    "0000000000000050 0000000000001000",
                 (unsigned long long)(pages[i][0] * 0x1000 + 4),
                 (unsigned long long)pages[i][0] * 0x1000);
        struct tape t = tape_open(&c, hex);
        cr_expect_eq(tape_seek(&t, VMS_R_MAPPED_BITMAP)->bulk_len, pages[i][1]);
        tape_close(&t);
    }
}

/* [RAM-19] A block that a mapped-ram header marks as shared has no regions and no pages. */
Test(ram_list, mapped_shared) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "mapped-ram=on,ignore-shared=on");
    struct tape t = tape_open(
        &c, T_HEAD T_RAM_START
        "0000000000001004 01 61 0000000000001000 0000000000000000 " MAPPED_HEAD
        "0000000000000000 0000000000000000 " T_EOS T_FOOT T_PART "0000000000000002 01 61 00");
    (void)tape_seek(&t, VMS_R_RAM_BLOCK);
    (void)tape_record(&t, VMS_R_RAM_EOS);
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_MAPPED_RECORD, 17 + 17 + 8 + 18 + 28 + 8 + 5 + 5);
}
