/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/* The loop of a run. */
enum {
    STEPS_MAX = 400 * 1000, /* [ENG-10] every run ends */
};

static uint64_t *frozen(struct world *w, unsigned side) {
    return side == SRC ? &w->src.frozen : &w->dst.frozen;
}

/* What belongs to a program that stands still comes when it goes on, in its order. */
static bool put_off(struct world *w, const struct item *i) {
    bool of_nature = i->type == IT_CUT || i->type == IT_CRASH || i->type == IT_FREEZE ||
                     i->type == IT_OPERATOR || i->type == IT_START;
    uint64_t until = *frozen(w, i->side);
    if (of_nature || until <= w->now)
        return false;
    *later(w, until - w->now, (enum item_type)i->type, (enum side)i->side) = *i;
    return true;
}

static bool is_stale(const struct world *w, const struct item *i) {
    if (i->type == IT_MSG)
        return i->epoch != w->net.epoch;
    bool of_program =
        i->type != IT_CUT && i->type != IT_CRASH && i->type != IT_FREEZE && i->type != IT_OPERATOR;
    return of_program && i->epoch != (i->side == SRC ? w->src.epoch : w->dst.epoch);
}

static void mapped(struct world *w, uint32_t d) {
    if (!w->dst.alive)
        return;
    w->device[d].mapped = true;
    native_event(
        w, (struct dst_native_event){.kind = DST_NEV_DEVICE_READY, .device = d, .generation = 1});
}

static void message(struct world *w, const struct item *i) {
    if (i->side == SRC)
        source_message(w, &i->msg);
    else if (w->config.native)
        native_message(w, &i->msg);
    else
        qevm_message(w, &i->msg);
}

static void patience(struct world *w, uint64_t connection) {
    if (!w->net.up || w->net.epoch == connection)
        if (w->dst.native.cut)
            native_event(w, (struct dst_native_event){.kind = DST_NEV_GIVE_UP});
}

static void crash(struct world *w, unsigned side) {
    if (side == SRC)
        source_crash(w);
    else
        destination_crash(w);
}

static void start(struct world *w, unsigned side) {
    if (side == SRC)
        source_start(w);
    else
        native_start(w);
}

static void handle(struct world *w, struct item *i) {
    switch ((enum item_type)i->type) {
    case IT_SRC: source_event(w, &i->src); break;
    case IT_NATIVE: native_event(w, i->native); break;
    case IT_QEVM: qevm_event(w, i->qevm); break;
    case IT_LOST: qevm_lost(w, i->value); break;
    case IT_RECOVERY: qevm_recovery(w, i->value); break;
    case IT_MSG: message(w, i); break;
    case IT_CUT: net_cut(w); break;
    case IT_CRASH: crash(w, i->side); break;
    case IT_START: start(w, i->side); break;
    case IT_FREEZE:
        trace(w, "%s stands still", i->side == SRC ? "the source" : "the destination");
        *frozen(w, i->side) = w->now + i->value;
        break;
    case IT_RECONNECT: source_reconnect(w); break;
    case IT_TIMER: source_timer(w, i->device, i->value); break;
    case IT_PAGER: source_pager(w, i->value); break;
    case IT_TOUCH: destination_touch(w); break;
    case IT_LOADED: device_loaded(w, i->device, i->value); break;
    case IT_MAPPED: mapped(w, i->device); break;
    case IT_REINIT: device_reinit(w, i->device); break;
    case IT_PATIENCE: patience(w, i->value); break;
    case IT_OPERATOR: operator_decides(w); break;
    }
}

void sim_run(const struct sim_config *config, struct sim_result *result,
             struct sim_coverage *coverage) {
    static _Thread_local struct world world; /* large; its items are not cleared between runs */
    struct world *w = &world;
    memset(result, 0, sizeof *result);
    w->result = result;
    w->coverage = coverage;
    world_init(w, config);
    source_say(w, 1000, SRC_EV_BEGIN, 0, 0, 0);
    for (struct item *i; !w->broken && (i = take(w)); give_back(w, i)) {
        if (is_stale(w, i) || put_off(w, i))
            continue;
        handle(w, i);
        check(w);
        if (++w->steps > STEPS_MAX)
            broken(w, "the run does not end: %s", src_state_name(w->src.engine.state));
    }
    if (!w->broken)
        check_end(w);
    result->ok = !w->broken;
    result->events = w->steps;
    result->ns = w->now;
}
