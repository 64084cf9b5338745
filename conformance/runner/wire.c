/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <stdlib.h>
#include <string.h>

/* What the tap has seen, by our codec: the program vmstream, a process as any other. */
enum {
    WORDS = VMS_TAP_MAX_CONNECTIONS + 12,
    INSPECT_S = 120,
};

struct seen {
    json_t *counts;   /* records by name */
    json_t *commands; /* of the summary */
    json_t *messages; /* of the return path */
    json_t *error;    /* the decoder's, or NULL */
    bool complete;
};

/* ---- channels ---- */

static size_t head(const char *path, uint8_t out[4]) {
    size_t n = 0;
    char *text = cert_read(path, 4, &n);
    if (text)
        memcpy(out, text, n);
    free(text);
    return n;
}

/* A channel that its content does not tell: the recovery of a main channel begins with a command.
 */
static const char *prefix_of(const char *path, unsigned index) {
    uint8_t b[4] = {0};
    size_t n = head(path, b);
    if (index == 0 ||
        (n == 4 && (memcmp(b, "QEVM", 4) == 0 || memcmp(b, "\x11\x22\x33\x44", 4) == 0)))
        return "";
    return n > 0 && b[0] == 8 ? "recovery:" : "preempt:";
}

static bool is_native(const struct cert_rig *r) {
    return strcmp(cert_str(cert_case_body(r->test), "wire"), "native") == 0;
}

static const char *machine_version(const char *machine) {
    const char *dash = strrchr(machine, '-');
    return dash && dash[1] >= '0' && dash[1] <= '9' ? dash + 1 : NULL;
}

/* What the wire does not tell: the source's version, or what the destination expects. */
static void dialect_of(const struct cert_rig *r, char *out, size_t size) {
    const struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    const char *v = cert_str(s->implementation, "version");
    v = *v ? v : cert_str(d->implementation, "version");
    const char *m = machine_version(s->machine);
    if (!*v)
        *out = 0;
    else
        (void)snprintf(out, size, "qemu=%s%s%s", v, m ? ",machine=" : "", m ? m : "");
}

struct words {
    const char *list[WORDS];
    char files[VMS_TAP_MAX_CONNECTIONS][CERT_PATH];
    char program[CERT_PATH], dialect[64];
};

static size_t common(struct cert_rig *r, struct words *w, bool json, bool back) {
    size_t n = 0;
    cert_path(w->program, "%s/vmstream", r->build);
    w->list[n++] = w->program;
    w->list[n++] = "inspect";
    if (json)
        w->list[n++] = "--json";
    if (back)
        w->list[n++] = "--return-path";
    dialect_of(r, w->dialect, sizeof w->dialect);
    if (*w->dialect) {
        w->list[n++] = "-D";
        w->list[n++] = w->dialect;
    }
    return n;
}

static size_t add_forward(struct cert_rig *r, struct words *w, size_t n) {
    unsigned count = r->tap ? vms_tap_count(r->tap) : 0;
    char path[CERT_PATH];
    for (unsigned i = 0; i < count; i++) {
        uint8_t b[4];
        cert_path(path, "%s/wire.%u.fwd", r->folder, i);
        if (i > 0 && head(path, b) == 0)
            continue;
        w->list[n++] = cert_path(w->files[i], "%s%s", prefix_of(path, i), path);
    }
    if (!r->tap && cert_exists(cert_path(w->files[0], "%s/shared/stream", r->folder)))
        w->list[n++] = w->files[0]; /* by file */
    return n;
}

/* The return path of one connection: the main one's, or that of a recovery. */
static size_t add_back(struct cert_rig *r, struct words *w, size_t n, unsigned i) {
    uint8_t b[4];
    cert_path(w->files[0], "%s/wire.%u.rev", r->folder, i);
    if (head(w->files[0], b) > 0)
        w->list[n++] = w->files[0];
    return n;
}

