/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-faults/plan.h"

#include <stdio.h>
#include <string.h>

/* splitmix64 */
static uint64_t next(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

struct pair {
    const char *src, *dst;
};

/* Each more often, the more of it is ours. */
static const struct pair pairs[] = {
    {"reference-native", "reference-native"}, {"reference-native", "reference-native"},
    {"reference-native", "reference-native"}, {"reference-new", "reference-new"},
    {"reference-new", "reference-new"},       {"reference-legacy", "reference-legacy"},
    {"qemu-11.1", "reference-new"},           {"reference-new", "qemu-11.1"},
};

static const char *const sets[] = {"without-precopy", "precopy", "reinit", "two", "mixed"};

/** A call of a device in a state, and when in a migration it comes. */
struct call {
    bool destination;
    const char *op, *state;
    bool after_commit;
};

static const struct call calls[] = {
    {false, "set", "pre-copy", false},    {false, "set", "pre-copy-p2p", false},
    {false, "set", "running-p2p", false}, {false, "set", "stop", false},
    {false, "set", "stop-copy", false},   {false, "set", "any", false},
    {false, "read", "pre-copy", false},   {false, "read", "stop-copy", false},
    {false, "read", "any", false},        {false, "info", "pre-copy", false},
    {false, "size", "pre-copy", false},   {false, "size", "stop-copy", false},
    {false, "report", "any", false},      {true, "set", "resuming", false},
    {true, "set", "stop", false},         {true, "write", "resuming", false},
    {true, "set", "running-p2p", true},   {true, "set", "running", true},
};

static const char *const errors[] = {"eio", "enospc", "einval", "ebusy", "enomem", "error"};
static const char *const lies[] = {"short", "long"};

enum {
    ERRORS = sizeof errors / sizeof errors[0],
};

static const char *kind_of(const struct call *call, uint64_t *seed, bool *changes) {
    bool read = strcmp(call->op, "read") == 0;
    bool size = strcmp(call->op, "info") == 0 || strcmp(call->op, "size") == 0;
    uint64_t n = next(seed) % 10;
    *changes = (read || size) && n < 4;
    if (*changes)
        return read && n == 0 ? "flip" : lies[n % 2];
    return strcmp(call->op, "set") == 0 && n == 9 ? "stuck" : errors[next(seed) % ERRORS];
}

/* Stock QEMU runs a guest without its device when its state was bad (E-56), and ends itself when a
 * device refuses to be what it was: what ours must not do is tried with ours. */
static bool is_fair(const struct vff_plan *p) {
    bool qemu = p->destination ? p->cell.dst->qemu : p->cell.src->qemu;
    bool odd = p->changes || p->refuses || p->after_commit || strcmp(p->state, "any") == 0;
    return !(qemu && odd) && !(p->changes && p->cell.dst->qemu && strcmp(p->op, "read") == 0);
}

static struct vff_plan draw(uint64_t *seed) {
    const struct pair *pair = &pairs[next(seed) % (sizeof pairs / sizeof pairs[0])];
    const struct call *call = &calls[next(seed) % (sizeof calls / sizeof calls[0])];
    const char *set = sets[next(seed) % (sizeof sets / sizeof sets[0])];
    struct vff_plan p = {
        .cell = {vfm_end(pair->src, strlen(pair->src)), vfm_end(pair->dst, strlen(pair->dst)),
                 vfm_set(set, strlen(set))},
        .destination = call->destination,
        .op = call->op,
        .state = call->state,
        .after_commit = call->after_commit,
    };
    p.device = (unsigned)(next(seed) % p.cell.set->count);
    p.kind = kind_of(call, seed, &p.changes);
    bool stream = strcmp(p.op, "read") == 0 || strcmp(p.op, "write") == 0;
    unsigned times = p.changes && !stream ? 0 : 1;
    unsigned after = stream && next(seed) % 2 ? (unsigned)(next(seed) % 1900) : 0;
    p.refuses = strcmp(p.kind, "stuck") == 0;
    (void)snprintf(p.text, sizeof p.text, "fault %s %s %s after %uK times %u\n", p.op, p.state,
                   p.kind, after, times);
    return p;
}

struct vff_plan vff_plan(uint64_t seed) {
    struct vff_plan p;
    do
        p = draw(&seed);
    while (!is_fair(&p));
    return p;
}

void vff_plan_text(const struct vff_plan *p, char *out, size_t size) {
    char cell[64];
    vfm_cell_name(&p->cell, cell, sizeof cell);
    (void)snprintf(out, size, "%s, device %u of the %s: %.*s", cell, p->device,
                   p->destination ? "destination" : "source", (int)strcspn(p->text, "\n"), p->text);
}
