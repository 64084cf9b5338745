/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CORE_WRITER_H
#define VMSTREAM_CORE_WRITER_H

#include <vmstream/slice.h>

/**
 * A checked writer. What does not fit is not written but still counted, so that after a whole
 * record `pos` is the exact size it takes (MOD-6).
 */
struct vms_writer {
    uint8_t *ptr;
    size_t len;
    size_t pos;
};

static inline struct vms_writer vms_writer(struct vms_room room) {
    return (struct vms_writer){room.ptr, room.len, 0};
}

static inline bool vms_writer_over(const struct vms_writer *w) {
    return w->pos > w->len;
}

static inline void vms_write_bytes(struct vms_writer *w, struct vms_slice s) {
    if (s.len && w->pos <= w->len && s.len <= w->len - w->pos)
        memcpy(w->ptr + w->pos, s.ptr, s.len);
    w->pos += s.len;
}

static inline void vms_write_be(struct vms_writer *w, uint64_t v, size_t n) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    vms_write_bytes(w, vms_slice(bytes, n));
}

static inline void vms_write_u8(struct vms_writer *w, uint8_t v) {
    vms_write_be(w, v, 1);
}
static inline void vms_write_u16(struct vms_writer *w, uint16_t v) {
    vms_write_be(w, v, 2);
}
static inline void vms_write_u32(struct vms_writer *w, uint32_t v) {
    vms_write_be(w, v, 4);
}
static inline void vms_write_u64(struct vms_writer *w, uint64_t v) {
    vms_write_be(w, v, 8);
}

/** u8 length and the bytes. The caller has checked that s.len <= 255. */
static inline void vms_write_str8(struct vms_writer *w, struct vms_slice s) {
    vms_write_u8(w, (uint8_t)s.len);
    vms_write_bytes(w, s);
}

static inline void vms_write_zeros(struct vms_writer *w, size_t n) {
    if (w->pos <= w->len && n <= w->len - w->pos && n)
        memset(w->ptr + w->pos, 0, n);
    w->pos += n;
}

#endif
