/* SPDX-License-Identifier: MIT */
#include "reference-dst/engine/native.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The destination of native migrations. Once as words of a small language, whole migrations as they
 * go in the field; and once as a search through everything that can happen in any order, with a
 * journal, locks and a guest as they are in a computer, against what HND and MIG promise.
 */

enum {
    GENERATION = 1,
};

static struct dst_native_event event(enum dst_native_event_kind kind) {
    struct dst_native_event e = {.kind = kind, .generation = GENERATION};
    if (kind == DST_NEV_HELLO)
        e.value = VMS_FEATURE_POSTCOPY;
    if (kind == DST_NEV_LOADED)
        e.value = 1;
    if (kind == DST_NEV_ERROR)
        e.value = VMS_E_IO;
    return e;
}

/* RUNS, and it does not. */
static const char HALTED = 'H';

/* in the order of enum dst_native_event_kind, by letter */
static enum dst_native_event_kind kind_of(char letter) {
    static const char order[] = "hxrgDsSCEAqGlkwWRpdntz12";
    if (letter == HALTED)
        return DST_NEV_RUNS;
    return (enum dst_native_event_kind)(strchr(order, letter) - order);
}

struct path {
    const char *events;
    const char *states; /* after each event, by the first letters of names below */
    const char *actions;
};

/* s setup p precopy a asked r ready i in-doubt S starting T started P postcopy U paused R running
 * f refusing C completed F failed */
static const char STATES[] = "spariSTPURfCF";

static const char *const ACTIONS[DST_NDO_COUNT] = {
    "ask", "grant",    "req", "granted", "load", "locks", "write", "ready",
    "run", "announce", "RUN", "NOT",     "rec",  "tell",  "abort", "fin"};

/* Derived by hand from HND and MIG, not from the table. */
static const struct path PATHS[] = {
    /* precopy */
    {"hDsDDESlwCkwRt", "sspppparrSSTRC",
     "- - - - - - load write ready locks write run announce+RUN fin"},
    /* postcopy; the source knows before the last page has come, or after it */
    {"hDsSlwCkwRDtEp", "ssparrSSTPPPPC", NULL},
    {"hsSlwCkwRpEt", "sparrSSTPPRC", NULL},
    /* [MIG-27] the session is given up when every page is in, and before */
    {"hsSlwCkwRpxg", "sparrSSTPPUC", NULL},
    {"hsSlwCkwRxg", "sparrSSTPUF", NULL},
    /* cut while the source's answer to READY is awaited; cut before: the attempt is over */
    {"hsESlwxrC", "spparrirS", "- - - load write ready rec ready locks"},
    {"hsESxg", "sppapf", "- - - load rec write"},
    /* the operator, in doubt */
    {"hsESlwx1kwR", "spparriSSTR", NULL},
    {"hsESlwx2w", "spparrifF", "- - - load write ready rec write NOT+fin"},
    /* it cannot take the guest */
    {"hszw", "spfF", "- - write NOT+abort+fin"},
    /* no reconnection in time */
    {"hsxg", "sppf", "- - rec write"},
    /* the source says so: no word back */
    {"hsAw", "spfF", "- - write NOT+fin"},
    /* journals that fail */
    {"hsESlWw", "spparfF", "- - - load write write NOT+abort+fin"},
    {"hsESlwCkWw", "spparrSSfF", "- - - load write ready locks write write+locks NOT+abort+fin"},
    {"hsESlWW", "spparfi", "- - - load write write tell"},
    /* COMMIT again, after the guest runs */
    {"hsESlwCkwRxrC", "spparrSSTRRRR",
     "- - - load write ready locks write run announce+RUN rec RUN RUN"},
    {"hsESlwCkwRxg", "spparrSSTRRC", NULL},
    /* postcopy, cut and back, twice; given up; cut while it starts */
    {"hsSlwCkwRxrxrpEt", "sparrSSTPUPUPPRC", NULL},
    {"hsSlwCkwRxg", "sparrSSTPUF", NULL},
    {"hsSlwCxkwR", "sparrSSSTU", NULL},
    /* [HND-17] a device, or a virtual CPU, that cannot be released: precopy, postcopy, asked twice,
     * without a connection; and a journal that fails then */
    {"hsESlwCkwHw", "spparrSSTfF",
     "- - - load write ready locks write run locks+write NOT+abort+fin"},
    {"hsSlwCkwHw", "sparrSSTfF", NULL},
    {"hsESlwCkwCxrCHCw", "spparrSSTTTTTffF",
     "- - - load write ready locks write run - - - - locks+write - NOT+abort+fin"},
    {"hsESlwCkwxHwrC", "spparrSSTTfFFF",
     "- - - load write ready locks write run - locks+write NOT+abort+fin NOT NOT"},
    {"hsESlwCkwHWC2w", "spparrSSTfiifF",
     "- - - load write ready locks write run locks+write tell tell write NOT+abort+fin"},
    /* devices that take their time */
    {"hqdsnqd", "ssspppp", "- ask grant - req ask grant"},
};