enum {
    FORWARD = -1, /* all channels; else the return path of that connection */
};

static bool inspect(struct cert_rig *r, const char *out, bool json, int which) {
    static struct words w;
    memset(&w, 0, sizeof w);
    size_t n = common(r, &w, json, which != FORWARD), m = n;
    char path[CERT_PATH];
    struct cert_process p = {.name = "inspect"};
    n = which == FORWARD ? add_forward(r, &w, n) : add_back(r, &w, n, (unsigned)which);
    if (n == m ||
        cert_spawn(&p, w.list, NULL, cert_path(path, "%s/%s", r->folder, out), INSPECT_S) != 0)
        return false;
    cert_wait(&p);
    bool dialogue = strcmp(cert_str(r->test, "kind"), "dialogue") == 0; /* what it sends is bad */
    if (!dialogue && (cert_exit(&p) < 0 || cert_exit(&p) > 1))
        cert_result_is(r->result, CERT_ERROR, "our decoder ended with %d on the captured wire",
                       cert_exit(&p));
    return true;
}

/* ---- records ---- */

static void count_record(json_t *counts, const char *line) {
    char name[64];
    const char *at = strstr(line, "\"record\":\"");
    if (!at)
        return;
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 10, "\""), at + 10);
    (void)json_object_set_new(counts, name, json_integer(cert_int(counts, name, 0) + 1));
}

/* A recovery has a return path of its own. */
static void add_messages(json_t *all, const json_t *some) {
    const char *name;
    json_t *n;
    json_object_foreach((json_t *)(uintptr_t)some, name, n) {
        (void)json_object_set_new(all, name,
                                  json_integer(cert_int(all, name, 0) + json_integer_value(n)));
    }
}

static void take_line(struct seen *s, const char *line) {
    bool summary = strncmp(line, "{\"record\":\"summary\"", 19) == 0;
    bool error = strncmp(line, "{\"record\":\"error\"", 17) == 0;
    if (!summary && !error) {
        count_record(s->counts, line);
        return;
    }
    json_t *o = json_loads(line, 0, NULL);
    if (error) {
        if (!s->error)
            s->error = json_incref(o);
    } else {
        s->complete = cert_true(o, "complete");
        if (json_object_get(o, "commands"))
            (void)json_object_update(s->commands, json_object_get(o, "commands"));
        add_messages(s->messages, json_object_get(o, "messages"));
    }
    json_decref(o);
}

static void read_lines(struct cert_rig *r, const char *file, struct seen *s) {
    char path[CERT_PATH], *line = NULL;
    size_t size = 0;
    FILE *f = fopen(cert_path(path, "%s/%s", r->folder, file), "re");
    while (f && getline(&line, &size, f) > 0)
        take_line(s, line);
    free(line);
    if (f)
        (void)fclose(f);
    (void)remove(path); /* long; what people want of it is in inspect.txt */
}

/* ---- what the case wants ---- */

static void expect_number(struct cert_rig *r, const char *what, const char *name, json_int_t have,
                          const json_t *want) {
    json_int_t min = json_is_integer(want) ? json_integer_value(want) : cert_int(want, "min", 0);
    json_int_t max = json_is_integer(want) ? json_integer_value(want) : cert_int(want, "max", have);
    if (have < min || have > max)
        cert_break(r, "on the wire: %lld %s %s, not %s%lld", (long long)have, what, name,
                   have < min && max != min ? "at least " : "",
                   (long long)(have < min ? min : max));
}

static void expect_all(struct cert_rig *r, const json_t *wire, const char *key,
                       const json_t *counts) {
    const char *name;
    json_t *want;
    json_object_foreach(json_object_get(wire, key), name, want) {
        expect_number(r, key, name, cert_int(counts, name, 0), want);
    }
}

