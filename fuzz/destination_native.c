/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "reference-dst/engine/native.h"

/*
 * The destination of a native migration under a list of actions: frames of the source, cuts,
 * reports of the program and of devices, orders. What must hold after each:
 *   - the guest runs here only behind STARTED and COMMIT, and with its locks [HND-2] [HND-5]
 *     [HND-15]; NOT_STARTED is never said of a guest that ran [HND-10]
 *   - READY leaves only behind OPEN [HND-5]; FINISH comes once
 *   - MISUSE leaves the machine where it was
 * Input: 1 octet of a journal, then actions of 3 octets: event, device and generation, value.
 * Bit 7 of an event: reports that nothing asked for are given, too: then only the last line holds.
 */
struct run {
    struct dst_native m;
    enum vms_journal durable, writing; /* NONE: no write is under way */
    bool locks, taking, releasing, loading;
    bool sent_running, sent_not_started, finished, committed;
    bool honest; /* no report but of what was asked for */
};

static bool possible(const struct run *r, enum dst_native_event_kind kind) {
    switch (kind) {
    case DST_NEV_WRITTEN:
    case DST_NEV_WRITE_FAILED: return r->writing != VMS_JOURNAL_NONE;
    case DST_NEV_LOCKS: return r->taking;
    case DST_NEV_RUNS: return r->releasing;
    case DST_NEV_LOADED: return r->loading;
    case DST_NEV_TOLD: return r->sent_running;
    default: return true;
    }
}

static void note(struct run *r, const struct dst_native_event *ev) {
    switch (ev->kind) {
    case DST_NEV_WRITTEN: r->durable = r->writing; /* fallthrough */
    case DST_NEV_WRITE_FAILED: r->writing = VMS_JOURNAL_NONE; break;
    case DST_NEV_LOCKS:
        r->locks = ev->value == 0;
        r->taking = false;
        break;
    case DST_NEV_RUNS: r->releasing = false; break;
    case DST_NEV_LOADED: r->loading = false; break;
    default: break;
    }
}

static void check_action(struct run *r, const struct dst_native_action *a) {
    bool honest = r->honest;
    switch (a->kind) {
    case DST_NDO_WRITE: r->writing = a->journal; break;
    case DST_NDO_LOCKS:
        r->taking = a->value;
        r->locks = false;
        break;
    case DST_NDO_LOAD: r->loading = true; break;
    case DST_NDO_SEND_READY:
        ORACLE(!honest || r->durable == VMS_JOURNAL_OPEN, "READY before OPEN is durable");
        break;
    case DST_NDO_RUN_GUEST:
        ORACLE(!honest || r->durable == VMS_JOURNAL_STARTED, "runs before STARTED is durable");
        ORACLE(!honest || r->locks, "runs without its locks");
        ORACLE(!honest || r->committed, "runs without COMMIT");
        ORACLE(!r->sent_not_started, "runs after NOT_STARTED");
        r->releasing = true;
        break;
    case DST_NDO_SEND_RUNNING:
        ORACLE(!honest || r->durable == VMS_JOURNAL_STARTED, "RUNNING before STARTED");
        ORACLE(!r->sent_not_started, "RUNNING after NOT_STARTED");
        r->sent_running = true;
        break;
    case DST_NDO_SEND_NOT_STARTED:
        ORACLE(!honest || r->durable == VMS_JOURNAL_NOT_STARTED, "NOT_STARTED is not durable");
        ORACLE(!r->m.guest_runs, "NOT_STARTED of a guest that ran");
        r->sent_not_started = true;
        break;
    case DST_NDO_FINISH:
        ORACLE(!r->finished, "FINISH twice");
        r->finished = true;
        break;
    default: break;
    }
}

static void check(const struct run *r) {
    const struct dst_native *m = &r->m;
    const char *state = dst_native_state_name(m->state);
    bool ours = m->handover.state == VMS_DST_STARTED || m->handover.state == VMS_DST_RUNNING;
    bool after = m->state >= DST_N_STARTED && m->state <= DST_N_RUNNING;
    ORACLE(dst_native_may_run(m) == ours, "%s", state);
    if (!r->honest)
        return;
    ORACLE((!after && m->state != DST_N_COMPLETED) || ours, "%s without STARTED", state);
    ORACLE(m->state > DST_N_STARTING || !ours, "STARTED in %s", state);
    ORACLE(m->state != DST_N_COMPLETED || m->guest_runs, "COMPLETED, and it never ran");
    ORACLE(r->finished == (m->state == DST_N_COMPLETED || m->state == DST_N_FAILED), "%s", state);
    ORACLE(m->state != DST_N_POSTCOPY || !m->cut, "POSTCOPY without a connection");
}

static struct dst_native_event next_event(struct run *r, struct vms_slice *in) {
    uint32_t what = fuzz_option(in, 1), where = fuzz_option(in, 1), value = fuzz_option(in, 1);
    struct dst_native_event ev = {.kind =
                                      (enum dst_native_event_kind)((what & 127) % DST_NEV_COUNT),
                                  .device = where & 7,
                                  .value = value & 3};
    ev.generation = where & 8 ? where >> 4 : r->m.handover.generation;
    if (ev.kind == DST_NEV_START && !(where & 8))
        ev.generation++;
    if (ev.kind == DST_NEV_HELLO)
        ev.value = value;
    if (ev.kind == DST_NEV_ERROR)
        ev.value = 1 + value % (VMS_CODE_COUNT - 1);
    if (!possible(r, ev.kind) && !(what & 128))
        ev.kind = DST_NEV_DATA;
    r->honest &= possible(r, ev.kind);
    return ev;
}

static void step(struct run *r, struct vms_slice *in) {
    struct dst_native_actions out;
    struct vms_error err = {0};
    struct dst_native_event ev = next_event(r, in);
    enum dst_native_state was = r->m.state;
    fuzz_cell(FUZZ_M_DST_NATIVE, was, ev.kind);
    note(r, &ev);
    enum vms_code code = dst_native_event(&r->m, &ev, &out, &err);
    fuzz_saw(code);
    ORACLE(code == VMS_OK || code == err.code, "%s, %s", vms_code_name(code),
           vms_code_name(err.code));
    ORACLE(code != VMS_E_MISUSE || was == r->m.state, "MISUSE moved it from %s",
           dst_native_state_name(was));
    ORACLE(out.count <= DST_NATIVE_ACTIONS_MAX, "%zu actions", out.count);
    if (code == VMS_OK && r->m.state == DST_N_STARTING && was != DST_N_STARTING)
        r->committed = ev.kind == DST_NEV_COMMIT || ev.kind == DST_NEV_RESOLVE_OURS;
    for (size_t i = 0; i < out.count; i++) {
        check_action(r, &out.list[i]);
    }
    check(r);
}

static void run(struct vms_slice in) {
    struct run r = {.honest = true};
    struct dst_native_actions out = {0};
    uint32_t journal = fuzz_option(&in, 1);
    dst_native_init(&r.m);
    if (journal & 128) { /* after a restart */
        r.durable = (enum vms_journal)(journal % VMS_JOURNAL_COUNT);
        dst_native_recover(&r.m, r.durable, 1, &out);
        r.honest = false;
        for (size_t i = 0; i < out.count; i++)
            check_action(&r, &out.list[i]);
    }
    while (in.len)
        step(&r, &in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    run(in);
    return 0;
}
