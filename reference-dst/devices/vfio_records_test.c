/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_records.h"

#include "host/vfio_test_util.h"

/* Records of QEMU's wire to devices: what is acknowledged, what is refused. */

static struct vms_error err;
static struct dst_vfio *vfio;
static struct dst_vfio_records *records;
static unsigned acks;

static void begin(const char *a, const char *b, enum dst_vfio_ack ack, bool parallel) {
    static const struct vms_guest nobody;
    const char *specs[] = {vfio_file("a", "vfio-sim device\nname a\n%s\n", a),
                           vfio_file("b", "vfio-sim device\nname b\n%s\n", b)};
    vfio_good(dst_vfio_new(&nobody, specs, 2, &vfio, &err), &err);
    vfio_good(dst_vfio_records_new(vfio, ack, parallel, &records, &err), &err);
    acks = 0;
}

static void end(void) {
    (void)dst_vfio_reset(vfio, &err);
    dst_vfio_records_free(records);
    dst_vfio_free(vfio);
}

static enum vms_code give(const struct vms_record *r) {
    unsigned now = 0;
    bool bulk;
    enum vms_code code = dst_vfio_record(records, r, &bulk, &now, &err);
    acks += now;
    return code;
}

/* A section of device n of one tag. */
static enum vms_code section(enum vms_record_type type, unsigned n, enum vms_record_type tag) {
    const char *const idstrs[] = {"vfio0/vfio", "vfio1/vfio", "vfio2/vfio"};
    struct vms_record r = {.type = type,
                           .u.section = {.kind = VMS_SECTION_VFIO, .idstr = vms_str(idstrs[n])}};
    enum vms_code code = give(&r);
    r = (struct vms_record){.type = tag};
    return code == VMS_OK ? give(&r) : code;
}

static enum vms_code start(unsigned n) {
    return section(VMS_R_SECTION_START, n, VMS_R_VFIO_SETUP_STATE);
}

static enum vms_code mark(unsigned n) {
    return section(VMS_R_SECTION_PART, n, VMS_R_VFIO_INIT_DATA_SENT);
}

static enum vms_code load_ready(unsigned n) {
    return section(VMS_R_SECTION_FULL, n, VMS_R_VFIO_CONFIG_LOAD_READY);
}

static void start_both(void) {
    vfio_good(start(0), &err);
    vfio_good(start(1), &err);
}

static void open_return_path(void) {
    struct vms_record r = {.type = VMS_R_COMMAND,
                           .u.command = {.command = VMS_CMD_OPEN_RETURN_PATH}};
    vfio_good(give(&r), &err);
}

/* [ACK-3] */
SIM_TEST(dst_vfio_records, new_one_for_each) {
    begin("", "", DST_VFIO_ACK_EACH, false);
    open_return_path();
    start_both();
    cr_expect_eq(acks, 0u);
    for (unsigned i = 1; i <= 3; i++) {
        vfio_good(mark(i % 2), &err);
        cr_expect_eq(acks, i);
    }
    end();
    vfio_clean();
}

/* [ACK-2] [ACK-8] */
SIM_TEST(dst_vfio_records, legacy_one_for_all) {
    begin("", "", DST_VFIO_ACK_LEGACY, false);
    open_return_path();
    start_both();
    vfio_good(mark(1), &err);
    cr_expect_eq(acks, 0u);
    cr_expect_eq(mark(1), VMS_E_DST_UNEXPECTED);
    vfio_good(mark(0), &err);
    cr_expect_eq(acks, 1u);
    end();
    begin("", "precopy off", DST_VFIO_ACK_LEGACY, false);
    open_return_path();
    start_both();
    vfio_good(mark(0), &err);
    cr_expect_eq(acks, 1u);
    end();
    begin("precopy off", "precopy off", DST_VFIO_ACK_LEGACY, false);
    open_return_path();
    cr_expect_eq(acks, 1u);
    end();
    vfio_clean();
}

