/* SPDX-License-Identifier: MIT */
#include "reference-src/test_session.h"

/*
 * The whole source, QEVM, against destinations that misbehave. Whatever they do, it ends, says who
 * has the guest, and runs it exactly when it is ours.
 */

/* [RP-11] Done when the destination says so. */
Test(session, completes, .timeout = 300) {
    static struct run r;
    prepare(&r);
    begin(&r);
    test_say(&r.peer, 0, PONG, sizeof PONG);
    wait_for_end(&r);
    test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
    finish(&r, SRC_COMPLETED, SRC_OWNER_THEIRS);
}

static void count_up(void *ctx, uint64_t now_ns) {
    *(unsigned *)ctx += now_ns > 0;
}

/* [REP-10] [REP-12] Behind the commit point nothing is pending, whatever was last reckoned. */
Test(session, what_a_report_has, .timeout = 300) {
    static struct run r;
    struct vms_timeline_options o = {.end = VMS_END_SOURCE};
    struct vms_timeline *t = vms_timeline_new(&o, 1);
    unsigned events = 0;
    struct vms_error err = {0};
    prepare(&r);
    r.options.switchover_bandwidth = 1 << 30; /* all of it can go in the downtime */
    struct src_session_host host = {
        .guest = &r.guest.guest, .timeline = t, .watch = count_up, .watch_ctx = &events};
    r.session = src_session_new(&r.options, &host, &err);
    cr_assert_not_null(r.session, "%s", err.message);
    cr_assert_eq(pthread_create(&r.thread, NULL, run_thread, &r), 0);
    wait_for_end(&r);
    json_t *answer = order(&r, "{\"order\": \"status\"}");
    cr_expect_gt(json_integer_value(json_object_get(answer, "pending")), 0, "what was reckoned");
    json_decref(answer);
    src_session_refresh(r.session, 2);
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_expect_eq(v->gauges.pending, 0u);
    cr_expect_gt(v->gauges.total, 0u);
    cr_expect_str_eq(v->phases[0].name, "setup");
    cr_expect_str_eq(v->phases[v->phase_count - 1].name, "committed");
    vms_timeline_done(t);
    test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
    finish(&r, SRC_COMPLETED, SRC_OWNER_THEIRS);
    cr_expect_gt(events, 10u); /* the session's thread has called it */
    vms_timeline_free(t);
}

Test(session, completes_into_a_file, .timeout = 300) {
    static struct run r;
    char uri[160], path[160];
    prepare(&r);
    (void)snprintf(path, sizeof path, "%s/stream", r.peer.dir);
    (void)snprintf(uri, sizeof uri, "file:%s", path);
    r.options.connect = uri;
    begin(&r);
    pthread_join(r.thread, NULL);
    cr_expect_eq(r.out.state, SRC_COMPLETED, "%s", r.out.error.message);
    src_session_free(r.session);
    (void)unlink(path);
    test_peer_stop(&r.peer);
    test_guest_free(&r.guest);
}

/* [SRC-2] Nobody there; gone at once; gone in the middle. */
Test(session, nobody_listens, .timeout = 300) {
    static struct run r;
    prepare(&r);
    r.options.connect = "unix:/tmp/vms-nobody-listens-here";
    begin(&r);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
    cr_expect_eq(r.out.error.code, VMS_E_CONNECT);
}

Test(session, hung_up_at_once, .timeout = 300) {
    static struct run r;
    prepare(&r);
    begin(&r);
    test_hang_up(&r.peer, 0);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
}

Test(session, hung_up_in_the_middle, .timeout = 300) {
    static struct run r;
    prepare(&r);
    r.options.bandwidth = 4 << 20;
    begin(&r);
    (void)test_wait(&r.peer, 0, 1 << 20);
    test_hang_up(&r.peer, 0);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
}

/* The destination fails, or claims to be done too early. */
Test(session, shut_in_precopy, .timeout = 300) {
    for (unsigned i = 0; i < 2; i++) {
        static struct run r;
        prepare(&r);
        r.options.bandwidth = 4 << 20;
        begin(&r);
        (void)test_wait(&r.peer, 0, 1 << 16);
        test_say(&r.peer, 0, i ? SHUT_0 : SHUT_1, sizeof SHUT_0);
        finish(&r, SRC_FAILED, SRC_OWNER_OURS);
    }
}

