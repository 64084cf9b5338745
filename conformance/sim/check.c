/* SPDX-License-Identifier: MIT */
#include "world.h"

/* What holds at every step, and at the end of a run; and the operator, who knows the truth. */

/* [HND-2] */
void check(struct world *w) {
    if (!w->src.runs || !w->dst.runs)
        return;
    w->result->both = true;
    if (!(w->config.faults & SIM_FAULT_HASTY))
        broken(w, "both guests run");
}

/* Stops the destination for good, so that what the source is told is true. */
static void fence(struct world *w) {
    struct destination *d = &w->dst;
    trace(w, "the operator fences the destination");
    d->epoch++;
    d->alive = d->locks = false;
    net_cut(w);
    net_forget(w);
}

static void order(struct world *w, enum src_event_kind kind) {
    trace(w, "the operator: %s", src_event_name(kind));
    w->operated = w->result->resolved = true;
    source_event(w, &(struct src_event){.kind = kind});
}

static void decide_source(struct world *w) {
    enum src_state s = w->src.engine.state;
    bool doubt = s == SRC_IN_DOUBT || s == SRC_PAUSED;
    if (!w->src.alive || w->src.finished)
        return;
    if (s == SRC_FAILED || s == SRC_CANCELLED) {
        order(w, SRC_EV_RESOLVE_OURS); /* the locks, once more */
    } else if (doubt && !w->dst.started) {
        fence(w);
        order(w, SRC_EV_RESOLVE_OURS);
    } else if (doubt) {
        order(w, SRC_EV_RESOLVE_THEIRS);
        if (w->src.engine.state == SRC_PAUSED)
            order(w, SRC_EV_GIVE_UP);
    }
}

static void decide_destination(struct world *w) {
    bool gone = !w->src.alive || w->src.ended_memory;
    if (!w->config.native || !w->dst.alive || w->dst.native.state != DST_N_IN_DOUBT)
        return;
    bool ours = gone && w->src.finished && src_engine_owner(&w->src.engine) != SRC_OWNER_OURS &&
                w->dst.native.handover.state == VMS_DST_WAITING;
    w->operated = true;
    if (ours && w->src.locks)
        return;
    native_event(
        w, (struct dst_native_event){.kind = ours ? DST_NEV_RESOLVE_OURS : DST_NEV_RESOLVE_THEIRS});
}

void operator_decides(struct world *w) {
    static const uint64_t again = UINT64_C(10000) * MS;
    decide_source(w);
    decide_destination(w);
    if (w->now < UINT64_C(110000) * MS)
        (void)later(w, again, IT_OPERATOR, SRC);
}

/* A guest is lost only with the program that had it, or where the wire cannot do better. */
static void check_survival(struct world *w) {
    struct sim_result *r = w->result;
    bool excuse = r->src_crashed || r->dst_crashed;
    bool frozen = w->config.faults & SIM_FAULT_FREEZE; /* longer than the source is patient */
    bool blind = !w->config.native && !w->src.config.return_path && w->eof_out;
    r->lost = !w->src.runs && !w->dst.runs;
    if (r->lost && !excuse && !blind && !(frozen && r->postcopy))
        broken(w, "nobody runs the guest");
}

void check_end(struct world *w) {
    struct sim_result *r = w->result;
    const struct src_engine *e = &w->src.engine;
    r->postcopy = e->postcopy;
    if (w->src.alive && !w->src.finished)
        broken(w, "the source does not come to an end: %s", src_state_name(e->state));
    check_survival(w);
    bool whole = w->src.alive && e->state == SRC_COMPLETED && e->postcopy && w->dst.alive;
    if (whole && w->dst.missing)
        broken(w, "postcopy is over, and %u pages are missing", w->dst.missing);
    r->src = e->state;
    r->owner = src_engine_owner(e);
    r->reason = e->reason;
    r->src_runs = w->src.runs;
    r->dst_runs = w->dst.runs;
    r->window = !w->config.native && w->cut_after_commit && w->dst.started && r->doubted;
}
