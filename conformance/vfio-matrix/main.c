/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/matrix.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* vfio-matrix: every cell of the matrix in spec/06-vfio.md with real processes. */

static const char usage_text[] =
    "Usage: vfio-matrix [OPTION]... [CELL]...\n"
    "Migrates simulated VFIO devices between QEMUs and the reference programs, old and new\n"
    "switchover acknowledgement, and compares what happens with the specification's table.\n"
    "A CELL is SOURCE/DESTINATION/DEVICES; each part may be '*'. Default: all.\n"
    "\n"
    "  --list          the cells with what must happen, and end\n"
    "  --jobs N        at a time (2)\n"
    "  --jsonl FILE    one JSON object a cell\n"
    "  --keep DIR      what was on the wire, logs and reports, in a folder a cell\n"
    "  --spec FILE     where the table stands (spec/06-vfio.md)\n"
    "  --build DIR     where the programs are (default: beside this one)\n"
    "  --help\n"
    "\n"
    "Exit status: 0 all as it must be, 1 not all, 2 wrong usage, 3 local failure.\n";

enum {
    O_LIST = 256,
    O_JOBS,
    O_JSONL,
    O_KEEP,
    O_SPEC,
    O_BUILD,
    O_HELP,
};

static int parse(int argc, char **argv, struct vfm_matrix_options *o) {
    static const struct option options[] = {
        {"list", no_argument, NULL, O_LIST},         {"jobs", required_argument, NULL, O_JOBS},
        {"jsonl", required_argument, NULL, O_JSONL}, {"keep", required_argument, NULL, O_KEEP},
        {"spec", required_argument, NULL, O_SPEC},   {"build", required_argument, NULL, O_BUILD},
        {"help", no_argument, NULL, O_HELP},         {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case O_LIST: o->list = true; break;
        case O_JOBS: o->jobs = (unsigned)strtoul(optarg, NULL, 10); break;
        case O_JSONL: o->jsonl = optarg; break;
        case O_KEEP: o->keep = optarg; break;
        case O_SPEC: o->spec = optarg; break;
        case O_BUILD: o->build = optarg; break;
        case O_HELP: (void)fputs(usage_text, stdout); exit(0);
        default: (void)fputs(usage_text, stderr); return 2;
        }
    }
    o->patterns = (const char *const *)(argv + optind);
    return o->jobs > 0 && o->jobs <= 16 ? 0 : 2;
}

/* The programs are beside this one. */
static void find_build(const char *self, char *out, size_t size) {
    char *path = realpath(self, NULL), *slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = 0;
    (void)snprintf(out, size, "%s", slash ? path : "build");
    free(path);
}

int main(int argc, char **argv) {
    char build[512];
    struct vfm_matrix_options o = {.spec = "spec/06-vfio.md", .jobs = 2};
    find_build("/proc/self/exe", build, sizeof build);
    o.build = build;
    int rc = parse(argc, argv, &o);
    return rc ? rc : vfm_matrix(&o);
}
