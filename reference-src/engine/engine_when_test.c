/* SPDX-License-Identifier: MIT */
#include "test_script.h"

/* When the machine does what: thresholds, bandwidth, limits of time. */

/* [ENG-17] */
Test(source_engine_when, asks_exactly_only_below_the_threshold) {
    struct src_config c = config(true);
    begin(&c);
    both_pending(300001, 0);
    cr_assert(has(SRC_DO_SAVE));
    (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000, .more = true});
    both_pending(300000, 0);
    cr_assert(action(SRC_DO_QUERY)->exact);
    both_pending(300001, 0);
    cr_assert(has(SRC_DO_SAVE) && e.state == SRC_PRECOPY);
}

/* [ENG-18] */
Test(source_engine_when, threshold_is_zero_until_measured) {
    struct src_config c = config(true);
    c.switchover_bandwidth = 0;
    begin(&c);
    both_pending(1000000, 0);
    for (int i = 0; i < 99; i++) {
        cr_assert_eq(src_engine_figures(&e)->threshold, 0);
        now += 1000 * 1000;
        (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000, .more = true});
        both_pending(1000000, 0);
    }
    now += 1000 * 1000;
    (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000, .more = true});
    both_pending(1000000, 0);
    cr_assert_eq(src_engine_figures(&e)->bandwidth, 1000000);
    cr_assert_eq(src_engine_figures(&e)->threshold, 300000);
    cr_assert_eq(src_engine_figures(&e)->expected_downtime_ns, UINT64_C(1000000000));
}

/* [ENG-18] What fits into the queues of the wire is not what the link carries. */
Test(source_engine_when, bandwidth_is_of_what_has_left) {
    struct src_config c = config(true);
    c.switchover_bandwidth = 0;
    begin(&c);
    both_pending(1 << 30, 0);
    for (uint64_t i = 1; i <= 100; i++) {
        now += 1000 * 1000;
        (void)event((struct src_event){
            .kind = SRC_EV_SAVED, .value = 1 << 20, .left = i * 1000, .more = true});
        both_pending(1 << 30, 0);
    }
    cr_assert_eq(src_engine_figures(&e)->bandwidth, 1000000);
}

/* [ENG-18] Everything was sent within the first window: it closes all the same. */
Test(source_engine_when, bandwidth_of_little) {
    struct src_config c = config(true);
    c.switchover_bandwidth = 0;
    begin(&c);
    both_pending(1000, 0);
    now += 1000 * 1000;
    (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000});
    for (int i = 0; i < 100 && e.state == SRC_PRECOPY; i++) {
        pending(0, 0, 0, 0);
        pending(1, 0, 100000, 0); /* saved stopped: only the threshold lets it pass */
        if (has(SRC_DO_ARM)) {
            now += action(SRC_DO_ARM)->value;
            (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
        }
    }
    cr_assert_eq(e.state, SRC_STOPPING);
    cr_assert_geq(src_engine_figures(&e)->bandwidth, 500 * 1000);
}

/* [ENG-18] The first window ends with what there is to send, once it has a figure: 1 MiB has left.
 */
Test(source_engine_when, first_bandwidth_does_not_wait) {
    static const uint64_t mib = 1 << 20, ms = 1000000;
    struct src_bandwidth b;
    src_bandwidth_init(&b, 0, 0);
    src_bandwidth_sent(&b, 4 * ms, 3 * mib, 1 * mib - 1); /* the rest is in queues */
    src_bandwidth_idle(&b, 4 * ms);
    src_bandwidth_measure(&b, 14 * ms);
    cr_assert_eq(b.measured, 0, "too little has left to tell");
    src_bandwidth_sent(&b, 15 * ms, 0, 1);
    cr_assert_eq(b.measured, mib * 200, "1 MiB in the 5 ms in which there was something to send");
    src_bandwidth_sent(&b, 16 * ms, mib, mib);
    src_bandwidth_idle(&b, 16 * ms);
    src_bandwidth_measure(&b, 26 * ms);
    cr_assert_eq(b.measured, mib * 200, "all windows behind it are whole");
}