/* A stream that somebody completed has no error in it. */
static void expect_sound(struct cert_rig *r, const struct seen *s) {
    bool done = strcmp(cert_expected_outcome(r), "completed") == 0 &&
                strcmp(cert_str(r->test, "kind"), "dialogue") != 0;
    const json_t *complete =
        json_object_get(json_object_get(json_object_get(r->test, "expect"), "wire"), "complete");
    if (!done && !complete)
        return;
    if (s->error)
        cert_break(r, "on the wire: %s at octet %lld (%s): %s", cert_str(s->error, "code"),
                   (long long)cert_int(s->error, "offset", 0), cert_str(s->error, "clause"),
                   cert_str(s->error, "message"));
    else if (s->complete != (complete ? json_is_true(complete) : true))
        cert_break(r, "on the wire: the stream is %scomplete", s->complete ? "" : "not ");
}

static void note_wire(struct cert_rig *r, const struct seen *s) {
    unsigned n = r->tap ? vms_tap_count(r->tap) : 0;
    json_t *o = json_object(), *octets = json_array();
    for (unsigned i = 0; i < n; i++) {
        struct vms_tap_connection c = vms_tap_connection(r->tap, i);
        (void)json_array_append_new(
            octets, json_pack("[I, I]", (json_int_t)c.forward, (json_int_t)c.reverse));
    }
    (void)json_object_set_new(o, "connections", json_integer((json_int_t)n));
    (void)json_object_set_new(o, "octets", octets);
    (void)json_object_set(o, "commands", s->commands);
    (void)json_object_set(o, "messages", s->messages);
    (void)json_object_set(o, "records", s->counts);
    (void)json_object_set_new(o, "complete", json_boolean(s->complete));
    if (s->error)
        (void)json_object_set(o, "error", s->error);
    (void)json_object_set_new(r->result, "wire", o);
}

/* Return paths: of the main channel and of its recoveries. A cut one may end anywhere. */
static void read_back(struct cert_rig *r, struct seen *s) {
    bool complete = s->complete, done = strcmp(cert_expected_outcome(r), "completed") == 0;
    for (unsigned i = 0; r->tap && i < vms_tap_count(r->tap); i++) {
        char path[CERT_PATH];
        json_t *error = s->error;
        cert_path(path, "%s/wire.%u.fwd", r->folder, i);
        if ((i > 0 && strcmp(prefix_of(path, i), "recovery:") != 0) ||
            !inspect(r, "back", true, (int)i))
            continue;
        read_lines(r, "back", s);
        if (!error && s->error && (!done || json_object_get(cert_case_body(r->test), "fault"))) {
            json_decref(s->error);
            s->error = NULL;
        }
    }
    s->complete = complete;
    (void)inspect(r, "inspect-back.txt", false, 0);
}

static void expect_wire(struct cert_rig *r, const struct seen *s) {
    const json_t *want = cert_get(r->test, "expect", "wire");
    expect_sound(r, s);
    expect_all(r, want, "records", s->counts);
    expect_all(r, want, "commands", s->commands);
    expect_all(r, want, "messages", s->messages);
    if (json_object_get(want, "connections"))
        expect_number(r, "connections", "", (json_int_t)vms_tap_count(r->tap),
                      json_object_get(want, "connections"));
}

void cert_judge_wire(struct cert_rig *r) {
    struct seen s = {json_object(), json_object(), json_object(), NULL, false};
    if (is_native(r)) {
        cert_judge_frames(r);
    } else if (inspect(r, "records", true, FORWARD)) {
        read_lines(r, "records", &s);
        (void)inspect(r, "inspect.txt", false, FORWARD);
        read_back(r, &s);
        expect_wire(r, &s);
        note_wire(r, &s);
    } else if (r->tap && strcmp(cert_expected_outcome(r), "completed") == 0) {
        cert_break(r, "nothing was on the wire, whatever the ends say");
    }
    json_decref(s.counts);
    json_decref(s.commands);
    json_decref(s.messages);
    json_decref(s.error);
}
