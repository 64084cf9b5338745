/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

#define SUB(name_hex) "05 " name_hex " 00000001 "
#define PAGE_BITS     SUB("1e 636f6e66696775726174696f6e2f7461726765742d706167652d62697473")
#define CAPABILITIES  SUB("1a 636f6e66696775726174696f6e2f6361706162696c6974696573")
#define UUID          SUB("12 636f6e66696775726174696f6e2f75756964")
#define IGNORE_SHARED "0f 782d69676e6f72652d736861726564 "
#define MAPPED_RAM    "0a 6d61707065642d72616d "

/* [HDR-1] [HDR-2] [CFG-2] */
Test(header, fields) {
    struct tape t = tape_main(T_HEAD "00");
    const struct vms_record *r = tape_record(&t, VMS_R_HEADER);
    cr_expect(r->u.version == 3 && r->offset == 0 && r->number == 0 && r->bulk_len == 0);
    r = tape_record(&t, VMS_R_CONFIGURATION);
    cr_expect(slice_is(r->u.config.machine, "test"));
    cr_expect(r->u.config.subsection_count == 0 && r->offset == 8 && r->number == 1);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [CFG-11] The order of the subsections is kept. */
Test(header, subsections) {
    struct tape t = tape_main(T_HEAD UUID "00112233445566778899aabbccddeeff " CAPABILITIES
                                          "00000001 " IGNORE_SHARED PAGE_BITS "0000000e 00");
    const struct vms_record *r = tape_seek(&t, VMS_R_CONFIGURATION);
    const struct vms_config_subsection *sub = r->u.config.subsections;
    cr_assert_eq(r->u.config.subsection_count, 3);
    cr_expect(sub[0].kind == VMS_CONFIG_UUID && sub[0].version == 1 && sub[0].body.len == 16);
    cr_expect(sub[0].body.ptr[1] == 0x11);
    cr_expect(sub[1].kind == VMS_CONFIG_CAPABILITIES && sub[1].body.len == 20);
    cr_expect(sub[2].kind == VMS_CONFIG_PAGE_BITS && sub[2].body.len == 4);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [DLC-5] [CFG-9] What the record announces is in the dialect then. */
Test(header, dialect_is_learnt) {
    struct tape t = tape_main("5145564d 00000003 07 00000008 70632d372e302d31 " PAGE_BITS
                              "00000010 " CAPABILITIES "00000002 " IGNORE_SHARED MAPPED_RAM "00");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    const struct vms_dialect *d = vms_qevm_dialect(t.d);
    cr_expect_eq(vms_qevm_page_size(t.d), 65536);
    cr_expect(d->page_bits == 16 && d->ignore_shared == VMS_ON && d->mapped_ram == VMS_ON);
    tape_close(&t);
    t = tape_main("5145564d 00000003 07 00000006 70632d372e32 00 ");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    d = vms_qevm_dialect(t.d);
    cr_expect(d->machine == 0x0702 && d->vmdesc == VMS_ON && d->ack_legacy == VMS_ON);
    cr_expect(d->ignore_shared == VMS_OFF && d->mapped_ram == VMS_OFF);
    tape_close(&t);
}

/* [DLC-5] Capabilities that were set are not overridden. */
Test(header, dialect_that_was_set) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "ignore-shared=on");
    struct tape t = tape_open(&c, T_HEAD "00");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    cr_expect_eq(vms_qevm_dialect(t.d)->ignore_shared, VMS_ON);
    tape_close(&t);
}

/* [DLC-6] [CFG-1] */
Test(header, configuration_by_dialect) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "configuration=off");
    struct tape t = tape_open(&c, "5145564d 00000003 00");
    (void)tape_record(&t, VMS_R_HEADER);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
    c = tape_config(VMS_QEVM_MAIN, "machine=2.3,vmdesc=off");
    t = tape_open(&c, "5145564d 00000003 00");
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
    t = tape_main("5145564d 00000003 00");
    (void)tape_record(&t, VMS_R_HEADER);
    tape_error(&t, VMS_E_CONFIG_MISSING, 8);
}

/* [HDR-3] */
Test(header, obsolete) {
    struct tape t = tape_main("5145564d 00000002");
    tape_error(&t, VMS_E_OBSOLETE_VERSION, 4);
}

/* [CFG-3] [CFG-4] [CFG-5] [CFG-6] */
Test(header, refused_subsections) {
    struct tape t = tape_main(T_HEAD UUID "00112233445566778899aabbccddeeff " UUID);
    (void)tape_record(&t, VMS_R_HEADER);
    tape_error(&t, VMS_E_CONFIG_SUBSECTION, 17 + 24 + 16);
    t = tape_main(T_HEAD PAGE_BITS "00000009");
    (void)tape_record(&t, VMS_R_HEADER);
    tape_error(&t, VMS_E_CONFIG_PAGE_BITS, 17 + 36);
    t = tape_main(T_HEAD CAPABILITIES "00000001 00");
    (void)tape_record(&t, VMS_R_HEADER);
    tape_error(&t, VMS_E_CONFIG_CAPABILITY, 17 + 36);
    t = tape_main(T_HEAD CAPABILITIES "00000041");
    (void)tape_record(&t, VMS_R_HEADER);
    tape_error(&t, VMS_E_LIMIT, 17 + 32);
}
