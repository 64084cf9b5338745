/* SPDX-License-Identifier: MIT */
#include "native/cbor.h"

#include <cbor.h>

/* One item as libcbor's stream decoder reports it. */
struct item {
    enum vms_cbor_type type;
    uint64_t value; /* integer, length or count */
    struct vms_slice bytes;
    const char *refused;
};

/* ---- callbacks: exactly one is called for each item ---- */

static void on_uint8(void *ctx, uint8_t v) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_UINT, .value = v};
}
static void on_uint16(void *ctx, uint16_t v) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_UINT, .value = v};
}
static void on_uint32(void *ctx, uint32_t v) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_UINT, .value = v};
}
static void on_uint64(void *ctx, uint64_t v) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_UINT, .value = v};
}
static void on_bytes(void *ctx, cbor_data data, size_t len) {
    *(struct item *)ctx =
        (struct item){.type = VMS_CBOR_BYTES, .value = len, .bytes = vms_slice(data, len)};
}
static void on_text(void *ctx, cbor_data data, size_t len) {
    *(struct item *)ctx =
        (struct item){.type = VMS_CBOR_TEXT, .value = len, .bytes = vms_slice(data, len)};
}
static void on_array(void *ctx, size_t count) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_ARRAY, .value = count};
}
static void on_map(void *ctx, size_t count) {
    *(struct item *)ctx = (struct item){.type = VMS_CBOR_MAP, .value = count};
}

static void refuse(void *ctx, const char *why) {
    *(struct item *)ctx = (struct item){.refused = why};
}
static void on_negint8(void *ctx, uint8_t v) {
    (void)v;
    refuse(ctx, "a negative integer");
}
static void on_negint16(void *ctx, uint16_t v) {
    (void)v;
    refuse(ctx, "a negative integer");
}
static void on_negint32(void *ctx, uint32_t v) {
    (void)v;
    refuse(ctx, "a negative integer");
}
static void on_negint64(void *ctx, uint64_t v) {
    (void)v;
    refuse(ctx, "a negative integer");
}
static void on_tag(void *ctx, uint64_t v) {
    (void)v;
    refuse(ctx, "a tag");
}
static void on_float(void *ctx, float v) {
    (void)v;
    refuse(ctx, "a float");
}
static void on_double(void *ctx, double v) {
    (void)v;
    refuse(ctx, "a float");
}
static void on_bool(void *ctx, bool v) {
    (void)v;
    refuse(ctx, "a simple value");
}
static void on_simple(void *ctx) {
    refuse(ctx, "a simple value");
}
static void on_indefinite(void *ctx) {
    refuse(ctx, "an indefinite length");
}

static const struct cbor_callbacks CALLBACKS = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint64 = on_negint64,
    .negint32 = on_negint32,
    .negint16 = on_negint16,
    .negint8 = on_negint8,
    .byte_string_start = on_indefinite,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_indefinite,
    .indef_array_start = on_indefinite,
    .array_start = on_array,
    .indef_map_start = on_indefinite,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_simple,
    .null = on_simple,
    .boolean = on_bool,
    .indef_break = on_indefinite,
};

/* ---- reading ---- */

struct vms_cbor vms_cbor(struct vms_slice body, const struct vms_limits *limits) {
    return (struct vms_cbor){.ptr = body.ptr,
                             .len = body.len,
                             .items_max = limits->native_items,
                             .depth_max = limits->native_depth};
}

void vms_cbor_fail(struct vms_cbor *c, enum vms_code code, size_t at, const char *why) {
    if (c->code)
        return;
    c->code = code;
    c->at = at;
    c->why = why;
    c->pos = c->len;
}

bool vms_cbor_is_text(struct vms_slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    return true;
}

/* Bytes of the shortest head for this value. */
static size_t head_len(uint64_t value) {
    return value < 24            ? 1
           : value <= UINT8_MAX  ? 2
           : value <= UINT16_MAX ? 3
           : value <= UINT32_MAX ? 5
                                 : 9;
}