static char state_letter(enum dst_native_state s) {
    return STATES[s];
}

static void describe(const struct dst_native_actions *a, char *text, size_t size) {
    size_t at = 0;
    text[0] = 0;
    if (!a->count)
        (void)snprintf(text, size, "-");
    for (size_t i = 0; i < a->count; i++)
        at +=
            (size_t)snprintf(text + at, size - at, "%s%s", i ? "+" : "", ACTIONS[a->list[i].kind]);
}

static void walk(const struct path *p) {
    struct dst_native m;
    struct dst_native_actions out;
    char states[64] = "", actions[512] = "", one[128];
    dst_native_init(&m);
    for (size_t i = 0; p->events[i]; i++) {
        struct vms_error err = {0};
        struct dst_native_event e = event(kind_of(p->events[i]));
        e.value = p->events[i] == HALTED ? (uint64_t)VMS_E_VFIO_DEVICE : e.value;
        cr_expect_eq(dst_native_event(&m, &e, &out, &err), VMS_OK, "%s, event %zu: %s", p->events,
                     i, err.message);
        states[i] = state_letter(m.state);
        describe(&out, one, sizeof one);
        if (i)
            (void)strcat(actions, " ");
        (void)strcat(actions, one);
    }
    cr_expect_str_eq(states, p->states, "%s: %s", p->events, states);
    if (p->actions)
        cr_expect_str_eq(actions, p->actions, "%s: %s", p->events, actions);
}

/* [MIG-1] [HND-5] [HND-8] [HND-10] [HND-12] [HND-17] */
Test(dst_native, paths) {
    for (size_t i = 0; i < sizeof PATHS / sizeof *PATHS; i++)
        walk(&PATHS[i]);
}

/* ---- everything that can happen ---- */

/* The computer around the machine: what is durable, and what is being done. */
struct world {
    struct dst_native m;
    enum vms_journal durable, writing; /* NONE: no write is under way */
    bool locks, taking, releasing, loading;
    bool sent_ready, sent_running, sent_not_started, told_refusal, finished;
    bool committed; /* COMMIT was received, or the operator promised */
    unsigned starts;
};

/* Whether the computer, or the source, can bring this event about now. */
static bool possible(const struct world *w, enum dst_native_event_kind k) {
    switch (k) {
    case DST_NEV_WRITTEN:
    case DST_NEV_WRITE_FAILED: return w->writing != VMS_JOURNAL_NONE;
    case DST_NEV_LOCKS: return w->taking;
    case DST_NEV_RUNS: return w->releasing;
    case DST_NEV_LOADED: return w->loading;
    case DST_NEV_TOLD: return w->sent_running;
    case DST_NEV_START: return w->starts < 2;
    default: return true;
    }
}

