/* SPDX-License-Identifier: MIT */
#include "transcode/gather.h"

/* Pieces that are in the buffer already come first and move towards its front, so none is
 * overwritten before it was moved. */
void vms_gather_settle(struct vms_gather *g) {
    size_t at = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (g->pieces[i].ptr != g->buffer + at)
            memmove(g->buffer + at, g->pieces[i].ptr, g->pieces[i].len);
        at += g->pieces[i].len;
    }
    g->count = at > 0;
    g->pieces[0] = vms_slice(g->buffer, at);
}

void vms_gather_add(struct vms_gather *g, struct vms_slice piece) {
    struct vms_slice *last = g->count ? &g->pieces[g->count - 1] : NULL;
    if (piece.len == 0)
        return;
    g->len += piece.len;
    if (last && last->ptr + last->len == piece.ptr) {
        last->len += piece.len;
        return;
    }
    if (g->count == VMS_GATHER_PIECES)
        vms_gather_settle(g);
    g->pieces[g->count++] = piece;
}

size_t vms_gather_front(struct vms_gather *g, size_t n) {
    size_t count = 0;
    while (n > 0) {
        g->front[count] = vms_slice_head(g->pieces[count], n);
        n -= g->front[count++].len;
    }
    return count;
}

void vms_gather_drop(struct vms_gather *g, size_t n) {
    size_t first = 0;
    g->len -= n;
    while (n > 0 && n >= g->pieces[first].len)
        n -= g->pieces[first++].len;
    if (n > 0)
        g->pieces[first] = vms_slice_tail(g->pieces[first], n);
    g->count -= first;
    memmove(g->pieces, g->pieces + first, g->count * sizeof *g->pieces);
}
