/* SPDX-License-Identifier: MIT */
#include "test_walk.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * The machine against the tables of spec/04-source.md, read out of the text: every cell's next
 * states and errors, both ways: [ENG-1] [ENG-2] [ENG-3] [ENG-4] [ENG-5]. What the machine does is
 * seen in random walks; what the text says and no walk shows is a failure too.
 */
enum {
    WALKS = 1000000,
    STEPS = 200,
};

struct cell {
    bool listed, passed_over;
    bool next[SRC_STATE_COUNT], same;
    bool error[VMS_CODE_COUNT]; /* [VMS_OK]: not counted */
};

static struct cell text[SRC_STATE_COUNT][SRC_EVENT_COUNT];
static struct cell seen[SRC_STATE_COUNT][SRC_EVENT_COUNT];

/* ---- the text ---- */

static int state_of(const char *name) {
    for (int s = 0; s < SRC_STATE_COUNT; s++)
        if (!strcmp(name, src_state_name((enum src_state)s)))
            return s;
    return -1;
}

static int event_of(const char *name) {
    for (int k = 0; k < SRC_EVENT_COUNT; k++)
        if (!strcmp(name, src_event_name((enum src_event_kind)k)))
            return k;
    return -1;
}

/* Cuts "a, b, c" into its words. */
static size_t words(char *list, char **out, size_t max) {
    size_t n = 0;
    for (char *w = strtok(list, ", "); w && n < max; w = strtok(NULL, ", "))
        out[n++] = w;
    return n;
}

static void take_errors(const char *answer, struct cell *c) {
    for (const char *p = strchr(answer, '`'); p; p = strchr(p, '`')) {
        char name[64] = {0};
        p++;
        for (size_t i = 0; i < sizeof name - 1 && *p && *p != '`'; i++)
            name[i] = *p++;
        for (int code = 1; code < VMS_CODE_COUNT; code++)
            if (!strcmp(name, vms_code_name((enum vms_code)code)))
                c->error[code] = true;
        p += *p == '`';
    }
}

static void take_cell(int s, int k, const char *answer, char *const *next, size_t count) {
    struct cell *c = &text[s][k];
    cr_assert(!c->listed, "%s, %s stands twice", src_state_name((enum src_state)s),
              src_event_name((enum src_event_kind)k));
    c->listed = true;
    if (!answer) {
        c->passed_over = c->same = true;
        return;
    }
    take_errors(answer, c);
    for (size_t i = 0; i < count; i++) {
        int to = state_of(next[i]);
        cr_assert(to >= 0 || !strcmp(next[i], "same"), "state %s", next[i]);
        if (to < 0 || to == s)
            c->same = true;
        else
            c->next[to] = true;
    }
}

static void take_row(char *line) {
    char *column[5] = {0}, *states[SRC_STATE_COUNT], *events[SRC_EVENT_COUNT],
         *next[SRC_STATE_COUNT];
    size_t n = 0, to = 0;
    for (char *p = line + 1; n < 5 && *p;) {
        char *end = strchr(p, '|');
        if (!end)
            break;
        *end = 0;
        column[n++] = p;
        p = end + 1;
    }
    if (n != 2 && n != 4)
        return;
    size_t state_count = words(column[0], states, SRC_STATE_COUNT);
    if (!state_count || state_of(states[0]) < 0)
        return;
    size_t event_count = words(column[1], events, SRC_EVENT_COUNT);
    if (n == 4)
        to = words(column[3], next, SRC_STATE_COUNT);
    for (size_t s = 0; s < state_count; s++)
        for (size_t k = 0; k < event_count; k++) {
            int state = state_of(states[s]), event = event_of(events[k]);
            cr_assert(state >= 0 && event >= 0, "%s, %s", states[s], events[k]);
            take_cell(state, event, n == 4 ? column[2] : NULL, next, to);
        }
}

static void read_text(void) {
    char line[1024];
    FILE *file = fopen("spec/04-source.md", "r");
    cr_assert_not_null(file, "spec/04-source.md; tests run in the project's folder");
    while (fgets(line, sizeof line, file))
        if (line[0] == '|')
            take_row(line);
    fclose(file);
}

static bool is_order(int k) {
    return k <= SRC_EV_GIVE_UP;
}

static bool is_peer(int k) {
    return k >= SRC_EV_REQUEST && k <= SRC_EV_RESUME_ACK;
}

static bool is_hand_over(int k) {
    return k == SRC_EV_READY || k == SRC_EV_RUNNING || k == SRC_EV_NOT_STARTED;
}

/* What [ENG-2], [ENG-3] and [ENG-4] say of the cells that no table lists. */
static void complete_text(void) {
    for (int s = 0; s < SRC_STATE_COUNT; s++)
        for (int k = 0; k < SRC_EVENT_COUNT; k++) {
            struct cell *c = &text[s][k];
            if (c->listed)
                continue;
            if (is_peer(k)) {
                const struct cell *error = &text[s][SRC_EV_ERROR];
                memcpy(c->next, error->next, sizeof c->next);
                c->same = error->same;
                c->error[VMS_E_SRC_UNEXPECTED] = true;
                c->error[VMS_E_HANDOVER_UNEXPECTED] = is_hand_over(k); /* [HND-1] natively */
            } else {
                c->same = true;
                c->error[is_order(k) ? VMS_E_SRC_ORDER : VMS_E_MISUSE] = true;
            }
        }
}

/* ---- the machine ---- */

static void note(int from, const struct src_event *ev, enum src_state to, enum vms_code code) {
    struct cell *c = &seen[from][ev->kind];
    c->listed = true;
    if ((int)to == from)
        c->same = true;
    else
        c->next[to] = true;
    c->error[code] = true;
}

