/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_ENGINE_TEST_WALK_H
#define REFERENCE_SRC_ENGINE_TEST_WALK_H

#include "engine_state.h"

#include <string.h>

/*
 * For tests: a program that answers the machine's actions, mostly well, among events that come when
 * they want. Everything follows from the seed.
 */
enum {
    WALK_QUEUE = 256,
};

struct walk {
    uint64_t seed;
    struct src_engine e;
    struct src_event queue[WALK_QUEUE];
    unsigned head, count;
    uint64_t now, initial[SRC_DEVICES_MAX];
    unsigned surprises; /* of 100 events, so many come unasked */
};

static inline uint64_t walk_random(struct walk *w, uint64_t below) {
    w->seed ^= w->seed << 13, w->seed ^= w->seed >> 7, w->seed ^= w->seed << 17;
    return w->seed % below;
}

static inline bool walk_chance(struct walk *w, unsigned percent) {
    return walk_random(w, 100) < percent;
}

static inline void walk_push(struct walk *w, struct src_event event) {
    if (w->count < WALK_QUEUE)
        w->queue[(w->head + w->count++) % WALK_QUEUE] = event;
}

static inline void walk_say(struct walk *w, enum src_event_kind kind, uint32_t device,
                            uint64_t generation, uint64_t value) {
    walk_push(w, (struct src_event){
                     .kind = kind, .device = device, .generation = generation, .value = value});
}

static inline struct src_pending walk_pending(struct walk *w, uint32_t device) {
    struct src_pending p = {.precopy = walk_chance(w, 60) ? 0 : walk_random(w, 1 << 16)};
    bool initial = device < w->e.config.device_count && w->e.config.initial_data[device];
    if (initial && (!w->initial[device] || walk_chance(w, 2)))
        w->initial[device]++;
    p.generation = initial ? w->initial[device] : 0;
    return p;
}

static inline void walk_answer(struct walk *w, const struct src_action *a) {
    const struct src_config *c = &w->e.config;
    struct src_event p = {.kind = SRC_EV_PENDING, .device = a->device};
    bool good = walk_chance(w, 90);
    switch (a->kind) {
    case SRC_DO_CONNECT: walk_say(w, SRC_EV_CONNECTED, 0, 0, 0); break;
    case SRC_DO_SEND_SETUP:
        walk_say(w, SRC_EV_SETUP_SENT, 0, 0, 0);
        if (!c->native && c->legacy_ack)
            walk_say(w, SRC_EV_GRANT, SRC_NO_DEVICE, 0, 0);
        break;
    case SRC_DO_QUERY:
        p.pending = walk_pending(w, a->device);
        walk_push(w, p);
        if (!c->native && p.pending.generation && !c->legacy_ack && c->switchover_ack &&
            w->e.asked[a->device] < p.pending.generation)
            walk_say(w, SRC_EV_GRANT, SRC_NO_DEVICE, 0, 0);
        break;
    case SRC_DO_SAVE: walk_say(w, SRC_EV_SAVED, a->device, 0, walk_random(w, 1 << 14)); break;
    case SRC_DO_STOP_GUEST: walk_say(w, SRC_EV_STOPPED, 0, 0, 0); break;
    case SRC_DO_SAVE_FINAL: walk_say(w, SRC_EV_FINAL_SENT, a->device, 0, 0); break;
    case SRC_DO_SAVE_DEVICES: walk_say(w, SRC_EV_DEVICES_SENT, 0, 0, 0); break;
    case SRC_DO_REQUEST: walk_say(w, SRC_EV_GRANT, a->device, a->generation, 0); break;
    case SRC_DO_LOCKS: walk_say(w, SRC_EV_LOCKS, 0, 0, good ? 0 : VMS_E_IO); break;
    case SRC_DO_SEND_START: walk_say(w, SRC_EV_READY, 0, a->generation, good ? 1 : 2); break;
    case SRC_DO_WRITE:
        walk_say(w, good && !walk_chance(w, 20) ? SRC_EV_WRITTEN : SRC_EV_WRITE_FAILED, 0, 0, 0);
        break;
    case SRC_DO_SEND_COMMIT:
        walk_say(w, SRC_EV_COMMIT_SENT, 0, 0, 0);
        if (c->native)
            walk_say(w, good ? SRC_EV_RUNNING : SRC_EV_NOT_STARTED, 0, a->generation, 0);
        else if (!a->value || !good)
            walk_say(w, SRC_EV_SHUT, 0, 0, !good);
        break;
    case SRC_DO_SEND_PAGES: walk_say(w, SRC_EV_PAGES_SENT, 0, 0, 0); break;
    case SRC_DO_SEND_END: walk_say(w, SRC_EV_SHUT, 0, 0, 0); break;
    case SRC_DO_RECONNECT: walk_say(w, good ? SRC_EV_RECONNECTED : SRC_EV_GIVE_UP, 0, 0, 0); break;
    case SRC_DO_ASK_BITMAPS: walk_say(w, SRC_EV_BITMAPS, 0, 0, 0); break;
    case SRC_DO_SEND_RESUME: walk_say(w, SRC_EV_RESUME_ACK, 0, 0, 0); break;
    case SRC_DO_ARM:
        if (a->timer == SRC_TIMER_TICK || a->timer == SRC_TIMER_LOCKS)
            walk_say(w, SRC_EV_TIMER, 0, 0, a->timer);
        break;
    default: break;
    }
}

