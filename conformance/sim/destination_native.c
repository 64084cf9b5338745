/* SPDX-License-Identifier: MIT */
#include "world.h"

/* The native destination's program. */

void native_say(struct world *w, uint64_t ns, enum dst_native_event_kind kind, uint32_t device,
                uint64_t generation, uint64_t value) {
    later(w, ns, IT_NATIVE, DST)->native = (struct dst_native_event){
        .kind = kind, .device = device, .generation = generation, .value = value};
}

static void event(struct world *w, enum dst_native_event_kind kind) {
    native_event(w, (struct dst_native_event){.kind = kind});
}

/* ---- actions ---- */

static void ask_device(struct world *w, const struct dst_native_action *a) {
    struct device *v = &w->device[a->device % DEVICES];
    v->asked = a->generation > v->asked ? a->generation : v->asked;
    if (v->loaded >= v->asked)
        native_say(w, 1000, DST_NEV_DEVICE_READY, a->device, v->loaded, 0);
}

static void load(struct world *w, const struct dst_native_action *a) {
    uint64_t ns = spread(w, 16, 26);
    if (a->value)
        destination_listens(w);
    if (w->dst.loaded_bad)
        native_say(w, ns, DST_NEV_ERROR, 0, 0, VMS_E_IO);
    else
        native_say(w, ns, DST_NEV_LOADED, 0, a->generation, 1);
}

static void locks(struct world *w, bool take) {
    bool fails = w->config.faults & SIM_FAULT_LOCKS && w->now < w->calm && chance(w, 10);
    if (!take) {
        w->dst.locks = false;
        return;
    }
    if (w->src.locks && w->src.alive && !(w->config.faults & SIM_FAULT_HASTY)) { /* [ENG-11] */
        broken(w, "the destination takes the locks, and the source has them");
        fails = true;
    }
    w->dst.locks = !fails;
    native_say(w, 1000 + rnd(w, MS), DST_NEV_LOCKS, 0, 0, fails ? VMS_E_IO : VMS_OK);
}

static void write_journal(struct world *w, const struct dst_native_action *a) {
    bool fails = w->config.faults & SIM_FAULT_JOURNAL && w->now < w->calm && chance(w, 10);
    if (!fails || chance(w, 50))
        w->dst.journal = (struct journal){a->journal, a->generation};
    native_say(w, 1000 + spread(w, 12, 22), fails ? DST_NEV_WRITE_FAILED : DST_NEV_WRITTEN, 0, 0,
               0);
}

/* [HND-17] A device or a virtual CPU may refuse to begin: then nothing of the guest has run. */
static void run_guest(struct world *w, const struct dst_native_action *a) {
    bool fails = w->config.faults & SIM_FAULT_LOAD && w->now < w->calm && chance(w, 10);
    if (w->dst.journal.kind != VMS_JOURNAL_STARTED) /* [HND-5] */
        broken(w, "the guest runs, and STARTED is not durable");
    if (!fails)
        destination_runs(w, a->value);
    native_say(w, 1000, DST_NEV_RUNS, 0, 0, fails ? VMS_E_VFIO_DEVICE : VMS_OK);
}

static void act(struct world *w, const struct dst_native_action *a) {
    uint32_t d = a->device;
    switch (a->kind) {
    case DST_NDO_ASK_DEVICE: ask_device(w, a); break;
    case DST_NDO_SEND_GRANT: reply(w, MSG_GRANT, d, a->generation, 0); break;
    case DST_NDO_SEND_REQUEST: reply(w, MSG_REQUEST, d, a->generation, 0); break;
    case DST_NDO_LOAD: load(w, a); break;
    case DST_NDO_LOCKS: locks(w, a->value); break;
    case DST_NDO_WRITE: write_journal(w, a); break;
    case DST_NDO_SEND_READY: reply(w, MSG_READY, 0, a->generation, a->value); break;
    case DST_NDO_RUN_GUEST: run_guest(w, a); break;
    case DST_NDO_SEND_RUNNING: reply(w, MSG_RUNNING, 0, a->generation, 0); break;
    case DST_NDO_SEND_NOT_STARTED: reply(w, MSG_NOT_STARTED, 0, a->generation, 0); break;
    case DST_NDO_RECONNECT:
        later(w, UINT64_C(12000) * MS, IT_PATIENCE, DST)->value = w->net.epoch;
        break;
    case DST_NDO_ABORT:
        reply(w, MSG_ABORT, 0, 0, a->value);
        net_close(w);
        break;
    case DST_NDO_FINISH: w->dst.finished = true; break;
    default: break;
    }
}

