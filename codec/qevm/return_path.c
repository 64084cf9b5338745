/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* Return path, from destination to source: clauses RP. */

enum {
    ANY = -1,
    BODY_AT = 4,
};

enum message {
#define VMS_RP(name, value, length, since) MSG_##name = value,
#include <vmstream/registry/qevm_return_path.def>
#undef VMS_RP
    MSG_COUNT,
};

struct message_rule {
    enum vms_record_type type;
    int16_t len;
};

static const struct message_rule RULES[MSG_COUNT] = {
#define VMS_RP(name, value, length, since) [value] = {VMS_R_RP_##name, length},
#include <vmstream/registry/qevm_return_path.def>
#undef VMS_RP
};

static enum vms_code check_head(struct vms_qevm_decoder *d, uint16_t type, uint16_t len) {
    if (type == 0 || type >= MSG_COUNT)
        return vms_qevm_fail(d, VMS_E_RP_TYPE, 0, "%u", type);
    if (RULES[type].len != ANY && RULES[type].len != len)
        return vms_qevm_fail(d, VMS_E_RP_LENGTH, 2, "%s of %u bytes",
                             vms_record_name(RULES[type].type), len);
    if (len > d->config.limits.return_path_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 2, "return_path_bytes: %u", len);
    if (d->rp_shut)
        return vms_qevm_fail(d, VMS_E_RP_AFTER_SHUT, 0, "%s", vms_record_name(RULES[type].type));
    return VMS_OK;
}

/* [RP-3] A name that must fill the rest of the message. */
static enum vms_code read_block(struct vms_qevm_decoder *d, struct vms_reader *r, size_t end,
                                struct vms_slice *block) {
    size_t at = r->pos;
    *block = vms_read_str8(r);
    if (vms_reader_short(r) || r->pos != end)
        return vms_qevm_fail(d, VMS_E_RP_LENGTH, at, "name of %zu bytes", block->len);
    if (!block->len || !vms_printable(*block))
        return vms_qevm_fail(d, VMS_E_RP_BLOCK, at, NULL);
    return VMS_OK;
}

static void remember(struct vms_qevm_decoder *d, struct vms_slice block) {
    d->last_name_len = (uint8_t)block.len;
    memcpy(d->last_name, block.ptr, block.len);
    d->rp_named = true;
}

static enum vms_code read_request(struct vms_qevm_decoder *d, struct vms_reader *r, bool with_id,
                                  struct vms_rec_rp_pages *p) {
    p->offset = vms_read_u64(r);
    p->length = vms_read_u32(r);
    if (vms_reader_short(r))
        return vms_qevm_fail(d, VMS_E_RP_LENGTH, 2, NULL);
    if (!p->length || p->length % d->page_size || p->offset % d->page_size)
        return vms_qevm_fail(d, VMS_E_RP_ALIGNMENT, BODY_AT, "0x%llx + 0x%x",
                             (unsigned long long)p->offset, p->length);
    if (with_id) {
        enum vms_code code = read_block(d, r, r->len, &p->block);
        if (code == VMS_OK)
            remember(d, p->block);
        return code;
    }
    if (!d->rp_named)
        return vms_qevm_fail(d, VMS_E_RP_BLOCK, BODY_AT, "no block was named yet");
    p->block = vms_slice(d->last_name, d->last_name_len);
    return VMS_OK;
}

static enum vms_code read_value(struct vms_qevm_decoder *d, struct vms_reader *r, uint16_t type,
                                struct vms_record *rec) {
    rec->u.value = vms_read_u32(r);
    if (type == MSG_RESUME_ACK && rec->u.value != 1)
        return vms_qevm_fail(d, VMS_E_RP_RESUME_VALUE, BODY_AT, "%u", rec->u.value);
    d->rp_shut = type == MSG_SHUT;
    return VMS_OK;
}

