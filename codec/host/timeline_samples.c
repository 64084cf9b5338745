/* SPDX-License-Identifier: MIT */
#include "host/timeline_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Lanes and samples. Counters are totals since the beginning, so that a sample that is left out
 * takes nothing away: rates come out of differences.
 */

static uint32_t find_lane(const struct vms_timeline_view *v, enum vms_lane_kind kind,
                          const char *name) {
    for (uint32_t i = 0; i < v->lane_count; i++)
        if (v->lanes[i].kind == kind && strcmp(v->lanes[i].name, name) == 0)
            return i;
    return VMS_NO_LANE;
}

static uint32_t new_lane(struct vms_timeline_view *v, enum vms_lane_kind kind, const char *name,
                         uint64_t at_ns) {
    uint32_t i = (uint32_t)v->lane_count++;
    struct vms_timeline_lane *l = &v->lanes[i];
    l->kind = kind;
    l->at_ns = at_ns;
    memcpy(l->name, name, VMS_TIMELINE_NAME);
    if (i < VMS_TIMELINE_SERIES)
        l->samples = calloc(VMS_TIMELINE_SAMPLES, sizeof *l->samples);
    return i;
}

uint32_t vms_timeline_lane(struct vms_timeline *t, uint64_t now_ns, enum vms_lane_kind kind,
                           const char *name) {
    char clean[VMS_TIMELINE_NAME] = "";
    if (!t)
        return VMS_NO_LANE;
    vms_timeline_copy(clean, sizeof clean, name);
    uint64_t at = vms_timeline_enter(t, now_ns);
    uint32_t lane = find_lane(&t->view, kind, clean);
    if (lane == VMS_NO_LANE && t->view.lane_count < VMS_TIMELINE_LANES)
        lane = new_lane(&t->view, kind, clean, at);
    pthread_mutex_unlock(&t->lock);
    return lane;
}

void vms_timeline_lane_state(struct vms_timeline *t, uint64_t now_ns, uint32_t lane,
                             const char *state) {
    if (!t)
        return;
    uint64_t at = vms_timeline_enter(t, now_ns), lost = 0;
    if (lane < t->view.lane_count) {
        struct vms_timeline_lane *l = &t->view.lanes[lane];
        if (l->state_count == 0 ||
            strncmp(l->states[l->state_count - 1].name, state, VMS_TIMELINE_NAME - 1) != 0)
            vms_timeline_append(l->states, &l->state_count, VMS_TIMELINE_STATES, &lost, at, state);
    }
    t->view.phases_lost += lost;
    pthread_mutex_unlock(&t->lock);
}

static void sum_channels(struct vms_timeline_view *v) {
    struct vms_counters sum = {0};
    for (size_t i = 0; i < v->lane_count; i++) {
        const struct vms_counters *c = &v->lanes[i].totals;
        if (v->lanes[i].kind != VMS_LANE_CHANNEL)
            continue;
        sum.bytes += c->bytes;
        sum.bytes_back += c->bytes_back;
        sum.pages += c->pages;
        sum.zeros += c->zeros;
    }
    v->totals = sum;
}

void vms_timeline_count(struct vms_timeline *t, uint32_t lane, const struct vms_counters *totals) {
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    if (lane < t->view.lane_count) {
        t->view.lanes[lane].totals = *totals;
        sum_channels(&t->view);
    }
    pthread_mutex_unlock(&t->lock);
}

void vms_timeline_gauges(struct vms_timeline *t, const struct vms_gauges *gauges) {
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->view.gauges = *gauges;
    if (gauges->expected_downtime_ns == UINT64_MAX) /* an engine that cannot tell says never */
        t->view.gauges.expected_downtime_ns = 0;
    pthread_mutex_unlock(&t->lock);
}

/* [REP-6] Keeps samples 1, 3, 5, …: the last one stays, and the interval is twice as long. */
static void thin_samples(struct vms_timeline_view *v) {
    size_t half = v->sample_count / 2;
    for (size_t i = 0; i < half; i++)
        v->samples[i] = v->samples[2 * i + 1];
    for (size_t l = 0; l < v->lane_count; l++) {
        struct vms_timeline_lane *lane = &v->lanes[l];
        for (size_t i = 0; lane->samples && i < half; i++)
            lane->samples[i] = lane->samples[2 * i + 1];
    }
    v->sample_count = half;
    v->interval_ns *= 2;
}

static void take(struct vms_timeline_view *v, uint64_t at) {
    size_t n = v->sample_count++;
    v->samples[n] =
        (struct vms_timeline_sample){.at_ns = at, .totals = v->totals, .gauges = v->gauges};
    for (size_t i = 0; i < v->lane_count; i++) {
        const struct vms_counters *c = &v->lanes[i].totals;
        if (v->lanes[i].samples)
            v->lanes[i].samples[n] = (struct vms_lane_sample){
                .bytes = c->bytes, .pages = c->pages, .zeros = c->zeros, .done = c->done};
    }
}

/* Lock held. */
static bool sample(struct vms_timeline *t, uint64_t now_ns) {
    uint64_t at = vms_timeline_since(t, now_ns);
    if (at < t->due_ns)
        return false;
    if (t->view.sample_count == VMS_TIMELINE_SAMPLES)
        thin_samples(&t->view);
    take(&t->view, at);
    t->due_ns = (at / t->view.interval_ns + 1) * t->view.interval_ns;
    return true;
}

bool vms_timeline_tick(struct vms_timeline *t, uint64_t now_ns) {
    if (!t)
        return false;
    pthread_mutex_lock(&t->lock);
    bool taken = t->begun && sample(t, now_ns);
    pthread_mutex_unlock(&t->lock);
    return taken;
}
