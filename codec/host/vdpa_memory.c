/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* What the kernel's own books say of this process: proc(5). */

uint64_t vms_vdpa_pinned(void) {
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmPin: %llu kB", &kib) == 1)
            break;
    if (file)
        (void)fclose(file);
    return kib * 1024;
}

bool vms_vdpa_is_shared(const uint8_t *memory, uint64_t length) {
    const uint64_t from = (uint64_t)(uintptr_t)memory, to = from + length;
    FILE *file = fopen("/proc/self/maps", "re");
    char *line = NULL, mode[8];
    size_t room = 0;
    uint64_t at = from;
    unsigned long long first, end;
    while (file && at < to && getline(&line, &room, file) > 0) {
        if (sscanf(line, "%llx-%llx %7s", &first, &end, mode) != 3 || end <= at)
            continue;
        if (first > at || mode[3] != 's') /* a hole, or private */
            break;
        at = end;
    }
    free(line);
    if (file)
        (void)fclose(file);
    return at >= to;
}