static void carry_out(struct world *w, const struct dst_native_action *a) {
    switch (a->kind) {
    case DST_NDO_WRITE: w->writing = a->journal; break;
    case DST_NDO_LOCKS:
        w->taking = a->value;
        w->locks = false;
        break;
    case DST_NDO_LOAD: w->loading = true; break;
    case DST_NDO_SEND_READY:
        cr_assert_eq(w->durable, VMS_JOURNAL_OPEN); /* [HND-5] */
        w->sent_ready = true;
        break;
    case DST_NDO_RUN_GUEST:
        cr_assert_eq(w->durable, VMS_JOURNAL_STARTED); /* [HND-5] */
        cr_assert(w->locks);                           /* [HND-15] [MIG-30] */
        cr_assert(w->committed);                       /* [HND-2] */
        cr_assert_not(w->sent_not_started);
        w->releasing = true;
        break;
    case DST_NDO_SEND_RUNNING:
        cr_assert_eq(w->durable, VMS_JOURNAL_STARTED);
        cr_assert_not(w->sent_not_started);
        cr_assert(w->m.guest_runs); /* [HND-17] */
        w->sent_running = true;
        break;
    case DST_NDO_SEND_NOT_STARTED:
        cr_assert_eq(w->durable, VMS_JOURNAL_NOT_STARTED); /* [HND-10] */
        cr_assert_not(w->m.guest_runs || w->releasing);    /* [HND-17] */
        cr_assert_not(w->locks);                           /* [MIG-30] */
        w->sent_not_started = true;
        break;
    case DST_NDO_FINISH:
        cr_assert_not(w->finished, "FINISH twice");
        w->finished = true;
        break;
    default: break;
    }
}

static void check(const struct world *w) {
    const struct dst_native *m = &w->m;
    bool ours = m->handover.state == VMS_DST_STARTED || m->handover.state == VMS_DST_RUNNING;
    bool after = m->state >= DST_N_STARTED && m->state <= DST_N_RUNNING;
    cr_assert_eq(dst_native_may_run(m), ours);
    if (after || m->state == DST_N_COMPLETED)
        cr_assert(ours);
    if (m->state <= DST_N_STARTING || m->state == DST_N_REFUSING)
        cr_assert_not(ours);
    if (m->state == DST_N_COMPLETED)
        cr_assert(m->guest_runs);
    cr_assert_eq(w->finished, m->state == DST_N_COMPLETED || m->state == DST_N_FAILED);
    if (m->state == DST_N_READY)
        cr_assert(m->handover.state == VMS_DST_READY || m->handover.state == VMS_DST_OPENING);
    if (m->state == DST_N_REFUSING)
        cr_assert_eq(w->writing, VMS_JOURNAL_NOT_STARTED);
    if (m->state == DST_N_POSTCOPY)
        cr_assert_not(m->cut);
}

static struct world happen(const struct world *before, enum dst_native_event_kind k,
                           uint64_t value) {
    struct world w = *before;
    struct dst_native_actions out;
    struct vms_error err = {0};
    struct dst_native_event e = event(k);
    e.value = value ? value : e.value;
    e.generation = w.m.handover.generation + (k == DST_NEV_START);
    w.starts += k == DST_NEV_START;
    if (k == DST_NEV_WRITTEN)
        w.durable = w.writing;
    if (k == DST_NEV_WRITTEN || k == DST_NEV_WRITE_FAILED)
        w.writing = VMS_JOURNAL_NONE;
    if (k == DST_NEV_LOCKS) {
        w.locks = value == 0;
        w.taking = false;
    }
    if (k == DST_NEV_RUNS)
        w.releasing = false;
    if (k == DST_NEV_LOADED)
        w.loading = false;
    enum dst_native_state was = w.m.state;
    enum vms_code code = dst_native_event(&w.m, &e, &out, &err);
    if (code == VMS_OK && w.m.state == DST_N_STARTING && was != DST_N_STARTING)
        w.committed = k == DST_NEV_COMMIT || k == DST_NEV_RESOLVE_OURS;
    if (code == VMS_E_MISUSE)
        cr_assert_eq(was, w.m.state);
    cr_assert_leq(out.count, DST_NATIVE_ACTIONS_MAX);
    for (size_t i = 0; i < out.count; i++)
        carry_out(&w, &out.list[i]);
    check(&w);
    return w;
}

enum {
    WORLDS = 1 << 18
};
static struct world *worlds;
static uint32_t *index_of;
static size_t world_count;
static bool seen_state[DST_N_STATE_COUNT];

