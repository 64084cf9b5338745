/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

#define MAGIC "11223344 00000001 "
#define ZERO8 "0000000000000000"
#define Z32   ZERO8 ZERO8 ZERO8 ZERO8
#define Z256  Z32 Z32 Z32 Z32 Z32 Z32 Z32 Z32
#define HELLO MAGIC "000102030405060708090a0b0c0d0e0f 07 " Z32 "00000000000000 "
/* flags, alloc, normal, size; then packet number 5, `zero`, reserved, block "a", no offsets */
#define PACKET(four, zero)                                                                         \
    MAGIC four " 0000000000000005 " zero " 00000000 " ZERO8 ZERO8 ZERO8 " 61 "
#define NAME_REST "00000000000000" ZERO8 ZERO8 ZERO8 Z32 Z32 Z32 Z32 Z32 Z32 Z32
#define OFFSETS   Z256 Z256 Z256 Z256

static struct tape channel(const char *hex) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MULTIFD, "");
    struct tape m = tape_main(T_RAM), t = tape_open(&c, hex);
    (void)tape_seek(&m, VMS_R_SECTION_FOOTER);
    vms_qevm_adopt(t.d, m.d);
    tape_close(&m);
    return t;
}

/* [MFD-1] [MFD-20] */
Test(multifd, hello) {
    struct tape t = channel(HELLO);
    const struct vms_rec_multifd_hello *h = &tape_record(&t, VMS_R_MULTIFD_HELLO)->u.hello;
    cr_expect(h->channel_id == 7 && h->uuid[0] == 0 && h->uuid[15] == 15);
    cr_expect_eq(h->reserved.len, 39);
    tape_end(&t);
}

/* [MFD-4] [MFD-13] [MFD-14] */
Test(multifd, packets) {
    struct tape t =
        channel(HELLO PACKET("00000001 00000080 00000000 00080000", "00000003") NAME_REST OFFSETS);
    const struct vms_record *r = tape_seek(&t, VMS_R_MULTIFD_PACKET);
    const struct vms_rec_multifd_packet *p = &r->u.packet;
    cr_expect(p->flags == 1 && p->pages_alloc == 128 && p->normal_pages == 0);
    cr_expect(p->next_packet_size == 0x80000 && p->packet_num == 5 && p->zero_pages == 3);
    cr_expect(slice_is(p->block, "a") && p->offsets.len == 1024 && p->raw.len == 320);
    cr_expect_eq(r->bulk_len, 0);
    tape_end(&t);
    t = channel(HELLO PACKET("00000000 00000080 00000002 00000007", "00000000") NAME_REST OFFSETS);
    cr_expect_eq(tape_seek(&t, VMS_R_MULTIFD_PACKET)->bulk_len, 8192);
    cr_expect_eq(vms_qevm_bulk_direct(t.d), 8192);
    tape_close(&t);
    t = channel(HELLO PACKET("00000004 00000080 00000002 00000007", "00000000") NAME_REST OFFSETS);
    cr_expect_eq(tape_seek(&t, VMS_R_MULTIFD_PACKET)->bulk_len, 7);
    tape_close(&t);
}

/* [MFD-5] [MFD-10] Every combination of flags, by the rules' words. */
Test(multifd, every_flag) {
    for (unsigned flags = 0; flags < 0x200; flags++) {
        char hex[4096];
        int methods = 0;
        for (unsigned bit = 0x02; bit <= 0x20; bit <<= 1)
            methods += !!(flags & bit);
        if (flags & 0x40)
            continue; /* device state has a test of its own */
        snprintf(hex, sizeof hex,
                 HELLO PACKET("%08x 00000080 00000000 00000000", "00000000") NAME_REST OFFSETS,
                 flags);
        struct tape t = channel(hex);
        (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
        enum vms_step step = tape_step(&t);
        enum vms_code want = flags & ~0x7fu ? VMS_E_MULTIFD_FLAGS
                             : methods > 1  ? VMS_E_MULTIFD_COMPRESSION
                                            : VMS_OK;
        enum vms_code got = step == VMS_STEP_ERROR ? t.ev.error->code : VMS_OK;
        cr_expect_eq(got, want, "0x%x: %s", flags, vms_code_name(got));
        tape_close(&t);
    }
}

/* [MFD-6] [MFD-7] */
Test(multifd, blocks_and_offsets) {
    struct tape t = channel(HELLO PACKET("00000000 00000080 00000000 00000000", "00000001")
                                NAME_REST "0000000000008000");
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_TRUNCATED, 64 + 328);
    t = channel(HELLO PACKET("00000000 00000080 00000000 00000000", "00000001") NAME_REST
                "0000000000008000" Z256 Z256 Z256 Z256);
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_MULTIFD_OFFSET, 64 + 320);
    t = channel(HELLO PACKET("00000000 00000080 00000000 00000000", "00000001") NAME_REST
                "0000000000000800" Z256 Z256 Z256 Z256);
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_MULTIFD_OFFSET, 64 + 320);
}

#define IDSTR  "7666696f " ZERO8 ZERO8 ZERO8 "00000000 " Z32 Z32 Z32 Z32 Z32 Z32 Z32 " "
#define DEVICE MAGIC "00000040 " IDSTR "00000009 "

/* [MFD-9] [VFIO-6] */
Test(multifd, device_state) {
    struct tape t = channel(HELLO DEVICE "0000000e 00000000 00000007 00000001 6364");
    const struct vms_record *r = tape_seek(&t, VMS_R_MULTIFD_DEVICE_STATE);
    cr_expect(slice_is(r->u.device.idstr, "vfio") && r->u.device.instance == 9);
    cr_expect(r->u.device.index == 7 && r->u.device.flags == 1 && r->bulk_len == 2);
    tape_bulk(&t, "cd", 2);
    tape_end(&t);
    t = channel(HELLO DEVICE "0000000b 00000000 00000007 00000001");
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_MULTIFD_DEVICE_STATE, 64 + 272);
    t = channel(HELLO DEVICE "0000000c 00000000 ffffffff 00000001");
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_VFIO_STATE_INDEX, 64 + 280);
    t = channel(HELLO DEVICE "0400000d 00000000 00000000 00000000");
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_LIMIT, 64 + 272);
}

/* [MFD-4] The offset array is always whole: its length follows from the page size. */
Test(multifd, page_sizes) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MULTIFD, "page-bits=16");
    struct tape t = tape_open(&c, HELLO PACKET("00000000 00000008 00000000 00000000", "00000001")
                                      NAME_REST Z32 Z32);
    cr_expect_eq(tape_seek(&t, VMS_R_MULTIFD_PACKET)->u.packet.offsets.len, 64);
    tape_end(&t);
    t = tape_open(&c, HELLO PACKET("00000000 00000009 00000000 00000000", "00000001")
                          NAME_REST Z32 Z32);
    (void)tape_seek(&t, VMS_R_MULTIFD_HELLO);
    tape_error(&t, VMS_E_MULTIFD_COUNTS, 64 + 12);
}
