/* SPDX-License-Identifier: MIT */
#include "conformance/runner/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: certify [OPTION]...\n"
    "       certify --can SOURCE DESTINATION [FEATURE]\n"
    "Runs the conformance cases over a matrix of implementations, and says who can migrate to "
    "whom.\n"
    "\n"
    "  --profile FILE     implementations and pairs (default: conformance/profiles/full.json)\n"
    "  --quick            only the cases that are marked so: a few minutes\n"
    "  --cell PATTERN     only cells whose id matches ('*' is anything); repeatable\n"
    "  --list             print the cells, and run none\n"
    "  --jobs N           so many at a time (default: by cores and memory)\n"
    "  --patience N       deadlines are so many times as long (a slow or busy machine)\n"
    "  --resume           go on with the last run of the same plan, also when it was finished\n"
    "  --fresh            begin anew, although the last run was interrupted\n"
    "  --render           render the reports of the last run again\n"
    "  --can SRC DST [F]  ask the compatibility table: exit 0 yes, 1 no, 3 never tried;\n"
    "                     an end is NAME or NAME@MACHINE\n"
    "\n"
    "  --out DIR          results, reports, logs (default: build/certify.out)\n"
    "  --build DIR        where the programs are (default: where certify is)\n"
    "  --cases DIR, --expected DIR, --spec DIR\n"
    "                     default: conformance/cases, conformance/profiles/expected, spec\n"
    "  --quiet            no progress\n"
    "  --help, --version\n"
    "\n"
    "DIR has results.jsonl (the source of all reports), report.html, report.tap, report.xml,\n"
    "compatibility.json, and a folder for each cell. A run that was interrupted is continued.\n"
    "Exit status: 0 certified (no FAIL, XPASS, ERROR, TIMEOUT), 1 not, 2 wrong usage, 3 the "
    "engine\n"
    "failed (ERROR).\n";

enum which {
    OPT_PROFILE = 256,
    OPT_QUICK,
    OPT_CELL,
    OPT_LIST,
    OPT_JOBS,
    OPT_PATIENCE,
    OPT_RESUME,
    OPT_FRESH,
    OPT_RENDER,
    OPT_CAN,
    OPT_OUT,
    OPT_BUILD,
    OPT_CASES,
    OPT_EXPECTED,
    OPT_SPEC,
    OPT_QUIET,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"cell", required_argument, NULL, OPT_CELL},
    {"list", no_argument, NULL, OPT_LIST},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"patience", required_argument, NULL, OPT_PATIENCE},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"fresh", no_argument, NULL, OPT_FRESH},
    {"render", no_argument, NULL, OPT_RENDER},
    {"can", no_argument, NULL, OPT_CAN},
    {"out", required_argument, NULL, OPT_OUT},
    {"build", required_argument, NULL, OPT_BUILD},
    {"cases", required_argument, NULL, OPT_CASES},
    {"expected", required_argument, NULL, OPT_EXPECTED},
    {"spec", required_argument, NULL, OPT_SPEC},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int wrong(const char *what) {
    fprintf(stderr, "certify: %s; certify --help says more\n", what);
    return 2;
}

static bool number(const char *text, unsigned *out) {
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || end == text || v < 1 || v > 1000)
        return false;
    *out = (unsigned)v;
    return true;
}

/* What is a text or a flag. */
static bool take(struct cert_options *o, int option) {
    const struct {
        int option;
        const char **text;
        bool *flag;
    } table[] = {
        {OPT_PROFILE, &o->profile, NULL},   {OPT_OUT, &o->out, NULL},
        {OPT_BUILD, &o->build, NULL},       {OPT_CASES, &o->cases, NULL},
        {OPT_EXPECTED, &o->expected, NULL}, {OPT_SPEC, &o->spec, NULL},
        {OPT_QUICK, NULL, &o->quick},       {OPT_LIST, NULL, &o->list},
        {OPT_RESUME, NULL, &o->resume},     {OPT_FRESH, NULL, &o->fresh},
        {OPT_RENDER, NULL, &o->render},     {OPT_QUIET, NULL, &o->quiet},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].option != option)
            continue;
        if (table[i].text)
            *table[i].text = optarg;
        else
            *table[i].flag = true;
        return true;
    }
    return false;
}

static int take_one(struct cert_options *o, int option, bool *can) {
    if (option == '?')
        return 2;
    if (option == OPT_HELP) {
        fputs(usage, stdout);
        return 0;
    }
    if (option == OPT_VERSION) {
        puts("certify (vmstream) 0.1.0");
        return 0;
    }
    if (option == OPT_CAN)
        *can = true;
    if (option == OPT_JOBS && !number(optarg, &o->jobs))
        return wrong("--jobs: a number from 1 to 1000, please");
    if (option == OPT_PATIENCE && !number(optarg, &o->patience))
        return wrong("--patience: a number from 1 to 1000, please");
    if (option == OPT_CELL) {
        o->only = o->only ? o->only : json_array();
        (void)json_array_append_new(o->only, json_string(optarg));
    }
    (void)take(o, option);
    return -1;
}

int cert_options_read(struct cert_options *o, int argc, char **argv) {
    bool can = false;
    int option, rc = -1;
    *o = (struct cert_options){.profile = "conformance/profiles/full.json",
                               .cases = "conformance/cases",
                               .expected = "conformance/profiles/expected",
                               .spec = "spec",
                               .patience = 1};
    while (rc < 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1)
        rc = take_one(o, option, &can);
    if (rc >= 0)
        return rc;
    int left = argc - optind;
    if (can ? left < 2 || left > 3 : left != 0)
        return wrong(can ? "--can SOURCE DESTINATION [FEATURE], please" : "too many arguments");
    for (int i = 0; i < left; i++)
        o->can[i] = argv[optind + i];
    return -1;
}

void cert_options_free(struct cert_options *o) {
    json_decref(o->only);
}