static void walk(uint64_t seed) {
    struct walk w;
    struct src_actions out;
    struct src_event ev;
    struct vms_error err;
    walk_begin(&w, seed, (unsigned)(seed % 25));
    if (seed % 50 == 0) { /* a program that was restarted */
        w.e.config.native = true;
        src_engine_recover(&w.e, (enum vms_journal)(seed / 50 % VMS_JOURNAL_COUNT), 1, &out);
        w.count = 0;
        for (size_t i = 0; i < out.count; i++)
            walk_answer(&w, &out.list[i]);
    }
    unsigned after = 0;
    for (int i = 0; i < STEPS && after < 8; i++) {
        enum src_state from = w.e.state;
        if (!walk_next(&w, &ev)) {
            ev = walk_surprise(&w);
            ev.now_ns = w.now;
        }
        enum vms_code code = src_engine_event(&w.e, &ev, &out, &err);
        note((int)from, &ev, w.e.state, code);
        for (size_t a = 0; a < out.count; a++)
            walk_answer(&w, &out.list[a]);
        after += w.e.finished;
    }
}

/* Events in a row that are told to the machine as it is. */
static void tell_all(struct walk *w, const enum src_event_kind *words, size_t count) {
    struct src_actions out;
    struct vms_error err;
    for (size_t i = 0; i < count; i++) {
        enum src_state from = w->e.state;
        struct src_event ev = {.kind = words[i], .now_ns = w->now};
        enum vms_code code = src_engine_event(&w->e, &ev, &out, &err);
        note((int)from, &ev, w->e.state, code);
    }
}

/* What random walks hardly ever meet: the operator's word, then a connection, then a full disk. */
static void walk_resolved(void) {
    static const enum src_event_kind words[] = {SRC_EV_CUT, SRC_EV_RESOLVE_THEIRS,
                                                SRC_EV_RECONNECTED, SRC_EV_WRITE_FAILED};
    struct walk w;
    struct src_actions out;
    struct src_event ev;
    struct vms_error err;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        walk_begin(&w, seed, 0);
        while (w.e.handover.state != VMS_SRC_COMMITTED && walk_next(&w, &ev)) {
            (void)src_engine_event(&w.e, &ev, &out, &err);
            for (size_t a = 0; a < out.count; a++)
                walk_answer(&w, &out.list[a]);
        }
        if (w.e.handover.state != VMS_SRC_OURS && w.e.postcopy)
            tell_all(&w, words, 4);
    }
}

/* Nor this: END is acknowledged in a recovery, before the journal says GONE. [ENG-27] */
static void walk_arrived(void) {
    static const enum src_event_kind cut[] = {SRC_EV_CUT, SRC_EV_RECONNECTED, SRC_EV_SHUT},
                                     last[] = {SRC_EV_ERROR,      SRC_EV_ABORT,  SRC_EV_NOT_STARTED,
                                               SRC_EV_RESUME_ACK, SRC_EV_CUT,    SRC_EV_RECONNECTED,
                                               SRC_EV_CUT,        SRC_EV_GIVE_UP};
    struct walk w;
    struct src_actions out;
    struct src_event ev;
    struct vms_error err;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        walk_begin(&w, seed, 0);
        while (!w.e.all_left && walk_next(&w, &ev)) {
            if (w.e.state == SRC_POSTCOPY && ev.kind == SRC_EV_WRITTEN)
                continue; /* a slow disk */
            (void)src_engine_event(&w.e, &ev, &out, &err);
            for (size_t a = 0; a < out.count; a++)
                walk_answer(&w, &out.list[a]);
        }
        if (!w.e.all_left || !w.e.config.native || w.e.gone || w.e.state != SRC_POSTCOPY)
            continue;
        tell_all(&w, cut, 3);
        cr_assert(w.e.content && w.e.state == SRC_RECOVER, "seed %u", (unsigned)seed);
        tell_all(&w, last, sizeof last / sizeof *last);
        const enum src_event_kind written = seed % 2 ? SRC_EV_WRITTEN : SRC_EV_WRITE_FAILED;
        tell_all(&w, &written, 1);
        cr_assert(w.e.state == SRC_COMPLETED, "seed %u", (unsigned)seed);
    }
}

/* ---- both ---- */

static unsigned compare(int s, int k) {
    const struct cell *want = &text[s][k], *have = &seen[s][k];
    const char *state = src_state_name((enum src_state)s);
    const char *event = src_event_name((enum src_event_kind)k);
    unsigned wrong = 0;
    if (want->same != have->same)
        wrong++, fprintf(stderr, "%s, %s: stays: text %d, machine %d\n", state, event, want->same,
                         have->same);
    for (int to = 0; to < SRC_STATE_COUNT; to++)
        if (want->next[to] != have->next[to])
            wrong++, fprintf(stderr, "%s, %s → %s: text %d, machine %d\n", state, event,
                             src_state_name((enum src_state)to), want->next[to], have->next[to]);
    for (int code = 1; code < VMS_CODE_COUNT; code++)
        if (want->error[code] != have->error[code])
            wrong++,
                fprintf(stderr, "%s, %s: %s: text %d, machine %d\n", state, event,
                        vms_code_name((enum vms_code)code), want->error[code], have->error[code]);
    return wrong;
}

Test(source_engine, table_is_that_of_the_text, .timeout = 120) {
    unsigned wrong = 0;
    read_text();
    complete_text();
    for (uint64_t seed = 0; seed < WALKS; seed++)
        walk(seed);
    walk_resolved();
    walk_arrived();
    for (int s = 0; s < SRC_STATE_COUNT; s++)
        for (int k = 0; k < SRC_EVENT_COUNT; k++)
            wrong += compare(s, k);
    cr_assert_eq(wrong, 0, "%u differences between the text and the machine", wrong);
}
