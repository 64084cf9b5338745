/* SPDX-License-Identifier: MIT */
#include "conformance/runner/report.h"

#include <string.h>

/*
 * Who can migrate to whom, with which feature. An entry's "can" is true when all that was tried
 * went well, false when something of it did not or an end has not got the feature.
 */

static json_t *find(json_t *entries, const json_t *line) {
    static const char *const keys[] = {
        "source", "source_machine", "destination", "destination_machine", "through", "feature"};
    json_t *entry;
    size_t i, k;
    json_array_foreach(entries, i, entry) {
        for (k = 0; k < 6 && strcmp(cert_str(entry, keys[k]), cert_str(line, keys[k])) == 0; k++)
            ;
        if (k == 6)
            return entry;
    }
    entry = json_object();
    for (k = 0; k < 6; k++)
        cert_set(entry, keys[k], cert_str(line, keys[k]));
    (void)json_object_set_new(entry, "can", json_null());
    (void)json_object_set_new(entry, "cells", json_array());
    (void)json_array_append_new(entries, entry);
    return entry;
}

static const char *why_not(const json_t *line) {
    const char *why = json_string_value(json_array_get(json_object_get(line, "why"), 0));
    return why ? why : "";
}

static void take(json_t *entries, const json_t *line) {
    enum cert_verdict v = cert_result_verdict(line);
    if (!json_object_get(line, "source") || v == CERT_SKIP || v == CERT_ERROR)
        return;
    json_t *entry = find(entries, line);
    bool good = v == CERT_PASS || v == CERT_WARN;
    (void)json_array_append_new(json_object_get(entry, "cells"), json_string(cert_str(line, "id")));
    if (good && json_is_null(json_object_get(entry, "can"))) {
        (void)json_object_set_new(entry, "can", json_true());
    } else if (!good) {
        (void)json_object_set_new(entry, "can", json_false());
        if (!*cert_str(entry, "reason"))
            cert_set(entry, "reason", why_not(line));
    }
}

int cert_report_compat(const struct cert_report *r, const char *path) {
    json_t *entries = json_array();
    for (size_t i = 0; i < json_array_size(r->journal->cells); i++)
        take(entries, json_array_get(r->journal->cells, i));
    json_t *versions = json_object_get(r->journal->run, "versions");
    json_t *table = json_pack("{s:s, s:i, s:O, s:o}", "record", "compatibility", "format", 1,
                              "versions", versions ? versions : json_null(), "entries", entries);
    int rc = table ? cert_write_json(path, table) : -1;
    json_decref(table);
    return rc;
}

/* ---- asking ---- */

/* NAME or NAME@MACHINE. */
static bool is_end(const json_t *entry, const char *who, const char *machine, const char *asked) {
    char full[200];
    (void)snprintf(full, sizeof full, "%s@%s", cert_str(entry, who), cert_str(entry, machine));
    return strcmp(cert_str(entry, who), asked) == 0 || strcmp(full, asked) == 0;
}

static void print(const json_t *entry) {
    const char *through = cert_str(entry, "through"), *reason = cert_str(entry, "reason");
    const json_t *can = json_object_get(entry, "can");
    printf("%-4s %s@%s -> %s@%s%s%s: %s%s%s\n", json_is_true(can) ? "yes" : "no",
           cert_str(entry, "source"), cert_str(entry, "source_machine"),
           cert_str(entry, "destination"), cert_str(entry, "destination_machine"),
           *through ? " via " : "", through, cert_str(entry, "feature"), *reason ? ": " : "",
           reason);
}

int cert_compat_ask(const char *path, const char *source, const char *destination,
                    const char *feature) {
    json_error_t why;
    json_t *table = json_load_file(path, 0, &why), *entry;
    unsigned yes = 0, no = 0;
    size_t i;
    if (!table) {
        fprintf(stderr, "certify: %s: %s\n", path, why.text);
        return 3;
    }
    json_array_foreach(json_object_get(table, "entries"), i, entry) {
        if (!is_end(entry, "source", "source_machine", source) ||
            !is_end(entry, "destination", "destination_machine", destination) ||
            (feature && strcmp(cert_str(entry, "feature"), feature) != 0))
            continue;
        print(entry);
        json_is_true(json_object_get(entry, "can")) ? yes++ : no++;
    }
    json_decref(table);
    if (!yes && !no)
        fprintf(stderr, "certify: nobody has tried %s -> %s%s%s\n", source, destination,
                feature ? " with " : "", feature ? feature : "");
    return no ? 1 : yes ? 0 : 3;
}
