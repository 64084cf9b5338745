// SPDX-License-Identifier: MIT
//
// record-stream: captures streams of real migrations, with the guest memory to check them against.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "record.h"

#ifndef VMS_VERSION
#define VMS_VERSION "unversioned"
#endif

enum {
    EXIT_BAD = 1,
    EXIT_USAGE = 2,
    EXIT_LOCAL = 3
};

static const char usage_text[] =
    "usage: record-stream --version V --machine M [--scenario NAME] [OPTION...] --out DIR\n"
    "       record-stream --list\n"
    "\n"
    "  --version V      QEMU: 7.2, 10.0, 11.1 (alone on the command line: this program's version)\n"
    "  --to V           QEMU of the destination (default: the same; give a versioned machine)\n"
    "  --machine M      none, pc, q35 or any other value of -machine\n"
    "  --memory N       default 32M; 32776K before 9.0, which loses writes to rounder blocks "
    "(TCG)\n"
    "  --scenario NAME  recorded into DIR; without it all that V has, into DIR/V-M-NAME/\n"
    "  --out DIR        gets stream.*, recovery.*, meta.json and ram/, the source's RAM blocks;\n"
    "                   such files of an earlier recording there are removed\n"
    "  --list           the scenarios\n"
    "  --help\n"
    "\n"
    "A recording counts only if the destination has loaded it, its memory is that of the source "
    "and\n"
    "the guest runs on. Exit status: 0 done, 1 a recording failed, 2 wrong usage, 3 no such "
    "QEMU.\n";

static void list_scenarios(void) {
    for (size_t i = 0; record_scenarios[i].name != NULL; i++) {
        const struct record_scenario *scenario = &record_scenarios[i];
        char until[16] = "";

        if (scenario->until != 0) {
            snprintf(until, sizeof until, "%u.%u", scenario->until / 100, scenario->until % 100);
        }
        printf("%-20s %2u.%u-%-5s %s\n", scenario->name, scenario->since / 100,
               scenario->since % 100, until, scenario->about);
    }
}

__attribute__((noreturn)) static void wrong_usage(const char *what, const char *value) {
    fprintf(stderr, "record-stream: %s%s%s\n%s", what, value[0] != '\0' ? ": " : "", value,
            usage_text);
    exit(EXIT_USAGE);
}

static const struct option options[] = {
    {"version", optional_argument, NULL, 'v'},
    {"to", required_argument, NULL, 't'},
    {"machine", required_argument, NULL, 'm'},
    {"memory", required_argument, NULL, 'M'},
    {"scenario", required_argument, NULL, 's'},
    {"out", required_argument, NULL, 'o'},
    {"list", no_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void set_scenario(struct record_request *request, const char *name) {
    request->scenario = record_find_scenario(name);
    if (request->scenario == NULL) {
        wrong_usage("unknown scenario", name);
    }
}

// "--version" and "--version V" both exist, which getopt_long does not know.
static const char *version_argument(int argc, char **argv) {
    if (optarg != NULL) {
        return optarg;
    }
    if (optind < argc && argv[optind][0] != '-') {
        return argv[optind++];
    }
    puts("record-stream (vmstream) " VMS_VERSION);
    exit(0);
}

static void set_option(struct record_request *request, int code, int argc, char **argv) {
    switch (code) {
    case 'v': request->version = version_argument(argc, argv); break;
    case 't': request->to_version = optarg; break;
    case 'm': request->machine = optarg; break;
    case 'M': request->memory = optarg; break;
    case 's': set_scenario(request, optarg); break;
    case 'o': request->out = optarg; break;
    case 'l': list_scenarios(); exit(0);
    case 'h': fputs(usage_text, stdout); exit(0);
    default: exit(EXIT_USAGE);
    }
}

static void parse(struct record_request *request, int argc, char **argv) {
    int code;

    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        set_option(request, code, argc, argv);
    }
    if (optind != argc) {
        wrong_usage("unexpected argument", argv[optind]);
    }
    if (request->version == NULL || request->machine == NULL || request->out == NULL) {
        wrong_usage("--version, --machine and --out are needed", "");
    }
    if (request->to_version == NULL) {
        request->to_version = request->version;
    }
}

// QEMU before 9.0 loses guest writes when it migrates a running guest under TCG: its dirty bitmap's
// fast path, for blocks of whole 256 KiB, does not make the processor's TLB report the next write
// (fixed by QEMU's commit 03bfc2188f). A block of an odd size takes the slow path, which does.
static const char *default_memory(const struct vms_peer *peer) {
    return peer->major < 9 ? "32776K" : "32M";
}

static double now(void) {
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int record_one(const struct record_request *request) {
    struct record_run run;
    double begun = now();
    int status;

    printf("%s %s %s: ", request->version, request->machine, request->scenario->name);
    fflush(stdout);
    status = record_scenario(&run, request);
    if (status == 0) {
        json_t *file;
        size_t i;

        printf("ok, %.1f s,", now() - begun);
        json_array_foreach(json_object_get(run.meta, "files"), i, file) {
            printf(" %s %s %lld;", json_string_value(json_object_get(file, "channel")),
                   json_string_value(json_object_get(file, "direction")),
                   (long long)json_integer_value(json_object_get(file, "bytes")));
        }
        printf(" %zu RAM blocks\n", run.dump.count - run.dump.missing);
    } else {
        printf("FAILED, %.1f s: %s\n", now() - begun, run.error);
    }
    fflush(stdout);
    record_clean_up(&run);
    return status;
}

static int record_all(struct record_request *request, const struct vms_peer *source,
                      const struct vms_peer *destination) {
    const char *root = request->out;
    int failed = 0;

    for (size_t i = 0; record_scenarios[i].name != NULL; i++) {
        char out[PATH_MAX];

        request->scenario = &record_scenarios[i];
        if (!record_supports(request->scenario, source) ||
            !record_supports(request->scenario, destination)) {
            printf("%s %s %s: skipped, not in this version\n", request->version, request->machine,
                   request->scenario->name);
            continue;
        }
        snprintf(out, sizeof out, "%s/%s-%s-%s", root, request->version, request->machine,
                 request->scenario->name);
        request->out = out;
        failed += record_one(request) != 0;
    }
    return failed;
}

static void find_peer(const char *version, struct vms_peer *peer) {
    if (!vms_peer_find(version, peer)) {
        fprintf(stderr, "record-stream: QEMU %s is absent (see conformance/peers/fetch)\n",
                version);
        exit(EXIT_LOCAL);
    }
}

int main(int argc, char **argv) {
    struct record_request request = {0};
    struct vms_peer source;
    struct vms_peer destination;
    int failed;

    parse(&request, argc, argv);
    find_peer(request.version, &source);
    find_peer(request.to_version, &destination);
    if (request.memory == NULL) {
        request.memory = default_memory(&source);
    }
    if (mkdir(request.out, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "record-stream: %s: %s\n", request.out, strerror(errno));
        return EXIT_LOCAL;
    }
    failed = request.scenario != NULL ? record_one(&request) != 0
                                      : record_all(&request, &source, &destination);
    return failed == 0 ? 0 : EXIT_BAD;
}
