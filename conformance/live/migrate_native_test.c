/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whole migrations of a running guest between our endpoints, as processes, on the native wire. */

enum {
    END_MS = 30000,
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

static void show(struct native_rig *r) {
    char *s = native_log(r, "src"), *d = native_log(r, "dst");
    fprintf(stderr, "---- source, status %d\n%s---- destination, status %d\n%s", r->src_status, s,
            r->dst_status, d);
    free(s);
    free(d);
}

static json_t *of(json_t *report, const char *object, const char *key) {
    return json_object_get(json_object_get(report, object), key);
}

/* The guest is the destination's, and every page of it is right there. */
static void expect_moved(struct native_rig *r) {
    bool good = r->src_status == 0 && r->dst_status == 0 &&
                json_is_true(of(r->dst_report, "check", "good"));
    if (!good)
        show(r);
    cr_expect(good);
    cr_expect_str_eq(json_string_value(of(r->dst_report, "native", "state")), "completed");
    cr_expect_eq(json_integer_value(of(r->dst_report, "check", "twice")), 0); /* [HND-2] */
}

static void run(struct native_rig *r) {
    cr_assert_eq(native_start_dst(r), 0, "%s", r->error);
    cr_assert_eq(native_start_src(r), 0, "%s", r->error);
}

/* [MIG-10] [MIG-12] [MIG-14] [SEAL-11] */
Test(migrate_native, suites_channels_and_packing, .timeout = 120) {
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
        close_rig(r);
    }
}

/* [MIG-20] [MIG-22] [MIG-24] with and without a channel for pages that are waited for */
Test(migrate_native, postcopy, .timeout = 120) {
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

static uint64_t forwarded(struct vms_tap *tap) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < vms_tap_count(tap); i++)
        sum += vms_tap_connection(tap, i).forward;
    return sum;
}

static void wait_for_bytes(struct native_rig *r, uint64_t bytes) {
    for (int i = 0; i < 10000 && forwarded(r->tap) < bytes && kill(r->src, 0) == 0; i++)
        (void)usleep(1000);
}

/* [RSM-7] [MIG-13] the link is cut again and again while pages travel */
Test(migrate_native, cut_in_precopy, .timeout = 60) {
    struct native_rig *r = open_rig(96, "unix", true);
    native_src_args(r, "--psk", r->keys, "--bandwidth", "60M", NULL);
    native_dst_args(r, "--psk", r->keys, NULL);
    run(r);
    for (uint64_t i = 1; i <= 3; i++) {
        wait_for_bytes(r, i * (12 << 20));
        vms_tap_cut(r->tap);
    }
    native_finish(r, END_MS);
    expect_moved(r);
    cr_expect_geq(json_integer_value(of(r->dst_report, "native", "resumes")), 1);
    close_rig(r);
}

/* [MIG-25] and while the guest waits for pages */
Test(migrate_native, cut_in_postcopy, .timeout = 60) {
    char session[33];
    struct native_rig *r = open_rig(96, "unix", true);
    native_src_args(r, "--postcopy-after", "0", "--postcopy-bandwidth", "20M", "--psk", r->keys,
                    "--journal", r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    run(r);
    cr_expect_eq(native_wait_journal(r->journal_dst, "started", session, END_MS), 0);
    for (int i = 0; i < 3; i++) {
        wait_for_bytes(r, forwarded(r->tap) + (2 << 20));
        vms_tap_cut(r->tap);
    }
    native_finish(r, END_MS);
    expect_moved(r);
    close_rig(r);
}

/* [HND-4] [HND-5] [HND-12] [HND-13] cut at READY and at COMMIT, as the journals tell */
Test(migrate_native, cut_at_the_hand_over, .timeout = 120) {
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
            show(r);
        cr_expect(r->src_status >= 0 && r->dst_status >= 0, "one does not end: %s",
                  points[i].state);
        /* until COMMIT has left the source may take the guest back; then it never ran there */
        if (r->src_status == 0) {
            expect_moved(r);
        } else {
            cr_expect_neq(r->dst_status, 0);
            cr_expect_eq(native_wait_journal(r->journal_dst, "started", session, 0), -1);
            if (i == 2)
                show(r);
            cr_expect_neq(i, 2, "the guest was lost");
        }
        close_rig(r);
    }
}