/* Remembers a world that is new. */
static void keep(const struct world *w) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *w; i++)
        h = (h ^ ((const uint8_t *)w)[i]) * 1099511628211u;
    size_t at = h % (2 * WORLDS);
    for (; index_of[at]; at = (at + 1) % (2 * WORLDS))
        if (memcmp(&worlds[index_of[at] - 1], w, sizeof *w) == 0)
            return;
    cr_assert_lt(world_count, WORLDS);
    memcpy(&worlds[world_count++], w, sizeof *w);
    index_of[at] = (uint32_t)world_count;
    seen_state[w->m.state] = true;
}

static void expand(size_t i) {
    static const uint64_t values[DST_NEV_COUNT] = {
        [DST_NEV_LOCKS] = VMS_E_IO, [DST_NEV_RUNS] = VMS_E_IO, [DST_NEV_LOADED] = 2};
    for (unsigned k = 0; k < DST_NEV_COUNT; k++) {
        if (!possible(&worlds[i], (enum dst_native_event_kind)k))
            continue;
        struct world w = happen(&worlds[i], (enum dst_native_event_kind)k, 0);
        keep(&w);
        if (values[k]) {
            w = happen(&worlds[i], (enum dst_native_event_kind)k, values[k]);
            keep(&w);
        }
    }
}

/* [MIG-1] [HND-1] [HND-2] [HND-5] [HND-8] [HND-10] [HND-15] [HND-17] */
Test(dst_native, everything_that_can_happen, .timeout = 60) {
    struct world w;
    worlds = calloc(WORLDS, sizeof *worlds);
    index_of = calloc(2 * WORLDS, sizeof *index_of);
    memset(&w, 0, sizeof w);
    dst_native_init(&w.m);
    keep(&w);
    for (size_t i = 0; i < world_count; i++)
        expand(i);
    for (unsigned s = 0; s < DST_N_STATE_COUNT; s++)
        cr_expect(seen_state[s], "%s is never reached",
                  dst_native_state_name((enum dst_native_state)s));
    cr_expect_gt(world_count, 1000);
    free(worlds);
    free(index_of);
}

/* [HND-8] a verdict that memory differs is told, and nothing runs on it */
Test(dst_native, different) {
    struct dst_native m;
    struct dst_native_actions out;
    struct vms_error err = {0};
    dst_native_init(&m);
    for (const char *c = "hsES"; *c; c++) {
        struct dst_native_event e = event(kind_of(*c));
        cr_assert_eq(dst_native_event(&m, &e, &out, &err), VMS_OK);
    }
    struct dst_native_event e = event(DST_NEV_LOADED);
    e.value = 2;
    cr_assert_eq(dst_native_event(&m, &e, &out, &err), VMS_OK);
    e = event(DST_NEV_WRITTEN);
    cr_assert_eq(dst_native_event(&m, &e, &out, &err), VMS_OK);
    cr_assert_eq(out.list[0].kind, DST_NDO_SEND_READY);
    cr_assert_eq(out.list[0].value, 2);
    e = event(DST_NEV_COMMIT);
    cr_assert_eq(dst_native_event(&m, &e, &out, &err), VMS_E_HANDOVER_DIGEST);
    cr_assert_eq(m.state, DST_N_REFUSING);
}

