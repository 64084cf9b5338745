/* SPDX-License-Identifier: MIT */
#include "native.h"

/* [MIG-1] The destination of a native migration as one total table. */

enum move {
    REFUSED, /* what is not written below: see refuse() */
    TAKE,    /* go to `next` */
    FOLLOW,  /* go where the hand-over goes */
};

enum {
    NO_HAND = 0xff, /* the hand-over is not told */
};

/* What a cell does beside what the hand-over orders, in this order. */
enum deed {
    ASK = 1 << 0,     /* ASK_DEVICE */
    GRANT = 1 << 1,   /* SEND_GRANT */
    REQUEST = 1 << 2, /* SEND_REQUEST */
    GRANTED = 1 << 3,
    LOAD = 1 << 4,
    ABORTS = 1 << 5,
    TELL = 1 << 6,
    AGAIN = 1 << 7, /* RECONNECT */
    FINISH = 1 << 8,
};

struct cell {
    uint8_t move;
    uint8_t next;
    uint8_t hand; /* enum vms_handover_dst_event */
    uint16_t deeds;
};

#define E(name) [DST_NEV_##name]
#define TO(state, deeds)                                                                           \
    { TAKE, DST_N_##state, NO_HAND, (deeds) }
#define HAND(event, deeds)                                                                         \
    { FOLLOW, 0, VMS_DST_EV_##event, (deeds) }
#define ANSWER(state, event)                                                                       \
    { TAKE, DST_N_##state, VMS_DST_EV_##event, 0 }
#define STAY(state) TO(state, 0)

/* Late words that change nothing. */
#define LATE(s)                                                                                    \
    E(REQUEST) = STAY(s), E(GRANT) = STAY(s), E(DEVICE_READY) = STAY(s), E(DEVICE_NEEDS) = STAY(s)
/* Nothing matters any more, but the answers that HND wants. */
#define OVER(s)                                                                                    \
    LATE(s), E(TOLD) = STAY(s), E(HELLO) = STAY(s), E(CUT) = STAY(s), E(GIVE_UP) = STAY(s),        \
             E(DATA) = STAY(s), E(SETUP_DONE) = STAY(s), E(END) = STAY(s), E(ABORT) = STAY(s),     \
             E(LOADED) = STAY(s), E(LOCKS) = STAY(s), E(RUNS) = STAY(s), E(PAGES_IN) = STAY(s),    \
             E(ERROR) = STAY(s)

/* clang-format off */
static const struct cell TABLE[DST_N_STATE_COUNT][DST_NEV_COUNT] = {
    [DST_N_SETUP] = {
        E(HELLO) = STAY(SETUP), E(DATA) = STAY(SETUP), E(SETUP_DONE) = STAY(PRECOPY),
        E(CUT) = TO(SETUP, AGAIN), E(RECONNECTED) = STAY(SETUP), E(GIVE_UP) = HAND(GIVE_UP, 0),
        E(COMMIT) = HAND(COMMIT, 0), E(ABORT) = HAND(GIVE_UP, 0),
        E(REQUEST) = TO(SETUP, ASK), E(GRANT) = TO(SETUP, GRANTED),
        E(DEVICE_READY) = TO(SETUP, GRANT), E(DEVICE_NEEDS) = TO(SETUP, REQUEST),
        E(TOLD) = STAY(SETUP), E(ERROR) = HAND(BAD, 0),
        E(RESOLVE_THEIRS) = HAND(RESOLVE_THEIRS, 0),
    },
    [DST_N_PRECOPY] = {
        E(LOADED) = STAY(PRECOPY), /* of an attempt that was cut */
        E(WRITTEN) = HAND(WRITTEN, 0), E(WRITE_FAILED) = HAND(WRITE_FAILED, 0), /* likewise */
        E(DATA) = STAY(PRECOPY), E(END) = STAY(PRECOPY),
        E(CUT) = TO(PRECOPY, AGAIN), E(RECONNECTED) = STAY(PRECOPY),
        E(GIVE_UP) = HAND(GIVE_UP, 0),
        E(START) = HAND(START, LOAD), E(COMMIT) = HAND(COMMIT, 0), E(ABORT) = HAND(GIVE_UP, 0),
        E(REQUEST) = TO(PRECOPY, ASK), E(GRANT) = TO(PRECOPY, GRANTED),
        E(DEVICE_READY) = TO(PRECOPY, GRANT), E(DEVICE_NEEDS) = TO(PRECOPY, REQUEST),
        E(TOLD) = STAY(PRECOPY), E(ERROR) = HAND(BAD, 0),
        E(RESOLVE_THEIRS) = HAND(RESOLVE_THEIRS, 0),
    },
    [DST_N_ASKED] = { /* other channels may lag behind START */
        E(LOADED) = HAND(LOADED, 0),
        E(WRITTEN) = HAND(WRITTEN, 0), E(WRITE_FAILED) = HAND(WRITE_FAILED, 0),
        E(DATA) = STAY(ASKED),
        E(CUT) = HAND(CUT, AGAIN), E(RECONNECTED) = STAY(ASKED), E(GIVE_UP) = HAND(GIVE_UP, 0),
        E(START) = HAND(START, LOAD), E(COMMIT) = HAND(COMMIT, 0), E(ABORT) = HAND(GIVE_UP, 0),
        E(REQUEST) = TO(ASKED, ASK), E(GRANT) = TO(ASKED, GRANTED),
        E(DEVICE_READY) = TO(ASKED, GRANT), E(DEVICE_NEEDS) = STAY(ASKED),
        E(TOLD) = STAY(ASKED), E(ERROR) = HAND(BAD, 0),
        E(RESOLVE_THEIRS) = HAND(RESOLVE_THEIRS, 0),
    },
    [DST_N_READY] = {
        LATE(READY), E(TOLD) = STAY(READY),
        E(LOADED) = STAY(READY), /* asked for twice */
        E(WRITTEN) = HAND(WRITTEN, 0), E(WRITE_FAILED) = HAND(WRITE_FAILED, 0),
       
        E(CUT) = HAND(CUT, 0), E(RECONNECTED) = HAND(RECONNECTED, 0), E(GIVE_UP) = HAND(GIVE_UP, 0),
        E(START) = HAND(START, LOAD), E(COMMIT) = HAND(COMMIT, 0), E(ABORT) = HAND(GIVE_UP, 0),
        E(ERROR) = HAND(BAD, 0),
        E(RESOLVE_OURS) = HAND(RESOLVE_OURS, 0), E(RESOLVE_THEIRS) = HAND(RESOLVE_THEIRS, 0),
    },
    [DST_N_IN_DOUBT] = { /* [HND-12] only the source's word, or an order, leads out */
        LATE(IN_DOUBT), E(TOLD) = STAY(IN_DOUBT),
        E(LOADED) = STAY(IN_DOUBT),
        E(HELLO) = STAY(IN_DOUBT), /* an inquiry */
        E(CUT) = HAND(CUT, 0), E(RECONNECTED) = HAND(RECONNECTED, 0), E(GIVE_UP) = TO(IN_DOUBT, TELL),
        E(START) = HAND(START, LOAD), E(COMMIT) = HAND(COMMIT, 0), E(ABORT) = HAND(GIVE_UP, 0),
        E(ERROR) = TO(IN_DOUBT, TELL),
        E(RESOLVE_OURS) = HAND(RESOLVE_OURS, 0), E(RESOLVE_THEIRS) = HAND(RESOLVE_THEIRS, 0),
    },
    [DST_N_STARTING] = {
        LATE(STARTING), E(TOLD) = STAY(STARTING),
        E(LOADED) = STAY(STARTING), E(LOCKS) = STAY(STARTING), E(PAGES_IN) = STAY(STARTING),
        E(WRITTEN) = HAND(WRITTEN, 0), E(WRITE_FAILED) = HAND(WRITE_FAILED, 0),
        E(DATA) = STAY(STARTING), E(END) = STAY(STARTING),
        E(CUT) = STAY(STARTING), E(RECONNECTED) = STAY(STARTING), E(GIVE_UP) = STAY(STARTING),
        E(START) = HAND(START, 0), E(COMMIT) = STAY(STARTING), E(ABORT) = STAY(STARTING),
        E(ERROR) = STAY(STARTING),
        E(RESOLVE_OURS) = STAY(STARTING),
    },
    [DST_N_STARTED] = {
        LATE(STARTED), E(TOLD) = STAY(STARTED),
        E(LOADED) = STAY(STARTED), E(RUNS) = STAY(STARTED), E(PAGES_IN) = STAY(STARTED),
        E(DATA) = STAY(STARTED), E(END) = STAY(STARTED),
        E(CUT) = STAY(STARTED), E(RECONNECTED) = STAY(STARTED), E(GIVE_UP) = STAY(STARTED),
        E(START) = HAND(START, 0), E(COMMIT) = STAY(STARTED), E(ABORT) = STAY(STARTED),
        E(ERROR) = STAY(STARTED),
        E(RESOLVE_OURS) = STAY(STARTED),
    },
    [DST_N_POSTCOPY] = {
        LATE(POSTCOPY), E(TOLD) = STAY(POSTCOPY),
        E(LOADED) = STAY(POSTCOPY), E(PAGES_IN) = STAY(POSTCOPY),
        E(DATA) = STAY(POSTCOPY), E(END) = STAY(POSTCOPY),
        E(CUT) = TO(PAUSED, AGAIN), E(RECONNECTED) = ANSWER(POSTCOPY, RECONNECTED),
        E(GIVE_UP) = STAY(POSTCOPY),
        E(START) = ANSWER(POSTCOPY, START), E(COMMIT) = ANSWER(POSTCOPY, COMMIT),
        E(ABORT) = TO(PAUSED, TELL | AGAIN), E(ERROR) = TO(PAUSED, ABORTS | TELL | AGAIN),
        E(RESOLVE_OURS) = STAY(POSTCOPY),
    },
    [DST_N_PAUSED] = { /* what was under way still comes in */
        LATE(PAUSED), E(TOLD) = STAY(PAUSED),
        E(LOADED) = STAY(PAUSED), E(PAGES_IN) = STAY(PAUSED),
        E(DATA) = STAY(PAUSED), E(END) = STAY(PAUSED),
        E(CUT) = TO(PAUSED, AGAIN), E(RECONNECTED) = ANSWER(POSTCOPY, RECONNECTED),
        E(GIVE_UP) = TO(FAILED, TELL | FINISH),
        E(START) = ANSWER(PAUSED, START), E(COMMIT) = ANSWER(PAUSED, COMMIT),
        E(ABORT) = TO(PAUSED, TELL), E(ERROR) = TO(PAUSED, TELL),
        E(RESOLVE_OURS) = STAY(PAUSED),
    },
    [DST_N_RUNNING] = {
        LATE(RUNNING),
        E(LOADED) = STAY(RUNNING), E(PAGES_IN) = STAY(RUNNING),
        E(TOLD) = TO(COMPLETED, FINISH),
       
        E(CUT) = TO(RUNNING, AGAIN), E(RECONNECTED) = ANSWER(RUNNING, RECONNECTED),
        E(GIVE_UP) = TO(COMPLETED, TELL | FINISH),
        E(START) = ANSWER(RUNNING, START), E(COMMIT) = ANSWER(RUNNING, COMMIT),
        E(ABORT) = TO(COMPLETED, TELL | FINISH), E(ERROR) = STAY(RUNNING),
        E(RESOLVE_OURS) = STAY(RUNNING),
    },
    [DST_N_REFUSING] = {
        OVER(REFUSING),
        E(RECONNECTED) = STAY(REFUSING), E(START) = STAY(REFUSING), E(COMMIT) = STAY(REFUSING),
        E(WRITTEN) = HAND(WRITTEN, ABORTS | FINISH), E(WRITE_FAILED) = HAND(WRITE_FAILED, 0),
        E(RESOLVE_THEIRS) = STAY(REFUSING),
    },
    [DST_N_COMPLETED] = {
        OVER(COMPLETED),
        E(RECONNECTED) = ANSWER(COMPLETED, RECONNECTED), E(START) = ANSWER(COMPLETED, START),
        E(COMMIT) = ANSWER(COMPLETED, COMMIT),
       
        E(RESOLVE_OURS) = STAY(COMPLETED),
    },
    [DST_N_FAILED] = {
        OVER(FAILED),
        E(RECONNECTED) = ANSWER(FAILED, RECONNECTED), E(START) = ANSWER(FAILED, START),
        E(COMMIT) = ANSWER(FAILED, COMMIT),
       
        E(RESOLVE_THEIRS) = STAY(FAILED),
    },
};
/* clang-format on */

/* One event being worked on. */
struct turn {
    struct dst_native *m;
    const struct dst_native_event *event;
    struct dst_native_actions *out;
    struct vms_error *err;
    enum vms_code code;
};

static void act(struct turn *t, enum dst_native_action_kind kind, uint64_t value) {
    struct dst_native_action a = {.kind = kind,
                                  .device = t->event->device,
                                  .generation = t->event->generation,
                                  .value = value,
                                  .journal = t->m->handover.journal};
    if (kind >= DST_NDO_LOAD)
        a.generation = t->m->handover.generation;
    if (t->out->count < DST_NATIVE_ACTIONS_MAX)
        t->out->list[t->out->count++] = a;
}

static void do_deeds(struct turn *t, unsigned deeds) {
    static const enum dst_native_action_kind kinds[] = {
        DST_NDO_ASK_DEVICE, DST_NDO_SEND_GRANT, DST_NDO_SEND_REQUEST, DST_NDO_GRANTED, DST_NDO_LOAD,
        DST_NDO_ABORT,      DST_NDO_TELL,       DST_NDO_RECONNECT,    DST_NDO_FINISH};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        enum dst_native_action_kind k = kinds[i];
        bool wanted = deeds >> i & 1 && (k != DST_NDO_ABORT || t->m->code);
        uint64_t value = k == DST_NDO_ABORT ? t->m->code : k == DST_NDO_LOAD && t->m->postcopy;
        if (wanted)
            act(t, k, value);
    }
}

/* ---- the hand-over inside ---- */

static enum dst_native_state follow(const struct dst_native *m) {
    switch (m->handover.state) {
    case VMS_DST_LOADING: return m->state == DST_N_SETUP ? DST_N_SETUP : DST_N_PRECOPY;
    case VMS_DST_ASKED: return DST_N_ASKED;
    case VMS_DST_OPENING:
    case VMS_DST_READY: return DST_N_READY;
    case VMS_DST_STARTING: return DST_N_STARTING;
    case VMS_DST_STARTED: return DST_N_STARTED;
    case VMS_DST_RUNNING: return DST_N_RUNNING;
    case VMS_DST_REFUSING: return DST_N_REFUSING;
    case VMS_DST_REFUSED: return DST_N_FAILED;
    default: return DST_N_IN_DOUBT;
    }
}

static void fail(struct turn *t, enum vms_code code);

/*
 * [HND-1] The session is over, and nothing that comes behind the frame is carried out: before READY
 * was cut the guest will never run here. In doubt only the connection is over.
 */
static void refuse_frame(struct turn *t, enum vms_code code) {
    t->code = vms_error_set(t->err, code, "%s in state %s", dst_native_event_name(t->event->kind),
                            dst_native_state_name(t->m->state));
    if (t->m->state < DST_N_IN_DOUBT)
        fail(t, code);
    else
        act(t, DST_NDO_ABORT, code);
}

static void carry_out(struct turn *t, enum vms_handover_action action, enum vms_code refusal) {
    struct dst_native *m = t->m;
    switch (action) {
    case VMS_DO_NOTHING: break;
    case VMS_DO_WRITE: /* [MIG-30] no STARTED without the locks */
        if (m->handover.journal == VMS_JOURNAL_STARTED)
            act(t, DST_NDO_LOCKS, 1);
        else
            act(t, DST_NDO_WRITE, 0);
        break;
    case VMS_DO_SEND_READY: act(t, DST_NDO_SEND_READY, m->verdict); break;
    case VMS_DO_RUN: act(t, DST_NDO_RUN_GUEST, m->postcopy); break;
    case VMS_DO_SEND_RUNNING: act(t, DST_NDO_SEND_RUNNING, 0); break;
    case VMS_DO_SEND_NOT_STARTED: act(t, DST_NDO_SEND_NOT_STARTED, 0); break;
    case VMS_DO_RECONNECT: act(t, DST_NDO_RECONNECT, 0); break;
    case VMS_DO_TELL: act(t, DST_NDO_TELL, 0); break;
    case VMS_DO_REFUSE: refuse_frame(t, refusal); break;
    default: t->code = vms_error_set(t->err, VMS_E_MISUSE, "an order that cannot be"); break;
    }
}

static bool is_frame(unsigned hand) {
    return hand == VMS_DST_EV_START || hand == VMS_DST_EV_COMMIT;
}

/* Tells the hand-over. False: it refused. */
static bool hand_on(struct turn *t, unsigned hand) {
    enum vms_code refusal = VMS_E_HANDOVER_UNEXPECTED;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_START};
    enum vms_handover_action action;
    if (is_frame(hand)) {
        f.header.type = hand == VMS_DST_EV_START ? VMS_NATIVE_START : VMS_NATIVE_COMMIT;
        f.u.generation = t->event->generation;
        action = vms_handover_frame(&t->m->handover, &f, &refusal);
    } else {
        action = vms_handover_event(&t->m->handover, hand);
    }
    carry_out(t, action, refusal);
    return t->code == VMS_OK;
}

/* ---- what a table cannot say ---- */

/* The source, or this end, has done what must not be; where the guest is not ours it never will be.
 */
static void fail(struct turn *t, enum vms_code code) {
    struct dst_native *m = t->m;
    m->code = m->code ? m->code : code;
    if (m->state <= DST_N_IN_DOUBT) {
        struct vms_error first = *t->err;
        if (m->handover.state == VMS_DST_OPENING) {
            m->unfit = true;
        } else {
            (void)hand_on(t, VMS_DST_EV_BAD);
            m->state = follow(m);
        }
        *t->err = first;
    } else {
        act(t, DST_NDO_ABORT, m->code);
    }
    t->code = code;
}

static void unexpected(struct turn *t) {
    (void)vms_error_set(t->err, VMS_E_DST_UNEXPECTED, "%s in state %s",
                        dst_native_event_name(t->event->kind), dst_native_state_name(t->m->state));
    fail(t, VMS_E_DST_UNEXPECTED);
}

static bool is_of_handover(enum dst_native_event_kind kind) {
    return kind == DST_NEV_START || kind == DST_NEV_COMMIT;
}

static bool is_of_source(enum dst_native_event_kind kind) {
    return kind >= DST_NEV_DATA && kind <= DST_NEV_GRANT;
}

/* A frame that may not be is the source's fault, everything else the program's. */
static void refuse(struct turn *t) {
    if (is_of_handover(t->event->kind)) /* [HND-1] */
        carry_out(t, VMS_DO_REFUSE, VMS_E_HANDOVER_UNEXPECTED);
    else if (is_of_source(t->event->kind))
        unexpected(t);
    else
        t->code = vms_error_set(t->err, VMS_E_MISUSE, "%s in state %s",
                                dst_native_event_name(t->event->kind),
                                dst_native_state_name(t->m->state));
}

/* [MIG-20] START without END is postcopy's. */
static bool start_is_good(struct turn *t) {
    bool postcopy = !t->m->ended;
    if (!postcopy || t->m->features & VMS_FEATURE_POSTCOPY)
        return true;
    (void)vms_error_set(t->err, VMS_E_DST_INCOMPLETE, "START before END");
    fail(t, VMS_E_DST_INCOMPLETE);
    return false;
}

/* [HND-3] While STARTED is written and the guest let go, COMMIT says nothing new, if it is ours. */
static bool is_of_another_attempt(const struct turn *t) {
    enum dst_native_state state = t->m->state;
    return (state == DST_N_STARTING || state == DST_N_STARTED) &&
           t->event->generation != t->m->handover.generation;
}

/* [HND-8] Memory that differs never runs, whatever the source says. */
static bool is_different(struct turn *t) {
    bool runs = t->event->kind == DST_NEV_COMMIT || t->event->kind == DST_NEV_RESOLVE_OURS;
    bool waits = t->m->state == DST_N_READY || t->m->state == DST_N_IN_DOUBT;
    if (!runs || !waits || t->m->verdict != 2)
        return false;
    (void)vms_error_set(t->err, VMS_E_HANDOVER_DIGEST, NULL);
    fail(t, VMS_E_HANDOVER_DIGEST);
    return true;
}

/* In postcopy only, and END not twice: what the table leaves open. */
static bool is_out_of_place(const struct dst_native *m, enum dst_native_event_kind kind) {
    bool late = m->state == DST_N_STARTING || m->state == DST_N_STARTED;
    if (kind == DST_NEV_END)
        return m->ended;
    return kind == DST_NEV_DATA && late && !m->postcopy;
}

/* Before the table: what the event tells. False: the event is done with. */
static bool learn(struct turn *t) {
    struct dst_native *m = t->m;
    const struct dst_native_event *e = t->event;
    switch (e->kind) {
    case DST_NEV_HELLO: m->features = m->state == DST_N_SETUP ? e->value : m->features; break;
    case DST_NEV_CUT: m->cut = true; break;
    case DST_NEV_RECONNECTED: m->cut = false; break;
    case DST_NEV_ERROR: m->code = m->code ? m->code : e->value; break;
    case DST_NEV_GIVE_UP: m->code = m->code ? m->code : VMS_E_TIMEOUT; break;
    case DST_NEV_WRITE_FAILED: m->code = m->code ? m->code : VMS_E_HANDOVER_JOURNAL; break;
    case DST_NEV_TOLD: m->told = true; break;
    case DST_NEV_PAGES_IN: m->pages_in = m->state >= DST_N_STARTING; break;
    case DST_NEV_START:
        if (m->state == DST_N_PRECOPY && !start_is_good(t))
            return false;
        break;
    case DST_NEV_COMMIT:
        if (!is_of_another_attempt(t))
            break;
        carry_out(t, VMS_DO_REFUSE, VMS_E_HANDOVER_GENERATION);
        return false;
    case DST_NEV_LOADED:
        if (e->generation != m->handover.generation) /* of an older attempt */
            return false;
        if (m->state == DST_N_ASKED)
            m->verdict = e->value;
        break;
    default: break;
    }
    return !is_different(t);
}

static void locks(struct turn *t) {
    if (t->event->value == 0 && !t->m->unfit) {
        act(t, DST_NDO_WRITE, 0);
        return;
    }
    if (t->event->value == 0)
        act(t, DST_NDO_LOCKS, 0);
    t->m->code = t->m->code ? t->m->code : t->event->value;
    (void)hand_on(t, VMS_DST_EV_WRITE_FAILED); /* [HND-15] NOT_STARTED instead of STARTED */
    t->m->state = follow(t->m);
}

static void settle_pages(struct turn *t) {
    struct dst_native *m = t->m;
    bool open = m->state == DST_N_POSTCOPY || m->state == DST_N_PAUSED;
    if (!open || !m->pages_in || !m->ended)
        return;
    m->state = m->told ? DST_N_COMPLETED : DST_N_RUNNING;
    if (m->told)
        act(t, DST_NDO_FINISH, 0);
}

/* [HND-17] Nothing of it has run, and nothing of it is left in a device: the source may have it. */
static void halted(struct turn *t) {
    struct dst_native *m = t->m;
    m->code = m->code ? m->code : t->event->value;
    act(t, DST_NDO_LOCKS, 0); /* before the source takes them */
    (void)hand_on(t, VMS_DST_EV_BAD);
    m->state = follow(m);
}

static void runs(struct turn *t) {
    struct dst_native *m = t->m;
    if (t->event->value) {
        halted(t);
        return;
    }
    m->guest_runs = true;
    act(t, DST_NDO_ANNOUNCE, 0);
    (void)hand_on(t, VMS_DST_EV_RAN);
    m->state = !m->postcopy ? DST_N_RUNNING : m->cut ? DST_N_PAUSED : DST_N_POSTCOPY;
    settle_pages(t);
    if (m->cut)
        act(t, DST_NDO_RECONNECT, 0);
}

/* After the table: what follows from both. */
static void conclude(struct turn *t, enum dst_native_state before) {
    struct dst_native *m = t->m;
    enum dst_native_event_kind k = t->event->kind;
    if (k == DST_NEV_START && m->state == DST_N_ASKED)
        m->postcopy = !m->ended;
    if (k == DST_NEV_END)
        m->ended = true;
    if (k == DST_NEV_ERROR && m->state == DST_N_STARTING)
        m->unfit = true;
    if (k == DST_NEV_LOCKS && before == DST_N_STARTING)
        locks(t);
    if (k == DST_NEV_RUNS && before == DST_N_STARTED)
        runs(t);
    if (k == DST_NEV_WRITE_FAILED && before == DST_N_STARTING)
        act(t, DST_NDO_LOCKS, 0);
    if (m->unfit && m->handover.state == VMS_DST_READY) {
        t->out->count = 0; /* READY is not sent after all */
        (void)hand_on(t, VMS_DST_EV_BAD);
        m->state = follow(m);
    } else if (m->cut && m->handover.state == VMS_DST_READY) {
        (void)hand_on(t, VMS_DST_EV_CUT);
        m->state = follow(m);
    }
    if (k == DST_NEV_GIVE_UP && before == DST_N_PAUSED && m->pages_in)
        m->state = DST_N_COMPLETED; /* [MIG-27] END would only have said so */
    settle_pages(t);
}

/* [HND-5] OPEN and NOT_STARTED are under way: what cannot wait for them is remembered. */
static bool is_put_off(struct turn *t, const struct cell *cell) {
    bool gives_up = cell->hand == VMS_DST_EV_BAD || cell->hand == VMS_DST_EV_GIVE_UP;
    if (cell->move != FOLLOW || t->m->handover.state != VMS_DST_OPENING || !gives_up)
        return false;
    t->m->unfit = true;
    return true;
}

static bool step(struct turn *t) {
    struct dst_native *m = t->m;
    const struct cell *cell = &TABLE[m->state][t->event->kind];
    if (is_out_of_place(m, t->event->kind) && m->state < DST_N_REFUSING) {
        unexpected(t);
        return false;
    }
    switch ((enum move)cell->move) {
    case REFUSED: refuse(t); return false;
    case TAKE:
        if (cell->hand != NO_HAND && !hand_on(t, cell->hand))
            return false;
        m->state = (enum dst_native_state)cell->next;
        do_deeds(t, cell->deeds);
        return true;
    case FOLLOW: break;
    }
    if (is_put_off(t, cell))
        return false;
    bool was_unknown = m->handover.state == VMS_DST_UNKNOWN;
    if (!hand_on(t, cell->hand))
        return false;
    m->state = follow(m);
    if (m->state == DST_N_ASKED)
        m->postcopy = !m->ended;
    if (m->state != DST_N_IN_DOUBT && !was_unknown)
        do_deeds(t, cell->deeds);
    return true;
}

enum vms_code dst_native_event(struct dst_native *m, const struct dst_native_event *event,
                               struct dst_native_actions *out, struct vms_error *err) {
    struct turn t = {m, event, out, err, VMS_OK};
    enum dst_native_state before = m->state;
    out->count = 0;
    if ((unsigned)event->kind >= DST_NEV_COUNT)
        return vms_error_set(err, VMS_E_MISUSE, "event %u", (unsigned)event->kind);
    if (learn(&t) && step(&t))
        conclude(&t, before);
    return t.code;
}

void dst_native_init(struct dst_native *m) {
    *m = (struct dst_native){.state = DST_N_SETUP};
    vms_handover_init(&m->handover, VMS_ROLE_DESTINATION);
}

void dst_native_recover(struct dst_native *m, enum vms_journal journal, uint64_t generation,
                        struct dst_native_actions *out) {
    static const struct dst_native_event none = {.kind = DST_NEV_RECONNECTED};
    struct vms_error ignored;
    struct turn t = {m, &none, out, &ignored, VMS_OK};
    out->count = 0;
    dst_native_init(m);
    enum vms_handover_action action =
        vms_handover_recover(&m->handover, VMS_ROLE_DESTINATION, journal, generation);
    bool lost = m->handover.state == VMS_DST_RUNNING;
    m->state = lost ? DST_N_FAILED : follow(m);
    if (lost)
        act(&t, DST_NDO_TELL, 0);
    carry_out(&t, action, VMS_OK);
}

bool dst_native_may_run(const struct dst_native *m) {
    return vms_handover_may_run(&m->handover);
}

const char *dst_native_state_name(enum dst_native_state state) {
    static const char *const names[DST_N_STATE_COUNT] = {
        "setup",    "precopy", "asked",   "ready",    "in-doubt",  "starting", "started",
        "postcopy", "paused",  "running", "refusing", "completed", "failed"};
    return (unsigned)state < DST_N_STATE_COUNT ? names[state] : "?";
}

const char *dst_native_event_name(enum dst_native_event_kind kind) {
    static const char *const names[DST_NEV_COUNT] = {
        "HELLO",        "a cut",        "reconnected",     "giving up",
        "data",         "end of setup", "START",           "COMMIT",
        "END",          "ABORT",        "REQUEST",         "GRANT",
        "loaded",       "locks",        "journal written", "journal not written",
        "guest runs",   "pages in",     "device ready",    "device needs time",
        "source knows", "an error",     "order: ours",     "order: theirs"};
    return (unsigned)kind < DST_NEV_COUNT ? names[kind] : "?";
}

const char *dst_native_action_name(enum dst_native_action_kind kind) {
    static const char *const names[DST_NDO_COUNT] = {
        "ask-device", "send-grant", "send-request", "granted",  "load",         "locks",
        "write",      "send-ready", "run-guest",    "announce", "send-running", "send-not-started",
        "reconnect",  "tell",       "abort",        "finish"};
    return (unsigned)kind < DST_NDO_COUNT ? names[kind] : "?";
}
