/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The simulation as a program: many runs, each replayable by its number. */

struct options {
    struct sim_config config;
    uint64_t runs;
    bool verbose, json;
};

struct totals {
    uint64_t runs, failed, completed, went_back, cancelled, doubted, resolved, window, both, lost;
    uint64_t postcopy, events, open;
    uint64_t reason[VMS_CODE_COUNT];
    struct sim_coverage coverage;
};

static void usage(FILE *out) {
    fputs("usage: sim [OPTION]...\n"
          "Runs whole migrations of both engines under virtual time.\n\n"
          "  --seed N          number of the first run (1)\n"
          "  --runs N          so many (1000)\n"
          "  --wire W          native (default) or qevm\n"
          "  --faults LIST     all, none (default), or some of: cut loss crash freeze journal\n"
          "                    locks cancel double load memory; hasty: who is in doubt runs its\n"
          "                    guest, as a stock source does (not in all)\n"
          "  --scheduler S     drr (default) or serial\n"
          "  --plant M         a mistake: resume grant page journal locks\n"
          "  --verbose         every event of every run\n"
          "  --json            the totals as JSON\n"
          "  --help, --version\n\n"
          "Exit status: 0 all runs kept the rules, 1 one did not (its number and its events are\n"
          "printed), 2 wrong usage.\n",
          out);
}

static bool parse_faults(char *list, unsigned *out) {
    *out = 0;
    for (char *word = strtok(list, ", "); word; word = strtok(NULL, ", ")) {
        unsigned i = 0;
        while (i < SIM_FAULTS && strcmp(word, sim_fault_name(i)))
            i++;
        if (!strcmp(word, "all"))
            *out |= SIM_FAULT_ALL;
        else if (i < SIM_FAULTS)
            *out |= 1u << i;
        else if (strcmp(word, "none"))
            return false;
    }
    return true;
}

static bool parse_plant(const char *word, enum sim_plant *out) {
    for (unsigned i = 0; i < SIM_PLANTS; i++)
        if (!strcmp(word, sim_plant_name((enum sim_plant)i))) {
            *out = (enum sim_plant)i;
            return true;
        }
    return false;
}

static bool parse_number(const char *text, uint64_t *out) {
    char *end;
    *out = strtoull(text, &end, 0);
    return *text >= '0' && *text <= '9' && !*end;
}

static bool parse_choice(const char *text, const char *no, const char *yes, bool *out) {
    *out = !strcmp(text, yes);
    return *out || !strcmp(text, no);
}

static bool parse_option(int c, char *arg, struct options *o) {
    bool serial = false, good = true;
    switch (c) {
    case 's': return parse_number(arg, &o->config.seed);
    case 'n': return parse_number(arg, &o->runs);
    case 'w': return parse_choice(arg, "qevm", "native", &o->config.native);
    case 'f': return parse_faults(arg, &o->config.faults);
    case 'd':
        good = parse_choice(arg, "drr", "serial", &serial);
        o->config.scheduler = serial ? SRC_SCHEDULER_SERIAL : SRC_SCHEDULER_DRR;
        return good;
    case 'p': return parse_plant(arg, &o->config.plant);
    case 'v': return o->verbose = true;
    case 'j': return o->json = true;
    default: return false;
    }
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o) {
    static const struct option longs[] = {{"seed", 1, NULL, 's'},
                                          {"runs", 1, NULL, 'n'},
                                          {"wire", 1, NULL, 'w'},
                                          {"faults", 1, NULL, 'f'},
                                          {"scheduler", 1, NULL, 'd'},
                                          {"plant", 1, NULL, 'p'},
                                          {"verbose", 0, NULL, 'v'},
                                          {"json", 0, NULL, 'j'},
                                          {"help", 0, NULL, 'h'},
                                          {"version", 0, NULL, 'V'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'h')
            return usage(stdout), 0;
        if (c == 'V')
            return puts("sim 0.1.0"), 0;
        if (parse_option(c, optarg, o))
            continue;
        return usage(stderr), 2;
    }
    if (optind == argc)
        return -1;
    return usage(stderr), 2;
}

