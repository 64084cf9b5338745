/* SPDX-License-Identifier: MIT */
#include "internal.h"

/*
 * The outline of a zstd frame (RFC 8878, 3.1.1): header, then block headers from one to the next.
 * So the size of the output, the window and the end of the frame are known, and bounded, before a
 * decompressor sees a byte (PACK-7, PACK-8).
 */
enum {
    BLOCK_MAX = 128 << 10,
    BLOCK_RAW = 0,
    BLOCK_RLE = 1,
    BLOCK_RESERVED = 3,
    SINGLE_SEGMENT = 1 << 5,
    FORBIDDEN = 1 << 3 | 1 << 2 | 3, /* reserved bit, checksum, dictionary id */
};

#define ZSTD_MAGIC UINT32_C(0xfd2fb528)
#define NO_SIZE    UINT64_MAX

static uint64_t read_le(struct vms_reader *r, size_t n) {
    struct vms_slice s = vms_read_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = s.len; i-- > 0;)
        v = v << 8 | s.ptr[i];
    return v;
}

/* Window_Size in bytes (3.1.1.1.2). */
static uint64_t window_size(uint8_t descriptor) {
    uint64_t base = UINT64_C(1) << (10 + (descriptor >> 3));
    return base + base / 8 * (descriptor & 7);
}

/* Frame_Content_Size (3.1.1.1.4); NO_SIZE when the frame does not say. */
static uint64_t content_size(struct vms_reader *r, uint8_t descriptor) {
    switch (descriptor >> 6) {
    case 0: return descriptor & SINGLE_SEGMENT ? read_le(r, 1) : NO_SIZE;
    case 1: return read_le(r, 2) + 256;
    case 2: return read_le(r, 4);
    default: return read_le(r, 8);
    }
}

static bool read_header(struct vms_reader *r, uint64_t size) {
    uint64_t magic = read_le(r, 4);
    uint8_t descriptor = vms_read_u8(r);
    uint64_t window = 0;
    if (magic != ZSTD_MAGIC || (descriptor & FORBIDDEN))
        return false;
    if (!(descriptor & SINGLE_SEGMENT))
        window = window_size(vms_read_u8(r));
    return window <= VMS_ZSTD_WINDOW_MAX && content_size(r, descriptor) == size &&
           !vms_reader_short(r);
}

/* Steps over a block; *least becomes the least that it unpacks to. */
static bool read_block(struct vms_reader *r, bool *last, uint64_t *least) {
    uint64_t header = read_le(r, 3);
    size_t size = (size_t)(header >> 3);
    unsigned type = header >> 1 & 3;
    *last = header & 1;
    *least = type == BLOCK_RAW || type == BLOCK_RLE ? size : 0;
    (void)vms_read_bytes(r, type == BLOCK_RLE ? 1 : size);
    return !vms_reader_short(r) && type != BLOCK_RESERVED && size <= BLOCK_MAX;
}

bool vms_zstd_frame_ok(struct vms_slice frame, uint64_t size) {
    struct vms_reader r = vms_reader(frame);
    uint64_t total = 0, least = 0;
    bool last = false;
    if (size == NO_SIZE || !read_header(&r, size))
        return false;
    while (!last) {
        if (!read_block(&r, &last, &least))
            return false;
        total += least;
        if (total > size)
            return false;
    }
    return r.pos == r.len;
}
