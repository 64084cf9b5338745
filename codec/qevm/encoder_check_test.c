/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

#include <criterion/criterion.h>

static char LONG[300];

static struct vms_slice name_of(size_t n) {
    memset(LONG, 'n', sizeof LONG);
    return vms_slice(LONG, n);
}

static bool taken_with(const struct vms_record *rec, const struct vms_dialect *dialect) {
    struct vms_qevm_encoder e;
    uint8_t out[8192];
    size_t len;
    vms_qevm_encoder_init(&e, 0, dialect);
    struct vms_qevm_encoder before = e;
    enum vms_code code = vms_qevm_encode(&e, rec, (struct vms_room){out, sizeof out}, &len);
    if (code == VMS_OK)
        return true;
    cr_expect_eq(code, VMS_E_MISUSE);
    cr_expect(e.error.code == VMS_E_MISUSE && *e.error.message && len == 0);
    e.error = before.error;
    cr_expect_eq(memcmp(&e, &before, sizeof e), 0, "a refused record changed something");
    return false;
}

static bool taken(const struct vms_record *rec) {
    return taken_with(rec, &(struct vms_dialect){0});
}

/* [MOD-7] Types that are none of this wire's. */
Test(encoder_check, types) {
    cr_expect_not(taken(&(struct vms_record){.type = VMS_RECORD_NONE}));
    cr_expect_not(taken(&(struct vms_record){.type = VMS_RECORD_TYPE_COUNT}));
    cr_expect_not(taken(&(struct vms_record){.type = (enum vms_record_type) - 1}));
}

/* [MOD-7] Names that a length octet does not hold. */
Test(encoder_check, names) {
    for (size_t n = 255; n <= 256; n++) {
        struct vms_record r = {.type = VMS_R_SECTION_START, .u.section.idstr = name_of(n)};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_RAM_BLOCK, .u.block.name = name_of(n)};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_RAM_ZERO, .u.page.block = name_of(n)};
        cr_expect_eq(taken(&r), n == 255);
        r.u.page.continued = true; /* then it is not written */
        cr_expect(taken(&r));
        r = (struct vms_record){.type = VMS_R_DIRTY_BITMAP, .u.bitmap = {.node = name_of(n)}};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_RP_REQ_PAGES_ID, .u.request.block = name_of(n)};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_RP_RECV_BITMAP, .u.rp_block = name_of(n)};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_MULTIFD_PACKET, .u.packet.block = name_of(n + 1)};
        cr_expect_eq(taken(&r), n == 255);
        r = (struct vms_record){.type = VMS_R_MULTIFD_DEVICE_STATE,
                                .u.device.idstr = name_of(n + 1)};
        cr_expect_eq(taken(&r), n == 255);
    }
}

/* [MOD-7] */
Test(encoder_check, configuration) {
    struct vms_record r = {.type = VMS_R_CONFIGURATION};
    struct vms_rec_configuration *c = &r.u.config;
    c->subsection_count = 1;
    c->subsections[0] = (struct vms_config_subsection){VMS_CONFIG_UUID, 1, name_of(16)};
    cr_expect(taken(&r));
    c->subsections[0].body.len = 15;
    cr_expect_not(taken(&r));
    c->subsections[0].kind = VMS_CONFIG_PAGE_BITS;
    cr_expect_not(taken(&r));
    for (uint8_t bits = 9; bits <= 17; bits++) { /* [CFG-5] */
        const uint8_t body[4] = {0, 0, 0, bits}, far[4] = {1, 0, 0, bits};
        c->subsections[0].body = vms_slice(body, sizeof body);
        cr_expect_eq(taken(&r), bits >= 10 && bits <= 16, "%u", bits);
        c->subsections[0].body = vms_slice(far, sizeof far);
        cr_expect_not(taken(&r));
    }
    c->subsections[0].kind = (enum vms_config_kind)3;
    cr_expect_not(taken(&r));
    c->subsection_count = 4;
    cr_expect_not(taken(&r));
}

/* [MOD-7] A word has room for whole pages and for the right flag. */
Test(encoder_check, words) {
    struct vms_record r = {.type = VMS_R_RAM_ZERO, .u.page.offset = 0x1000};
    cr_expect(taken(&r));
    r.u.page.offset = 0x1008;
    cr_expect_not(taken(&r));
    r.u.page.offset = 0x1000;
    cr_expect_not(taken_with(&r, &(struct vms_dialect){.page_bits = 13}));
    r = (struct vms_record){.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = 0x1004};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = 0x10};
    cr_expect(taken(&r));
    r.u.ram_word = 0x18;
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_RAM_HOOK, .u.ram_word = 0x5080};
    cr_expect(taken(&r));
    r.type = VMS_R_RAM_MULTIFD_FLUSH;
    cr_expect_not(taken(&r));
}

/* [MOD-7] Bulk where the wire has some, of a length that it can tell. */
Test(encoder_check, bulk) {
    struct vms_record r = {.type = VMS_R_HEADER, .bulk_len = 1};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_RAM_PAGE, .bulk_len = 4095};
    cr_expect_not(taken(&r));
    r.bulk_len = VMS_BULK_UNKNOWN;
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_RAM_XBZRLE, .bulk_len = 65536};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_RAM_COMPRESSED, .bulk_len = 0x100000000};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_VMDESCRIPTION, .bulk_len = 0x100000000};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_VFIO_DATA_STATE, .bulk_len = 0x100000000};
    cr_expect(taken(&r));
    r = (struct vms_record){.type = VMS_R_DIRTY_BITMAP, .bulk_len = 8, .u.bitmap.flags = 0x42};
    cr_expect_not(taken(&r));
    r.u.bitmap.flags = 0x40;
    cr_expect(taken(&r));
    r = (struct vms_record){.type = VMS_R_MULTIFD_DEVICE_STATE, .bulk_len = UINT32_MAX - 11};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_COMMAND, .u.command.payload = {NULL, 65536}};
    cr_expect_not(taken(&r));
}

/* [MOD-7] */
Test(encoder_check, multifd) {
    struct vms_record r = {.type = VMS_R_MULTIFD_PACKET, .bulk_len = 8192};
    r.u.packet.normal_pages = 2;
    cr_expect(taken(&r));
    r.u.packet.normal_pages = 1;
    cr_expect_not(taken(&r));
    r.u.packet =
        (struct vms_rec_multifd_packet){.flags = 2, .normal_pages = 1, .next_packet_size = 8192};
    cr_expect(taken(&r));
    r.bulk_len = 0;
    r.u.packet = (struct vms_rec_multifd_packet){.raw = name_of(100)};
    cr_expect_not(taken(&r));
    r.u.packet = (struct vms_rec_multifd_packet){.offsets = {NULL, 1025}};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_MULTIFD_DEVICE_STATE, .u.device.raw_idstr = name_of(255)};
    cr_expect_not(taken(&r));
    r = (struct vms_record){.type = VMS_R_MULTIFD_HELLO, .u.hello.reserved = name_of(40)};
    cr_expect_not(taken(&r));
}
