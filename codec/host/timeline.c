/* SPDX-License-Identifier: MIT */
#include "host/timeline_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    INTERVAL_NS = 100 * 1000 * 1000,
};

struct vms_timeline *vms_timeline_new(const struct vms_timeline_options *options, uint64_t now_ns) {
    struct vms_timeline *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t);
        return NULL;
    }
    t->start_ns = now_ns;
    t->begun = !options->waits;
    t->view.options = *options;
    t->view.interval_ns = options->interval_ns ? options->interval_ns : INTERVAL_NS;
    t->view.gauges.waiting_for = VMS_NO_LANE;
    return t;
}

void vms_timeline_free(struct vms_timeline *t) {
    if (!t)
        return;
    for (size_t i = 0; i < t->view.lane_count; i++)
        free(t->view.lanes[i].samples);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

static void begin(struct vms_timeline *t, uint64_t now_ns) {
    if (t->view.options.started_unix_s && now_ns > t->start_ns)
        t->view.options.started_unix_s += (int64_t)((now_ns - t->start_ns) / 1000000000);
    t->start_ns = now_ns;
    t->begun = true;
}

/* Threads read the clock before they get the lock: a little later may come first. */
uint64_t vms_timeline_since(struct vms_timeline *t, uint64_t now_ns) {
    uint64_t since = now_ns > t->start_ns ? now_ns - t->start_ns : 0;
    if (since > t->view.now_ns)
        t->view.now_ns = since;
    return t->view.now_ns;
}

uint64_t vms_timeline_enter(struct vms_timeline *t, uint64_t now_ns) {
    pthread_mutex_lock(&t->lock);
    if (!t->begun)
        begin(t, now_ns);
    return vms_timeline_since(t, now_ns);
}

void vms_timeline_copy(char *to, size_t size, const char *text) {
    size_t i = 0;
    for (; text && text[i] && i + 1 < size; i++)
        to[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    to[i] = 0;
}

void vms_timeline_append(struct vms_timeline_phase *list, size_t *count, size_t max, uint64_t *lost,
                         uint64_t at_ns, const char *name) {
    if (*count == max) { /* [REP-6] */
        (*count)--;
        (*lost)++;
    }
    struct vms_timeline_phase *p = &list[(*count)++];
    p->at_ns = at_ns;
    vms_timeline_copy(p->name, sizeof p->name, name);
}

void vms_timeline_phase(struct vms_timeline *t, uint64_t now_ns, const char *state) {
    if (!t)
        return;
    uint64_t at = vms_timeline_enter(t, now_ns);
    struct vms_timeline_view *v = &t->view;
    if (v->phase_count == 0 ||
        strncmp(v->phases[v->phase_count - 1].name, state, VMS_TIMELINE_NAME - 1) != 0)
        vms_timeline_append(v->phases, &v->phase_count, VMS_TIMELINE_PHASES, &v->phases_lost, at,
                            state);
    pthread_mutex_unlock(&t->lock);
}

/* [REP-6] Drops every second round, since rounds may be many; all else tells a story. */
static void thin_marks(struct vms_timeline_view *v) {
    size_t kept = 0;
    bool drop = false;
    for (size_t i = 0; i < v->mark_count; i++) {
        bool round = v->marks[i].event == VMS_EVENT_ROUND;
        if (round && drop)
            v->marks_lost++;
        else
            v->marks[kept++] = v->marks[i];
        drop ^= round;
    }
    v->mark_count = kept;
}

void vms_timeline_event(struct vms_timeline *t, uint64_t now_ns, enum vms_timeline_event event,
                        uint32_t lane, uint64_t value, const char *text) {
    if (!t)
        return;
    uint64_t at = vms_timeline_enter(t, now_ns);
    struct vms_timeline_view *v = &t->view;
    if (v->mark_count == VMS_TIMELINE_EVENTS)
        thin_marks(v);
    if (v->mark_count == VMS_TIMELINE_EVENTS) {
        v->marks_lost++;
    } else {
        struct vms_timeline_mark *m = &v->marks[v->mark_count++];
        *m = (struct vms_timeline_mark){.at_ns = at, .value = value, .event = event, .lane = lane};
        vms_timeline_copy(m->text, sizeof m->text, text);
    }
    pthread_mutex_unlock(&t->lock);
}

void vms_timeline_observe(struct vms_timeline *t, enum vms_latency what, uint64_t ns) {
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    vms_histogram_add(&t->view.latencies[what], ns);
    pthread_mutex_unlock(&t->lock);
}

static struct vms_timeline_fact *fact_for(struct vms_timeline_view *v, const char *key) {
    for (size_t i = 0; i < v->fact_count; i++)
        if (strncmp(v->facts[i].key, key, VMS_TIMELINE_NAME - 1) == 0)
            return &v->facts[i];
    return v->fact_count < VMS_TIMELINE_FACTS ? &v->facts[v->fact_count++] : NULL;
}

void vms_timeline_fact(struct vms_timeline *t, const char *key, const char *value) {
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    struct vms_timeline_fact *f = fact_for(&t->view, key);
    if (f) {
        vms_timeline_copy(f->key, sizeof f->key, key);
        vms_timeline_copy(f->value, sizeof f->value, value);
    }
    pthread_mutex_unlock(&t->lock);
}

void vms_timeline_cpu(struct vms_timeline *t, uint64_t user_ns, uint64_t system_ns) {
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->view.cpu_user_ns = user_ns;
    t->view.cpu_system_ns = system_ns;
    pthread_mutex_unlock(&t->lock);
}

void vms_timeline_result(struct vms_timeline *t, uint64_t now_ns, const char *result,
                         const struct vms_error *why) {
    if (!t)
        return;
    uint64_t at = vms_timeline_enter(t, now_ns);
    vms_timeline_copy(t->view.result, sizeof t->view.result, result);
    t->view.end_ns = at;
    if (why)
        t->view.error = *why;
    pthread_mutex_unlock(&t->lock);
}

const struct vms_timeline_view *vms_timeline_view(struct vms_timeline *t) {
    pthread_mutex_lock(&t->lock);
    return &t->view;
}

void vms_timeline_done(struct vms_timeline *t) {
    pthread_mutex_unlock(&t->lock);
}

const char *vms_timeline_event_name(enum vms_timeline_event event) {
    static const char *const names[VMS_EVENT_COUNT] = {
#define VMS_EVENT_(name, text) [VMS_EVENT_##name] = text,
        VMS_TIMELINE_EVENTS_OF(VMS_EVENT_)
#undef VMS_EVENT_
    };
    return (unsigned)event < VMS_EVENT_COUNT ? names[event] : "?";
}

const char *vms_latency_name(enum vms_latency what) {
    static const char *const names[VMS_LATENCY_COUNT] = {"fault", "request", "map"};
    return (unsigned)what < VMS_LATENCY_COUNT ? names[what] : "?";
}

bool vms_timeline_when(const struct vms_timeline_view *view, enum vms_timeline_event event,
                       uint64_t *at_ns) {
    for (size_t i = 0; i < view->mark_count; i++)
        if (view->marks[i].event == event) {
            *at_ns = view->marks[i].at_ns;
            return true;
        }
    return false;
}

/* [REP-3] From the last stop before the guest ran at the destination until then. */
bool vms_timeline_downtime(const struct vms_timeline_view *v, uint64_t *ns) {
    uint64_t running = 0;
    bool found = false;
    if (!vms_timeline_when(v, VMS_EVENT_RUNNING, &running))
        return false;
    for (size_t i = 0; i < v->mark_count && v->marks[i].at_ns <= running; i++)
        if (v->marks[i].event == VMS_EVENT_STOPPED) {
            *ns = running - v->marks[i].at_ns;
            found = true;
        }
    return found;
}
