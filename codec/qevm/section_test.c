/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

/* A VFIO section's START, with id string "a/vfio", id 9, version 5. */
#define VFIO_START                                                                                 \
    "01 00000009 06 612f7666696f 00000003 00000005 ffffffffef100003 ffffffffef100001 7e 00000009 "

/* [SEC-1] [SEC-11] */
Test(section, fields) {
    struct tape t = tape_main(T_RAM VFIO_START "02 00000009 ffffffffef100001 7e 00000009 " T_END);
    const struct vms_record *r = tape_seek(&t, VMS_R_SECTION_START);
    cr_expect(r->u.section.id == 2 && r->u.section.instance == 0 && r->u.section.version == 4);
    cr_expect(r->u.section.kind == VMS_SECTION_RAM && slice_is(r->u.section.idstr, "ram"));
    cr_expect_eq(r->offset, T_HEAD_LEN);
    r = tape_seek(&t, VMS_R_SECTION_FOOTER);
    cr_expect(r->u.section.id == 2 && slice_is(r->u.section.idstr, "ram"));
    r = tape_record(&t, VMS_R_SECTION_START);
    cr_expect(r->u.section.id == 9 && r->u.section.instance == 3 && r->u.section.version == 5);
    cr_expect(r->u.section.kind == VMS_SECTION_VFIO && slice_is(r->u.section.idstr, "a/vfio"));
    /* PART and END have only the id on the wire; the rest is what START bound to it */
    r = tape_seek(&t, VMS_R_SECTION_PART);
    cr_expect(r->u.section.id == 9 && r->u.section.instance == 3 && r->u.section.version == 5);
    r = tape_seek(&t, VMS_R_SECTION_END);
    cr_expect(r->u.section.id == 2 && slice_is(r->u.section.idstr, "ram"));
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [SEC-11] The id string alone tells the kind. */
Test(section, kinds) {
    static const struct {
        const char *hex;
        enum vms_section_kind kind;
    } names[] = {{"04 7666696f", VMS_SECTION_VFIO},
                 {"05 2f7666696f", VMS_SECTION_VFIO},
                 {"05 787666696f", VMS_SECTION_DEVICE},
                 {"04 72616d32", VMS_SECTION_DEVICE},
                 {"03 72616d", VMS_SECTION_RAM},
                 {"0c 64697274792d6269746d6170", VMS_SECTION_DIRTY_BITMAP}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char hex[200];
        uint32_t version = names[i].kind == VMS_SECTION_DIRTY_BITMAP ? 1 : 4;
        snprintf(hex, sizeof hex, T_HEAD "01 00000001 %s 00000000 %08x", names[i].hex,
                 (unsigned)version);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_CONFIGURATION);
        if (names[i].kind == VMS_SECTION_DEVICE)
            tape_error(&t, VMS_E_UNSUPPORTED_SECTION, 22);
        else {
            cr_expect_eq(tape_record(&t, VMS_R_SECTION_START)->u.section.kind, names[i].kind);
            tape_close(&t);
        }
    }
}

/* [SEC-5] [SEC-14] */
Test(section, ids) {
    struct tape t = tape_main(T_RAM "01 00000002 03 72616d 00000001 00000004");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_SECTION_ID_REUSED, T_RAM_LEN + 1);
    t = tape_main(T_RAM "01 00000003 03 72616d 00000000 00000004");
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_SECTION_ID_REUSED, T_RAM_LEN + 1);
    /* the same id string with another instance and another id is another section */
    t = tape_main(T_HEAD VFIO_START "01 00000008 06 612f7666696f 00000004 00000005 "
                                    "ffffffffef100003 ffffffffef100001 7e 00000008 00");
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [SEC-10] [SEC-14] A FULL may follow an END: a VFIO section has both. Two FULL may not. */
Test(section, full_after_end) {
#define VFIO_END  "03 00000009 ffffffffef100001 7e 00000009 "
#define VFIO_FULL "04 00000009 06 612f7666696f 00000003 00000005 ffffffffef100001 7e 00000009 "
    struct tape t = tape_main(T_HEAD VFIO_START VFIO_END VFIO_FULL "00");
    (void)tape_seek(&t, VMS_R_SECTION_FULL);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
    t = tape_main(T_HEAD VFIO_START VFIO_END VFIO_FULL VFIO_FULL "00");
    (void)tape_seek(&t, VMS_R_SECTION_FULL);
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_SECTION_ID_REUSED, 17 + 41 + 18 + 33 + 1);
}

/* [SEC-4] [SEC-10] [SEC-9] */
Test(section, unknown) {
    struct tape t = tape_main(T_HEAD "02 00000000");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    tape_error(&t, VMS_E_UNKNOWN_SECTION, 18);
    t = tape_main(T_HEAD VFIO_START VFIO_END VFIO_END);
    (void)tape_seek(&t, VMS_R_SECTION_END);
    (void)tape_seek(&t, VMS_R_SECTION_FOOTER);
    tape_error(&t, VMS_E_SECTION_AFTER_END, 17 + 41 + 18 + 1);
}

/* [SEC-7] [SEC-8] */
Test(section, footers) {
    struct tape t = tape_main(T_HEAD T_RAM_START "0000000000000004 " T_EOS "7f 00000002");
    (void)tape_seek(&t, VMS_R_RAM_EOS);
    tape_error(&t, VMS_E_FOOTER_MISSING, 17 + 17 + 16);
    t = tape_main(T_HEAD T_RAM_START "0000000000000004 " T_EOS "7e 00000003");
    (void)tape_seek(&t, VMS_R_RAM_EOS);
    tape_error(&t, VMS_E_FOOTER_MISMATCH, 17 + 17 + 16 + 1);
}

/* [END-1] [END-2] [END-3] [END-5] */
Test(section, end) {
    struct tape t = tape_main(T_HEAD "00 06 00000002 7b7d");
    (void)tape_seek(&t, VMS_R_EOF);
    cr_expect_eq(tape_record(&t, VMS_R_VMDESCRIPTION)->bulk_len, 2);
    tape_bulk(&t, "{}", 2);
    tape_end(&t);
    t = tape_main(T_HEAD "00 06 00000000");
    (void)tape_seek(&t, VMS_R_VMDESCRIPTION);
    tape_end(&t);
    t = tape_main(T_HEAD "00 06 00000002 7b7d 00");
    (void)tape_seek(&t, VMS_R_VMDESCRIPTION);
    tape_bulk(&t, "{}", 2);
    tape_error(&t, VMS_E_TRAILING_BYTES, 25);
    t = tape_main(T_HEAD "00 00");
    (void)tape_seek(&t, VMS_R_EOF);
    tape_error(&t, VMS_E_BAD_VMDESC_TYPE, 18);
    t = tape_main(T_HEAD "00 06 ffffffff");
    (void)tape_seek(&t, VMS_R_EOF);
    tape_error(&t, VMS_E_LIMIT, 19);
}
