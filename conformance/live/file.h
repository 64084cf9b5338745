/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_LIVE_FILE_H
#define CONFORMANCE_LIVE_FILE_H

#include <stddef.h>
#include <stdint.h>

/** Files that ends have left: memory, logs, reports. */

struct live_map {
    const uint8_t *at; /* NULL: there is no such file, or nothing in it */
    size_t len;
};
/** The whole file, to be read; given back with live_unmap(). */
struct live_map live_map(const char *path);
void live_unmap(struct live_map map);

/** The whole file as text, to be freed; NULL: there is no such file, or nothing in it. */
char *live_read(const char *path);
/** How often needle stands in text; text may be NULL. */
unsigned live_count(const char *text, const char *needle);

#endif
