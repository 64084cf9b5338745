/* SPDX-License-Identifier: MIT */
#include "tool/tool.h"
#include <stdarg.h>
#include <stdio.h>

static void print_line(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
static void print_line(const char *fmt, va_list args) {
    fputs("vmstream: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int tool_usage(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_line(fmt, args);
    va_end(args);
    return TOOL_USAGE;
}

int tool_local(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_line(fmt, args);
    va_end(args);
    return TOOL_LOCAL;
}
