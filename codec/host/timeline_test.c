/* SPDX-License-Identifier: MIT */
#include "host/timeline.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

TestSuite(timeline, .timeout = 60);

#define MS UINT64_C(1000000)

static struct vms_timeline *fresh(uint64_t now) {
    struct vms_timeline *t =
        vms_timeline_new(&(struct vms_timeline_options){.end = VMS_END_SOURCE}, now);
    cr_assert(t);
    return t;
}

Test(timeline, nothing_is_recorded_where_there_is_none) {
    vms_timeline_phase(NULL, 1, "setup");
    vms_timeline_event(NULL, 1, VMS_EVENT_CUT, VMS_NO_LANE, 0, NULL);
    cr_assert_eq(vms_timeline_lane(NULL, 1, VMS_LANE_DEVICE, "x"), VMS_NO_LANE);
    vms_timeline_lane_state(NULL, 1, 0, "x");
    vms_timeline_count(NULL, 0, &(struct vms_counters){0});
    vms_timeline_gauges(NULL, &(struct vms_gauges){0});
    vms_timeline_observe(NULL, VMS_LATENCY_MAP, 1);
    vms_timeline_fact(NULL, "a", "b");
    vms_timeline_result(NULL, 1, "failed", NULL);
    cr_assert(!vms_timeline_tick(NULL, 1));
    vms_timeline_free(NULL);
}

Test(timeline, times_are_since_the_start_and_only_grow) {
    struct vms_timeline *t = fresh(1000 * MS);
    vms_timeline_phase(t, 1005 * MS, "setup");
    vms_timeline_phase(t, 1003 * MS, "precopy"); /* read the clock, then waited for the lock */
    vms_timeline_phase(t, 1009 * MS, "precopy");
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert_eq(v->phase_count, 2);
    cr_assert_eq(v->phases[0].at_ns, 5 * MS);
    cr_assert_eq(v->phases[1].at_ns, 5 * MS);
    cr_assert_str_eq(v->phases[1].name, "precopy");
    vms_timeline_done(t);
    vms_timeline_free(t);
}

Test(timeline, begins_with_what_happens_first) {
    struct vms_timeline *t = vms_timeline_new(
        &(struct vms_timeline_options){VMS_END_DESTINATION, 0, 1000, true}, 5000 * MS);
    cr_assert(!vms_timeline_tick(t, 8000 * MS));
    vms_timeline_phase(t, 9000 * MS, "setup");
    cr_assert(vms_timeline_tick(t, 9010 * MS));
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert_eq(v->phases[0].at_ns, 0);
    cr_assert_eq(v->samples[0].at_ns, 10 * MS);
    cr_assert_eq(v->options.started_unix_s, 1004);
    vms_timeline_done(t);
    vms_timeline_free(t);
}

/* [REP-6] However often samples are thinned out: ascending, the sums right, the latest one there.
 */
Test(timeline, samples_are_thinned_out) {
    struct vms_timeline *t = fresh(0);
    uint32_t early = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "data 0"), late = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        if (i == 3000)
            late = vms_timeline_lane(t, i, VMS_LANE_CHANNEL, "data 1");
        vms_timeline_count(t, early, &(struct vms_counters){.bytes = i * 100});
        if (i >= 3000)
            vms_timeline_count(t, late, &(struct vms_counters){.bytes = i - 3000});
        (void)vms_timeline_tick(t, i * 100 * MS);
    }
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert(v->sample_count > VMS_TIMELINE_SAMPLES / 2 - 1);
    cr_assert(v->sample_count <= VMS_TIMELINE_SAMPLES);
    for (size_t s = 0; s < v->sample_count; s++) {
        uint64_t i = v->samples[s].at_ns / (100 * MS), second = i < 3000 ? 0 : i - 3000;
        cr_assert(s == 0 || v->samples[s].at_ns > v->samples[s - 1].at_ns);
        cr_assert_eq(v->samples[s].totals.bytes, i * 100 + second, "sample %zu", s);
        cr_assert_eq(v->lanes[early].samples[s].bytes, i * 100);
        cr_assert_eq(v->lanes[late].samples[s].bytes, second);
    }
    cr_assert(v->samples[v->sample_count - 1].at_ns + v->interval_ns >= v->now_ns);
    cr_assert_eq(v->totals.bytes, 9999 * 100 + 6999);
    vms_timeline_done(t);
    vms_timeline_free(t);
}

/* [REP-6] Rounds give way; what else happened stays. */
Test(timeline, rounds_give_way_to_events) {
    struct vms_timeline *t = fresh(0);
    for (uint64_t i = 0; i < 100000; i++) {
        vms_timeline_event(t, i, VMS_EVENT_ROUND, VMS_NO_LANE, i + 1, NULL);
        if (i % 1000 == 0)
            vms_timeline_event(t, i, VMS_EVENT_CUT, VMS_NO_LANE, i, "cut");
    }
    const struct vms_timeline_view *v = vms_timeline_view(t);
    uint64_t cuts = 0;
    for (size_t i = 0; i < v->mark_count; i++) {
        cr_assert(i == 0 || v->marks[i].at_ns >= v->marks[i - 1].at_ns);
        if (v->marks[i].event == VMS_EVENT_CUT)
            cr_assert_eq(v->marks[i].value, 1000 * cuts++);
    }
    cr_assert_eq(cuts, 100);
    cr_assert_eq(v->mark_count + v->marks_lost, 100100);
    vms_timeline_done(t);
    vms_timeline_free(t);
}

