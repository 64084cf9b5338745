/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/handover.h>

/*
 * The two tables against a world that cuts, delays, crashes and fails to write, searched whole:
 * [HND-2] [HND-17]. What may happen is written from spec/03.1-session.md.
 */
enum {
    QUEUE = 3,
    GENERATIONS = 3,
    BUDGET = 8, /* cuts, crashes and failures in one run */
    STATES_MAX = 1 << 21,
};

struct message {
    uint8_t type;
    uint8_t generation;
    uint8_t verdict;
};

struct end {
    uint8_t state, generation, journal; /* the machine */
    uint8_t writing;                    /* WRITE was ordered, and is not over */
    uint8_t durable, durable_generation;
};

struct world {
    struct end src, dst;
    uint8_t up;
    uint8_t guest;   /* the source has the guest in memory */
    uint8_t ran;     /* generation after whose START the source has run the guest again */
    uint8_t loaded;  /* generation that the destination has loaded whole */
    uint8_t started; /* generation that the destination has run */
    uint8_t budget;  /* cuts, crashes and failures left */
    uint8_t forward_count, back_count;
    struct message forward[QUEUE], back[QUEUE];
};

static struct world *seen;
static uint8_t *used;
static struct world *todo;
static size_t todo_count, seen_count;
static bool reached_src[VMS_SRC_STATES], reached_dst[VMS_DST_STATES];

