/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * What follows the fault: programs end by themselves, or say that somebody has to decide. The
 * operator here knows what a careful one would find out: whether the other program lives, whether
 * it announced the guest, what its journal says. Before an end gets the guest the other is dead.
 */

enum {
    DEADLINE_MS = 60000,
    AGAIN_MS = 500,
    PATIENCE_MS = 6000, /* for two ends that can still talk; then the other is fenced */
};

struct desk {
    struct fault_rig *rig;
    struct fault_result *result;
    char state[16];
    int64_t next_ms;  /* of an order that may be repeated */
    int64_t doubt_ms; /* since when the source is in doubt */
    bool answering, decided, told_dst;
};

static void order(struct desk *d, const char *line) {
    char answer[48];
    if (fault_now_ms() < d->next_ms)
        return;
    d->next_ms = fault_now_ms() + AGAIN_MS;
    fault_order(d->rig, line, answer);
}

static bool started_there(struct fault_rig *r) {
    char state[16], session[33];
    return fault_announced(r) || strcmp(fault_journal(r, 1, state, session), "started") == 0;
}

/* ---- the source is in doubt ---- */

static bool start_answering(struct desk *d) {
    char state[16], session[33] = "";
    struct fault_rig *r = d->rig;
    if (r->plan->wire != FAULT_NATIVE || !r->plan->answer || d->answering)
        return false;
    d->answering = true;
    (void)fault_journal(r, 1, state, session);
    if (!session[0])
        (void)fault_journal(r, 0, state, session);
    d->result->restarted = fault_start_answer(r, session) == 0;
    return d->result->restarted;
}

static void decide(struct desk *d) {
    bool theirs = started_there(d->rig);
    d->result->operator= true;
    order(d, theirs ? "{\"order\": \"resolve\", \"as\": \"theirs\"}\n"
                    : "{\"order\": \"resolve\", \"as\": \"ours\"}\n");
}

static void source_in_doubt(struct desk *d) {
    struct fault_rig *r = d->rig;
    int64_t now = fault_now_ms();
    d->result->doubt = true;
    if (!d->doubt_ms)
        d->doubt_ms = now;
    if (r->dst.stopped) /* mute: somebody wakes it now */
        fault_signal(&r->dst, SIGCONT);
    if (r->plan->kind == FAULT_FULL_SOURCE)
        (void)fault_fill(r, 0, false);
    if (fault_ended(&r->dst)) {
        if (!start_answering(d))
            decide(d);
    } else if (now - d->doubt_ms < PATIENCE_MS) {
        if (r->plan->wire == FAULT_NATIVE && fault_says(r, &r->src, "waiting for an order"))
            order(d, "{\"order\": \"recover\"}\n");
        else if (r->plan->wire == FAULT_QEVM && fault_announced(r))
            decide(d);
    } else if (fault_announced(r)) {
        decide(d);
    } else { /* fenced; then it is looked at again */
        fault_signal(&r->dst, SIGKILL);
        d->answering = true;
    }
}

/* ---- other states ---- */

/* It has tried, and waits: is there any sense in it? */
static void source_waits(struct desk *d) {
    struct fault_rig *r = d->rig;
    if (r->dst.stopped)
        fault_signal(&r->dst, SIGCONT);
    if (!fault_ended(&r->dst) && fault_state_order(d->state) > 8) /* paused: it wants pages */
        order(d, "{\"order\": \"recover\"}\n");
    else
        order(d, "{\"order\": \"give-up\"}\n");
}

static void look_at_source(struct desk *d) {
    struct fault_rig *r = d->rig;
    if (fault_ended(&r->src) || !fault_state(r, d->state)[0])
        return;
    if (strcmp(d->state, "HELD") == 0)
        order(d, "{\"order\": \"go-on\"}\n");
    else if (strcmp(d->state, "IN_DOUBT") == 0)
        source_in_doubt(d);
    else if (fault_says(r, &r->src, "waiting for an order"))
        source_waits(d);
}

/* The source is gone for good: who runs the guest is the operator's to say. */
static void look_at_destination(struct desk *d) {
    struct fault_rig *r = d->rig;
    if (fault_ended(&r->dst))
        return;
    if (r->dst.stopped && fault_ended(&r->src))
        fault_signal(&r->dst, SIGCONT);
    bool doubt = fault_says(r, &r->dst, "IN_DOUBT");
    d->result->doubt |= doubt;
    if (doubt && r->plan->kind == FAULT_FULL_DESTINATION && !d->told_dst) {
        /* its journal could not be written, so that it will not run the guest: it may say so */
        d->told_dst = d->result->operator= true;
        (void)fault_fill(r, 1, false);
        fault_signal(&r->dst, SIGUSR2);
    }
    if (!doubt || !fault_ended(&r->src) || d->told_dst || fault_announced(r))
        return;
    /* all of the guest is there, unless its pages were to follow */
    bool ours = r->src.killed && !r->plan->postcopy;
    d->told_dst = d->result->operator= true;
    fault_signal(&r->dst, ours ? SIGUSR1 : SIGUSR2);
}

/* After a restart the journal of a source that died is settled by what the destination did. */
static void settle_source(struct desk *d) {
    struct fault_rig *r = d->rig;
    if (!r->src.killed || r->plan->wire != FAULT_NATIVE)
        return;
    int status = fault_resolve_journal(r, started_there(r) ? "theirs" : "ours");
    d->result->restarted = true;
    if (status != 0)
        (void)snprintf(d->result->why, sizeof d->result->why, "--resolve ended with %d", status);
}

static void too_late(struct desk *d) {
    struct fault_rig *r = d->rig;
    r->late = true;
    (void)snprintf(d->result->why, sizeof d->result->why, "no end by itself: %s%s%s%s",
                   r->src.pid > 0 ? "the source, state " : "", r->src.pid > 0 ? d->state : "",
                   r->src.pid > 0 && r->dst.pid > 0 ? "; " : "",
                   r->dst.pid > 0 ? "the destination" : "");
}

void fault_operate(struct fault_rig *r, struct fault_result *result) {
    struct desk d = {.rig = r, .result = result};
    int64_t until = fault_now_ms() + DEADLINE_MS;
    for (;;) {
        bool src = fault_ended(&r->src), dst = fault_ended(&r->dst);
        if (src && dst)
            break;
        if (fault_now_ms() > until) {
            too_late(&d);
            return;
        }
        look_at_source(&d);
        look_at_destination(&d);
        fault_moment();
    }
    settle_source(&d);
}
