/* SPDX-License-Identifier: MIT */
#include "native/records.h"

/* Records as they are read (NAT-60 to NAT-64). */

static void read_row(struct vms_body_in *in, const struct vms_row *row, struct vms_record *rec) {
    uint8_t *at = (uint8_t *)rec + row->at;
    size_t from = in->c.pos;
    struct vms_slice s;
    struct vms_native_block block = {0};
    switch (row->kind) {
    case R_UINT: vms_uint_store(at, row->size, vms_cbor_uint(&in->c, 0, row->max)); return;
    case R_FIXED:
        s = vms_cbor_bytes(&in->c, row->size);
        if (!in->c.code && s.len == row->size)
            memcpy(at, s.ptr, row->size);
        else
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, from, "a string of another length");
        return;
    case R_BYTES:
        s = vms_cbor_bytes(&in->c, row->max);
        memcpy(at, &s, sizeof s);
        return;
    default:
        vms_read_block(in, 0, &block);
        rec->u.page.block_index = block.index;
        rec->u.page.block = block.name;
    }
}

static void read_rows(struct vms_body_in *in, const struct vms_layout *layout,
                      struct vms_record *rec) {
    for (unsigned i = 0; i < layout->count && !in->c.code; i++)
        read_row(in, &layout->rows[i], rec);
}

static void read_subsections(struct vms_body_in *in, uint32_t items, struct vms_record *rec) {
    struct vms_rec_configuration *c = &rec->u.config;
    c->subsection_count = items / SUBSECTION_ITEMS;
    if (items % SUBSECTION_ITEMS || c->subsection_count > VMS_CONFIG_SUBSECTIONS) {
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, in->c.pos, "impossible subsections");
        c->subsection_count = 0;
    }
    for (unsigned i = 0; i < c->subsection_count && !in->c.code; i++) {
        struct vms_config_subsection *sub = &c->subsections[i];
        sub->kind = (enum vms_config_kind)vms_cbor_uint(&in->c, 0, VMS_CONFIG_UUID);
        sub->version = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
        sub->body = vms_cbor_bytes(&in->c, UINT64_MAX);
    }
}

static void read_block_rest(struct vms_body_in *in, struct vms_record *rec) {
    uint64_t parts = vms_cbor_uint(&in->c, 0, 7);
    rec->u.block.has_page_size = parts & 1;
    rec->u.block.has_gpa = parts & 2;
    rec->u.block.has_mapped = parts & 4;
    read_rows(in, &vms_layout_block_rest, rec);
}

static void read_marks(struct vms_body_in *in, struct vms_record *rec, bool last) {
    size_t at = in->c.pos;
    uint64_t marks = vms_cbor_uint(&in->c, 0, 7);
    bool unknown = marks & MARK_UNKNOWN_LENGTH;
    if (unknown && !last)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, at, "unknown length before the last record");
    uint64_t len = vms_cbor_uint(&in->c, 0, UINT64_MAX - 1);
    rec->packaged = marks & MARK_PACKAGED;
    rec->guessed = marks & MARK_GUESSED;
    rec->bulk_len = unknown ? VMS_BULK_UNKNOWN : len;
    if (unknown && len)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, at, "unknown length, and a length");
}

static void read_record(struct vms_body_in *in, struct vms_record *rec, bool last) {
    size_t at = in->c.pos;
    uint32_t items = vms_cbor_array(&in->c, UINT64_MAX, "");
    memset(rec, 0, sizeof *rec);
    if (!in->c.code && !items)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, at, "an empty record");
    rec->type = vms_record_numbered(vms_cbor_uint(&in->c, 0, UINT64_MAX));
    if (!in->c.code && rec->type == VMS_RECORD_NONE)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, at, "an unknown record");
    if (in->c.code)
        return;
    bool list = rec->type == VMS_R_CONFIGURATION;
    if (list ? items < vms_record_items(rec) : items != vms_record_items(rec))
        vms_cbor_fail(&in->c, VMS_E_NATIVE_RECORD, at, "not the record's number of fields");
    read_marks(in, rec, last);
    if (in->c.code)
        return;
    read_rows(in, vms_record_layout(rec->type), rec);
    if (list)
        read_subsections(in, items - vms_record_items(rec), rec);
    if (rec->type == VMS_R_RAM_BLOCK)
        read_block_rest(in, rec);
}

static void read_records(struct vms_body_in *in, struct vms_native_frame *frame) {
    struct vms_native_records *r = &frame->u.records;
    size_t at = in->c.pos;
    r->count = vms_cbor_array(&in->c, in->limits->native_records, "native_records");
    if (!in->c.code && !r->count)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "no records");
    struct vms_record *list = vms_body_list(in, r->count, sizeof *list);
    for (uint32_t i = 0; list && !in->c.code && i < r->count; i++) {
        read_record(in, &list[i], i + 1 == r->count);
        list[i].channel = frame->header.channel;
    }
    r->records = list;
}

const struct vms_codec vms_codec_records = {read_records, vms_write_records, vms_object_records,
                                            NULL};
