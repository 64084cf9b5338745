/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/* The source's program: what happens to it, told to its machine. */

void source_say(struct world *w, uint64_t ns, enum src_event_kind kind, uint32_t device,
                uint64_t generation, uint64_t value) {
    struct item *i = later(w, ns, IT_SRC, SRC);
    i->src = (struct src_event){
        .kind = kind, .device = device, .generation = generation, .value = value};
}

/* ---- events ---- */

/* An allocation fails: the program tells its machine of its own error, whatever that does. */
static void no_memory(struct world *w) {
    uint64_t ns = spread(w, 8, 24);
    if (chance(w, 50))
        source_say(w, ns, SRC_EV_ERROR, 0, 0, VMS_E_NO_MEMORY);
    else if (w->config.native)
        native_say(w, ns, DST_NEV_ERROR, 0, 0, VMS_E_NO_MEMORY);
    else
        qevm_say(w, ns, DST_EV_ERROR);
}

/* Faults of their own come at any time; these come when it matters. */
static void faults(struct world *w) {
    unsigned f = w->config.faults;
    if (w->now > w->calm)
        return;
    if (f & SIM_FAULT_CUT && chance(w, 6))
        (void)later(w, spread(w, 8, 24), IT_CUT, SRC);
    if (f & SIM_FAULT_CRASH && chance(w, 1))
        (void)later(w, spread(w, 8, 24), IT_CRASH, chance(w, 50) ? SRC : DST);
    if (f & SIM_FAULT_CANCEL && chance(w, 2))
        source_say(w, spread(w, 8, 23), SRC_EV_CANCEL, 0, 0, 0);
    if (f & SIM_FAULT_MEMORY && chance(w, 1))
        no_memory(w);
}

/* [ENG-25] What lets the source out of its doubt. */
static void note_word(struct world *w, const struct src_event *ev) {
    switch (ev->kind) {
    case SRC_EV_RUNNING:
    case SRC_EV_NOT_STARTED:
    case SRC_EV_SHUT:
    case SRC_EV_RESOLVE_OURS:
    case SRC_EV_RESOLVE_THEIRS: w->settled = true; break;
    default: break;
    }
    bool ours = ev->kind == SRC_EV_NOT_STARTED || ev->kind == SRC_EV_RESOLVE_OURS;
    w->released |= ours || (ev->kind == SRC_EV_SHUT && ev->value);
}

static void check_step(struct world *w, enum src_state from, const struct src_event *ev) {
    const struct src_engine *e = &w->src.engine;
    bool ended = e->state >= SRC_COMPLETED;
    if (from == SRC_IN_DOUBT && ended && !w->settled)
        broken(w, "IN_DOUBT is left by %s", src_event_name(ev->kind));
    if (e->reason == VMS_E_INTERNAL)
        broken(w, "too many actions");
    if (src_engine_may_run(e) && w->commit_out && !w->released && !w->src.ended_memory)
        broken(w, "the guest may run behind the commit point");
}

/* A program tells its machine nothing about a connection that it has left. */
static bool is_stale(struct world *w, const struct src_event *ev) {
    bool cut = ev->kind == SRC_EV_CUT;
    if ((!cut && ev->kind != SRC_EV_RECONNECTED) || ev->value >= w->src.connection) {
        if (cut)
            w->src.connection = (uint32_t)ev->value + 1;
        return false;
    }
    return true;
}

void source_event(struct world *w, struct src_event *ev) {
    struct src_engine *e = &w->src.engine;
    struct src_actions out;
    struct vms_error err;
    if (!w->src.alive || is_stale(w, ev))
        return;
    enum src_state from = e->state;
    ev->now_ns = w->now;
    note_word(w, ev);
    enum vms_code code = src_engine_event(e, ev, &out, &err);
    if (w->coverage)
        w->coverage->src[from] |= UINT64_C(1) << ev->kind;
    bool dull = ev->kind == SRC_EV_PENDING || ev->kind == SRC_EV_SAVED || ev->kind == SRC_EV_TIMER;
    if (!dull || from != e->state)
        trace(w, "src %s %s → %s%s%s", src_state_name(from), src_event_name(ev->kind),
              src_state_name(e->state), code ? ": " : "", code ? err.message : "");
    w->result->doubted |= e->state == SRC_IN_DOUBT;
    for (size_t i = 0; i < out.count; i++)
        source_act(w, &out.list[i]);
    if (w->config.plant == SIM_PLANT_RESUME && e->state == SRC_IN_DOUBT && from != e->state)
        source_runs(w);
    if (w->config.faults & SIM_FAULT_HASTY && e->state == SRC_IN_DOUBT && from != e->state)
        source_say(w, 1, SRC_EV_RESOLVE_OURS, 0, 0, 0);
    if (e->state != from)
        faults(w);
    if (e->state == SRC_HELD && from != SRC_HELD)
        source_say(w, spread(w, 20, 29), SRC_EV_GO_ON, 0, 0, 0);
    if (e->state == SRC_PRECOPY && from == SRC_SETUP && w->src.config.postcopy)
        source_say(w, spread(w, 20, 31), SRC_EV_START_POSTCOPY, 0, 0, 0);
    check_step(w, from, ev);
}

void source_timer(struct world *w, uint32_t timer, uint64_t serial) {
    if (w->src.timer[timer] != serial)
        return;
    w->src.timer[timer] = 0;
    source_event(w, &(struct src_event){.kind = SRC_EV_TIMER, .value = timer});
}

/* ---- postcopy ---- */

