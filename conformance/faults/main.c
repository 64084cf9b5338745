/* SPDX-License-Identifier: MIT */
#include "conformance/faults/run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* faults: whole migrations by real processes, a fault at a seeded moment, and oracles. */

static const char USAGE[] =
    "Usage: faults [OPTION]...\n"
    "Migrates guests between reference-src and reference-dst, breaks something at a moment that a\n"
    "seed chooses, and proves that one guest, and never two, is left with every page right.\n\n"
    "  --runs N                  so many (default 24)\n"
    "  --time SECONDS            begin no further run after that (default: no such limit)\n"
    "  --seed S                  of the first; the next has S+1 (default 1)\n"
    "  --wire native|qevm|both   (default both)\n"
    "  --fault KIND, --at PHASE  only these; the rest from the seed\n"
    "  --build DIR               folder of the programs (default: that of this one)\n"
    "  --keep DIR                where logs, reports and journals of failures go "
    "(/tmp/vms-faults)\n"
    "  --keep-all                of all runs\n"
    "  --json                    one line of JSON for each run, and nothing else\n"
    "  --verbose                 a line for each run\n"
    "  --list                    what the runs would be; runs nothing\n"
    "  --help\n\n"
    "Exit status: 0 all well, 1 an oracle says no, 2 wrong usage.\n";

struct options {
    unsigned runs;
    int64_t time_ms; /* 0: any */
    uint64_t seed;
    enum fault_wire wire;
    enum fault_kind kind;   /* FAULT_KINDS: any */
    enum fault_phase phase; /* FAULT_PHASES: any */
    bool json, verbose, list;
    struct fault_setup setup;
    char build[512];
};

struct tally {
    unsigned counts[FAULT_KINDS][FAULT_PHASES][FAULT_OUTCOMES];
    unsigned outcomes[FAULT_OUTCOMES];
    unsigned missed, doubts, operators, restarts;
};

static int find(const char *text, const char *(*name)(int), int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(text, name(i)) == 0)
            return i;
    return -1;
}

static const char *kind_name(int i) {
    return fault_kind_name((enum fault_kind)i);
}

static const char *phase_name(int i) {
    return fault_phase_name((enum fault_phase)i);
}

static const char *wire_name(int i) {
    static const char *const names[] = {"native", "qevm", "both"};
    return names[i];
}

static struct fault_plan plan_of(const struct options *o, uint64_t seed) {
    struct fault_plan p = fault_plan_new(seed, o->wire);
    enum fault_kind kind = o->kind == FAULT_KINDS ? p.kind : o->kind;
    enum fault_phase phase = o->phase == FAULT_PHASES ? p.phase : o->phase;
    for (int i = 0; i < FAULT_PHASES && o->phase == FAULT_PHASES; i++) { /* one that goes with it */
        if (fault_plan_fits(p.wire, kind, phase))
            break;
        phase = (enum fault_phase)((phase + 1u) % FAULT_PHASES);
    }
    for (int i = 0; i < FAULT_KINDS && o->kind == FAULT_KINDS; i++) {
        if (fault_plan_fits(p.wire, kind, phase))
            break;
        kind = (enum fault_kind)((kind + 1u) % FAULT_KINDS);
    }
    enum fault_wire wire = fault_plan_fits(p.wire, kind, phase) ? p.wire : FAULT_NATIVE;
    return fault_plan_of(seed, wire, kind, phase);
}

/* ---- what is shown ---- */

static void show_json(const struct fault_plan *p, const struct fault_result *r) {
    json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:I}", "seed",
                          (json_int_t)p->seed, "wire", wire_name((int)p->wire), "fault",
                          fault_kind_name(p->kind), "at", fault_phase_name(p->phase), "outcome",
                          fault_outcome_name(r->outcome), "reached", r->reached, "doubt", r->doubt,
                          "operator", r->operator, "restarted", r->restarted, "why", r->why, "ms",
                          (json_int_t)r->ms);
    (void)json_dumpf(o, stdout, 0);
    (void)putchar('\n');
    (void)fflush(stdout);
    json_decref(o);
}

