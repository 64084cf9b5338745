/* SPDX-License-Identifier: MIT */
#include "tool/json.h"
#include "tool/text.h"
#include <stdlib.h>

void json_put(json_t *object, const char *key, json_t *value) {
    (void)json_object_set_new(object, key, value);
}

/* JSON numbers of jansson are signed: what does not fit is written as text. */
void json_put_u64(json_t *object, const char *key, uint64_t value) {
    char hex[24];
    if (value <= INT64_MAX) {
        json_put(object, key, json_integer((json_int_t)value));
        return;
    }
    (void)snprintf(hex, sizeof hex, "0x%016llx", (unsigned long long)value);
    json_put_text(object, key, hex);
}

void json_put_text(json_t *object, const char *key, const char *text) {
    json_put(object, key, json_string(text));
}

void json_put_slice(json_t *object, const char *key, struct vms_slice s) {
    size_t size = 4 * s.len + 1;
    char *text = malloc(size);
    if (text)
        json_put_text(object, key, text_slice(text, size, s));
    free(text);
}

void json_put_hex(json_t *object, const char *key, struct vms_slice s) {
    size_t size = 2 * s.len + 1;
    char *text = malloc(size);
    if (text)
        json_put_text(object, key, text_hex(text, size, s));
    free(text);
}

void json_put_true(json_t *object, const char *key, bool value) {
    if (value)
        json_put(object, key, json_true());
}

void json_print_line(json_t *object) {
    (void)json_dumpf(object, stdout, JSON_COMPACT);
    (void)putc('\n', stdout);
    json_decref(object);
}