static inline void walk_config(struct walk *w, struct src_config *c) {
    *c = (struct src_config){
        .native = walk_chance(w, 50),
        .resume = walk_chance(w, 50),
        .return_path = walk_chance(w, 80),
        .postcopy = walk_chance(w, 50),
        .pause_before_switchover = walk_chance(w, 20),
        .switchover_ack = walk_chance(w, 60),
        .legacy_ack = walk_chance(w, 30),
        .auto_converge = walk_chance(w, 30),
        .max_bandwidth = walk_chance(w, 20) ? 1 << 20 : 0,
        .switchover_bandwidth = walk_chance(w, 50) ? 1 << 24 : 0,
        .downtime_ns = 1000 * 1000,
        .ready_ns = 1,
        .settle_ns = walk_chance(w, 80),
        .limit_ns = walk_chance(w, 50),
        .scheduler = walk_chance(w, 20) ? SRC_SCHEDULER_SERIAL : SRC_SCHEDULER_DRR,
        .quantum = 4096,
        .device_count = (uint32_t)walk_random(w, 4),
    };
    c->return_path |= c->postcopy;
    if (walk_chance(w, 50)) /* most of what is rare comes behind the commit point: soon there */
        c->device_count = 1, c->switchover_bandwidth = 1 << 30, c->downtime_ns = 1000 * 1000 * 1000;
    for (uint32_t d = 1; d < c->device_count; d++)
        c->initial_data[d] = walk_chance(w, 50);
}

static inline void walk_begin(struct walk *w, uint64_t seed, unsigned surprises) {
    struct src_config c;
    memset(w, 0, sizeof *w);
    w->seed = seed * 0x9e3779b97f4a7c15u + 1;
    w->surprises = surprises;
    walk_config(w, &c);
    (void)src_engine_init(&w->e, &c);
    walk_say(w, SRC_EV_BEGIN, 0, 0, 0);
    if (c.postcopy && walk_chance(w, 70))
        walk_say(w, SRC_EV_START_POSTCOPY, 0, 0, 0);
}

static inline struct src_event walk_surprise(struct walk *w) {
    struct src_event ev = {
        .kind = (enum src_event_kind)walk_random(w, SRC_EVENT_COUNT),
        .device = (uint32_t)walk_random(w, w->e.config.device_count),
        .generation = walk_random(w, 3),
        .value = walk_random(w, 4),
    };
    static const enum src_event_kind rare[] = {SRC_EV_RECONNECTED, SRC_EV_RESOLVE_THEIRS,
                                               SRC_EV_WRITE_FAILED, SRC_EV_RUNNING};
    if (w->e.state == SRC_IN_DOUBT && walk_chance(w, 60))
        ev.kind = rare[walk_random(w, 4)];
    if (ev.kind == SRC_EV_TIMER)
        ev.value = walk_random(w, SRC_TIMER_COUNT);
    ev.pending = walk_pending(w, ev.device);
    return ev;
}

/* The next event: asked for, or not. False: there is none, and what is waited for does not come. */
static inline bool walk_next(struct walk *w, struct src_event *ev) {
    bool surprise = walk_chance(w, w->surprises);
    if (surprise) {
        *ev = walk_surprise(w);
    } else if (w->count) {
        struct src_event *first = &w->queue[w->head];
        struct src_event *other = &w->queue[(w->head + walk_random(w, w->count)) % WALK_QUEUE];
        if (walk_chance(w, w->seed & 64 ? 10 : 50)) { /* answers overtake each other */
            struct src_event swap = *first;
            *first = *other;
            *other = swap;
        }
        *ev = w->queue[w->head];
        w->head = (w->head + 1) % WALK_QUEUE;
        w->count--;
    } else {
        return false;
    }
    ev->now_ns = w->now += 1 + walk_random(w, 20 * 1000 * 1000);
    return true;
}

#endif
