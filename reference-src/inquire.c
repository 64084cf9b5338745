/* SPDX-License-Identifier: MIT */
#include "reference-src/resolve.h"
#include "reference-src/session.h"
#include "reference-src/wire_native.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * --inquire: a source that was restarted asks the destination (HND-14, MIG-32). The engine decides
 * as it does with a guest; what wants one has no counterpart here. Each attempt is a wire of its
 * own: while old connections live the first question ends them, and the next one is answered.
 */
enum {
    EVENTS = 16, /* that wait; more than an inquiry can have. What comes on top proves nothing */
    EVERY_MS = 500,
    BY_ITSELF_MS = 60000,
};

struct inquiry {
    struct src_options options;
    struct vms_journal_record record; /* as it is durable */
    struct src_engine *engine;
    struct src_wire wire;
    bool finished, cut, broken;
    struct vms_error why; /* of the last attempt */

    pthread_mutex_t lock; /* what the wire's threads say */
    pthread_cond_t changed;
    struct src_event events[EVENTS];
    struct vms_error reasons[EVENTS];
    size_t first, count;
};

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t from_now(uint64_t ms) {
    return now_ns() + ms * 1000000;
}

/* ---- what the wire says ---- */

static void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct inquiry *q = ctx;
    pthread_mutex_lock(&q->lock);
    if (q->count < EVENTS) {
        size_t at = (q->first + q->count++) % EVENTS;
        q->events[at] = *event;
        q->reasons[at] = why ? *why : (struct vms_error){.clause = ""};
    }
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static void on_note(void *ctx, const char *text) {
    const struct inquiry *q = ctx;
    if (!q->options.quiet)
        fprintf(stderr, "reference-src: %s\n", text);
}

/* False: nothing has come until then. */
static bool next_event(struct inquiry *q, uint64_t until, struct src_event *e) {
    struct timespec t = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
    pthread_mutex_lock(&q->lock);
    while (!q->count && pthread_cond_timedwait(&q->changed, &q->lock, &t) == 0)
        ;
    bool some = q->count > 0;
    if (some) {
        *e = q->events[q->first];
        if (q->reasons[q->first].code)
            q->why = q->reasons[q->first];
        q->first = (q->first + 1) % EVENTS;
        q->count--;
    }
    pthread_mutex_unlock(&q->lock);
    return some;
}

/* ---- what the engine wants; the answer, or SRC_EVENT_COUNT: none ---- */

typedef enum src_event_kind act(struct inquiry *q, const struct src_action *a);

static enum src_event_kind do_write(struct inquiry *q, const struct src_action *a) {
    struct vms_journal_record r = q->record;
    r.journal = a->journal;
    if (vms_journal_write(q->options.journal, &r, &q->why) != VMS_OK)
        return SRC_EV_WRITE_FAILED;
    q->record = r;
    return SRC_EV_WRITTEN;
}

static enum src_event_kind do_commit(struct inquiry *q, const struct src_action *a) {
    enum vms_code code = q->wire.ops->commit(q->wire.ctx, a->generation, false, &q->why);
    return code == VMS_OK ? SRC_EV_COMMIT_SENT : SRC_EV_CUT;
}

static enum src_event_kind do_abort(struct inquiry *q, const struct src_action *a) {
    struct vms_error why = q->why;
    if (q->record.journal == VMS_JOURNAL_RELEASED) /* it has told what it knows: no ill end */
        return SRC_EVENT_COUNT;
    if (why.code != (enum vms_code)a->value)
        (void)vms_error_set(&why, (enum vms_code)a->value, NULL);
    if (q->wire.ops)
        q->wire.ops->abort(q->wire.ctx, &why);
    return SRC_EVENT_COUNT;
}

static enum src_event_kind do_reconnect(struct inquiry *q, const struct src_action *a) {
    (void)a;
    q->cut = true;
    return SRC_EVENT_COUNT;
}

static enum src_event_kind do_finish(struct inquiry *q, const struct src_action *a) {
    (void)a;
    q->finished = true;
    return SRC_EVENT_COUNT;
}

static act *const DO[SRC_ACTION_COUNT] = {
    [SRC_DO_WRITE] = do_write,         [SRC_DO_SEND_COMMIT] = do_commit, [SRC_DO_ABORT] = do_abort,
    [SRC_DO_RECONNECT] = do_reconnect, [SRC_DO_FINISH] = do_finish,
};

