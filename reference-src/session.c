/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The queue, the loop, and what wires say. No decision about the migration is made here. */

uint64_t src_now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void src_say(struct src_session *s, const char *fmt, ...) {
    char text[400], id[16] = "";
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (s->has_id) /* [SRC-13] both ends' lines can be laid side by side */
        (void)snprintf(id, sizeof id, " %02x%02x%02x%02x", s->id[0], s->id[1], s->id[2], s->id[3]);
    vms_timeline_event(s->host.timeline, src_now_ns(), VMS_EVENT_NOTE, VMS_NO_LANE, 0, text);
    if (!s->options.quiet)
        fprintf(stderr, "reference-src%s: %s\n", id, text);
}

void src_mark(struct src_session *s, enum vms_timeline_event event, uint64_t value) {
    vms_timeline_event(s->host.timeline, src_now_ns(), event, VMS_NO_LANE, value, NULL);
}

/* ---- events ---- */

void src_answer(struct src_session *s, const struct src_event *event) {
    if (s->own_count < SESSION_OWN)
        s->own[(s->own_first + s->own_count++) % SESSION_OWN] = *event;
}

/* An order that nobody takes any more was not obeyed. Lock held. */
static void turn_away(struct src_waiter *waiter) {
    if (!waiter)
        return;
    (void)vms_error_set(&waiter->error, VMS_E_SRC_ORDER, "the migration is over");
    waiter->done = true;
}