/* [ACK-1] The machine type tells, where nobody else does. */
SIM_TEST(dst_vfio_records, the_mechanism_follows_the_machine) {
    static const char *const machines[] = {"pc-i440fx-11.0", "pc-q35-11.1", "vmstream"};
    for (size_t i = 0; i < 3; i++) {
        struct vms_record r = {.type = VMS_R_CONFIGURATION,
                               .u.config = {.machine = vms_str(machines[i])}};
        begin("", "", DST_VFIO_ACK_AUTO, false);
        vfio_good(give(&r), &err);
        start_both();
        vfio_good(mark(0), &err);
        cr_expect_eq(acks, i == 0 ? 0u : 1u, "%s", machines[i]);
        end();
    }
    vfio_clean();
}

/* [VFIO-9] [VFIO-8] [VDEV-12] [MFD-23] */
SIM_TEST(dst_vfio_records, what_is_refused) {
    begin("", "precopy off", DST_VFIO_ACK_NONE, false);
    cr_expect_eq(start(2), VMS_E_VFIO_UNEXPECTED, "no such device");
    cr_expect_eq(mark(0), VMS_E_DST_UNEXPECTED, "switchover-ack is off");
    start_both();
    cr_expect_eq(start(0), VMS_E_VFIO_UNEXPECTED, "twice");
    cr_expect_eq(load_ready(0), VMS_E_DST_UNEXPECTED, "without packets");
    struct vms_record packet = {.type = VMS_R_MULTIFD_DEVICE_STATE,
                                .u.device = {.idstr = vms_str("vfio0/vfio")}};
    struct dst_vfio_packet p = {.device = 0};
    cr_expect_eq(dst_vfio_packet(records, &packet, &p, &err), VMS_E_DST_UNEXPECTED);
    end();
    begin("", "precopy off", DST_VFIO_ACK_EACH, true);
    start_both();
    cr_expect_eq(mark(1), VMS_E_VFIO_UNEXPECTED, "without pre-copy");
    vfio_good(load_ready(0), &err);
    cr_expect_eq(load_ready(0), VMS_E_DST_UNEXPECTED, "twice");
    cr_expect_eq(section(VMS_R_SECTION_FULL, 1, VMS_R_VFIO_CONFIG_STATE), VMS_E_DST_UNEXPECTED);
    packet.u.device.idstr = vms_str("other/vfio");
    cr_expect_eq(dst_vfio_packet(records, &packet, &p, &err), VMS_E_VFIO_UNEXPECTED);
    packet.u.device = (struct vms_rec_multifd_device){.idstr = vms_str("vfio0/vfio"), .flags = 1};
    packet.bulk_len = 16;
    vfio_good(dst_vfio_packet(records, &packet, &p, &err), &err);
    vfio_good(dst_vfio_packet_bulk(&p, vms_str("no config tags.."), &err), &err);
    cr_expect_eq(dst_vfio_packet_done(records, &p, &err), VMS_E_VFIO_CONFIG);
    dst_vfio_packet_free(&p);
    end();
    vfio_clean();
}

/* [MFD-23] Not when it comes, for the main channel may be behind; when SWITCHOVER_START is there.
 */
SIM_TEST(dst_vfio_records, a_packet_without_its_section) {
    const struct vms_record packet = {.type = VMS_R_MULTIFD_DEVICE_STATE,
                                      .u.device = {.idstr = vms_str("vfio0/vfio")}};
    const struct vms_record over = {.type = VMS_R_COMMAND,
                                    .u.command = {.command = VMS_CMD_SWITCHOVER_START}};
    for (int early = 0; early < 2; early++) {
        struct dst_vfio_packet p = {.device = 0};
        bool bulk;
        begin("", "precopy off", DST_VFIO_ACK_EACH, true);
        if (early)
            vfio_good(dst_vfio_packet(records, &packet, &p, &err), &err);
        enum vms_code code = dst_vfio_record(records, &over, &bulk, &acks, &err);
        cr_expect_eq(code, early ? VMS_E_DST_UNEXPECTED : VMS_OK);
        cr_expect_eq(dst_vfio_packet(records, &packet, &p, &err), VMS_E_DST_UNEXPECTED);
        dst_vfio_packet_free(&p);
        end();
    }
    vfio_clean();
}
