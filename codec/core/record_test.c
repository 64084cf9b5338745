/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <vmstream/record.h>

/* [MOD-1] */
Test(record, names) {
    cr_expect_str_eq(vms_record_name(VMS_RECORD_NONE), "NONE");
    cr_expect_str_eq(vms_record_name(VMS_RECORD_TYPE_COUNT), "NONE");
    cr_expect_str_eq(vms_record_name((enum vms_record_type) - 1), "NONE");
#define VMS_RECORD(name, text) cr_expect_str_eq(vms_record_name(VMS_R_##name), #name);
#include <vmstream/registry/records.def>
#undef VMS_RECORD
}

/* [CMD-1] */
Test(record, commands) {
    for (unsigned i = 0; i <= 0xffff; i++)
        cr_expect_eq(vms_command_name(i) != NULL, i >= 1 && i <= 11, "%u", i);
    cr_expect_str_eq(vms_command_name(1), "OPEN_RETURN_PATH");
    cr_expect_str_eq(vms_command_name(11), "SWITCHOVER_START");
    cr_expect_null(vms_command_name(0x10001));
}

Test(record, section_kinds) {
    cr_expect_str_eq(vms_section_kind_name(VMS_SECTION_DEVICE), "device");
    cr_expect_str_eq(vms_section_kind_name(VMS_SECTION_RAM), "ram");
    cr_expect_str_eq(vms_section_kind_name(VMS_SECTION_VFIO), "vfio");
    cr_expect_str_eq(vms_section_kind_name(VMS_SECTION_DIRTY_BITMAP), "dirty-bitmap");
    cr_expect_str_eq(vms_section_kind_name((enum vms_section_kind)9), "unknown");
}
