/* SPDX-License-Identifier: MIT */
#include "reference-src/test_wire.h"

/* Precopy: RAM on one connection and on several, devices. */

/* ---- precopy ---- */

/* [SRC-1] [CMD-15] [END-7] The order of QEMU 11.1. */
Test(wire_qevm, precopy_order) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "11.1", 0, 600);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_str_eq(r.names, "HEADER CONFIGURATION OPEN_RETURN_PATH PING SECTION_START "
                              "RAM_MEM_SIZE RAM_BLOCK RAM_BLOCK RAM_EOS SECTION_PART page RAM_EOS "
                              "SWITCHOVER_START SECTION_END RAM_EOS SECTION_FULL EOF "
                              "VMDESCRIPTION ");
    cr_expect_eq(r.zeros, 120u + 2);
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [HDR-1] [CMD-4] The first octets, as they stand in captures of QEMU. */
Test(wire_qevm, first_bytes, .timeout = 60) {
    static struct bench b;
    static const uint8_t want[] = {'Q', 'E', 'V', 'M', 0,   0,   0,   3,   7,   0,   0,   0,
                                   14,  'p', 'c', '-', 'i', '4', '4', '0', 'f', 'x', '-', '1',
                                   '1', '.', '1', 8,   0,   1,   0,   0,   8,   0,   2,   0,
                                   4,   0,   0,   0,   1,   1,   0,   0,   0,   1,   3,   'r',
                                   'a', 'm', 0,   0,   0,   0,   0,   0,   0,   4};
    open_wire(&b, "11.1", 0, 16);
    DO(&b, connect);
    (void)test_wait(&b.peer, 0, 8); /* [HOST-11] who peeks takes no other channel before it came */
    DO(&b, setup, &b.guest.guest, false);
    struct test_channel *c = test_wait(&b.peer, 0, sizeof want);
    cr_expect(memcmp(c->bytes, want, sizeof want) == 0);
    close_wire(&b);
}

/* [SRC-3] Nothing of EOF leaves before commit(). */
Test(wire_qevm, nothing_is_committed_before) {
    static struct bench b;
    open_wire(&b, "11.1", 0, 16);
    send_precopy(&b);
    b.wire.ops->abort(b.wire.ctx, NULL);
    struct test_channel *c = test_wait(&b.peer, 0, SIZE_MAX);
    cr_expect_eq(c->bytes[c->len - 5], 0x7e, "the last record is not the FULL section's footer");
    close_wire(&b);
}

/* An old machine: no SWITCHOVER_START. [DLC-7] */
Test(wire_qevm, old_machine) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "qemu=7.2,machine=7.2", 0, 16);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_null(strstr(r.names, "SWITCHOVER_START"));
    expect_memory(&b, &r);
    close_wire(&b);
}

/* ---- multifd ---- */

static unsigned occurrences(const char *text, const char *word) {
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word))
        n++;
    return n;
}

