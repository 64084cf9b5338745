/* SPDX-License-Identifier: MIT */
#include "conformance/runner/report.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* Which clauses of the specification the cases of this run have shown. */

/* "**[RAM-7] MUST** text" */
static void take_line(json_t *all, const char *line) {
    char id[32], level[16];
    int n = 0;
    if (sscanf(line, "**[%31[A-Z0-9-]] %15[A-Z]** %n", id, level, &n) != 2 || n == 0)
        return;
    json_t *clause =
        json_pack("{s:s, s:s, s:i, s:i}", "id", id, "level", level, "cases", 0, "passed", 0);
    char text[200];
    (void)snprintf(text, sizeof text, "%.*s", (int)strcspn(line + n, "\n"), line + n);
    cert_set(clause, "text", text);
    (void)json_object_set_new(all, id, clause);
}

static void read_spec(json_t *all, const char *folder) {
    char pattern[CERT_PATH], *line = NULL;
    size_t size = 0;
    glob_t g;
    if (glob(cert_path(pattern, "%s/*.md", folder), 0, NULL, &g) != 0)
        return;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        FILE *f = fopen(g.gl_pathv[i], "re");
        while (f && getline(&line, &size, f) > 0)
            take_line(all, line);
        if (f)
            (void)fclose(f);
    }
    free(line);
    globfree(&g);
}

static void add(json_t *all, const char *id, bool passed) {
    json_t *c = json_object_get(all, id);
    if (!c)
        return;
    (void)json_object_set_new(c, "cases", json_integer(cert_int(c, "cases", 0) + 1));
    if (passed)
        (void)json_object_set_new(c, "passed", json_integer(cert_int(c, "passed", 0) + 1));
}

static const json_t *by_id(const struct cert_report *r, json_t *index, const char *id) {
    if (json_object_size(index) == 0)
        for (size_t i = 0; i < json_array_size(r->cases); i++) {
            json_t *c = json_array_get(r->cases, i);
            (void)json_object_set(index, cert_str(c, "id"), c);
        }
    return json_object_get(index, id);
}

json_t *cert_coverage(const struct cert_report *r) {
    json_t *all = json_object(), *index = json_object();
    if (r->spec)
        read_spec(all, r->spec);
    for (size_t i = 0; i < json_array_size(r->journal->cells); i++) {
        const json_t *line = json_array_get(r->journal->cells, i);
        const json_t *test = by_id(r, index, cert_str(line, "case"));
        const json_t *more = json_object_get(test, "clauses");
        bool passed = cert_result_verdict(line) == CERT_PASS;
        add(all, cert_str(line, "clause"), passed);
        for (size_t k = 0; k < json_array_size(more); k++) {
            const char *id = json_string_value(json_array_get(more, k));
            if (id && strcmp(id, cert_str(line, "clause")) != 0)
                add(all, id, passed);
        }
    }
    json_decref(index);
    return all;
}
