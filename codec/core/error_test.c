/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>
#include <vmstream/error.h>

/* [ERR-2] Each code has a name and a clause of its own registry line, and one class. */
Test(error, registry) {
    cr_expect_str_eq(vms_code_name(VMS_OK), "OK");
    cr_expect_str_eq(vms_code_clause(VMS_OK), "");
    cr_expect_eq(vms_code_class(VMS_OK), VMS_CLASS_NONE);
#define VMS_ERROR(code, cls, where, text)                                                          \
    cr_expect_str_eq(vms_code_name(VMS_E_##code), #code);                                          \
    cr_expect_str_eq(vms_code_clause(VMS_E_##code), where);                                        \
    cr_expect_eq(vms_code_class(VMS_E_##code), VMS_CLASS_##cls);
#include <vmstream/registry/errors.def>
#undef VMS_ERROR
}

Test(error, names_are_unique) {
    for (int a = 0; a < VMS_CODE_COUNT; a++)
        for (int b = 0; b < a; b++)
            cr_expect_str_neq(vms_code_name((enum vms_code)a), vms_code_name((enum vms_code)b));
}

/* [ERR-1] */
Test(error, classes) {
    cr_expect_str_eq(vms_class_name(VMS_CLASS_NONE), "none");
    cr_expect_str_eq(vms_class_name(VMS_CLASS_PEER), "peer");
    cr_expect_str_eq(vms_class_name(VMS_CLASS_LOCAL), "local");
    cr_expect_str_eq(vms_class_name(VMS_CLASS_LIMIT), "limit");
    cr_expect_str_eq(vms_class_name(VMS_CLASS_INTERNAL), "internal");
    cr_expect_str_eq(vms_class_name((enum vms_class)77), "internal");
    cr_expect_str_eq(vms_code_name((enum vms_code)VMS_CODE_COUNT), "INTERNAL");
    cr_expect_str_eq(vms_code_name((enum vms_code) - 1), "INTERNAL");
}

/* [ERR-1] */
Test(error, set_keeps_the_place) {
    struct vms_error e = {.channel = 3, .offset = 4, .record = 5};
    cr_assert_eq(vms_error_set(&e, VMS_E_RAM_FLAGS, "0x%x", 0x30u), VMS_E_RAM_FLAGS);
    cr_expect_eq(e.class_, VMS_CLASS_PEER);
    cr_expect_eq(e.code, VMS_E_RAM_FLAGS);
    cr_expect_str_eq(e.clause, "RAM-1");
    cr_expect_str_eq(e.message, "not exactly one RAM record flag: 0x30");
    cr_expect(e.channel == 3 && e.offset == 4 && e.record == 5);
    cr_assert_eq(vms_error_at(&e, VMS_E_LIMIT, 7, 8, 9), VMS_E_LIMIT);
    cr_expect(e.channel == 7 && e.offset == 8 && e.record == 9);
    cr_expect_eq(e.class_, VMS_CLASS_LIMIT);
    cr_expect_str_eq(e.message, "a limit was passed");
}

/* [ERR-3] One line of printable ASCII, whatever is quoted, cut to the room there is. */
Test(error, message_is_printable) {
    struct vms_error e;
    (void)vms_error_set(&e, VMS_E_BAD_IDSTR, "%s", "a\nb\x1b[2J\xff\x7f");
    cr_expect_str_eq(e.message, "a section's id string is not printable: a?b?[2J??");
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    (void)vms_error_set(&e, VMS_E_BAD_IDSTR, "%s", text);
    cr_expect_eq(strlen(e.message), sizeof e.message - 1);
}