Test(session, garbage_on_the_return_path, .timeout = 300) {
    static struct run r;
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    prepare(&r);
    r.options.bandwidth = 4 << 20;
    begin(&r);
    (void)test_wait(&r.peer, 0, 1 << 16);
    test_say(&r.peer, 0, garbage, sizeof garbage);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
    cr_expect_eq(r.out.error.class_, VMS_CLASS_PEER);
}

/* [ACK-6] An acknowledgement that nobody asked for. */
Test(session, surplus_acknowledgement, .timeout = 300) {
    static struct run r;
    static const uint8_t acks[] = {0, 7, 0, 0, 0, 7, 0, 0};
    prepare(&r);
    r.options.bandwidth = 4 << 20;
    r.options.switchover_ack = true;
    begin(&r);
    (void)test_wait(&r.peer, 0, 1 << 16);
    test_say(&r.peer, 0, acks, sizeof acks);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
    cr_expect_eq(r.out.error.code, VMS_E_SRC_ACK_SURPLUS, "%s", r.out.error.message);
}

/* [SRC-3] Behind the commit point a SHUT other than 0 brings the guest back. */
Test(session, refused_after_the_end, .timeout = 300) {
    static struct run r;
    prepare(&r);
    begin(&r);
    wait_for_end(&r);
    test_say(&r.peer, 0, SHUT_1, sizeof SHUT_1);
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
}

/* [ENG-30] Somebody else has the locks: the guest stands, until it is given up. */
Test(session, locks_are_not_to_be_had, .timeout = 300) {
    static struct run r;
    prepare(&r);
    r.guest.no_locks = true;
    begin(&r);
    wait_for_end(&r);
    test_say(&r.peer, 0, SHUT_1, sizeof SHUT_1);
    while (!order_ok(&r, "{\"order\": \"resolve\", \"as\": \"theirs\"}"))
        (void)usleep(1000); /* refused before it stands */
    finish(&r, SRC_FAILED, SRC_OWNER_THEIRS);
    cr_expect_not(r.out.stands);
}

/* [SRC-3] A cut there leaves both in the dark: only an order decides. */
static void doubt(const char *resolve, enum src_state state, enum src_owner owner) {
    static struct run r;
    prepare(&r);
    begin(&r);
    wait_for_end(&r);
    test_hang_up(&r.peer, 0);
    while (!is_in(&r, "IN_DOUBT"))
        (void)usleep(1000); /* only status tells */
    cr_expect_not(r.guest.running);
    cr_expect_not(order_ok(&r, "{\"order\": \"cancel\"}"), "[ENG-8]");
    cr_expect_not(r.guest.running);
    cr_expect(order_ok(&r, resolve));
    finish(&r, state, owner);
}

Test(session, in_doubt_ours, .timeout = 300) {
    doubt("{\"order\": \"resolve\", \"as\": \"ours\"}", SRC_FAILED, SRC_OWNER_OURS);
}

Test(session, in_doubt_theirs, .timeout = 300) {
    doubt("{\"order\": \"resolve\", \"as\": \"theirs\"}", SRC_COMPLETED, SRC_OWNER_THEIRS);
}

/* [SRC-14] A destination that reads nothing does not hold up a cancellation. */
Test(session, cancelled_against_a_deaf_peer, .timeout = 300) {
    static struct run r;
    r.peer.deaf = true;
    prepare(&r);
    begin(&r);
    (void)test_wait(&r.peer, 0, 0);
    while (!is_in(&r, "PRECOPY"))
        (void)usleep(1000);
    src_session_cancel(r.session);
    finish(&r, SRC_CANCELLED, SRC_OWNER_OURS);
    cr_expect_eq(r.out.error.code, VMS_E_SRC_CANCELLED);
}

/* ---- orders ---- */

Test(session, orders, .timeout = 300) {
    static struct run r;
    static const char *const refused[] = {
        "{\"order\": \"dance\"}",
        "{}",
        "[]",
        "{\"order\": \"go-on\"}",
        "{\"order\": \"start-postcopy\"}",
        "{\"order\": \"resolve\", \"as\": \"mine\"}",
        "{\"order\": \"resolve\", \"as\": \"ours\"}",
        "{\"order\": \"set\", \"bandwidth\": -1}",
        "{\"order\": \"set\", \"bandwidth\": \"fast\"}",
        "{\"order\": \"recover\", \"uri\": \"pigeon:1\"}",
    };
    prepare(&r);
    r.options.bandwidth = 1 << 20;
    begin(&r);
    while (!is_in(&r, "PRECOPY"))
        (void)usleep(1000);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_expect_not(order_ok(&r, refused[i]), "%s", refused[i]);
    cr_expect(order_ok(&r, "{\"order\": \"set\", \"bandwidth\": 0, \"downtime_ms\": 1000}"));
    wait_for_end(&r); /* 16 MiB at 1 MiB/s would take longer than this test may */
    test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
    finish(&r, SRC_COMPLETED, SRC_OWNER_THEIRS);
}