static void show_run(const struct options *o, const struct fault_plan *p,
                     const struct fault_result *r) {
    char text[256];
    if (o->json) {
        show_json(p, r);
        return;
    }
    fault_plan_text(p, text, sizeof text);
    if (!o->verbose && r->outcome != FAULT_BAD)
        return;
    printf("%s%8llu  %-8s %5lld ms  %s%s%s%s\n", isatty(1) ? "\r\033[K" : "",
           (unsigned long long)p->seed, fault_outcome_name(r->outcome), (long long)r->ms, text,
           r->reached ? "" : " (not reached)", r->doubt ? " (in doubt)" : "",
           r->operator? " (decided)" : "");
    if (r->outcome == FAULT_BAD) {
        printf("          %s\n          again: faults --seed %llu --runs 1 --wire %s%s%s%s%s\n",
               r->why, (unsigned long long)p->seed, wire_name((int)o->wire),
               o->kind != FAULT_KINDS ? " --fault " : "",
               o->kind != FAULT_KINDS ? fault_kind_name(o->kind) : "",
               o->phase != FAULT_PHASES ? " --at " : "",
               o->phase != FAULT_PHASES ? fault_phase_name(o->phase) : "");
        printf("          logs, reports, journals: %s/%llu\n", o->setup.keep,
               (unsigned long long)p->seed);
    }
    (void)fflush(stdout);
}

static void show_progress(const struct options *o, unsigned done, int64_t begun,
                          const struct tally *t) {
    int64_t spent = fault_now_ms() - begun;
    if (o->json || !isatty(1))
        return;
    printf("\r\033[K%u of %u, %u bad, about %lld s left", done, o->runs, t->outcomes[FAULT_BAD],
           done ? (long long)(spent * (o->runs - done) / done / 1000) : 0LL);
    (void)fflush(stdout);
}

static void count(struct tally *t, const struct fault_plan *p, const struct fault_result *r) {
    t->counts[p->kind][p->phase][r->outcome]++;
    t->outcomes[r->outcome]++;
    t->missed += !r->reached;
    t->doubts += r->doubt;
    t->operators += r->operator;
    t->restarts += r->restarted;
}

static void show_cell(const unsigned *counts) {
    static const char letters[] = "MSLB?X"; /* as FAULT_OUTCOMES */
    char text[48] = "";
    for (int i = 0; i < FAULT_OUTCOMES; i++)
        if (counts[i])
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%u%c",
                           text[0] ? " " : "", counts[i], letters[i]);
    printf(" %10s", text[0] ? text : ".");
}

static void show_table(const struct tally *t, int64_t ms) {
    printf("%s\n%-17s", isatty(1) ? "\r\033[K" : "", "fault");
    for (int p = 0; p < FAULT_PHASES; p++)
        printf(" %10s", phase_name(p));
    for (int k = 0; k < FAULT_KINDS; k++) {
        printf("\n%-17s", kind_name(k));
        for (int p = 0; p < FAULT_PHASES; p++)
            show_cell(t->counts[k][p]);
    }
    printf("\n\nM moved %u, S stayed %u, L lost with the host that died %u, B both died, journals "
           "agree %u, ? skipped %u, X bad %u\n",
           t->outcomes[FAULT_MOVED], t->outcomes[FAULT_STAYED], t->outcomes[FAULT_LOST],
           t->outcomes[FAULT_SETTLED], t->outcomes[FAULT_SKIPPED], t->outcomes[FAULT_BAD]);
    printf(
        "%u in doubt, %u decided by the operator, %u restarts, %u ended before their phase; %lld "
        "s\n",
        t->doubts, t->operators, t->restarts, t->missed, (long long)(ms / 1000));
}

/* ---- options ---- */

static int set_name(const char *text, const char *(*name)(int), int n, int *out) {
    *out = find(text, name, n);
    if (*out < 0)
        fprintf(stderr, "faults: no such thing: %s\n", text);
    return *out < 0 ? 2 : -1;
}

