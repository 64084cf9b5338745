/* SPDX-License-Identifier: MIT */
#include "conformance/runner/util.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *cert_str(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

json_int_t cert_int(const json_t *object, const char *key, json_int_t otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool cert_true(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

json_t *cert_get(const json_t *object, const char *a, const char *b) {
    return json_object_get(json_object_get(object, a), b);
}

bool cert_has(const json_t *array, const char *text) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *s = json_string_value(json_array_get(array, i));
        if (s && strcmp(s, text) == 0)
            return true;
    }
    return false;
}

void cert_set(json_t *object, const char *key, const char *text) {
    /* what an implementation prints need not be UTF-8 */
    json_t *v = json_string(text);
    (void)json_object_set_new(object, key, v ? v : json_string("(not UTF-8)"));
}

void cert_say(json_t *array, const char *fmt, ...) {
    char text[2048];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_t *v = json_string(text);
    (void)json_array_append_new(array, v ? v : json_string("(not UTF-8)"));
}

char *cert_path(char *out, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(out, CERT_PATH, fmt, args);
    va_end(args);
    return out;
}

char *cert_read(const char *path, size_t most, size_t *len) {
    FILE *f = fopen(path, "re");
    char *text = f ? malloc(most + 1) : NULL;
    size_t n = text ? fread(text, 1, most, f) : 0;
    if (text)
        text[n] = 0;
    if (f)
        (void)fclose(f);
    if (len)
        *len = n;
    return text;
}

char *cert_tail(const char *path, size_t most) {
    struct stat st;
    FILE *f = fopen(path, "re");
    char *text = calloc(1, most + 1);
    if (f && text && fstat(fileno(f), &st) == 0) {
        bool cut = (size_t)st.st_size > most;
        if (cut)
            (void)fseeko(f, st.st_size - (off_t)most, SEEK_SET);
        text[fread(text, 1, most, f)] = 0;
        char *eol = cut ? strchr(text, '\n') : NULL;
        if (eol)
            memmove(text, eol + 1, strlen(eol));
    }
    if (f)
        (void)fclose(f);
    return text;
}

int cert_write(const char *path, const char *text) {
    char other[CERT_PATH];
    FILE *f = fopen(cert_path(other, "%s.new", path), "we");
    if (!f)
        return -1;
    bool ok = fputs(text, f) >= 0;
    ok = fclose(f) == 0 && ok;
    return ok && rename(other, path) == 0 ? 0 : -1;
}

int cert_write_json(const char *path, const json_t *value) {
    char *text = json_dumps(value, JSON_INDENT(1));
    int rc = text ? cert_write(path, text) : -1;
    free(text);
    return rc;
}

int cert_mkdir(const char *path) {
    char part[CERT_PATH];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        *at = '/';
    }
    return mkdir(part, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk) {
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void cert_remove(const char *path) {
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool cert_exists(const char *path) {
    return access(path, F_OK) == 0;
}

int64_t cert_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void cert_nap(void) {
    const struct timespec t = {.tv_nsec = 5000000};
    (void)nanosleep(&t, NULL);
}
