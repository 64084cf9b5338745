/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/*
 * Every state that any sequence of events whatsoever leads to, searched whole; figures, times and
 * amounts are left out, and generations are few. [ENG-6] [ENG-7] [ENG-8] [ENG-10] [ENG-11] [ENG-12]
 */
enum {
    WORLDS_MAX = 1 << 17,
    KEY = 40,
};

struct world {
    struct src_engine e;
    uint8_t commit_out; /* COMMIT may have left */
    uint8_t released;   /* somebody has said that the guest is ours */
    uint8_t finishes;
    uint8_t runs; /* as the actions say */
    uint8_t key[KEY];
};

static struct world *worlds;
static uint32_t *slots, *edges_from, *edges_to;
static size_t world_count, edge_count, edge_room;

/* ---- what tells worlds apart ---- */

static void make_key(struct world *w) {
    const struct src_engine *e = &w->e;
    const uint8_t key[] = {
        (uint8_t)e->state,
        (uint8_t)e->step,
        (uint8_t)e->awaited,
        (uint8_t)e->handover.state,
        (uint8_t)e->handover.generation,
        (uint8_t)e->handover.journal,
        (uint8_t)e->locks,
        (uint8_t)e->locks_answers,
        (uint8_t)e->locks_tries,
        (uint8_t)e->way_back,
        (uint8_t)e->owner,
        e->reason != VMS_OK,
        (uint8_t)e->wanted[0],
        (uint8_t)e->granted[0],
        (uint8_t)e->asked[0],
        (uint8_t)e->acks_missing,
        (uint8_t)e->attempts,
        e->stopped,
        e->connected,
        e->cut,
        e->restarted,
        e->postcopy_wanted,
        e->postcopy,
        e->runs_there,
        e->gone,
        e->content,
        e->ended,
        e->all_left,
        e->resume_sent,
        e->finished,
        w->commit_out,
        w->released,
        w->finishes,
        w->runs,
        e->scheduler.left[0] > 0,
        e->figures.throttle > 0,
    };
    memset(w->key, 0, sizeof w->key);
    memcpy(w->key, key, sizeof key);
}

/* What the key leaves out is the same in all worlds. */
static void normalize(struct src_engine *e) {
    e->now_ns = e->exact_ns = e->asked_ns = e->exact_took_ns = 0;
    e->round_ns = e->estimate = e->moved = e->left = 0;
    e->served = e->more = false;
    memset(&e->bandwidth, 0, sizeof e->bandwidth);
    memset(&e->converge, 0, sizeof e->converge);
    memset(e->pending, 0, sizeof e->pending);
    bool left = e->scheduler.left[0] > 0 && e->state < SRC_COMMITTED;
    src_scheduler_init(&e->scheduler, SRC_SCHEDULER_DRR, 1, 4096);
    e->scheduler.left[0] = left;
    e->out = NULL;
    e->reason = e->reason ? VMS_E_IO : VMS_OK;
    if (e->attempts && e->attempts < 6) /* of eight the last count */
        e->attempts = 6;
    if (e->locks_tries && e->locks_tries < SRC_LOCKS_TRIES - 1) /* and of these */
        e->locks_tries = SRC_LOCKS_TRIES - 1;
    if (e->state < SRC_COMMITTED)
        return;
    e->wanted[0] = e->granted[0] = e->asked[0] = e->acks_missing = e->attempts = e->awaited = 0;
    e->step = SRC_STEP_NONE;
    e->postcopy_wanted = e->postcopy;
}

static uint32_t find_or_add(struct world *w) {
    uint64_t h = 1469598103934665603u;
    make_key(w);
    for (size_t i = 0; i < KEY; i++)
        h = (h ^ w->key[i]) * 1099511628211u;
    size_t i = (size_t)(h ^ h >> 31) % (2 * WORLDS_MAX);
    for (; slots[i]; i = (i + 1) % (2 * WORLDS_MAX))
        if (!memcmp(worlds[slots[i] - 1].key, w->key, KEY))
            return slots[i] - 1;
    cr_assert_lt(world_count, WORLDS_MAX);
    worlds[world_count] = *w;
    slots[i] = (uint32_t)++world_count;
    return (uint32_t)world_count - 1;
}

