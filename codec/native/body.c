/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Bodies by table, both ways: clauses NAT-30 to NAT-33. */

const struct vms_body *vms_body_of(const struct vms_native_frame *frame) {
    switch (frame->header.type) {
    case VMS_NATIVE_HELLO: return &vms_body_hello;
    case VMS_NATIVE_ATTACH: return &vms_body_attach;
    case VMS_NATIVE_RESUME:
    case VMS_NATIVE_RESUMED: return &vms_body_resume;
    case VMS_NATIVE_REKEY: return &vms_body_rekey;
    case VMS_NATIVE_ACK: return &vms_body_ack;
    case VMS_NATIVE_END: return &vms_body_end;
    case VMS_NATIVE_ABORT: return frame->u.abort.has_who ? &vms_body_abort_hello : &vms_body_abort;
    case VMS_NATIVE_PING:
    case VMS_NATIVE_PONG: return &vms_body_ping;
    case VMS_NATIVE_START:
    case VMS_NATIVE_COMMIT:
    case VMS_NATIVE_RUNNING:
    case VMS_NATIVE_NOT_STARTED: return &vms_body_generation;
    case VMS_NATIVE_READY: return &vms_body_ready;
    case VMS_NATIVE_REQUEST:
    case VMS_NATIVE_GRANT: return &vms_body_switchover;
    case VMS_NATIVE_RECORDS: return &vms_body_records;
    case VMS_NATIVE_PAGES: return &vms_body_pages;
    case VMS_NATIVE_PAGE_REQUEST:
    case VMS_NATIVE_DISCARD: return &vms_body_page_list;
    case VMS_NATIVE_BULK: return &vms_body_bulk;
    case VMS_NATIVE_DEVICE: return &vms_body_device;
    case VMS_NATIVE_OPAQUE: return &vms_body_opaque;
    case VMS_NATIVE_DIGEST:
    case VMS_NATIVE_BITMAP: return &vms_body_range;
    default: return NULL;
    }
}

/* ---- memory of lists ---- */

void *vms_arena_take(struct vms_arena *arena, size_t count, size_t size) {
    size_t bytes = (count * size + 15) & ~(size_t)15;
    if (bytes > arena->len - arena->used)
        return NULL;
    void *at = arena->ptr + arena->used;
    arena->used += bytes;
    return at;
}

void *vms_body_list(struct vms_body_in *in, uint32_t count, size_t size) {
    if (in->c.code)
        return NULL;
    void *list = vms_arena_take(in->arena, count, size);
    if (!list)
        vms_cbor_fail(&in->c, VMS_E_INTERNAL, in->c.pos, "no room for a list");
    return list;
}

/* ---- members of a struct ---- */

uint64_t vms_uint_load(const void *at, size_t size) {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (size) {
    case 1: return memcpy(&u8, at, 1), u8;
    case 2: return memcpy(&u16, at, 2), u16;
    case 4: return memcpy(&u32, at, 4), u32;
    default: return memcpy(&u64, at, 8), u64;
    }
}

void vms_uint_store(void *at, size_t size, uint64_t value) {
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;
    switch (size) {
    case 1: memcpy(at, &u8, 1); return;
    case 2: memcpy(at, &u16, 2); return;
    case 4: memcpy(at, &u32, 4); return;
    default: memcpy(at, &value, 8);
    }
}

static const uint8_t *member(const struct vms_native_frame *frame, const struct vms_field *f) {
    return (const uint8_t *)frame + f->at;
}

static struct vms_slice slice_member(const struct vms_native_frame *frame,
                                     const struct vms_field *f) {
    struct vms_slice s;
    memcpy(&s, member(frame, f), sizeof s);
    return s;
}

/* ---- reading ---- */

static void read_slice(struct vms_body_in *in, const struct vms_field *f, uint8_t *at) {
    size_t from = in->c.pos;
    struct vms_slice s =
        f->kind == FIELD_TEXT ? vms_cbor_text(&in->c, f->max) : vms_cbor_bytes(&in->c, f->max);
    if (!in->c.code && s.len < f->min)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, from, "an empty string");
    memcpy(at, &s, sizeof s);
}

static void read_fixed(struct vms_body_in *in, const struct vms_field *f, uint8_t *at) {
    size_t from = in->c.pos;
    struct vms_slice s = vms_cbor_bytes(&in->c, f->size);
    if (!in->c.code && s.len != f->size)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, from, "a string that is too short");
    if (!in->c.code)
        memcpy(at, s.ptr, f->size);
}

static void read_field(struct vms_body_in *in, const struct vms_field *f,
                       struct vms_native_frame *frame) {
    uint8_t *at = (uint8_t *)frame + f->at;
    switch (f->kind) {
    case FIELD_UINT:
    case FIELD_FLAG: vms_uint_store(at, f->size, vms_cbor_uint(&in->c, f->min, f->max)); return;
    case FIELD_FIXED: read_fixed(in, f, at); return;
    case FIELD_CODEC: f->codec->read(in, frame); return;
    default: read_slice(in, f, at);
    }
}

