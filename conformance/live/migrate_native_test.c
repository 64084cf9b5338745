/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whole migrations of a running guest between our endpoints, as processes, on the native wire. */

enum {
    END_MS = 120000,
};

static struct native_rig *open_rig(unsigned mib, const char *transport, bool tap) {
    struct native_rig *r = malloc(sizeof *r);
    cr_assert_eq(native_rig_open(r, mib, transport, tap), 0, "%s", r->error);
    return r;
}

static void close_rig(struct native_rig *r) {
    native_rig_close(r);
    free(r);
}

static json_t *of(json_t *report, const char *object, const char *key) {
    return json_object_get(json_object_get(report, object), key);
}

/* The guest is the destination's, and every page of it is right there. */
static void expect_moved(struct native_rig *r) {
    bool good = r->src_status == 0 && r->dst_status == 0 &&
                json_is_true(of(r->dst_report, "check", "good"));
    if (!good)
        native_show(r);
    cr_expect(good);
    cr_expect_str_eq(json_string_value(of(r->dst_report, "native", "state")), "completed");
    cr_expect_eq(json_integer_value(of(r->dst_report, "check", "twice")), 0); /* [HND-2] */
}

static void run(struct native_rig *r) {
    cr_assert_eq(native_start_dst(r), 0, "%s", r->error);
    cr_assert_eq(native_start_src(r), 0, "%s", r->error);
}

static void expect_fact(struct native_rig *r, const char *key, const char *value) {
    const char *said = json_string_value(of(r->src_report, "facts", key));
    cr_expect(said && strcmp(said, value) == 0, "%s: %s, not %s", key, said ? said : "-", value);
}

static json_int_t event_at(json_t *timeline, const char *name) {
    json_t *event;
    size_t i;
    json_array_foreach(json_object_get(timeline, "events"), i, event) {
        if (strcmp(json_string_value(json_object_get(event, "event")), name) == 0)
            return json_integer_value(json_object_get(event, "at_us"));
    }
    cr_expect(false, "no event %s", name);
    return 0;
}

static void expect_nothing_pending(json_t *timeline) {
    json_t *at = of(timeline, "samples", "at_us"), *pending = of(timeline, "samples", "pending");
    json_int_t commit = event_at(timeline, "commit");
    for (size_t i = 0; i < json_array_size(at); i++)
        if (json_integer_value(json_array_get(at, i)) > commit)
            cr_expect_eq(json_integer_value(json_array_get(pending, i)), 0);
}

/* [REP-10] [REP-12] What was agreed on, states in small letters, nothing pending at the end. */
static void expect_report(struct native_rig *r, const char *seal, unsigned channels,
                          const char *pack) {
    char text[16];
    json_t *timeline = json_object_get(r->src_report, "timeline");
    json_t *phases = json_object_get(timeline, "phases");
    json_t *last = json_array_get(phases, json_array_size(phases) - 1);
    (void)snprintf(text, sizeof text, "%u", channels + 1);
    if (seal)
        expect_fact(r, "seal", seal);
    expect_fact(r, "pack", pack ? pack : "none");
    expect_fact(r, "channels", text);
    expect_fact(r, "scheduler", "drr");
    cr_expect_str_eq(json_string_value(json_object_get(last, "state")), "completed");
    cr_expect_str_eq(json_string_value(json_object_get(r->src_report, "state")), "completed");
    expect_nothing_pending(timeline);
    cr_expect_str_eq(json_string_value(json_object_get(r->src_report, "session")),
                     json_string_value(json_object_get(r->dst_report, "session")));
}

