/* SPDX-License-Identifier: MIT */
#include "transcode/from_native.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- construction ---- */

struct vms_from_native_config vms_from_native_config_default(void) {
    return (struct vms_from_native_config){.kind = VMS_QEVM_MAIN, .limits = vms_limits_default()};
}

static size_t aligned(size_t n) {
    return (n + 15) & ~(size_t)15;
}

/* Only the main channel lists blocks; more than a u32 counts are never listed (LIM-3). */
static size_t block_bytes(const struct vms_from_native_config *c) {
    bool lists = c->kind == VMS_QEVM_MAIN;
    return lists ? aligned((size_t)c->limits.ram_blocks * sizeof(struct vms_from_block)) : 0;
}

size_t vms_from_native_size(const struct vms_from_native_config *c) {
    if (c->limits.ram_blocks > UINT32_MAX)
        return 0;
    return aligned(sizeof(struct vms_from_native)) + block_bytes(c) +
           aligned(vms_qevm_encode_max(&c->limits));
}

struct vms_from_native *vms_from_native_init(void *mem, size_t mem_len,
                                             const struct vms_from_native_config *config) {
    struct vms_from_native *t = mem;
    size_t size = vms_from_native_size(config);
    if (!mem || !size || mem_len < size)
        return NULL;
    memset(t, 0, sizeof *t);
    t->config = *config;
    t->blocks = (void *)((uint8_t *)mem + aligned(sizeof *t));
    t->head.ptr = (uint8_t *)(void *)t->blocks + block_bytes(config);
    t->head.len = vms_qevm_encode_max(&config->limits);
    vms_qevm_encoder_init(&t->encoder, config->channel, &config->dialect);
    return t;
}

void vms_from_native_adopt(struct vms_from_native *t, const struct vms_from_native *main_channel) {
    t->encoder.dialect = main_channel->encoder.dialect;
    if (t->config.kind == VMS_QEVM_MAIN)
        return;
    t->blocks = main_channel->blocks;
    t->block_count = main_channel->block_count;
}

uint64_t vms_from_native_offset(const struct vms_from_native *t) {
    return t->encoder.offset;
}

bool vms_from_native_takes(uint32_t type) {
    return type == VMS_NATIVE_RECORDS || type == VMS_NATIVE_PAGES || type == VMS_NATIVE_BULK ||
           type == VMS_NATIVE_OPAQUE;
}

enum vms_code vms_from_native_fail(struct vms_from_native *t, enum vms_code code, const char *fmt,
                                   ...) {
    char detail[120];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    (void)vms_error_at(&t->error, code, t->config.channel, t->encoder.offset, t->encoder.number);
    return vms_error_set(&t->error, code, "%s", detail);
}

/* ---- frames ---- */

/* [TRC-15] */
static enum vms_code begin_opaque(struct vms_from_native *t, const struct vms_native_opaque *o) {
    if (o->offset != t->encoder.offset)
        return vms_from_native_fail(t, VMS_E_TRANSCODE_OFFSET, "%llu, not %llu",
                                    (unsigned long long)o->offset,
                                    (unsigned long long)t->encoder.offset);
    return VMS_OK;
}

/* [NAT-61] [NAT-62] */
static enum vms_code begin_bulk(struct vms_from_native *t, const struct vms_native_bulk *b) {
    uint64_t owed = t->encoder.bulk_left;
    if (b->zeros > owed || t->bulk.len > owed - b->zeros)
        return vms_from_native_fail(
            t, VMS_E_NATIVE_RECORD, "%llu zeros and %zu octets where %llu are to come",
            (unsigned long long)b->zeros, t->bulk.len, (unsigned long long)owed);
    if (b->last && owed != VMS_BULK_UNKNOWN)
        return vms_from_native_fail(t, VMS_E_NATIVE_RECORD, "the end of bulk of known length");
    t->zeros = b->zeros;
    return VMS_OK;
}

/* Whether a frame of this type may come now. */
static enum vms_code check_order(struct vms_from_native *t, uint32_t type) {
    bool owed = t->encoder.bulk_left != 0;
    if (!vms_from_native_takes(type) || t->over || (t->opaque && type != VMS_NATIVE_OPAQUE))
        return vms_from_native_fail(t, VMS_E_TRANSCODE_FRAME, "%s%s", vms_native_type_name(type),
                                    t->opaque ? " behind OPAQUE" : "");
    if (owed && !t->opaque && type != VMS_NATIVE_BULK)
        return vms_from_native_fail(t, VMS_E_NATIVE_RECORD, "%s where bulk of %s goes on",
                                    vms_native_type_name(type), vms_record_name(t->record.type));
    if (!owed && type == VMS_NATIVE_BULK)
        return vms_from_native_fail(t, VMS_E_NATIVE_RECORD, "no record waits for any");
    return VMS_OK;
}

static enum vms_code begin_frame(struct vms_from_native *t, const struct vms_native_frame *frame) {
    if (check_order(t, frame->header.type) != VMS_OK)
        return t->error.code;
    switch (frame->header.type) {
    case VMS_NATIVE_PAGES: return vms_from_pages_check(t, &frame->u.pages);
    case VMS_NATIVE_BULK: return begin_bulk(t, &frame->u.bulk);
    case VMS_NATIVE_OPAQUE: return begin_opaque(t, &frame->u.opaque);
    default: return VMS_OK;
    }
}

