/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_PACK_ARENA_H
#define VMSTREAM_PACK_ARENA_H

#include <vmstream/slice.h>

/*
 * Cuts an object's parts out of one piece of memory. The same calls with base NULL only count, so
 * that size and layout cannot differ. Parts are aligned to 64 bytes relative to the base.
 */
struct vms_arena {
    uint8_t *base; /* NULL: count */
    size_t used;
};

static inline void *vms_arena_take(struct vms_arena *arena, size_t n) {
    size_t at = (arena->used + 63) & ~(size_t)63;
    arena->used = n > SIZE_MAX / 2 - at ? SIZE_MAX / 2 : at + n;
    return arena->base ? arena->base + at : NULL;
}

#endif