/* [MIG-10] [MIG-12] [MIG-14] [SEAL-11] */
Test(migrate_native, suites_channels_and_packing, .timeout = 300) {
    static const struct {
        const char *transport, *seal, *channels, *pack;
    } cases[] = {
        {"unix", "none", "1", NULL},    {"tcp", "gmac", "4", NULL},
        {"tcp", "gcm", "16", "zstd:1"}, {"unix", "chacha20", "4", "zstd:adaptive"},
        {"tls", NULL, "4", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct native_rig *r = open_rig(64, cases[i].transport, false);
        native_src_args(r, "--channels", cases[i].channels, NULL);
        if (cases[i].pack)
            native_src_args(r, "--pack", cases[i].pack, NULL);
        if (cases[i].seal)
            native_src_args(r, "--seal", cases[i].seal, NULL);
        if (!cases[i].seal || strcmp(cases[i].seal, "none") != 0) {
            native_src_args(r, "--psk", r->keys, "--identity", "one", NULL);
            native_dst_args(r, "--psk", r->keys, NULL);
        }
        run(r);
        native_finish(r, END_MS);
        expect_moved(r);
        cr_expect_str_eq(json_string_value(of(r->dst_report, "native", "digest")), "equal");
        expect_report(r, cases[i].seal, (unsigned)atoi(cases[i].channels), cases[i].pack);
        close_rig(r);
    }
}

/* [MIG-20] [MIG-22] [MIG-24] with and without a channel for pages that are waited for */
Test(migrate_native, postcopy, .timeout = 300) {
    for (int preempt = 0; preempt < 2; preempt++) {
        struct native_rig *r = open_rig(128, "tcp", false);
        native_src_args(r, "--postcopy-after", "1", "--bandwidth", "60M", "--psk", r->keys, NULL);
        native_dst_args(r, "--psk", r->keys, NULL);
        if (preempt)
            native_src_args(r, "--preempt", NULL);
        run(r);
        native_finish(r, END_MS);
        expect_moved(r);
        close_rig(r);
    }
}

/* [RSM-7] [MIG-13] the link is cut again and again while pages travel */
Test(migrate_native, cut_in_precopy, .timeout = 300) {
    struct native_rig *r = open_rig(96, "unix", true);
    native_src_args(r, "--psk", r->keys, "--bandwidth", "60M", NULL);
    native_dst_args(r, "--psk", r->keys, NULL);
    run(r);
    for (uint64_t i = 1; i <= 3; i++) {
        native_wait_bytes(r, i * (12 << 20));
        vms_tap_cut(r->tap);
    }
    native_finish(r, END_MS);
    expect_moved(r);
    cr_expect_geq(json_integer_value(of(r->dst_report, "native", "resumes")), 1);
    close_rig(r);
}

/* [MIG-25] and while the guest waits for pages */
Test(migrate_native, cut_in_postcopy, .timeout = 300) {
    char session[33];
    struct native_rig *r = open_rig(96, "unix", true);
    native_src_args(r, "--postcopy-after", "0", "--bandwidth", "10M", "--postcopy-bandwidth", "20M",
                    "--psk", r->keys, "--journal", r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    run(r);
    cr_expect_eq(native_wait_journal(r->journal_dst, "started", session, END_MS), 0);
    for (int i = 0; i < 3; i++) {
        native_wait_bytes(r, native_forwarded(r) + (2 << 20));
        vms_tap_cut(r->tap);
    }
    native_finish(r, END_MS);
    expect_moved(r);
    close_rig(r);
}

/* [HND-4] [HND-5] [HND-12] [HND-13] cut at READY and at COMMIT, as the journals tell */
Test(migrate_native, cut_at_the_hand_over, .timeout = 300) {
    static const struct {
        bool source;
        const char *state;
    } points[] = {{false, "open"}, {true, "committed"}, {false, "started"}};
    for (size_t i = 0; i < 3; i++) {
        char session[33];
        struct native_rig *r = open_rig(64, "unix", true);
        native_src_args(r, "--psk", r->keys, "--journal", r->journal_src, NULL);
        native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
        run(r);
        const char *folder = points[i].source ? r->journal_src : r->journal_dst;
        (void)native_wait_journal(folder, points[i].state, session, 4000);
        vms_tap_cut(r->tap);
        r->src_status = live_wait(r->src, END_MS);
        r->src = -1;
        if (r->src_status != 0)
            (void)kill(r->dst, SIGUSR2); /* the operator: theirs */
        native_finish(r, END_MS);
        if (r->src_status < 0 || r->dst_status < 0)
            native_show(r);
        cr_expect(r->src_status >= 0 && r->dst_status >= 0, "one does not end: %s",
                  points[i].state);
        /* until COMMIT has left the source may take the guest back; then it never ran there */
        if (r->src_status == 0) {
            expect_moved(r);
        } else {
            cr_expect_neq(r->dst_status, 0);
            cr_expect_eq(native_wait_journal(r->journal_dst, "started", session, 0), -1);
            if (i == 2)
                native_show(r);
            cr_expect_neq(i, 2, "the guest was lost");
        }
        close_rig(r);
    }
}

/* [HND-6] [MIG-31] the destination dies before READY: the guest goes on at the source */
Test(migrate_native, destination_dies_in_precopy, .timeout = 300) {
    struct native_rig *r = open_rig(96, "unix", true);
    char session[33];
    native_src_args(r, "--psk", r->keys, "--bandwidth", "40M", "--reconnect", "1", "--journal",
                    r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    run(r);
    native_wait_bytes(r, 10 << 20);
    (void)kill(r->dst, SIGKILL);
    native_finish(r, END_MS);
    cr_expect_eq(native_wait_journal(r->journal_dst, "none", session, 0), 0);
    cr_expect_eq(native_wait_journal(r->journal_src, "committed", session, 0), -1);
    cr_expect_eq(r->dst_status, 128 + SIGKILL);
    cr_expect(r->src_status == 1 || r->src_status == 3, "status %d", r->src_status);
    close_rig(r);
}

/*
 * The source has committed, the destination has said READY and not started: COMMIT is in the tap.
 * READY is held back until everything has arrived, then COMMIT is.
 */
static void hold_commit(struct native_rig *r, char session[33]) {
    cr_assert_eq(native_wait_journal(r->journal_src, "none", session, END_MS), 0);
    vms_tap_hold(r->tap, false, true);
    cr_assert_eq(native_wait_journal(r->journal_dst, "open", session, END_MS), 0);
    vms_tap_hold(r->tap, true, false);
    cr_assert_eq(native_wait_journal(r->journal_src, "committed", session, END_MS), 0);
    cr_assert_eq(native_wait_journal(r->journal_dst, "open", session, 0), 0);
}

/* The bandwidth is limited, so that READY is not there before it can be held back. */
static void commit_into_tap(struct native_rig *r, char session[33]) {
    native_src_args(r, "--psk", r->keys, "--journal", r->journal_src, "--downtime-ms", "2000",
                    "--bandwidth", "20M", NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    run(r);
    hold_commit(r, session);
}

static struct native_rig *committed_rig(char session[33]) {
    struct native_rig *r = open_rig(8, "unix", true);
    commit_into_tap(r, session);
    return r;
}

static void die(pid_t *program) {
    (void)kill(*program, SIGKILL);
    cr_expect_eq(live_wait(*program, END_MS), 128 + SIGKILL);
    *program = -1;
}

/* What is in the tap is gone; from here on it lets everything through. */
static void reopen(struct native_rig *r) {
    vms_tap_cut(r->tap);
    vms_tap_hold(r->tap, false, false);
}

static void start_to_answer(struct native_rig *r, const char *session) {
    native_dst_args(r, "--answer", session, "--timeout", "120", NULL);
    cr_expect_eq(native_start_dst(r), 0, "%s", r->error);
}

/* [HND-10] [HND-11] [HND-14] [MIG-32] [MIG-33] it dies between READY and STARTED: the source is in
 * doubt until the destination is back and says NOT_STARTED, and then the guest goes on there */
Test(migrate_native, destination_dies_before_started, .timeout = 300) {
    char session[33];
    struct native_rig *r = committed_rig(session);
    die(&r->dst);
    reopen(r);
    start_to_answer(r, session);
    native_finish(r, END_MS);
    char *log = native_log(r, "src");
    /* The journal is seen a moment before COMMIT leaves: a cut in between is no doubt, and then
     * nobody asks the destination (ENG, COMMITTED and CUT). */
    bool doubt = strstr(log, "in doubt") != NULL;
    bool good = r->src_status != 0 && (r->dst_status == 0) == doubt &&
                native_wait_journal(r->journal_src, "released", session, 0) == 0 &&
                native_wait_journal(r->journal_dst, "not-started", session, 0) == 0;
    if (!good)
        native_show(r);
    cr_expect(good);
    free(log);
    close_rig(r);
}

/* [HND-12] the source dies in the middle of COMMIT: the destination is in doubt until an order */
Test(migrate_native, source_dies_at_commit, .timeout = 300) {
    char session[33];
    struct native_rig *r = open_rig(8, "unix", true);
    native_dst_args(r, "--resolve", "ours", "--recover-timeout", "1", NULL);
    commit_into_tap(r, session);
    die(&r->src);
    reopen(r);
    native_finish(r, END_MS);
    if (r->dst_status != 0)
        native_show(r);
    cr_expect_eq(r->dst_status, 0);
    cr_expect(json_is_true(of(r->dst_report, "check", "good")));
    close_rig(r);
}

/* ---- the source was restarted ---- */

/* reference-src, started again for nothing but to ask; its exit status. */
static int inquire(struct native_rig *r, const char *patience) {
    char exe[256], log[128];
    const char *dir = getenv("VMSTREAM_BUILD") ? getenv("VMSTREAM_BUILD") : "build";
    const char *const argv[] = {exe,           "--inquire", "--journal", r->journal_src,
                                "--connect",   r->connect,  "--psk",     r->keys,
                                "--reconnect", patience,    NULL};
    (void)snprintf(exe, sizeof exe, "%s/reference-src", dir);
    (void)snprintf(log, sizeof log, "%s/inquire.log", r->dir);
    return live_wait(live_spawn(argv, log, NULL), END_MS);
}

struct restart {
    bool arrives, dst_dies; /* COMMIT; kill -9 of the destination, too */
    const char *says, *src, *dst;
};

/* Both journals, and one end with the guest. */
static void expect_settled(struct native_rig *r, const struct restart *c, int status) {
    char session[33], *log = native_log(r, "inquire");
    bool good = status == 0 && strstr(log, c->says) && r->dst_status == 0 &&
                native_wait_journal(r->journal_src, c->src, session, 0) == 0 &&
                native_wait_journal(r->journal_dst, c->dst, session, 0) == 0;
    if (!good) {
        native_show(r);
        fprintf(stderr, "---- inquiry, status %d\n%s", status, log);
    }
    cr_expect(good, "%s, %s", c->src, c->dst);
    if (!c->dst_dies) {
        cr_expect(json_is_true(of(r->dst_report, "check", "good")));
        cr_expect_eq(json_integer_value(of(r->dst_report, "check", "twice")), 0);
    }
    free(log);
}

static void restart(const struct restart *c) {
    char session[33];
    struct native_rig *r = committed_rig(session);
    if (c->arrives) { /* and RUNNING does not */
        vms_tap_hold(r->tap, false, true);
        cr_expect_eq(native_wait_journal(r->journal_dst, "started", session, END_MS), 0);
    }
    die(&r->src);
    if (c->dst_dies)
        die(&r->dst);
    reopen(r);
    if (c->dst_dies) {
        cr_expect_eq(inquire(r, "0"), 3); /* nobody answers: it stays in doubt */
        cr_expect_eq(native_wait_journal(r->journal_src, "committed", session, 0), 0);
        start_to_answer(r, session);
    }
    int status = inquire(r, "120");
    native_finish(r, END_MS);
    expect_settled(r, c, status);
    close_rig(r);
}

/* [HND-14] [MIG-32] [ENG-26] It asks: a destination that is still there, and one that was started
 * again for the answer. Both journals agree, and never two have the guest. */
Test(migrate_native, source_is_restarted, .timeout = 300) {
    static const struct restart cases[] = {
        {false, false, "theirs;", "gone", "started"},
        {true, false, "theirs;", "gone", "started"},
        {false, true, "ours;", "released", "not-started"},
        {true, true, "theirs;", "gone", "started"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        restart(&cases[i]);
}

/* ---- certificates ---- */

static void make_certificates(const char *dir, char creds[128]) {
    static struct live live;
    (void)snprintf(live.dir, sizeof live.dir, "%s", dir);
    (void)snprintf(creds, 128, "%s/tls", dir);
    cr_assert_eq(live_make_certificates(&live), 0, "%s", live.error);
}

/* [SEAL-11] Certificates of both ends, and the session's keys out of TLS. */
Test(migrate_native, tls_with_certificates, .timeout = 300) {
    char creds[128];
    struct native_rig *r = open_rig(32, "tls", false);
    make_certificates(r->dir, creds);
    native_src_args(r, "--tls-creds", creds, "--channels", "4", NULL);
    native_dst_args(r, "--tls-creds", creds, NULL);
    run(r);
    native_finish(r, END_MS);
    expect_moved(r);
    cr_expect_str_eq(json_string_value(of(r->src_report, "facts", "tls")), "on");
    close_rig(r);
}

/* A source whose certificate another CA has signed moves nothing. */
Test(migrate_native, tls_with_a_strange_certificate, .timeout = 300) {
    char creds[128], strange[128];
    struct native_rig *r = open_rig(16, "tls", false), *other = open_rig(16, "tls", false);
    make_certificates(r->dir, creds);
    make_certificates(other->dir, strange);
    native_src_args(r, "--tls-creds", strange, NULL);
    native_dst_args(r, "--tls-creds", creds, NULL);
    run(r);
    r->src_status = live_wait(r->src, END_MS);
    r->src = -1;
    cr_expect(r->src_status == 1 || r->src_status == 3, "status %d", r->src_status);
    char *log = native_log(r, "src");
    cr_expect(strstr(log, "the guest is here"), "%s", log);
    free(log);
    close_rig(other);
    close_rig(r);
}