void src_push(struct src_session *s, const struct src_item *item) {
    pthread_mutex_lock(&s->lock);
    while (s->count == SESSION_QUEUE && !s->closing)
        pthread_cond_wait(&s->changed, &s->lock);
    if (!s->closing)
        s->queue[(s->first + s->count++) % SESSION_QUEUE] = *item;
    else
        turn_away(item->waiter);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

bool src_is_cut(enum vms_code code) {
    switch (code) {
    case VMS_E_IO:
    case VMS_E_PEER_CLOSED:
    case VMS_E_TIMEOUT:
    case VMS_E_TLS:
    case VMS_E_CONNECT:
    case VMS_E_TRUNCATED:
    case VMS_E_SESSION_SILENT: return true;
    default: return false;
    }
}

static void note_error(struct src_session *s, const struct vms_error *why) {
    if (why->code && !s->error.code)
        s->error = *why;
}

void src_trouble(struct src_session *s, const struct vms_error *why) {
    struct src_event e = {.kind = src_is_cut(why->code) ? SRC_EV_CUT : SRC_EV_ERROR,
                          .value = why->code};
    note_error(s, why);
    src_answer(s, &e);
}

/* ---- feeding the engine ---- */

static void publish(struct src_session *s) {
    enum src_state state = src_engine_state(s->engine);
    pthread_mutex_lock(&s->lock);
    s->state = state;
    s->owner = src_engine_owner(s->engine);
    s->figures = *src_engine_figures(s->engine);
    pthread_mutex_unlock(&s->lock);
    src_tell_waiting(s);
    if (state == s->shown)
        return;
    s->shown = state;
    s->progress |= state != SRC_PAUSED && state != SRC_RECOVER && state != SRC_IN_DOUBT;
    vms_timeline_phase(s->host.timeline, src_now_ns(), src_phase_name(state));
}

static void mark_device(struct src_session *s, enum vms_timeline_event event,
                        const struct src_event *e) {
    vms_timeline_event(s->host.timeline, src_now_ns(), event, src_lane(s, e->device), e->generation,
                       NULL);
}

/* QEMU's wire does not tell whose it is. */
static void tell_grant(struct src_session *s, const struct src_event *e) {
    bool named = s->options.native && e->device > 0 && e->device < s->device_count;
    mark_device(s, VMS_EVENT_ACK, e);
    if (named)
        src_say(s, "%s: acknowledged, generation %llu", s->devices[e->device].about.idstr,
                (unsigned long long)e->generation);
    else if (!s->options.native)
        src_say(s, "a switchover acknowledgement has come");
}

void src_session_note(struct src_session *s, const char *text) {
    src_say(s, "%s", text);
}

static void mark_event(struct src_session *s, const struct src_event *e) {
    switch (e->kind) {
    case SRC_EV_CONNECTED: src_mark(s, VMS_EVENT_CONNECTED, 0); break;
    case SRC_EV_STOPPED: src_mark(s, VMS_EVENT_STOPPED, 0); break;
    case SRC_EV_REQUEST: mark_device(s, VMS_EVENT_REQUEST, e); break;
    case SRC_EV_GRANT: tell_grant(s, e); break;
    case SRC_EV_READY: src_mark(s, VMS_EVENT_READY, e->generation); break;
    case SRC_EV_RUNNING: src_mark(s, VMS_EVENT_RUNNING, 0); break;
    case SRC_EV_SHUT:
        if (!s->options.native && !e->value && s->state == SRC_COMMITTED)
            src_mark(s, VMS_EVENT_RUNNING, 0);
        break;
    case SRC_EV_CUT: src_mark(s, VMS_EVENT_CUT, 0); break;
    case SRC_EV_RECONNECTED: src_mark(s, VMS_EVENT_RESUMED, 0); break;
    default: break;
    }
}

/* One CUT for each connection, however many calls and threads notice it. */
static bool is_repeated(struct src_session *s, const struct src_event *e) {
    bool repeated = e->kind == SRC_EV_CUT && s->cut;
    if (e->kind == SRC_EV_CUT) {
        s->cut = true;
        src_ram_forget(&s->devices[0], true);
    }
    if (e->kind == SRC_EV_CONNECTED || e->kind == SRC_EV_RECONNECTED)
        s->cut = false;
    return repeated;
}

static void set_busy(struct src_session *s, bool busy) {
    enum src_state state = src_engine_state(s->engine);
    pthread_mutex_lock(&s->lock);
    s->busy = busy;
    s->abortable = state < SRC_COMMITTED;
    pthread_mutex_unlock(&s->lock);
}

/* [ENG-30] A try to take locks back that fails is not what the migration has failed of. */
static void note_failure(struct src_session *s, enum vms_code before, const struct vms_error *why) {
    struct vms_error first = *why;
    if (why->code == VMS_E_SRC_LOCKS && before)
        (void)vms_error_set(&first, before, NULL);
    note_error(s, &first);
}

static void feed(struct src_session *s, struct src_event *event, struct src_waiter *waiter) {
    struct src_actions actions;
    struct vms_error err = {0};
    if (is_repeated(s, event))
        return;
    event->now_ns = src_now_ns();
    mark_event(s, event);
    enum vms_code before = src_engine_reason(s->engine);
    enum vms_code code = src_engine_event(s->engine, event, &actions, &err);
    if (code != VMS_OK && !waiter) {
        note_failure(s, before, &err);
        src_say(s, "%s: %s", vms_code_name(code), err.message);
    }
    publish(s);
    if (waiter) {
        pthread_mutex_lock(&s->lock);
        waiter->error = err;
        waiter->state = s->state;
        waiter->done = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    set_busy(s, true);
    for (size_t i = 0; i < actions.count; i++)
        src_carry_out(s, &actions.list[i]);
    set_busy(s, false);
    if (s->host.watch)
        s->host.watch(s->host.watch_ctx, src_now_ns());
}

void src_feed(struct src_session *s, struct src_event *event) {
    feed(s, event, NULL);
}

/* ---- orders ---- */

static void settle(struct src_session *s, struct src_item *item) {
    struct src_settings *x = &item->settings;
    pthread_mutex_lock(&s->lock);
    if (x->has_postcopy_bandwidth)
        s->postcopy_bandwidth = x->postcopy_bandwidth;
    pthread_mutex_unlock(&s->lock);
    if (x->has_bandwidth)
        s->options.bandwidth = x->bandwidth;
    if (x->has_switchover_bandwidth)
        s->options.switchover_bandwidth = x->switchover_bandwidth;
    if (x->has_downtime)
        s->options.downtime_ms = x->downtime_ms;
    src_engine_limits(s->engine, s->options.bandwidth, s->options.switchover_bandwidth,
                      s->options.downtime_ms * 1000000);
    if (s->deadline_ns[SRC_TIMER_TICK]) /* [ENG-19] it was for the old limit */
        s->deadline_ns[SRC_TIMER_TICK] = src_now_ns();
}

static void take(struct src_session *s, struct src_item *item) {
    note_error(s, &item->why);
    switch (item->kind) {
    case SRC_ITEM_EVENT: feed(s, &item->event, item->waiter); return;
    case SRC_ITEM_SET: settle(s, item); break;
    case SRC_ITEM_RECOVER: src_reconnect_now(s); break;
    case SRC_ITEM_QUIT: s->finished = true; break;
    }
    pthread_mutex_lock(&s->lock);
    if (item->waiter) {
        item->waiter->state = s->state;
        item->waiter->done = true;
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the loop ---- */

static bool due_timer(struct src_session *s, enum src_timer *timer) {
    uint64_t now = src_now_ns();
    for (unsigned i = 0; i < SRC_TIMER_COUNT; i++)
        if (s->deadline_ns[i] && s->deadline_ns[i] <= now) {
            s->deadline_ns[i] = 0;
            *timer = (enum src_timer)i;
            return true;
        }
    return false;
}

static uint64_t next_deadline(const struct src_session *s) {
    uint64_t next = src_reconnect_due(s);
    for (unsigned i = 0; i < SRC_TIMER_COUNT; i++)
        if (s->deadline_ns[i] && (!next || s->deadline_ns[i] < next))
            next = s->deadline_ns[i];
    return next;
}

/* Lock held. */
static void wait_for_something(struct src_session *s) {
    uint64_t next = next_deadline(s);
    struct timespec t = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
    if (next)
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &t);
    else
        (void)pthread_cond_wait(&s->changed, &s->lock);
}

/* Others first: the session's own answers never end while memory is iterated over. */
static bool take_queued(struct src_session *s, struct src_item *item) {
    pthread_mutex_lock(&s->lock);
    uint64_t due = next_deadline(s);
    if (!s->count && !s->own_count && (!due || due > src_now_ns()))
        wait_for_something(s);
    bool some = s->count > 0;
    if (some) {
        *item = s->queue[s->first];
        s->first = (s->first + 1) % SESSION_QUEUE;
        s->count--;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return some;
}

static void take_own(struct src_session *s) {
    struct src_event e = s->own[s->own_first];
    s->own_first = (s->own_first + 1) % SESSION_OWN;
    s->own_count--;
    feed(s, &e, NULL);
}

/* --postcopy-after: rounds over memory. */
static void order_postcopy(struct src_session *s) {
    struct src_ram_figures f;
    struct src_event e = {.kind = SRC_EV_START_POSTCOPY};
    src_ram_figures(&s->devices[0], &f);
    if (f.passes != s->passes)
        src_mark(s, VMS_EVENT_ROUND, f.passes);
    s->passes = f.passes;
    if (s->postcopy_ordered || s->options.postcopy_after < 0 || s->state != SRC_PRECOPY ||
        f.passes < (uint64_t)s->options.postcopy_after)
        return;
    s->postcopy_ordered = true;
    feed(s, &e, NULL);
}

static void step(struct src_session *s) {
    struct src_item item;
    enum src_timer timer;
    if (take_queued(s, &item)) {
        take(s, &item);
        return;
    }
    if (due_timer(s, &timer)) {
        struct src_event e = {.kind = SRC_EV_TIMER, .value = timer};
        feed(s, &e, NULL);
        return;
    }
    if (s->own_count)
        take_own(s);
    src_reconnect_step(s);
    order_postcopy(s);
}

/* Nobody waits for an answer any more. */
void src_release_waiting(struct src_session *s) {
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    for (; s->count; s->count--, s->first = (s->first + 1) % SESSION_QUEUE)
        turn_away(s->queue[s->first].waiter);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void src_session_run(struct src_session *s, struct src_outcome *out) {
    struct src_event begin = {.kind = SRC_EV_BEGIN};
    s->shown = SRC_STATE_COUNT;
    if (s->options.wait)
        publish(s);
    else
        feed(s, &begin, NULL);
    while (!s->finished)
        step(s);
    src_sender_stop(s);
    publish(s);
    src_release_waiting(s);
    enum vms_code reason = src_engine_reason(s->engine);
    bool stands = s->owner == SRC_OWNER_OURS && !src_engine_may_run(s->engine);
    *out = (struct src_outcome){s->state, s->owner, s->error, stands};
    if (s->state == SRC_COMPLETED)
        out->error = (struct vms_error){0};
    else if (stands) /* [ENG-30] worse than what led to it */
        (void)vms_error_set(&out->error, VMS_E_SRC_LOCKS, "taking back, after %s",
                            vms_code_name(s->error.code));
    else if (s->owner == SRC_OWNER_UNKNOWN)
        (void)vms_error_set(&out->error, VMS_E_HANDOVER_IN_DOUBT, NULL);
    else if (reason && (!s->error.code || reason == VMS_E_SRC_CANCELLED))
        (void)vms_error_set(&out->error, reason, NULL);
}