/* [MIG-20] [HND-3] what the source may not */
Test(dst_native, refusals) {
    static const struct {
        const char *events;
        uint64_t generation;
        enum vms_code code;
        enum dst_native_state state;
    } cases[] = {
        {"hS", 1, VMS_E_HANDOVER_UNEXPECTED, DST_N_REFUSING},
        {"hC", 1, VMS_E_HANDOVER_GENERATION, DST_N_REFUSING},
        {"hsESC", 1, VMS_E_HANDOVER_UNEXPECTED, DST_N_REFUSING},
        {"hsESC", 2, VMS_E_HANDOVER_GENERATION, DST_N_REFUSING},
        {"hsESlwC", 7, VMS_E_HANDOVER_GENERATION, DST_N_REFUSING},
        {"hsESlwS", 1, VMS_E_HANDOVER_GENERATION, DST_N_REFUSING},
        {"hsESlwxC", 7, VMS_E_HANDOVER_GENERATION, DST_N_IN_DOUBT},
        {"hsESlwCC", 1, VMS_OK, DST_N_STARTING},
        {"hsESlwCC", 7, VMS_E_HANDOVER_GENERATION, DST_N_STARTING},
        {"hsESlwCkwC", 1, VMS_OK, DST_N_STARTED},
        {"hsESlwCkwC", 7, VMS_E_HANDOVER_GENERATION, DST_N_STARTED},
        {"hsESlwD", 1, VMS_E_DST_UNEXPECTED, DST_N_REFUSING},
        {"hsEE", 1, VMS_E_DST_UNEXPECTED, DST_N_REFUSING},
        {"hsESlwCD", 1, VMS_E_DST_UNEXPECTED, DST_N_STARTING},
        {"hss", 1, VMS_E_DST_UNEXPECTED, DST_N_REFUSING},
        {"hsw", 1, VMS_OK, DST_N_PRECOPY},
        {"hw", 1, VMS_E_MISUSE, DST_N_SETUP},
        {"hs1", 1, VMS_E_MISUSE, DST_N_PRECOPY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dst_native m;
        struct dst_native_actions out;
        struct vms_error err = {0};
        enum vms_code code = VMS_OK;
        dst_native_init(&m);
        for (const char *c = cases[i].events; *c; c++) {
            struct dst_native_event e = event(kind_of(*c));
            if (!c[1])
                e.generation = cases[i].generation;
            cr_expect_eq(code, VMS_OK);
            code = dst_native_event(&m, &e, &out, &err);
        }
        cr_expect_eq(code, cases[i].code, "%s: %d %s", cases[i].events, code, err.message);
        cr_expect_eq(m.state, cases[i].state, "%s: %s", cases[i].events,
                     dst_native_state_name(m.state));
    }
    /* without the feature START wants END */
    struct dst_native m;
    struct dst_native_actions out;
    struct vms_error err = {0};
    dst_native_init(&m);
    struct dst_native_event e = event(DST_NEV_HELLO);
    e.value = 0;
    (void)dst_native_event(&m, &e, &out, &err);
    e = event(DST_NEV_SETUP_DONE);
    (void)dst_native_event(&m, &e, &out, &err);
    e = event(DST_NEV_START);
    cr_expect_eq(dst_native_event(&m, &e, &out, &err), VMS_E_DST_INCOMPLETE);
    cr_expect_eq(m.state, DST_N_REFUSING);
}

/* [HND-10] [HND-11] what a restart makes of each journal */
Test(dst_native, recovery) {
    static const struct {
        enum vms_journal journal;
        enum dst_native_state state;
        enum dst_native_action_kind first, on_commit;
    } cases[] = {
        {VMS_JOURNAL_NONE, DST_N_REFUSING, DST_NDO_WRITE, DST_NDO_COUNT},
        {VMS_JOURNAL_OPEN, DST_N_REFUSING, DST_NDO_WRITE, DST_NDO_COUNT},
        {VMS_JOURNAL_STARTED, DST_N_FAILED, DST_NDO_TELL, DST_NDO_SEND_RUNNING},
        {VMS_JOURNAL_NOT_STARTED, DST_N_FAILED, DST_NDO_RECONNECT, DST_NDO_SEND_NOT_STARTED},
        {VMS_JOURNAL_LOST, DST_N_IN_DOUBT, DST_NDO_TELL, DST_NDO_TELL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dst_native m;
        struct dst_native_actions out;
        struct vms_error err = {0};
        dst_native_recover(&m, cases[i].journal, 3, &out);
        cr_expect_eq(m.state, cases[i].state, "%zu: %s", i, dst_native_state_name(m.state));
        cr_expect_eq(out.list[0].kind, cases[i].first);
        struct dst_native_event e = event(DST_NEV_COMMIT);
        e.generation = 3;
        cr_expect_eq(dst_native_event(&m, &e, &out, &err), VMS_OK, "%s", err.message);
        if (cases[i].on_commit == DST_NDO_COUNT)
            cr_expect_eq(out.count, 0);
        else
            cr_expect_eq(out.list[0].kind, cases[i].on_commit);
        cr_expect_eq(m.state, cases[i].state);
    }
}
