/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <vmstream/vmdesc.h>

/*
 * The text comes from a peer. Before it reaches the parser its number of values is bounded, since
 * each costs tens of bytes of heap; jansson itself bounds the depth of the parse, and the sums
 * below bound their own (LIM-1).
 */
enum {
    VALUES_MAX = 1 << 20,
    DEPTH_MAX = 64, /* of structs and subsections; QEMU's deepest device needs fewer than 10 */
    SUBSECTION_HEAD = 1 + 1 + 4,
};

struct entry {
    struct vms_vmdesc_section section;
    bool given;
};

struct vms_vmdesc {
    struct entry *entries;
    size_t count;
    size_t first; /* every entry before it is given */
    uint64_t page_size;
};

static void clear(struct vms_vmdesc *v) {
    for (size_t i = 0; i < v->count; i++)
        free((char *)(uintptr_t)v->entries[i].section.name);
    free(v->entries);
    *v = (struct vms_vmdesc){0};
}

/* A comma, colon or bracket stands for at most one value; those inside strings only make it safer.
 */
static bool few_values(struct vms_slice json) {
    size_t values = 0;
    for (size_t i = 0; i < json.len && values <= VALUES_MAX; i++)
        values += json.ptr[i] == ',' || json.ptr[i] == '[' || json.ptr[i] == '{';
    return values <= VALUES_MAX;
}

/* A whole number that is not negative; absent gives `otherwise`. */
static bool get_number(const json_t *object, const char *key, uint64_t max, uint64_t otherwise,
                       uint64_t *out) {
    const json_t *value = json_object_get(object, key);
    *out = otherwise;
    if (!value)
        return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return *out <= max;
}

static bool sum_of_fields(const json_t *fields, uint64_t *sum) {
    if (!json_is_array(fields))
        return false;
    for (size_t i = 0; i < json_array_size(fields); i++) {
        const json_t *field = json_array_get(fields, i);
        uint64_t size, count, bytes;
        if (!json_is_object(field) || !json_object_get(field, "size") ||
            !get_number(field, "size", INT64_MAX, 0, &size) ||
            !get_number(field, "array_len", INT64_MAX, 1, &count) ||
            __builtin_mul_overflow(size, count, &bytes) || __builtin_add_overflow(*sum, bytes, sum))
            return false;
    }
    return true;
}

static bool sum_of_subsections(const json_t *subsections, unsigned depth, uint64_t *sum);

/* TAIL-3: the fields of a section or subsection, and its subsections behind them. A struct within a
 * field is not visited: the field's size counts it already. */
static bool sum_of_body(const json_t *body, unsigned depth, uint64_t *sum) {
    const json_t *subsections = json_object_get(body, "subsections");
    return depth < DEPTH_MAX && sum_of_fields(json_object_get(body, "fields"), sum) &&
           (!subsections || sum_of_subsections(subsections, depth + 1, sum));
}

static bool sum_of_subsections(const json_t *subsections, unsigned depth, uint64_t *sum) {
    if (!json_is_array(subsections))
        return false;
    for (size_t i = 0; i < json_array_size(subsections); i++) {
        const json_t *subsection = json_array_get(subsections, i);
        const json_t *name = json_object_get(subsection, "vmsd_name");
        if (!json_is_string(name) || json_string_length(name) > VMS_NAME_MAX ||
            __builtin_add_overflow(*sum, SUBSECTION_HEAD + json_string_length(name), sum) ||
            !sum_of_body(subsection, depth, sum))
            return false;
    }
    return true;
}

static bool read_device(const json_t *device, struct vms_vmdesc_section *out) {
    const json_t *name = json_object_get(device, "name");
    uint64_t instance, version;
    if (!json_is_string(name) || json_string_length(name) == 0 ||
        json_string_length(name) > VMS_NAME_MAX || !json_object_get(device, "instance_id") ||
        !get_number(device, "instance_id", UINT32_MAX, 0, &instance) ||
        !get_number(device, "version", UINT32_MAX, 0, &version) ||
        !sum_of_body(device, 0, &out->length))
        return false;
    out->instance = (uint32_t)instance;
    out->version = (uint32_t)version;
    out->name = strdup(json_string_value(name));
    return out->name != NULL;
}

static bool read_description(struct vms_vmdesc *v, const json_t *root) {
    const json_t *devices = json_object_get(root, "devices");
    if (!json_is_array(devices) || !get_number(root, "page_size", UINT32_MAX, 0, &v->page_size))
        return false;
    v->entries = calloc(json_array_size(devices) + 1, sizeof *v->entries);
    if (!v->entries)
        return false;
    for (size_t i = 0; i < json_array_size(devices); i++, v->count++)
        if (!read_device(json_array_get(devices, i), &v->entries[i].section))
            return false;
    return true;
}

/* What fails leaves an empty description behind, never half of one. */
static bool load(void *ctx, struct vms_slice json) {
    struct vms_vmdesc *v = ctx;
    clear(v);
    if (json.len == 0 || !few_values(json))
        return false;
    json_t *root = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    bool ok = root && read_description(v, root);
    json_decref(root);
    if (!ok)
        clear(v);
    return ok;
}

static bool matches(const struct entry *e, struct vms_slice idstr, uint32_t instance) {
    return !e->given && e->section.instance == instance &&
           vms_slice_eq(vms_str(e->section.name), idstr);
}

static bool next_length(void *ctx, struct vms_slice idstr, uint32_t instance, uint64_t *length) {
    struct vms_vmdesc *v = ctx;
    for (size_t i = v->first; i < v->count; i++) {
        if (!matches(&v->entries[i], idstr, instance))
            continue;
        v->entries[i].given = true;
        *length = v->entries[i].section.length;
        while (v->first < v->count && v->entries[v->first].given)
            v->first++;
        return true;
    }
    return false;
}

static void rewind_entries(void *ctx) {
    struct vms_vmdesc *v = ctx;
    for (size_t i = 0; i < v->count; i++)
        v->entries[i].given = false;
    v->first = 0;
}

struct vms_vmdesc *vms_vmdesc_new(void) {
    return calloc(1, sizeof(struct vms_vmdesc));
}

void vms_vmdesc_free(struct vms_vmdesc *vmdesc) {
    if (vmdesc)
        clear(vmdesc);
    free(vmdesc);
}

struct vms_vmdesc_ops vms_vmdesc_ops(struct vms_vmdesc *vmdesc) {
    return (struct vms_vmdesc_ops){load, next_length, rewind_entries, vmdesc};
}

size_t vms_vmdesc_count(const struct vms_vmdesc *vmdesc) {
    return vmdesc->count;
}

struct vms_vmdesc_section vms_vmdesc_section(const struct vms_vmdesc *vmdesc, size_t index) {
    return index < vmdesc->count ? vmdesc->entries[index].section
                                 : (struct vms_vmdesc_section){.name = ""};
}

uint64_t vms_vmdesc_page_size(const struct vms_vmdesc *vmdesc) {
    return vmdesc->page_size;
}
