/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TRANSCODE_TO_NATIVE_H
#define VMSTREAM_TRANSCODE_TO_NATIVE_H

#include "transcode/gather.h"
#include <vmstream/transcode.h>

/*
 * One batch is in the making at a time, of one of four kinds, each a kind of frame. What does not
 * belong to it, or does not fit, makes it due: the call gives the frame, and the same call, made
 * again, begins the next batch. So no queue is needed and the caller sets the pace.
 *
 *   to_native.c   the calls, which batch takes what      to_records.c  RECORDS
 *   to_emit.c     from batch to frame, packing           to_pages.c    PAGES
 *   gather.c      the bulk of the batch                  to_bulk.c     BULK and OPAQUE
 */
enum vms_batch {
    VMS_BATCH_NONE,
    VMS_BATCH_RECORDS,
    VMS_BATCH_PAGES,
    VMS_BATCH_BULK,
    VMS_BATCH_OPAQUE,
};

struct vms_to_native {
    struct vms_to_native_config config;
    struct vms_error error;
    enum vms_batch batch;
    bool given;       /* the batch is out with the caller: the next call drops it */
    size_t given_len; /* bytes of bulk that went with it */
    bool pending;     /* the record in progress is a page of a PAGES batch, not complete */
    bool opaque;      /* OPAQUE has begun: nothing else may follow */
    bool last;        /* the batch ends bulk of unknown length */
    bool over;
    uint8_t page_bits;
    uint32_t blocks;     /* RAM_BLOCK records so far */
    uint64_t number;     /* records taken */
    uint64_t owed;       /* bulk of the last record still to come, or VMS_BULK_UNKNOWN */
    uint64_t bulk_at;    /* bytes of it that came */
    bool packed_already; /* bulk in the batch is compressed data */
    struct vms_gather gather;
    uint8_t *arena; /* copies of what the batch's records point to */
    size_t arena_cap, arena_used;

    struct vms_record *records;
    uint32_t record_count;
    size_t body; /* octets that they take in the frame's body */
    bool mixed;  /* pages go with the other records of this batch (TRC-3) */
    bool alone;  /* the last record's bulk goes into frames of its own */

    struct vms_native_collect pages;
    struct vms_native_run *runs;
    uint32_t *named;
    struct vms_record page;     /* the last one */
    uint8_t name[VMS_NAME_MAX]; /* of the block, when it goes by name */

    uint64_t zeros;     /* BULK: octets of 0 before the batch's bulk */
    uint64_t opaque_at; /* OPAQUE: offset in the channel of the batch's bulk */
};

/* to_records.c */
/* False: it does not fit into the batch. */
bool vms_records_add(struct vms_to_native *t, const struct vms_record *record);
void vms_records_reset(struct vms_to_native *t);

/* to_pages.c */
/* Whether PAGES can carry the record with all that it says. */
bool vms_pages_fit(const struct vms_to_native *t, const struct vms_record *record);
bool vms_pages_add(struct vms_to_native *t, const struct vms_record *record);
/* Takes the page that is not complete back out of the batch; its bulk stays in the gather list. */
void vms_pages_hold_back(struct vms_to_native *t);
/* Begins anew, with the page that was held back, if there is one. */
void vms_pages_reset(struct vms_to_native *t);

/* to_bulk.c */
/* Takes a piece into a BULK or OPAQUE batch; false: the batch is due first. */
bool vms_bulk_add(struct vms_to_native *t, struct vms_slice *piece);

/* to_emit.c */
/* Gives the batch as a frame. */
enum vms_transcode vms_emit_batch(struct vms_to_native *t, struct vms_native_out *out);
/* Drops what the last frame took, at the begin of a call. */
void vms_drop_given(struct vms_to_native *t);
enum vms_transcode vms_to_native_fail(struct vms_to_native *t, enum vms_code code,
                                      const char *what);

static inline size_t vms_batch_room(const struct vms_to_native *t) {
    return t->config.batch_bytes - t->gather.len;
}

#endif
