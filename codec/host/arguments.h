/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_ARGUMENTS_H
#define VMSTREAM_HOST_ARGUMENTS_H

#include <stdbool.h>
#include <vmstream/limits.h>

/** What the command lines of all programs have in common. */

/**
 * A number, decimal or 0x…, with an optional K, M, G or T (powers of 1024), at most max. False: it
 * is none, and *out is as it was.
 */
bool vms_argument_number(const char *text, uint64_t max, uint64_t *out);

/** --limit NAME=VALUE into limits. NULL, or what is wrong with it: static text. */
const char *vms_argument_limit(const char *text, struct vms_limits *limits);
/** --limit help: names, defaults, units and meaning of all limits, to standard output. */
void vms_argument_limits_list(void);

#endif