static void edge(uint32_t from, uint32_t to) {
    if (edge_count == edge_room) {
        edge_room = edge_room ? 2 * edge_room : 1 << 20;
        edges_from = realloc(edges_from, edge_room * sizeof *edges_from);
        edges_to = realloc(edges_to, edge_room * sizeof *edges_to);
    }
    edges_from[edge_count] = from;
    edges_to[edge_count++] = to;
}

/* ---- what must hold ---- */

static void check_actions(struct world *w, const struct src_actions *out) {
    const struct src_engine *e = &w->e;
    for (size_t i = 0; i < out->count; i++) {
        const struct src_action *a = &out->list[i];
        switch (a->kind) {
        case SRC_DO_STOP_GUEST: w->runs = 0; break;
        case SRC_DO_RUN_GUEST:
            w->runs = 1;
            cr_assert(!w->commit_out || w->released, "runs behind the commit point");
            cr_assert_eq(e->locks, SRC_LOCKS_HELD, "runs without its locks"); /* [ENG-11] */
            break;
        case SRC_DO_SEND_COMMIT:
            cr_assert_eq(e->locks, SRC_LOCKS_GIVEN);
            w->commit_out = 1;
            break;
        case SRC_DO_FINISH:
            w->finishes++;
            cr_assert_eq(w->finishes, 1); /* [ENG-10] */
            cr_assert_geq(e->state, SRC_COMPLETED);
            cr_assert(e->owner != SRC_OWNER_OURS || w->runs ||
                          (e->locks == SRC_LOCKS_GIVEN && e->reason), /* [ENG-30] */
                      "ours, and it does not run");
            break;
        default: break;
        }
    }
}

static void check_world(const struct world *w) {
    const struct src_engine *e = &w->e;
    bool behind = e->state >= SRC_COMMITTED && e->state <= SRC_COMPLETED;
    cr_assert_neq(e->reason, VMS_E_INTERNAL);
    cr_assert(!behind || !src_engine_may_run(e), "may run in %s", src_state_name(e->state));
    cr_assert(!w->commit_out || w->released || !src_engine_may_run(e));
    cr_assert(!w->runs || src_engine_may_run(e), "runs in %s", src_state_name(e->state));
    cr_assert(!w->finishes || !e->figures.throttle); /* [ENG-12] */
}

/* [HND-9] [SRC-3] What gives the guest back, when the machine took it so. */
static bool releases(const struct src_engine *before, const struct src_event *ev) {
    bool native = before->config.native;
    switch (ev->kind) {
    case SRC_EV_NOT_STARTED: return native;
    case SRC_EV_SHUT: return !native && ev->value && !before->runs_there;
    case SRC_EV_RESOLVE_OURS: return !before->runs_there || before->state == SRC_IN_DOUBT;
    default: return false;
    }
}

static void try_event(uint32_t from, const struct src_event *ev) {
    struct world w = worlds[from];
    struct src_actions out;
    struct vms_error err;
    w.released |= w.commit_out && releases(&w.e, ev);
    (void)src_engine_event(&w.e, ev, &out, &err);
    if (w.e.reason != VMS_E_INTERNAL)
        normalize(&w.e);
    check_actions(&w, &out);
    check_world(&w);
    edge(from, find_or_add(&w));
}

/* So many kinds of the event make a difference. */
static uint64_t kinds_of(int k) {
    switch (k) {
    case SRC_EV_TIMER: return SRC_TIMER_COUNT;
    case SRC_EV_PENDING:
    case SRC_EV_READY: return 4;
    case SRC_EV_REQUEST:
    case SRC_EV_GRANT:
    case SRC_EV_RUNNING: return 3;
    case SRC_EV_SAVED:
    case SRC_EV_LOCKS:
    case SRC_EV_SHUT: return 2;
    default: return 1;
    }
}

