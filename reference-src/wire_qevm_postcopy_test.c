/* SPDX-License-Identifier: MIT */
#include "reference-src/test_wire.h"

/* Postcopy: into it, what comes back, recovery; and what every channel begins with. */

/* ---- postcopy ---- */

static void pong(struct bench *b) {
    static const uint8_t bytes[] = {0, 2, 0, 4, 0, 0, 0, 1};
    test_say(&b->peer, 0, bytes, sizeof bytes);
}

static void into_postcopy(struct bench *b) {
    uint64_t ranges[2 * 30];
    for (unsigned i = 0; i < 30; i++)
        ranges[2 * i] = 2 * i, ranges[2 * i + 1] = 1;
    DO(b, connect);
    DO(b, setup, &b->guest.guest, true);
    pong(b);
    DO(b, discard, 0, ranges, 30);
    DO(b, listen);
    DO(b, devices, vms_slice("abc", 3), true);
    DO(b, commit, 1, true);
}

/* [CMD-14] [PKG-2] [RAM-24] Into postcopy and to its end. */
Test(wire_qevm_postcopy, postcopy_order) {
    static struct bench b;
    static struct reading r;
    open_wire(&b, "11.1", 0, 64);
    b.guest.blocks[0].page_size = 16 * TEST_PAGE;
    into_postcopy(&b);
    send_all(&b);
    DO(&b, end);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 0, VMS_QEVM_MAIN, &r);
    cr_expect_str_eq(r.names,
                     "HEADER CONFIGURATION OPEN_RETURN_PATH PING POSTCOPY_ADVISE SECTION_START "
                     "RAM_MEM_SIZE RAM_BLOCK RAM_BLOCK RAM_EOS SWITCHOVER_START "
                     "POSTCOPY_RAM_DISCARD POSTCOPY_RAM_DISCARD POSTCOPY_RAM_DISCARD PING PACKAGED "
                     ".POSTCOPY_LISTEN .SECTION_FULL .PING .PING .POSTCOPY_RUN .PACKAGE_END PING "
                     "SECTION_PART page RAM_EOS SECTION_END RAM_EOS EOF ");
    expect_memory(&b, &r);
    close_wire(&b);
}

/* [PRE-1] [PRE-5] Only urgent pages go on the preempt channel, the first of them named. */
Test(wire_qevm_postcopy, preempt) {
    static struct bench b;
    static struct reading r;
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, "11.1", 0, 64);
    b.options.preempt = b.options.postcopy = true;
    make_wire(&b);
    into_postcopy(&b);
    DO(&b, urgent, &one);
    DO(&b, end);
    DO(&b, close);
    new_reading(&b, &r);
    decode(&b, 1, VMS_QEVM_PREEMPT, &r);
    cr_expect_str_eq(r.names, "page ");
    cr_expect(r.pages == 1 && r.zeros == 1);
    cr_expect(memcmp(r.image[1] + 3 * TEST_PAGE, b.guest.blocks[1].memory + 3 * TEST_PAGE,
                     TEST_PAGE) == 0);
    free(r.image[0]);
    free(r.image[1]);
    close_wire(&b);
}

/* ---- the return path ---- */

/* [RP-8] A request is passed on; QEVM's first shows that the guest runs there. */
Test(wire_qevm_postcopy, requests) {
    static struct bench b;
    static const uint8_t request[] = {0, 3, 0,    19, 0, 0,   0,   0,   0,   0,   0x10, 0,
                                      0, 0, 0x10, 0,  6, 'p', 'c', '.', 'r', 'a', 'm'};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    test_say(&b.peer, 0, request, sizeof request);
    cr_expect(wait_for(&b.heard, SRC_EV_RUNNING));
    b.wire.ops->abort(b.wire.ctx, NULL);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    cr_expect(b.heard.requests == 1 && b.heard.request_offset == 0x1000);
    close_wire(&b);
}

static void refuse(const uint8_t *bytes, size_t len, enum vms_code code) {
    static struct bench b;
    open_wire(&b, "11.1", 0, 64);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, true);
    test_say(&b.peer, 0, bytes, len);
    cr_expect(wait_for(&b.heard, SRC_EV_ABORT));
    cr_expect_eq(b.heard.why.code, code, "%s: %s", vms_code_name(b.heard.why.code),
                 b.heard.why.message);
    cr_expect_eq(b.heard.requests, UINT64_C(0));
    close_wire(&b);
}

#define REFUSE(code, ...)                                                                          \
    do {                                                                                           \
        static const uint8_t bytes[] = {__VA_ARGS__};                                              \
        refuse(bytes, sizeof bytes, code);                                                         \
    } while (0)

/* [RP-1] [RP-8] [RP-13] What a destination must not say. */
Test(wire_qevm_postcopy, bad_replies) {
    REFUSE(VMS_E_RP_TYPE, 0, 0, 0, 4, 0, 0, 0, 0);
    REFUSE(VMS_E_SRC_RP_UNASKED, 0, 6, 0, 4, 0, 0, 0, 1);
    REFUSE(VMS_E_SRC_RP_UNASKED, 0, 5, 0, 7, 6, 'p', 'c', '.', 'r', 'a', 'm', 0, 0, 0, 0, 0, 0, 0,
           8);
    REFUSE(VMS_E_RAM_BLOCK_UNKNOWN, 0, 3, 0, 14, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 1, 'x');
    REFUSE(VMS_E_RAM_OFFSET, 0, 3, 0, 19, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x10, 0, 6, 'p', 'c', '.',
           'r', 'a', 'm');
    REFUSE(VMS_E_RAM_OFFSET, 0, 3, 0, 19, 0, 0, 0, 0, 0, 0, 0x10, 0, 0xff, 0xff, 0xf0, 0, 6, 'p',
           'c', '.', 'r', 'a', 'm');
    REFUSE(VMS_E_RP_ALIGNMENT, 0, 3, 0, 19, 0, 0, 0, 0, 0, 0, 0x10, 1, 0, 0, 0x10, 0, 6, 'p', 'c',
           '.', 'r', 'a', 'm');
}

