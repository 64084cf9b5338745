/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* [HND-2] [HND-6] [HND-12] [ENG-6] [ENG-7] [DST-19] [SRC-2] [SRC-3] Oracles over what is left: exit
 * statuses, reports, logs, journals. */

struct facts {
    struct fault_rig *rig;
    const struct fault_result *result;
    bool ours;  /* the source says that it has the guest, and has checked it */
    bool moved; /* the destination ran it on, and every page was right */
    bool ran;   /* it was announced there */
    char owner[16];
    char journals[2][16];
    bool no_files; /* the fault: descriptors */
};

typedef const char *oracle(const struct facts *f);

static bool both_say(const struct facts *f, const char *text) {
    return fault_says(f->rig, &f->rig->src, text) || fault_says(f->rig, &f->rig->dst, text);
}

static const char *ended(const struct facts *f) {
    return f->rig->late ? f->result->why : NULL;
}

static const char *said(const struct facts *f) {
    return f->result->why[0] ? f->result->why : NULL;
}

/* The VM itself finds both: another guest that runs (VM-3), a page that is not right (VM-5). */
static const char *vm(const struct facts *f) {
    if (both_say(f, "VM_RUNS_TWICE"))
        return "two guests ran at a time";
    return both_say(f, "VM_CHECK") ? "a page of the guest is wrong" : NULL;
}

static const char *crash(const struct facts *f) {
    const struct fault_process *both[] = {&f->rig->src, &f->rig->dst};
    if (both_say(f, "Sanitizer") || both_say(f, "runtime error"))
        return "a sanitizer has found something";
    for (int i = 0; i < 2; i++)
        if (both[i]->status > 128 && !both[i]->killed)
            return i ? "the destination crashed" : "the source crashed";
    return NULL;
}

static const char *two(const struct facts *f) {
    if (f->ours && (f->ran || f->moved))
        return "both ends have the guest";
    return f->moved && !f->ran ? "moved, but not announced" : NULL;
}

/* Whoever fails says with which code, and by which clause. */
static const char *reason(const struct facts *f) {
    const struct fault_process *both[] = {&f->rig->src, &f->rig->dst};
    for (int i = 0; i < 2; i++)
        if (both[i]->status > 0 && both[i]->status < 128 && !both[i]->killed &&
            !fault_says(f->rig, both[i], "clause ") && !fault_says(f->rig, both[i], "-"))
            return i ? "the destination gives no reason" : "the source gives no reason";
    return NULL;
}

/* [HND-12] */
static const char *doubt(const struct facts *f) {
    if (!f->result->doubt)
        return NULL;
    if (!both_say(f, "in doubt") && !both_say(f, "IN_DOUBT"))
        return "in doubt, and nobody was told";
    if (strcmp(f->owner, "unknown") == 0)
        return "a source ended in doubt";
    return NULL;
}

/* [HND-9] [HND-10] What the journals permit, whoever is restarted from them. */
static const char *journals(const struct facts *f) {
    bool started = strcmp(f->journals[1], "started") == 0;
    bool refused = strcmp(f->journals[1], "not-started") == 0;
    if (f->rig->plan->wire != FAULT_NATIVE || f->rig->mounted)
        return NULL;
    if (started && strcmp(f->journals[0], "released") == 0)
        return "journals: released and started";
    if (started && f->ours)
        return "journals: started, and the source has it";
    if (refused && strcmp(f->journals[0], "gone") == 0)
        return "journals: gone and not started";
    return NULL;
}

static const char *cancelled(const struct facts *f) {
    if (f->rig->plan->kind != FAULT_CANCEL)
        return NULL;
    if (strcmp(f->result->answer, "ok") == 0 && !f->ours)
        return "cancelled, and the guest is not here";
    /* on QEMU's wire the cut on the way there may have taken POSTCOPY_RUN with it */
    if (strcmp(f->result->answer, "SRC_TOO_LATE") == 0 && !f->moved && !f->result->operator)
        return "too late to cancel, and the guest has not moved";
    return f->result->answer[0] || f->rig->src.status >= 0 ? NULL : "no answer to cancel";
}

