/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

#include <string.h>

/*
 * The machine's table (ENG). A cell is the step that answers; an empty one has the answer of the
 * event's group (ENG-2, ENG-3, ENG-4): see group_answer().
 */

/* [ENG-5] Passed over: it was asked for, or sent, before the state changed. */
static enum vms_code late(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)e, (void)ev, (void)err;
    return VMS_OK;
}

#define E(name) [SRC_EV_##name]

/* clang-format off */
#define FAILS                                                                                      \
    E(CANCEL) = src_cancel, E(ERROR) = src_fail_error, E(ABORT) = src_fail_abort,                  \
    E(SHUT) = src_fail_refused, E(NOT_STARTED) = src_fail_refused, E(GRANT) = src_ack_grant
#define LATE(a, b, c) E(a) = late, E(b) = late, E(c) = late
#define LATE_SIGNALS  LATE(REQUEST, GRANT, TIMER), LATE(STOPPED, PENDING, SAVED)
#define OVER                                                                                       \
    LATE(REQUEST, GRANT, STOPPED), LATE(PENDING, SAVED, GIVE_UP), LATE(CUT, RECONNECTED, ERROR),   \
    LATE(CONNECTED, SETUP_SENT, FINAL_SENT), LATE(DEVICES_SENT, COMMIT_SENT, PAGES_SENT),          \
    LATE(READY, RUNNING, SHUT),                                                                    \
    LATE(NOT_STARTED, ABORT, BITMAPS), LATE(RESUME_ACK, WRITTEN, WRITE_FAILED)
#define BACK                                                                                       \
    OVER, E(LOCKS) = src_end_locks, E(CANCEL) = late, E(TIMER) = src_end_timer,                    \
    E(RESOLVE_OURS) = src_end_ours, E(RESOLVE_THEIRS) = src_end_theirs

