/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LINGER_US = 2000000, /* for the source's goodbye */
    MOMENT_MS = 200,     /* between two looks at clock and operator */
};

int64_t dn_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void dn_note(struct dst_native_session *s, const char *fmt, ...) {
    char text[512];
    va_list args;
    if (!s->config.note)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->config.note(s->config.ctx, text);
}

/* ---- events in ---- */

static void post(struct dst_native_session *s, const struct dst_native_event *event) {
    pthread_mutex_lock(&s->lock);
    bool loop = s->stopping || s->event_count < DN_EVENTS - 64;
    while (!loop && event->kind == DST_NEV_DATA) { /* the source may wait; others are few */
        pthread_cond_wait(&s->changed, &s->lock);
        loop = s->stopping || s->event_count < DN_EVENTS - 64;
    }
    if (s->event_count < DN_EVENTS)
        s->events[(s->first_event + s->event_count++) % DN_EVENTS] = *event;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void dn_post(struct dst_native_session *s, enum dst_native_event_kind kind, uint64_t generation,
             uint64_t value) {
    struct dst_native_event e = {.kind = kind, .generation = generation, .value = value};
    post(s, &e);
}

void dn_post_device(struct dst_native_session *s, enum dst_native_event_kind kind, uint32_t device,
                    uint64_t generation) {
    struct dst_native_event e = {.kind = kind, .device = device, .generation = generation};
    post(s, &e);
}

void dn_fail(struct dst_native_session *s, const struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    if (!s->error.code)
        s->error = *err;
    pthread_mutex_unlock(&s->lock);
    dn_post(s, DST_NEV_ERROR, 0, err->code);
}

/* ---- the machine ---- */

/*
 * [MIG-33] A source that has not said START is in no doubt: ABORT, with the reason, says it all.
 */
static bool is_said_by_abort(const struct dst_native_actions *actions, size_t i) {
    const struct dst_native_action *a = &actions->list[i];
    return a->kind == DST_NDO_SEND_NOT_STARTED && a->generation == 0 && i + 1 < actions->count &&
           a[1].kind == DST_NDO_ABORT;
}

static void carry_out(struct dst_native_session *s, const struct dst_native_actions *actions) {
    for (size_t i = 0; i < actions->count; i++)
        if (!is_said_by_abort(actions, i))
            dn_act(s, &actions->list[i]);
}

static void step(struct dst_native_session *s, const struct dst_native_event *event) {
    struct dst_native_actions actions;
    struct vms_error err = {.clause = ""};
    enum dst_native_state before = s->machine.state;
    enum vms_code code = dst_native_event(&s->machine, event, &actions, &err);
    pthread_mutex_lock(&s->lock);
    if (code != VMS_OK && code != VMS_E_MISUSE && !s->error.code)
        s->error = err;
    pthread_mutex_unlock(&s->lock);
    if (s->machine.state != before && s->config.state)
        s->config.state(s->config.ctx, s->machine.state);
    carry_out(s, &actions);
}

static void step_kind(struct dst_native_session *s, enum dst_native_event_kind kind) {
    struct dst_native_event e = {.kind = kind};
    step(s, &e);
}

/* ---- the link's end ---- */

/* What the machine makes of a link that nothing can resume. */
static void link_is_dead(struct dst_native_session *s) {
    enum dst_native_state state = s->machine.state;
    s->link_dead = true;
    if (state <= DST_N_ASKED || state == DST_N_POSTCOPY || state == DST_N_PAUSED)
        step_kind(s, DST_NEV_GIVE_UP);
    else if (state == DST_N_IN_DOUBT || state == DST_N_RUNNING || s->takes_questions)
        dn_ask(s);
    else if (s->finished)
        s->lingering = false;
    if (s->machine.state == DST_N_RUNNING)
        s->patience_us = dn_now_us() + (int64_t)s->config.resume_ms * 1000;
}

static void on_link_over(struct dst_native_session *s) {
    if (s->receiver_runs)
        (void)pthread_join(s->receiver, NULL);
    s->receiver_runs = false;
    if (s->over_code == VMS_OK || (s->ask_only && s->answered)) {
        s->link_dead = true;
        s->source_knows = true;
        step_kind(s, DST_NEV_TOLD);
        s->lingering = false;
        return;
    }
    s->source_knows |= s->over_code == VMS_E_SESSION_ABORTED; /* it gave up before COMMIT */
    if (s->over_code == VMS_E_SESSION_ABORTED)
        step_kind(s, DST_NEV_ABORT);
    else if (!s->machine.cut)
        step_kind(s, DST_NEV_CUT);
    link_is_dead(s);
}

/* ---- the loop ---- */

enum what {
    NOTHING,
    AN_EVENT,
    LINK_OVER,
    OUT_OF_PATIENCE,
    A_MOMENT, /* in doubt: the operator may have decided */
    DONE,
};

/* With lock: what is to be done, if anything is. */
static enum what pending(struct dst_native_session *s, struct dst_native_event *event) {
    if (s->event_count) {
        *event = s->events[s->first_event];
        s->first_event = (s->first_event + 1) % DN_EVENTS;
        s->event_count--;
        pthread_cond_broadcast(&s->changed);
        return AN_EVENT;
    }
    if (s->link_over) {
        s->link_over = false;
        return LINK_OVER;
    }
    if (s->finished && !s->lingering)
        return DONE;
    return s->patience_us && dn_now_us() >= s->patience_us ? OUT_OF_PATIENCE : NOTHING;
}

static enum what next(struct dst_native_session *s, struct dst_native_event *event) {
    bool asks = s->machine.state == DST_N_IN_DOUBT && s->config.order;
    enum what w;
    pthread_mutex_lock(&s->lock);
    while ((w = pending(s, event)) == NOTHING) {
        struct timespec t;
        (void)clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += MOMENT_MS * 1000000L;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        if (!asks && !s->patience_us)
            (void)pthread_cond_wait(&s->changed, &s->lock);
        else if (pthread_cond_timedwait(&s->changed, &s->lock, &t) != 0 && asks) {
            w = A_MOMENT;
            break;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return w;
}

/*
 * After the end the source may still have a question: one that said READY answers it for as long as
 * a session is kept; one whose guest runs waits for the source's goodbye.
 */
static void linger(struct dst_native_session *s) {
    bool failed = s->machine.state == DST_N_FAILED && !s->machine.guest_runs;
    if (s->lingering)
        return;
    if (failed && s->ready_sent && !s->source_knows && !s->ordered_away && s->config.resume_ms &&
        !s->answering) {
        s->lingering = s->takes_questions = true;
        s->patience_us = dn_now_us() + (int64_t)s->config.resume_ms * 1000;
        if (s->link_dead && !s->asker_runs)
            dn_ask(s);
    } else if (!s->link_dead && s->link) {
        s->lingering = true;
        s->patience_us = dn_now_us() + LINGER_US;
    }
}

static void loop(struct dst_native_session *s) {
    struct dst_native_event e;
    for (;;) {
        bool was = s->finished;
        enum what w = next(s, &e);
        if (w == DONE)
            return;
        if (w == AN_EVENT)
            step(s, &e);
        if (w == LINK_OVER)
            on_link_over(s);
        if (w == A_MOMENT)
            dst_native_resolve(s, s->config.order(s->config.ctx));
        if (w == OUT_OF_PATIENCE) {
            s->patience_us = 0;
            if (s->finished)
                return;
            step_kind(s, DST_NEV_GIVE_UP);
        }
        if (s->finished && !was)
            linger(s);
    }
}

/* ---- life ---- */

struct dst_native_session *dst_native_new(const struct dst_native_config *config,
                                          struct vms_error *err) {
    struct dst_native_session *s = calloc(1, sizeof *s);
    if (!s) {
        if (config->first)
            (void)vms_channel_close(config->first, NULL);
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    s->config = *config;
    s->error.clause = "";
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    dst_native_init(&s->machine);
    dn_devices_own(s);
    return s;
}

static void stop(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    dn_ask_join(s);
    dn_link_drop(s);
    if (s->loader_runs)
        (void)pthread_join(s->loader, NULL);
    s->loader_runs = false;
}

/* The guest is whole, or nobody will use this memory. */
static enum vms_code end_postcopy(struct dst_native_session *s, struct vms_error *err) {
    if (!s->postcopy || s->machine.state != DST_N_COMPLETED)
        return VMS_OK;
    return dst_postcopy_end(s->postcopy, err);
}

static enum vms_code outcome(struct dst_native_session *s, struct vms_error *err) {
    if (s->machine.state == DST_N_COMPLETED)
        return end_postcopy(s, err);
    if (!s->machine.guest_runs)
        dn_devices_reset(s);
    *err = s->error;
    if (!err->code)
        (void)vms_error_set(err, VMS_E_DST_INCOMPLETE, "state %s",
                            dst_native_state_name(s->machine.state));
    return err->code;
}

/* [HND-11] So that a journal that is missing later is known to be lost. */
static enum vms_code begin_journal(struct dst_native_session *s, struct vms_error *err) {
    struct vms_journal_record r = {.journal = VMS_JOURNAL_NONE, .role = VMS_ROLE_DESTINATION};
    memcpy(r.session, s->id, sizeof r.session);
    return s->config.journal ? vms_journal_write(s->config.journal, &r, err) : VMS_OK;
}

enum vms_code dst_native_run(struct dst_native_session *s, struct vms_error *err) {
    struct dst_native_event hello = {.kind = DST_NEV_HELLO};
    if (dn_link_open(s, s->config.open_ms, err) != VMS_OK)
        return err->code;
    if (begin_journal(s, err) != VMS_OK) {
        vms_native_link_abort(s->link, err);
        stop(s);
        return err->code;
    }
    hello.value = s->features;
    step(s, &hello);
    loop(s);
    stop(s);
    return outcome(s, err);
}

void dst_native_resolve(struct dst_native_session *s, enum dst_native_resolve resolve) {
    if (resolve == DST_NATIVE_OURS)
        dn_post(s, DST_NEV_RESOLVE_OURS, 0, 0);
    if (resolve == DST_NATIVE_THEIRS) {
        s->ordered_away = true; /* whoever ordered it knows: nobody will ask */
        dn_post(s, DST_NEV_RESOLVE_THEIRS, 0, 0);
    }
}

void dst_native_cancel(struct dst_native_session *s) {
    dn_post(s, DST_NEV_GIVE_UP, 0, 0);
}

void dst_native_result(struct dst_native_session *s, struct dst_native_result *out) {
    *out = s->result;
    out->state = s->machine.state;
    out->guest_runs = s->machine.guest_runs;
    out->refused = s->machine.handover.state == VMS_DST_REFUSED;
    out->postcopy = s->machine.postcopy;
    memcpy(out->session, s->id, sizeof out->session);
    out->pages = atomic_load(&s->pages);
    out->zeros = atomic_load(&s->zeros);
    out->deltas = atomic_load(&s->deltas);
    out->discarded = atomic_load(&s->discarded);
    out->requests = atomic_load(&s->requests);
}

void dst_native_free(struct dst_native_session *s) {
    if (!s)
        return;
    stop(s);
    dn_devices_close(s);
    if (s->config.first)
        (void)vms_channel_close(s->config.first, NULL);
    dst_postcopy_free(s->postcopy);
    free(s->maps);
    free(s->layout_blocks);
    dn_blocks_free(s);
    free(s->guest_state);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}

/* ---- after a restart ---- */

enum vms_code dst_native_answer(const struct dst_native_config *config, const uint8_t session[16],
                                enum dst_native_resolve resolve, struct dst_native_result *result,
                                struct vms_error *err) {
    struct dst_native_actions actions;
    struct vms_journal_record r = {.role = VMS_ROLE_DESTINATION};
    struct dst_native_session *s = dst_native_new(config, err);
    if (!s)
        return err->code;
    memcpy(r.session, session, sizeof r.session);
    memcpy(s->id, session, sizeof s->id);
    (void)vms_journal_read(config->journal, &r, err); /* LOST is an answer, too */
    s->ask_only = s->answering = true;
    s->link_dead = true;
    s->lingering = s->takes_questions = true;
    if (config->open_ms >= 0)
        s->patience_us = dn_now_us() + (int64_t)config->open_ms * 1000;
    dst_native_recover(&s->machine, r.journal, r.generation, &actions);
    dst_native_resolve(s, resolve);
    carry_out(s, &actions);
    s->finished = true; /* whatever it says, this is over once the source knows */
    if (!s->asker_runs)
        dn_ask(s);
    loop(s);
    bool told = s->source_knows;
    stop(s);
    dst_native_result(s, result);
    dst_native_free(s);
    return told ? VMS_OK : vms_error_set(err, VMS_E_TIMEOUT, "the source has not asked");
}