/* Nobody has it: only with the host that alone had it, or its pages. */
static const char *lost(const struct facts *f) {
    const struct fault_plan *p = f->rig->plan;
    bool there = f->ran || strcmp(f->journals[1], "started") == 0;
    if (f->ours || f->moved || p->kind == FAULT_KILL_BOTH)
        return NULL;
    if (p->kind == FAULT_KILL_DESTINATION)
        return there ? NULL : "the destination never had it, and the source does not have it";
    if (f->no_files && p->postcopy) /* for longer than who has the guest was told to wait */
        return both_say(f, "lost") ? NULL : "the guest is lost, and nobody says so";
    if (p->kind != FAULT_KILL_SOURCE)
        return "the guest is lost, and nobody died";
    if (p->postcopy)
        return NULL;
    return there || strcmp(f->journals[1], "open") == 0 ? "the destination had all of it" : NULL;
}

static const char *owner(const struct facts *f) {
    if (f->moved && !f->rig->src.killed && strcmp(f->owner, "theirs") != 0)
        return "moved, and the source does not say so";
    return NULL;
}

/* Sockets and files of programs that ended by themselves. */
static const char *leftover(const struct facts *f) {
    const struct fault_rig *r = f->rig;
    const char *found = NULL;
    DIR *d = opendir(r->dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, "control") == 0 && !r->src.killed)
            found = "the control socket is left";
    if (d)
        (void)closedir(d);
    for (int i = 0; i < 2; i++) {
        d = opendir(r->journal[i]);
        for (struct dirent *e; d && (e = readdir(d));)
            if (strstr(e->d_name, ".new") && !(i ? r->dst.killed : r->src.killed) && !r->mounted)
                found = "half a journal is left";
        if (d)
            (void)closedir(d);
    }
    return found;
}

static oracle *const ORACLES[] = {ended, vm,       crash,     two,  said,  reason,
                                  doubt, journals, cancelled, lost, owner, leftover};

/* Who ends while no descriptor is left writes no report; what it says is the same. */
static void collect_said(struct fault_rig *r, struct facts *f, bool src, bool dst) {
    f->no_files = r->plan->kind == FAULT_FILES_SOURCE || r->plan->kind == FAULT_FILES_DESTINATION;
    if (f->no_files && !src && fault_says(r, &r->src, "the guest is here, as before"))
        (void)snprintf(f->owner, sizeof f->owner, "ours");
    else if (f->no_files && !src && fault_says(r, &r->src, "the guest is the destination's"))
        (void)snprintf(f->owner, sizeof f->owner, "theirs");
    if (f->no_files && !dst)
        f->moved = fault_says(r, &r->dst, "pages are right");
}

static void collect(struct fault_rig *r, struct facts *f) {
    char session[33];
    json_t *src = fault_report(r, &r->src), *dst = fault_report(r, &r->dst);
    const char *o = json_string_value(json_object_get(src, "owner"));
    json_t *check = json_object_get(dst, "check");
    (void)snprintf(f->owner, sizeof f->owner, "%s", o ? o : "");
    f->moved = json_is_true(json_object_get(check, "good")) &&
               json_integer_value(json_object_get(check, "twice")) == 0;
    collect_said(r, f, src != NULL, dst != NULL);
    f->ours = strcmp(f->owner, "ours") == 0 && !r->src.killed;
    f->ran = fault_announced(r);
    for (int i = 0; i < 2; i++)
        (void)fault_journal(r, i, f->journals[i], session);
    json_decref(src);
    json_decref(dst);
}

void fault_judge(struct fault_rig *r, struct fault_result *result) {
    struct facts f = {.rig = r, .result = result};
    collect(r, &f);
    for (size_t i = 0; i < sizeof ORACLES / sizeof *ORACLES; i++) {
        const char *why = ORACLES[i](&f);
        if (!why)
            continue;
        if (why != result->why)
            (void)snprintf(result->why, sizeof result->why, "%s", why);
        result->outcome = FAULT_BAD;
        return;
    }
    result->outcome = f.moved                            ? FAULT_MOVED
                      : f.ours                           ? FAULT_STAYED
                      : r->plan->kind == FAULT_KILL_BOTH ? FAULT_SETTLED
                                                         : FAULT_LOST;
}
