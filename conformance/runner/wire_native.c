/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"
#include "conformance/runner/frames.h"
#include "conformance/runner/rig.h"

#include <stdlib.h>
#include <string.h>

/* What the tap has seen of the native wire: every frame, by its header. */

static bool is_keyed(const struct cert_rig *r) {
    const char *seal = cert_str(json_object_get(cert_case_body(r->test), "parameters"), "seal");
    return *seal && strcmp(seal, "none") != 0;
}

static void add_counts(json_t *all, const json_t *some) {
    const char *name;
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)some, name, n) {
        (void)json_object_set_new(all, name,
                                  json_integer(cert_int(all, name, 0) + json_integer_value(n)));
    }
}

static void walk(struct cert_rig *r, unsigned i, const char *direction, json_t *all, FILE *text) {
    char path[CERT_PATH];
    struct cert_frames f;
    cert_frames_open(&f, cert_path(path, "%s/wire.%u.%s", r->folder, i, direction), is_keyed(r));
    cert_frames_step(&f);
    char *counts = json_dumps(f.counts, JSON_COMPACT);
    fprintf(text, "connection %u, %s: %s\n", i,
            strcmp(direction, "fwd") == 0 ? "from the source" : "to the source", counts);
    free(counts);
    if (f.bad && strcmp(cert_str(r->test, "kind"), "dialogue") != 0)
        cert_break(r, "on the wire: connection %u, %s: no frame at octet %llu", i, direction,
                   (unsigned long long)f.at);
    add_counts(all, f.counts);
    cert_frames_close(&f);
}

static void expect(struct cert_rig *r, const json_t *counts, const char *name) {
    if (cert_int(counts, name, 0) == 0)
        cert_break(r, "on the wire: no %s", name);
}

/* Hand-over in two phases, and an end that says that all was sent. */
static void expect_hand_over(struct cert_rig *r, const json_t *counts) {
    static const char *const frames[] = {"HELLO", "START", "READY", "COMMIT", "RUNNING", "END"};
    if (strcmp(cert_expected_outcome(r), "completed") != 0 ||
        strcmp(cert_str(r->test, "kind"), "dialogue") == 0)
        return;
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        expect(r, counts, frames[i]);
}

/* What the case wants of all connections together: so many frames, or more. */
static void expect_frames(struct cert_rig *r, const json_t *counts) {
    const json_t *wire = json_object_get(json_object_get(r->test, "expect"), "wire");
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(wire, "frames"), name, want) {
        json_int_t have = cert_int(counts, name, 0), least = json_integer_value(want);
        if (have < least)
            cert_break(r, "on the wire: %lld frames %s, not %lld", (long long)have, name,
                       (long long)least);
    }
}

void cert_judge_frames(struct cert_rig *r) {
    unsigned n = r->tap ? vms_tap_count(r->tap) : 0;
    char path[CERT_PATH];
    json_t *counts = json_object();
    FILE *text = n ? fopen(cert_path(path, "%s/inspect.txt", r->folder), "we") : NULL;
    if (r->tap && n == 0 && strcmp(cert_expected_outcome(r), "completed") == 0)
        cert_break(r, "nothing was on the wire, whatever the ends say");
    for (unsigned i = 0; text && i < n; i++) {
        walk(r, i, "fwd", counts, text);
        walk(r, i, "rev", counts, text);
    }
    if (text) {
        expect_hand_over(r, counts);
        expect_frames(r, counts);
        (void)fclose(text);
        (void)json_object_set_new(r->result, "wire",
                                  json_pack("{s:i, s:O}", "connections", (int)n, "frames", counts));
    }
    json_decref(counts);
}
