/* SPDX-License-Identifier: MIT */
#include "transcode/to_native.h"

enum {
    PACK_MIN = 256, /* bytes; less than that is not worth a compressor's call */
};

enum vms_transcode vms_to_native_fail(struct vms_to_native *t, enum vms_code code,
                                      const char *what) {
    (void)vms_error_at(&t->error, code, 0, 0, t->number);
    (void)vms_error_set(&t->error, code, "%s", what);
    return VMS_TRANSCODE_ERROR;
}

/* TRC-8: what a QEMU compressed is not packed again. */
static bool worth_packing(const struct vms_to_native *t) {
    return t->config.packer && t->config.level != VMS_LEVEL_NONE && t->given_len >= PACK_MIN &&
           !t->packed_already;
}

static enum vms_transcode pack(struct vms_to_native *t, struct vms_native_out *out) {
    struct vms_packed packed;
    if (vms_packer_pack_bulk(t->config.packer, t->config.level, out->bulk, out->bulk_count, &packed,
                             &t->error) != VMS_OK)
        return VMS_TRANSCODE_ERROR;
    t->gather.front[0] = packed.bulk;
    out->bulk_count = 1;
    out->frame.header.flags = (uint16_t)packed.method;
    out->frame.unpacked = packed.unpacked;
    out->frame.pack = packed.info;
    return VMS_TRANSCODE_FRAME;
}

static void fill_pages(struct vms_to_native *t, struct vms_native_frame *frame) {
    if (t->pending)
        vms_pages_hold_back(t);
    frame->header.type = VMS_NATIVE_PAGES;
    frame->u.pages = t->pages.pages;
    t->given_len = (size_t)t->pages.bulk_len;
}

static void fill(struct vms_to_native *t, struct vms_native_frame *frame) {
    memset(frame, 0, sizeof *frame);
    t->given_len = t->gather.len;
    switch (t->batch) {
    case VMS_BATCH_PAGES: fill_pages(t, frame); break;
    case VMS_BATCH_RECORDS:
        frame->header.type = VMS_NATIVE_RECORDS;
        frame->u.records = (struct vms_native_records){t->record_count, t->records};
        break;
    case VMS_BATCH_BULK:
        frame->header.type = VMS_NATIVE_BULK;
        frame->u.bulk = (struct vms_native_bulk){t->zeros, t->last};
        break;
    default:
        frame->header.type = VMS_NATIVE_OPAQUE;
        frame->u.opaque = (struct vms_native_opaque){t->opaque_at, t->last};
        break;
    }
}

enum vms_transcode vms_emit_batch(struct vms_to_native *t, struct vms_native_out *out) {
    fill(t, &out->frame);
    t->given = true;
    out->bulk = t->gather.front;
    out->bulk_count = vms_gather_front(&t->gather, t->given_len);
    return worth_packing(t) ? pack(t, out) : VMS_TRANSCODE_FRAME;
}

void vms_drop_given(struct vms_to_native *t) {
    if (!t->given)
        return;
    t->given = false;
    vms_gather_drop(&t->gather, t->given_len);
    t->opaque_at += t->given_len;
    t->zeros = 0;
    t->over |= t->last;
    t->packed_already &= t->owed != 0;
    vms_records_reset(t);
    vms_pages_reset(t);
    if (t->batch == VMS_BATCH_OPAQUE || t->pending)
        return;
    t->batch = t->owed ? VMS_BATCH_BULK : VMS_BATCH_NONE;
}
