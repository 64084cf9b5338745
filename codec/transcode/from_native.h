/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TRANSCODE_FROM_NATIVE_H
#define VMSTREAM_TRANSCODE_FROM_NATIVE_H

#include <vmstream/transcode.h>

/*
 * One frame at a time is in hand. Its records come one by one, each through the QEVM encoder, which
 * says how much bulk it waits for (encoder.bulk_left); bulk is handed on from the frame's.
 *
 *   from_native.c   frames, bulk, the calls      from_record.c   a record and its octets, blocks
 */
struct vms_from_block {
    uint64_t used_length;
    uint8_t name_len;
    uint8_t name[VMS_NAME_MAX];
};

struct vms_from_native {
    struct vms_from_native_config config;
    struct vms_error error;
    struct vms_qevm_encoder encoder;
    const struct vms_native_frame *frame; /* in hand, or NULL */
    struct vms_slice bulk;                /* of it, what was not given yet */
    uint64_t zeros;                       /* to be given before bulk */
    uint32_t next;                        /* RECORDS: the next record */
    struct vms_native_walk walk;          /* PAGES */
    struct vms_record record;
    uint64_t bulk_at; /* bytes of the record's bulk that were given */
    bool opaque;      /* OPAQUE has begun */
    bool over;        /* its last frame came */
    uint32_t block_count;
    struct vms_from_block *blocks;
    struct vms_room head;
};

/* Fails at the place reached. Returns code. */
enum vms_code vms_from_native_fail(struct vms_from_native *t, enum vms_code code, const char *fmt,
                                   ...) __attribute__((format(printf, 3, 4)));
/* Checks and completes t->record, and writes it to *head. */
enum vms_code vms_from_record(struct vms_from_native *t, struct vms_slice *head);
/* [TRC-14] A PAGES frame, before its records are made. */
enum vms_code vms_from_pages_check(struct vms_from_native *t, const struct vms_native_pages *pages);

#endif