/* ---- recovery ---- */

/* [REC-1] [REC-5] [RP-4] A new connection without a header; RESUME when all bitmaps are in. */
Test(wire_qevm_postcopy, recovery) {
    static struct bench b;
    static const uint8_t bitmap[] = {0, 5, 0, 7,    6,    'p',  'c',  '.',  'r',  'a',  'm', 0,
                                     0, 0, 0, 0,    0,    0,    8,    1,    2,    3,    4,   5,
                                     6, 7, 8, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t bios[] = {0, 5, 0, 8, 7,    'p',  'c',  '.',  'b',  'i',  'o',  's',
                                   0, 0, 0, 0, 0,    0,    0,    8,    0,    0,    0,    0,
                                   0, 0, 0, 0, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t ack[] = {0, 6, 0, 4, 0, 0, 0, 1};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    test_hang_up(&b.peer, 0);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    DO(&b, reconnect);
    DO(&b, ask_bitmaps);
    test_say(&b.peer, 1, bios, sizeof bios);
    test_say(&b.peer, 1, bitmap, sizeof bitmap);
    cr_expect(wait_for(&b.heard, SRC_EV_BITMAPS));
    cr_expect_eq(b.heard.received, (size_t)16);
    DO(&b, resume);
    test_say(&b.peer, 1, ack, sizeof ack);
    cr_expect(wait_for(&b.heard, SRC_EV_RESUME_ACK));
    struct test_channel *c = test_wait(&b.peer, 1, 12 + 13 + 5);
    static const uint8_t want[] = {8, 0, 10, 0,   7,   6,   'p', 'c', '.', 'r', 'a', 'm', 8, 0, 10,
                                   0, 8, 7,  'p', 'c', '.', 'b', 'i', 'o', 's', 8,   0,   9, 0, 0};
    cr_expect(c->len == sizeof want && memcmp(c->bytes, want, sizeof want) == 0);
    close_wire(&b);
}

/* ---- on every channel ---- */

static void check_channel(struct bench *b, unsigned i, enum vms_qevm_kind kind) {
    static struct reading r;
    static const uint8_t multifd[4] = {0x11, 0x22, 0x33, 0x44};
    const struct test_channel *c = test_wait(&b->peer, i, SIZE_MAX);
    new_reading(b, &r);
    decode(b, i, kind, &r);
    cr_expect(memcmp(c->bytes, multifd, 4) == 0 ? kind == VMS_QEVM_MULTIFD
                                                : kind != VMS_QEVM_MULTIFD,
              "connection %u is not %s", i, vms_qevm_kind_name(kind));
    cr_expect_eq(r.headers, (unsigned)(kind == VMS_QEVM_MAIN), "connection %u", i);
    cr_expect_eq(r.unnamed, 0u, "connection %u", i);
    free(r.image[0]);
    free(r.image[1]);
}

static void every_channel(const char *dialect, unsigned channels, bool preempt) {
    static struct bench b;
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, dialect, channels, 64);
    b.options.preempt = preempt;
    b.options.postcopy = true;
    make_wire(&b);
    DO(&b, connect);
    DO(&b, setup, &b.guest.guest, true);
    pong(&b);
    send_all(&b);
    DO(&b, sync);
    DO(&b, listen);
    DO(&b, devices, vms_slice("abc", 3), true);
    DO(&b, commit, 1, true);
    if (preempt)
        DO(&b, urgent, &one);
    DO(&b, pages, &one);
    DO(&b, end);
    DO(&b, close);
    check_channel(&b, 0, VMS_QEVM_MAIN);
    for (unsigned i = 1; i <= channels; i++)
        check_channel(&b, i, VMS_QEVM_MULTIFD);
    if (preempt)
        check_channel(&b, channels + 1, VMS_QEVM_PREEMPT);
    close_wire(&b);
}

/* [HOST-11] [HDR-4] [RAM-26] Main first, multifd next, preempt last; one header; each channel names
 * its block in its first page record, and main once more behind the package. */
Test(wire_qevm_postcopy, every_channel) {
    every_channel("11.1", 0, true);
    every_channel("qemu=7.2,machine=7.2", 0, true);
    every_channel("qemu=7.2,machine=7.2", 2, false);
    every_channel("11.1", 3, true);
}

/* [HDR-4] [RAM-26] [REC-1] So does the connection behind a cut, which has no header. */
Test(wire_qevm_postcopy, names_after_a_recovery) {
    static struct bench b;
    static const uint8_t ack[] = {0, 6, 0, 4, 0, 0, 0, 1};
    struct src_batch one = {.block = 1, .count = 2, .page_size = TEST_PAGE, .pages = {3, 5}};
    open_wire(&b, "11.1", 0, 64);
    into_postcopy(&b);
    DO(&b, pages, &one);
    DO(&b, flush);
    test_hang_up(&b.peer, 0);
    cr_expect(wait_for(&b.heard, SRC_EV_CUT));
    DO(&b, reconnect);
    DO(&b, resume);
    test_say(&b.peer, 1, ack, sizeof ack);
    cr_expect(wait_for(&b.heard, SRC_EV_RESUME_ACK));
    DO(&b, pages, &one);
    DO(&b, end);
    DO(&b, close);
    check_channel(&b, 1, VMS_QEVM_RECOVERY);
    close_wire(&b);
}