/* [HND-6] [MIG-31] the destination dies before READY: the guest goes on at the source */
Test(migrate_native, destination_dies_in_precopy, .timeout = 60) {
    struct native_rig *r = open_rig(96, "unix", true);
    char session[33];
    native_src_args(r, "--psk", r->keys, "--bandwidth", "40M", "--reconnect", "1", "--journal",
                    r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
    run(r);
    wait_for_bytes(r, 10 << 20);
    (void)kill(r->dst, SIGKILL);
    native_finish(r, END_MS);
    cr_expect_eq(native_wait_journal(r->journal_dst, "none", session, 0), 0);
    cr_expect_eq(native_wait_journal(r->journal_src, "committed", session, 0), -1);
    cr_expect_eq(r->dst_status, 128 + SIGKILL);
    cr_expect(r->src_status == 1 || r->src_status == 3, "status %d", r->src_status);
    close_rig(r);
}

/*
 * The destination is stopped a moment after it has made OPEN durable. True: READY had left, so that
 * the source has committed, and the destination has not started.
 */
static bool catch_between(struct native_rig *r, unsigned delay_us, char session[33]) {
    if (native_wait_journal(r->journal_dst, "open", session, END_MS) != 0)
        return false;
    (void)usleep(delay_us);
    (void)kill(r->dst, SIGSTOP);
    bool committed = native_wait_journal(r->journal_src, "committed", session, 1000) == 0;
    return committed && native_wait_journal(r->journal_dst, "open", session, 0) == 0;
}

/* [HND-10] [HND-11] [HND-14] [MIG-32] [MIG-33] it dies between READY and STARTED: the source is in
 * doubt until the destination is back and says NOT_STARTED, and then the guest goes on there */
Test(migrate_native, destination_dies_before_started, .timeout = 120) {
    bool caught = false;
    for (unsigned i = 0; i < 8 && !caught; i++) {
        char session[33];
        struct native_rig *r = open_rig(64, "unix", false);
        native_src_args(r, "--psk", r->keys, "--journal", r->journal_src, NULL);
        native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, NULL);
        run(r);
        caught = catch_between(r, i * 700, session);
        if (caught) {
            (void)kill(r->dst, SIGKILL);
            cr_expect_eq(live_wait(r->dst, END_MS), 128 + SIGKILL);
            native_dst_args(r, "--answer", session, "--timeout", "4", NULL);
            cr_expect_eq(native_start_dst(r), 0, "%s", r->error);
        } else {
            (void)kill(r->dst, SIGCONT);
        }
        native_finish(r, END_MS);
        char *log = native_log(r, "src");
        bool released = native_wait_journal(r->journal_src, "released", session, 0) == 0;
        bool refused = native_wait_journal(r->journal_dst, "not-started", session, 0) == 0;
        bool asked = strstr(log, "in doubt") != NULL; /* else COMMIT had not left yet */
        if (caught && (!released || !refused || (r->dst_status == 0) != asked))
            show(r);
        cr_expect_eq(caught, released);
        cr_expect_eq(caught, refused);
        if (caught)
            cr_expect_eq(r->dst_status == 0, asked);
        caught &= asked;
        free(log);
        close_rig(r);
    }
    cr_expect(caught, "never between READY and STARTED");
}

/* [HND-12] the source dies in the middle of COMMIT: the destination is in doubt until an order */
Test(migrate_native, source_dies_at_commit, .timeout = 60) {
    char session[33];
    struct native_rig *r = open_rig(64, "unix", false);
    native_src_args(r, "--psk", r->keys, "--journal", r->journal_src, NULL);
    native_dst_args(r, "--psk", r->keys, "--journal", r->journal_dst, "--resolve", "ours",
                    "--recover-timeout", "1", NULL);
    run(r);
    cr_assert_eq(native_wait_journal(r->journal_dst, "open", session, END_MS), 0);
    (void)kill(r->src, SIGKILL);
    native_finish(r, END_MS);
    cr_expect_eq(r->src_status, 128 + SIGKILL);
    if (r->dst_status != 0)
        show(r);
    cr_expect_eq(r->dst_status, 0);
    cr_expect(json_is_true(of(r->dst_report, "check", "good")));
    close_rig(r);
}
