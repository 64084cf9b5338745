/* SPDX-License-Identifier: MIT */
#include "host/journal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void) {
    (void)strcpy(folder, "/tmp/vms-journal-XXXXXX");
    cr_assert(mkdtemp(folder));
}

static void remove_folder(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    (void)!system(command);
}

TestSuite(journal, .init = make_folder, .fini = remove_folder);

static struct vms_journal_record record(enum vms_journal journal, enum vms_native_role role,
                                        uint8_t octet) {
    struct vms_journal_record r = {journal, role, {0}, 7, false};
    memset(r.session, octet, sizeof r.session);
    return r;
}

/* [HND-13] each record replaces the last one whole; sessions and roles do not meet */
Test(journal, every_record) {
    for (int role = 0; role < 2; role++)
        for (unsigned j = VMS_JOURNAL_NONE; j < VMS_JOURNAL_LOST; j++) {
            struct vms_error err;
            struct vms_journal_record w =
                record((enum vms_journal)j, (enum vms_native_role)role, 0xa5);
            struct vms_journal_record r = {.role = w.role};
            memcpy(r.session, w.session, sizeof r.session);
            w.generation = j * UINT64_C(0x123456789abcdef);
            w.postcopy = j % 2;
            cr_assert_eq(vms_journal_write(folder, &w, &err), VMS_OK, "%s", err.message);
            cr_assert_eq(vms_journal_read(folder, &r, &err), VMS_OK, "%s", err.message);
            cr_assert_eq(r.journal, w.journal);
            cr_assert_eq(r.generation, w.generation);
            cr_assert_eq(r.postcopy, w.postcopy); /* [HND-16] */
        }
}

/* [HND-11] what is not there, or not whole, is lost, whatever octet is wrong */
Test(journal, lost) {
    struct vms_error err;
    struct vms_journal_record w = record(VMS_JOURNAL_STARTED, VMS_ROLE_DESTINATION, 0x11), r = w;
    char path[256], text[300];
    cr_expect_eq(vms_journal_read(folder, &r, &err), VMS_E_HANDOVER_JOURNAL);
    cr_expect_eq(r.journal, VMS_JOURNAL_LOST);
    cr_assert_eq(vms_journal_write(folder, &w, &err), VMS_OK);
    (void)snprintf(path, sizeof path, "%s/11111111111111111111111111111111.destination.journal",
                   folder);
    FILE *f = fopen(path, "r");
    cr_assert(f);
    size_t len = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    for (size_t i = 0; i <= len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            char bad[300];
            size_t n = i < len ? len : len - 1 - bit; /* at the end: cut short */
            memcpy(bad, text, len);
            if (i < len)
                bad[i] = (char)(bad[i] ^ 1 << bit);
            f = fopen(path, "w");
            cr_assert(f);
            cr_assert_eq(fwrite(bad, 1, n, f), n);
            (void)fclose(f);
            r = w;
            cr_assert_eq(vms_journal_read(folder, &r, &err), VMS_E_HANDOVER_JOURNAL, "octet %zu",
                         i);
            cr_assert_eq(r.journal, VMS_JOURNAL_LOST);
        }
}

/* [HND-13] a failed write is told, and leaves the old record */
Test(journal, full_disk) {
    struct vms_error err;
    struct vms_journal_record w = record(VMS_JOURNAL_OPEN, VMS_ROLE_DESTINATION, 0x22), r = w;
    struct rlimit none = {10, 10};
    cr_assert_eq(vms_journal_write(folder, &w, &err), VMS_OK);
    (void)signal(SIGXFSZ, SIG_IGN);
    w.journal = VMS_JOURNAL_STARTED;
    pid_t child = fork(); /* the limit would be the test program's too */
    if (child == 0) {
        (void)setrlimit(RLIMIT_FSIZE, &none);
        _exit(vms_journal_write(folder, &w, &err) == VMS_E_HANDOVER_JOURNAL ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_assert_eq(vms_journal_read(folder, &r, &err), VMS_OK, "%s", err.message);
    cr_expect_eq(r.journal, VMS_JOURNAL_OPEN);
    cr_expect_eq(vms_journal_write("/nonexistent", &w, &err), VMS_E_HANDOVER_JOURNAL);
}

struct seen {
    unsigned count, lost;
    uint8_t last;
};
static void see(void *ctx, const struct vms_journal_record *r) {
    struct seen *s = ctx;
    s->count++;
    s->lost += r->journal == VMS_JOURNAL_LOST;
    cr_expect_gt(r->session[0], s->last);
    s->last = r->session[0];
}

Test(journal, list) {
    struct vms_error err;
    struct seen s = {0};
    for (uint8_t i = 9; i > 0; i--) {
        struct vms_journal_record w =
            record(VMS_JOURNAL_GONE, i % 3 ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION, i);
        cr_assert_eq(vms_journal_write(folder, &w, &err), VMS_OK);
    }
    char path[256];
    (void)snprintf(path, sizeof path, "%s/02020202020202020202020202020202.source.journal", folder);
    cr_assert_eq(truncate(path, 20), 0);
    cr_assert_eq(vms_journal_list(folder, VMS_ROLE_SOURCE, see, &s, &err), VMS_OK);
    cr_expect_eq(s.count, 6);
    cr_expect_eq(s.lost, 1);
    cr_expect_eq(vms_journal_list("/nonexistent", VMS_ROLE_SOURCE, see, &s, &err),
                 VMS_E_HANDOVER_JOURNAL);
}

/* A session's id in a file's name and on a command line. */
Test(journal, session_ids) {
    static const char good[] = "00112233445566778899AAbbccddeeff";
    static const char *const bad[] = {"",
                                      "0",
                                      "00112233445566778899aabbccddeef",
                                      "00112233445566778899aabbccddeefff",
                                      "0011223344556677-899aabbccddeeff",
                                      "0x112233445566778899aabbccddeeff"};
    uint8_t session[16];
    char text[VMS_SESSION_TEXT];
    cr_assert(vms_session_parse(good, session));
    vms_session_text(session, text);
    cr_expect_str_eq(text, "00112233445566778899aabbccddeeff");
    cr_expect(vms_session_parse("00112233445566778899aabbccddeeff-source", session));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(vms_session_parse(bad[i], session), "%s", bad[i]);
}
