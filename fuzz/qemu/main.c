// SPDX-License-Identifier: MIT
// fuzz-qemu: a stock QEMU -incoming under changed streams.
#include "blackbox.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    WATCHDOG_MS = 10000,
    MOST_KEPT = 40, // files of one verdict, by a worker
};

struct campaign {
    const char *versions[BB_VERSIONS];
    size_t version_count;
    const char *out, *vmstream;
    uint64_t seed, cases, only;
    bool one;
    unsigned minutes, jobs;
    struct bb_seed seeds[BB_SEEDS];
    size_t seed_count;
};

static const char help[] =
    "usage: fuzz-qemu [--qemu VERSION]... [--minutes N | --cases N | --case K] [OPTION...]\n"
    "       fuzz-qemu --summary DIR\n"
    "\n"
    "Feeds changed streams to a stock QEMU -incoming, a process a case, and says of each whether "
    "it\n"
    "was refused, accepted, crashed or hung. Everything follows from the seed and the case's "
    "number.\n"
    "\n"
    "  --qemu VERSION   7.2, 10.0 or 11.1; may be repeated (default 7.2 and 11.1)\n"
    "  --minutes N      how long (default 5)\n"
    "  --cases N        or how many cases\n"
    "  --case K         that case alone; its stream is kept as DIR/case-K\n"
    "  --seed N         of the campaign (default 1)\n"
    "  --jobs N         QEMUs at once (default 2)\n"
    "  --out DIR        cases.jsonl, and the streams of finds (default fuzz-qemu.out)\n"
    "  --vmstream PATH  our decoder, which judges what QEMU accepted (default build/vmstream)\n"
    "  --summary DIR    the tables of an earlier campaign\n"
    "\n"
    "Exit status: 0 done, whatever was found; 2 wrong usage; 3 no such QEMU, or a local failure.\n";

static int write_file(const char *path, const uint8_t *octets, size_t size) {
    FILE *file = fopen(path, "wbe");
    bool well = file != NULL && fwrite(octets, 1, size, file) == size;

    return (file != NULL && fclose(file) != 0) || !well ? -1 : 0;
}

static void run_case(const struct campaign *g, struct bb_case *c, const char *path,
                     struct bb_result *result) {
    if (write_file(path, c->octets, c->size) != 0) {
        *result = (struct bb_result){.verdict = BB_TROUBLE, .message = "cannot write the stream"};
        return;
    }
    bb_load(c->from->version, c->from->machine, path, WATCHDOG_MS, result);
    if (result->verdict == BB_HANG) { // a busy machine is no hang
        bb_load(c->from->version, c->from->machine, path, 3 * WATCHDOG_MS, result);
    }
    if (result->verdict == BB_ACCEPTED) {
        bb_judge(g->vmstream, path, result);
    }
}

static void keep(const struct campaign *g, const struct bb_case *c, const struct bb_result *result,
                 unsigned kept[BB_VERDICTS]) {
    char path[600];

    if (result->verdict == BB_REFUSED || kept[result->verdict]++ >= MOST_KEPT) {
        return;
    }
    snprintf(path, sizeof path, "%s/%s-%s-%s-%llu", g->out, bb_verdict_name(result->verdict),
             c->from->version, c->from->machine->name, (unsigned long long)c->number);
    write_file(path, c->octets, c->size);
}

static int work(const struct campaign *g, unsigned worker) {
    struct bb_case *c = malloc(sizeof *c);
    time_t end = time(NULL) + (time_t)g->minutes * 60;
    unsigned kept[BB_VERDICTS] = {0};
    char path[600];

    snprintf(path, sizeof path, "%s/current-%u", g->out, worker);
    for (uint64_t k = worker; c != NULL; k += g->jobs) {
        struct bb_result result;

        if (g->cases != 0 ? k >= g->cases : time(NULL) >= end) {
            break;
        }
        if (!bb_change(c, g->seed, k, g->seeds, g->seed_count)) {
            continue;
        }
        run_case(g, c, path, &result);
        keep(g, c, &result, kept);
        if (bb_note(g->out, c, &result) != 0) {
            fprintf(stderr, "fuzz-qemu: cannot write to %s: %s\n", g->out, strerror(errno));
            break;
        }
        if (worker == 0 && k / g->jobs % 100 == 99) {
            fprintf(stderr, "case %llu\n", (unsigned long long)k);
        }
    }
    unlink(path);
    free(c);
    return 0;
}