void native_event(struct world *w, struct dst_native_event ev) {
    struct destination *d = &w->dst;
    struct dst_native_actions out;
    struct vms_error err;
    enum dst_native_state from = d->native.state;
    if (!d->alive)
        return;
    bool cut = ev.kind == DST_NEV_CUT;
    if (cut || ev.kind == DST_NEV_RECONNECTED) { /* of a connection that it has left already? */
        if (ev.value < d->connection)
            return;
        d->connection = (uint32_t)ev.value + cut;
        ev.value = 0;
    }
    enum vms_code code = dst_native_event(&d->native, &ev, &out, &err);
    if (w->coverage)
        w->coverage->native[from] |= UINT64_C(1) << ev.kind;
    if (ev.kind != DST_NEV_DATA || code)
        trace(w, "%40sdst %s %s → %s%s%s", "", dst_native_state_name(from),
              dst_native_event_name(ev.kind), dst_native_state_name(d->native.state),
              code ? ": " : "", code ? err.message : "");
    if (code == VMS_E_MISUSE)
        broken(w, "destination: %s", err.message);
    for (size_t i = 0; i < out.count; i++)
        act(w, &out.list[i]);
    if (d->runs && !dst_native_may_run(&d->native))
        broken(w, "the destination runs what it may not");
    destination_pages(w);
}

/* ---- messages ---- */

static void setup(struct world *w, const struct msg *m) {
    native_event(w, (struct dst_native_event){.kind = DST_NEV_HELLO,
                                              .value = m->value ? VMS_FEATURE_POSTCOPY : 0});
    event(w, DST_NEV_SETUP_DONE);
    for (uint32_t d = 1; d < w->device_count; d++) {
        struct device *v = &w->device[d];
        v->wants = v->mapping && w->ack;
        if (!v->wants)
            continue;
        native_event(w, (struct dst_native_event){
                            .kind = DST_NEV_DEVICE_NEEDS, .device = d, .generation = 1});
        later(w, v->map_ns, IT_MAPPED, DST)->device = d;
    }
}

void native_message(struct world *w, const struct msg *m) {
    static const uint8_t kinds[MSG_TYPES] = {
        [MSG_START] = DST_NEV_START, [MSG_COMMIT] = DST_NEV_COMMIT,   [MSG_END] = DST_NEV_END,
        [MSG_ABORT] = DST_NEV_ABORT, [MSG_REQUEST] = DST_NEV_REQUEST, [MSG_GRANT] = DST_NEV_GRANT,
    };
    if (!w->dst.alive)
        return;
    destination_message(w, m);
    switch (m->type) {
    case MSG_SETUP: setup(w, m); break;
    case MSG_ASK_BITMAP: destination_bitmap(w); break;
    case MSG_RESUME: destination_resumes(w); break;
    default:
        native_event(w, (struct dst_native_event){
                            .kind = kinds[m->type] ? (enum dst_native_event_kind)kinds[m->type]
                                                   : DST_NEV_DATA,
                            .device = m->device,
                            .generation = m->generation,
                            .value = m->value});
    }
    if (m->type == MSG_END && m->value) /* acknowledged */
        reply(w, MSG_SHUT, 0, 0, 0);
}

/* The source is here again: the old connection is left, if that was not seen before. */
void native_connected(struct world *w) {
    struct destination *d = &w->dst;
    if (d->connection + 1 < w->net.epoch)
        native_event(w, (struct dst_native_event){.kind = DST_NEV_CUT, .value = w->net.epoch - 1});
    d->connection = w->net.epoch;
    native_say(w, w->net.latency, DST_NEV_RECONNECTED, 0, 0, w->net.epoch);
}

void native_start(struct world *w) {
    struct destination *d = &w->dst;
    struct dst_native_actions out;
    trace(w, "%40sthe destination starts, its journal says %s", "",
          vms_journal_name(d->journal.kind));
    d->alive = true;
    d->finished = false;
    dst_native_recover(&d->native, d->journal.kind, d->journal.generation, &out);
    for (size_t i = 0; i < out.count; i++)
        act(w, &out.list[i]);
}
