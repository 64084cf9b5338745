/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CORE_READER_H
#define VMSTREAM_CORE_READER_H

#include <vmstream/slice.h>

/**
 * A checked reader over a window of bytes. A read past the window gives zeros and makes the reader
 * short, once and for all; `need` then says how long the window must be for that read. Parsers read
 * a whole record and look at `need` once (MOD-4).
 */
struct vms_reader {
    const uint8_t *ptr;
    size_t len;
    size_t pos;
    size_t need; /* 0: everything so far was inside the window */
};

static inline struct vms_reader vms_reader(struct vms_slice window) {
    return (struct vms_reader){window.ptr, window.len, 0, 0};
}

static inline bool vms_reader_short(const struct vms_reader *r) {
    return r->need != 0;
}

/** The next n bytes, or an empty slice when they are not there. */
static inline struct vms_slice vms_read_bytes(struct vms_reader *r, size_t n) {
    if (r->need || n > r->len - r->pos) {
        if (!r->need)
            r->need = n > SIZE_MAX - r->pos ? SIZE_MAX : r->pos + n;
        return (struct vms_slice){NULL, 0};
    }
    struct vms_slice s = {n ? r->ptr + r->pos : r->ptr, n};
    r->pos += n;
    return s;
}

/* Compilers make one load and one byte swap of these. */
static inline uint16_t vms_be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t vms_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t vms_be64(const uint8_t *p) {
    return (uint64_t)vms_be32(p) << 32 | vms_be32(p + 4);
}

static inline uint8_t vms_read_u8(struct vms_reader *r) {
    struct vms_slice s = vms_read_bytes(r, 1);
    return s.len ? *s.ptr : 0;
}
static inline uint16_t vms_read_u16(struct vms_reader *r) {
    struct vms_slice s = vms_read_bytes(r, 2);
    return s.len ? vms_be16(s.ptr) : 0;
}
static inline uint32_t vms_read_u32(struct vms_reader *r) {
    struct vms_slice s = vms_read_bytes(r, 4);
    return s.len ? vms_be32(s.ptr) : 0;
}
static inline uint64_t vms_read_u64(struct vms_reader *r) {
    struct vms_slice s = vms_read_bytes(r, 8);
    return s.len ? vms_be64(s.ptr) : 0;
}

/** u8 length and that many bytes. */
static inline struct vms_slice vms_read_str8(struct vms_reader *r) {
    return vms_read_bytes(r, vms_read_u8(r));
}

/** True when n more bytes are in the window; otherwise the reader becomes short by them. */
static inline bool vms_reader_want(struct vms_reader *r, size_t n) {
    struct vms_reader ahead = *r;
    (void)vms_read_bytes(&ahead, n);
    r->need = ahead.need;
    return !r->need;
}

#endif
