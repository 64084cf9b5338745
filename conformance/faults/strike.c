/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/*
 * How a phase is reached, as a table of steps, and what is done there. The tap holds a direction so
 * that a phase lasts: READY is kept from arriving, then COMMIT, then RUNNING.
 */

enum {
    REACH_MS = 20000,
    EXTRA_MS = 1000, /* for the extra bytes: there may be no more */
    STANDARD_FILES = 4,
};

enum step {
    END,
    CONNECTED, /* somebody has connected */
    STATE,     /* of the source, this or later; the next item */
    BYTES,     /* the extra ones */
    GO_ON,
    HOLD_TO, /* towards the destination */
    HOLD_BACK,
    FREE_TO,
    FREE_BACK,
    SRC_JOURNAL, /* COMMITTED */
    DST_OPEN,
    DST_STARTED,
    ANNOUNCED,
    CUT,
    RETURNED, /* a connection after the cut */
};

enum state {
    SETUP,
    PRECOPY,
    STOPPING,
    HELD,
    SWITCHOVER,
    READY,
    COMMITTED,
    IN_DOUBT,
    POSTCOPY,
};

int fault_state_order(const char *state) {
    static const char *const names[] = {
        "SETUP",    "PRECOPY",  "STOPPING", "HELD",    "SWITCHOVER", "READY",  "COMMITTED",
        "IN_DOUBT", "POSTCOPY", "PAUSED",   "RECOVER", "COMPLETED",  "FAILED", "CANCELLED"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(state, names[i]) == 0)
            return i;
    return -1;
}

struct path {
    enum fault_wire wire; /* FAULT_BOTH_WIRES: either */
    enum fault_phase phase;
    bool race;
    unsigned char steps[20];
};

/* clang-format off */
static const struct path PATHS[] = {
    {FAULT_BOTH_WIRES, FAULT_AT_SETUP, false, {CONNECTED, BYTES}},
    {FAULT_BOTH_WIRES, FAULT_AT_PRECOPY, false, {STATE, PRECOPY, BYTES}},
    {FAULT_BOTH_WIRES, FAULT_AT_HELD, false, {STATE, HELD}},
    {FAULT_BOTH_WIRES, FAULT_AT_SWITCHOVER, false, {STATE, HELD, HOLD_TO, GO_ON, STATE, SWITCHOVER}},
    {FAULT_NATIVE, FAULT_AT_READY, false, {STATE, HELD, HOLD_BACK, GO_ON, DST_OPEN}},
    {FAULT_NATIVE, FAULT_AT_READY, true, {DST_OPEN}},
    {FAULT_NATIVE, FAULT_AT_COMMITTING, false,
     {STATE, HELD, HOLD_BACK, GO_ON, DST_OPEN, HOLD_TO, FREE_BACK, SRC_JOURNAL}},
    {FAULT_NATIVE, FAULT_AT_COMMITTING, true, {SRC_JOURNAL}},
    {FAULT_NATIVE, FAULT_AT_RUNNING, false,
     {STATE, HELD, HOLD_BACK, GO_ON, DST_OPEN, HOLD_TO, FREE_BACK, SRC_JOURNAL, HOLD_BACK, FREE_TO,
      DST_STARTED}},
    {FAULT_NATIVE, FAULT_AT_RUNNING, true, {DST_STARTED}},
    {FAULT_QEVM, FAULT_AT_COMMITTING, false, {STATE, HELD, HOLD_BACK, GO_ON, STATE, COMMITTED}},
    {FAULT_QEVM, FAULT_AT_RUNNING, false,
     {STATE, HELD, HOLD_BACK, GO_ON, STATE, COMMITTED, ANNOUNCED}},
    {FAULT_QEVM, FAULT_AT_RUNNING, true, {ANNOUNCED}},
    {FAULT_BOTH_WIRES, FAULT_AT_POSTCOPY, false, {STATE, POSTCOPY, BYTES}},
    {FAULT_BOTH_WIRES, FAULT_AT_RECOVERY, false, {STATE, POSTCOPY, BYTES, CUT, RETURNED, BYTES}},
};
/* clang-format on */

static const struct path *path_of(const struct fault_plan *p) {
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        if ((PATHS[i].wire == p->wire || PATHS[i].wire == FAULT_BOTH_WIRES) &&
            PATHS[i].phase == p->phase && PATHS[i].race == p->race)
            return &PATHS[i];
    return NULL;
}

struct way {
    struct fault_rig *rig;
    bool to, back; /* held */
    uint64_t base; /* bytes, or connections */
    int state;     /* awaited */
};

/* ---- conditions ---- */

static bool went_on(struct way *w) {
    char state[16], answer[48];
    int now = fault_state_order(fault_state(w->rig, state));
    /* a pause that is none of this path's */
    if (now == HELD && w->state > HELD)
        fault_order(w->rig, "{\"order\": \"go-on\"}\n", answer);
    return now >= w->state;
}

static bool journal_says(struct way *w, int end, const char *wanted) {
    char state[16], session[33];
    return strcmp(fault_journal(w->rig, end, state, session), wanted) == 0;
}

static bool holds(struct way *w, enum step step) {
    switch (step) {
    case CONNECTED: return vms_tap_count(w->rig->tap) > 0;
    case STATE: return went_on(w);
    case BYTES: return fault_forwarded(w->rig) >= w->base + w->rig->plan->extra;
    case SRC_JOURNAL: return journal_says(w, 0, "committed") || journal_says(w, 0, "gone");
    case DST_OPEN: return journal_says(w, 1, "open") || journal_says(w, 1, "started");
    case DST_STARTED: return journal_says(w, 1, "started");
    case ANNOUNCED: return fault_announced(w->rig);
    case RETURNED: return vms_tap_count(w->rig->tap) > w->base;
    default: return true;
    }
}

