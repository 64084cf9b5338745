/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

static struct vms_qevm_encoder encoder(void) {
    struct vms_qevm_encoder e;
    struct vms_dialect any = {0};
    vms_qevm_encoder_init(&e, 3, &any);
    return e;
}

static const struct vms_record PING = {
    .type = VMS_R_COMMAND, .u.command = {VMS_CMD_PING, {(const uint8_t *)"\0\0\0\1", 4}}};

/* [MOD-6] Too little room: the exact need, and nothing changed. */
Test(encoder, space) {
    for (size_t room = 0; room < 9; room++) {
        struct vms_qevm_encoder e = encoder(), before = e;
        uint8_t out[16];
        size_t len = 99;
        memset(out, 0xee, sizeof out);
        cr_assert_eq(vms_qevm_encode(&e, &PING, (struct vms_room){out, room}, &len), VMS_E_SPACE);
        cr_expect_eq(len, 9);
        cr_expect_eq(memcmp(&e, &before, sizeof e), 0);
        cr_expect_eq(out[room], 0xee);
        cr_assert_eq(vms_qevm_encode(&e, &PING, (struct vms_room){out, len}, &len), VMS_OK);
        cr_expect(len == 9 && e.offset == 9 && e.number == 1 && out[9] == 0xee);
        cr_expect_eq(memcmp(out, "\x08\0\2\0\4\0\0\0\1", 9), 0);
    }
}

/* [MOD-7] Bulk that is owed has to be told before the next record. */
Test(encoder, bulk) {
    struct vms_qevm_encoder e = encoder();
    struct vms_record page = {.type = VMS_R_RAM_PAGE, .bulk_len = 4096};
    uint8_t out[64];
    struct vms_room room = {out, sizeof out};
    size_t len;
    page.u.page.block = vms_str("a");
    cr_assert_eq(vms_qevm_encode(&e, &page, room, &len), VMS_OK);
    cr_expect(len == 10 && e.bulk_left == 4096);
    cr_assert_eq(vms_qevm_encode(&e, &PING, room, &len), VMS_E_MISUSE);
    cr_expect(e.error.code == VMS_E_MISUSE && e.error.channel == 3 && e.error.offset == 10);
    cr_expect_eq(len, 0);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 4000), VMS_OK);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 97), VMS_E_MISUSE);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 96), VMS_OK);
    cr_expect_eq(e.offset, 10 + 4096);
    cr_assert_eq(vms_qevm_encode(&e, &PING, room, &len), VMS_OK);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 1), VMS_E_MISUSE);
}

/* [TAIL-6] */
Test(encoder, endless_bulk) {
    struct vms_qevm_encoder e = encoder();
    struct vms_record tail = {.type = VMS_R_DEVICE_TAIL, .bulk_len = VMS_BULK_UNKNOWN};
    size_t len;
    cr_assert_eq(vms_qevm_encode(&e, &tail, (struct vms_room){NULL, 0}, &len), VMS_OK);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 1 << 20), VMS_OK);
    cr_assert_eq(vms_qevm_encode_bulk(&e, 1), VMS_OK);
    cr_expect(e.bulk_left == VMS_BULK_UNKNOWN && e.offset == (1 << 20) + 1);
}

/* [DLC-5] The page size that CONFIGURATION announces shapes the packets behind it. */
Test(encoder, page_size_is_learnt) {
    struct vms_qevm_encoder e = encoder();
    struct vms_record config = {.type = VMS_R_CONFIGURATION};
    struct vms_record page = {.type = VMS_R_RAM_PAGE, .bulk_len = 65536};
    static const uint8_t bits[] = {0, 0, 0, 16};
    uint8_t out[256];
    size_t len;
    config.u.config.machine = vms_str("test");
    config.u.config.subsection_count = 1;
    config.u.config.subsections[0] =
        (struct vms_config_subsection){VMS_CONFIG_PAGE_BITS, 1, vms_slice(bits, 4)};
    cr_assert_eq(vms_qevm_encode(&e, &config, (struct vms_room){out, sizeof out}, &len), VMS_OK);
    cr_expect_eq(e.dialect.page_bits, 16);
    page.u.page.block = vms_str("a");
    cr_assert_eq(vms_qevm_encode(&e, &page, (struct vms_room){out, sizeof out}, &len), VMS_OK);
}

/* [MOD-6] Room of encode_max is always enough, whatever the limits. */
Test(encoder, max) {
    struct vms_limits limits = vms_limits_default();
    cr_expect_geq(vms_qevm_encode_max(&limits), 65535 + 5);
    limits.machine_name_bytes = 100000;
    limits.capabilities = 1000;
    cr_expect_geq(vms_qevm_encode_max(&limits), 100000 + 1000 * 256);
    limits.machine_name_bytes = limits.capabilities = UINT64_MAX;
    cr_expect_gt(vms_qevm_encode_max(&limits), UINT32_MAX);
}

/* [MOD-2] Without residue canonical octets are written: reserved fields are zero. */
Test(encoder, canonical) {
    struct vms_qevm_encoder e = encoder();
    struct vms_record packet = {.type = VMS_R_MULTIFD_PACKET};
    uint8_t out[2048];
    size_t len;
    memset(out, 0xee, sizeof out);
    packet.u.packet = (struct vms_rec_multifd_packet){
        .flags = 1, .pages_alloc = 128, .packet_num = 2, .block = vms_str("a")};
    cr_assert_eq(vms_qevm_encode(&e, &packet, (struct vms_room){out, sizeof out}, &len), VMS_OK);
    cr_assert_eq(len, 1344);
    cr_expect_eq(memcmp(out, "\x11\x22\x33\x44\0\0\0\1\0\0\0\1\0\0\0\x80", 16), 0);
    cr_expect(out[31] == 2 && out[64] == 'a' && out[65] == 0);
    for (size_t i = 65; i < 1344; i++)
        cr_expect_eq(out[i], 0, "octet %zu", i);
    struct vms_record hello = {.type = VMS_R_MULTIFD_HELLO};
    cr_assert_eq(vms_qevm_encode(&e, &hello, (struct vms_room){out, sizeof out}, &len), VMS_OK);
    cr_expect_eq(len, 64);
}
