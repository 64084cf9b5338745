/* SPDX-License-Identifier: MIT */
#include "reference-dst/session_test_util.h"

#include <sys/stat.h>

/*
 * A scripted source switches to postcopy, well and badly: real sockets, real userfaultfd. Each bad
 * one ends in the named error. [DST-2] [DST-14] [DST-17] [DST-18] [CMD-6] [REC-1] [REC-7]
 */

enum {
    REPLY_PONG = 2,
    REPLY_REQ_ID = 3,
    REPLY_BITMAP = 5,
    REPLY_RESUME_ACK = 6,
    ARRIVED = 4, /* pages that come in precopy; the first is then discarded */
};

/* ---- what the source sends ---- */

static void advise(void) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_POSTCOPY_ADVISE);
    vms_write_u16(&w, 16);
    vms_write_u64(&w, PAGE);
    vms_write_u64(&w, PAGE);
}

static void discard(uint64_t start, uint64_t length) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_POSTCOPY_RAM_DISCARD);
    vms_write_u16(&w, 1 + 4 + 1 + 16);
    vms_write_u8(&w, 0);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u8(&w, 0);
    vms_write_u64(&w, start);
    vms_write_u64(&w, length);
}

static void page(unsigned n) {
    vms_write_u64(&w, n * PAGE | VMS_RAM_PAGE);
    vms_write_str8(&w, vms_str("ram"));
    for (int i = 0; i < PAGE; i++)
        vms_write_u8(&w, (uint8_t)(n + 1));
}

static void zero_page(unsigned n) {
    vms_write_u64(&w, n * PAGE | VMS_RAM_ZERO);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u8(&w, 0);
}

static void open_part(void) {
    vms_write_u8(&w, 0x02);
    vms_write_u32(&w, 1);
}

static void close_part(void) {
    vms_write_u64(&w, VMS_RAM_EOS);
    footer(1);
}

/* The last page is a zero page. */
static void pages(unsigned first, unsigned end_) {
    open_part();
    for (unsigned i = first; i < end_; i++)
        if (i == BLOCK_PAGES - 1)
            zero_page(i);
        else
            page(i);
    close_part();
}

static void package(bool run) {
    static const uint8_t head[] = {0x08, 0, VMS_CMD_PACKAGED, 0, 4};
    vms_write_bytes(&w, vms_slice(head, sizeof head));
    vms_write_u32(&w, 5 + 9 + (run ? 5 : 1));
    command(VMS_CMD_POSTCOPY_LISTEN, 0, 0);
    command(VMS_CMD_PING, 3, 4);
    if (run)
        command(VMS_CMD_POSTCOPY_RUN, 0, 0);
    else
        vms_write_u8(&w, 0);
}

static void recv_bitmap(const char *block) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_RECV_BITMAP);
    vms_write_u16(&w, (uint16_t)(1 + strlen(block)));
    vms_write_str8(&w, vms_str(block));
}

/* ---- what comes back ---- */

static void read_full(int fd, uint8_t *out, size_t n) {
    for (size_t at = 0; at < n;) {
        struct pollfd p = {fd, POLLIN, 0};
        ssize_t got = poll(&p, 1, REPLY_MS) == 1 ? read(fd, out + at, n - at) : -1;
        cr_assert_gt(got, 0, "the destination has closed or is silent");
        at += (size_t)got;
    }
}

/* The next message; its type. */
static unsigned reply(int fd, uint8_t *payload, size_t *len) {
    uint8_t head[4];
    read_full(fd, head, 4);
    *len = (size_t)(head[2] << 8 | head[3]);
    read_full(fd, payload, *len);
    return (unsigned)(head[0] << 8 | head[1]);
}

static void expect_pong(int fd, uint32_t value) {
    uint8_t p[512];
    size_t len;
    cr_assert_eq(reply(fd, p, &len), REPLY_PONG);
    cr_assert_eq(p[3], value);
}

static bool asked; /* a page request came among the PONGs */

/* Both PONGs: different threads answer (E-37). */
static void until_it_runs(int fd) {
    uint8_t p[512];
    size_t len;
    unsigned seen = 0;
    while (seen != (1u << 3 | 1u << 4))
        switch (reply(fd, p, &len)) {
        case REPLY_PONG: seen |= 1u << p[3]; break;
        case REPLY_REQ_ID: asked = true; break;
        }
}

