/* SPDX-License-Identifier: MIT */
#include "native/body.h"
#include "native/native_test_util.h"
#include <criterion/criterion.h>
#include <jansson.h>

/* conformance/vectors/native.json: made by another encoder, from the specification. */

#define VECTORS "conformance/vectors/native.json"

static uint8_t *from_hex(const char *hex, size_t *len) {
    *len = strlen(hex) / 2;
    uint8_t *bytes = malloc(*len + 1);
    for (size_t i = 0; i < *len; i++) {
        unsigned octet;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &octet), 1);
        bytes[i] = (uint8_t)octet;
    }
    return bytes;
}

/* ---- a body as JSON, the way the generator writes it ---- */

static const char *key_name(uint64_t key) {
    switch (key) {
#define VMS_NATIVE_KEY(name, value, type, text)                                                    \
    case value:                                                                                    \
        return #name;
#include <vmstream/registry/native_keys.def>
#undef VMS_NATIVE_KEY
    default: return NULL;
    }
}

static json_t *json_octets(struct vms_slice s) {
    char *text = malloc(3 + 2 * s.len);
    strcpy(text, "h:");
    for (size_t i = 0; i < s.len; i++)
        sprintf(text + 2 + 2 * i, "%02x", s.ptr[i]);
    json_t *j = json_string(text);
    free(text);
    return j;
}

static json_t *json_uint(uint64_t v) {
    char text[32];
    if (v < UINT64_C(1) << 53)
        return json_integer((json_int_t)v);
    snprintf(text, sizeof text, "u:%llu", (unsigned long long)v);
    return json_string(text);
}

static json_t *json_item(struct vms_cbor *c);

static json_t *json_array_of(struct vms_cbor *c) {
    json_t *j = json_array();
    uint32_t n = vms_cbor_array(c, UINT64_MAX, "");
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(j, json_item(c));
    return j;
}