void source_pager(struct world *w, uint64_t serial) {
    struct source *s = &w->src;
    struct src_batch b;
    bool served = false;
    if (!s->alive || serial != s->pager || s->engine.state != SRC_POSTCOPY)
        return;
    const struct src_ram_request *oldest = s->request_count ? &s->requests[0] : NULL;
    enum src_ram_pick pick = src_ram_pick(s->ram, oldest, false, BATCH, &b, &served);
    if (served)
        memmove(s->requests, s->requests + 1, --s->request_count * sizeof *s->requests);
    if (pick == SRC_RAM_NOTHING) {
        source_event(w, &(struct src_event){.kind = SRC_EV_PAGES_SENT});
        return;
    }
    uint64_t go_on = pages_send(w, &b);
    later(w, wait_for(w, go_on) + 100, IT_PAGER, SRC)->value = serial;
}

static void need(struct world *w, uint64_t page) {
    struct source *s = &w->src;
    if (!w->config.native && !s->engine.runs_there)
        source_event(w, &(struct src_event){.kind = SRC_EV_RUNNING});
    if (s->request_count < REQUESTS)
        s->requests[s->request_count++] = (struct src_ram_request){0, page, 1};
}

static void bitmap(struct world *w, const struct msg *m) {
    if (!src_ram_received(w->src.ram, 0, (const uint8_t *)m->bits, (w->pages + 63) / 64 * 8))
        broken(w, "a bitmap of the wrong length");
    src_ram_resume(w->src.ram);
    w->src.request_count = 0;
    source_event(w, &(struct src_event){.kind = SRC_EV_BITMAPS});
}

void source_message(struct world *w, const struct msg *m) {
    static const uint8_t kinds[MSG_TYPES] = {
        [MSG_READY] = SRC_EV_READY,     [MSG_RUNNING] = SRC_EV_RUNNING,
        [MSG_SHUT] = SRC_EV_SHUT,       [MSG_NOT_STARTED] = SRC_EV_NOT_STARTED,
        [MSG_ACK] = SRC_EV_GRANT,       [MSG_RESUMED] = SRC_EV_RESUME_ACK,
        [MSG_REQUEST] = SRC_EV_REQUEST, [MSG_GRANT] = SRC_EV_GRANT,
        [MSG_ABORT] = SRC_EV_ABORT,
    };
    if (!w->src.alive)
        return;
    if (m->type == MSG_NEED)
        need(w, m->value);
    else if (m->type == MSG_BITMAP)
        bitmap(w, m);
    else
        source_event(w, &(struct src_event){.kind = (enum src_event_kind)kinds[m->type],
                                            .device = m->device,
                                            .generation = m->generation,
                                            .value = m->value});
    if (m->type == MSG_RUNNING && w->config.native) /* acknowledged, on its way back */
        native_say(w, w->net.latency + 1, DST_NEV_TOLD, 0, 0, 0);
}

/* ---- connections and crashes ---- */

static bool recoverable(const struct world *w) {
    enum src_state s = w->src.engine.state;
    enum dst_state d = w->dst.qevm.state;
    bool waits = d == DST_POSTCOPY || d == DST_FILLING || d == DST_PAUSED || d == DST_RECOVER;
    if (!w->config.native)
        return waits && w->net.session;
    return w->net.session || (s != SRC_PAUSED && s != SRC_PRECOPY && s != SRC_SETUP);
}

/* The source tries again and again; where the other program has lost the session it gives up. */
void source_reconnect(struct world *w) {
    struct source *s = &w->src;
    if (!s->alive || s->finished)
        return;
    bool can = recoverable(w) && net_connect(w);
    if (!can && ++s->tries > 12) {
        source_event(w, &(struct src_event){.kind = SRC_EV_GIVE_UP});
        if (s->engine.state != SRC_IN_DOUBT)
            return;
        s->tries = 0;
    }
    if (!can) {
        (void)later(w, UINT64_C(50) * MS * (1 + s->tries), IT_RECONNECT, SRC);
        return;
    }
    s->connection = w->net.epoch;
    trace(w, "connected again, %u and %u messages to send again", w->net.kept_count[SRC],
          w->net.kept_count[DST]);
    if (w->config.native)
        native_connected(w);
    else
        qevm_connected(w);
    net_replay(w);
    source_say(w, 2 * w->net.latency, SRC_EV_RECONNECTED, 0, 0, s->connection);
    if (w->config.faults & SIM_FAULT_DOUBLE && chance(w, 20))
        source_say(w, 3 * w->net.latency, SRC_EV_RECONNECTED, 0, 0, s->connection);
}

void source_crash(struct world *w) {
    struct source *s = &w->src;
    if (!s->alive || s->finished)
        return;
    trace(w, "the source dies");
    w->result->src_crashed = true;
    net_cut(w);
    w->net.epoch++; /* what was under way to a program that is no more, or from it */
    net_forget(w);
    s->epoch++;
    s->alive = s->runs = s->locks = false;
    s->ended_memory = true;
    if (w->config.native)
        (void)later(w, spread(w, 24, 31), IT_START, SRC);
}

void source_start(struct world *w) {
    struct source *s = &w->src;
    struct src_actions out;
    trace(w, "the source starts, its journal says %s", vms_journal_name(s->journal.kind));
    s->alive = true;
    memset(s->timer, 0, sizeof s->timer);
    (void)src_engine_init(&s->engine, &s->config);
    src_engine_recover(&s->engine, s->journal.kind, s->journal.generation, &out);
    for (size_t i = 0; i < out.count; i++)
        source_act(w, &out.list[i]);
    if (s->engine.state == SRC_IDLE)
        s->finished = true; /* nothing is left to do, the guest is gone */
}
