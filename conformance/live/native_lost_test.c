/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The native wire in trouble: a peer that is stopped, a cut that takes END's acknowledgement with
 * it, and sessions that are lost for good behind the guest. Both ends say what the operator needs.
 */

enum {
    END_MS = 120000,
};

static struct native_rig *open_rig(unsigned mib) {
    struct native_rig *r = malloc(sizeof *r);
    cr_assert_eq(native_rig_open(r, mib, "unix", true), 0, "%s", r->error);
    native_src_args(r, "--psk", r->keys, "--journal", r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    return r;
}

static void close_rig(struct native_rig *r) {
    native_rig_close(r);
    free(r);
}

static void run(struct native_rig *r) {
    cr_assert_eq(native_start_dst(r), 0, "%s", r->error);
    cr_assert_eq(native_start_src(r), 0, "%s", r->error);
}

static bool said(struct native_rig *r, const char *which, const char *words) {
    char *log = native_log(r, which);
    bool there = strstr(log, words) != NULL;
    free(log);
    return there;
}

static void expect_said(struct native_rig *r, const char *which, const char *words) {
    bool there = said(r, which, words);
    if (!there)
        native_show(r);
    cr_expect(there, "%s does not say: %s", which, words);
}

/* Nothing but its log tells a bystander. */
static void wait_until_said(struct native_rig *r, const char *which, const char *words) {
    for (int ms = 0; !said(r, which, words); ms += 2) {
        if (ms > END_MS)
            native_show(r);
        cr_assert_leq(ms, END_MS, "%s does not say: %s", which, words);
        (void)usleep(2000);
    }
}

static json_t *of(json_t *report, const char *object, const char *key) {
    return json_object_get(json_object_get(report, object), key);
}

static void expect_moved(struct native_rig *r) {
    bool good = r->src_status == 0 && r->dst_status == 0 &&
                json_is_true(of(r->dst_report, "check", "good")) &&
                json_integer_value(of(r->dst_report, "check", "twice")) == 0;
    if (!good)
        native_show(r);
    cr_expect(good);
}

/* ---- a peer that is stopped ---- */

/*
 * [SES-25] [RSM-11] A host that does not answer looks like this: its sockets stand, and nothing
 * comes. It stays stopped until the other end has taken the connection for cut; then it goes on,
 * and so does the session.
 */
static void stop_one(bool source) {
    struct native_rig *r = open_rig(96);
    native_src_args(r, "--bandwidth", "40M", "--keepalive", "1", NULL);
    native_dst_args(r, "--keepalive", "1", NULL);
    run(r);
    native_wait_bytes(r, 8 << 20);
    (void)kill(source ? r->src : r->dst, SIGSTOP);
    wait_until_said(r, source ? "dst" : "src", "the link is cut");
    (void)kill(source ? r->src : r->dst, SIGCONT);
    native_finish(r, END_MS);
    expect_moved(r);
    cr_expect_geq(json_integer_value(of(r->dst_report, "native", "resumes")), 1);
    close_rig(r);
}

Test(native_lost, source_is_stopped, .timeout = 300) {
    stop_one(true);
}

Test(native_lost, destination_is_stopped, .timeout = 300) {
    stop_one(false);
}

/* ---- postcopy ---- */

/* The guest runs at the destination and the source knows: GONE is in its journal. */
static struct native_rig *behind_the_guest(char session[33], unsigned mib, const char *patience) {
    struct native_rig *r = open_rig(mib);
    native_src_args(r, "--postcopy-after", "0", "--postcopy-bandwidth", "8M", "--reconnect",
                    patience, NULL);
    native_dst_args(r, "--recover-timeout", patience, NULL);
    run(r);
    cr_assert_eq(native_wait_journal(r->journal_src, "gone", session, END_MS), 0);
    return r;
}

static bool journal_has(const char *folder, const char *session, const char *line) {
    char path[256], text[512] = "";
    (void)snprintf(path, sizeof path, "%s/%s.source.journal", folder, session);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f, "%s", path);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    return strstr(text, line) != NULL;
}

/*
 * [ENG-27] [RSM-14] [HND-16] The link is cut when END has arrived and its acknowledgement has not:
 * nothing of the destination's comes through the tap from before the last page on, and the cut
 * drops it. What was acknowledged comes with the resumption; the source is content, and takes back
 * from its journal that pages were left.
 */
