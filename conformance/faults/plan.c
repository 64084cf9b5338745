/* SPDX-License-Identifier: MIT */
#include "conformance/faults/plan.h"

#include <stdio.h>

static uint64_t next(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t below(uint64_t *state, uint64_t n) {
    return next(state) % n;
}

static bool one_in(uint64_t *state, unsigned n) {
    return below(state, n) == 0;
}

const char *fault_kind_name(enum fault_kind kind) {
    static const char *const names[FAULT_KINDS] = {
        "none",           "kill-source", "kill-destination", "kill-both",     "cut",
        "cuts",           "stop-source", "stop-destination", "mute",          "disk-full-source",
        "disk-full-dest", "cancel",      "no-files-source",  "no-files-dest",
    };
    return (unsigned)kind < FAULT_KINDS ? names[kind] : "?";
}

const char *fault_phase_name(enum fault_phase phase) {
    static const char *const names[FAULT_PHASES] = {
        "setup",      "precopy", "held",     "switchover", "ready",
        "committing", "running", "postcopy", "recovery",
    };
    return (unsigned)phase < FAULT_PHASES ? names[phase] : "?";
}

bool fault_plan_fits(enum fault_wire wire, enum fault_kind kind, enum fault_phase phase) {
    bool journal = kind == FAULT_FULL_SOURCE || kind == FAULT_FULL_DESTINATION;
    if (kind == FAULT_NONE)
        return phase == FAULT_AT_SETUP;
    if (phase == FAULT_AT_READY || journal) /* only the native wire has them */
        return wire == FAULT_NATIVE && (phase < FAULT_AT_POSTCOPY || !journal);
    if (kind == FAULT_MUTE) /* in postcopy nothing tells a mute peer from a dead one */
        return phase < FAULT_AT_POSTCOPY;
    return true;
}

/* Kinds that take seconds come less often. */
static enum fault_kind choose_kind(uint64_t *s) {
    for (;;) {
        enum fault_kind k = (enum fault_kind)below(s, FAULT_KINDS);
        bool slow = k == FAULT_MUTE || k == FAULT_STOP_SOURCE || k == FAULT_STOP_DESTINATION;
        bool dull = k == FAULT_NONE;
        if ((!slow || one_in(s, 3)) && (!dull || one_in(s, 4)))
            return k;
    }
}

static void choose_machine(struct fault_plan *p, uint64_t *s) {
    static const unsigned sizes[] = {16, 16, 24, 32, 32, 64};
    p->mib = sizes[below(s, sizeof sizes / sizeof *sizes)];
    p->huge = one_in(s, 4);
    p->shared = one_in(s, 3);
    p->bandwidth = 40 + 20 * (unsigned)below(s, 4);
}

static void choose_wire(struct fault_plan *p, uint64_t *s) {
    static const char *const seals[] = {NULL, "gcm", "gcm", "gmac", "chacha20"};
    static const char *const packs[] = {NULL, NULL, "zstd:1", "zstd:adaptive"};
    static const unsigned multifd[] = {0, 0, 2, 4};
    unsigned which = (unsigned)below(s, 5);
    unsigned pack = (unsigned)below(s, 4);
    unsigned channels = (unsigned)below(s, 4);
    p->digest = !one_in(s, 4);
    p->seal = p->wire == FAULT_NATIVE ? seals[which] : NULL;
    p->pack = p->wire == FAULT_NATIVE ? packs[pack] : NULL;
    p->channels = p->wire == FAULT_NATIVE ? channels + 1 : multifd[channels];
}

static void choose_mode(struct fault_plan *p, uint64_t *s) {
    bool needs_postcopy = p->phase >= FAULT_AT_POSTCOPY;
    bool held = p->phase >= FAULT_AT_HELD && p->phase <= FAULT_AT_RUNNING;
    bool can_race = p->phase >= FAULT_AT_READY && p->phase <= FAULT_AT_RUNNING &&
                    (p->wire == FAULT_NATIVE || p->phase == FAULT_AT_RUNNING);
    p->postcopy = one_in(s, 3) || needs_postcopy;
    p->preempt = one_in(s, 2) && p->postcopy;
    p->race = one_in(s, 3) && can_race;
    p->pause = one_in(s, 6) || (held && !p->race);
    if (held && p->huge) /* what is left then has to fit into what waits for ACK (RSM-4) */
        p->mib = 16;
}

static void choose_fault(struct fault_plan *p, uint64_t *s) {
    uint64_t small = below(s, 4096),
             large = below(s, p->phase == FAULT_AT_POSTCOPY ? 1 << 20 : 3 << 20);
    p->extra = p->phase == FAULT_AT_SETUP || p->phase == FAULT_AT_RECOVERY ? small : large;
    p->cuts = 2 + (unsigned)below(s, FAULT_MAX_CUTS - 1);
    p->apart = one_in(s, 3) ? below(s, 4096) : below(s, 3 << 20);
    p->stop_ms = one_in(s, 4) ? 12000 : 500 + (unsigned)below(s, 1000); /* past keep-alive's 10 s */
    p->let_out = one_in(s, 2);
    p->answer = one_in(s, 2);
}

struct fault_plan fault_plan_of(uint64_t seed, enum fault_wire wire, enum fault_kind kind,
                                enum fault_phase phase) {
    struct fault_plan p = {.seed = seed, .wire = wire, .kind = kind, .phase = phase};
    uint64_t s = seed ^ 0x6661756c74; /* its own sequence */
    choose_machine(&p, &s);
    choose_wire(&p, &s);
    choose_mode(&p, &s);
    choose_fault(&p, &s);
    return p;
}

struct fault_plan fault_plan_new(uint64_t seed, enum fault_wire wires) {
    uint64_t s = seed;
    for (;;) {
        enum fault_wire w = one_in(&s, 2) ? FAULT_QEVM : FAULT_NATIVE;
        enum fault_kind kind = choose_kind(&s);
        enum fault_phase phase = (enum fault_phase)below(&s, FAULT_PHASES);
        if ((wires == FAULT_BOTH_WIRES || w == wires) && fault_plan_fits(w, kind, phase))
            return fault_plan_of(seed, w, kind, phase);
    }
}

void fault_plan_text(const struct fault_plan *p, char *text, size_t room) {
    (void)snprintf(
        text, room,
        "%s, %s at %s%s + %llu bytes; %u MiB of %s %s pages, %u channels%s%s%s%s%s%s%s%s",
        p->wire == FAULT_NATIVE ? "native" : "qevm", fault_kind_name(p->kind),
        fault_phase_name(p->phase), p->race ? " (racing)" : "", (unsigned long long)p->extra,
        p->mib, p->shared ? "shared" : "private", p->huge ? "2 MiB" : "4 KiB", p->channels,
        p->seal ? ", " : "", p->seal ? p->seal : "", p->pack ? ", " : "", p->pack ? p->pack : "",
        p->wire == FAULT_NATIVE && !p->digest ? ", no digest" : "", p->postcopy ? ", postcopy" : "",
        p->preempt ? ", preempt" : "", p->pause ? ", pause" : "");
}
