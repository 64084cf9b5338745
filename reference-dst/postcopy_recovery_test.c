/* SPDX-License-Identifier: MIT */
#include "reference-dst/postcopy_test_util.h"

/*
 * A cut in postcopy, and the source that comes back, well or badly, or does not. [DST-18] [REC-1]
 * The suite's limit of time stands in postcopy_test.c.
 */

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

static bool is_there(struct scene *s, uint32_t number) {
    bool found = false;
    pthread_mutex_lock(&s->session->lock);
    for (size_t i = 0; i < s->session->channel_count; i++)
        found |= s->session->channels[i]->number == number && !s->session->channels[i]->ended;
    pthread_mutex_unlock(&s->session->lock);
    return found;
}

/* A connection that is the destination's number n, once it has taken it. */
static int dial_nth(struct scene *s, uint32_t n) {
    int fd = dial(s);
    while (!is_there(s, n))
        sched_yield();
    return fd;
}

/*
 * [DST-18] The preempt channel of a recovery that was cut arrives late, and ends behind the next
 * one's beginning: that one's own preempt channel is no second one.
 */
static void with_a_stale_preempt_channel(bool before, bool with_a_page) {
    struct scene s = {.options.recover_ms = -1};
    int fd = begin_postcopy(&s), stale = -1;
    until_running(&s);
    (void)shutdown(fd, SHUT_WR);
    until_broken(&s);
    if (before)
        stale = dial_nth(&s, 1);
    fd = reconnect(&s);
    (void)read_bitmap(fd);
    resume(fd);
    if (!before)
        stale = dial_nth(&s, 2);
    if (with_a_page)
        page(5);
    send_all(stale);
    (void)close(stale);
    while (is_there(&s, before ? 1 : 2))
        sched_yield();
    int preempt = dial(&s);
    page(7);
    send_all(preempt);
    (void)shutdown(preempt, SHUT_WR);
    pages(0, 1);
    pages(4, 7);
    pages(8, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
    send_all(fd);
    expect_good_end(&s, fd);
    cr_assert_eq(s.session->stats.cuts, 1);
    EXPECT(&s, VMS_OK);
}

Test(postcopy, preempt_channel_of_a_recovery_that_was_cut) {
    with_a_stale_preempt_channel(true, false);
    with_a_stale_preempt_channel(true, true);
    with_a_stale_preempt_channel(false, false);
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

/* All pages, and no END. */
static void send_pages_and_go(struct scene *s) {
    int fd = begin_postcopy(s);
    until_running(s);
    pages(0, 1);
    pages(ARRIVED, BLOCK_PAGES);
    send_all(fd);
    (void)shutdown(fd, SHUT_WR);
}

Test(postcopy, files_though_nobody_comes_back) {
    struct scene s = {.options.recover_ms = 100};
    make_ram_dir(&s);
    send_pages_and_go(&s);
    EXPECT(&s, VMS_OK);
    expect_file();
    remove_ram_dir();
}

Test(postcopy, nobody_has_to_come_back) {
    struct scene s = {.options.recover_ms = 100};
    send_pages_and_go(&s);
    EXPECT(&s, VMS_OK);
}