/* ---- scenes ---- */

/* Everything up to RUN: pages 1 to 3 have arrived, 12 and one zero page are missing. */
static int begin_postcopy(struct scene *s) {
    int fd = begin(s);
    advise();
    ram_start(false);
    pages(0, ARRIVED);
    discard(0, PAGE);
    package(true);
    command(VMS_CMD_PING, 4, 4);
    send_all(fd);
    expect_pong(fd, 1);
    until_it_runs(fd);
    return fd;
}

/* RUN is executed behind PING 3: until then a cut is no pause. */
static void until_running(struct scene *s) {
    pthread_mutex_lock(&s->session->lock);
    while (!s->session->ran && !s->session->over)
        (void)dst_wait(s->session, VMS_NEVER);
    pthread_mutex_unlock(&s->session->lock);
}

static void rest(void) {
    pages(0, 1);
    pages(ARRIVED, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
}

static void expect_memory(struct scene *s) {
    const struct vms_ram_block *b = vms_ram_image_block(s->session->image, 0);
    for (unsigned i = 0; i < BLOCK_PAGES * PAGE; i++)
        cr_assert_eq(b->memory[i], i / PAGE == BLOCK_PAGES - 1 ? 0 : i / PAGE + 1, "0x%x", i);
}

static void expect_good_end(struct scene *s, int fd) {
    cr_assert(ends_with_shut(fd, 0));
    pthread_join(s->thread, NULL);
    cr_assert_eq(s->session->error.code, VMS_OK, "%s", s->session->error.message);
    cr_assert_eq(dst_source_belief(s->session), DST_SOURCE_GAVE_UP);
    expect_memory(s);
    s->thread = 0;
}

TestSuite(postcopy, .timeout = 300);

/* [DST-15] Somebody touches memory: what is missing is asked for. */
Test(postcopy, good) {
    struct scene s = {.options.touch = 2};
    uint8_t p[512];
    size_t len;
    int fd = begin_postcopy(&s);
    if (!asked) {
        cr_assert_eq(reply(fd, p, &len), REPLY_REQ_ID);
        cr_assert_eq(len, 13 + 3);
    }
    rest();
    send_all(fd);
    expect_good_end(&s, fd);
    EXPECT(&s, VMS_OK);
}

/* [REC-7] The package is not complete. */
Test(postcopy, cut_before_run) {
    struct scene s = {.options.recover_ms = -1};
    int fd = begin(&s);
    advise();
    ram_start(false);
    package(true);
    w.pos -= 5;
    send_all(fd);
    (void)shutdown(fd, SHUT_WR);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_TRUNCATED);
}

/* [DST-14] */
Test(postcopy, not_advised) {
    struct scene s = {0};
    int fd = begin(&s);
    ram_start(false);
    package(true);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_POSTCOPY_STATE);
}

/* [DST-2] LISTEN that is not in a package: nobody could read on while the devices load. */
Test(postcopy, listen_without_package) {
    struct scene s = {0};
    int fd = begin(&s);
    advise();
    ram_start(false);
    command(VMS_CMD_POSTCOPY_LISTEN, 0, 0);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_UNEXPECTED);
}

/* [DST-9] A package that does not let the guest run. */
Test(postcopy, package_without_run) {
    struct scene s = {0};
    int fd = begin(&s);
    advise();
    ram_start(false);
    package(false);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_DST_UNEXPECTED);
}

/* [DST-23] A failure of this end, when the guest has run: the connection ends without a word. */
Test(postcopy, failure_when_it_runs) {
    struct scene s = {0};
    struct vms_error err;
    uint8_t in[1024];
    int fd = begin_postcopy(&s);
    until_running(&s);
    (void)vms_error_set(&err, VMS_E_NO_MEMORY, NULL);
    (void)dst_session_fail(s.session, &err);
    size_t n = 0;
    for (ssize_t got; n < sizeof in && (got = recv(fd, in + n, sizeof in - n, 0)) > 0;)
        n += (size_t)got;
    static const uint8_t shut[8] = {0, 1, 0, 4, 0, 0, 0, 1};
    cr_expect(n < 8 || memcmp(in + n - 8, shut, 8) != 0, "handed back");
    EXPECT(&s, VMS_E_NO_MEMORY);
}

