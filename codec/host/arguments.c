/* SPDX-License-Identifier: MIT */
#include "host/arguments.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LIMIT_BITS = 48, /* of a limit: sums of some of them do not overflow */
};

static const struct {
    const char *name, *unit, *text;
    uint64_t value;
    size_t offset;
} LIMITS[] = {
#define VMS_LIMIT(name, value, unit, text)                                                         \
    {#name, unit, text, value, offsetof(struct vms_limits, name)},
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
};

bool vms_argument_number(const char *text, uint64_t max, uint64_t *out) {
    static const char suffixes[] = "KMGT";
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 0);
    const char *suffix = *end ? strchr(suffixes, *end & ~0x20) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if (errno || (*end && (!suffix || end[1])) || n > UINT64_MAX >> shift || n << shift > max)
        return false;
    *out = (uint64_t)n << shift;
    return true;
}

const char *vms_argument_limit(const char *text, struct vms_limits *limits) {
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;
    if (!equals)
        return "--limit wants NAME=VALUE; --limit help lists the names";
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        uint64_t value;
        if (strlen(LIMITS[i].name) != len || memcmp(LIMITS[i].name, text, len) != 0)
            continue;
        if (!vms_argument_number(equals + 1, UINT64_C(1) << LIMIT_BITS, &value))
            return "--limit: not a number";
        memcpy((char *)limits + LIMITS[i].offset, &value, sizeof value);
        return NULL;
    }
    return "--limit: no such limit; --limit help lists them";
}

void vms_argument_limits_list(void) {
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++)
        printf("%-22s %14llu %-9s %s\n", LIMITS[i].name, (unsigned long long)LIMITS[i].value,
               LIMITS[i].unit, LIMITS[i].text);
}