/* Why the item is not allowed, NULL when it is. `read` is what it took, strings included. */
static const char *objection(const struct item *item, size_t read, size_t left) {
    bool string = item->type == VMS_CBOR_BYTES || item->type == VMS_CBOR_TEXT;
    bool many = item->type == VMS_CBOR_ARRAY || item->type == VMS_CBOR_MAP;
    if (item->refused)
        return item->refused;
    if (read - (string ? item->bytes.len : 0) != head_len(item->value))
        return "a head that is not the shortest";
    if (item->type == VMS_CBOR_TEXT && !vms_cbor_is_text(item->bytes))
        return "a text that is not printable ASCII";
    if (many && item->value > (item->type == VMS_CBOR_MAP ? left / 2 : left))
        return "more elements than there are bytes";
    return NULL;
}

/* [NAT-30] Takes the next item; type NOTHING after an error. */
static struct item next(struct vms_cbor *c) {
    struct item item = {.refused = "an item that ends too early"};
    static const struct item nothing = {.type = VMS_CBOR_NOTHING};
    if (c->code)
        return nothing;
    size_t left = c->len - c->pos;
    struct cbor_decoder_result r = {.status = CBOR_DECODER_NEDATA};
    if (left)
        r = cbor_stream_decode(c->ptr + c->pos, left, &CALLBACKS, &item);
    if (r.status == CBOR_DECODER_ERROR)
        item.refused = "malformed";
    const char *why =
        r.status == CBOR_DECODER_FINISHED ? objection(&item, r.read, left - r.read) : item.refused;
    if (why) {
        vms_cbor_fail(c, VMS_E_NATIVE_CBOR, c->pos, why);
        return nothing;
    }
    c->pos += r.read;
    return item;
}

/* code: what an item of another type is. */
static struct item expect_or(struct vms_cbor *c, enum vms_cbor_type type, enum vms_code code,
                             const char *why) {
    size_t at = c->pos;
    struct item item = next(c);
    if (c->code || item.type == type)
        return item;
    vms_cbor_fail(c, code, at, why);
    return (struct item){.type = VMS_CBOR_NOTHING};
}

static struct item expect(struct vms_cbor *c, enum vms_cbor_type type, const char *why) {
    return expect_or(c, type, VMS_E_NATIVE_VALUE, why);
}

uint64_t vms_cbor_uint(struct vms_cbor *c, uint64_t min, uint64_t max) {
    size_t at = c->pos;
    struct item item = expect(c, VMS_CBOR_UINT, "not an unsigned integer");
    if (!c->code && (item.value < min || item.value > max))
        vms_cbor_fail(c, VMS_E_NATIVE_VALUE, at, "an integer out of range");
    return c->code ? 0 : item.value;
}

static struct vms_slice string(struct vms_cbor *c, enum vms_cbor_type type, uint64_t max) {
    size_t at = c->pos;
    struct item item = expect(c, type, "not a string of the right type");
    if (!c->code && item.value > max)
        vms_cbor_fail(c, VMS_E_NATIVE_VALUE, at, "a string that is too long");
    return c->code ? vms_slice(NULL, 0) : item.bytes;
}

struct vms_slice vms_cbor_bytes(struct vms_cbor *c, uint64_t max) {
    return string(c, VMS_CBOR_BYTES, max);
}

struct vms_slice vms_cbor_text(struct vms_cbor *c, uint64_t max) {
    return string(c, VMS_CBOR_TEXT, max);
}

uint32_t vms_cbor_array(struct vms_cbor *c, uint64_t max, const char *what) {
    size_t at = c->pos;
    struct item item = expect(c, VMS_CBOR_ARRAY, "not an array");
    if (item.value > c->items_max)
        vms_cbor_fail(c, VMS_E_LIMIT, at, "native_items");
    if (item.value > max)
        vms_cbor_fail(c, VMS_E_LIMIT, at, what);
    return c->code ? 0 : (uint32_t)item.value;
}

uint64_t vms_cbor_key(struct vms_cbor *c) {
    return expect_or(c, VMS_CBOR_UINT, VMS_E_NATIVE_CBOR, "a map key that is no integer").value;
}

uint32_t vms_cbor_map(struct vms_cbor *c) {
    size_t at = c->pos;
    struct item item = expect_or(c, VMS_CBOR_MAP, VMS_E_NATIVE_CBOR, "not a map");
    if (item.value > c->items_max)
        vms_cbor_fail(c, VMS_E_LIMIT, at, "native_items");
    return c->code ? 0 : (uint32_t)item.value;
}