static src_step_fn *const TABLE[SRC_STATE_COUNT][SRC_EVENT_COUNT] = {
    [SRC_IDLE] = {
        E(BEGIN) = src_begin, E(CANCEL) = src_begin_cancel, E(ERROR) = src_fail_error,
        E(CUT) = late, E(TIMER) = late,
    },
    [SRC_SETUP] = {
        FAILS, E(CONNECTED) = src_connected, E(SETUP_SENT) = src_setup_sent,
        E(START_POSTCOPY) = src_start_postcopy, E(CUT) = src_cut_early,
        E(RECONNECTED) = src_reconnected_early, E(GIVE_UP) = src_fail_give_up,
        E(REQUEST) = src_ack_request, E(TIMER) = src_timer_limit,
    },
    [SRC_PRECOPY] = {
        FAILS, E(PENDING) = src_iterate_pending, E(SAVED) = src_saved, E(STOPPED) = late,
        E(START_POSTCOPY) = src_start_postcopy, E(CUT) = src_cut_early,
        E(RECONNECTED) = src_reconnected_early, E(GIVE_UP) = src_fail_give_up,
        E(REQUEST) = src_ack_request, E(TIMER) = src_tick,
    },
    [SRC_STOPPING] = {
        FAILS, E(STOPPED) = src_stopped, E(PENDING) = src_final_pending, E(SAVED) = late,
        E(CUT) = src_back_cut, E(RECONNECTED) = late, E(REQUEST) = src_back_request,
        E(TIMER) = late,
    },
    [SRC_HELD] = {
        FAILS, E(GO_ON) = src_go_on, E(CUT) = src_back_cut, E(RECONNECTED) = late,
        E(REQUEST) = src_back_request, LATE(STOPPED, PENDING, SAVED), E(TIMER) = late,
    },
    [SRC_SWITCHOVER] = {
        FAILS, E(FINAL_SENT) = src_final_sent, E(DEVICES_SENT) = src_devices_sent,
        E(LOCKS) = src_commit_locks, E(CUT) = src_fail_cut, E(RECONNECTED) = late,
        E(REQUEST) = src_ack_request_late, LATE(STOPPED, PENDING, SAVED), E(TIMER) = late,
    },
    [SRC_READY] = {
        E(READY) = src_ready, E(NOT_STARTED) = src_ready_refused, E(CUT) = src_ready_cut,
        E(ABORT) = src_ready_abort, E(ERROR) = src_ready_error, E(CANCEL) = src_ready_cancel,
        E(TIMER) = src_ready_timer, E(GRANT) = src_ack_grant, E(REQUEST) = src_ack_request_late,
        E(RECONNECTED) = late, LATE(STOPPED, PENDING, SAVED),
    },
    [SRC_COMMITTED] = {
        LATE(GRANT, REQUEST, STOPPED), E(PENDING) = late, E(SAVED) = late,
        E(WRITTEN) = src_commit_write, E(WRITE_FAILED) = src_commit_write,
        E(LOCKS) = src_commit_locks, E(COMMIT_SENT) = src_commit_sent,
        E(READY) = src_commit_frame, E(RUNNING) = src_commit_frame,
        E(NOT_STARTED) = src_commit_frame, E(SHUT) = src_commit_shut, E(CUT) = src_commit_cut,
        E(ABORT) = src_commit_cut, E(ERROR) = src_commit_error, E(CANCEL) = src_commit_cancel,
        E(RECONNECTED) = src_commit_reconnected, E(TIMER) = src_commit_timer,
    },
    [SRC_IN_DOUBT] = {
        LATE_SIGNALS, E(CANCEL) = src_too_late, E(WRITTEN) = src_commit_write,
        E(WRITE_FAILED) = src_commit_write, E(LOCKS) = late, E(COMMIT_SENT) = late,
        E(READY) = src_commit_frame, E(RUNNING) = src_commit_frame,
        E(NOT_STARTED) = src_commit_frame, E(SHUT) = src_commit_shut, E(CUT) = src_commit_cut,
        E(ABORT) = src_commit_cut, E(ERROR) = src_commit_error,
        E(RECONNECTED) = src_commit_reconnected, E(RESOLVE_OURS) = src_doubt_resolve,
        E(RESOLVE_THEIRS) = src_doubt_resolve, E(GIVE_UP) = src_doubt_give_up,
    },
    [SRC_POSTCOPY] = {
        LATE_SIGNALS, E(CANCEL) = src_too_late, E(PAGES_SENT) = src_pages_sent,
        E(COMMIT_SENT) = late, E(SHUT) = src_post_shut, E(RUNNING) = src_post_runs,
        E(CUT) = src_pause, E(ERROR) = src_pause, E(ABORT) = src_pause,
        E(NOT_STARTED) = src_post_refused, E(READY) = src_post_refused,
        E(WRITTEN) = src_post_written, E(WRITE_FAILED) = src_post_written,
        E(RECONNECTED) = late, E(LOCKS) = late,
    },
    [SRC_PAUSED] = {
        LATE_SIGNALS, LATE(CUT, ERROR, ABORT), E(PAGES_SENT) = late, E(COMMIT_SENT) = late,
        LATE(BITMAPS, RESUME_ACK, NOT_STARTED), E(READY) = late, E(LOCKS) = late,
        E(CANCEL) = src_too_late, E(RECONNECTED) = src_recover, E(RUNNING) = src_post_runs,
        E(WRITTEN) = src_post_written, E(WRITE_FAILED) = src_post_written,
        E(GIVE_UP) = src_paused_give_up, E(RESOLVE_OURS) = src_paused_resolve,
        E(RESOLVE_THEIRS) = src_paused_resolve, E(SHUT) = src_paused_shut,
    },
    [SRC_RECOVER] = {
        LATE(REQUEST, GRANT, LOCKS), LATE(STOPPED, PENDING, SAVED),
        LATE(PAGES_SENT, COMMIT_SENT, RECONNECTED), E(TIMER) = src_recover_timer,
        E(CANCEL) = src_too_late, E(BITMAPS) = src_bitmaps, E(RESUME_ACK) = src_resume_ack,
        E(CUT) = src_pause, E(ERROR) = src_pause, E(ABORT) = src_pause, E(SHUT) = src_post_shut,
        E(RUNNING) = src_post_runs, E(NOT_STARTED) = src_post_refused,
        E(READY) = src_post_refused, E(WRITTEN) = src_post_written,
        E(WRITE_FAILED) = src_post_written,
    },
    [SRC_COMPLETED] = {
        OVER, LATE(LOCKS, TIMER, RESOLVE_THEIRS), E(CANCEL) = src_too_late,
    },
    [SRC_FAILED] = {BACK},
    [SRC_CANCELLED] = {BACK},
};
/* clang-format on */