/* [REP-6] Whatever is full stays within its bound and says what is missing. */
Test(timeline, everything_is_bounded) {
    struct vms_timeline *t = fresh(0);
    char name[80];
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        vms_timeline_phase(t, i, name);
        vms_timeline_fact(t, name, name);
        vms_timeline_event(t, i, VMS_EVENT_CUT, VMS_NO_LANE, i, NULL);
        uint32_t lane = vms_timeline_lane(t, i, VMS_LANE_DEVICE, name);
        cr_assert_eq(lane, i < VMS_TIMELINE_LANES ? i : VMS_NO_LANE);
        vms_timeline_lane_state(t, i, 0, name);
        vms_timeline_count(t, lane, &(struct vms_counters){.bytes = 1});
    }
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    vms_timeline_phase(t, 3000, name);
    vms_timeline_phase(t, 3001, name); /* the same, though it was cut */
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert_eq(v->phase_count, VMS_TIMELINE_PHASES);
    cr_assert_eq(strlen(v->phases[v->phase_count - 1].name), VMS_TIMELINE_NAME - 1);
    cr_assert_eq(v->fact_count, VMS_TIMELINE_FACTS);
    cr_assert_eq(v->mark_count, VMS_TIMELINE_EVENTS);
    cr_assert_eq(v->marks_lost, 2000 - VMS_TIMELINE_EVENTS);
    cr_assert_eq(v->lanes[0].state_count, VMS_TIMELINE_STATES);
    cr_assert_str_eq(v->lanes[0].states[VMS_TIMELINE_STATES - 1].name, "1999");
    cr_assert_eq(v->phases_lost, 2001 - VMS_TIMELINE_PHASES + 2000 - VMS_TIMELINE_STATES);
    vms_timeline_done(t);
    vms_timeline_free(t);
}

Test(timeline, one_lane_to_a_kind_and_name) {
    struct vms_timeline *t = fresh(0);
    uint32_t a = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "vfio\x1b[2J"),
             b = vms_timeline_lane(t, 0, VMS_LANE_DEVICE, "vfio\x1b[2J");
    cr_assert_neq(a, b);
    cr_assert_eq(vms_timeline_lane(t, 9, VMS_LANE_CHANNEL, "vfio\x1b[2J"), a);
    cr_assert_str_eq(vms_timeline_view(t)->lanes[a].name, "vfio?[2J");
    vms_timeline_done(t);
    vms_timeline_free(t);
}

Test(timeline, only_channels_make_the_sum) {
    struct vms_timeline *t = fresh(0);
    uint32_t a = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "main"),
             b = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "data"),
             d = vms_timeline_lane(t, 0, VMS_LANE_DEVICE, "vfio");
    vms_timeline_count(t, a, &(struct vms_counters){1, 2, 3, 4, 0, 0});
    vms_timeline_count(t, b, &(struct vms_counters){10, 20, 30, 40, 0, 0});
    vms_timeline_count(t, d, &(struct vms_counters){100, 0, 0, 0, 5, 6});
    vms_timeline_count(t, a, &(struct vms_counters){2, 2, 3, 4, 0, 0});
    vms_timeline_count(t, 77, &(struct vms_counters){1000, 0, 0, 0, 0, 0});
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert_eq(v->totals.bytes, 12);
    cr_assert_eq(v->totals.bytes_back, 22);
    cr_assert_eq(v->totals.pages, 33);
    cr_assert_eq(v->totals.zeros, 44);
    vms_timeline_done(t);
    vms_timeline_free(t);
}

struct writer {
    struct vms_timeline *t;
    unsigned number;
};

static void *write_much(void *arg) {
    struct writer *w = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "data %u", w->number);
    for (uint64_t i = 1; i <= 2000; i++) {
        uint32_t lane = vms_timeline_lane(w->t, i * MS, VMS_LANE_CHANNEL, name);
        vms_timeline_count(w->t, lane, &(struct vms_counters){.bytes = i});
        vms_timeline_observe(w->t, VMS_LATENCY_FAULT, i);
        vms_timeline_phase(w->t, i * MS, i % 2 ? "a" : "b");
        (void)vms_timeline_tick(w->t, i * MS);
    }
    return NULL;
}

Test(timeline, threads_may_record_together) {
    struct vms_timeline *t = fresh(0);
    pthread_t threads[4];
    struct writer w[4];
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (struct writer){t, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, write_much, &w[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    const struct vms_timeline_view *v = vms_timeline_view(t);
    cr_assert_eq(v->lane_count, 4);
    cr_assert_eq(v->totals.bytes, 8000);
    cr_assert_eq(v->latencies[VMS_LATENCY_FAULT].count, 8000);
    cr_assert(v->sample_count > 0 && v->sample_count <= 21);
    vms_timeline_done(t);
    vms_timeline_free(t);
}
