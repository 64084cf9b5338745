/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "reference-src/engine/engine_state.h"

/*
 * The source's machine under a list of actions: events of every kind with any device, generation,
 * amount and time, or the answer to what the machine asked for last. What must hold after each:
 *   - the guest runs here only where the machine may let it, never behind the commit point unless
 *     somebody released it [ENG-6] [ENG-7] [HND-2], and never without its locks [ENG-11]
 *   - FINISH comes once, and in a final state [ENG-10]; nothing is throttled then [ENG-12]
 *   - an action list has room for what an event leads to
 * Input: 4 octets of configuration, 1 of devices, 1 of a journal, then actions of 5 octets.
 */
enum {
    STEP_NS = 1000 * 1000,
    ASKED_MAX = 64,
};

struct run {
    struct src_engine e;
    struct src_event asked[ASKED_MAX]; /* answers that are owed, the oldest first */
    unsigned asked_count;
    uint64_t now;
    bool commit_out, released, runs, finished;
};

static struct src_config configuration(struct vms_slice *in) {
    uint32_t bits = fuzz_option(in, 4);
    struct src_config c = {
        .native = bits & 1,
        .resume = bits & 2,
        .return_path = bits & 4 || bits & 8,
        .postcopy = bits & 8,
        .pause_before_switchover = bits & 16,
        .switchover_ack = bits & 32,
        .legacy_ack = bits & 64,
        .auto_converge = bits & 128,
        .max_bandwidth = bits & 256 ? 1 << 20 : 0,
        .max_postcopy_bandwidth = bits & 512 ? 1 << 20 : 0,
        .switchover_bandwidth = bits & 1024 ? 1 << 30 : 0,
        .downtime_ns = bits & 2048 ? STEP_NS : 1000ull * STEP_NS,
        .ready_ns = bits & 4096,
        .settle_ns = bits & 8192,
        .limit_ns = bits & 16384,
        .scheduler = bits & 32768 ? SRC_SCHEDULER_SERIAL : SRC_SCHEDULER_DRR,
        .quantum = bits & 65536 ? 4096 : 0,
        .after_setup = {true},
    };
    c.device_count = fuzz_option(in, 1) % 5;
    for (uint32_t d = 0; d < c.device_count; d++)
        c.initial_data[d] = bits >> (17 + d) & 1;
    return c;
}

static void owe(struct run *r, enum src_event_kind kind, uint32_t device, uint64_t generation) {
    if (r->asked_count < ASKED_MAX)
        r->asked[r->asked_count++] =
            (struct src_event){.kind = kind, .device = device, .generation = generation};
}

/* The event that an action leads to. */
static void owe_answer(struct run *r, const struct src_action *a) {
    static const enum src_event_kind answers[SRC_ACTION_COUNT] = {
        [SRC_DO_CONNECT] = SRC_EV_CONNECTED,
        [SRC_DO_SEND_SETUP] = SRC_EV_SETUP_SENT,
        [SRC_DO_QUERY] = SRC_EV_PENDING,
        [SRC_DO_SAVE] = SRC_EV_SAVED,
        [SRC_DO_STOP_GUEST] = SRC_EV_STOPPED,
        [SRC_DO_SAVE_FINAL] = SRC_EV_FINAL_SENT,
        [SRC_DO_SAVE_DEVICES] = SRC_EV_DEVICES_SENT,
        [SRC_DO_REQUEST] = SRC_EV_GRANT,
        [SRC_DO_LOCKS] = SRC_EV_LOCKS,
        [SRC_DO_SEND_START] = SRC_EV_READY,
        [SRC_DO_WRITE] = SRC_EV_WRITTEN,
        [SRC_DO_SEND_COMMIT] = SRC_EV_COMMIT_SENT,
        [SRC_DO_SEND_PAGES] = SRC_EV_PAGES_SENT,
        [SRC_DO_SEND_END] = SRC_EV_SHUT,
        [SRC_DO_RECONNECT] = SRC_EV_RECONNECTED,
        [SRC_DO_ASK_BITMAPS] = SRC_EV_BITMAPS,
        [SRC_DO_SEND_RESUME] = SRC_EV_RESUME_ACK,
    };
    if (a->kind == SRC_DO_ARM) {
        owe(r, SRC_EV_TIMER, 0, 0);
        r->asked[r->asked_count - 1].value = a->timer;
    } else if (answers[a->kind]) {
        owe(r, answers[a->kind], a->device, a->generation);
    }
    if (a->kind == SRC_DO_SEND_COMMIT)
        owe(r, r->e.config.native ? SRC_EV_RUNNING : SRC_EV_SHUT, 0, a->generation);
}

static void check_action(struct run *r, const struct src_action *a) {
    const struct src_engine *e = &r->e;
    switch (a->kind) {
    case SRC_DO_STOP_GUEST: r->runs = false; break;
    case SRC_DO_RUN_GUEST:
        r->runs = true;
        ORACLE(!r->commit_out || r->released, "the guest runs behind the commit point");
        ORACLE(e->locks == SRC_LOCKS_HELD, "the guest runs without its locks");
        break;
    case SRC_DO_SEND_COMMIT:
        ORACLE(e->locks == SRC_LOCKS_GIVEN, "COMMIT with the locks held");
        r->commit_out = true;
        break;
    case SRC_DO_FINISH:
        ORACLE(!r->finished, "FINISH twice");
        ORACLE(e->state >= SRC_COMPLETED, "FINISH in %s", src_state_name(e->state));
        r->finished = true;
        break;
    default: break;
    }
}

