/* SPDX-License-Identifier: MIT */
#include "tool/text.h"
#include <stdio.h>

const char *text_size(char *out, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    double n = (double)bytes;
    while (n >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        n /= 1024;
        unit++;
    }
    bool whole = n >= 100 || n == (double)(uint64_t)n;
    (void)snprintf(out, TEXT_SIZE, whole ? "%.0f %s" : "%.1f %s", n, units[unit]);
    return out;
}

const char *text_slice(char *out, size_t size, struct vms_slice s) {
    size_t at = 0;
    for (size_t i = 0; i < s.len; i++) {
        bool plain = s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f && s.ptr[i] != '\\';
        if (at + (plain ? 1u : 4u) >= size)
            break;
        if (plain)
            out[at++] = (char)s.ptr[i];
        else
            at += (size_t)snprintf(out + at, 5, "\\x%02x", s.ptr[i]);
    }
    out[at] = '\0';
    return out;
}

const char *text_hex(char *out, size_t size, struct vms_slice s) {
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < s.len && at + 2 < size; i++) {
        out[at++] = digits[s.ptr[i] >> 4];
        out[at++] = digits[s.ptr[i] & 15];
    }
    out[at] = '\0';
    return out;
}
