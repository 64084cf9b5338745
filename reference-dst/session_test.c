/* SPDX-License-Identifier: MIT */
#include "reference-dst/session_test_util.h"

/*
 * What a peer must not do, done by a scripted peer over real sockets: each ends in the named error,
 * and with SHUT(1) where the return path is open. [DST-2] [DST-3] [DST-4] [DST-5] [DST-8] [DST-12]
 */

TestSuite(session, .timeout = 300);

Test(session, good_migration) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(false);
    ram_end();
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 0));
    EXPECT(&s, VMS_OK);
}

/* [DST-3] [HOST-9] multifd before main, two of them, synchronised */
Test(session, channels_in_any_order) {
    struct scene s = {0};
    open_scene(&s);
    for (uint8_t i = 0; i < 2; i++) {
        int fd = dial(&s);
        hello(i);
        sync_packet(i);
        send_all(fd);
    }
    int fd = dial(&s);
    header();
    open_return_path();
    ram_start(true);
    ram_end();
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 0));
    EXPECT(&s, VMS_OK);
}

/* [DST-8] */
Test(session, cut_connection) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(false);
    send_all(fd);
    (void)shutdown(fd, SHUT_WR);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_TRUNCATED);
}

Test(session, bad_magic) {
    struct scene s = {0};
    open_scene(&s);
    vms_write_bytes(&w, vms_str("GET / HTTP/1.1\r\n\r\n"));
    send_all(dial(&s));
    EXPECT(&s, VMS_E_BAD_MAGIC);
}

Test(session, other_machine) {
    struct scene s = {.options.settings.machine = "pc-q35-11.1"};
    open_scene(&s);
    header();
    open_return_path();
    send_all(dial(&s));
    EXPECT(&s, VMS_E_CONFIG_MACHINE);
}

Test(session, too_much_memory) {
    struct scene s = {.options.max_ram = PAGE};
    int fd = begin(&s);
    ram_start(false);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_LIMIT);
}

/* [DST-5] RAM has no END although the source waits for an answer */
Test(session, incomplete) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(false);
    command(VMS_CMD_SWITCHOVER_START, 0, 0);
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_INCOMPLETE);
}

/* [DST-2] a command that this destination was not set up for */
Test(session, colo) {
    struct scene s = {0};
    int fd = begin(&s);
    command(VMS_CMD_ENABLE_COLO, 0, 0);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_UNEXPECTED);
}

/* [DST-4] */
Test(session, second_main_channel) {
    struct scene s = {0};
    int fd = begin(&s);
    send_all(fd);
    header();
    send_all(dial(&s));
    EXPECT(&s, VMS_E_DST_CHANNELS);
}

/* [MFD-2] */
Test(session, channel_id_twice) {
    struct scene s = {0};
    open_scene(&s);
    for (int i = 0; i < 2; i++) {
        hello(7);
        send_all(dial(&s));
    }
    EXPECT(&s, VMS_E_MULTIFD_CHANNEL);
}

/* [MFD-12] a channel that ends where main waits for its SYNC */
Test(session, sync_is_missing) {
    struct scene s = {0};
    open_scene(&s);
    int channel = dial(&s);
    hello(0);
    send_all(channel);
    (void)shutdown(channel, SHUT_WR);
    int fd = dial(&s);
    header();
    open_return_path();
    ram_start(true);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_MULTIFD_SYNC);
}

/* [DST-4] a channel that comes when the others have synchronised already */
Test(session, late_channel) {
    struct scene s = {0};
    open_scene(&s);
    hello(1);
    sync_packet(0);
    send_all(dial(&s));
    int fd = dial(&s);
    header();
    open_return_path();
    ram_start(true);
    command(VMS_CMD_PING, 2, 4); /* its answer tells that the sync is behind us */
    send_all(fd);
    uint8_t pongs[16];
    size_t n = 0;
    while (n < sizeof pongs) {
        ssize_t got = read(fd, pongs + n, sizeof pongs - n);
        cr_assert_gt(got, 0);
        n += (size_t)got;
    }
    hello(0);
    send_all(dial(&s));
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_CHANNELS);
}

Test(session, fewer_channels_than_agreed) {
    struct scene s = {.options.multifd_channels = 2, .options.timeout_ms = 300};
    int fd = begin(&s);
    ram_start(true);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_CHANNELS);
}

Test(session, silent_peer) {
    struct scene s = {.options.timeout_ms = 200};
    open_scene(&s);
    int fd = dial(&s);
    header();
    send_all(fd);
    EXPECT(&s, VMS_E_TIMEOUT);
}

Test(session, nobody_comes) {
    struct scene s = {.options.timeout_ms = 200};
    open_scene(&s);
    EXPECT(&s, VMS_E_TIMEOUT);
}

Test(session, nowhere_to_listen) {
    struct dst_options o = {.listen = "unix:/nonexistent/socket",
                            .limits = vms_limits_default(),
                            .timeout_ms = 100,
                            .quiet = true};
    struct dst_session *s = calloc(1, sizeof *s);
    cr_assert_eq(dst_session_run(s, &o), VMS_E_CONNECT);
    cr_assert_eq(s->error.class_, VMS_CLASS_LOCAL);
    dst_session_free(s);
    free(s);
}
