/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The manual pages and --help name the same options: what --help prints has a place in the page,
 * and what the page explains is an option.
 */

enum {
    MS = 20000,
    PATH = 600,
    TEXT = 1 << 17,
};

static void append(char *text, const char *path) {
    size_t n = strlen(text);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f, "%s", path);
    n += fread(text + n, 1, TEXT - 1 - n, f);
    text[n] = 0;
    (void)fclose(f);
}

/* The exit status of PROGRAM with up to three words; what it prints is appended. */
static int call(const char *program, const char *const words[3], char *text) {
    char exe[PATH], out[] = "/tmp/vms-manual-XXXXXX";
    const char *build = getenv("VMSTREAM_BUILD");
    int fd = mkstemp(out);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    (void)snprintf(exe, sizeof exe, "%s/%s", build ? build : "build", program);
    const char *const argv[] = {exe, words[0], words[1], words[2], NULL};
    int status = live_wait(live_spawn(argv, out, NULL), MS);
    append(text, out);
    (void)unlink(out);
    return status;
}

static void ask(const char *program, const char *first, const char *second, char *text) {
    const char *const words[3] = {first, second};
    cr_expect_eq(call(program, words, text), 0, "%s %s", program, first);
}

static void drop_backslashes(char *text) {
    char *to = text;
    for (const char *at = text; *at; at++)
        if (*at != '\\')
            *to++ = *at;
    *to = 0;
}

static bool goes_on(char c) {
    return islower((unsigned char)c) || isdigit((unsigned char)c) || c == '-';
}

/* The next --option at or behind *at; the length of its name, 0: none. */
static size_t next_option(const char **at) {
    while ((*at = strstr(*at, "--"))) {
        size_t n = 2;
        while (goes_on((*at)[n]))
            n++;
        if (islower((unsigned char)(*at)[2]))
            return n;
        *at += n;
    }
    return 0;
}

static bool names(const char *text, const char *option, size_t n) {
    size_t m;
    for (; (m = next_option(&text)); text += m)
        if (m == n && memcmp(text, option, n) == 0)
            return true;
    return false;
}

/* How many there are, so that an empty text proves nothing. */
static size_t expect_named(const char *where, const char *options, const char *text) {
    size_t n, count = 0;
    for (; (n = next_option(&options)); options += n, count++)
        cr_expect(names(text, options, n), "%s lacks %.*s", where, (int)n, options);
    return count;
}

/* The lines of the page that begin with what they explain. */
static void explained(const char *page, char *out) {
    *out = 0;
    for (const char *at = page; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, "**-", 3) == 0)
            (void)strncat(out, at, strcspn(at, "\n") + 1);
    }
}

static void compare(const char *program, const char *page, char *help) {
    static char manual[TEXT], entries[TEXT];
    manual[0] = 0;
    append(manual, page);
    drop_backslashes(manual);
    explained(manual, entries);
    cr_expect_geq(expect_named(page, help, manual), 10);
    cr_expect_geq(expect_named(program, entries, help), 10);
}

Test(manual, endpoints) {
    static char help[2][TEXT];
    ask("reference-src", "--help", NULL, help[0]);
    compare("reference-src", "reference-src/reference-src.1.md", help[0]);
    ask("reference-dst", "--help", NULL, help[1]);
    compare("reference-dst", "reference-dst/reference-dst.1.md", help[1]);
}

/* Of all its commands, as its own list names them. */
Test(manual, vmstream) {
    static char commands[TEXT], help[TEXT];
    char name[32];
    ask("vmstream", "help", NULL, commands);
    for (const char *at = commands; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (sscanf(at, "  %31[a-z] ", name) == 1 && strncmp(at, "  ", 2) == 0 &&
            strcmp(name, "help") != 0)
            ask("vmstream", "help", name, help);
    }
    (void)strcat(help, " --help --version");
    compare("vmstream", "codec/tool/vmstream.1.md", help);
}

/* What a command's help names in the column of options the command takes: of a value it may
 * complain. */
static size_t expect_taken(const char *command, const char *help) {
    static char said[TEXT];
    char option[32];
    size_t count = 0;
    for (const char *at = help; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (sscanf(at, "  --%29[a-z-]", option + 2) != 1 &&
            sscanf(at, "  -%*c, --%29[a-z-]", option + 2) != 1)
            continue;
        (void)memcpy(option, "--", 2);
        const char *const words[3] = {command, option, "x"};
        said[0] = 0;
        cr_expect_neq(call("vmstream", words, said), 0, "%s %s x", command, option);
        cr_expect_not(strstr(said, "takes no ") || strstr(said, "no option "), "%s", said);
        count++;
    }
    return count;
}

Test(manual, help_of_a_command_names_what_it_takes) {
    static const char *const commands[] = {"inspect", "verify", "ram", "convert", "compat"};
    static char help[TEXT];
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        help[0] = 0;
        ask("vmstream", "help", commands[i], help);
        cr_expect_geq(expect_taken(commands[i], help), 2u, "%s", commands[i]);
    }
}