/* [DST-17] */
Test(postcopy, page_twice) {
    struct scene s = {0};
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(5, 6);
    pages(5, 6);
    send_all(fd);
    EXPECT(&s, VMS_E_POSTCOPY_PAGE_TWICE);
}

/* [DST-17] One that arrived in precopy and was not discarded. */
Test(postcopy, page_that_was_there) {
    struct scene s = {0};
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(2, 3);
    send_all(fd);
    EXPECT(&s, VMS_E_POSTCOPY_PAGE_TWICE);
}

/* [DST-5] */
Test(postcopy, end_without_all_pages) {
    struct scene s = {0};
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(5, 8);
    ram_end();
    vms_write_u8(&w, 0);
    send_all(fd);
    EXPECT(&s, VMS_E_DST_INCOMPLETE);
}

static bool packets_have_ended(const struct dst_session *s) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (s->channels[i]->kind == VMS_QEVM_MULTIFD && !s->channels[i]->ended)
            return false;
    return true;
}

static void normal_packet(unsigned n) {
    vms_write_u32(&w, 0x11223344);
    vms_write_u32(&w, 1);
    vms_write_u32(&w, 0); /* flags */
    vms_write_u32(&w, 128);
    vms_write_u32(&w, 1);
    vms_write_u32(&w, PAGE);
    vms_write_u64(&w, 1);
    vms_write_zeros(&w, 32);
    vms_write_bytes(&w, vms_str("ram"));
    vms_write_zeros(&w, 256 - 3);
    vms_write_u64(&w, n * PAGE);
    vms_write_zeros(&w, 127 * 8);
    vms_write_zeros(&w, PAGE);
}

/* [MFD-18] A packet with pages behind LISTEN is not taken; the guest goes on (DST-18). Had it been,
 * that page would come twice (DST-17). */
