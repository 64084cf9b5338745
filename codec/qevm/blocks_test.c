/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

/* [RAM-3] [RAM-25] The last block is kept across sections, EOS and other records. */
Test(blocks, last_block) {
    struct tape t =
        tape_main(T_RAM T_PART "0000000000000002 01 62 00 " T_EOS T_FOOT "08 0001 0000 " T_PART
                               "0000000000001022 00 " T_EOS T_FOOT T_END);
    (void)tape_seek(&t, VMS_R_RAM_ZERO);
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "b") && r->u.page.block_index == 1);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
    t = tape_main(T_RAM T_PART "0000000000001022 00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_RAM_CONTINUE, T_RAM_LEN + 5);
}

/* [RAM-4] [RAM-5] [RAM-9] */
Test(blocks, refused) {
    struct tape t = tape_main(T_RAM T_PART "0000000000000002 01 63 00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_RAM_BLOCK_UNKNOWN, T_RAM_LEN + 5 + 8);
    t = tape_main(T_RAM T_PART "0000000000002002 01 62 00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_RAM_OFFSET, T_RAM_LEN + 5);
    t = tape_main(T_RAM T_PART "0000000000000002 00 00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_RAM_BLOCK_NAME, T_RAM_LEN + 5 + 8);
}

/* [REC-2] Without a block list names are taken as they come, and the last one is still known. */
Test(blocks, unknown_list) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_RECOVERY, "");
    struct tape t = tape_open(
        &c, T_PART "0000000000001002 03 616263 00 fffffffffffff022 00 " T_EOS T_FOOT "00");
    const struct vms_record *r = tape_seek(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "abc") && r->u.page.block_index == UINT32_MAX);
    r = tape_record(&t, VMS_R_RAM_ZERO);
    cr_expect(slice_is(r->u.page.block, "abc") && r->u.page.offset == 0xfffffffffffff000);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}
