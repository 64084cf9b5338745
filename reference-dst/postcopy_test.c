/* SPDX-License-Identifier: MIT */
#include "reference-dst/postcopy_test_util.h"

#include <sys/stat.h>

/*
 * A source switches to postcopy, well and badly. Each bad one ends in the named error. [DST-2]
 * [DST-14] [DST-17] [CMD-6] [REC-7]
 */

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

/* ---- memory that goes into files when all of it is there ---- */

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
