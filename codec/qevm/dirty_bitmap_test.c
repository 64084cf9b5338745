/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

#define START "01 00000003 0c 64697274792d6269746d6170 00000000 00000001 "
#define FOOT3 "7e 00000003 "
enum {
    AT = T_HEAD_LEN + 26,
};

/* [DBM-1] [DBM-2] [DBM-3] */
Test(dirty_bitmap, chunks) {
    struct tape t =
        tape_main(T_HEAD START "1c 02 6e30 02 6231 00010000 03 40 0000000000000010 00000020 "
                               "0000000000000002 8001 46 02 6232 0000000000000000 00000008 "
                               "21 " FOOT3 "00");
    const struct vms_rec_dirty_bitmap *b = &tape_seek(&t, VMS_R_DIRTY_BITMAP)->u.bitmap;
    cr_expect(b->flags == 0x1c && slice_is(b->node, "n0") && slice_is(b->name, "b1"));
    cr_expect(b->granularity == 0x10000 && b->start_flags == 3);
    b = &tape_record(&t, VMS_R_DIRTY_BITMAP)->u.bitmap;
    cr_expect(b->flags == 0x40 && !b->node.len && !b->name.len && b->sector == 16);
    cr_expect(b->sectors == 32 && t.ev.record.bulk_len == 2);
    tape_bulk(&t, "\x80\x01", 2);
    b = &tape_record(&t, VMS_R_DIRTY_BITMAP)->u.bitmap;
    cr_expect(b->flags == 0x46 && slice_is(b->name, "b2") && t.ev.record.bulk_len == 0);
    cr_expect_eq(tape_record(&t, VMS_R_DIRTY_BITMAP)->u.bitmap.flags, 0x21);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [DBM-1] All 256 flag octets, by the rule's words. */
Test(dirty_bitmap, every_flag) {
    for (unsigned flags = 0; flags < 256; flags++) {
        int what = !!(flags & 0x10) + !!(flags & 0x20) + !!(flags & 0x40);
        bool ok =
            flags == 0x01 || (what == 1 && !(flags & 0x80) && (!(flags & 0x02) || (flags & 0x40)));
        char hex[200];
        snprintf(hex, sizeof hex, T_HEAD START "%02x", flags);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_SECTION_START);
        enum vms_step step = tape_step(&t);
        bool refused = step == VMS_STEP_ERROR && t.ev.error->code == VMS_E_DIRTY_BITMAP_FLAGS;
        cr_expect_eq(refused, !ok, "0x%02x", flags);
        tape_close(&t);
    }
}

/* [DBM-2] */
Test(dirty_bitmap, names) {
    static const struct {
        const char *hex;
        uint64_t at;
    } bad[] = {{"24 02 6231", 0},    /* no node */
               {"28 02 6e30", 0},    /* no bitmap */
               {"2c 00", 1},         /* an empty node */
               {"2c 02 6e30 00", 4}, /* an empty bitmap */
               {"20", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char hex[300];
        snprintf(hex, sizeof hex, T_HEAD START "%s", bad[i].hex);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_SECTION_START);
        tape_error(&t, VMS_E_DIRTY_BITMAP_NAME, AT + bad[i].at);
    }
}

/* [DBM-2] Names last across section records, and to a recovery channel that adopts them. */
Test(dirty_bitmap, names_last) {
    struct tape t =
        tape_main(T_HEAD START "2d 02 6e30 02 6231 " FOOT3 "02 00000003 21 " FOOT3 "00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    (void)tape_record(&t, VMS_R_DIRTY_BITMAP);
    struct vms_qevm_config c = tape_config(VMS_QEVM_RECOVERY, "");
    struct tape again = tape_open(&c, "03 00000003 21 " FOOT3 "00");
    vms_qevm_adopt(again.d, t.d);
    (void)tape_seek(&again, VMS_R_DIRTY_BITMAP);
    (void)tape_seek(&again, VMS_R_EOF);
    tape_end(&again);
    tape_close(&t);
}

/* [DBM-3] */
Test(dirty_bitmap, bodies) {
    struct tape t = tape_main(T_HEAD START "1c 01 6e 01 62 00000100 01");
    (void)tape_seek(&t, VMS_R_SECTION_START);
    tape_error(&t, VMS_E_DIRTY_BITMAP_BODY, AT + 5);
    t = tape_main(T_HEAD START "4c 01 6e 01 62 0000000000000000 00000008 0000000000000000");
    (void)tape_seek(&t, VMS_R_SECTION_START);
    tape_error(&t, VMS_E_DIRTY_BITMAP_BODY, AT + 5 + 12);
    t = tape_main(T_HEAD START "4c 01 6e 01 62 0000000000000000 00000008 0000000000002801");
    (void)tape_seek(&t, VMS_R_SECTION_START);
    tape_error(&t, VMS_E_LIMIT, AT + 5 + 12);
}
