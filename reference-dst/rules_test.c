/* SPDX-License-Identifier: MIT */
#include "reference-dst/session_test_util.h"

#include "host/channel.h"

/* What a destination owes a source that does nothing wrong, and where it draws the line. */

TestSuite(rules, .timeout = 300);

/* What came back, up to the end of the connection. */
static size_t replies(int fd, uint8_t *in, size_t room) {
    size_t n = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        ssize_t got = n < room && poll(&p, 1, REPLY_MS) == 1 ? read(fd, in + n, room - n) : -1;
        if (got <= 0)
            return n;
        n += (size_t)got;
    }
}

static void whole_migration(void) {
    ram_start(false);
    ram_end();
    end();
}

static void chunk(const char *hex) {
    for (; *hex; hex += 2) {
        unsigned octet;
        (void)sscanf(hex, "%2x", &octet);
        vms_write_u8(&w, (uint8_t)octet);
    }
}

/* ---- refused ---- */

/* [RAM-28] */
Test(rules, flush_without_multifd) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(true);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_UNEXPECTED);
}

/* [MFD-3] [CFG-10] The handshake of another VM. */
Test(rules, foreign_handshake) {
    struct scene s = {0};
    open_scene(&s);
    hello(0);
    bytes[8] = 1; /* of the UUID */
    send_all(dial(&s));
    EXPECT(&s, VMS_E_MULTIFD_UUID);
}

/* [CFG-7] mapped-ram is on there. */
Test(rules, capability_differs) {
    struct scene s = {.options.settings.capabilities = true};
    open_scene(&s);
    header();
    chunk("051a");
    vms_write_bytes(&w, vms_str("configuration/capabilities"));
    chunk("00000001000000010a");
    vms_write_bytes(&w, vms_str("mapped-ram"));
    open_return_path();
    send_all(dial(&s));
    EXPECT(&s, VMS_E_CONFIG_CAPABILITY);
}

/* [CMD-11] Whatever state it is in. */
Test(rules, colo) {
    for (int late = 0; late < 2; late++) {
        struct scene s = {0};
        int fd = begin(&s);
        if (late)
            ram_start(false);
        command(VMS_CMD_ENABLE_COLO, 0, 0);
        send_all(fd);
        cr_assert(ends_with_shut(fd, 1));
        EXPECT(&s, VMS_E_DST_UNEXPECTED);
    }
}

/* ---- the ends of a connection ---- */

/* [HOST-4] Reset, or closed where it may not be: the peer's fault, and said so. */
Test(rules, connection_lost) {
    for (int reset = 0; reset < 2; reset++) {
        struct scene s = {0};
        uint8_t pong[8];
        int fd = begin(&s);
        ram_start(false);
        send_all(fd);
        struct pollfd p = {fd, POLLIN, 0};
        cr_assert_eq(poll(&p, 1, REPLY_MS), 1);
        if (!reset) /* what is read is no reason for a reset */
            cr_assert_eq(read(fd, pong, sizeof pong), 8);
        close(fd);
        s.count--;
        pthread_join(s.thread, NULL);
        s.thread = 0;
        cr_expect_eq(s.session->error.class_, VMS_CLASS_PEER);
        EXPECT(&s, reset ? VMS_E_PEER_CLOSED : VMS_E_TRUNCATED);
    }
}

/* [RP-12] Whatever happens behind OPEN_RETURN_PATH: one SHUT, and nothing behind it. */
Test(rules, one_shut_and_last) {
    for (int bad = 0; bad < 3; bad++) {
        struct scene s = {0};
        uint8_t in[256];
        int fd = begin(&s);
        if (bad < 2)
            whole_migration();
        if (bad == 1)
            bytes[w.pos - 7] = 0x55; /* EOF */
        if (bad == 2)
            command(VMS_CMD_POSTCOPY_RUN, 0, 0);
        send_all(fd);
        size_t n = replies(fd, in, sizeof in);
        static const uint8_t pong[8] = {0, 2, 0, 4, 0, 0, 0, 1};
        uint8_t shut[8] = {0, 1, 0, 4, 0, 0, 0, bad > 0};
        cr_expect_eq(n, sizeof pong + sizeof shut, "%zu octets", n);
        cr_expect(memcmp(in, pong, 8) == 0 && memcmp(in + 8, shut, 8) == 0, "%d", bad);
        cr_expect_eq(close_scene(&s) == VMS_OK, bad == 0);
    }
}

