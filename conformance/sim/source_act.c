/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <string.h>

/* What the source's program does of what its machine says. */

static void send(struct world *w, enum msg_type type, uint32_t device, uint64_t generation,
                 uint64_t value) {
    struct msg m = {.type = (uint8_t)type,
                    .device = device,
                    .generation = generation,
                    .value = value,
                    .bytes = 32};
    (void)net_send(w, DST, &m);
}

/* ---- actions ---- */

static void query(struct world *w, const struct src_action *a) {
    struct src_event *ev = &later(w, a->exact ? 20 * 1000 : 100, IT_SRC, SRC)->src;
    *ev = (struct src_event){.kind = SRC_EV_PENDING, .device = a->device};
    device_pending(w, a->device, a->exact, &ev->pending);
}

/* [SCH-4] Measured: how much the others send between two services of a device that has data. */
static void account(struct world *w, uint32_t d, uint64_t bytes) {
    struct sim_result *r = w->result;
    uint64_t waited = w->turn_bytes - w->turn_end[d];
    if (waited > r->wait[d])
        r->wait[d] = waited;
    w->turn_bytes += bytes;
    w->turn_end[d] = w->turn_bytes;
    for (uint32_t o = 0; o < w->device_count; o++)
        if (!w->src.engine.scheduler.left[o])
            w->turn_end[o] = w->turn_bytes;
    r->share[d] += bytes;
}

static void save(struct world *w, const struct src_action *a) {
    uint64_t bytes;
    bool more;
    uint64_t go_on = device_save(w, a->device, a->value, false, &bytes, &more);
    account(w, a->device, bytes);
    struct item *i = later(w, wait_for(w, go_on) + 500, IT_SRC, SRC);
    i->src =
        (struct src_event){.kind = SRC_EV_SAVED, .device = a->device, .value = bytes, .more = more};
}

static void save_final(struct world *w, const struct src_action *a) {
    uint64_t bytes, go_on = w->now;
    bool more;
    if (a->device || !a->value)
        go_on = device_save(w, a->device, UINT64_MAX, true, &bytes, &more);
    source_say(w, wait_for(w, go_on) + 1000, SRC_EV_FINAL_SENT, a->device, 0, 0);
}

static void discard(struct world *w) {
    struct msg m = {.type = MSG_DISCARD, .bytes = sizeof m.bits};
    uint64_t ranges[2 * 64], from = 0;
    src_ram_begin_postcopy(w->src.ram);
    for (size_t n; (n = src_ram_ranges(w->src.ram, 0, &from, ranges, 64));)
        for (size_t i = 0; i < n; i++)
            for (uint64_t p = 0; p < ranges[2 * i + 1]; p++)
                set_bit(m.bits, (uint32_t)(ranges[2 * i] + p));
    (void)net_send(w, DST, &m);
}

void source_runs(struct world *w) {
    if (w->config.native && w->dst.started && !(w->config.faults & SIM_FAULT_HASTY))
        broken(w, "the source runs the guest that the destination has run");
    if (!w->src.locks && w->config.plant != SIM_PLANT_RESUME) /* [ENG-11] */
        broken(w, "the guest runs without its locks");
    bool starts_old = w->config.native && w->src.journal.kind == VMS_JOURNAL_COMMITTED &&
                      w->dst.journal.kind != VMS_JOURNAL_NOT_STARTED;
    if (starts_old) /* [HND-9] a restart would send COMMIT */
        broken(w, "the guest runs on, and the journal says COMMITTED");
    w->src.runs = true;
    w->src.wrote = w->now;
    for (uint32_t d = 1; d < w->device_count; d++)
        w->device[d].updated = w->now;
}

static void stop_guest(struct world *w) {
    guest_writes(w);
    for (uint32_t d = 1; d < w->device_count; d++) {
        device_update(w, d);
        if (!w->config.scene.set && w->device[d].generation &&
            chance(w, 2)) /* [ENG-16] on its way to standing still */
            device_reinit(w, d);
    }
    w->src.runs = false;
    source_say(w, 1000 + rnd(w, MS), SRC_EV_STOPPED, 0, 0, 0);
}

static void locks(struct world *w, bool take) {
    bool fails = w->config.faults & SIM_FAULT_LOCKS && w->now < w->calm && chance(w, 10);
    bool planted = !take && w->config.plant == SIM_PLANT_LOCKS;
    if (take && w->dst.locks && !(w->config.faults & SIM_FAULT_HASTY))
        fails = true; /* somebody has them */
    if (!fails && !planted)
        w->src.locks = take;
    source_say(w, MS, SRC_EV_LOCKS, 0, 0, fails ? VMS_E_IO : VMS_OK); /* in order */
}

static void write_journal(struct world *w, const struct src_action *a) {
    bool fails = w->config.faults & SIM_FAULT_JOURNAL && w->now < w->calm && chance(w, 10);
    bool durable = (!fails || chance(w, 50)) && w->config.plant != SIM_PLANT_JOURNAL;
    if (durable)
        w->src.journal = (struct journal){a->journal, a->generation};
    source_say(w, 1000 + spread(w, 12, 22), fails ? SRC_EV_WRITE_FAILED : SRC_EV_WRITTEN, 0, 0, 0);
}

