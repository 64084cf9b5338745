/* SPDX-License-Identifier: MIT */
#include "world.h"

/* The QEVM destination's program. */

void qevm_say(struct world *w, uint64_t ns, enum dst_event ev) {
    later(w, ns, IT_QEVM, DST)->qevm = ev;
}

/* [DST-24] A device or a virtual CPU refuses to begin: then nothing of the guest has run. */
static void cannot_run(struct world *w) {
    trace(w, "%40sthe guest does not begin", "");
    dst_engine_not_run(&w->dst.qevm);
    w->dst.locks = false;
    qevm_event(w, DST_EV_ERROR);
}

static void run(struct world *w) {
    struct destination *d = &w->dst;
    bool fails = w->config.faults & SIM_FAULT_LOCKS && chance(w, 5);
    if (w->src.locks && w->src.alive && !(w->config.faults & SIM_FAULT_HASTY)) {
        broken(w, "the destination takes the locks, and the source has them");
        fails = true;
    }
    if (fails) {
        qevm_event(w, DST_EV_ERROR);
        return;
    }
    d->locks = true;
    if (!dst_engine_run(&d->qevm))
        broken(w, "RUN of a destination that has failed");
    if (w->config.faults & SIM_FAULT_LOAD && w->now < w->calm && chance(w, 10)) {
        cannot_run(w);
        return;
    }
    if (d->runs) /* [DST-2] it is started once, when the stream has ended or POSTCOPY_RUN came */
        broken(w, "a guest that runs is started again");
    destination_runs(w, d->listening);
    if (!d->listening)
        qevm_say(w, spread(w, 10, 22), DST_EV_CHANNELS_DONE);
}

static void shut(struct world *w, uint64_t value) {
    if (value && w->dst.started) /* [DST-23] */
        broken(w, "a guest that has run is handed back");
    if (w->dst.qevm.return_path)
        reply(w, MSG_SHUT, 0, 0, value);
    w->dst.finished = true;
    if (value)
        net_close(w);
}

static void act(struct world *w, unsigned actions) {
    if (actions & DST_DO_LISTEN)
        destination_listens(w);
    if (actions & DST_DO_RUN)
        run(w);
    if (actions & DST_DO_FILL)
        w->dst.fill = true;
    if (actions & DST_DO_BITMAP)
        destination_bitmap(w);
    if (actions & DST_DO_RESUME)
        destination_resumes(w);
    if (actions & DST_DO_PAUSE)
        w->dst.fill = false;
    if (actions & DST_DO_SHUT_GOOD)
        shut(w, 0);
    if (actions & DST_DO_SHUT_BAD)
        shut(w, 1);
}

void qevm_event(struct world *w, enum dst_event ev) {
    struct destination *d = &w->dst;
    enum dst_state from = d->qevm.state;
    struct vms_error err;
    unsigned actions;
    if (!d->alive)
        return;
    d->qevm.started += ev == DST_EV_SECTION_START;
    d->qevm.ended += ev == DST_EV_SECTION_END;
    enum vms_code code = dst_engine_event(&d->qevm, ev, &actions, &err);
    if (w->coverage)
        w->coverage->qevm[from] |= UINT64_C(1) << ev;
    if (ev != DST_EV_SECTION_PART || code)
        trace(w, "%40sdst %s %s → %s%s%s", "", dst_state_name(from), dst_event_name(ev),
              dst_state_name(d->qevm.state), code ? ": " : "", code ? err.message : "");
    act(w, actions);
    if (d->qevm.state == DST_FAILED && d->runs) /* [DST-23] not another word */
        destination_crash(w);
    destination_pages(w);
}

static void events(struct world *w, enum dst_event ev, uint32_t count) {
    for (; count; count--)
        qevm_event(w, ev);
}

static void setup(struct world *w, bool postcopy) {
    qevm_event(w, DST_EV_HEADER);
    qevm_event(w, DST_EV_CONFIGURATION);
    if (w->src.config.return_path)
        qevm_event(w, DST_EV_OPEN_RETURN_PATH);
    if (postcopy)
        qevm_event(w, DST_EV_ADVISE);
    qevm_event(w, DST_EV_SECTION_START);
    qevm_event(w, DST_EV_RAM_LIST);
    qevm_event(w, DST_EV_RAM_SETUP_DONE);
    events(w, DST_EV_SECTION_START, w->device_count - 1);
    for (uint32_t d = 1; d < w->device_count; d++)
        w->dst.users += w->device[d].generation > 0;
    if (w->ack && w->legacy && !w->dst.users) /* [ACK-2] */
        reply(w, MSG_ACK, SRC_NO_DEVICE, 0, 0);
}

static void devices(struct world *w, bool postcopy) {
    if (w->dst.loaded_bad) {
        qevm_event(w, DST_EV_ERROR);
        return;
    }
    qevm_event(w, DST_EV_SWITCHOVER_START);
    events(w, DST_EV_SECTION_END, w->device_count - postcopy);
    qevm_event(w, postcopy ? DST_EV_DISCARD : DST_EV_DEVICE);
}

static void package(struct world *w) {
    qevm_event(w, DST_EV_PACKAGE);
    qevm_event(w, DST_EV_LISTEN);
    qevm_event(w, DST_EV_DEVICE);
    qevm_say(w, spread(w, 14, 26), DST_EV_RUN); /* by a thread of its own */
}

static void end_of_postcopy(struct world *w) {
    qevm_event(w, DST_EV_SECTION_END);
    qevm_event(w, DST_EV_EOF);
    qevm_event(w, DST_EV_MAIN_END);
}

void qevm_message(struct world *w, const struct msg *m) {
    if (!w->dst.alive || w->dst.qevm.state == DST_FAILED)
        return;
    destination_message(w, m);
    switch (m->type) {
    case MSG_SETUP: setup(w, m->value); break;
    case MSG_PAGES:
    case MSG_DATA:
    case MSG_INITIAL: qevm_event(w, DST_EV_SECTION_PART); break;
    case MSG_DISCARD: devices(w, true); break;
    case MSG_DEVICES: /* in postcopy they are in the package */
        if (!m->value)
            devices(w, false);
        break;
    case MSG_EOF:
        qevm_event(w, DST_EV_EOF);
        qevm_event(w, DST_EV_MAIN_END);
        break;
    case MSG_RUN: package(w); break;
    case MSG_END: end_of_postcopy(w); break;
    case MSG_ASK_BITMAP: qevm_event(w, DST_EV_RECV_BITMAP); break;
    case MSG_RESUME: qevm_event(w, DST_EV_RESUME); break;
    default: break;
    }
}

/* The connection ended. One that ends where the stream may end is no cut. */
void qevm_lost(struct world *w, uint64_t connection) {
    struct destination *d = &w->dst;
    if (!d->alive || connection < d->connection)
        return;
    d->connection = (uint32_t)connection + 1;
    if (d->qevm.state != DST_COMPLETED && d->qevm.state != DST_FAILED &&
        d->qevm.state != DST_DRAIN && d->qevm.state != DST_LOADED)
        qevm_event(w, DST_EV_CUT);
}

void qevm_connected(struct world *w) {
    struct destination *d = &w->dst;
    if (d->connection + 1 < w->net.epoch)
        qevm_lost(w, w->net.epoch - 1);
    d->connection = w->net.epoch;
    later(w, w->net.latency, IT_RECOVERY, DST)->value = w->net.epoch;
}

void qevm_recovery(struct world *w, uint64_t connection) {
    if (connection >= w->dst.connection)
        qevm_event(w, DST_EV_RECOVERY);
}
