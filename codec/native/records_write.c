/* SPDX-License-Identifier: MIT */
#include "native/records.h"

/* Records as they are written, without residue that is canonical (NAT-65). */

enum {
    PACKET_BLOCK_AT = 64,
    PACKET_UNUSED_AT = 36,
};

/* ---- residue: what an encoder makes by itself is not carried (NAT-65) ---- */

static bool all_zero(struct vms_slice s) {
    return !s.len || (!s.ptr[0] && memcmp(s.ptr, s.ptr + 1, s.len - 1) == 0);
}

/* The field holds the name and zeros behind it. */
static bool is_padded(struct vms_slice field, struct vms_slice name) {
    return name.len <= field.len && vms_slice_eq(vms_slice_head(field, name.len), name) &&
           all_zero(vms_slice_tail(field, name.len));
}

static void trim_packet(struct vms_rec_multifd_packet *p) {
    struct vms_slice raw = p->raw;
    if (raw.len == PACKET_HEAD && is_padded(vms_slice_tail(raw, PACKET_BLOCK_AT), p->block) &&
        all_zero(vms_slice(raw.ptr + PACKET_UNUSED_AT, PACKET_BLOCK_AT - PACKET_UNUSED_AT)))
        p->raw.len = 0;
    while (p->offsets.len >= 8 && all_zero(vms_slice(p->offsets.ptr + p->offsets.len - 8, 8)))
        p->offsets.len -= 8;
}

static void trim_device(struct vms_rec_multifd_device *d) {
    if (d->raw_idstr.len == PACKET_NAME && is_padded(d->raw_idstr, d->idstr))
        d->raw_idstr.len = 0;
}

static void trim_hello(struct vms_rec_multifd_hello *h) {
    if (all_zero(h->reserved))
        h->reserved.len = 0;
}

static struct vms_record trimmed(const struct vms_record *rec) {
    struct vms_record t = *rec;
    if (t.type == VMS_R_MULTIFD_PACKET)
        trim_packet(&t.u.packet);
    else if (t.type == VMS_R_MULTIFD_DEVICE_STATE)
        trim_device(&t.u.device);
    else if (t.type == VMS_R_MULTIFD_HELLO)
        trim_hello(&t.u.hello);
    return t;
}

/* ---- writing ---- */

static struct vms_slice slice_at(const struct vms_record *rec, const struct vms_row *row) {
    struct vms_slice s;
    memcpy(&s, (const uint8_t *)rec + row->at, sizeof s);
    return s;
}

static void write_row(struct vms_writer *w, const struct vms_row *row,
                      const struct vms_record *rec) {
    const uint8_t *at = (const uint8_t *)rec + row->at;
    struct vms_native_block block;
    switch (row->kind) {
    case R_UINT: vms_cbor_put_uint(w, vms_uint_load(at, row->size)); return;
    case R_FIXED: vms_cbor_put_bytes(w, vms_slice(at, row->size)); return;
    case R_BYTES: vms_cbor_put_bytes(w, slice_at(rec, row)); return;
    default:
        block = (struct vms_native_block){rec->u.page.block_index, rec->u.page.block};
        vms_write_block(w, &block);
    }
}

static void write_rows(struct vms_writer *w, const struct vms_layout *layout,
                       const struct vms_record *rec) {
    for (unsigned i = 0; i < layout->count; i++)
        write_row(w, &layout->rows[i], rec);
}

static void write_subsections(struct vms_writer *w, const struct vms_rec_configuration *c) {
    for (unsigned i = 0; i < c->subsection_count; i++) {
        vms_cbor_put_uint(w, c->subsections[i].kind);
        vms_cbor_put_uint(w, c->subsections[i].version);
        vms_cbor_put_bytes(w, c->subsections[i].body);
    }
}

static uint64_t parts_of(const struct vms_rec_ram_block *b) {
    return (b->has_page_size ? 1u : 0u) | (b->has_gpa ? 2u : 0u) | (b->has_mapped ? 4u : 0u);
}

static void write_record(struct vms_writer *w, const struct vms_record *record) {
    struct vms_record rec = trimmed(record);
    bool unknown = rec.bulk_len == VMS_BULK_UNKNOWN;
    unsigned marks = (rec.packaged ? MARK_PACKAGED : 0u) | (rec.guessed ? MARK_GUESSED : 0u) |
                     (unknown ? MARK_UNKNOWN_LENGTH : 0u);
    vms_cbor_put_array(w, vms_record_items(&rec));
    vms_cbor_put_uint(w, vms_record_number(rec.type));
    vms_cbor_put_uint(w, marks);
    vms_cbor_put_uint(w, unknown ? 0 : rec.bulk_len);
    write_rows(w, vms_record_layout(rec.type), &rec);
    if (rec.type == VMS_R_CONFIGURATION)
        write_subsections(w, &rec.u.config);
    if (rec.type == VMS_R_RAM_BLOCK) {
        vms_cbor_put_uint(w, parts_of(&rec.u.block));
        write_rows(w, &vms_layout_block_rest, &rec);
    }
}

void vms_write_records(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_native_records *r = &frame->u.records;
    vms_cbor_put_array(w, r->count);
    for (uint32_t i = 0; i < r->count; i++)
        write_record(w, &r->records[i]);
}

static const char *object_row(const struct vms_row *row, const struct vms_record *rec) {
    bool named = rec->u.page.block_index == VMS_NATIVE_NO_INDEX;
    switch (row->kind) {
    case R_UINT:
        return vms_uint_load((const uint8_t *)rec + row->at, row->size) > row->max
                   ? "a record's value out of range"
                   : NULL;
    case R_BYTES: return slice_at(rec, row).len > row->max ? "a record's string is too long" : NULL;
    case R_BLOCK: return named && rec->u.page.block.len > VMS_NAME_MAX ? "a block's name" : NULL;
    default: return NULL;
    }
}

static const char *object_record(const struct vms_record *rec) {
    if ((unsigned)rec->type >= VMS_RECORD_TYPE_COUNT || !vms_record_number(rec->type))
        return "no record";
    if (rec->type == VMS_R_CONFIGURATION && rec->u.config.subsection_count > VMS_CONFIG_SUBSECTIONS)
        return "too many subsections";
    const struct vms_layout *layout = vms_record_layout(rec->type);
    for (unsigned i = 0; i < layout->count; i++)
        if (object_row(&layout->rows[i], rec))
            return object_row(&layout->rows[i], rec);
    return NULL;
}

const char *vms_object_records(const struct vms_native_frame *frame,
                               const struct vms_limits *limits) {
    const struct vms_native_records *r = &frame->u.records;
    if (!r->count)
        return "no records";
    if (r->count > limits->native_records)
        return "native_records";
    for (uint32_t i = 0; i < r->count; i++) {
        const char *why = object_record(&r->records[i]);
        if (!why && i + 1 < r->count && r->records[i].bulk_len == VMS_BULK_UNKNOWN)
            why = "unknown length before the last record";
        if (why)
            return why;
    }
    return NULL;
}

size_t vms_native_record_size(const struct vms_record *record) {
    struct vms_writer w = vms_writer((struct vms_room){NULL, 0});
    if (object_record(record))
        return SIZE_MAX;
    write_record(&w, record);
    return w.pos;
}
