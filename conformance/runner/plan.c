/* SPDX-License-Identifier: MIT */
#include "conformance/runner/plan.h"

#include <string.h>

struct planning {
    const json_t *profile, *cases;
    const struct cert_plan_options *options;
    json_t *cells;
};

static void fail(char *error, const char *fmt, const char *a, const char *b) {
    (void)snprintf(error, CERT_ERROR_SIZE, fmt, a, b);
}

json_t *cert_profile_load(const char *path, char *error) {
    json_error_t why;
    json_t *p = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!p) {
        (void)snprintf(error, CERT_ERROR_SIZE, "%s:%d: %s", path, why.line, why.text);
        return NULL;
    }
    if (json_array_size(json_object_get(p, "implementations")) == 0) {
        fail(error, "%s: %s", path, "implementations, please");
        json_decref(p);
        return NULL;
    }
    cert_set(p, "path", path);
    return p;
}

const json_t *cert_implementation(const json_t *profile, const char *name) {
    const json_t *all = json_object_get(profile, "implementations");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (strcmp(cert_str(json_array_get(all, i), "name"), name) == 0)
            return json_array_get(all, i);
    return NULL;
}

const char *cert_lacks(const json_t *implementation, const json_t *test) {
    const json_t *needs = json_object_get(test, "needs");
    const json_t *features = json_object_get(implementation, "features");
    for (size_t i = 0; features && i < json_array_size(needs); i++) {
        const char *need = json_string_value(json_array_get(needs, i));
        if (need && !cert_has(features, need))
            return need;
    }
    return NULL;
}

/* ---- cells ---- */

static const char *at_machine(char *out, size_t size, const json_t *cell, const char *who,
                              const char *machine) {
    const char *m = cert_str(cell, machine);
    (void)snprintf(out, size, "%s%s%s", cert_str(cell, who), *m ? "@" : "", m);
    return out;
}

static void name_cell(json_t *cell) {
    char id[400], a[120], b[120];
    if (json_object_get(cell, "subject"))
        (void)snprintf(id, sizeof id, "%s/%s/%s", cert_str(cell, "case"), cert_str(cell, "role"),
                       at_machine(a, sizeof a, cell, "subject", "machine"));
    else
        (void)snprintf(id, sizeof id, "%s/%s/%s%s%s", cert_str(cell, "case"),
                       at_machine(a, sizeof a, cell, "source", "source_machine"),
                       at_machine(b, sizeof b, cell, "destination", "destination_machine"),
                       *cert_str(cell, "through") ? "/" : "", cert_str(cell, "through"));
    cert_set(cell, "id", id);
}

static bool has_cell(const json_t *cells, const char *id) {
    for (size_t i = 0; i < json_array_size(cells); i++)
        if (strcmp(cert_str(json_array_get(cells, i), "id"), id) == 0)
            return true;
    return false;
}

/* Takes the reference. A cell that two parts of a profile ask for is run once. */
static void add(struct planning *p, json_t *cell) {
    bool keep = strcmp(cert_str(cell, "kind"), "probe") == 0;
    if (!json_object_get(cell, "id"))
        name_cell(cell);
    const char *id = cert_str(cell, "id");
    if ((keep || !p->options->only || cert_matches_any(p->options->only, id)) &&
        !has_cell(p->cells, id))
        (void)json_array_append(p->cells, cell);
    json_decref(cell);
}

static json_t *cell_of(const json_t *test) {
    json_t *cell = json_object();
    cert_set(cell, "case", cert_str(test, "id"));
    cert_set(cell, "kind", cert_str(test, "kind"));
    cert_set(cell, "feature", cert_case_feature(test));
    cert_set(cell, "level", cert_str(test, "level"));
    cert_set(cell, "clause", cert_str(test, "clause"));
    (void)json_object_set_new(cell, "seconds", json_integer((json_int_t)cert_case_seconds(test)));
    return cell;
}

/* A part may say itself what of it a quick run takes. */
static bool is_quick(const json_t *test, const json_t *part) {
    const json_t *own = json_object_get(part, "quick");
    return own ? cert_matches_any(own, cert_str(test, "id"))
               : cert_true(test, "quick") && !cert_true(part, "full_only");
}

static bool wanted(const struct planning *p, const json_t *test, const json_t *part,
                   const char *kind) {
    const json_t *patterns = json_object_get(part, "cases");
    return strcmp(cert_str(test, "kind"), kind) == 0 &&
           (!p->options->quick || is_quick(test, part)) &&
           (!patterns || cert_matches_any(patterns, cert_str(test, "id")) ||
            cert_matches_any(patterns, cert_case_feature(test)));
}

static void copy(json_t *cell, const char *to, const json_t *part, const char *from,
                 const char *otherwise) {
    const char *value = cert_str(part, from);
    value = *value ? value : cert_str(part, otherwise);
    if (*value)
        cert_set(cell, to, value);
}