/* Nothing is connected before the order; it is given once; there is nothing to go on with. */
Test(session, waits_for_the_order, .timeout = 300) {
    for (unsigned i = 0; i < 2; i++) {
        static struct run r;
        prepare(&r);
        r.options.wait = true;
        begin(&r);
        cr_expect_not(order_ok(&r, "{\"order\": \"go-on\"}"));
        cr_expect(is_in(&r, "IDLE"));
        cr_expect_eq(r.peer.count, 0);
        cr_expect(r.guest.running);
        cr_expect(order_ok(&r, i ? "{\"order\": \"migrate\"}" : "{\"order\": \"cancel\"}"));
        if (i) {
            cr_expect_not(order_ok(&r, "{\"order\": \"migrate\"}"));
            wait_for_end(&r);
            test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
        }
        finish(&r, i ? SRC_COMPLETED : SRC_CANCELLED, i ? SRC_OWNER_THEIRS : SRC_OWNER_OURS);
    }
}

/* [ENG-7] Held, and told to go on; held, and cancelled. */
Test(session, pause_before_switchover, .timeout = 300) {
    for (unsigned i = 0; i < 2; i++) {
        static struct run r;
        prepare(&r);
        r.options.pause_before_switchover = true;
        begin(&r);
        while (!is_in(&r, "HELD"))
            (void)usleep(1000);
        cr_expect_not(r.guest.running);
        cr_expect(order_ok(&r, i ? "{\"order\": \"go-on\"}" : "{\"order\": \"cancel\"}"));
        if (i) {
            wait_for_end(&r);
            test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
        }
        finish(&r, i ? SRC_COMPLETED : SRC_CANCELLED, i ? SRC_OWNER_THEIRS : SRC_OWNER_OURS);
    }
}

/* [ENG-19] At a byte a second what is behind the first turn comes tomorrow, unless somebody lifts
 * the limit. */
Test(session, limit_is_lifted, .timeout = 300) {
    static struct run r;
    prepare(&r);
    r.options.bandwidth = 1;
    begin(&r);
    test_say(&r.peer, 0, PONG, sizeof PONG);
    (void)test_wait(&r.peer, 0, 1 << 19);
    for (int i = 0; i < 20; i++) /* so that the turn is over */
        cr_expect(order_ok(&r, "{\"order\": \"set\", \"downtime_ms\": 100}"));
    cr_expect(is_in(&r, "PRECOPY"));
    cr_expect(order_ok(&r, "{\"order\": \"set\", \"bandwidth\": 0}"));
    wait_for_end(&r);
    test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
    finish(&r, SRC_COMPLETED, SRC_OWNER_THEIRS);
}

/* ---- postcopy ---- */

static void into_pause(struct run *r, uint64_t settle_ms) {
    prepare(r);
    r->options.postcopy = true;
    r->options.postcopy_after = 0;
    r->options.postcopy_bandwidth = 1 << 20;
    r->options.settle_ms = settle_ms;
    r->options.control = "unix:none"; /* somebody gives orders: nothing is tried by itself */
    begin(r);
    test_say(&r->peer, 0, PONG, sizeof PONG);
    while (!is_in(r, "POSTCOPY"))
        (void)usleep(1000);
}

static void pause_now(struct run *r, size_t channel) {
    test_hang_up(&r->peer, channel);
    while (!is_in(r, "PAUSED"))
        (void)usleep(1000);
    cr_expect_not(order_ok(r, "{\"order\": \"cancel\"}"));
    cr_expect_not(r->guest.running);
}

/* [REC-1] A cut is a pause, and so is the next one; nothing ran there: it may come back by order.
 */