static void multifd(const char *dialect, unsigned channels, bool record, bool in_packets) {
    static struct bench b;
    static struct reading r, channel[16];
    open_wire(&b, dialect, channels, 3000);
    send_precopy(&b);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    unsigned markers = occurrences(r.names, record ? "RAM_MULTIFD_FLUSH" : "RAM_EOS");
    unsigned zeros = r.zeros, pages = r.pages;
    for (unsigned i = 0; i < channels; i++) {
        memset(&channel[i], 0, sizeof channel[i]);
        memcpy(channel[i].image, r.image, sizeof r.image);
        decode(&b, 1 + i, VMS_QEVM_MULTIFD, &channel[i]);
        cr_expect_eq(channel[i].syncs, markers, "channel %u: %u SYNCs, %u markers", i,
                     channel[i].syncs, markers);
        zeros += channel[i].zeros;
        pages += channel[i].pages;
        cr_expect(in_packets || channel[i].zeros == 0);
    }
    cr_expect_eq(r.pages, 0u, "pages on the main channel");
    cr_expect_eq(r.zeros > 0, !in_packets);
    cr_expect_eq(zeros, 600u + 2);
    cr_expect_eq(pages, 2400u + 6);
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [MFD-12] [MFD-17] [MFD-21] As many SYNC packets on every channel as markers on the main one. */
Test(wire_qevm, multifd_per_round) {
    multifd("11.1", 1, true, true);
    multifd("11.1", 4, true, true);
    multifd("11.1", 16, true, true);
}

Test(wire_qevm, multifd_per_section) {
    multifd("qemu=7.2,machine=7.2", 4, false, false);
}

/* [MFD-12] Pages of two passes do not overtake one another: SYNC stands between them. */
Test(wire_qevm, passes_keep_their_order) {
    static struct bench b;
    static struct reading r[4];
    open_wire(&b, "11.1", 4, 256);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, false);
    struct src_batch one = {.count = 1, .page_size = TEST_PAGE, .pages = {7}};
    for (unsigned pass = 0; pass < 20; pass++) {
        DO(&b, pages, &one);
        DO(&b, sync);
    }
    DO(&b, ram_end);
    DO(&b, devices, vms_slice("abc", 3), false);
    DO(&b, commit, 1, false);
    DO(&b, close);
    unsigned packets = 0, syncs = 0;
    for (unsigned i = 0; i < 4; i++) {
        new_reading(&b, &r[i]);
        decode(&b, 1 + i, VMS_QEVM_MULTIFD, &r[i]);
        packets += r[i].packets - r[i].syncs;
        syncs += r[i].syncs;
        free(r[i].image[0]);
        free(r[i].image[1]);
    }
    cr_expect_eq(packets, 20u);
    cr_expect_eq(syncs % 4, 0u);
    cr_expect_geq(syncs / 4, 21u);
    close_wire(&b);
}

/* ---- VFIO ---- */

/* [VFIO-1] [VFIO-3] Sections of a device; its config state comes behind every END. */
Test(wire_qevm, device_data) {
    static struct bench b;
    static struct reading r;
    static const struct src_wire_device device = {1, 1, "0000:00:02.0/vfio", 0};
    open_wire(&b, "11.1", 0, 16);
    b.options.devices = &device;
    b.options.device_count = 1;
    make_wire(&b);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, false);
    DO(&b, data, 1, SRC_DATA_SETUP, vms_slice(NULL, 0), true);
    DO(&b, data, 1, SRC_DATA_STATE, vms_slice("precopy", 7), false);
    send_all(&b);
    DO(&b, data, 1, SRC_DATA_INITIAL_SENT, vms_slice(NULL, 0), true);
    DO(&b, data, 1, SRC_DATA_CONFIG, vms_slice("config", 6), true);
    DO(&b, data, 1, SRC_DATA_STATE, vms_slice("stop", 4), true);
    DO(&b, ram_end);
    DO(&b, devices, vms_slice("abc", 3), false);
    DO(&b, commit, 1, false);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_not_null(
        strstr(r.names, "SECTION_START VFIO_SETUP_STATE VFIO_END_OF_STATE "
                        "SECTION_PART VFIO_DATA_STATE VFIO_END_OF_STATE SECTION_PART page RAM_EOS "
                        "SECTION_PART VFIO_INIT_DATA_SENT SWITCHOVER_START "
                        "SECTION_END VFIO_DATA_STATE VFIO_END_OF_STATE SECTION_END RAM_EOS "
                        "SECTION_FULL VFIO_CONFIG_STATE VFIO_END_OF_STATE SECTION_FULL EOF"),
        "%s", r.names);
    cr_expect_neq(b.wire.ops->data(b.wire.ctx, 9, SRC_DATA_STATE, vms_slice("x", 1), true, &b.err),
                  VMS_OK);
    expect_memory(&b, &r);
    close_wire(&b);
}