static int parse(int argc, char **argv, struct options *o) {
    enum {
        RUNS = 1,
        TIME,
        SEED,
        WIRE,
        FAULT,
        AT,
        BUILD,
        KEEP,
        KEEP_ALL,
        JSON,
        VERBOSE,
        LIST,
        HELP
    };
    static const struct option names[] = {
        {"runs", 1, NULL, RUNS},         {"time", 1, NULL, TIME},
        {"seed", 1, NULL, SEED},         {"wire", 1, NULL, WIRE},
        {"fault", 1, NULL, FAULT},       {"at", 1, NULL, AT},
        {"build", 1, NULL, BUILD},       {"keep", 1, NULL, KEEP},
        {"keep-all", 0, NULL, KEEP_ALL}, {"json", 0, NULL, JSON},
        {"list", 0, NULL, LIST},         {"verbose", 0, NULL, VERBOSE},
        {"help", 0, NULL, HELP},         {0}};
    int status = -1, n = 0;
    for (int c; status < 0 && (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (c) {
        case RUNS: o->runs = (unsigned)strtoul(optarg, NULL, 10); break;
        case TIME: o->time_ms = strtoll(optarg, NULL, 10) * 1000; break;
        case SEED: o->seed = strtoull(optarg, NULL, 10); break;
        case WIRE:
            status = set_name(optarg, wire_name, 3, &n);
            o->wire = (enum fault_wire)n;
            break;
        case FAULT:
            status = set_name(optarg, kind_name, FAULT_KINDS, &n);
            o->kind = (enum fault_kind)n;
            break;
        case AT:
            status = set_name(optarg, phase_name, FAULT_PHASES, &n);
            o->phase = (enum fault_phase)n;
            break;
        case BUILD: o->setup.build = optarg; break;
        case KEEP: o->setup.keep = optarg; break;
        case KEEP_ALL: o->setup.keep_all = true; break;
        case JSON: o->json = true; break;
        case VERBOSE: o->verbose = true; break;
        case LIST: o->list = true; break;
        case HELP: fputs(USAGE, stdout); return 0;
        default: status = 2;
        }
    if (status == 2 || optind != argc)
        fputs(USAGE, stderr);
    return optind != argc ? 2 : status;
}

/* The programs are beside this one. */
static void find_build(struct options *o) {
    ssize_t n = readlink("/proc/self/exe", o->build, sizeof o->build - 1);
    o->build[n > 0 ? n : 0] = 0;
    char *slash = strrchr(o->build, '/');
    if (slash)
        *slash = 0;
    if (!o->setup.build)
        o->setup.build = o->build;
}

static void list(const struct options *o) {
    char text[256];
    for (unsigned i = 0; i < o->runs; i++) {
        struct fault_plan p = plan_of(o, o->seed + i);
        fault_plan_text(&p, text, sizeof text);
        printf("%8llu  %s\n", (unsigned long long)p.seed, text);
    }
}

int main(int argc, char **argv) {
    static struct options o = {.runs = 24,
                               .seed = 1,
                               .wire = FAULT_BOTH_WIRES,
                               .kind = FAULT_KINDS,
                               .phase = FAULT_PHASES,
                               .setup.keep = "/tmp/vms-faults"};
    static struct tally tally;
    int status = parse(argc, argv, &o);
    if (status >= 0)
        return status;
    find_build(&o);
    if (o.list) {
        list(&o);
        return 0;
    }
    o.setup.can_mount = fault_own_mounts();
    int64_t begun = fault_now_ms();
    for (unsigned i = 0; i < o.runs; i++) {
        if (o.time_ms && fault_now_ms() - begun > o.time_ms) {
            fprintf(stderr, "faults: time is over after %u of %u runs\n", i, o.runs);
            break;
        }
        struct fault_result result;
        struct fault_plan p = plan_of(&o, o.seed + i);
        show_progress(&o, i, begun, &tally);
        fault_run(&p, &o.setup, &result);
        count(&tally, &p, &result);
        show_run(&o, &p, &result);
    }
    if (!o.json)
        show_table(&tally, fault_now_ms() - begun);
    return tally.outcomes[FAULT_BAD] ? 1 : 0;
}
