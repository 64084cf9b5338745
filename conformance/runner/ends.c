/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/kit/kit.h"
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <stdlib.h>
#include <string.h>

/* What the ends of the processes say: first whether there is anything to judge at all. */

/* Whether a script could be played to its end says nothing: the case may want a refusal. */
static bool is_script(const struct cert_end *e) {
    return strcmp(cert_str(e->implementation, "implementation"), "script") == 0;
}

static const char *last_words(const struct cert_end *end) {
    static char text[400];
    char path[CERT_PATH];
    const char *said = cert_str(end->said, "message");
    if (*said) {
        (void)snprintf(text, sizeof text, "%s", said);
        return text;
    }
    char *log = cert_tail(cert_path(path, "%s/log", end->folder), 300);
    char *output = cert_tail(cert_path(path, "%s/output", end->folder), 300);
    (void)snprintf(text, sizeof text, "%s%s", log ? log : "", output ? output : "");
    free(log);
    free(output);
    for (char *c = text; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    return text;
}

static void note_end(struct cert_rig *r, const struct cert_end *e) {
    json_t *ends = json_object_get(r->result, "ends"), *one;
    if (!ends) {
        ends = json_object();
        (void)json_object_set_new(r->result, "ends", ends);
    }
    one = e->said ? json_copy(e->said) : json_object();
    (void)json_object_del(one, "records");
    (void)json_object_set_new(one, "exit", json_integer(cert_exit(&e->process)));
    (void)json_object_set_new(ends, e->role, one);
}

static bool one_is(struct cert_rig *r, int exit_status, enum cert_verdict v, const char *what) {
    for (int i = 0; i < 2; i++) {
        const struct cert_end *e = &r->ends[i];
        if (e->process.started && cert_exit(&e->process) == exit_status) {
            cert_result_is(r->result, v, "%s %s: %s", e->process.name, what, last_words(e));
            return true;
        }
    }
    return false;
}

static bool one_hung(struct cert_rig *r) {
    bool found = false;
    for (int i = 0; i < 2; i++) {
        const struct cert_end *e = &r->ends[i];
        if (!e->process.late || is_script(e))
            continue;
        cert_result_is(r->result, CERT_TIMEOUT, "%s did not end in time and was killed: %s",
                       e->process.name, last_words(e));
        found = true;
    }
    return found;
}

/* Whatever the case expects: nobody may crash. */
static bool one_died(struct cert_rig *r) {
    bool found = false;
    for (int i = 0; i < 2; i++) {
        const struct cert_end *e = &r->ends[i];
        int number = cert_signal(&e->process);
        if (!number)
            continue;
        cert_result_is(r->result, CERT_FAIL, "%s was ended by signal %d (%s): %s", e->process.name,
                       number, strsignal(number), last_words(e));
        found = true;
    }
    return found;
}

/*
 * What the script found, apart from what the case expects: the subject broke a rule. It sees
 * success as well as the subject does; not to have seen it is a find, but for a script that was
 * still waiting.
 */
static void expect_script(struct cert_rig *r, const struct cert_end *e, const struct cert_end *s) {
    bool done = strcmp(cert_expected_outcome(r), "completed") == 0;
    int status = cert_exit(&e->process);
    if (status == KIT_BROKEN)
        cert_break(r, "%s: [%s] %s", e->process.name, cert_str(e->said, "clause"), last_words(e));
    else if (done && status != KIT_DONE && cert_exit(&s->process) == KIT_DONE)
        cert_result_is(r->result, CERT_TIMEOUT,
                       "%s had not come to its end, and %s says it has: %s", e->process.name,
                       s->process.name, last_words(e));
}

static void expect_exit(struct cert_rig *r, const struct cert_end *e, bool done) {
    int status = cert_exit(&e->process);
    if (!is_script(e) && e->process.started && (status == 0) != done)
        cert_break(r, "%s %s: %s", e->process.name,
                   status == 0 ? "says that it is done" : "gives up", last_words(e));
}

static void expect_message(struct cert_rig *r) {
    const char *want = cert_str(json_object_get(r->test, "expect"), "message");
    bool found = !*want;
    for (int i = 0; i < 2 && !found; i++) {
        char path[CERT_PATH];
        char *log = cert_tail(cert_path(path, "%s/log", r->ends[i].folder), 1 << 16);
        found = strstr(cert_str(r->ends[i].said, "message"), want) || (log && strstr(log, want));
        free(log);
    }
    if (!found)
        cert_break(r, "no end says \"%s\"", want);
}

/* Which error, where the end can tell. */
static void expect_code(struct cert_rig *r) {
    const json_t *expect = json_object_get(r->test, "expect");
    const char *code = cert_str(expect, "code"), *by = cert_str(expect, "by");
    for (int i = 0; i < 2 && *code; i++) {
        const struct cert_end *e = &r->ends[i];
        const char *said = cert_str(e->said, "code");
        if ((*by && strcmp(by, e->role) != 0) || !*said || is_script(e))
            continue;
        if (strcmp(said, code) != 0)
            cert_break(r, "%s says %s, not %s", e->process.name, said, code);
        json_int_t offset = cert_int(expect, "offset", -1);
        if (offset >= 0 && cert_int(e->said, "offset", offset) != offset)
            cert_break(r, "%s: octet %lld, not %lld", e->process.name,
                       (long long)cert_int(e->said, "offset", 0), (long long)offset);
    }
}

static void expect_outcome(struct cert_rig *r) {
    const char *want = cert_expected_outcome(r);
    const struct cert_end *s = &r->ends[CERT_SOURCE];
    if (strcmp(want, "stuck") == 0) {
        if (strcmp(cert_str(s->said, "outcome"), "stuck") != 0)
            cert_break(r, "%s is %s, not stuck: %s", s->process.name, cert_str(s->said, "outcome"),
                       last_words(s));
        return;
    }
    bool done = strcmp(want, "completed") == 0;
    if (strcmp(want, "any") != 0)
        for (int i = 0; i < 2; i++)
            expect_exit(r, &r->ends[i], done);
    expect_message(r);
    expect_code(r);
}

bool cert_judge_processes(struct cert_rig *r) {
    for (int i = 0; i < 2; i++)
        if (r->ends[i].process.started)
            note_end(r, &r->ends[i]);
    if (one_is(r, 127, CERT_UNSUPPORTED, "has not got it"))
        return false;
    bool died = one_died(r);
    if (one_hung(r) || died)
        return false;
    if (one_is(r, 3, CERT_ERROR, "failed by itself") ||
        one_is(r, 2, CERT_ERROR, "was used wrongly") ||
        one_is(r, 126, CERT_ERROR, "cannot be started"))
        return false;
    return true;
}

bool cert_judge_ends(struct cert_rig *r) {
    bool whole = cert_judge_processes(r);
    enum cert_verdict v = cert_result_verdict(r->result);
    bool more = whole || v == CERT_FAIL || v == CERT_TIMEOUT; /* what else is broken is told, too */
    for (int i = 0; i < 2 && more; i++)
        if (is_script(&r->ends[i]))
            expect_script(r, &r->ends[i], &r->ends[!i]);
    if (whole)
        expect_outcome(r);
    return more;
}
