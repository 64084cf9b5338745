/* SPDX-License-Identifier: MIT */
#include "tool/compat.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files to the model. */

enum {
    FILE_MAX = 64 << 20, /* octets that are read of a file, at its end */
    DEPTH_MAX = 32,      /* of structs in structs */
};

static bool fail(char *error, size_t size, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(error, size, fmt, args);
    va_end(args);
    return false;
}

/* ---- the model ---- */

static void *grow(void *list, size_t count, size_t size) {
    return (count & (count - 1)) == 0 ? realloc(list, (count ? 2 * count : 1) * size) : list;
}

static void free_part(struct compat_part *p) {
    for (size_t i = 0; i < p->field_count; i++)
        free(p->fields[i].path);
    for (size_t i = 0; i < p->subsection_count; i++)
        free_part(&p->subsections[i]);
    free(p->fields);
    free(p->subsections);
}

void compat_free(struct compat_side *s) {
    for (size_t i = 0; i < s->device_count; i++)
        free_part(&s->devices[i]);
    free(s->devices);
    json_decref(s->json);
}

static struct compat_part *add_part(struct compat_part **list, size_t *count) {
    void *more = grow(*list, *count, sizeof **list);
    if (!more)
        return NULL;
    *list = more;
    struct compat_part *p = &(*list)[(*count)++];
    *p = (struct compat_part){.instance = -1, .minimum = -1};
    return p;
}

