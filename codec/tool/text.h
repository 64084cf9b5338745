/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_TEXT_H
#define VMSTREAM_TOOL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <vmstream/slice.h>

enum {
    TEXT_SIZE = 24,
};

/** "1.5 MiB", "4 KiB", "17 B". out takes TEXT_SIZE bytes; returns it. */
const char *text_size(char *out, uint64_t bytes);

/** The slice as a C string in out (size bytes): what is not printable becomes \xNN, what does not
 * fit is cut. Returns out. */
const char *text_slice(char *out, size_t size, struct vms_slice s);

/** Lower-case hexadecimal, cut to size. Returns out. */
const char *text_hex(char *out, size_t size, struct vms_slice s);

#endif
