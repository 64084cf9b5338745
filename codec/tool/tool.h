/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_TOOL_H
#define VMSTREAM_TOOL_TOOL_H

#include <stdbool.h>
#include <vmstream/dialect.h>
#include <vmstream/limits.h>

/** The exit statuses of every program (design §5). */
enum tool_exit {
    TOOL_DONE = 0,
    TOOL_BAD = 1,   /* the stream or the peer was bad */
    TOOL_USAGE = 2, /* wrong usage */
    TOOL_LOCAL = 3, /* a local failure */
};

/** What the command line said. Strings point into argv. */
struct tool_options {
    bool json;
    bool records;
    bool return_path;
    bool list;
    const char *block;
    const char *output;
    const char *to;
    const char *seal; /* name of the suite, NULL: none */
    const char *pack; /* "zstd" or "zstd:LEVEL", NULL: none */
    const char *psk;  /* file of pre-shared keys */
    bool recode;      /* unpack what a QEMU compressed */
    const char *dialect_text;
    struct vms_dialect dialect;
    struct vms_limits limits;
    char **files;
    int file_count;
};

/** A subcommand. `options` lists the letters of the options that it takes (options.c). */
struct tool_command {
    const char *name;
    const char *options;
    const char *arguments;
    const char *summary;
    const char *help; /* lines after the usage line */
    int (*run)(const struct tool_options *options);
};

/**
 * Reads a subcommand's arguments; argv[0] is its name. TOOL_DONE with *out filled, or TOOL_USAGE
 * after a line on stderr. *help is set when --help was given: print it and exit 0.
 */
int tool_options_read(const struct tool_command *command, int argc, char **argv,
                      struct tool_options *out, bool *help);

/** Prints "vmstream: " and the text, one line on stderr; returns TOOL_USAGE. */
int tool_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** The same with TOOL_LOCAL. */
int tool_local(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

int tool_inspect(const struct tool_options *options);
int tool_verify(const struct tool_options *options);
int tool_ram(const struct tool_options *options);
int tool_convert(const struct tool_options *options);
int tool_compat(const struct tool_options *options);
/** `convert --to native`. */
int tool_convert_native(const struct tool_options *options);

#endif