/* ---- peers that are silent, or do not listen ---- */

/* [HOST-10] Two that connect and say nothing hold up nobody. */
Test(rules, silent_connections) {
    struct scene s = {.options.timeout_ms = 10000}; /* half of what replies may take */
    open_scene(&s);
    (void)dial(&s);
    int fd = dial(&s);
    (void)dial(&s);
    header();
    open_return_path();
    whole_migration();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 0));
    EXPECT(&s, VMS_OK);
}

/* [DST-13] PONGs that nobody reads: the stream is read to its end, and they are all there. */
Test(rules, deaf_source) {
    enum {
        PINGS = 100
    };
    struct scene s = {0};
    static uint8_t in[8 * (PINGS + 3)];
    int fd = begin(&s);
    for (uint32_t i = 0; i < PINGS; i++)
        command(VMS_CMD_PING, i, 4);
    whole_migration();
    send_all(fd);
    pthread_join(s.thread, NULL); /* before a single one was read */
    s.thread = 0;
    cr_expect_eq(replies(fd, in, sizeof in), 8u * (PINGS + 2));
    EXPECT(&s, VMS_OK);
}

/* [DST-13] [HOST-5] Behind the bound it is the peer that is silent. */
Test(rules, deaf_for_ever) {
    struct scene s = {.options.timeout_ms = 200};
    int fd = begin(&s);
    for (uint32_t i = 0; i < 100000; i++)
        command(VMS_CMD_PING, i, 4);
    send_all(fd);
    EXPECT(&s, VMS_E_TIMEOUT);
}

/* ---- what is not for this destination ---- */

/* [DBM-4] Bitmaps of disks that are not here: chunks as QEMU 11.1 sends them. */
Test(rules, dirty_bitmap) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(false);
    chunk("01000000020c");
    vms_write_bytes(&w, vms_str("dirty-bitmap"));
    chunk("0000000000000001"
          "1c026e30026231"
          "0001000001140262300001000001017e00000002");
    chunk("0300000002"
          "4602623100000000000000000002000046026230000000000000000000020000"
          "2402623124026230017e00000002");
    ram_end();
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 0));
    EXPECT(&s, VMS_OK);
}

/* [END-6] Whatever the description claims, the same guest comes of it. */
Test(rules, description_is_no_state) {
    static const char *const descriptions[] = {
        "{}", "not JSON",
        "{\"page_size\":65536,\"devices\":[{\"name\":\"ram\",\"instance_id\":0,"
        "\"vmsd_name\":\"ram\",\"version\":4,\"fields\":[{\"name\":\"used_length\",\"type\":"
        "\"uint64\",\"size\":65536,\"value\":1}]}]}"};
    for (size_t i = 0; i < sizeof descriptions / sizeof *descriptions; i++) {
        struct scene s = {0};
        int fd = begin(&s);
        ram_start(false);
        ram_end();
        vms_write_u16(&w, 6); /* EOF, VMDESCRIPTION */
        vms_write_u32(&w, (uint32_t)strlen(descriptions[i]));
        vms_write_bytes(&w, vms_str(descriptions[i]));
        send_all(fd);
        (void)shutdown(fd, SHUT_WR);
        bool good = ends_with_shut(fd, 0);
        pthread_join(s.thread, NULL);
        s.thread = 0;
        cr_assert(good, "%zu: %s", i, s.session->error.message);
        const struct vms_ram_block *b = vms_ram_image_block(s.session->image, 0);
        cr_expect_eq(vms_ram_image_count(s.session->image), 1u);
        cr_expect_eq(b->used_length, (uint64_t)BLOCK_PAGES * PAGE);
        cr_expect_eq(s.session->stats.section_count, 1u);
        EXPECT(&s, VMS_OK);
    }
}