Test(session, postcopy_cut_is_a_pause, .timeout = 300) {
    static struct run r;
    static const uint8_t want[] = {8, 0, 10, 0, 7, 6, 'p', 'c', '.', 'r', 'a', 'm'};
    into_pause(&r, 60000);
    pause_now(&r, 0);
    cr_expect(order_ok(&r, "{\"order\": \"recover\"}"));
    struct test_channel *c = test_wait(&r.peer, 1, sizeof want);
    cr_expect(memcmp(c->bytes, want, sizeof want) == 0);
    pause_now(&r, 1);
    cr_expect(order_ok(&r, "{\"order\": \"resolve\", \"as\": \"ours\"}"));
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
}

/* [HOST-5] [REC-5] A destination that takes the connection and says nothing is given up, and can be
 * tried again: nothing of that connection stays behind. */
Test(session, recovery_that_is_not_answered, .timeout = 300) {
    static struct run r;
    into_pause(&r, 300);
    pause_now(&r, 0);
    for (size_t channel = 1; channel < 4; channel++) {
        cr_expect(order_ok(&r, "{\"order\": \"recover\"}"));
        (void)test_wait(&r.peer, channel, 12);
        while (!is_in(&r, "PAUSED"))
            (void)usleep(1000);
    }
    cr_expect(order_ok(&r, "{\"order\": \"resolve\", \"as\": \"ours\"}"));
    finish(&r, SRC_FAILED, SRC_OWNER_OURS);
}

static json_int_t requests(struct run *r) {
    json_t *answer = order(r, "{\"order\": \"status\"}");
    json_int_t n = json_integer_value(json_object_get(answer, "requests"));
    json_decref(answer);
    return n;
}

/* A page was asked for: the guest has run there, and never comes back. */
Test(session, postcopy_given_up, .timeout = 300) {
    static struct run r;
    static const uint8_t request[] = {0, 3, 0,    19, 0, 0,   0,   0,   0,   0xff, 0,  0,
                                      0, 0, 0x10, 0,  6, 'p', 'c', '.', 'r', 'a',  'm'};
    into_pause(&r, 60000);
    test_say(&r.peer, 0, request, sizeof request);
    while (requests(&r) == 0)
        (void)usleep(1000);
    pause_now(&r, 0);
    cr_expect_not(order_ok(&r, "{\"order\": \"resolve\", \"as\": \"ours\"}"));
    cr_expect(order_ok(&r, "{\"order\": \"give-up\"}"));
    finish(&r, SRC_FAILED, SRC_OWNER_LOST);
}

static bool downtime_is_known(struct run *r) {
    json_t *answer = order(r, "{\"order\": \"status\"}");
    const json_t *ns = json_object_get(answer, "expected_downtime_ns");
    bool known = json_is_integer(ns);
    cr_expect(known ? json_integer_value(ns) >= 0 : json_is_null(ns));
    json_decref(answer);
    return known;
}

/* A number only when there is one: behind the first look at what is pending. */
Test(session, expected_downtime, .timeout = 300) {
    static struct run r;
    prepare(&r);
    r.options.switchover_bandwidth = 1 << 30;
    struct src_session_host host = {.guest = &r.guest.guest};
    struct vms_error err = {0};
    r.session = src_session_new(&r.options, &host, &err);
    cr_assert_not_null(r.session, "%s", err.message);
    cr_expect_not(downtime_is_known(&r));
    cr_assert_eq(pthread_create(&r.thread, NULL, run_thread, &r), 0);
    wait_for_end(&r);
    cr_expect(downtime_is_known(&r));
    test_say(&r.peer, 0, SHUT_0, sizeof SHUT_0);
    finish(&r, SRC_COMPLETED, SRC_OWNER_THEIRS);
}

/* In words, too. */
Test(session, expected_downtime_in_words) {
    char text[SRC_DOWNTIME_TEXT];
    cr_expect_str_eq(src_downtime_text(UINT64_MAX, text), "not known yet");
    cr_expect_str_eq(src_downtime_text(1499999, text), "1 ms");
    cr_expect_str_eq(src_downtime_text(0, text), "0 ms");
}

/* In doubt, and the program is ended: it says that nothing is known. */
Test(session, quit_in_doubt, .timeout = 300) {
    static struct run r;
    prepare(&r);
    begin(&r);
    wait_for_end(&r);
    test_hang_up(&r.peer, 0);
    while (!is_in(&r, "IN_DOUBT"))
        (void)usleep(1000);
    src_session_quit(r.session);
    finish(&r, SRC_IN_DOUBT, SRC_OWNER_UNKNOWN);
    cr_expect_eq(r.out.error.code, VMS_E_HANDOVER_IN_DOUBT);
}