enum vms_cbor_type vms_cbor_peek(const struct vms_cbor *c) {
    struct vms_cbor ahead = *c;
    return c->pos == c->len ? VMS_CBOR_NOTHING : next(&ahead).type;
}

void vms_cbor_end(struct vms_cbor *c) {
    if (!c->code && c->pos != c->len)
        vms_cbor_fail(c, VMS_E_NATIVE_CBOR, c->pos, "bytes behind the body");
}

/* ---- passing over ---- */

/* An array or map that is being passed over. */
struct level {
    uint64_t left; /* items, keys and values counted apart */
    bool map;
    struct vms_slice key; /* the last one, as encoded */
};

enum {
    SKIP_LEVELS = 16
};

/* Keys ascend in the order of their octets. */
static bool ascends(struct vms_slice before, struct vms_slice key) {
    size_t n = before.len < key.len ? before.len : key.len;
    int order = n ? memcmp(before.ptr, key.ptr, n) : 0;
    return order < 0 || (order == 0 && before.len < key.len);
}

static void check_key(struct vms_cbor *c, struct level *level, const struct item *item, size_t at) {
    struct vms_slice key = vms_slice(c->ptr + at, c->pos - at);
    if (item->type != VMS_CBOR_UINT)
        vms_cbor_fail(c, VMS_E_NATIVE_CBOR, at, "a map key that is no integer");
    else if (level->key.len && !ascends(level->key, key))
        vms_cbor_fail(c, VMS_E_NATIVE_CBOR, at, "map keys that do not ascend");
    level->key = key;
}

static void open_level(struct vms_cbor *c, struct level *level, const struct item *item,
                       size_t at) {
    bool map = item->type == VMS_CBOR_MAP;
    if (item->value > c->items_max)
        vms_cbor_fail(c, VMS_E_LIMIT, at, "native_items");
    *level = (struct level){.left = map ? 2 * item->value : item->value, .map = map};
}

void vms_cbor_skip(struct vms_cbor *c, unsigned depth) {
    struct level levels[SKIP_LEVELS];
    unsigned top = 0;
    levels[0] = (struct level){.left = 1};
    for (;;) {
        while (top && !levels[top].left)
            top--;
        if (c->code || !levels[top].left)
            return;
        size_t at = c->pos;
        struct item item = next(c);
        if (!c->code && levels[top].map && levels[top].left % 2 == 0)
            check_key(c, &levels[top], &item, at);
        levels[top].left--;
        if (item.type != VMS_CBOR_ARRAY && item.type != VMS_CBOR_MAP)
            continue;
        if (depth + top + 1 > c->depth_max || top + 1 == SKIP_LEVELS)
            vms_cbor_fail(c, VMS_E_LIMIT, at, "native_depth");
        else
            open_level(c, &levels[++top], &item, at);
    }
}

/* ---- writing ---- */

enum {
    HEAD_MAX = 9
};

void vms_cbor_put_uint(struct vms_writer *w, uint64_t value) {
    uint8_t head[HEAD_MAX];
    vms_write_bytes(w, vms_slice(head, cbor_encode_uint(value, head, sizeof head)));
}

void vms_cbor_put_bytes(struct vms_writer *w, struct vms_slice bytes) {
    uint8_t head[HEAD_MAX];
    vms_write_bytes(w, vms_slice(head, cbor_encode_bytestring_start(bytes.len, head, sizeof head)));
    vms_write_bytes(w, bytes);
}

void vms_cbor_put_text(struct vms_writer *w, struct vms_slice text) {
    uint8_t head[HEAD_MAX];
    vms_write_bytes(w, vms_slice(head, cbor_encode_string_start(text.len, head, sizeof head)));
    vms_write_bytes(w, text);
}

void vms_cbor_put_array(struct vms_writer *w, size_t count) {
    uint8_t head[HEAD_MAX];
    vms_write_bytes(w, vms_slice(head, cbor_encode_array_start(count, head, sizeof head)));
}

void vms_cbor_put_map(struct vms_writer *w, size_t count) {
    uint8_t head[HEAD_MAX];
    vms_write_bytes(w, vms_slice(head, cbor_encode_map_start(count, head, sizeof head)));
}