/* ---- actions ---- */

struct src_action *src_do(struct src_engine *e, enum src_action_kind kind) {
    static struct src_action nowhere;
    struct src_actions *out = e->out;
    if (out->count >= SRC_ACTIONS_MAX) { /* no event has so many */
        e->reason = VMS_E_INTERNAL;
        return &nowhere;
    }
    struct src_action *a = &out->list[out->count++];
    *a = (struct src_action){.kind = kind, .device = SRC_NO_DEVICE};
    return a;
}

void src_arm(struct src_engine *e, enum src_timer timer, uint64_t ns) {
    struct src_action *a = src_do(e, SRC_DO_ARM);
    a->timer = timer;
    a->value = ns;
}

void src_disarm(struct src_engine *e, enum src_timer timer) {
    src_do(e, SRC_DO_DISARM)->timer = timer;
}

void src_throttle(struct src_engine *e, unsigned percent) {
    if (e->figures.throttle == percent)
        return;
    e->figures.throttle = percent;
    src_do(e, SRC_DO_THROTTLE)->value = percent;
}

/* ---- events ---- */

enum group {
    ORDER,
    ANSWER,
    PEER,
};

static enum group group_of(enum src_event_kind kind) {
    if (kind <= SRC_EV_GIVE_UP)
        return ORDER;
    bool peer = kind >= SRC_EV_REQUEST && kind <= SRC_EV_RESUME_ACK;
    return peer ? PEER : ANSWER;
}

/* [HND-1] The native wire has one name for a word of the hand-over that may not be. */
static enum vms_code broken_rule(const struct src_engine *e, enum src_event_kind kind) {
    bool hand = kind == SRC_EV_READY || kind == SRC_EV_RUNNING || kind == SRC_EV_NOT_STARTED;
    return hand && e->config.native ? VMS_E_HANDOVER_UNEXPECTED : VMS_E_SRC_UNEXPECTED;
}

/* [ENG-2] The peer broke the rules: the connection is not believed any more. */
static enum vms_code peer_broke(struct src_engine *e, const struct src_event *ev,
                                enum vms_code code, struct vms_error *err) {
    const char *state = src_state_name(e->state);
    struct src_event broken = *ev;
    broken.kind = SRC_EV_ERROR;
    broken.value = code;
    src_step_fn *step = TABLE[e->state][SRC_EV_ERROR];
    if (step)
        (void)step(e, &broken, err);
    return vms_error_set(err, code, "%s in state %s", src_event_name(ev->kind), state);
}

static enum vms_code group_answer(struct src_engine *e, const struct src_event *ev,
                                  struct vms_error *err) {
    const char *event = src_event_name(ev->kind), *state = src_state_name(e->state);
    switch (group_of(ev->kind)) {
    case ORDER: /* [ENG-3] */
        return vms_error_set(err, VMS_E_SRC_ORDER, "%s in state %s", event, state);
    case PEER: return peer_broke(e, ev, broken_rule(e, ev->kind), err);
    default: /* [ENG-4] the program answers what was not asked */
        return vms_error_set(err, VMS_E_MISUSE, "%s in state %s", event, state);
    }
}

/* [ENG-4] Nothing is stored at a place that a bad number names. */
static bool well_formed(const struct src_engine *e, const struct src_event *ev) {
    bool any = ev->kind == SRC_EV_GRANT && !e->config.native;
    switch (ev->kind) {
    case SRC_EV_PENDING:
    case SRC_EV_SAVED:
    case SRC_EV_FINAL_SENT:
    case SRC_EV_REQUEST:
    case SRC_EV_GRANT: return any || ev->device < e->config.device_count;
    default: return (unsigned)ev->kind < SRC_EVENT_COUNT;
    }
}

