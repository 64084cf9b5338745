/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_SLICE_H
#define VMSTREAM_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Bytes that somebody else owns: pointer and length as one value. ptr may be NULL when len is 0.
 */
struct vms_slice {
    const uint8_t *ptr;
    size_t len; /* bytes */
};

/** Room that somebody else owns, to be written. */
struct vms_room {
    uint8_t *ptr;
    size_t len; /* bytes */
};

static inline struct vms_slice vms_slice(const void *ptr, size_t len) {
    return (struct vms_slice){(const uint8_t *)ptr, len};
}

static inline struct vms_slice vms_str(const char *text) {
    return vms_slice(text, strlen(text));
}

/** The first n bytes; n is cut to the slice's length. */
static inline struct vms_slice vms_slice_head(struct vms_slice s, size_t n) {
    return (struct vms_slice){s.ptr, n < s.len ? n : s.len};
}

/** What follows the first n bytes; empty when there is nothing. */
static inline struct vms_slice vms_slice_tail(struct vms_slice s, size_t n) {
    if (n >= s.len)
        return (struct vms_slice){s.ptr, 0};
    return (struct vms_slice){s.ptr + n, s.len - n};
}

static inline bool vms_slice_eq(struct vms_slice a, struct vms_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

#endif
