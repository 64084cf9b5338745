/* SPDX-License-Identifier: MIT */
#include "conformance/runner/expected.h"

#include "conformance/runner/plan.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

int cert_version_compare(const char *a, const char *b) {
    char *rest_a, *rest_b;
    long x = strtol(a, &rest_a, 10), y = strtol(b, &rest_b, 10);
    if (x != y)
        return x < y ? -1 : 1;
    bool more_a = *rest_a == '.', more_b = *rest_b == '.';
    if (!more_a || !more_b)
        return more_a - more_b;
    return cert_version_compare(rest_a + 1, rest_b + 1);
}

static bool in_range(const char *range, const char *version) {
    const char *dots = strstr(range, "..");
    char low[32];
    if (!*range)
        return true;
    if (!dots)
        return cert_version_compare(version, range) == 0;
    (void)snprintf(low, sizeof low, "%.*s", (int)(dots - range), range);
    return cert_version_compare(version, low) >= 0 && cert_version_compare(version, dots + 2) <= 0;
}

static const char *bad_entry(const json_t *e) {
    static const char *const wanted[] = {"implementation", "case", "message", "reason"};
    for (size_t i = 0; i < 4; i++)
        if (!*cert_str(e, wanted[i]))
            return wanted[i];
    return NULL;
}

static int take(json_t *all, const char *path, char *error) {
    json_error_t why;
    json_t *list = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    int rc = json_is_array(list) ? 0 : -1;
    if (rc != 0)
        (void)snprintf(error, 512, "%s:%d: %s", path, list ? 1 : why.line,
                       list ? "an array, please" : why.text);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        json_t *e = json_array_get(list, i);
        const char *missing = bad_entry(e);
        if (missing) {
            (void)snprintf(error, 512, "%s: entry %zu: %s, please", path, i, missing);
            rc = -1;
        } else {
            (void)json_array_append(all, e);
        }
    }
    json_decref(list);
    return rc;
}

json_t *cert_expected_load(const char *folder, char *error) {
    char pattern[CERT_PATH];
    json_t *all = json_array();
    glob_t g;
    int rc = 0;
    if (glob(cert_path(pattern, "%s/*.json", folder), 0, NULL, &g) != 0)
        return all;
    for (size_t i = 0; i < g.gl_pathc && rc == 0; i++)
        rc = take(all, g.gl_pathv[i], error);
    globfree(&g);
    if (rc == 0)
        return all;
    json_decref(all);
    return NULL;
}

/* ---- whether an entry speaks of a cell ---- */

static bool pattern_fits(const json_t *e, const char *key, const char *text) {
    const char *p = cert_str(e, key);
    return !*p || cert_matches(p, text);
}

static bool end_fits(const json_t *e, const json_t *profile, const json_t *cell, const char *who,
                     const char *role, const char *machine, const char *peer) {
    const json_t *i = cert_implementation(profile, cert_str(cell, who));
    return i && pattern_fits(e, "implementation", cert_str(i, "implementation")) &&
           in_range(cert_str(e, "versions"), cert_str(i, "version")) &&
           pattern_fits(e, "role", role) && pattern_fits(e, "machine", cert_str(cell, machine)) &&
           pattern_fits(e, "peer", cert_str(cell, peer));
}

static bool fits(const json_t *e, const json_t *profile, const json_t *cell) {
    const char *through = cert_str(e, "through");
    if (!cert_matches(cert_str(e, "case"), cert_str(cell, "case")) ||
        (*through && strcmp(through, cert_str(cell, "through")) != 0))
        return false;
    if (json_object_get(cell, "subject"))
        return end_fits(e, profile, cell, "subject", cert_str(cell, "role"), "machine", "");
    return end_fits(e, profile, cell, "source", "source", "source_machine", "destination") ||
           end_fits(e, profile, cell, "destination", "destination", "destination_machine",
                    "source");
}

static bool shows(const json_t *result, const char *message) {
    const json_t *why = json_object_get(result, "why");
    for (size_t i = 0; i < json_array_size(why); i++)
        if (strstr(json_string_value(json_array_get(why, i)), message))
            return true;
    return false;
}

/* Several may speak of one cell, where an implementation breaks now this way and now that. */
struct fitting {
    const json_t *first, *shown; /* that one breaks as it says */
    bool sometimes;
};

static struct fitting find(const json_t *expected, const json_t *profile, const json_t *cell,
                           const json_t *result) {
    struct fitting f = {NULL, NULL, false};
    const char *verdict = cert_str(result, "verdict");
    for (size_t i = 0; i < json_array_size(expected); i++) {
        const json_t *e = json_array_get(expected, i);
        if (!fits(e, profile, cell))
            continue;
        const char *want = *cert_str(e, "verdict") ? cert_str(e, "verdict") : "FAIL";
        f.first = f.first ? f.first : e;
        f.sometimes |= cert_true(e, "sometimes");
        if (!f.shown && strcmp(verdict, want) == 0 && shows(result, cert_str(e, "message")))
            f.shown = e;
    }
    return f;
}

void cert_expected_apply(const json_t *expected, const json_t *profile, const json_t *cell,
                         json_t *result) {
    struct fitting f = find(expected, profile, cell, result);
    enum cert_verdict v = cert_result_verdict(result);
    if (f.shown) {
        cert_set(result, "verdict", cert_verdict_name(CERT_XFAIL));
        cert_set(result, "expected", cert_str(f.shown, "reason"));
    } else if (f.first && v == CERT_PASS && !f.sometimes) {
        cert_set(result, "verdict", cert_verdict_name(CERT_XPASS));
        cert_say(json_object_get(result, "why"), "it was expected to fail (%s), and did not",
                 cert_str(f.first, "reason"));
    } else if (f.first && (v == CERT_FAIL || v == CERT_TIMEOUT)) {
        cert_result_note(result, "expected to fail with \"%s\" (%s), but failed otherwise",
                         cert_str(f.first, "message"), cert_str(f.first, "reason"));
    }
}