static void count(struct totals *t, const struct sim_result *r) {
    t->runs++;
    t->failed += !r->ok;
    t->completed += r->ok && r->src == SRC_COMPLETED;
    t->went_back += r->ok && r->src == SRC_FAILED;
    t->cancelled += r->ok && r->src == SRC_CANCELLED;
    t->open += r->ok && r->src < SRC_COMPLETED;
    t->doubted += r->doubted;
    t->resolved += r->resolved;
    t->window += r->window;
    t->both += r->both;
    t->lost += r->ok && r->lost;
    t->postcopy += r->postcopy;
    t->events += r->events;
    t->reason[r->reason] += r->ok && r->src >= SRC_FAILED;
}

static unsigned cells(const uint64_t *table, size_t states) {
    unsigned sum = 0;
    for (size_t s = 0; s < states; s++)
        for (uint64_t events = table[s]; events; events &= events - 1)
            sum++;
    return sum;
}

static double seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print(const struct options *o, const struct totals *t, double s) {
    const struct sim_coverage *c = &t->coverage;
    unsigned src = cells(c->src, SRC_STATE_COUNT);
    unsigned dst =
        o->config.native ? cells(c->native, DST_N_STATE_COUNT) : cells(c->qevm, DST_STATE_COUNT);
    size_t src_all = SRC_STATE_COUNT * SRC_EVENT_COUNT;
    size_t dst_all =
        o->config.native ? DST_N_STATE_COUNT * DST_NEV_COUNT : DST_STATE_COUNT * DST_EVENT_COUNT;
    const char *format =
        o->json ? "{\"runs\":%" PRIu64 ",\"broken\":%" PRIu64 ",\"completed\":%" PRIu64
                  ",\"failed\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"postcopy\":%" PRIu64
                  ",\"in_doubt\":%" PRIu64 ",\"resolved_by_operator\":%" PRIu64
                  ",\"qevm_window\":%" PRIu64 ",\"both_ran\":%" PRIu64 ",\"lost\":%" PRIu64
                  ",\"events\":%" PRIu64 ",\"runs_per_minute\":%.0f,\"source_cells\":[%u,%zu]"
                  ",\"destination_cells\":[%u,%zu]}\n"
                : "runs %" PRIu64 ", broken %" PRIu64 "\n  completed %" PRIu64 ", failed %" PRIu64
                  ", cancelled %" PRIu64 "; postcopy %" PRIu64 "\n  in doubt %" PRIu64
                  ", decided by the operator %" PRIu64 ", QEVM's window %" PRIu64
                  ", both ran %" PRIu64 ", lost %" PRIu64 "\n  events %" PRIu64
                  ", %.0f runs a minute on one core\n  cells: source %u of %zu, destination %u of "
                  "%zu\n";
    printf(format, t->runs, t->failed, t->completed, t->went_back, t->cancelled, t->postcopy,
           t->doubted, t->resolved, t->window, t->both, t->lost, t->events,
           (double)t->runs / s * 60, src, src_all, dst, dst_all);
}

static void print_reasons(const struct totals *t) {
    printf("  reasons:");
    for (unsigned c = 0; c < VMS_CODE_COUNT; c++)
        if (t->reason[c])
            printf(" %s %" PRIu64, vms_code_name((enum vms_code)c), t->reason[c]);
    puts("");
}

/* Again, with every event. */
static void explain(const struct sim_config *config) {
    struct sim_config again = *config;
    struct sim_result r;
    again.trace = true;
    sim_run(&again, &r, NULL);
    fprintf(stderr, "seed %" PRIu64 ": %s\n", config->seed, r.ok ? "kept the rules" : r.why);
}

int main(int argc, char **argv) {
    static struct totals totals;
    struct options o = {.config = {.seed = 1, .native = true}, .runs = 1000};
    int status = parse(argc, argv, &o);
    if (status >= 0)
        return status;
    double begin = seconds();
    o.config.trace = o.verbose;
    for (uint64_t n = 0; n < o.runs && !totals.failed; n++, o.config.seed++) {
        struct sim_result r;
        sim_run(&o.config, &r, &totals.coverage);
        count(&totals, &r);
        if (!r.ok && !o.verbose)
            explain(&o.config);
    }
    print(&o, &totals, seconds() - begin);
    if (!o.json)
        print_reasons(&totals);
    return totals.failed ? 1 : 0;
}
