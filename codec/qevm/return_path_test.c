/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

static struct tape back(const char *hex) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_RETURN_PATH, "");
    return tape_open(&c, hex);
}

/* [RP-1] [RP-3] */
Test(return_path, messages) {
    struct tape t =
        back("0007 0000 0002 0004 00000042 0003 000e 0000000000001000 00002000 01 61 "
             "0004 000c 0000000000003000 00001000 0006 0004 00000001 0001 0004 00000005");
    (void)tape_record(&t, VMS_R_RP_SWITCHOVER_ACK);
    cr_expect_eq(tape_record(&t, VMS_R_RP_PONG)->u.value, 0x42);
    const struct vms_record *r = tape_record(&t, VMS_R_RP_REQ_PAGES_ID);
    cr_expect(slice_is(r->u.request.block, "a") && r->u.request.offset == 0x1000);
    cr_expect_eq(r->u.request.length, 0x2000);
    r = tape_record(&t, VMS_R_RP_REQ_PAGES);
    cr_expect(slice_is(r->u.request.block, "a") && r->u.request.offset == 0x3000);
    cr_expect_eq(tape_record(&t, VMS_R_RP_RESUME_ACK)->u.value, 1);
    cr_expect_eq(tape_record(&t, VMS_R_RP_SHUT)->u.value, 5);
    tape_end(&t);
}

/* [RP-4] [RP-5] */
Test(return_path, bitmap) {
    struct tape t = back("0005 0002 01 61 0000000000000008 0102030405060708 0123456789abcdef");
    const struct vms_record *r = tape_record(&t, VMS_R_RP_RECV_BITMAP);
    cr_expect(slice_is(r->u.rp_block, "a") && r->bulk_len == 8);
    tape_bulk(&t, "\1\2\3\4\5\6\7\x08", 8);
    cr_expect(slice_is(t.ev.record.u.rp_block, "a"));
    (void)tape_record(&t, VMS_R_RP_RECV_BITMAP_END);
    tape_end(&t);
    t = back("0005 0002 01 61 0000000000000008 0102030405060708 0123456789abcdee");
    (void)tape_seek(&t, VMS_R_RP_RECV_BITMAP);
    (void)tape_step(&t);
    tape_error(&t, VMS_E_RP_BITMAP_END, 22);
}

/* [RP-1] [RP-2] Every type with every short length. */
Test(return_path, every_head) {
    static const int lengths[] = {-1, 4, 4, -1, 12, -1, 4, 0};
    for (unsigned type = 0; type < 20; type++)
        for (unsigned len = 0; len < 20; len++) {
            char hex[200];
            snprintf(hex, sizeof hex, "%04x %04x", type, len);
            struct tape t = back(hex);
            enum vms_step step = tape_step(&t);
            enum vms_code got = step == VMS_STEP_ERROR ? t.ev.error->code : VMS_OK;
            if (!type || type > 7)
                cr_expect_eq(got, VMS_E_RP_TYPE, "%s", hex);
            else if (lengths[type] >= 0)
                cr_expect_eq(got == VMS_E_RP_LENGTH, (unsigned)lengths[type] != len, "%s", hex);
            tape_close(&t);
        }
}

/* [RP-3] A block named by RECV_BITMAP is not the one of REQ_PAGES. */
Test(return_path, last_block) {
    struct tape t = back("0003 000e 0000000000001000 00001000 01 61 "
                         "0005 0002 01 62 0000000000000008 0102030405060708 0123456789abcdef "
                         "0004 000c 0000000000003000 00001000");
    const struct vms_record *r = tape_seek(&t, VMS_R_RP_REQ_PAGES);
    cr_expect(slice_is(r->u.request.block, "a"));
    tape_end(&t);
    t = back("0004 000c 0000000000003000 00001000");
    tape_error(&t, VMS_E_RP_BLOCK, 4);
}

/* [RP-6] [RP-7] [RP-8] */
Test(return_path, refused) {
    struct tape t = back("0006 0004 00000002");
    tape_error(&t, VMS_E_RP_RESUME_VALUE, 4);
    t = back("0001 0004 00000000 0007 0000");
    (void)tape_record(&t, VMS_R_RP_SHUT);
    tape_error(&t, VMS_E_RP_AFTER_SHUT, 8);
    t = back("0003 000e 0000000000001800 00001000 01 61");
    tape_error(&t, VMS_E_RP_ALIGNMENT, 4);
}

/* [RP-8] Whole pages of the target, whose size the main channel tells. */
Test(return_path, page_size_is_adopted) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "page-bits=10");
    struct tape m = tape_open(&c, T_HEAD "00");
    struct tape t = back("0003 000e 0000000000000400 00000400 01 61");
    vms_qevm_adopt(t.d, m.d);
    (void)tape_record(&t, VMS_R_RP_REQ_PAGES_ID);
    tape_end(&t);
    tape_close(&m);
}