/* An event, and what the answers to it lead to. */
static void feed(struct inquiry *q, struct src_event e) {
    struct src_event answers[SRC_ACTIONS_MAX] = {e};
    for (size_t done = 0, count = 1; done < count; done++) {
        struct src_actions actions;
        struct vms_error err = {.clause = ""};
        if (src_engine_event(q->engine, &answers[done], &actions, &err) != VMS_OK) {
            q->why = err;
            q->broken |= err.class_ == VMS_CLASS_PEER;
        }
        for (size_t i = 0; i < actions.count; i++) {
            act *does = DO[actions.list[i].kind];
            enum src_event_kind kind = does ? does(q, &actions.list[i]) : SRC_EVENT_COUNT;
            if (kind != SRC_EVENT_COUNT && count < SRC_ACTIONS_MAX)
                answers[count++] =
                    (struct src_event){.kind = kind, .generation = actions.list[i].generation};
        }
    }
}

/* ---- attempts ---- */

/* Nothing of it is connected; an inquiry has no memory to tell of. */
static enum vms_code connect_wire(struct inquiry *q) {
    static const struct vms_guest no_guest;
    struct src_wire_owner owner = {.event = on_event, .note = on_note, .ctx = q};
    q->why = (struct vms_error){.clause = ""};
    q->first = q->count = 0;
    if (src_wire_native(&q->options, &no_guest, &owner, &q->wire, &q->why) != VMS_OK)
        return q->why.code;
    src_wire_native_inquire(&q->wire, q->record.session);
    return q->wire.ops->connect(q->wire.ctx, &q->why);
}

static void attempt(struct inquiry *q) {
    struct src_event e = {.kind = SRC_EV_RECONNECTED};
    struct vms_error err;
    uint64_t until = from_now(q->options.settle_ms);
    if (connect_wire(q) == VMS_OK) {
        q->cut = false;
        feed(q, e);
        while (!q->finished && !q->cut && !q->broken && next_event(q, until, &e))
            feed(q, e);
        if (q->finished)
            (void)q->wire.ops->close(q->wire.ctx, &err);
        else if (!q->why.code)
            (void)vms_error_set(&q->why, VMS_E_TIMEOUT, "the destination does not answer");
    }
    if (q->wire.ops)
        q->wire.ops->free(q->wire.ctx);
    q->wire.ops = NULL;
}

static void pause_until(uint64_t until) {
    struct timespec t = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        ;
}

static void ask(struct inquiry *q) {
    int ms = q->options.reconnect_ms;
    uint64_t give_up = from_now(ms < 0 ? BY_ITSELF_MS : (uint64_t)ms);
    for (;;) {
        struct src_event cut = {.kind = SRC_EV_CUT};
        attempt(q);
        if (q->finished || q->broken || from_now(EVERY_MS) > give_up)
            return;
        if (!q->cut) /* no answer in time: this connection is not believed any more */
            feed(q, cut);
        pause_until(from_now(EVERY_MS));
    }
}

/* What is told of a connection that stands, and is no refusal, cut, or late answer. */
static bool broke_the_rules(const struct vms_error *why) {
    return why->class_ == VMS_CLASS_PEER && why->code != VMS_E_SESSION_ABORTED &&
           !src_is_cut(why->code);
}

static enum src_settling outcome(const struct inquiry *q) {
    switch (q->record.journal) {
    case VMS_JOURNAL_RELEASED: return SRC_SETTLED_OURS;
    case VMS_JOURNAL_GONE: /* [HND-16] */
        return q->record.postcopy ? SRC_SETTLED_LOST : SRC_SETTLED_THEIRS;
    default: return q->broken || broke_the_rules(&q->why) ? SRC_PEER_BROKE : SRC_UNSETTLED;
    }
}

enum src_settling src_inquire(const struct src_options *options,
                              const struct vms_journal_record *record, struct vms_error *why) {
    struct inquiry *q = calloc(1, sizeof *q);
    struct src_config config = {.native = true};
    struct src_actions actions;
    pthread_condattr_t clock;
    (void)vms_error_set(why, VMS_E_NO_MEMORY, NULL);
    if (!q || !(q->engine = malloc(src_engine_size()))) {
        free(q);
        return SRC_UNSETTLED;
    }
    q->options = *options;
    q->record = *record;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &clock);
    pthread_condattr_destroy(&clock);
    (void)src_engine_init(q->engine, &config);
    src_engine_recover(q->engine, record->journal, record->generation, &actions);
    q->cut = true; /* TELL and RECONNECT: what is done next anyway */
    ask(q);
    enum src_settling s = outcome(q);
    *why = q->why;
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    free(q->engine);
    free(q);
    return s;
}