static void expand(uint32_t from) {
    for (int k = 0; k < SRC_EVENT_COUNT; k++)
        for (uint64_t value = 0; value < kinds_of(k); value++) {
            struct src_event ev = {.kind = (enum src_event_kind)k, .value = value};
            if (ev.kind == SRC_EV_ERROR)
                ev.value = VMS_E_IO;
            ev.generation = value < 2 ? 1 : 2;
            ev.pending.generation = value < 2 ? 1 : 2;
            ev.pending.precopy = value % 2 ? 1 << 20 : 0;
            ev.more = value % 2;
            try_event(from, &ev);
        }
}

/* [ENG-10] From everywhere an end can be reached. */
static void check_ends(void) {
    uint8_t *ends = calloc(world_count, 1);
    for (size_t i = 0; i < world_count; i++)
        ends[i] = worlds[i].e.finished;
    for (bool grown = true; grown;) {
        grown = false;
        for (size_t i = edge_count; i-- > 0;) {
            if (!ends[edges_to[i]] || ends[edges_from[i]])
                continue;
            ends[edges_from[i]] = 1;
            grown = true;
        }
    }
    for (size_t i = 0; i < world_count; i++)
        cr_assert(ends[i], "no way out of %s", src_state_name(worlds[i].e.state));
    free(ends);
}

static void search(const struct src_config *config, int journal) {
    static struct world first;
    struct src_actions out = {0};
    bool seen[SRC_STATE_COUNT] = {false};
    world_count = edge_count = 0;
    memset(slots, 0, 2 * WORLDS_MAX * sizeof *slots);
    memset(&first, 0, sizeof first);
    (void)src_engine_init(&first.e, config);
    first.runs = journal < 0;
    if (journal >= 0) {
        src_engine_recover(&first.e, (enum vms_journal)journal, 1, &out);
        first.commit_out = first.e.state != SRC_IDLE;
        first.runs = first.e.state == SRC_IDLE;
        first.finishes = first.e.finished;
    }
    normalize(&first.e);
    (void)find_or_add(&first);
    for (size_t i = 0; i < world_count; i++) {
        expand((uint32_t)i);
        seen[worlds[i].e.state] = true;
    }
    check_ends();
    for (int s = 0; s < SRC_STATE_COUNT && journal < 0; s++) {
        bool native_only = s == SRC_READY, postcopy = s >= SRC_POSTCOPY && s <= SRC_RECOVER;
        bool possible = (!native_only || config->native) && (!postcopy || config->postcopy) &&
                        (s != SRC_HELD || config->pause_before_switchover);
        cr_assert_eq(seen[s], possible, "%s", src_state_name((enum src_state)s));
    }
    cr_log_info("%zu worlds, %zu steps", world_count, edge_count);
}

static struct src_config configuration(unsigned i) {
    struct src_config c = {
        .native = i & 1,
        .postcopy = i & 2,
        .resume = i & 4,
        .pause_before_switchover = i & 8,
        .return_path = !(i & 4) || i & 2,
        .switchover_ack = true,
        .legacy_ack = !(i & 1) && i & 8,
        .switchover_bandwidth = 1000,
        .downtime_ns = 1000000000,
        .ready_ns = 1,
        .settle_ns = 1,
        .limit_ns = 1,
        .quantum = 4096,
        .device_count = 1,
        .initial_data = {true},
    };
    return c;
}

static void allocate(void) {
    worlds = calloc(WORLDS_MAX, sizeof *worlds);
    slots = calloc(2 * WORLDS_MAX, sizeof *slots);
    cr_assert(worlds && slots);
}

static void release(void) {
    free(worlds), free(slots), free(edges_from), free(edges_to);
}

Test(source_model, all_states, .timeout = 120, .init = allocate, .fini = release) {
    for (unsigned i = 0; i < 16; i++) {
        struct src_config c = configuration(i);
        search(&c, -1);
    }
}

/* [ENG-26] */
Test(source_model, all_states_after_a_restart, .timeout = 120, .init = allocate, .fini = release) {
    for (int journal = 0; journal < VMS_JOURNAL_COUNT; journal++) {
        struct src_config c = configuration(7);
        search(&c, journal);
    }
}
