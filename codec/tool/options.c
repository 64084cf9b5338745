/* SPDX-License-Identifier: MIT */
#include "host/arguments.h"
#include "tool/tool.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option LONG_OPTIONS[] = {
    {"json", no_argument, NULL, 'j'},
    {"records", no_argument, NULL, 'v'},
    {"return-path", no_argument, NULL, 'r'},
    {"list", no_argument, NULL, 'l'},
    {"block", required_argument, NULL, 'b'},
    {"output", required_argument, NULL, 'o'},
    {"to", required_argument, NULL, 't'},
    {"seal", required_argument, NULL, 'S'},
    {"pack", required_argument, NULL, 'K'},
    {"recode", no_argument, NULL, 'R'},
    {"dialect", required_argument, NULL, 'D'},
    {"limit", required_argument, NULL, 'L'},
    {"psk", required_argument, NULL, 'P'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void list_limits(void) {
    vms_argument_limits_list();
    exit(TOOL_DONE);
}

static int set_limit(struct vms_limits *limits, const char *text) {
    const char *wrong = vms_argument_limit(text, limits);
    return wrong ? tool_usage("%s: '%s'", wrong, text) : TOOL_DONE;
}

static int set_dialect(struct vms_dialect *dialect, const char *text) {
    struct vms_error err;
    if (vms_dialect_parse(vms_str(text), dialect, &err) == VMS_OK)
        return TOOL_DONE;
    return tool_usage("--dialect %s: want 7.2 or qemu=11.1,machine=7.2,footers=off,...", text);
}

static int set_option(struct tool_options *o, int letter, const char *value) {
    switch (letter) {
    case 'j': o->json = true; return TOOL_DONE;
    case 'v': o->records = true; return TOOL_DONE;
    case 'r': o->return_path = true; return TOOL_DONE;
    case 'l': o->list = true; return TOOL_DONE;
    case 'b': o->block = value; return TOOL_DONE;
    case 'o': o->output = value; return TOOL_DONE;
    case 't': o->to = value; return TOOL_DONE;
    case 'D': o->dialect_text = value; return set_dialect(&o->dialect, value);
    case 'L': return set_limit(&o->limits, value);
    case 'P': o->psk = value; return TOOL_DONE;
    case 'S': o->seal = value; return TOOL_DONE;
    case 'K': o->pack = value; return TOOL_DONE;
    case 'R': o->recode = true; return TOOL_DONE;
    default: return TOOL_USAGE;
    }
}

static int read_option(const struct tool_command *command, int letter, const char *word,
                       struct tool_options *out) {
    if (letter == '?' || letter == ':')
        return tool_usage(letter == ':' ? "%s: '%s' needs a value: see vmstream help %s"
                                        : "%s: no option '%s': see vmstream help %s",
                          command->name, word, command->name);
    if (!strchr(command->options, letter))
        return tool_usage("%s takes no %s: see vmstream help %s", command->name, word,
                          command->name);
    return set_option(out, letter, optarg);
}

int tool_options_read(const struct tool_command *command, int argc, char **argv,
                      struct tool_options *out, bool *help) {
    *out = (struct tool_options){.limits = vms_limits_default()};
    optind = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int letter = getopt_long(argc, argv, ":jvrlb:o:t:S:K:D:L:P:h", LONG_OPTIONS, NULL);
        if (letter < 0)
            break;
        if (letter == 'h') {
            *help = true;
            return TOOL_DONE;
        }
        if (letter == 'L' && strcmp(optarg, "help") == 0)
            list_limits();
        int status = read_option(command, letter, argv[at], out);
        if (status != TOOL_DONE)
            return status;
    }
    out->files = argv + optind;
    out->file_count = argc - optind;
    if (out->file_count == 0)
        return tool_usage("%s: no FILE: see vmstream help %s", command->name, command->name);
    return TOOL_DONE;
}