static void commit(struct world *w, const struct src_action *a) {
    if (w->config.native) {
        bool durable = w->src.journal.kind == VMS_JOURNAL_COMMITTED;
        if (!durable) /* [HND-4] */
            broken(w, "COMMIT leaves, and COMMITTED is not durable");
        send(w, MSG_COMMIT, 0, a->generation, 0);
    } else {
        send(w, a->value ? MSG_RUN : MSG_EOF, 0, 0, 0);
        w->eof_out = true;
    }
    if (w->src.locks && w->config.plant != SIM_PLANT_LOCKS)
        broken(w, "COMMIT leaves, and the locks are here");
    w->commit_out = true;
    source_say(w, 1000, SRC_EV_COMMIT_SENT, 0, 0, 0);
}

static void arm(struct world *w, enum src_timer timer, uint64_t ns) {
    struct item *i = later(w, ns, IT_TIMER, SRC);
    i->device = timer;
    i->value = w->src.timer[timer] = ++w->src.timers;
}

static void reconnect(struct world *w) {
    w->src.tries = 0;
    (void)later(w, spread(w, 16, 26), IT_RECONNECT, SRC);
}

static void begin_pages(struct world *w) {
    if (w->config.native && !w->net.session) { /* [HND-14] an inquiry carries no pages */
        source_say(w, 1000, SRC_EV_ERROR, 0, 0, VMS_E_SESSION_UNEXPECTED);
        return;
    }
    w->src.pager = ++w->src.timers;
    later(w, 100, IT_PAGER, SRC)->value = w->src.pager;
}

/* [SES-22] Once in a session, and acknowledged once. */
static void send_end(struct world *w) {
    if (!w->config.native || !w->src.end_sent)
        send(w, MSG_END, 0, 0, 1);
    w->src.end_sent = true;
}

/* [RSM-7] Natively all that was sent is repeated as it was: the wire asks nobody. */
static void ask(struct world *w, enum msg_type question, enum src_event_kind answer) {
    if (w->config.native)
        source_say(w, 1000, answer, 0, 0, 0);
    else
        send(w, question, 0, 0, 0);
}

/* [SES-23] */
static void tell_abort(struct world *w, uint64_t code) {
    if (w->config.native)
        send(w, MSG_ABORT, 0, 0, code);
    net_close(w);
}

static void finish(struct world *w) {
    struct source *s = &w->src;
    if (s->finished)
        broken(w, "FINISH twice");
    s->finished = true;
    bool ours = src_engine_owner(&s->engine) == SRC_OWNER_OURS;
    if (ours && !s->runs && (s->locks || !w->dst.locks)) /* [SRC-2] [ENG-10] [ENG-30] */
        broken(w, "over, and the guest that is ours does not run");
    if (s->throttle)
        broken(w, "over, and the guest is throttled");
    net_close(w);
}

void source_act(struct world *w, const struct src_action *a) {
    uint32_t d = a->device;
    switch (a->kind) {
    case SRC_DO_CONNECT:
        w->net.up = w->net.session = true;
        source_say(w, 2 * w->net.latency, SRC_EV_CONNECTED, 0, 0, 0);
        break;
    case SRC_DO_SEND_SETUP:
        send(w, MSG_SETUP, 0, 0, w->src.config.postcopy);
        source_say(w, 1000, SRC_EV_SETUP_SENT, 0, 0, 0);
        break;
    case SRC_DO_QUERY: query(w, a); break;
    case SRC_DO_SAVE: save(w, a); break;
    case SRC_DO_STOP_GUEST: stop_guest(w); break;
    case SRC_DO_RUN_GUEST: source_runs(w); break;
    case SRC_DO_THROTTLE: guest_writes(w), w->src.throttle = (unsigned)a->value; break;
    case SRC_DO_SAVE_FINAL: save_final(w, a); break;
    case SRC_DO_SAVE_DEVICES:
        send(w, MSG_DEVICES, 0, 0, a->value);
        source_say(w, 1000, SRC_EV_DEVICES_SENT, 0, 0, 0);
        break;
    case SRC_DO_DISCARD: discard(w); break;
    case SRC_DO_GRANT: send(w, MSG_GRANT, d, a->generation, 0); break;
    case SRC_DO_REQUEST: send(w, MSG_REQUEST, d, a->generation, 0); break;
    case SRC_DO_LOCKS: locks(w, a->value); break;
    case SRC_DO_SEND_START:
        if (!a->value)
            send(w, MSG_END, 0, 0, 0);
        send(w, MSG_START, 0, a->generation, a->value);
        break;
    case SRC_DO_WRITE: write_journal(w, a); break;
    case SRC_DO_SEND_COMMIT: commit(w, a); break;
    case SRC_DO_SEND_PAGES: begin_pages(w); break;
    case SRC_DO_SEND_END: send_end(w); break;
    case SRC_DO_RECONNECT: reconnect(w); break;
    case SRC_DO_ASK_BITMAPS: ask(w, MSG_ASK_BITMAP, SRC_EV_BITMAPS); break;
    case SRC_DO_SEND_RESUME: ask(w, MSG_RESUME, SRC_EV_RESUME_ACK); break;
    case SRC_DO_ARM: arm(w, a->timer, a->value); break;
    case SRC_DO_DISARM: w->src.timer[a->timer] = 0; break;
    case SRC_DO_ABORT: tell_abort(w, a->value); break;
    case SRC_DO_FINISH: finish(w); break;
    default: break;
    }
}