static void add_pair(struct planning *p, const json_t *test, const json_t *part,
                     const char *through, const char *id) {
    json_t *cell = cell_of(test);
    copy(cell, "source", part, "source", "");
    copy(cell, "destination", part, "destination", "");
    copy(cell, "source_machine", part, "source_machine", "machine");
    copy(cell, "destination_machine", part, "destination_machine", "machine");
    if (strcmp(through, "direct") != 0)
        cert_set(cell, "through", through);
    if (id) {
        char full[400];
        name_cell(cell);
        (void)snprintf(full, sizeof full, "%s/%s", id, cert_str(cell, "id"));
        cert_set(cell, "id", full);
        (void)json_object_set_new(cell, "sanity", json_true());
    }
    add(p, cell);
}

static void add_pairs(struct planning *p) {
    const json_t *parts = json_object_get(p->profile, "pairs");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i), *ways = json_object_get(part, "through");
        for (size_t k = 0; k < json_array_size(p->cases); k++) {
            const json_t *test = json_array_get(p->cases, k);
            if (!wanted(p, test, part, "migration"))
                continue;
            if (!ways)
                add_pair(p, test, part, "direct", NULL);
            for (size_t w = 0; w < json_array_size(ways); w++)
                add_pair(p, test, part, json_string_value(json_array_get(ways, w)), NULL);
        }
    }
}

static void add_subject(struct planning *p, const json_t *test, const json_t *part,
                        const char *role) {
    json_t *cell = cell_of(test);
    copy(cell, "subject", part, "implementation", "");
    copy(cell, "machine", part, "machine", "");
    cert_set(cell, "role", role);
    add(p, cell);
}

static void add_subjects(struct planning *p, const char *list, const char *kind) {
    const json_t *parts = json_object_get(p->profile, list);
    for (size_t i = 0; i < json_array_size(parts); i++)
        for (size_t k = 0; k < json_array_size(p->cases); k++) {
            const json_t *part = json_array_get(parts, i), *test = json_array_get(p->cases, k);
            bool dialogue = strcmp(kind, "dialogue") == 0;
            const char *role = dialogue ? cert_str(cert_case_body(test), "role") : "decoder";
            const char *only = cert_str(part, "role");
            if (wanted(p, test, part, kind) && (!*only || strcmp(only, role) == 0))
                add_subject(p, test, part, role);
        }
}

/* ---- honesty: for each role in which an implementation is used ---- */

static bool has_role(const json_t *profile, const char *name, const char *role) {
    const json_t *pairs = json_object_get(profile, "pairs"), *part;
    const json_t *decoders = json_object_get(profile, "decoders");
    size_t i;
    json_array_foreach(pairs, i, part) {
        if (strcmp(cert_str(part, role), name) == 0)
            return true;
    }
    json_array_foreach(decoders, i, part) {
        if (strcmp(role, "decoder") == 0 && strcmp(cert_str(part, "implementation"), name) == 0)
            return true;
    }
    return false;
}

static void add_probe(struct planning *p, const char *name, const char *role, const char *what) {
    json_t *cell = json_object();
    cert_set(cell, "case", what);
    cert_set(cell, "kind", "probe");
    cert_set(cell, "feature", "honesty");
    cert_set(cell, "level", "MUST");
    cert_set(cell, "subject", name);
    cert_set(cell, "role", role);
    (void)json_object_set_new(cell, "seconds", json_integer(60));
    add(p, cell);
}

static void add_probes(struct planning *p) {
    static const char *const roles[] = {"source", "destination", "decoder"};
    const json_t *all = json_object_get(p->profile, "implementations");
    for (size_t i = 0; i < json_array_size(all); i++)
        for (size_t r = 0; r < 3; r++) {
            const char *name = cert_str(json_array_get(all, i), "name");
            if (!has_role(p->profile, name, roles[r]))
                continue;
            add_probe(p, name, roles[r], "unknown-case");
            if (r > 0) /* a source reads nothing that must be good */
                add_probe(p, name, roles[r], "known-bad");
        }
}

static void add_sanity(struct planning *p, const char *when) {
    const json_t *part = json_object_get(p->profile, "sanity");
    const json_t *test = cert_case_find(p->cases, cert_str(part, "case"));
    if (test)
        add_pair(p, test, part, "direct", when);
}

/* ---- the whole ---- */

static int check_names(const json_t *profile, const json_t *cells, char *error) {
    static const char *const keys[] = {"source", "destination", "subject"};
    for (size_t i = 0; i < json_array_size(cells); i++)
        for (size_t k = 0; k < 3; k++) {
            const char *name = cert_str(json_array_get(cells, i), keys[k]);
            if (*name && !cert_implementation(profile, name)) {
                fail(error, "%s: no implementation %s", cert_str(profile, "path"), name);
                return -1;
            }
        }
    return 0;
}

json_t *cert_plan(const json_t *profile, const json_t *cases, const struct cert_plan_options *o,
                  char *error) {
    struct planning p = {profile, cases, o, json_array()};
    add_probes(&p);
    add_sanity(&p, "sanity-first");
    add_subjects(&p, "decoders", "vector");
    add_subjects(&p, "subjects", "dialogue");
    add_pairs(&p);
    add_sanity(&p, "sanity-last");
    if (check_names(profile, p.cells, error) == 0)
        return p.cells;
    json_decref(p.cells);
    return NULL;
}
