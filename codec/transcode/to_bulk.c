/* SPDX-License-Identifier: MIT */
#include "transcode/to_native.h"

/* [TRC-7] Holes of mapped-ram files, and pages of zeros that multifd sends as data, cost nothing
 * but a frame's head. Blocks are counted from the begin of the bulk, where pages begin too. */
enum {
    BLOCK = 4096, /* bytes looked at together; a shorter run of zeros is not worth a frame */
};

/* Bytes from the next byte of bulk to the end of its block. */
static size_t to_block_end(const struct vms_to_native *t) {
    return BLOCK - (size_t)(t->bulk_at % BLOCK);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Bytes of 0 at the front, in whole blocks or to the end of the piece. */
static size_t zeros_ahead(const struct vms_to_native *t, struct vms_slice piece) {
    size_t n = 0, block = smaller(to_block_end(t), piece.len);
    while (block > 0 && t->config.page_ops->is_zero(piece.ptr + n, block)) {
        n += block;
        block = smaller(BLOCK, piece.len - n);
    }
    return n;
}

/* Bytes at the front before a whole block of zeros; not 0. */
static size_t data_ahead(const struct vms_to_native *t, struct vms_slice piece) {
    for (size_t n = to_block_end(t); n < piece.len && piece.len - n >= BLOCK; n += BLOCK)
        if (t->config.page_ops->is_zero(piece.ptr + n, BLOCK))
            return n;
    return piece.len;
}

static void take(struct vms_to_native *t, struct vms_slice *piece, size_t n) {
    vms_gather_add(&t->gather, vms_slice_head(*piece, n));
    *piece = vms_slice_tail(*piece, n);
    t->bulk_at += n;
    if (t->owed != VMS_BULK_UNKNOWN)
        t->owed -= n;
}

static void skip_zeros(struct vms_to_native *t, struct vms_slice *piece, size_t n) {
    t->zeros += n;
    *piece = vms_slice_tail(*piece, n);
    t->bulk_at += n;
    t->owed -= n;
}

/* Zeros at the front that go without octets; *due: they need a frame of their own. */
static size_t zeros_to_skip(struct vms_to_native *t, struct vms_slice piece, bool *due) {
    *due = false;
    if (t->batch != VMS_BATCH_BULK || t->owed == VMS_BULK_UNKNOWN)
        return 0;
    size_t n = zeros_ahead(t, piece);
    bool going_on = t->gather.len == 0 && t->zeros > 0;
    if (n < BLOCK && !going_on)
        return 0;
    *due = n > 0 && t->gather.len > 0;
    return n;
}

bool vms_bulk_add(struct vms_to_native *t, struct vms_slice *piece) {
    while (piece->len > 0) {
        bool due;
        size_t n = zeros_to_skip(t, *piece, &due);
        if (due)
            return false;
        if (n > 0) {
            skip_zeros(t, piece, n);
            continue;
        }
        n = vms_batch_room(t);
        if (n == 0)
            return false;
        struct vms_slice head = vms_slice_head(*piece, n);
        n = t->batch == VMS_BATCH_BULK ? data_ahead(t, head) : head.len;
        take(t, piece, n);
    }
    return true;
}
