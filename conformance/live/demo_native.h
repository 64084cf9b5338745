/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_DEMO_NATIVE_H
#define CONFORMANCE_DEMO_NATIVE_H

#include <stdbool.h>

/** `make demo`, second half: reference-src to reference-dst, sealed; then postcopy. */

/** "==> text", in colour on a terminal. */
void demo_step(const char *text);
/** Shows the last lines of both logs in place, on a terminal, until over() says so. */
void demo_watch(const char *source_log, const char *destination_log, bool (*over)(void *ctx),
                void *ctx);
/** build: folder of the programs. 0, or -1 after saying why on standard error. */
int demo_native(const char *build);

#endif
