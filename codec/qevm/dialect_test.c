/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <vmstream/dialect.h>

static enum vms_code parse(const char *text, struct vms_dialect *out) {
    struct vms_error err = {0};
    enum vms_code code = vms_dialect_parse(vms_str(text), out, &err);
    cr_expect(code == VMS_OK || (err.code == code && *err.message), "%s", text);
    return code;
}

/* [DLC-2] */
Test(dialect, parse) {
    struct vms_dialect d;
    cr_assert_eq(parse("", &d), VMS_OK);
    cr_expect(!d.qemu && !d.machine && !d.page_bits && d.footers == VMS_AUTO);
    cr_assert_eq(parse("7.2", &d), VMS_OK);
    cr_expect_eq(d.qemu, 0x0702);
    cr_assert_eq(
        parse("qemu=11.1,machine=9.0,page-bits=16,configuration=on,footers=off,vmdesc=auto,"
              "postcopy=on,ignore-shared=on,mapped-ram=off,multifd-flush=on,ack-legacy=off",
              &d),
        VMS_OK);
    cr_expect_eq(d.qemu, 0x0b01);
    cr_expect_eq(d.machine, 0x0900);
    cr_expect_eq(d.page_bits, 16);
    cr_expect(d.configuration == VMS_ON && d.footers == VMS_OFF && d.vmdesc == VMS_AUTO);
    cr_expect(d.postcopy == VMS_ON && d.ignore_shared == VMS_ON && d.mapped_ram == VMS_OFF);
    cr_expect(d.multifd_flush == VMS_ON && d.ack_legacy == VMS_OFF);
}

/* [DLC-2] What is unknown is refused, and nothing is changed. */
Test(dialect, parse_refuses) {
    static const char *const bad[] = {"7",
                                      "7.",
                                      ".2",
                                      "7.2.1",
                                      "a7.2",
                                      "256.0",
                                      "0.256",
                                      "1000.1",
                                      "qemu",
                                      "qemu=",
                                      "qemu=x",
                                      "qemu=11.1=2",
                                      "machine=pc-7.2",
                                      "page-bits=9",
                                      "page-bits=17",
                                      "page-bits=1",
                                      "page-bits=012",
                                      "page-bits=1a",
                                      "footers",
                                      "footers=",
                                      "footers=yes",
                                      "footers=on ",
                                      "other=on",
                                      "=on",
                                      ",",
                                      "7.2,,footers=on",
                                      "footers=on,other=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vms_dialect d = {.qemu = 0x1234, .footers = VMS_OFF}, before = d;
        cr_expect_eq(parse(bad[i], &d), VMS_E_MISUSE, "'%s' was taken", bad[i]);
        cr_expect_eq(memcmp(&d, &before, sizeof d), 0, "'%s' changed it", bad[i]);
    }
}

/* [DLC-3] */
Test(dialect, machine_versions) {
    static const struct {
        const char *name;
        vms_qemu_version version;
    } names[] = {{"pc-q35-11.1", 0x0b01},
                 {"pc-i440fx-7.2", 0x0702},
                 {"virt-10.0", 0x0a00},
                 {"x-2.12", 0x020c},
                 {"pc-i440fx-255.255", 0xffff},
                 {"none", 0},
                 {"pc", 0},
                 {"", 0},
                 {"11.1", 0},
                 {"-11.1", 0x0b01},
                 {"pc-11", 0},
                 {"pc-11.", 0},
                 {"pc-.1", 0},
                 {"pc-1.2.3", 0},
                 {"pc-q35-11.1x", 0},
                 {"pc-q3511.1", 0},
                 {"s390-ccw-virtio-8.2", 0x0802},
                 {"pseries-9.1-", 0},
                 {"pc-256.0", 0},
                 {"pc-1.256", 0}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_eq(vms_machine_version(vms_str(names[i].name)), names[i].version, "%s",
                     names[i].name);
}

/* [DLC-4] The table of machine versions, as the specification has it. */
Test(dialect, learn_machine) {
    static const struct {
        const char *machine;
        bool vmdesc, framing, flush, legacy;
    } table[] = {{"pc-2.2", false, false, false, true}, {"pc-2.3", true, false, false, true},
                 {"pc-2.4", true, true, false, true},   {"pc-7.2", true, true, false, true},
                 {"pc-8.0", true, true, false, true},   {"pc-8.1", true, true, true, true},
                 {"pc-10.0", true, true, true, true},   {"pc-11.0", true, true, true, true},
                 {"pc-11.1", true, true, true, false},  {"pc-12.0", true, true, true, false}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct vms_dialect d = {0};
        vms_dialect_learn_machine(&d, vms_str(table[i].machine));
        cr_expect_eq(d.vmdesc, table[i].vmdesc ? VMS_ON : VMS_OFF, "%s", table[i].machine);
        cr_expect_eq(d.footers, table[i].framing ? VMS_ON : VMS_OFF, "%s", table[i].machine);
        cr_expect_eq(d.configuration, table[i].framing ? VMS_ON : VMS_OFF, "%s", table[i].machine);
        cr_expect_eq(d.multifd_flush, table[i].flush ? VMS_ON : VMS_OFF, "%s", table[i].machine);
        cr_expect_eq(d.ack_legacy, table[i].legacy ? VMS_ON : VMS_OFF, "%s", table[i].machine);
        cr_expect_eq(d.machine, vms_machine_version(vms_str(table[i].machine)));
    }
}

/* [DLC-4] What was set stays. */
Test(dialect, learn_keeps_what_was_set) {
    struct vms_dialect d = {.footers = VMS_ON, .multifd_flush = VMS_ON, .ack_legacy = VMS_OFF};
    vms_dialect_learn_machine(&d, vms_str("pc-2.2"));
    cr_expect(d.footers == VMS_ON && d.multifd_flush == VMS_ON && d.ack_legacy == VMS_OFF);
    cr_expect_eq(d.configuration, VMS_OFF);
    d = (struct vms_dialect){.machine = 0x0702};
    vms_dialect_learn_machine(&d, vms_str("pc-11.1"));
    cr_expect_eq(d.machine, 0x0702);
    cr_expect_eq(d.ack_legacy, VMS_ON);
}

/* [DLC-4] A name without a version tells nothing, but that "none" has a description. */
Test(dialect, learn_without_version) {
    struct vms_dialect d = {0};
    vms_dialect_learn_machine(&d, vms_str("test"));
    cr_expect(d.vmdesc == VMS_AUTO && d.footers == VMS_AUTO && d.ack_legacy == VMS_AUTO);
    vms_dialect_learn_machine(&d, vms_str("none"));
    cr_expect(d.vmdesc == VMS_ON && d.footers == VMS_AUTO);
}

/* [DLC-1] */
Test(dialect, has) {
    struct vms_dialect any = {0}, v82 = {.qemu = 0x0802};
    cr_expect(vms_dialect_has(&any, 0x0b01, 0));
    cr_expect(vms_dialect_has(&any, 0, 1));
    cr_expect(vms_dialect_has(&v82, 0x0802, 0x0802));
    cr_expect(vms_dialect_has(&v82, 0, 0));
    cr_expect_not(vms_dialect_has(&v82, 0x0900, 0));
    cr_expect_not(vms_dialect_has(&v82, 0x0702, 0x0801));
}
