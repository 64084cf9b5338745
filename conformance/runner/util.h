/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_UTIL_H
#define CONFORMANCE_RUNNER_UTIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** What all of the runner needs: JSON without questions, files, time. */

enum {
    CERT_PATH = 1024,
};

/** A member as text; "" where there is none. Valid as long as the object. */
const char *cert_str(const json_t *object, const char *key);
json_int_t cert_int(const json_t *object, const char *key, json_int_t otherwise);
bool cert_true(const json_t *object, const char *key);
/** A member of a member, or NULL. */
json_t *cert_get(const json_t *object, const char *a, const char *b);
/** The array has that string. */
bool cert_has(const json_t *array, const char *text);
void cert_set(json_t *object, const char *key, const char *text);
/** Appends formatted text to an array. */
void cert_say(json_t *array, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** out = formatted, CERT_PATH octets; returns out. */
char *cert_path(char *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** At most `most` octets of a file, NUL-terminated; the caller's to free. NULL: cannot be read. */
char *cert_read(const char *path, size_t most, size_t *len);
/** The last octets of a file, from a line's begin; "" when it cannot be read. The caller's. */
char *cert_tail(const char *path, size_t most);
/** Writes a file under a new name and then gives it its own: it is whole or not there. */
int cert_write(const char *path, const char *text);
int cert_write_json(const char *path, const json_t *value);
/** Makes a folder and those above it. */
int cert_mkdir(const char *path);
/** Removes a folder with all that is in it. */
void cert_remove(const char *path);
bool cert_exists(const char *path);

/** Milliseconds of the monotonic clock. */
int64_t cert_now(void);
void cert_nap(void); /* 5 ms: for looking again at what announces nothing */

#endif