static int run_one(const struct campaign *g) {
    struct bb_case *c = malloc(sizeof *c);
    struct bb_result result;
    char path[600];

    if (c == NULL) {
        return 3;
    }
    snprintf(path, sizeof path, "%s/case-%llu", g->out, (unsigned long long)g->only);
    bb_change(c, g->seed, g->only, g->seeds, g->seed_count);
    run_case(g, c, path, &result);
    printf("%s, QEMU %s, %s, %s: %s%s%s %s\n", path, c->from->version, c->from->machine->name,
           c->how, bb_verdict_name(result.verdict), result.message[0] != '\0' ? ": " : "",
           result.message, result.clause);
    free(c);
    return 0;
}

static int run_all(const struct campaign *g) {
    for (unsigned w = 0; w < g->jobs; w++) {
        pid_t pid = fork();

        if (pid == 0) {
            _exit(work(g, w));
        }
        if (pid < 0) {
            fprintf(stderr, "fuzz-qemu: cannot fork: %s\n", strerror(errno));
            return 3;
        }
    }
    while (wait(NULL) > 0) {
    }
    return bb_summary(g->out) == 0 ? 0 : 3;
}

static int start(struct campaign *g) {
    char why[800];

    if (g->version_count == 0) {
        g->versions[g->version_count++] = "7.2";
        g->versions[g->version_count++] = "11.1";
    }
    if (mkdir(g->out, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "fuzz-qemu: %s: %s\n", g->out, strerror(errno));
        return 3;
    }
    for (size_t i = 0; i < g->version_count; i++) {
        if (bb_make_seeds(g->versions[i], g->out, g->seeds, &g->seed_count, why, sizeof why) != 0) {
            fprintf(stderr, "fuzz-qemu: %s\n", why);
            return 3;
        }
    }
    return g->one ? run_one(g) : run_all(g);
}

static bool number(const char *text, uint64_t most, uint64_t *value) {
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value <= most;
}

static int usage(const char *what) {
    fprintf(stderr, "fuzz-qemu: %s; --help tells more\n", what);
    return 2;
}

int main(int argc, char **argv) {
    enum {
        QEMU = 1,
        MINUTES,
        CASES,
        CASE,
        SEED,
        JOBS,
        OUT,
        VMSTREAM,
        SUMMARY,
        HELP,
        VERSION
    };
    static const struct option options[] = {
        {"qemu", 1, NULL, QEMU}, {"minutes", 1, NULL, MINUTES},   {"cases", 1, NULL, CASES},
        {"case", 1, NULL, CASE}, {"seed", 1, NULL, SEED},         {"jobs", 1, NULL, JOBS},
        {"out", 1, NULL, OUT},   {"vmstream", 1, NULL, VMSTREAM}, {"summary", 1, NULL, SUMMARY},
        {"help", 0, NULL, HELP}, {"version", 0, NULL, VERSION},   {0}};
    static struct campaign g = {
        .out = "fuzz-qemu.out", .vmstream = "build/vmstream", .seed = 1, .minutes = 5, .jobs = 2};
    uint64_t value = 0;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool good = true;

        switch (option) {
        case QEMU:
            good = g.version_count < BB_VERSIONS;
            if (good) {
                g.versions[g.version_count++] = optarg;
            }
            break;
        case MINUTES:
            good = number(optarg, 10000, &value) && value > 0;
            g.minutes = (unsigned)value;
            break;
        case CASES: good = number(optarg, UINT32_MAX, &g.cases) && g.cases > 0; break;
        case CASE:
            good = number(optarg, UINT32_MAX, &g.only);
            g.one = true;
            break;
        case SEED: good = number(optarg, UINT32_MAX, &g.seed); break;
        case JOBS:
            good = number(optarg, 64, &value) && value > 0;
            g.jobs = (unsigned)value;
            break;
        case OUT: g.out = optarg; break;
        case VMSTREAM: g.vmstream = optarg; break;
        case SUMMARY: return bb_summary(optarg) == 0 ? 0 : 3;
        case HELP: fputs(help, stdout); return 0;
        case VERSION: puts("fuzz-qemu 0.1.0"); return 0;
        default: return usage("no such option");
        }
        if (!good) {
            return usage("a number is wrong, or there are too many versions");
        }
    }
    return optind == argc ? start(&g) : usage("there is no such argument");
}