static enum vms_code malformed(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    bool peer = (unsigned)ev->kind < SRC_EVENT_COUNT && group_of(ev->kind) == PEER;
    if (peer) /* [SES-28] */
        return peer_broke(e, ev, e->config.native ? VMS_E_SESSION_DEVICE : VMS_E_SRC_UNEXPECTED,
                          err);
    return vms_error_set(err, VMS_E_MISUSE, "event %u of device %u", (unsigned)ev->kind,
                         ev->device);
}

enum vms_code src_engine_event(struct src_engine *e, const struct src_event *ev,
                               struct src_actions *out, struct vms_error *err) {
    enum vms_code code;
    out->count = 0;
    e->out = out;
    if (ev->now_ns > e->now_ns)
        e->now_ns = ev->now_ns;
    if (!well_formed(e, ev)) {
        code = malformed(e, ev, err);
    } else {
        src_step_fn *step = TABLE[e->state][ev->kind];
        code = step ? step(e, ev, err) : group_answer(e, ev, err);
    }
    e->out = NULL;
    return code;
}

/* ---- the value ---- */

size_t src_engine_size(void) {
    return sizeof(struct src_engine);
}

struct src_engine *src_engine_init(void *mem, const struct src_config *config) {
    struct src_engine *e = mem;
    memset(e, 0, sizeof *e);
    e->config = *config;
    if (e->config.device_count > SRC_DEVICES_MAX)
        e->config.device_count = SRC_DEVICES_MAX;
    if (e->config.device_count == 0) /* RAM is always there */
        e->config.device_count = 1;
    e->state = SRC_IDLE;
    e->way_back = SRC_COMMITTED;
    e->figures.waiting_for = SRC_NO_DEVICE;
    e->figures.expected_downtime_ns = UINT64_MAX;
    vms_handover_init(&e->handover, VMS_ROLE_SOURCE);
    src_scheduler_init(&e->scheduler, config->scheduler, e->config.device_count, config->quantum);
    src_ack_init(e);
    return e;
}

/* [ENG-26] */
void src_engine_recover(struct src_engine *e, enum vms_journal journal, uint64_t generation,
                        struct src_actions *out) {
    struct vms_error ignored = {0};
    out->count = 0;
    e->out = out;
    enum vms_handover_action action =
        vms_handover_recover(&e->handover, VMS_ROLE_SOURCE, journal, generation);
    if (e->handover.state != VMS_SRC_OURS) {
        e->state = SRC_COMMITTED;
        e->restarted = e->cut = e->stopped = true;
        e->locks = SRC_LOCKS_GIVEN;
        e->owner = SRC_OWNER_UNKNOWN;
        (void)src_hand(e, action, VMS_OK, &ignored);
    }
    e->out = NULL;
}

void src_engine_limits(struct src_engine *e, uint64_t max_bandwidth, uint64_t switchover_bandwidth,
                       uint64_t downtime_ns) {
    e->config.max_bandwidth = max_bandwidth;
    e->config.switchover_bandwidth = switchover_bandwidth;
    e->config.downtime_ns = downtime_ns;
    if (e->bandwidth.limit == max_bandwidth)
        return;
    e->bandwidth.limit = max_bandwidth;
    e->bandwidth.tokens = 0; /* [ENG-19] the old one's debt is forgiven */
    e->bandwidth.filled = e->now_ns;
}

enum src_state src_engine_state(const struct src_engine *e) {
    return e->state;
}

enum src_owner src_engine_owner(const struct src_engine *e) {
    return e->owner;
}

enum vms_code src_engine_reason(const struct src_engine *e) {
    return e->reason;
}

/* [ENG-6] */
bool src_engine_may_run(const struct src_engine *e) {
    return e->owner == SRC_OWNER_OURS && e->locks == SRC_LOCKS_HELD;
}

const struct src_figures *src_engine_figures(const struct src_engine *e) {
    return &e->figures;
}
