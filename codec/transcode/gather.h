/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TRANSCODE_GATHER_H
#define VMSTREAM_TRANSCODE_GATHER_H

#include <vmstream/slice.h>

/*
 * The bulk of a batch as a list of pieces that stay where they are, in the caller's memory.
 * Settling copies them into a buffer of the batch's size; so memory is bounded however the input is
 * cut, and a page is copied only when the caller needs its memory back before the frame is due
 * (MOD-11).
 */
enum {
    VMS_GATHER_PIECES = 512,
};

struct vms_gather {
    uint8_t *buffer; /* cap bytes */
    size_t cap;
    size_t len; /* of all pieces, at most cap */
    size_t count;
    struct vms_slice pieces[VMS_GATHER_PIECES];
    struct vms_slice front[VMS_GATHER_PIECES]; /* see vms_gather_front() */
};

/** Adds a piece; it must fit. */
void vms_gather_add(struct vms_gather *g, struct vms_slice piece);
void vms_gather_settle(struct vms_gather *g);
/** The first n bytes as pieces in g->front. Returns their number. */
size_t vms_gather_front(struct vms_gather *g, size_t n);
/** Takes n bytes off the front. */
void vms_gather_drop(struct vms_gather *g, size_t n);

#endif