/* Something else than the path's own pause may have stopped the guest. */
static void pass_pauses(struct way *w, enum step step) {
    char state[16], answer[48];
    bool late = step == SRC_JOURNAL || step == DST_OPEN || step == DST_STARTED || step == ANNOUNCED;
    if (late && w->rig->plan->race && w->rig->plan->pause &&
        strcmp(fault_state(w->rig, state), "HELD") == 0)
        fault_order(w->rig, "{\"order\": \"go-on\"}\n", answer);
}

static bool wait_for(struct way *w, enum step step) {
    int64_t until = fault_now_ms() + (step == BYTES ? EXTRA_MS : REACH_MS);
    while (!holds(w, step)) {
        if (fault_ended(&w->rig->src) || fault_ended(&w->rig->dst))
            return false;
        if (fault_now_ms() > until)
            return step == BYTES;
        pass_pauses(w, step);
        fault_moment();
    }
    return true;
}

/* ---- steps ---- */

static void act(struct way *w, enum step step) {
    char answer[48];
    switch (step) {
    case GO_ON: fault_order(w->rig, "{\"order\": \"go-on\"}\n", answer); return;
    case HOLD_TO: w->to = true; break;
    case HOLD_BACK: w->back = true; break;
    case FREE_TO: w->to = false; break;
    case FREE_BACK: w->back = false; break;
    case CUT:
        w->base = vms_tap_count(w->rig->tap);
        vms_tap_cut(w->rig->tap);
        return;
    default: return;
    }
    vms_tap_hold(w->rig->tap, w->to, w->back);
}

bool fault_reach(struct fault_rig *r) {
    const struct path *path = path_of(r->plan);
    struct way w = {.rig = r};
    if (r->plan->kind == FAULT_NONE)
        return true;
    for (const unsigned char *s = path->steps; *s != END; s++) {
        enum step step = (enum step) * s;
        if (step == STATE)
            w.state = *++s;
        if (step == BYTES)
            w.base = fault_forwarded(r);
        act(&w, step);
        if (!wait_for(&w, step))
            return false;
    }
    return true;
}

/* ---- the fault ---- */

static void cuts(struct fault_rig *r) {
    for (unsigned i = 0; i < r->plan->cuts; i++) {
        struct way w = {.rig = r, .base = vms_tap_count(r->tap)};
        vms_tap_cut(r->tap);
        vms_tap_hold(r->tap, false, false);
        if (!wait_for(&w, RETURNED))
            return;
        int64_t until = fault_now_ms() + 200;
        for (uint64_t base = fault_forwarded(r);
             fault_forwarded(r) < base + r->plan->apart && fault_now_ms() < until;)
            fault_moment();
    }
}

static void stop(struct fault_process *p, unsigned ms) {
    fault_signal(p, SIGSTOP);
    for (int64_t until = fault_now_ms() + ms; fault_now_ms() < until;)
        fault_moment();
}

/* What is open stays open; nothing more can be opened, connected or accepted (EMFILE). poll() takes
 * no more descriptors than the limit, either, so that is not 0. */
static void limit_files(struct fault_process *p, bool none) {
    struct rlimit limit;
    if (!p->pid || prlimit(p->pid, RLIMIT_NOFILE, NULL, &limit))
        return;
    limit.rlim_cur = none ? STANDARD_FILES : limit.rlim_max;
    (void)prlimit(p->pid, RLIMIT_NOFILE, &limit, NULL);
}

static void no_files(struct fault_rig *r, struct fault_process *p) {
    limit_files(p, true);
    vms_tap_cut(r->tap);
    unsigned ms = 500 + r->plan->stop_ms % 1000; /* less than an end waits for the other */
    for (int64_t until = fault_now_ms() + ms; fault_now_ms() < until;)
        fault_moment();
}

void fault_strike(struct fault_rig *r, struct fault_result *result) {
    const struct fault_plan *p = r->plan;
    switch (p->kind) {
    case FAULT_KILL_SOURCE:
    case FAULT_KILL_BOTH:
        fault_signal(&r->src, SIGKILL);
        if (!p->let_out)
            vms_tap_cut(r->tap);
        if (p->kind == FAULT_KILL_BOTH)
            fault_signal(&r->dst, SIGKILL);
        break;
    case FAULT_KILL_DESTINATION: fault_signal(&r->dst, SIGKILL); break;
    case FAULT_CUT: vms_tap_cut(r->tap); break;
    case FAULT_CUTS: cuts(r); break;
    case FAULT_STOP_SOURCE: stop(&r->src, p->stop_ms); break;
    case FAULT_STOP_DESTINATION: stop(&r->dst, p->stop_ms); break;
    case FAULT_MUTE: fault_signal(&r->dst, SIGSTOP); break;
    case FAULT_FULL_SOURCE: (void)fault_fill(r, 0, true); break;
    case FAULT_FULL_DESTINATION: (void)fault_fill(r, 1, true); break;
    case FAULT_CANCEL: fault_order(r, "{\"order\": \"cancel\"}\n", result->answer); break;
    case FAULT_FILES_SOURCE: no_files(r, &r->src); break;
    case FAULT_FILES_DESTINATION: no_files(r, &r->dst); break;
    case FAULT_NONE:
    case FAULT_KINDS: break;
    }
}

void fault_release(struct fault_rig *r) {
    vms_tap_hold(r->tap, false, false);
    limit_files(&r->src, false);
    limit_files(&r->dst, false);
    fault_signal(&r->src, SIGCONT);
    if (r->plan->kind != FAULT_MUTE)
        fault_signal(&r->dst, SIGCONT);
}