Test(native_lost, end_meets_a_cut, .timeout = 300) {
    char session[33];
    struct native_rig *r = behind_the_guest(session, 32, "120");
    vms_tap_hold(r->tap, false, true);
    wait_until_said(r, "dst", "the source has sent all pages");
    cr_expect_not(said(r, "src", "completed"));
    vms_tap_cut(r->tap);
    vms_tap_hold(r->tap, false, false);
    native_finish(r, END_MS);
    expect_moved(r);
    expect_said(r, "src", "the link is cut");
    cr_expect_eq(native_wait_journal(r->journal_src, "gone", session, 0), 0);
    cr_expect_not(journal_has(r->journal_src, session, "\npostcopy\n"));
    close_rig(r);
}

/* reference-src, started again for nothing but to ask; its exit status. Log: "inquire". */
static int inquire(struct native_rig *r) {
    char exe[256], log[128];
    const char *dir = getenv("VMSTREAM_BUILD") ? getenv("VMSTREAM_BUILD") : "build";
    const char *const argv[] = {exe,           "--inquire", "--journal", r->journal_src,
                                "--connect",   r->connect,  "--psk",     r->keys,
                                "--reconnect", "120",       NULL};
    (void)snprintf(exe, sizeof exe, "%s/reference-src", dir);
    (void)snprintf(log, sizeof log, "%s/inquire.log", r->dir);
    return live_wait(live_spawn(argv, log, NULL), END_MS);
}

/* [MIG-25] [MIG-28] The connection does not come back: both give up, each says what that means. */
Test(native_lost, no_connection, .timeout = 300) {
    char session[33];
    struct native_rig *r = behind_the_guest(session, 64, "1");
    vms_tap_stop(r->tap);
    r->tap = NULL;
    native_finish(r, END_MS);
    cr_expect_neq(r->src_status, 0);
    cr_expect_eq(r->dst_status, 1);
    expect_said(r, "src", "postcopy is paused: the guest is at the destination");
    expect_said(r, "src", "pages of it that were left here cannot follow it");
    expect_said(r, "src", "the guest is lost: no end has all of it");
    expect_said(r, "dst", "pages of the guest are lost");
    cr_expect(journal_has(r->journal_src, session, "\npostcopy\n"));
    close_rig(r);
}

/*
 * [MIG-28] [HND-16] The source dies: its pages are gone, and no new one can bring them. The
 * destination says so when it has waited; the source, restarted, too.
 */
Test(native_lost, source_dies, .timeout = 300) {
    char session[33];
    struct native_rig *r = behind_the_guest(session, 64, "1");
    (void)kill(r->src, SIGKILL);
    native_finish(r, END_MS);
    cr_expect_eq(r->src_status, 128 + SIGKILL);
    cr_expect_eq(r->dst_status, 1);
    expect_said(r, "dst", "pages of the guest are lost");
    cr_expect_eq(inquire(r), 0); /* GONE: nobody has to be asked */
    expect_said(r, "inquire", "theirs, by postcopy; pages that were left here went with");
    close_rig(r);
}

/*
 * [MIG-28] The destination dies and is there again, with its journal and nothing else. RESUME has
 * nobody to go on with; what is settled is whose the guest is, and pages do not follow it.
 */
Test(native_lost, destination_dies, .timeout = 300) {
    char session[33];
    struct native_rig *r = behind_the_guest(session, 64, "10");
    (void)kill(r->dst, SIGKILL);
    cr_expect_eq(live_wait(r->dst, END_MS), 128 + SIGKILL);
    r->dst = -1;
    vms_tap_cut(r->tap);
    native_dst_args(r, "--answer", session, "--timeout", "120", NULL);
    cr_expect_eq(native_start_dst(r), 0, "%s", r->error);
    native_finish(r, END_MS);
    cr_expect_neq(r->src_status, 0);
    expect_said(r, "src", "the session is lost");
    expect_said(r, "src", "pages of it that were left here cannot follow it");
    expect_said(r, "src", "the guest is lost: no end has all of it");
    cr_expect_eq(native_wait_journal(r->journal_src, "gone", session, 0), 0);
    cr_expect(journal_has(r->journal_src, session, "\npostcopy\n"));
    close_rig(r);
}