static json_t *json_map_of(struct vms_cbor *c) {
    json_t *j = json_object();
    uint32_t n = vms_cbor_map(c);
    for (uint32_t i = 0; i < n; i++) {
        char name[40];
        uint64_t key = vms_cbor_uint(c, 0, UINT64_MAX);
        snprintf(name, sizeof name, "%llu", (unsigned long long)key);
        if (key_name(key))
            snprintf(name, sizeof name, "%s", key_name(key));
        for (char *p = name; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        json_object_set_new(j, name, json_item(c));
    }
    return j;
}

static json_t *json_item(struct vms_cbor *c) {
    struct vms_slice s;
    switch (vms_cbor_peek(c)) {
    case VMS_CBOR_UINT: return json_uint(vms_cbor_uint(c, 0, UINT64_MAX));
    case VMS_CBOR_BYTES: return json_octets(vms_cbor_bytes(c, UINT64_MAX));
    case VMS_CBOR_TEXT:
        s = vms_cbor_text(c, UINT64_MAX);
        return json_stringn((const char *)s.ptr, s.len);
    case VMS_CBOR_ARRAY: return json_array_of(c);
    case VMS_CBOR_MAP: return json_map_of(c);
    default: return json_null();
    }
}

/* ---- one run ---- */

struct run {
    const char *id;
    json_t *frames;
    size_t seen;
    uint32_t crc; /* of the bulk */
    size_t bulk_len;
    uint8_t bulk[64];
};

static void check_number(const struct run *r, const json_t *frame, const char *name, uint64_t v) {
    const json_t *j = json_object_get(frame, name);
    uint64_t want = json_is_integer(j) ? (uint64_t)json_integer_value(j)
                                       : strtoull(json_string_value(j) + 2, NULL, 10);
    cr_assert_eq(v, want, "%s: frame %zu: %s is %llu", r->id, r->seen, name, (unsigned long long)v);
}

static void check_bulk(const struct run *r, const json_t *frame) {
    char text[140] = "";
    if (r->bulk_len <= sizeof r->bulk)
        for (size_t i = 0; i < r->bulk_len; i++)
            sprintf(text + 2 * i, "%02x", r->bulk[i]);
    else
        snprintf(text, sizeof text, "%zu octets, crc %08x", r->bulk_len, r->crc);
    cr_assert_str_eq(text, json_string_value(json_object_get(frame, "bulk")), "%s", r->id);
}

static bool has_extension(struct vms_slice body) {
    struct vms_limits limits = vms_limits_default();
    struct vms_cbor c = vms_cbor(body, &limits);
    bool found = false;
    uint32_t n = vms_cbor_map(&c);
    for (uint32_t i = 0; i < n && !c.code; i++) {
        found |= vms_cbor_uint(&c, 0, UINT64_MAX) >= KEY_EXTENSION;
        vms_cbor_skip(&c, 1);
    }
    return found;
}

/* What was decoded, encoded again, is the same body: so the struct lacks nothing. */
static void check_again(const struct run *r, const struct vms_native_event *ev) {
    static uint8_t again[70000];
    size_t len;
    if (ev->frame->unknown || has_extension(ev->body))
        return;
    cr_assert_eq(vms_native_encode_body(ev->frame, (struct vms_room){again, sizeof again}, &len),
                 VMS_OK, "%s", r->id);
    cr_assert(vms_slice_eq(vms_slice(again, len), ev->body), "%s: frame %zu again", r->id, r->seen);
}

static void check_frame(struct run *r, const struct vms_native_event *ev) {
    const json_t *want = json_array_get(r->frames, r->seen);
    const struct vms_native_header *h = &ev->frame->header;
    struct vms_limits limits = vms_limits_default();
    cr_assert(want, "%s: frame %zu is too many", r->id, r->seen);
    cr_assert_str_eq(vms_native_type_name(h->type),
                     json_string_value(json_object_get(want, "type")), "%s", r->id);
    check_number(r, want, "number", h->type);
    check_number(r, want, "flags", h->flags);
    check_number(r, want, "channel", h->channel);
    check_number(r, want, "epoch", h->epoch);
    check_number(r, want, "sequence", h->sequence);
    check_bulk(r, want);
    const json_t *body = json_object_get(want, "body");
    if (json_is_object(body)) {
        struct vms_cbor c = vms_cbor(ev->body, &limits);
        json_t *have = json_map_of(&c);
        cr_assert(json_equal(have, body), "%s: frame %zu: %s", r->id, r->seen,
                  json_dumps(have, JSON_COMPACT));
        json_decref(have);
    }
    check_again(r, ev);
    r->seen++;
}

static void step(void *ctx, enum vms_native_step what, const struct vms_native_event *ev) {
    struct run *r = ctx;
    if (what == VMS_NATIVE_STEP_HEAD) {
        r->crc = 0;
        r->bulk_len = 0;
    } else if (what == VMS_NATIVE_STEP_BULK) {
        cr_assert_eq(ev->bulk_offset, r->bulk_len);
        r->crc = vms_crc32c(r->crc, ev->bulk.ptr, ev->bulk.len);
        for (size_t i = 0; i < ev->bulk.len && r->bulk_len + i < sizeof r->bulk; i++)
            r->bulk[r->bulk_len + i] = ev->bulk.ptr[i];
        r->bulk_len += ev->bulk.len;
    } else if (what == VMS_NATIVE_STEP_FRAME) {
        check_frame(r, ev);
    }
}

static void run_vector(const json_t *vector, struct vms_slice stream, struct cut cut) {
    const json_t *expect = json_object_get(vector, "expect");
    const char *error = json_string_value(json_object_get(expect, "error"));
    struct run r = {.id = json_string_value(json_object_get(vector, "id")),
                    .frames = json_object_get(expect, "frames")};
    struct reader reader;
    struct vms_error err;
    reader_open(&reader);
    enum vms_native_step last = feed(&reader, stream, cut, step, &r, &err);
    cr_assert_eq(r.seen, json_array_size(r.frames), "%s: %zu frames (%s)", r.id, r.seen,
                 err.message);
    cr_assert_eq(last == VMS_NATIVE_STEP_ERROR, error != NULL, "%s: %s", r.id, err.message);
    if (error) {
        cr_assert_str_eq(vms_code_name(err.code), error, "%s: %s", r.id, err.message);
        cr_assert_str_eq(err.clause, json_string_value(json_object_get(expect, "clause")));
        cr_assert_eq(err.offset, (uint64_t)json_integer_value(json_object_get(expect, "offset")),
                     "%s: offset %llu: %s", r.id, (unsigned long long)err.offset, err.message);
        cr_assert_eq(err.record, (uint64_t)json_integer_value(json_object_get(expect, "record")),
                     "%s: frame %llu", r.id, (unsigned long long)err.record);
    }
    reader_close(&reader);
}

/* The same frames, bulk and errors however the stream is cut: [MOD-4]. */
static void run_all(struct cut cut) {
    json_error_t why;
    json_t *vectors = json_load_file(VECTORS, 0, &why);
    cr_assert(vectors, "%s: %s", VECTORS, why.text);
    size_t i;
    json_t *vector;
    json_array_foreach(vectors, i, vector) {
        size_t len;
        uint8_t *bytes = from_hex(json_string_value(json_object_get(vector, "hex")), &len);
        run_vector(vector, vms_slice(bytes, len), cut);
        free(bytes);
    }
    cr_assert_gt(i, 150);
    json_decref(vectors);
}

Test(native_vectors, whole) {
    run_all((struct cut){SIZE_MAX, 1});
}
Test(native_vectors, cut_1) {
    run_all((struct cut){1, 1});
}
Test(native_vectors, cut_7) {
    run_all((struct cut){7, 1});
}
Test(native_vectors, cut_random) {
    for (uint32_t seed = 1; seed < 20; seed++)
        run_all((struct cut){0, seed * 2654435761u});
}