Test(postcopy, packet_while_listening) {
    struct scene s = {.options.recover_ms = 100};
    open_scene(&s);
    int channel = dial(&s), fd = dial(&s);
    hello(0);
    sync_packet(0);
    send_all(channel);
    header();
    open_return_path();
    advise();
    ram_start(true);
    package(true);
    command(VMS_CMD_PING, 4, 4);
    send_all(fd);
    expect_pong(fd, 1);
    until_it_runs(fd);
    until_running(&s);
    normal_packet(5);
    send_all(channel);
    pthread_mutex_lock(&s.session->lock);
    while (!packets_have_ended(s.session) && !s.session->over)
        (void)dst_wait(s.session, VMS_NEVER);
    pthread_mutex_unlock(&s.session->lock);
    cr_expect_not(s.session->over);
    pages(0, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
    send_all(fd);
    expect_good_end(&s, fd);
    EXPECT(&s, VMS_OK);
}

/* [CMD-6] A second package, or a discard, behind RUN. */
Test(postcopy, discard_while_running) {
    struct scene s = {0};
    int fd = begin_postcopy(&s);
    until_running(&s);
    discard(0, PAGE);
    send_all(fd);
    EXPECT(&s, VMS_E_POSTCOPY_STATE);
}

/* [PRE-2] */
Test(postcopy, preempt_with_a_wrong_record) {
    struct scene s = {0};
    (void)begin_postcopy(&s);
    until_running(&s);
    int fd = dial(&s);
    vms_write_u64(&w, VMS_RAM_MULTIFD_FLUSH);
    send_all(fd);
    EXPECT(&s, VMS_E_PREEMPT_RECORD);
}

/* [PRE-1] [PRE-3] [HOST-9] Pages on the preempt channel; it ends without EOS, main has the rest. */
Test(postcopy, preempt) {
    struct scene s = {0};
    int fd = begin_postcopy(&s), preempt = dial(&s);
    page(5);
    page(6);
    send_all(preempt);
    (void)shutdown(preempt, SHUT_WR);
    pages(0, 1);
    pages(4, 5);
    pages(7, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
    send_all(fd);
    expect_good_end(&s, fd);
    EXPECT(&s, VMS_OK);
}

/* ---- recovery ---- */

static int reconnect(struct scene *s) {
    int fd = dial(s);
    recv_bitmap("ram");
    send_all(fd);
    return fd;
}

static void until_broken(struct scene *s) {
    pthread_mutex_lock(&s->session->lock);
    while (!s->session->broken && !s->session->over)
        (void)dst_wait(s->session, VMS_NEVER);
    pthread_mutex_unlock(&s->session->lock);
}

/* [RP-4] [RP-5] One bit a page, in whole words. */
static uint64_t read_bitmap(int fd) {
    uint8_t p[512], tail[24];
    size_t len;
    uint64_t bits = 0;
    cr_assert_eq(reply(fd, p, &len), REPLY_BITMAP);
    cr_assert_eq(len, 4);
    read_full(fd, tail, sizeof tail);
    cr_assert_eq(tail[7], 8);
    for (int i = 0; i < 8; i++)
        bits |= (uint64_t)tail[8 + i] << (8 * i);
    cr_assert_eq(tail[16], 0x01);
    cr_assert_eq(tail[23], 0xef);
    return bits;
}

static void resume(int fd) {
    uint8_t p[512];
    size_t len;
    command(VMS_CMD_POSTCOPY_RESUME, 0, 0);
    send_all(fd);
    cr_assert_eq(reply(fd, p, &len), REPLY_RESUME_ACK);
}

/* [DST-18] [REC-3] [REC-4] [REC-6] Twice, and the bitmap says what has come. */
Test(postcopy, recovery) {
    struct scene s = {.options.recover_ms = -1, .options.touch = 1};
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(8, 10);
    send_all(fd);
    uint64_t want = 0x30e; /* 1 to 3, 8, 9 */
    for (int i = 0; i < 2; i++) {
        uint8_t p[512];
        size_t len;
        (void)shutdown(fd, SHUT_WR);
        until_broken(&s);
        fd = reconnect(&s);
        cr_assert_eq(read_bitmap(fd), want);
        resume(fd);
        cr_assert_eq(reply(fd, p, &len), REPLY_REQ_ID, "who waits is asked for again, by name");
        pages(10 + (unsigned)i, 11 + (unsigned)i);
        send_all(fd);
        want |= 1u << (10 + i);
    }
    pages(0, 1);
    pages(4, 8);
    pages(12, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
    send_all(fd);
    expect_good_end(&s, fd);
    cr_assert_eq(s.session->stats.recoveries, 2);
    EXPECT(&s, VMS_OK);
}

/* [DST-18] A recovery that goes wrong is one more cut; so is a connection that is none. */
Test(postcopy, bad_recoveries_first) {
    struct scene s = {.options.recover_ms = -1};
    int fd = begin_postcopy(&s);
    until_running(&s);
    (void)shutdown(fd, SHUT_WR);
    until_broken(&s);
    fd = reconnect(&s); /* pages before RESUME */
    (void)read_bitmap(fd);
    pages(8, 9);
    send_all(fd);
    until_broken(&s);
    fd = dial(&s); /* a block that is not there */
    recv_bitmap("rom");
    send_all(fd);
    while (s.session->stats.cuts < 3)
        sched_yield();
    fd = dial(&s); /* what the old preempt channel had sent last */
    page(8);
    send_all(fd);
    cr_assert_not(ends_with_shut(fd, 1));
    fd = dial(&s); /* a new migration */
    header();
    send_all(fd);
    cr_assert_not(ends_with_shut(fd, 1));
    fd = reconnect(&s);
    (void)read_bitmap(fd);
    resume(fd);
    rest();
    send_all(fd);
    expect_good_end(&s, fd);
    cr_assert_eq(s.session->stats.cuts, 3);
    EXPECT(&s, VMS_OK);
}

/* [REC-8] END and then a cut; END comes once more, or not. */
Test(postcopy, cut_behind_end) {
    for (int again = 0; again < 2; again++) {
        struct scene s = {.options.recover_ms = -1};
        int fd = begin_postcopy(&s);
        until_running(&s);
        pages(0, 1);
        pages(ARRIVED, BLOCK_PAGES);
        ram_end();
        send_all(fd);
        (void)shutdown(fd, SHUT_WR);
        until_broken(&s);
        fd = reconnect(&s);
        cr_assert_eq(read_bitmap(fd), 0xffff);
        resume(fd);
        if (again)
            ram_end();
        vms_write_u8(&w, 0);
        send_all(fd);
        expect_good_end(&s, fd);
        EXPECT(&s, VMS_OK);
    }
}

/* [REC-1] The new connection is quicker than the end of the old one. */
Test(postcopy, recovery_before_the_cut_is_known) {
    struct scene s = {.options.recover_ms = -1};
    int old = begin_postcopy(&s);
    until_running(&s);
    int fd = reconnect(&s);
    (void)shutdown(old, SHUT_WR);
    cr_assert_eq(read_bitmap(fd), 0xe);
    resume(fd);
    rest();
    send_all(fd);
    expect_good_end(&s, fd);
    EXPECT(&s, VMS_OK);
}

/* [DST-18] Nobody comes back: lost with the reason of the cut, or whole already. */
Test(postcopy, nobody_comes_back) {
    struct scene s = {.options.recover_ms = 100, .options.touch = 1};
    int fd = begin_postcopy(&s);
    until_running(&s);
    (void)shutdown(fd, SHUT_WR);
    EXPECT(&s, VMS_E_TRUNCATED);
}

/* ---- memory that goes into files when all of it is there ---- */

static char ram_dir[32], ram_file[40];

static void make_ram_dir(struct scene *s) {
    (void)strcpy(ram_dir, "/tmp/vms-dst-ram-XXXXXX");
    cr_assert_not_null(mkdtemp(ram_dir));
    (void)snprintf(ram_file, sizeof ram_file, "%s/ram", ram_dir);
    s->options.ram_dir = ram_dir;
}

static void remove_ram_dir(void) {
    cr_assert_eq(remove(ram_file), 0);
    cr_assert_eq(rmdir(ram_dir), 0);
}

static void expect_file(void) {
    static uint8_t in[(BLOCK_PAGES + 1) * PAGE];
    FILE *f = fopen(ram_file, "rbe");
    cr_assert_not_null(f);
    cr_assert_eq(fread(in, 1, sizeof in, f), BLOCK_PAGES * PAGE);
    (void)fclose(f);
    for (unsigned i = 0; i < BLOCK_PAGES * PAGE; i++)
        cr_assert_eq(in[i], i / PAGE == BLOCK_PAGES - 1 ? 0 : i / PAGE + 1, "0x%x", i);
}

/* [DST-10] Where there is a folder of that name no file can be written: the source has its guest.
 */
Test(postcopy, files_before_shut) {
    struct scene s = {0};
    make_ram_dir(&s);
    cr_assert_eq(mkdir(ram_file, 0700), 0);
    int fd = begin(&s);
    advise();
    ram_start(false);
    pages(0, BLOCK_PAGES);
    ram_end();
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&s, VMS_E_IO);
    remove_ram_dir();
}

/* [DST-18] It is this end that fails, and no cut. */
Test(postcopy, files_of_a_guest_that_runs) {
    struct scene s = {.options.recover_ms = -1};
    make_ram_dir(&s);
    cr_assert_eq(mkdir(ram_file, 0700), 0);
    int fd = begin_postcopy(&s);
    rest();
    send_all(fd);
    EXPECT(&s, VMS_E_IO);
    remove_ram_dir();
}

Test(postcopy, files_though_nobody_comes_back) {
    struct scene s = {.options.recover_ms = 100};
    make_ram_dir(&s);
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(0, 1);
    pages(ARRIVED, BLOCK_PAGES);
    send_all(fd);
    (void)shutdown(fd, SHUT_WR);
    EXPECT(&s, VMS_OK);
    expect_file();
    remove_ram_dir();
}

Test(postcopy, nobody_has_to_come_back) {
    struct scene s = {.options.recover_ms = 100};
    int fd = begin_postcopy(&s);
    until_running(&s);
    pages(0, 1);
    pages(ARRIVED, BLOCK_PAGES);
    send_all(fd);
    (void)shutdown(fd, SHUT_WR);
    EXPECT(&s, VMS_OK);
}