/* `body` is the message up to its end, read behind type and length. */
static enum vms_code read_body(struct vms_qevm_decoder *d, struct vms_reader *body, uint16_t type,
                               struct vms_record *rec) {
    switch (type) {
    case MSG_REQ_PAGES_ID:
    case MSG_REQ_PAGES: return read_request(d, body, type == MSG_REQ_PAGES_ID, &rec->u.request);
    case MSG_RECV_BITMAP: return read_block(d, body, body->len, &rec->u.rp_block);
    case MSG_SWITCHOVER_ACK: return VMS_OK;
    default: return read_value(d, body, type, rec);
    }
}

/* [RP-4] The bitmap's size follows the message, outside its length. */
static enum vms_code read_bitmap_size(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec) {
    size_t at = r->pos;
    uint64_t size = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!size || size % 8)
        return vms_qevm_fail(d, VMS_E_RP_BITMAP_SIZE, at, "%llu", (unsigned long long)size);
    if (size > d->config.limits.received_bitmap_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, at, "received_bitmap_bytes: %llu",
                             (unsigned long long)size);
    rec->bulk_len = size;
    d->state = VMS_ST_RETURN_PATH_BITMAP_END;
    return VMS_OK;
}

enum vms_code vms_parse_return_path(struct vms_qevm_decoder *d, struct vms_reader *r,
                                    struct vms_record *rec) {
    uint16_t type = vms_read_u16(r);
    uint16_t len = vms_read_u16(r);
    if (vms_reader_short(r))
        return VMS_OK;
    enum vms_code code = check_head(d, type, len);
    if (code != VMS_OK || !vms_reader_want(r, len))
        return code;
    bool bitmap = type == MSG_RECV_BITMAP;
    if (bitmap && !vms_reader_want(r, (size_t)len + 8))
        return VMS_OK;
    struct vms_reader body = {r->ptr, r->pos + len, r->pos, 0};
    code = read_body(d, &body, type, rec);
    if (code != VMS_OK)
        return code;
    (void)vms_read_bytes(r, len);
    rec->type = RULES[type].type;
    return bitmap ? read_bitmap_size(d, r, rec) : VMS_OK;
}

enum vms_code vms_parse_return_path_bitmap_end(struct vms_qevm_decoder *d, struct vms_reader *r,
                                               struct vms_record *rec) {
    uint64_t mark = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (mark != VMS_RP_BITMAP_END)
        return vms_qevm_fail(d, VMS_E_RP_BITMAP_END, 0, "0x%llx", (unsigned long long)mark);
    rec->type = VMS_R_RP_RECV_BITMAP_END;
    d->state = VMS_ST_RETURN_PATH;
    return VMS_OK;
}

static void write_head(struct vms_writer *w, uint16_t type, size_t len) {
    vms_write_u16(w, type);
    vms_write_u16(w, (uint16_t)len);
}

static uint16_t type_of(enum vms_record_type record) {
    for (uint16_t i = 1; i < MSG_COUNT; i++)
        if (RULES[i].type == record)
            return i;
    return 0;
}

static void write_request(struct vms_writer *w, const struct vms_rec_rp_pages *p, bool with_id) {
    vms_write_u64(w, p->offset);
    vms_write_u32(w, p->length);
    if (with_id)
        vms_write_str8(w, p->block);
}

void vms_emit_return_path(struct vms_writer *w, const struct vms_record *rec,
                          const struct vms_qevm_encoder *e) {
    uint16_t type = type_of(rec->type);
    (void)e;
    switch (rec->type) {
    case VMS_R_RP_RECV_BITMAP_END: vms_write_u64(w, VMS_RP_BITMAP_END); return;
    case VMS_R_RP_REQ_PAGES_ID:
        write_head(w, type, 13 + rec->u.request.block.len);
        write_request(w, &rec->u.request, true);
        return;
    case VMS_R_RP_REQ_PAGES:
        write_head(w, type, 12);
        write_request(w, &rec->u.request, false);
        return;
    case VMS_R_RP_RECV_BITMAP:
        write_head(w, type, 1 + rec->u.rp_block.len);
        vms_write_str8(w, rec->u.rp_block);
        vms_write_u64(w, rec->bulk_len);
        return;
    case VMS_R_RP_SWITCHOVER_ACK: write_head(w, type, 0); return;
    default: write_head(w, type, 4); vms_write_u32(w, rec->u.value);
    }
}
