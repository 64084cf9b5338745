/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <stdlib.h>
#include <string.h>

/* A vector: its octets in files, and what a decoder makes of them. */

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int put_hex(FILE *f, const char *hex, json_int_t times) {
    for (json_int_t t = 0; t < times; t++)
        for (const char *h = hex; *h; h += 2) {
            if (digit(h[0]) < 0 || digit(h[1]) < 0)
                return -1;
            (void)fputc(digit(h[0]) << 4 | digit(h[1]), f);
        }
    return 0;
}

/* A string of digits, or an array of them and of repetitions. */
static int put_octets(FILE *f, const json_t *value) {
    int rc = 0;
    if (json_is_string(value))
        return put_hex(f, json_string_value(value), 1);
    if (json_is_object(value))
        return put_hex(f, cert_str(value, "repeat"), cert_int(value, "times", 1));
    for (size_t i = 0; i < json_array_size(value) && rc == 0; i++)
        rc = put_octets(f, json_array_get(value, i));
    return rc;
}

static int write_octets(struct cert_rig *r, const char *name, const json_t *value) {
    char path[CERT_PATH];
    FILE *f = fopen(cert_path(path, "%s/%s", r->folder, name), "we");
    int rc = f ? put_octets(f, value) : -1;
    if (f && fclose(f) != 0)
        rc = -1;
    if (rc != 0)
        cert_result_is(r->result, CERT_ERROR, "%s: the vector's octets cannot be written", path);
    return rc;
}

/* The vector of a case: in place, or out of conformance/vectors. A new reference. */
static json_t *vector_of(struct cert_rig *r) {
    const json_t *body = cert_case_body(r->test);
    const char *file = cert_str(body, "file"), *id = cert_str(body, "id");
    char path[CERT_PATH];
    if (!*file)
        return json_incref((json_t *)(uintptr_t)body);
    const char *root = cert_str(r->profile, "vectors");
    cert_path(path, "%s/%s", *root ? root : "conformance/vectors", file);
    json_t *all = json_load_file(path, 0, NULL);
    json_t *found = json_incref((json_t *)(uintptr_t)cert_case_find(all, id));
    json_decref(all);
    if (!found)
        cert_result_is(r->result, CERT_ERROR, "%s: no vector %s", path, id);
    return found;
}

/* ---- judging ---- */

static void expect_error(struct cert_rig *r, const json_t *want, const json_t *said) {
    static const char *const keys[] = {"class", "clause"};
    const char *code = cert_str(said, "code");
    if (!*code) {
        cert_result_note(r->result, "only that it was refused is known, not why");
        return;
    }
    if (strcmp(code, cert_str(want, "error")) != 0)
        cert_break(r, "refused with %s, not %s", code, cert_str(want, "error"));
    for (size_t i = 0; i < 2; i++)
        if (*cert_str(want, keys[i]) && *cert_str(said, keys[i]) &&
            strcmp(cert_str(want, keys[i]), cert_str(said, keys[i])) != 0)
            cert_break(r, "%s %s, not %s", keys[i], cert_str(said, keys[i]),
                       cert_str(want, keys[i]));
    json_int_t offset = cert_int(want, "offset", -1);
    if (offset >= 0 && cert_int(said, "offset", offset) != offset)
        cert_break(r, "octet %lld, not %lld", (long long)cert_int(said, "offset", 0),
                   (long long)offset);
}

/* Names of records; of frames on the native wire. A new reference, or NULL. */
static json_t *names_of(const json_t *want) {
    const json_t *frames = json_object_get(want, "frames");
    if (!frames)
        return json_incref(json_object_get(want, "records"));
    json_t *names = json_array();
    for (size_t i = 0; i < json_array_size(frames); i++)
        (void)json_array_append_new(names,
                                    json_string(cert_str(json_array_get(frames, i), "type")));
    return names;
}

static void expect_records(struct cert_rig *r, const json_t *want, const json_t *said) {
    json_t *names = names_of(want), *have = json_object_get(said, "records");
    size_t i = 0;
    while (i < json_array_size(names) &&
           json_equal(json_array_get(names, i), json_array_get(have, i)))
        i++;
    if (names && have && !json_equal(names, have)) {
        const char *is = json_string_value(json_array_get(have, i));
        const char *should = json_string_value(json_array_get(names, i));
        cert_break(r, "record %zu is %s, not %s", i, is ? is : "none", should ? should : "none");
    }
    json_decref(names);
}

static void judge(struct cert_rig *r, const json_t *want) {
    const struct cert_end *e = &r->ends[0];
    bool good = cert_true(want, "end");
    int status = cert_exit(&e->process);
    if ((status == 0) != good) {
        cert_break(r, "%s: %s", status == 0 ? "accepted, though it must be refused" : "refused",
                   status == 0 ? cert_str(want, "error") : cert_str(e->said, "message"));
        return;
    }
    if (!good)
        expect_error(r, want, e->said);
    expect_records(r, want, e->said);
}

/* The adapter gets one object: the case with the vector in its place. */
static int write_case(struct cert_rig *r, json_t *vector) {
    char path[CERT_PATH];
    json_t *whole = json_copy((json_t *)(uintptr_t)r->test);
    json_t *body = json_copy(vector);
    (void)json_object_del(body, "hex");
    (void)json_object_del(body, "main");
    (void)json_object_set_new(whole, "vector", body);
    int rc = cert_write_json(cert_path(path, "%s/case.json", r->folder), whole);
    json_decref(whole);
    return rc;
}

void cert_run_decoder(struct cert_rig *r) {
    char uri[CERT_PATH], main_path[CERT_PATH];
    json_t *vector = vector_of(r);
    if (!vector)
        return;
    const json_t *want = json_object_get(r->test, "expect");
    want = json_object_get(want, "end") || json_object_get(want, "error")
               ? want
               : json_object_get(vector, "expect");
    bool has_main = json_object_get(vector, "main") != NULL;
    if (write_octets(r, "input.0", json_object_get(vector, "hex")) == 0 &&
        (!has_main || write_octets(r, "main.0", json_object_get(vector, "main")) == 0) &&
        write_case(r, vector) == 0) {
        if (has_main)
            (void)setenv("VMS_URI_1", cert_path(main_path, "file:%s/main.0", r->folder), 1);
        if (cert_rig_start(r, &r->ends[0], NULL, cert_path(uri, "file:%s/input.0", r->folder)) == 0)
            cert_wait(&r->ends[0].process);
        cert_end_read(&r->ends[0]);
        if (cert_result_verdict(r->result) == CERT_PASS && cert_judge_processes(r))
            judge(r, want);
    }
    json_decref(vector);
}
