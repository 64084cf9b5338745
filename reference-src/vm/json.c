/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- places in the text ---- */

static const char *space(const char *at) {
    return at + strspn(at, " \t\r\n");
}

static const char *past_string(const char *at) {
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1])
            at++;
    return *at ? at + 1 : at;
}

static const char *past_value(const char *at) {
    size_t depth = 0;
    do {
        if (*at == '"') {
            at = past_string(at);
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        at++;
    } while (*at && (depth || !strchr(",]} \t\r\n", *at)));
    return at;
}

/* The text of a key in the object at `at`; with is_value, of its value. NULL: no such key, or it is
 * written with escapes. */
static const char *find_key(const char *at, const char *key, bool is_value) {
    size_t len = strlen(key);
    for (at = space(at + 1); *at == '"'; at = space(at + (*at == ','))) {
        bool found = !strncmp(at + 1, key, len) && at[1 + len] == '"';
        const char *value = space(space(past_string(at)) + 1);
        if (found)
            return is_value ? value : at;
        at = space(past_value(value));
    }
    return NULL;
}

static const char *find_element(const char *array, size_t index) {
    const char *at = space(array + 1);
    for (; index > 0 && *at; index--)
        at = space(space(past_value(at)) + 1);
    return at;
}

static unsigned line_of(const struct json_file *file, const char *at) {
    unsigned line = 1;
    for (const char *c = file->text; c < at; c++)
        line += *c == '\n';
    return line;
}

/* [VM-1] */
enum vms_code json_fail(const struct json_at *at, const char *key, const char *what) {
    const char *place = key ? find_key(at->text, key, false) : NULL;
    unsigned line = line_of(at->file, place ? place : at->text);
    if (!key)
        return vms_error_set(at->file->err, VMS_E_VM_FILE, "%.80s:%u: %s", at->file->name, line,
                             what);
    return vms_error_set(at->file->err, VMS_E_VM_FILE, "%.80s:%u: \"%.40s\" %s", at->file->name,
                         line, key, what);
}

/* ---- values ---- */

enum vms_code json_open(const struct json_file *file, json_t **root, struct json_at *out) {
    json_error_t error;
    *root = json_loads(file->text, JSON_REJECT_DUPLICATES, &error);
    *out = (struct json_at){file, *root, space(file->text)};
    if (!*root)
        return vms_error_set(file->err, VMS_E_VM_FILE, "%.80s:%d: %.80s", file->name, error.line,
                             error.text);
    if (json_is_object(*root))
        return VMS_OK;
    json_fail(out, NULL, "is no JSON object");
    json_decref(*root);
    *root = NULL;
    return VMS_E_VM_FILE;
}

enum vms_code json_only(const struct json_at *at, const char *const *names) {
    json_t *object = (json_t *)at->value; /* jansson's iterators are not const */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const char *key = json_object_iter_key(it);
        size_t i = 0;
        while (names[i] && strcmp(names[i], key))
            i++;
        if (!names[i])
            return json_fail(at, key, "is no known key here");
    }
    return VMS_OK;
}

enum vms_code json_count(const struct json_at *at, const char *key, size_t max, size_t *count) {
    const json_t *array = json_object_get(at->value, key);
    char what[64];
    *count = json_array_size(array);
    if (array && !json_is_array(array))
        return json_fail(at, key, "is no array");
    snprintf(what, sizeof what, "has more than %zu elements", max);
    return *count > max ? json_fail(at, key, what) : VMS_OK;
}

enum vms_code json_element(const struct json_at *at, const char *key, size_t index,
                           struct json_at *out) {
    const char *array = find_key(at->text, key, true);
    *out = (struct json_at){at->file, json_array_get(json_object_get(at->value, key), index),
                            array ? find_element(array, index) : at->text};
    return json_is_object(out->value) ? VMS_OK
                                      : json_fail(out, key, "has an element that is no object");
}

enum vms_code json_object_at(const struct json_at *at, const char *key, struct json_at *out) {
    const char *text = find_key(at->text, key, true);
    *out = (struct json_at){at->file, json_object_get(at->value, key), text ? text : at->text};
    return !out->value || json_is_object(out->value) ? VMS_OK : json_fail(at, key, "is no object");
}

enum vms_code json_whole(const struct json_at *at, const char *key, uint64_t max, uint64_t *out) {
    const json_t *value = json_object_get(at->value, key);
    char what[64];
    if (!value)
        return VMS_OK;
    json_int_t number = json_integer_value(value);
    snprintf(what, sizeof what, "is no whole number from 0 to %llu", (unsigned long long)max);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
        return json_fail(at, key, what);
    *out = (uint64_t)number;
    return VMS_OK;
}

enum vms_code json_share(const struct json_at *at, const char *key, double *out) {
    const json_t *value = json_object_get(at->value, key);
    if (!value)
        return VMS_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0 && number <= 1))
        return json_fail(at, key, "is no number from 0 to 1");
    *out = number;
    return VMS_OK;
}

/* Digits and at most one of K, M, G. */
static bool parse_bytes(const char *text, uint64_t *out) {
    static const char units[] = "KMG";
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (errno || (unit ? end[1] : *end) || number > UINT64_MAX >> shift)
        return false;
    *out = (uint64_t)number << shift;
    return true;
}

enum vms_code json_bytes(const struct json_at *at, const char *key, uint64_t max, uint64_t *out) {
    const json_t *value = json_object_get(at->value, key);
    if (!json_is_string(value))
        return json_whole(at, key, max, out);
    char what[80];
    uint64_t bytes;
    if (!parse_bytes(json_string_value(value), &bytes))
        return json_fail(at, key, "is no size: digits, and K, M or G");
    snprintf(what, sizeof what, "is more than %llu bytes", (unsigned long long)max);
    if (bytes > max)
        return json_fail(at, key, what);
    *out = bytes;
    return VMS_OK;
}

enum vms_code json_text(const struct json_at *at, const char *key, const char **out) {
    const json_t *value = json_object_get(at->value, key);
    if (!value)
        return VMS_OK;
    size_t len = json_string_length(value);
    if (!json_is_string(value) || len < 1 || len > 255)
        return json_fail(at, key, "is no text of 1 to 255 bytes");
    *out = json_string_value(value);
    return VMS_OK;
}

enum vms_code json_choice(const struct json_at *at, const char *key, const char *const *names,
                          int *out) {
    const json_t *value = json_object_get(at->value, key);
    const char *text = json_string_value(value);
    char what[96] = "is not one of", *end = what + strlen(what);
    if (!value)
        return VMS_OK;
    for (int i = 0; names[i]; i++) {
        if (text && !strcmp(names[i], text)) {
            *out = i;
            return VMS_OK;
        }
        end += snprintf(end, (size_t)(what + sizeof what - end), " %s", names[i]);
    }
    return json_fail(at, key, what);
}
