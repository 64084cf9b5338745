/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/*
 * PRECOPY: rounds of an estimate, an exact question only when the estimate is low enough, and the
 * turns of the devices (ENG-17 to ENG-21, SCH).
 */
enum {
    IDLE_NS = 10 * 1000 * 1000, /* between looks when there is nothing to send */
};

void src_ask_all(struct src_engine *e, enum src_step step, bool exact) {
    uint32_t n = e->config.device_count;
    e->step = step;
    e->awaited = n == 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
    e->asked_ns = e->now_ns;
    for (uint32_t d = 0; d < n; d++) {
        struct src_action *a = src_do(e, SRC_DO_QUERY);
        a->device = d;
        a->exact = exact;
    }
}

static uint64_t plus(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What would have to be sent while the guest is stopped, if it were stopped now. */
static uint64_t total(const struct src_engine *e) {
    uint64_t sum = 0;
    for (uint32_t d = 0; d < e->config.device_count; d++) {
        const struct src_pending *p = &e->pending[d];
        uint64_t follows = e->postcopy_wanted ? p->postcopy : 0;
        uint64_t precopy = p->precopy > follows ? p->precopy - follows : 0;
        sum = plus(sum, plus(plus(precopy, p->stop), p->queued));
    }
    return sum;
}

/*
 * [ENG-29] What a downtime takes beside octets: the last look at every device, which is as long as
 * the last exact question was, and what the devices know of. At most half of what is permitted, so
 * that little is never too much.
 */
static uint64_t fixed(const struct src_engine *e) {
    uint64_t sum = e->exact_took_ns;
    for (uint32_t d = 0; d < e->config.device_count; d++)
        sum = plus(sum, e->pending[d].fixed_ns);
    uint64_t most = e->config.downtime_ns / 2;
    return sum < most ? sum : most;
}

/* [ENG-18] */
static void figures(struct src_engine *e) {
    struct src_figures *f = &e->figures;
    bool missing;
    src_bandwidth_measure(&e->bandwidth, e->now_ns);
    f->bandwidth = e->bandwidth.measured;
    uint64_t used = e->config.switchover_bandwidth ? e->config.switchover_bandwidth : f->bandwidth;
    f->threshold = src_bandwidth_bytes(used, e->config.downtime_ns - fixed(e));
    f->pending = total(e);
    f->expected_downtime_ns = plus(src_bandwidth_ns(used, f->pending), fixed(e));
    f->rounds = (uint32_t)e->scheduler.rounds;
    f->dirty_rate = e->converge.dirty_rate;
    f->waiting_for = src_ack_missing(e, &missing);
    f->acks = missing && f->waiting_for == SRC_NO_DEVICE ? e->acks_missing : 0;
}

static void wait(struct src_engine *e, uint64_t ns) {
    e->step = SRC_STEP_WAIT;
    src_arm(e, SRC_TIMER_TICK, ns);
}

/* [ENG-21] [ACK-9] What may come by itself is looked for at a bounded rate. */
static void idle(struct src_engine *e, uint64_t ns) {
    src_bandwidth_idle(&e->bandwidth, e->now_ns);
    wait(e, ns);
}

void src_iterate(struct src_engine *e) {
    src_ask_all(e, SRC_STEP_ESTIMATE, false);
}

/* [ENG-19] The next device, when the limit lets it. */
static void save_next(struct src_engine *e) {
    uint32_t device;
    uint64_t bytes, delay = src_bandwidth_delay(&e->bandwidth, e->now_ns);
    bool round_over;
    if (delay) {
        wait(e, delay);
        return;
    }
    if (!src_scheduler_next(&e->scheduler, &device, &bytes, &round_over) || round_over) {
        src_iterate(e);
        return;
    }
    e->step = SRC_STEP_SAVE;
    struct src_action *a = src_do(e, SRC_DO_SAVE);
    a->device = device;
    a->value = bytes;
}

static bool anything_to_send(const struct src_engine *e) {
    for (uint32_t d = 0; d < e->config.device_count; d++)
        if (e->scheduler.left[d])
            return true;
    return false;
}

/*
 * Begins the round's turns. The scheduler says at the first one that the last round is over. When
 * little came of that the next one waits: a trickle is not sent drop by drop.
 */
static void turns(struct src_engine *e) {
    uint32_t device;
    uint64_t bytes;
    bool round_over;
    bool little = e->served && e->moved < e->scheduler.quantum && !e->more;
    uint64_t since = e->now_ns - e->round_ns;
    if (little && since < IDLE_NS) {
        idle(e, IDLE_NS - since);
        return;
    }
    e->served = e->more = false;
    e->moved = 0;
    e->round_ns = e->now_ns;
    (void)src_scheduler_next(&e->scheduler, &device, &bytes, &round_over);
    save_next(e);
}

/* [ENG-17] An exact question costs the guest something: only when it may decide. */
static void estimated(struct src_engine *e) {
    bool missing;
    (void)src_ack_missing(e, &missing);
    bool serial = e->config.scheduler == SRC_SCHEDULER_SERIAL; /* [SCH-6] */
    bool low = e->figures.pending <= e->figures.threshold && (!missing || serial);
    bool decides = low && e->figures.threshold;
    uint64_t since = e->now_ns - e->exact_ns;
    if (!decides && !anything_to_send(e) && e->exact_ns && since < IDLE_NS) {
        idle(e, IDLE_NS - since);
    } else if (low || !anything_to_send(e)) {
        e->estimate = e->figures.pending;
        src_ask_all(e, SRC_STEP_EXACT, true);
    } else {
        turns(e);
    }
}

static void asked_exactly(struct src_engine *e) {
    bool missing;
    uint64_t now = e->figures.pending, before = e->estimate;
    (void)src_ack_missing(e, &missing);
    e->exact_ns = e->now_ns;
    src_converge_period(&e->converge, e->now_ns, now > before ? now - before : 0);
    if (e->config.auto_converge)
        src_throttle(e, e->converge.throttle);
    if (now <= e->figures.threshold && !missing)
        src_switch(e);
    else if (anything_to_send(e))
        turns(e);
    else
        idle(e, IDLE_NS);
}

bool src_take_answer(struct src_engine *e, const struct src_event *ev) {
    uint32_t bit = UINT32_C(1) << ev->device;
    if (!(e->awaited & bit))
        return false;
    e->awaited &= ~bit;
    e->pending[ev->device] = ev->pending;
    src_scheduler_pending(&e->scheduler, ev->device, ev->pending.precopy);
    (void)src_ack_note(e, ev->device);
    return e->awaited == 0;
}

enum vms_code src_iterate_pending(struct src_engine *e, const struct src_event *ev,
                                  struct vms_error *err) {
    (void)err;
    if (!src_take_answer(e, ev))
        return VMS_OK;
    if (e->step == SRC_STEP_EXACT)
        e->exact_took_ns = e->now_ns - e->asked_ns;
    figures(e);
    if (e->step == SRC_STEP_ESTIMATE)
        estimated(e);
    else
        asked_exactly(e);
    return VMS_OK;
}

/* What has left is the link's measure; what was given may wait in queues. */
static uint64_t has_left(struct src_engine *e, const struct src_event *ev) {
    uint64_t before = e->left;
    if (!ev->left)
        return ev->value;
    e->left = ev->left > before ? ev->left : before;
    return e->left - before;
}

enum vms_code src_saved(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)err;
    src_scheduler_sent(&e->scheduler, ev->device, ev->value, ev->more);
    src_bandwidth_sent(&e->bandwidth, e->now_ns, ev->value, has_left(e, ev));
    e->converge.sent = plus(e->converge.sent, ev->value);
    e->served = true;
    e->more |= ev->more; /* zero pages are many, and nearly no octets */
    e->moved = plus(e->moved, ev->value);
    if (e->step == SRC_STEP_SAVE)
        save_next(e);
    return VMS_OK;
}

enum vms_code src_tick(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    if (ev->value != SRC_TIMER_TICK)
        return src_timer_limit(e, ev, err);
    if (e->step == SRC_STEP_WAIT)
        src_iterate(e);
    return VMS_OK;
}