/* [NAT-51] UNPACKED is required with a pack method, and has no place without. */
static bool is_packed(const struct vms_native_frame *frame) {
    return frame->header.flags & VMS_NATIVE_PACK_MASK;
}

static bool required(const struct vms_native_frame *frame, const struct vms_field *row) {
    return row->key == KEY_UNPACKED ? is_packed(frame) : !row->optional;
}

static bool known(const struct vms_native_frame *frame, const struct vms_field *row, uint64_t key) {
    return row->key == key && (key != KEY_UNPACKED || is_packed(frame));
}

/* Rows that the body has passed: what is required there is missing. */
static const struct vms_field *find_row(struct vms_body_in *in,
                                        const struct vms_native_frame *frame,
                                        const struct vms_field *row, const struct vms_field *end,
                                        uint64_t key, size_t at) {
    for (; row < end && row->key < key; row++)
        if (required(frame, row))
            vms_cbor_fail(&in->c, VMS_E_NATIVE_KEY, at, "a key is missing");
    return row;
}

void vms_body_read(struct vms_body_in *in, struct vms_native_frame *frame) {
    const struct vms_body *body = vms_body_of(frame);
    const struct vms_field *row = body->fields, *end = row + body->count;
    uint64_t last = 0;
    uint32_t pairs = vms_cbor_map(&in->c);
    for (uint32_t i = 0; i < pairs && !in->c.code; i++) {
        size_t at = in->c.pos;
        uint64_t key = vms_cbor_key(&in->c);
        if (i && key <= last)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_CBOR, at, "map keys that do not ascend");
        last = key;
        row = find_row(in, frame, row, end, key, at);
        if (row < end && known(frame, row, key))
            read_field(in, row++, frame);
        else if (key >= KEY_EXTENSION && key <= KEY_MAX)
            vms_cbor_skip(&in->c, 1);
        else
            vms_cbor_fail(&in->c, VMS_E_NATIVE_KEY, at, "an unknown key");
    }
    (void)find_row(in, frame, row, end, UINT64_MAX, in->c.pos);
    vms_cbor_end(&in->c);
}

/* ---- writing ---- */

static bool present(const struct vms_native_frame *frame, const struct vms_field *f) {
    if (!f->optional)
        return true;
    switch (f->kind) {
    case FIELD_UINT:
    case FIELD_FLAG: return vms_uint_load(member(frame, f), f->size) != 0;
    case FIELD_CODEC: return f->codec->present(frame);
    default: return slice_member(frame, f).len != 0;
    }
}

static const char *object_slice(const struct vms_field *f, struct vms_slice s) {
    if (s.len < f->min || s.len > f->max)
        return "a string that is empty or too long";
    return f->kind == FIELD_TEXT && !vms_cbor_is_text(s) ? "a text that is not printable" : NULL;
}

static const char *object_field(const struct vms_native_frame *frame, const struct vms_field *f,
                                const struct vms_limits *limits) {
    uint64_t value;
    switch (f->kind) {
    case FIELD_UINT:
    case FIELD_FLAG:
        value = vms_uint_load(member(frame, f), f->size);
        return value < f->min || value > f->max ? "a value out of range" : NULL;
    case FIELD_FIXED: return NULL;
    case FIELD_CODEC: return f->codec->object(frame, limits);
    default: return object_slice(f, slice_member(frame, f));
    }
}

const char *vms_body_object(const struct vms_native_frame *frame, const struct vms_limits *limits) {
    const struct vms_body *body = vms_body_of(frame);
    if (!body)
        return "no frame of the native wire";
    for (size_t i = 0; i < body->count; i++) {
        const struct vms_field *f = &body->fields[i];
        const char *why = present(frame, f) ? object_field(frame, f, limits) : NULL;
        if (why)
            return why;
    }
    return vms_body_check_bulk(frame, limits);
}

static void write_field(struct vms_writer *w, const struct vms_native_frame *frame,
                        const struct vms_field *f) {
    vms_cbor_put_uint(w, f->key);
    switch (f->kind) {
    case FIELD_UINT:
    case FIELD_FLAG: vms_cbor_put_uint(w, vms_uint_load(member(frame, f), f->size)); return;
    case FIELD_FIXED: vms_cbor_put_bytes(w, vms_slice(member(frame, f), f->size)); return;
    case FIELD_BYTES: vms_cbor_put_bytes(w, slice_member(frame, f)); return;
    case FIELD_TEXT: vms_cbor_put_text(w, slice_member(frame, f)); return;
    default: f->codec->write(w, frame);
    }
}

void vms_body_write(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_body *body = vms_body_of(frame);
    size_t count = 0;
    for (size_t i = 0; i < body->count; i++)
        count += present(frame, &body->fields[i]);
    vms_cbor_put_map(w, count);
    for (size_t i = 0; i < body->count; i++)
        if (present(frame, &body->fields[i]))
            write_field(w, frame, &body->fields[i]);
}
