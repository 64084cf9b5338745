/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>

static int complain(char *error, const char *file, const char *id, const char *what) {
    (void)snprintf(error, CERT_ERROR_SIZE, "%s: %s%s%s", file, id, *id ? ": " : "", what);
    return -1;
}

/* An id is its clause, a dot and a sequence. */
static const char *bad_id(const json_t *test) {
    const char *id = cert_str(test, "id"), *clause = cert_str(test, "clause");
    size_t n = strlen(clause);
    if (!*id || !n)
        return "id and clause, please";
    return strncmp(id, clause, n) == 0 && id[n] == '.' ? NULL : "the id is not the clause's";
}

static const char *bad_member(const json_t *test) {
    const char *level = cert_str(test, "level"), *kind = cert_str(test, "kind");
    if (strcmp(level, "MUST") != 0 && strcmp(level, "SHOULD") != 0)
        return "level is MUST or SHOULD";
    if (strcmp(kind, "vector") != 0 && strcmp(kind, "dialogue") != 0 &&
        strcmp(kind, "migration") != 0)
        return "kind is vector, dialogue or migration";
    if (!json_is_object(json_object_get(test, kind)))
        return "an object of its kind's name, please";
    if (json_object_get(test, "needs") && !json_is_array(json_object_get(test, "needs")))
        return "needs is an array";
    return strlen(cert_str(test, "sha256")) == 64 ? NULL : "sha256 has 64 digits";
}

static int take(json_t *all, json_t *ids, json_t *test, const char *file, char *error) {
    const char *id = cert_str(test, "id"), *what = bad_id(test);
    what = what ? what : bad_member(test);
    what = what ? what : json_object_get(ids, id) ? "is there twice" : NULL;
    if (!what && json_array_size(all) >= CERT_CASES_MAX)
        what = "too many cases";
    if (what)
        return complain(error, file, id, what);
    (void)json_object_set(ids, id, json_true());
    return json_array_append(all, test);
}

static int take_file(json_t *all, json_t *ids, const char *file, char *error) {
    json_error_t why;
    json_t *array = json_load_file(file, JSON_REJECT_DUPLICATES, &why);
    int rc = 0;
    if (!json_is_array(array)) {
        (void)snprintf(error, CERT_ERROR_SIZE, "%s:%d: %s", file, array ? 1 : why.line,
                       array ? "an array of cases, please" : why.text);
        rc = -1;
    }
    for (size_t i = 0; rc == 0 && i < json_array_size(array); i++)
        rc = take(all, ids, json_array_get(array, i), file, error);
    json_decref(array);
    return rc;
}

/* nftw has no place for a pointer of ours. */
static json_t *found;

static int note_file(const char *path, const struct stat *st, int kind, struct FTW *walk) {
    size_t n = strlen(path);
    (void)st;
    (void)walk;
    bool manifest = n > 14 && strcmp(path + n - 14, "/MANIFEST.json") == 0;
    if (kind == FTW_F && n > 5 && strcmp(path + n - 5, ".json") == 0 && !manifest)
        (void)json_object_set(found, path, json_true());
    return 0;
}

json_t *cert_cases_load(const char *folder, char *error) {
    json_t *all = json_array(), *ids = json_object();
    int rc = 0;
    found = json_object();
    if (nftw(folder, note_file, 16, 0) != 0)
        rc = complain(error, folder, "", "cannot be read");
    char *sorted = json_dumps(found, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(found);
    found = sorted ? json_loads(sorted, 0, NULL) : NULL; /* jansson keeps the order of insertion */
    free(sorted);
    const char *file;
    json_t *unused;
    json_object_foreach(found, file, unused) {
        rc = rc == 0 ? take_file(all, ids, file, error) : rc;
    }
    json_decref(found);
    json_decref(ids);
    if (rc != 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

const json_t *cert_case_find(const json_t *cases, const char *id) {
    for (size_t i = 0; i < json_array_size(cases); i++)
        if (strcmp(cert_str(json_array_get(cases, i), "id"), id) == 0)
            return json_array_get(cases, i);
    return NULL;
}

const json_t *cert_case_body(const json_t *test) {
    return json_object_get(test, cert_str(test, "kind"));
}

const char *cert_case_feature(const json_t *test) {
    const char *feature = cert_str(cert_case_body(test), "feature");
    return *feature ? feature : cert_str(test, "kind");
}

unsigned cert_case_seconds(const json_t *test) {
    bool vector = strcmp(cert_str(test, "kind"), "vector") == 0;
    return (unsigned)cert_int(test, "seconds", vector ? 30 : 60);
}

bool cert_matches(const char *pattern, const char *text) {
    for (; *pattern; pattern++, text++) {
        if (*pattern == '*') {
            for (;; text++) {
                if (cert_matches(pattern + 1, text))
                    return true;
                if (!*text)
                    return false;
            }
        }
        if (*pattern != *text)
            return false;
    }
    return !*text;
}

bool cert_matches_any(const json_t *patterns, const char *text) {
    for (size_t i = 0; i < json_array_size(patterns); i++) {
        const char *p = json_string_value(json_array_get(patterns, i));
        if (p && cert_matches(p, text))
            return true;
    }
    return false;
}