static bool add_field(struct compat_part *p, struct compat_field field, const char *prefix,
                      const char *name) {
    size_t room = strlen(prefix) + strlen(name) + 2;
    void *more = grow(p->fields, p->field_count, sizeof *p->fields);
    char *path = malloc(room);
    if (more)
        p->fields = more;
    if (!more || !path) {
        free(path);
        return false;
    }
    (void)snprintf(path, room, "%s%s%s", prefix, *prefix ? "/" : "", name);
    field.path = path;
    field.unused = strcmp(name, "unused") == 0;
    p->fields[p->field_count++] = field;
    return true;
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static int64_t number(const json_t *object, const char *key, int64_t otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

/* "config[1]" is the second of two fields of a name, of which one is there; the dump has no number.
 */
static const char *plain(char *out, size_t size, const char *name) {
    const char *bracket = strrchr(name, '[');
    size_t n = bracket && name[strlen(name) - 1] == ']' ? (size_t)(bracket - name) : strlen(name);
    (void)snprintf(out, size, "%.*s", (int)n, name);
    return out;
}

static bool next_prefix(char *out, size_t size, const char *prefix, const char *name) {
    int n = snprintf(out, size, "%s%s%s", prefix, *prefix ? "/" : "", name);
    return n >= 0 && (size_t)n < size;
}

/* ---- -dump-vmstate ---- */

/* A struct inside is loaded with its own version, whatever the stream's: it reads what that has. */
static bool dump_fields(struct compat_part *p, const json_t *description, const char *prefix,
                        bool conditional, int depth) {
    char inner[512];
    size_t i;
    json_t *f;
    int64_t version = number(description, "version_id", 0);
    json_array_foreach(json_object_get(description, "Fields"), i, f) {
        const char *name = text(f, "field");
        const json_t *sub = json_object_get(f, "Description");
        bool maybe = conditional || json_is_true(json_object_get(f, "field_exists"));
        struct compat_field leaf = {.size = (uint64_t)number(f, "size", 0),
                                    .since = depth ? 0 : number(f, "version_id", 0),
                                    .conditional = maybe};
        if (number(f, "version_id", 0) > version)
            continue;
        if (sub && (depth == DEPTH_MAX || !next_prefix(inner, sizeof inner, prefix, name)))
            return false;
        if (sub ? !dump_fields(p, sub, inner, maybe, depth + 1) : !add_field(p, leaf, prefix, name))
            return false;
    }
    return true;
}

static bool dump_part(struct compat_part *p, const json_t *description, int depth) {
    size_t i;
    json_t *sub;
    p->vmsd = text(description, "name");
    p->version = number(description, "version_id", 0);
    p->minimum = number(description, "minimum_version_id", 0);
    p->empty =
        !json_object_get(description, "Fields") && !json_object_get(description, "Subsections");
    p->all_subsections = true;
    if (!dump_fields(p, description, "", false, 0))
        return false;
    json_array_foreach(json_object_get(description, "Subsections"), i, sub) {
        struct compat_part *s = add_part(&p->subsections, &p->subsection_count);
        if (!s || depth == DEPTH_MAX || !dump_part(s, sub, depth + 1))
            return false;
        s->name = s->vmsd;
    }
    return true;
}

static bool read_dump(struct compat_side *out) {
    const char *name;
    json_t *device;
    out->dump = true;
    json_object_foreach(out->json, name, device) {
        const json_t *description = json_object_get(device, "Description");
        if (strcmp(name, "vmschkmachine") == 0)
            out->machine = text(device, "Name");
        if (!description)
            continue;
        struct compat_part *p = add_part(&out->devices, &out->device_count);
        if (!p || !dump_part(p, description, 0))
            return false;
        p->name = name;
    }
    return true;
}

/* ---- VM description ---- */

/* Elements of an array that come one by one are told once. */
static bool same_as_last(const struct compat_part *p, const char *prefix, const char *name,
                         uint64_t size) {
    char path[512];
    const struct compat_field *last = p->field_count ? &p->fields[p->field_count - 1] : NULL;
    return last && next_prefix(path, sizeof path, prefix, name) && strcmp(last->path, path) == 0 &&
           last->size == size;
}

static bool described_fields(struct compat_part *p, const json_t *list, const char *prefix,
                             int depth) {
    char inner[512], buffer[256];
    size_t i;
    json_t *f;
    json_array_foreach(list, i, f) {
        const char *name = plain(buffer, sizeof buffer, text(f, "name"));
        const json_t *sub = json_object_get(f, "struct");
        struct compat_field leaf = {.size = (uint64_t)number(f, "size", 0),
                                    .count = (uint64_t)number(f, "array_len", 1)};
        bool index = json_is_integer(json_object_get(f, "index"));
        if (sub && index && number(f, "index", 0) > 0)
            continue;
        if (!sub && index && same_as_last(p, prefix, name, leaf.size)) {
            p->fields[p->field_count - 1].count += leaf.count;
            continue;
        }
        if (sub && (depth == DEPTH_MAX || !next_prefix(inner, sizeof inner, prefix, name)))
            return false;
        if (sub ? !described_fields(p, json_object_get(sub, "fields"), inner, depth + 1)
                : !add_field(p, leaf, prefix, name))
            return false;
    }
    return true;
}

static bool described_part(struct compat_part *p, const json_t *about, int depth) {
    size_t i;
    json_t *sub;
    p->vmsd = text(about, "vmsd_name");
    p->version = number(about, "version", 0);
    if (!described_fields(p, json_object_get(about, "fields"), "", 0))
        return false;
    json_array_foreach(json_object_get(about, "subsections"), i, sub) {
        struct compat_part *s = add_part(&p->subsections, &p->subsection_count);
        if (!s || depth == DEPTH_MAX || !described_part(s, sub, depth + 1))
            return false;
        s->name = s->vmsd;
    }
    return true;
}

static bool read_description(struct compat_side *out) {
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(out->json, "devices"), i, device) {
        struct compat_part *p = add_part(&out->devices, &out->device_count);
        if (!p || !described_part(p, device, 0))
            return false;
        p->name = text(device, "name");
        p->instance = number(device, "instance_id", 0);
    }
    return true;
}

bool compat_model(json_t *json, struct compat_side *out, char *error, size_t size) {
    *out = (struct compat_side){.json = json};
    bool description = json_is_array(json_object_get(json, "devices"));
    bool dump = json_is_object(json_object_get(json, "vmschkmachine"));
    if (!description && !dump)
        return fail(error, size, "neither -dump-vmstate nor a VM description");
    if (description ? read_description(out) : read_dump(out))
        return true;
    return fail(error, size, "no memory, or structs too deep");
}

/* ---- files ---- */

/* The JSON text at a stream's end: EOF, type 6, a length that reaches the end, '{'. */
static const char *find_description(const char *bytes, size_t len) {
    for (size_t at = len; at-- > 0;) {
        const unsigned char *p = (const unsigned char *)bytes + at;
        if (len - at < 7 || p[0] != 0 || p[1] != 6 || p[6] != '{')
            continue;
        uint32_t n = (uint32_t)p[2] << 24 | (uint32_t)p[3] << 16 | (uint32_t)p[4] << 8 | p[5];
        if (n == len - at - 6)
            return bytes + at + 6;
    }
    return NULL;
}

static char *slurp(const char *path, size_t *len, char *error, size_t size) {
    FILE *f = fopen(path, "rbe");
    char *bytes = malloc(FILE_MAX);
    long end = -1;
    *len = 0;
    if (f && fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0)
        (void)fseek(f, end > FILE_MAX ? end - FILE_MAX : 0, SEEK_SET);
    if (f && bytes)
        *len = fread(bytes, 1, FILE_MAX, f);
    bool good = f && bytes && !ferror(f);
    if (!good)
        (void)fail(error, size, "%s", strerror(errno));
    if (f)
        (void)fclose(f);
    if (good)
        return bytes;
    free(bytes);
    return NULL;
}

bool compat_read(const char *path, struct compat_side *out, char *error, size_t size) {
    json_error_t why;
    size_t len;
    *out = (struct compat_side){.json = NULL};
    char *bytes = slurp(path, &len, error, size);
    if (!bytes)
        return false;
    size_t blank = 0;
    while (blank < len && strchr(" \t\r\n", bytes[blank]))
        blank++;
    const char *json = blank < len && bytes[blank] == '{' ? bytes : find_description(bytes, len);
    json_t *loaded = json ? json_loadb(json, len - (size_t)(json - bytes), 0, &why) : NULL;
    bool good = loaded ? compat_model(loaded, out, error, size)
                : json
                    ? fail(error, size, "%s, line %d", why.text, why.line)
                    : fail(error, size, "neither JSON nor a stream that ends with a description");
    free(bytes);
    return good;
}
