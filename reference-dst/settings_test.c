/* SPDX-License-Identifier: MIT */
#include "reference-dst/settings.h"

#include "core/writer.h"

#include <criterion/criterion.h>

/* What a destination was told, against what streams say. */

static struct vms_error err;
static uint8_t body[512];

/* A list of capabilities as on the wire; names separated by commas. */
static struct vms_rec_configuration with_list(const char *names) {
    struct vms_writer w = {body, sizeof body, 0};
    uint32_t count = 0;
    vms_write_u32(&w, 0);
    for (const char *at = names; *at; count++) {
        size_t n = strcspn(at, ",");
        vms_write_u8(&w, (uint8_t)n);
        vms_write_bytes(&w, vms_slice((const uint8_t *)at, n));
        at += n + (at[n] == ',');
    }
    body[3] = (uint8_t)count;
    return (struct vms_rec_configuration){
        .machine = vms_str("pc"),
        .subsection_count = 1,
        .subsections = {{VMS_CONFIG_CAPABILITIES, 1, vms_slice(body, w.pos)}}};
}

static enum vms_code check(const char *told, const char *listed) {
    struct dst_settings s = {0};
    struct vms_rec_configuration config = with_list(listed);
    cr_assert(!told || dst_settings_capabilities(&s, told), "%s", told);
    if (!*listed)
        config.subsection_count = 0;
    return dst_settings_check(&s, &config, &err);
}

/* [CFG-7] Every setting against every list: only equal sets pass; others do not count. */
Test(settings, capabilities) {
    static const char *const sets[] = {"none", "x-ignore-shared", "mapped-ram",
                                       "mapped-ram,x-ignore-shared"};
    static const char *const lists[] = {"", "x-ignore-shared", "mapped-ram",
                                        "x-ignore-shared,mapped-ram"};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < 4; j++) {
            enum vms_code want = i == j ? VMS_OK : VMS_E_CONFIG_CAPABILITY;
            cr_expect_eq(check(sets[i], lists[j]), want, "%s, %s", sets[i], lists[j]);
        }
    cr_expect_eq(check("mapped-ram", "mapped-ram,xbzrle,multifd"), VMS_OK);
    cr_expect_eq(check(NULL, "mapped-ram,x-ignore-shared"), VMS_OK, "as the stream says");
    cr_expect_eq(check(NULL, ""), VMS_OK);
    for (unsigned i = 0; i < 2; i++)
        cr_expect_eq(check(i ? NULL : "none", "multifd,mapped-rom"), VMS_E_CONFIG_CAPABILITY);
}

/* [CFG-8] The whole name: neither a prefix nor a longer one. */
Test(settings, machine) {
    static const struct {
        const char *wanted, *sent;
        enum vms_code code;
    } cases[] = {{NULL, "pc-i440fx-7.2", VMS_OK},
                 {"pc-i440fx-7.2", "pc-i440fx-7.2", VMS_OK},
                 {"pc-i440fx-7.2", "pc-i440fx", VMS_E_CONFIG_MACHINE},
                 {"pc-i440fx", "pc-i440fx-7.2", VMS_E_CONFIG_MACHINE},
                 {"pc-i440fx-7.2", "pc-i440fx-7.3", VMS_E_CONFIG_MACHINE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dst_settings s = {.machine = cases[i].wanted};
        struct vms_rec_configuration config = {.machine = vms_str(cases[i].sent)};
        cr_expect_eq(dst_settings_check(&s, &config, &err), cases[i].code, "%zu", i);
    }
}

/* [CFG-10] [MFD-3] Another UUID is refused; one that is not sent, or not known here, is not. */
Test(settings, uuid) {
    static const uint8_t ours[16] = {0x55, 0x0e, 0x84, 0}, other[16] = {0x55, 0x0e, 0x85, 0};
    static const uint8_t zeros[16];
    struct dst_settings with = {0}, without = {0};
    struct vms_rec_configuration config = {.machine = vms_str("pc"), .subsection_count = 1};
    cr_assert(dst_settings_uuid(&with, "550E8400-0000-0000-0000-000000000000"));
    for (int i = 0; i < 2; i++) {
        config.subsections[0] = (struct vms_config_subsection){
            VMS_CONFIG_UUID, 1, vms_slice(i ? other : ours, sizeof ours)};
        cr_expect_eq(dst_settings_check(&with, &config, &err), i ? VMS_E_CONFIG_UUID : VMS_OK);
        cr_expect_eq(dst_settings_check(&without, &config, &err), VMS_OK);
    }
    config.subsection_count = 0;
    cr_expect_eq(dst_settings_check(&with, &config, &err), VMS_OK);
    const uint8_t *sent[] = {ours, other, zeros};
    for (int i = 0; i < 3; i++) {
        struct vms_rec_multifd_hello hello = {.channel_id = 1};
        memcpy(hello.uuid, sent[i], sizeof hello.uuid);
        cr_expect_eq(dst_settings_hello(&with, &hello, &err), i ? VMS_E_MULTIFD_UUID : VMS_OK);
        cr_expect_eq(dst_settings_hello(&without, &hello, &err),
                     i == 2 ? VMS_OK : VMS_E_MULTIFD_UUID);
    }
}

Test(settings, command_line) {
    static const char *const uuids[] = {"", "550e8400", "550e8400-e29b-41d4-a716-4466554400000",
                                        "550e8400-e29b-41d4-a716-44665544000g"};
    static const char *const lists[] = {"", "multifd", "mapped-ram,", ",mapped-ram",
                                        "mapped-ram,none"};
    struct dst_settings s = {0};
    for (size_t i = 0; i < sizeof uuids / sizeof *uuids; i++)
        cr_expect_not(dst_settings_uuid(&s, uuids[i]), "%s", uuids[i]);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cr_expect_not(dst_settings_capabilities(&s, lists[i]), "%s", lists[i]);
}