static void check(const struct run *r) {
    const struct src_engine *e = &r->e;
    bool behind = e->state >= SRC_COMMITTED && e->state <= SRC_COMPLETED;
    const char *state = src_state_name(e->state);
    ORACLE(e->reason != VMS_E_INTERNAL, "%s", state);
    ORACLE(!behind || !src_engine_may_run(e), "may run in %s", state);
    ORACLE(!r->commit_out || r->released || !src_engine_may_run(e), "may run in %s", state);
    ORACLE(!r->runs || src_engine_may_run(e), "runs in %s", state);
    ORACLE(!r->finished || !e->figures.throttle, "throttled in %s", state);
    ORACLE(!r->finished || e->owner != SRC_OWNER_OURS || r->runs || e->locks != SRC_LOCKS_HELD,
           "ours, and it does not run");
}

/* [HND-9] [SRC-3] */
static bool releases(const struct src_engine *e, const struct src_event *ev) {
    switch (ev->kind) {
    case SRC_EV_NOT_STARTED: return e->config.native;
    case SRC_EV_SHUT: return !e->config.native && ev->value && !e->runs_there;
    case SRC_EV_RESOLVE_OURS: return !e->runs_there || e->state == SRC_IN_DOUBT;
    default: return false;
    }
}

/*
 * An action: 1 octet: bit 7: the answer that is owed, of number bits 0 to 5; else the kind of an
 * event. Then time, device, generation, value, one octet each.
 */
static struct src_event next_event(struct run *r, struct vms_slice *in) {
    uint32_t what = fuzz_option(in, 1), time = fuzz_option(in, 1), where = fuzz_option(in, 1);
    uint32_t value = fuzz_option(in, 1);
    uint32_t generation = where >> 4;
    struct src_event ev = {.kind = (enum src_event_kind)(what % SRC_EVENT_COUNT),
                           .device = where & 15,
                           .generation = generation};
    if (what & 128 && r->asked_count) {
        unsigned n = (what & 63) % r->asked_count;
        ev = r->asked[n];
        memmove(&r->asked[n], &r->asked[n + 1], (--r->asked_count - n) * sizeof ev);
    }
    ev.now_ns = r->now += (uint64_t)(time & 15) << (time >> 4 & 7) * 4;
    if (ev.kind != SRC_EV_TIMER || !(what & 128))
        ev.value = (uint64_t)(value & 15) << (value >> 4) * 4;
    if (ev.kind == SRC_EV_ERROR &&
        (!ev.value || ev.value >= VMS_CODE_COUNT || ev.value == VMS_E_INTERNAL))
        ev.value = VMS_E_IO;
    if (ev.kind == SRC_EV_GRANT && where == 0xff)
        ev.device = SRC_NO_DEVICE;
    ev.more = value & 1;
    ev.left = value & 2 ? ev.value : 0;
    ev.pending = (struct src_pending){.precopy = ev.value, .generation = generation};
    return ev;
}

static void step(struct run *r, struct vms_slice *in) {
    struct src_actions out;
    struct vms_error err = {0};
    struct src_event ev = next_event(r, in);
    bool may_release = r->commit_out && releases(&r->e, &ev);
    fuzz_cell(FUZZ_M_SOURCE, r->e.state, ev.kind);
    r->released |= may_release;
    enum vms_code code = src_engine_event(&r->e, &ev, &out, &err);
    fuzz_saw(code);
    ORACLE(code == VMS_OK || code == err.code, "%s, %s", vms_code_name(code),
           vms_code_name(err.code));
    ORACLE(out.count <= SRC_ACTIONS_MAX, "%zu actions", out.count);
    for (size_t i = 0; i < out.count; i++) {
        check_action(r, &out.list[i]);
        owe_answer(r, &out.list[i]);
    }
    fuzz_saw(src_engine_reason(&r->e));
    check(r);
}

static void run(struct vms_slice in) {
    static struct run r;
    struct src_actions out = {0};
    struct src_config config = configuration(&in);
    uint32_t journal = fuzz_option(&in, 1);
    memset(&r, 0, sizeof r);
    (void)src_engine_init(&r.e, &config);
    r.runs = true;
    if (journal & 128) { /* after a restart [ENG-26] */
        src_engine_recover(&r.e, (enum vms_journal)(journal % VMS_JOURNAL_COUNT), 1, &out);
        r.commit_out = r.e.state != SRC_IDLE;
        r.runs = r.e.state == SRC_IDLE;
        r.finished = r.e.finished;
        for (size_t i = 0; i < out.count; i++)
            owe_answer(&r, &out.list[i]);
    }
    while (in.len)
        step(&r, &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    run(in);
    return 0;
}
