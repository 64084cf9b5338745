/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_PROGRESS_H
#define VMSTREAM_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/** A bar on stderr, only when that is a terminal and the input is big (64 MiB or not known). */
struct progress {
    bool on;
    bool shown;
    uint64_t bytes;
    uint64_t total; /* UINT64_MAX: not known */
    struct timespec last;
};

void progress_start(struct progress *p, uint64_t total);
/** n more bytes were read. */
void progress_add(struct progress *p, uint64_t n);
/** Wipes the bar. */
void progress_stop(struct progress *p);

#endif