/* [NAT-66] Neither octets nor their end. */
static bool says_nothing(const struct vms_native_frame *frame, struct vms_slice bulk) {
    return frame->header.type == VMS_NATIVE_OPAQUE && !frame->u.opaque.last && !bulk.len;
}

enum vms_code vms_from_native_frame(struct vms_from_native *t, const struct vms_native_frame *frame,
                                    struct vms_slice bulk) {
    if (t->error.code)
        return VMS_OK;
    if (t->frame)
        return VMS_E_MISUSE;
    if (says_nothing(frame, bulk) && !t->over && !t->encoder.bulk_left) {
        (void)begin_opaque(t, &frame->u.opaque);
        return VMS_OK;
    }
    t->bulk = bulk;
    t->zeros = 0;
    t->next = 0;
    t->walk = (struct vms_native_walk){0};
    if (begin_frame(t, frame) == VMS_OK)
        t->frame = frame;
    return VMS_OK;
}

/* [NAT-61] The frame is used up; what it has left belongs to nobody. */
static enum vms_code end_frame(struct vms_from_native *t) {
    const struct vms_native_frame *f = t->frame;
    if (t->bulk.len > 0)
        return vms_from_native_fail(t, VMS_E_NATIVE_RECORD, "%zu octets too many", t->bulk.len);
    bool last = (f->header.type == VMS_NATIVE_BULK && f->u.bulk.last) ||
                (f->header.type == VMS_NATIVE_OPAQUE && f->u.opaque.last);
    if (last)
        t->encoder.bulk_left = 0;
    t->over |= last && t->opaque;
    t->frame = NULL;
    return VMS_OK;
}

/* ---- steps ---- */

/* The frame's next record in t->record; false: it has no more. */
static bool next_record(struct vms_from_native *t) {
    const struct vms_native_frame *f = t->frame;
    switch (f->header.type) {
    case VMS_NATIVE_RECORDS:
        if (t->next == f->u.records.count)
            return false;
        t->record = f->u.records.records[t->next++];
        return true;
    case VMS_NATIVE_PAGES: return vms_native_pages_next(&f->u.pages, &t->walk, &t->record);
    case VMS_NATIVE_OPAQUE:
        if (t->opaque)
            return false;
        t->opaque = true;
        t->record = (struct vms_record){.type = VMS_R_DEVICE_TAIL, .bulk_len = VMS_BULK_UNKNOWN};
        return true;
    default: return false;
    }
}

static enum vms_step failed(struct vms_from_native *t, struct vms_from_native_event *ev) {
    ev->error = &t->error;
    return VMS_STEP_ERROR;
}

static enum vms_step give_record(struct vms_from_native *t, bool owed,
                                 struct vms_from_native_event *ev) {
    if (owed)
        (void)vms_from_native_fail(t, VMS_E_NATIVE_RECORD, "%s where bulk is still to come",
                                   vms_record_name(t->record.type));
    if (owed || vms_from_record(t, &ev->head) != VMS_OK)
        return failed(t, ev);
    ev->record = t->record;
    return VMS_STEP_RECORD;
}

static enum vms_step give_bulk(struct vms_from_native *t, struct vms_from_native_event *ev) {
    uint64_t owed = t->encoder.bulk_left;
    ev->record = t->record;
    ev->bulk_offset = t->bulk_at;
    ev->zeros = t->zeros;
    ev->bulk = t->zeros ? vms_slice(NULL, 0)
                        : vms_slice_head(t->bulk, owed < t->bulk.len ? (size_t)owed : t->bulk.len);
    t->bulk = vms_slice_tail(t->bulk, ev->bulk.len);
    t->zeros = 0;
    t->bulk_at += ev->zeros + ev->bulk.len;
    (void)vms_qevm_encode_bulk(&t->encoder, ev->zeros + ev->bulk.len);
    return VMS_STEP_BULK;
}

enum vms_step vms_from_native_next(struct vms_from_native *t, struct vms_from_native_event *ev) {
    memset(ev, 0, sizeof *ev);
    if (t->error.code)
        return failed(t, ev);
    if (!t->frame)
        return VMS_STEP_NEED;
    if (t->encoder.bulk_left && (t->zeros || t->bulk.len))
        return give_bulk(t, ev);
    if (next_record(t))
        return give_record(t, t->encoder.bulk_left != 0, ev);
    return end_frame(t) == VMS_OK ? VMS_STEP_NEED : failed(t, ev);
}

enum vms_step vms_from_native_finish(struct vms_from_native *t, struct vms_from_native_event *ev) {
    memset(ev, 0, sizeof *ev);
    if (!t->error.code && t->frame)
        (void)vms_from_native_fail(t, VMS_E_MISUSE, "a frame is in hand");
    if (!t->error.code && t->encoder.bulk_left)
        (void)vms_from_native_fail(t, VMS_E_TRUNCATED, "in bulk of %s",
                                   vms_record_name(t->record.type));
    return t->error.code ? failed(t, ev) : VMS_STEP_END;
}
