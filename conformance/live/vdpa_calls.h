/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VDPA_CALLS_H
#define CONFORMANCE_VDPA_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Logs of simulated vDPA devices: calls as words, as spec/06-vdpa.md has them. */

/** The log from an offset on. The caller's to free; NULL: there is none. */
char *vdpa_log_read(const char *path, off_t from);
/** A member of a line of it, without quotes. */
bool vdpa_log_member(const char *line, const char *key, char *out, size_t size);
/**
 * Calls of the log from an offset on, at most so many, those of one kind in a row told once; a
 * status goes with its call. The caller's to free; NULL: there is no log.
 */
char *vdpa_log_calls(const char *path, off_t from, size_t most);
/** Whether a line "name: ..." of the specification's list of calls says these. *says: what it does,
 * static. */
bool vdpa_spec_says(const char *name, const char *calls, const char **says);

#endif
