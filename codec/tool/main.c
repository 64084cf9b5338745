/* SPDX-License-Identifier: MIT */
#include "host/backend.h"
#include "tool/relay_tool.h"
#include "tool/tool.h"
#include <stdio.h>
#include <string.h>
#include <vmstream/vmstream.h>

static const struct tool_command COMMANDS[] = {
    {"inspect", "jvrDLP", "[--json] [-v] [--return-path] FILE...", "show what a stream holds",
     "  --json               one JSON object a record, a summary or an error last\n"
     "  -v, --records        list every record\n"
     "  --return-path        FILE is a return path (destination to source)\n",
     tool_inspect},
    {"verify", "DLP", "FILE...", "check a stream, one line of answer",
     "  Exit status 0: complete and in good order. Pages are unpacked, not stored.\n", tool_verify},
    {"ram", "bolDLP", "--block NAME --output IMAGE FILE... | --list FILE...",
     "write the final content of a RAM block",
     "  -b, --block NAME     the block, as `ram --list` shows it\n"
     "  -o, --output IMAGE   file to write, sparse; - is standard output\n"
     "  -l, --list           list the RAM blocks\n",
     tool_ram},
    {"convert", "toSKRDLP", "--to qevm|native --output OUT FILE...",
     "write a stream on the other wire, or again on its own",
     "  --to WIRE            qevm: QEMU's own, byte for byte; native: all channels in one file\n"
     "  -o, --output OUT     to qevm the main channel to OUT, the others to OUT.1, OUT.2, ...\n"
     "  --seal SUITE         native: none, gmac, gcm or chacha20, with the first key of --psk\n"
     "  --pack zstd[:LEVEL]  native: compress what is not; level -7 to 19, 1 by default\n"
     "  --recode             native: unpack zlib and zstd of multifd first; the octets then "
     "differ\n",
     tool_convert},
    {"compat", "jv", "[--json] [-v] SOURCE DESTINATION",
     "what would not load, before anyone migrates",
     "  SOURCE and DESTINATION are what QEMU prints with -dump-vmstate, VM descriptions, or "
     "streams\n"
     "  that end with one. Exit status 1: something would not load.\n"
     "  --json               one JSON object a finding, a summary last\n"
     "  -v, --records        also what differs and loads\n",
     tool_compat},
};

enum {
    COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS,
};

/* For those who read a stream. */
static const char STREAM_HELP[] =
    "  -D, --dialect D      what the stream does not tell: 7.2 or qemu=11.1,footers=off,...\n"
    "  --limit NAME=VALUE   sets a limit of the decoder; --limit help lists them\n"
    "  --psk FILE           keys of a native stream, IDENTITY:HEXKEY a line\n"
    "\n"
    "Several FILEs are the channels of one migration, the main channel first. multifd channels "
    "are\n"
    "known by their magic; others are named preempt:FILE, recovery:FILE or return-path:FILE.\n"
    "A native file has all channels in it and comes alone. - is standard input.\n";

static const char STATUS_HELP[] =
    "Exit status: 0 done, 1 bad stream, 2 wrong usage, 3 local failure.\n";

static void print_command_help(const struct tool_command *command) {
    bool stream = strchr(command->options, 'D') != NULL;
    printf("Usage: vmstream %s %s\n%s.\n\n%s%s%s", command->name, command->arguments,
           command->summary, command->help, stream ? STREAM_HELP : "", STATUS_HELP);
}

static int print_help(void) {
    printf("Usage: vmstream COMMAND [OPTION]... FILE...\n"
           "Reads VM migration streams: captures, saved states, mapped-ram files.\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s%s\n", COMMANDS[i].name, COMMANDS[i].summary);
    printf("  %-10s%s\n", "relay", "carry a live migration between hosts: vmstream relay --help");
    printf("  %-10s%s\n", "help", "help on a command: vmstream help COMMAND");
    printf("\nvmstream --version prints the version, and whose cryptography is in use.\n");
    return TOOL_DONE;
}

/* Which cryptography it would use, too: it depends on the machine. */
static int print_version(void) {
    struct vms_error err;
    struct vms_backend *backend = vms_backend_new(NULL, &err);
    printf("vmstream %s\n%s\n", VMSTREAM_VERSION,
           backend ? vms_backend_text(backend) : err.message);
    vms_backend_free(backend);
    return TOOL_DONE;
}

static const struct tool_command *find(const char *name) {
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    return NULL;
}

static int help_on(const char *name) {
    static char relay[] = "relay", option[] = "--help";
    if (strcmp(name, "relay") == 0)
        return tool_relay(2, (char *[]){relay, option, NULL});
    const struct tool_command *command = find(name);
    if (!command)
        return tool_usage("no command '%s': see vmstream help", name);
    print_command_help(command);
    return TOOL_DONE;
}

static int run(const struct tool_command *command, int argc, char **argv) {
    struct tool_options options;
    bool help = false;
    int status = tool_options_read(command, argc, argv, &options, &help);
    if (help)
        print_command_help(command);
    return status != TOOL_DONE || help ? status : command->run(&options);
}

static int dispatch(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (argc < 2)
        return tool_usage("no command: see vmstream help");
    if (strcmp(name, "--version") == 0)
        return print_version();
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return argc > 2 ? help_on(argv[2]) : print_help();
    if (strcmp(name, "relay") == 0)
        return tool_relay(argc - 1, argv + 1);
    const struct tool_command *command = find(name);
    if (!command)
        return tool_usage("no command '%s': see vmstream help", name);
    return run(command, argc - 1, argv + 1);
}

/* What was printed counts only when it got out. */
int main(int argc, char **argv) {
    int status = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return status == TOOL_DONE ? tool_local("standard output: write failed") : status;
    return status;
}