static uint64_t hash_of(const struct world *w) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *w; i++)
        h = (h ^ ((const uint8_t *)w)[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static void note(const struct world *w) {
    for (size_t i = (size_t)hash_of(w) % STATES_MAX;; i = (i + 1) % STATES_MAX) {
        if (!used[i]) {
            used[i] = 1;
            seen[i] = *w;
            cr_assert_lt(++seen_count, STATES_MAX / 2);
            todo[todo_count++] = *w;
            return;
        }
        if (memcmp(&seen[i], w, sizeof *w) == 0)
            return;
    }
}

/* ---- running the machines ---- */

static struct vms_handover machine(const struct end *e, enum vms_native_role role) {
    return (struct vms_handover){role, e->state, e->generation, (enum vms_journal)e->journal};
}

static void store(struct end *e, const struct vms_handover *h) {
    e->state = (uint8_t)h->state;
    e->generation = (uint8_t)h->generation;
    e->journal = (uint8_t)h->journal;
}

static void push(struct message *queue, uint8_t *count, uint8_t type, uint64_t generation,
                 uint8_t verdict) {
    if (*count < QUEUE)
        queue[(*count)++] = (struct message){type, (uint8_t)generation, verdict};
}

static void event(struct world *w, enum vms_native_role role, unsigned ev);

static void cut(struct world *w) {
    if (!w->up)
        return;
    w->up = 0;
    memset(w->forward, 0, sizeof w->forward);
    memset(w->back, 0, sizeof w->back);
    w->forward_count = w->back_count = 0;
    event(w, VMS_ROLE_SOURCE, VMS_SRC_EV_CUT);
    event(w, VMS_ROLE_DESTINATION, VMS_DST_EV_CUT);
}

static void send_forward(struct world *w, uint8_t type) {
    if (w->up)
        push(w->forward, &w->forward_count, type, w->src.generation, 0);
}

static void send_back(struct world *w, uint8_t type) {
    if (w->up)
        push(w->back, &w->back_count, type, w->dst.generation, 0);
}

/* [HND-4], [HND-5], [HND-10] hold by order: what is sent is asked of the journal here. */
static void carry_out(struct world *w, enum vms_native_role role, enum vms_handover_action action) {
    struct end *e = role == VMS_ROLE_SOURCE ? &w->src : &w->dst;
    switch (action) {
    case VMS_DO_STOP: send_forward(w, VMS_NATIVE_START); break;
    case VMS_DO_RUN:
        if (role == VMS_ROLE_SOURCE) {
            w->ran = w->src.generation;
            break;
        }
        cr_assert_eq(w->dst.durable, VMS_JOURNAL_STARTED);
        cr_assert_neq(w->ran, w->dst.generation, "an old state is started");
        break;
    case VMS_DO_WRITE: e->writing = 1; break;
    case VMS_DO_SEND_READY:
        cr_assert_eq(w->dst.durable, VMS_JOURNAL_OPEN);
        cr_assert_eq(w->loaded, w->dst.generation, "READY for what is not loaded");
        send_back(w, VMS_NATIVE_READY);
        break;
    case VMS_DO_SEND_COMMIT:
        cr_assert_eq(w->src.durable, VMS_JOURNAL_COMMITTED);
        /* [HND-9] A COMMIT for a guest that has moved on goes to one that will never start it. */
        cr_assert(w->ran != w->src.generation || w->dst.durable == VMS_JOURNAL_NOT_STARTED);
        send_forward(w, VMS_NATIVE_COMMIT);
        break;
    case VMS_DO_SEND_RUNNING:
        cr_assert_eq(w->dst.durable, VMS_JOURNAL_STARTED);
        send_back(w, VMS_NATIVE_RUNNING);
        break;
    case VMS_DO_SEND_NOT_STARTED:
        cr_assert_eq(w->dst.durable, VMS_JOURNAL_NOT_STARTED);
        cr_assert_not(w->started, "NOT_STARTED of a guest that has run"); /* [HND-17] */
        send_back(w, VMS_NATIVE_NOT_STARTED);
        break;
    case VMS_DO_REFUSE: cut(w); break;
    default: break;
    }
}

static void event(struct world *w, enum vms_native_role role, unsigned ev) {
    struct end *e = role == VMS_ROLE_SOURCE ? &w->src : &w->dst;
    struct vms_handover h = machine(e, role);
    enum vms_handover_action action = vms_handover_event(&h, ev);
    cr_assert_neq(action, VMS_DO_MISUSE, "%s: event %u", vms_handover_state_name(&h), ev);
    store(e, &h);
    carry_out(w, role, action);
}

static struct message pop(struct message *queue, uint8_t *count) {
    struct message m = queue[0];
    memmove(queue, queue + 1, (QUEUE - 1) * sizeof *queue);
    memset(&queue[QUEUE - 1], 0, sizeof *queue);
    (*count)--;
    return m;
}

static void deliver(struct world *w, enum vms_native_role to) {
    bool source = to == VMS_ROLE_SOURCE;
    struct message m = source ? pop(w->back, &w->back_count) : pop(w->forward, &w->forward_count);
    struct end *e = source ? &w->src : &w->dst;
    struct vms_handover h = machine(e, to);
    struct vms_native_frame f = {.header.type = m.type};
    enum vms_code code;
    if (m.type == VMS_NATIVE_READY)
        f.u.ready = (struct vms_native_ready){m.generation, m.verdict, 0};
    else
        f.u.generation = m.generation;
    enum vms_handover_action action = vms_handover_frame(&h, &f, &code);
    cr_assert_neq(action, VMS_DO_MISUSE);
    cr_assert(action != VMS_DO_REFUSE || w->budget < BUDGET, "%s in %s",
              vms_native_type_name(m.type), vms_handover_state_name(&h));
    store(e, &h);
    carry_out(w, to, action);
}

/* ---- what may happen ---- */

static void finish_write(struct world *w, enum vms_native_role role, bool durable, bool told) {
    struct end *e = role == VMS_ROLE_SOURCE ? &w->src : &w->dst;
    e->writing = 0;
    if (durable) {
        e->durable = e->journal;
        e->durable_generation = e->generation;
    }
    if (role == VMS_ROLE_SOURCE)
        event(w, role, told ? VMS_SRC_EV_WRITTEN : VMS_SRC_EV_WRITE_FAILED);
    else
        event(w, role, told ? VMS_DST_EV_WRITTEN : VMS_DST_EV_WRITE_FAILED);
}

static void crash(struct world *w, enum vms_native_role role, bool durable) {
    struct end *e = role == VMS_ROLE_SOURCE ? &w->src : &w->dst;
    struct vms_handover h;
    if (e->writing && durable) {
        e->durable = e->journal;
        e->durable_generation = e->generation;
    }
    e->writing = 0;
    if (role == VMS_ROLE_DESTINATION && e->state == VMS_DST_STARTED)
        w->started = e->generation; /* who knows */
    cut(w);
    e->writing = 0; /* what the cut ordered was not begun */
    enum vms_handover_action action =
        vms_handover_recover(&h, role, (enum vms_journal)e->durable, e->durable_generation);
    store(e, &h);
    if (role == VMS_ROLE_SOURCE)
        w->guest = 0;
    carry_out(w, role, action);
}

static void reconnect(struct world *w) {
    w->up = 1;
    event(w, VMS_ROLE_SOURCE, VMS_SRC_EV_RECONNECTED);
    event(w, VMS_ROLE_DESTINATION, VMS_DST_EV_RECONNECTED);
}

static void load(struct world *w) {
    w->loaded = w->dst.generation;
    event(w, VMS_ROLE_DESTINATION, VMS_DST_EV_LOADED);
}

/* [HND-17] The devices and virtual CPUs of STARTED are released, or one of them cannot be. */
static void let_go(struct world *w, bool runs) {
    if (runs)
        w->started = w->dst.generation;
    event(w, VMS_ROLE_DESTINATION, runs ? VMS_DST_EV_RAN : VMS_DST_EV_BAD);
}

#define TRY(condition, what)                                                                       \
    do {                                                                                           \
        if (condition) {                                                                           \
            struct world n = *w;                                                                   \
            what;                                                                                  \
            note(&n);                                                                              \
        }                                                                                          \
    } while (0)
#define TRY_BAD(condition, what) TRY(w->budget && (condition), n.budget--; what)

static bool dst_may_give_up(const struct world *w) {
    return w->dst.state == VMS_DST_LOADING || w->dst.state == VMS_DST_ASKED ||
           w->dst.state == VMS_DST_READY || w->dst.state == VMS_DST_WAITING;
}

static void expand(const struct world *w) {
    const enum vms_native_role S = VMS_ROLE_SOURCE, D = VMS_ROLE_DESTINATION;
    bool begin = w->src.state == VMS_SRC_OURS && w->guest && w->up;
    TRY(begin && w->src.generation < GENERATIONS, event(&n, S, VMS_SRC_EV_BEGIN));
    TRY(w->forward_count, deliver(&n, D));
    TRY(w->back_count, deliver(&n, S));
    TRY(w->src.writing, finish_write(&n, S, true, true));
    TRY(w->dst.writing, finish_write(&n, D, true, true));
    TRY(w->dst.state == VMS_DST_ASKED && !w->dst.writing, load(&n));
    TRY(w->dst.state == VMS_DST_STARTED, let_go(&n, true));
    TRY(!w->up && !(w->src.state == VMS_SRC_ASKED), reconnect(&n));
    TRY(w->src.state == VMS_SRC_ASKED, event(&n, S, VMS_SRC_EV_TIMEOUT));
    TRY_BAD(w->src.writing, finish_write(&n, S, true, false));
    TRY_BAD(w->src.writing, finish_write(&n, S, false, false));
    TRY_BAD(w->dst.writing, finish_write(&n, D, true, false));
    TRY_BAD(w->dst.writing, finish_write(&n, D, false, false));
    TRY_BAD(w->dst.state == VMS_DST_STARTED, let_go(&n, false));
    TRY_BAD(w->up, cut(&n));
    TRY_BAD(dst_may_give_up(w) && !w->dst.writing, event(&n, D, VMS_DST_EV_GIVE_UP));
    TRY_BAD(true, crash(&n, S, true));
    TRY_BAD(true, crash(&n, S, false));
    TRY_BAD(true, crash(&n, D, true));
    TRY_BAD(true, crash(&n, D, false));
}

static bool runs(const struct end *e, enum vms_native_role role) {
    struct vms_handover h = machine(e, role);
    return vms_handover_may_run(&h);
}

/* [HND-2] [HND-6] */
static void check_safe(const struct world *w) {
    bool src = runs(&w->src, VMS_ROLE_SOURCE), dst = runs(&w->dst, VMS_ROLE_DESTINATION);
    cr_assert(!(src && dst), "both may run: source %u, destination %u", w->src.state, w->dst.state);
    cr_assert(!(src && w->started == w->src.generation && w->started),
              "the source runs what the destination has run");
    reached_src[w->src.state] = true;
    reached_dst[w->dst.state] = true;
}

/*
 * When nothing goes wrong any more the question is settled: one end may run, or the destination has
 * refused and tells so, unless a journal could not be written.
 */
static void check_settles(struct world w) {
    for (int i = 0; i < 40; i++) {
        if (!w.up && w.src.state != VMS_SRC_ASKED)
            reconnect(&w);
        else if (w.src.writing)
            finish_write(&w, VMS_ROLE_SOURCE, true, true);
        else if (w.dst.writing)
            finish_write(&w, VMS_ROLE_DESTINATION, true, true);
        else if (w.forward_count)
            deliver(&w, VMS_ROLE_DESTINATION);
        else if (w.back_count)
            deliver(&w, VMS_ROLE_SOURCE);
        else if (w.dst.state == VMS_DST_ASKED)
            load(&w);
        else if (w.dst.state == VMS_DST_STARTED)
            let_go(&w, true);
        else if (w.src.state == VMS_SRC_ASKED)
            event(&w, VMS_ROLE_SOURCE, VMS_SRC_EV_TIMEOUT);
    }
    bool settled = runs(&w.src, VMS_ROLE_SOURCE) || runs(&w.dst, VMS_ROLE_DESTINATION);
    bool stuck = w.dst.state == VMS_DST_UNKNOWN || w.src.state == VMS_SRC_CANCELLING;
    cr_assert(settled || stuck, "source %u, destination %u", w.src.state, w.dst.state);
}

Test(handover_model, never_both_run, .timeout = 300) {
    struct world first = {0};
    first.up = first.guest = 1;
    first.budget = BUDGET;
    seen = calloc(STATES_MAX, sizeof *seen);
    used = calloc(STATES_MAX, 1);
    todo = calloc(STATES_MAX, sizeof *todo);
    note(&first);
    while (todo_count) {
        struct world w = todo[--todo_count];
        check_safe(&w);
        check_settles(w);
        expand(&w);
    }
    for (unsigned s = 0; s < VMS_SRC_STATES; s++)
        cr_assert(reached_src[s] || s == VMS_SRC_UNKNOWN, "source state %u is never reached", s);
    for (unsigned s = 0; s < VMS_DST_STATES; s++)
        cr_assert(reached_dst[s], "destination state %u is never reached", s);
    cr_log_info("%zu worlds", seen_count);
    free(seen), free(used), free(todo);
}
