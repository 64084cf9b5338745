/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-faults/run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* vfio-faults: migrations of simulated VFIO devices by real processes, one device of which fails.
 */

static const char usage_text[] =
    "Usage: vfio-faults [OPTION]...\n"
    "Migrates simulated VFIO devices between the reference programs and QEMU, lets one of them "
    "fail\n"
    "as a seed has it, and proves that one end runs afterwards, with its devices, and never "
    "both.\n\n"
    "  --runs N      so many (100)\n"
    "  --seed S      of the first; the next has S+1 (1)\n"
    "  --keep DIR    what was on the wire, logs and reports of what is wrong\n"
    "  --json        one line of JSON for each run, and nothing else\n"
    "  --list        what the runs would be; runs nothing\n"
    "  --help\n\n"
    "Exit status: 0 all well, 1 an oracle says no, 2 wrong usage.\n";

struct options {
    unsigned long runs;
    unsigned long long seed;
    const char *keep;
    bool json, list;
    char build[512];
};

struct tally {
    unsigned outcome[VFM_OUTCOMES], struck, bad, absent;
};

static int parse(int argc, char **argv, struct options *o) {
    static const struct option options[] = {
        {"runs", required_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 's'},
        {"keep", required_argument, NULL, 'k'},
        {"json", no_argument, NULL, 'j'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'r': o->runs = strtoul(optarg, NULL, 10); break;
        case 's': o->seed = strtoull(optarg, NULL, 10); break;
        case 'k': o->keep = optarg; break;
        case 'j': o->json = true; break;
        case 'l': o->list = true; break;
        case 'h': (void)fputs(usage_text, stdout); exit(0);
        default: (void)fputs(usage_text, stderr); return 2;
        }
    }
    return optind == argc ? 0 : 2;
}

static const char *word(const struct vff_result *r) {
    if (r->verdict == VFM_ABSENT)
        return "absent";
    return r->good ? vfm_outcome_name(r->seen.outcome) : "WRONG";
}

static void tell(const struct options *o, unsigned long long seed, const char *plan,
                 const struct vff_result *r) {
    if (o->json) {
        (void)printf(
            "{\"seed\":%llu,\"plan\":\"%s\",\"result\":\"%s\",\"struck\":%s,\"why\":\"%s\"}\n",
            seed, plan, word(r), r->struck ? "true" : "false", r->good ? "" : r->why);
    } else {
        (void)printf("%6llu %-9s %-8s %s%s%s\n", seed, word(r), r->struck ? "struck" : "missed",
                     plan, r->good ? "" : ": ", r->good ? "" : r->why);
        if (!r->good && *r->seen.said)
            (void)printf("       said: %.1200s\n", r->seen.said);
    }
    (void)fflush(stdout);
}

static void count(struct tally *t, const struct vff_result *r) {
    t->absent += r->verdict == VFM_ABSENT;
    t->bad += r->verdict != VFM_ABSENT && !r->good;
    t->struck += r->struck;
    if (r->good)
        t->outcome[r->seen.outcome]++;
}

static void one(const struct options *o, unsigned long long seed, struct tally *t) {
    static struct vff_result r;
    struct vff_plan plan = vff_plan(seed);
    char text[300], keep[600];
    vff_plan_text(&plan, text, sizeof text);
    if (o->list) {
        (void)printf("%6llu %s\n", seed, text);
        return;
    }
    (void)snprintf(keep, sizeof keep, "%s.%llu", o->keep ? o->keep : "", seed);
    const struct vfm_options run = {
        .build = o->build, .cache = "/tmp", .keep = o->keep ? keep : NULL};
    vff_run(&plan, &run, &r);
    tell(o, seed, text, &r);
    count(t, &r);
}

int main(int argc, char **argv) {
    struct options o = {.runs = 100, .seed = 1};
    struct tally t = {.bad = 0};
    int rc = parse(argc, argv, &o);
    if (rc)
        return rc;
    char *self = realpath("/proc/self/exe", NULL), *slash = self ? strrchr(self, '/') : NULL;
    if (slash)
        *slash = 0;
    (void)snprintf(o.build, sizeof o.build, "%s", slash ? self : "build");
    free(self);
    for (unsigned long i = 0; i < o.runs; i++)
        one(&o, o.seed + i, &t);
    if (!o.list && !o.json)
        (void)printf("vfio-faults: %lu runs, %u struck: %u completed, %u failed with the source as "
                     "before, %u wrong, %u without their peer\n",
                     o.runs, t.struck, t.outcome[VFM_COMPLETES], t.outcome[VFM_FAILS], t.bad,
                     t.absent);
    return t.bad ? 1 : 0;
}