/* One window: so many bytes leave in 100 ms, and nothing is to be sent for `rest` of them. */
static void window(uint64_t *left, uint64_t bytes, unsigned rest_ms) {
    unsigned busy_ms = 100 - rest_ms;
    both_pending(rest_ms ? 0 : 1 << 30, 0);
    now += rest_ms * UINT64_C(1000000);
    if (rest_ms)
        (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
    both_pending(1 << 30, 0);
    now += busy_ms * UINT64_C(1000000);
    *left += bytes;
    (void)event(
        (struct src_event){.kind = SRC_EV_SAVED, .value = 1 << 20, .left = *left, .more = true});
    both_pending(1 << 30, 0);
}

/* [ENG-18] A peak is not what the last pages will get; nor is what leaves while nothing is given.
 */
Test(source_engine_when, bandwidth_is_the_least_of_four_windows) {
    struct src_config c = config(true);
    uint64_t left = 0;
    c.switchover_bandwidth = 0;
    begin(&c);
    window(&left, 10 << 20, 0);
    window(&left, 40 << 20, 0);
    cr_assert_eq(src_engine_figures(&e)->bandwidth, 100 << 20);
    for (int i = 0; i < 2; i++)
        window(&left, 40 << 20, 0);
    cr_assert_eq(src_engine_figures(&e)->bandwidth, 100 << 20);
    window(&left, 40 << 20, 0);
    cr_assert_eq(src_engine_figures(&e)->bandwidth, 400 << 20);
}

/* Windows of 100 ms: at first there is nothing to send for that long, then so many bytes leave. */
static void windows(struct src_bandwidth *b, uint64_t *at, unsigned n, uint64_t bytes,
                    unsigned rest_ms) {
    while (n--) {
        if (rest_ms)
            src_bandwidth_idle(b, *at);
        src_bandwidth_measure(b, *at + rest_ms * UINT64_C(1000000));
        *at += 100 * UINT64_C(1000000);
        src_bandwidth_sent(b, *at, bytes, bytes);
    }
}

/* [ENG-18] After a stall, the switchover of a guest that writes little must not wait for ever. */
Test(source_engine_when, bandwidth_recovers_from_a_stall) {
    struct src_bandwidth b;
    uint64_t at = 1000;
    src_bandwidth_init(&b, 0, at);
    windows(&b, &at, 3, 20 << 20, 0);
    windows(&b, &at, 1, 20 << 10, 0);
    cr_assert_eq(b.measured, 200 << 10);
    windows(&b, &at, 4, 3 << 20, 80);
    cr_assert_eq(b.measured, 30 << 20);
    windows(&b, &at, 9, 2 << 20, 80); /* it may be all there was */
    cr_assert_eq(b.measured, 30 << 20);
    windows(&b, &at, 1, 20 << 10, 0);
    windows(&b, &at, 3 * 4, 256 << 10, 80);
    cr_assert_eq(b.measured, 200 << 10); /* four of 1 MiB each raise it */
    windows(&b, &at, 4, 256 << 10, 80);
    cr_assert_eq(b.measured, 2560 << 10);
}

/* [ENG-29] */
Test(source_engine_when, queues_and_round_trips_count) {
    struct src_config c = config(true);
    begin(&c);
    uint64_t all = c.switchover_bandwidth * c.downtime_ns / 1000000000;
    struct src_event ev = {.kind = SRC_EV_PENDING,
                           .pending = {.precopy = 1000, .queued = all, .fixed_ns = 1000000}};
    (void)event(ev);
    ev.device = 1;
    ev.pending.queued = 0;
    (void)event(ev);
    const struct src_figures *f = src_engine_figures(&e);
    cr_assert_eq(f->pending, 2000 + all);
    cr_assert_eq(f->threshold, all - c.switchover_bandwidth * 2 / 1000);
    cr_assert_eq(e.state, SRC_PRECOPY);
    begin(&c);
    ev.device = 0;
    ev.pending.fixed_ns = UINT64_MAX;
    (void)event(ev);
    ev.device = 1;
    (void)event(ev);
    cr_assert_eq(src_engine_figures(&e)->threshold, all / 2);
}

/* [ENG-29] The last look at the devices will take as long as the last exact question did. */
Test(source_engine_when, questions_take_their_time) {
    struct src_config c = config(true);
    begin(&c);
    uint64_t all = c.switchover_bandwidth * c.downtime_ns / 1000000000;
    both_pending(1000, 0); /* the estimate: so little is asked for exactly */
    cr_assert(has(SRC_DO_QUERY));
    cr_expect_eq(src_engine_figures(&e)->threshold, all);
    now += 7 * 1000 * 1000;
    both_pending(1 << 30, 0);
    cr_expect_eq(e.state, SRC_PRECOPY);
    cr_expect_eq(src_engine_figures(&e)->threshold, all - c.switchover_bandwidth * 7 / 1000);
}

/* [ENG-19] */
Test(source_engine_when, keeps_the_bandwidth_limit) {
    struct src_config c = config(true);
    c.max_bandwidth = 100000;
    begin(&c);
    uint64_t sent = 0, first = now;
    both_pending(1 << 30, 1 << 30);
    for (int i = 0; i < 5000; i++) {
        if (has(SRC_DO_SAVE)) {
            struct src_action a = *action(SRC_DO_SAVE);
            sent += a.value;
            uint64_t most = (now - first) / 10000 + 10000 + 1000 + 1;
            cr_assert_leq(sent, most);
            now += 1000;
            (void)event((struct src_event){
                .kind = SRC_EV_SAVED, .device = a.device, .value = a.value, .more = true});
        } else if (has(SRC_DO_ARM)) {
            now += action(SRC_DO_ARM)->value;
            (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
        } else {
            both_pending(1 << 30, 1 << 30);
        }
    }
    cr_assert_gt(sent, (now - first) / 10000 / 2, "it sends what it may");
}

/* [ENG-20] [ENG-12] */
Test(source_engine_when, throttles_and_lets_go) {
    struct src_config c = config(true);
    c.auto_converge = true;
    c.switchover_bandwidth = 1;
    begin(&c);
    unsigned last = 0;
    both_pending(1000, 0);
    for (int period = 0; period < 30; period++) {
        now += 20 * 1000 * 1000;
        (void)event((struct src_event){.kind = SRC_EV_SAVED, .value = 1000, .more = false});
        both_pending(0, 0);
        both_pending(1000, 0);
        unsigned percent = src_engine_figures(&e)->throttle;
        cr_assert(percent == last || percent == (last ? last + 10 : 20) || percent == 99);
        last = percent;
    }
    cr_assert_eq(last, 99);
    (void)tell(SRC_EV_CANCEL, 0);
    cr_assert_eq(action(SRC_DO_THROTTLE)->value, 0);
}

/* [ENG-21] [ACK-9] */
Test(source_engine_when, looks_seldom_when_nothing_is_to_be_sent) {
    struct src_config c = config(false);
    c.switchover_ack = c.legacy_ack = true;
    begin(&c);
    for (int i = 0; i < 10; i++) {
        both_pending(0, 0);
        if (has(SRC_DO_QUERY))
            both_pending(0, 0);
        cr_assert(has(SRC_DO_ARM) && !has(SRC_DO_QUERY) && !has(SRC_DO_SAVE));
        cr_assert_geq(action(SRC_DO_ARM)->value, 1000 * 1000);
        now += action(SRC_DO_ARM)->value;
        (void)tell(SRC_EV_TIMER, SRC_TIMER_TICK);
    }
}

/* [ENG-19] A limit that is changed counts at once; another order forgives nothing. */
Test(source_engine_when, only_a_new_limit_forgives_the_debt) {
    struct src_config c = config(true);
    c.max_bandwidth = 1000;
    begin(&c);
    src_bandwidth_sent(&e.bandwidth, now, 5000, 5000);
    uint64_t owed = src_bandwidth_delay(&e.bandwidth, now);
    src_engine_limits(&e, 1000, 7, 9);
    cr_assert_eq(src_bandwidth_delay(&e.bandwidth, now), owed);
    src_engine_limits(&e, 2000, 7, 9);
    cr_assert_lt(src_bandwidth_delay(&e.bandwidth, now), owed / 1000);
    src_engine_limits(&e, 0, 7, 9);
    cr_assert_eq(src_bandwidth_delay(&e.bandwidth, now), 0);
}

/* [ENG-23] The order is given because the limit lets too little through. */
Test(source_engine_when, postcopy_does_not_wait_for_the_limit) {
    struct src_config c = config(true);
    c.max_bandwidth = 1;
    begin(&c);
    both_pending(1 << 30, 0);
    cr_assert(has(SRC_DO_ARM) && !has(SRC_DO_SAVE));
    (void)tell(SRC_EV_START_POSTCOPY, 0);
    cr_assert(has(SRC_DO_QUERY));
    both_pending(1 << 30, 0);
    both_pending(1 << 30, 0);
    cr_assert_eq(e.state, SRC_STOPPING);
}

/* [ENG-22] */
Test(source_engine_when, has_a_time_limit) {
    struct src_config c = config(true);
    c.limit_ns = 7;
    begin(&c);
    (void)tell(SRC_EV_TIMER, SRC_TIMER_LIMIT);
    cr_assert_eq(e.state, SRC_FAILED);
    cr_assert_eq(src_engine_reason(&e), VMS_E_SRC_LIMIT);
}
