/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_JSON_H
#define REFERENCE_VM_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <vmstream/error.h>

/*
 * Values of a JSON file, whose errors say where they are. jansson keeps no lines of values; they
 * are found again in the text, which has been parsed and so is JSON.
 */

struct json_file {
    const char *name; /* for messages */
    const char *text;
    struct vms_error *err;
};

/* An object, and where in the text it begins. */
struct json_at {
    const struct json_file *file;
    const json_t *value;
    const char *text;
};

/* The file as an object; VMS_E_VM_FILE when it is none. *root: json_decref(). */
enum vms_code json_open(const struct json_file *file, json_t **root, struct json_at *out);
/* VMS_E_VM_FILE about a key (NULL: about the object). fmt may be NULL. */
enum vms_code json_fail(const struct json_at *at, const char *key, const char *what);
/* Only these keys; names ends with NULL. */
enum vms_code json_only(const struct json_at *at, const char *const *names);
/* The index-th of the objects in an array; it is counted with json_count(). */
enum vms_code json_element(const struct json_at *at, const char *key, size_t index,
                           struct json_at *out);
/* Elements of the array key, 0 without the key; at most max. */
enum vms_code json_count(const struct json_at *at, const char *key, size_t max, size_t *count);
/* The object key. value NULL: there is none. */
enum vms_code json_object_at(const struct json_at *at, const char *key, struct json_at *out);

/* A key that is missing leaves *out as it is. */
enum vms_code json_whole(const struct json_at *at, const char *key, uint64_t max, uint64_t *out);
enum vms_code json_share(const struct json_at *at, const char *key, double *out); /* 0 to 1 */
/* Bytes: a number, or text with K, M or G. */
enum vms_code json_bytes(const struct json_at *at, const char *key, uint64_t max, uint64_t *out);
/* Text of 1 to 255 bytes; *out is owned by the value. */
enum vms_code json_text(const struct json_at *at, const char *key, const char **out);
/* One of names, which ends with NULL: its index. */
enum vms_code json_choice(const struct json_at *at, const char *key, const char *const *names,
                          int *out);

#endif
