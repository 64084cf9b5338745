/* SPDX-License-Identifier: MIT */
#ifndef VMS_NATIVE_RECORDS_H
#define VMS_NATIVE_RECORDS_H

#include "native/body.h"

/*
 * RECORDS: QEVM records as arrays [number, marks, bulk length, fields...], by tables (NAT-60 to
 * NAT-66). Residue that is canonical is not carried: an encoder of QEMU's wire makes it again.
 */
enum {
    MARK_PACKAGED = 1,
    MARK_GUESSED = 2,
    MARK_UNKNOWN_LENGTH = 4,
    SUBSECTION_ITEMS = 3,
    PACKET_HEAD = 320,
    PACKET_NAME = 256,
};

enum vms_row_kind {
    R_UINT,
    R_FIXED,
    R_BYTES,
    R_BLOCK, /* of a struct vms_rec_ram_page */
};

struct vms_row {
    uint8_t kind;
    uint8_t size;
    uint16_t at; /* in struct vms_record */
    uint64_t max;
};

struct vms_layout {
    const struct vms_row *rows;
    uint8_t count;
};

/* records_table.c */
const struct vms_layout *vms_record_layout(enum vms_record_type type);
extern const struct vms_layout vms_layout_block_rest; /* RAM_BLOCK, behind its parts */
/* [NAT-60] Numbers on the wire are the registry's, whatever the enum's are; 0: none. */
uint64_t vms_record_number(enum vms_record_type type);
enum vms_record_type vms_record_numbered(uint64_t number);
/* Elements of the record's array. */
uint32_t vms_record_items(const struct vms_record *rec);

/* records_write.c */
void vms_write_records(struct vms_writer *w, const struct vms_native_frame *frame);
const char *vms_object_records(const struct vms_native_frame *frame,
                               const struct vms_limits *limits);

#endif
