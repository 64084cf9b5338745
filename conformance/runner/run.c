/* SPDX-License-Identifier: MIT */
#include "conformance/runner/run.h"

#include "conformance/runner/expected.h"
#include "conformance/runner/plan.h"
#include "conformance/runner/report.h"
#include "conformance/runner/schedule.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
    VERSION_S = 30,
};

struct run {
    const struct cert_options *o;
    char build[CERT_PATH], out[CERT_PATH];
    json_t *profile, *cases, *expected, *plan;
    struct cert_journal journal;
};

static int fail(const char *what, const char *why) {
    fprintf(stderr, "certify: %s: %s\n", what, why);
    return 3;
}

/* ---- what is there ---- */

static int absolute(const char *path, char out[CERT_PATH]) {
    char real[PATH_MAX];
    if (!realpath(path, real) || strlen(real) >= CERT_PATH)
        return -1;
    (void)snprintf(out, CERT_PATH, "%.*s", CERT_PATH - 1, real);
    return 0;
}

static int find_folders(struct run *r) {
    char self[PATH_MAX] = "", out[CERT_PATH];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;
    if (slash)
        *slash = 0;
    if (absolute(r->o->build ? r->o->build : self, r->build) != 0)
        return fail(r->o->build ? r->o->build : self, strerror(errno));
    cert_path(out, "%s/certify.out", r->build);
    const char *want = r->o->out ? r->o->out : out;
    char cells[CERT_PATH];
    if (cert_mkdir(cert_path(cells, "%s/cells", want)) != 0 || absolute(want, r->out) != 0)
        return fail(want, strerror(errno));
    return cert_mkdir(cert_path(cells, "%s/cache", r->out)) == 0 ? 0 : fail(cells, strerror(errno));
}

static int load(struct run *r) {
    char error[CERT_ERROR_SIZE];
    struct cert_plan_options po = {.quick = r->o->quick, .only = r->o->only};
    if (!(r->profile = cert_profile_load(r->o->profile, error)) ||
        !(r->cases = cert_cases_load(r->o->cases, error)) ||
        !(r->expected = cert_expected_load(r->o->expected, error)) ||
        !(r->plan = cert_plan(r->profile, r->cases, &po, error)))
        return fail("cannot begin", error);
    return 0;
}

/* ---- the run's own line ---- */

/* Cells and the content of their cases: another plan is another run. */
static void digest(const struct run *r, char out[65]) {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const json_t *parts[] = {r->plan, r->cases, r->profile};
    (void)EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (size_t i = 0; i < 3; i++) {
        char *text = json_dumps(parts[i], JSON_COMPACT | JSON_SORT_KEYS);
        if (text)
            (void)EVP_DigestUpdate(ctx, text, strlen(text));
        free(text);
    }
    (void)EVP_DigestFinal_ex(ctx, hash, &size);
    EVP_MD_CTX_free(ctx);
    for (unsigned i = 0; i < 32 && i < size; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* Asks an adapter; null: it cannot be run here. */
static json_t *version_of(struct run *r, const json_t *implementation) {
    static struct cert_rig rig;
    char path[CERT_PATH];
    json_t *cell =
        json_pack("{s:s, s:s, s:s, s:s, s:i}", "case", "unknown-case", "kind", "probe", "subject",
                  cert_str(implementation, "name"), "role", "version", "seconds", VERSION_S);
    struct cert_context c = {
        .profile = r->profile, .cases = r->cases, .build = r->build, .out = r->out, .patience = 1};
    json_t *version = json_null();
    if (cert_rig_open(&rig, &c, cell, cert_path(path, "%s/version", r->out)) &&
        cert_rig_start(&rig, &rig.ends[0], NULL, "") == 0) {
        cert_wait(&rig.ends[0].process);
        char *text = cert_read(cert_path(path, "%s/version", rig.ends[0].folder), 500, NULL);
        if (text && cert_exit(&rig.ends[0].process) == 0) {
            text[strcspn(text, "\n")] = 0;
            version = json_string(text);
        }
        free(text);
    }
    cert_rig_close(&rig);
    json_decref(rig.result);
    json_decref(cell);
    return version ? version : json_null();
}

static json_t *versions(struct run *r) {
    const json_t *all = json_object_get(r->profile, "implementations");
    json_t *out = json_object();
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *one = json_array_get(all, i);
        (void)json_object_set_new(out, cert_str(one, "name"), version_of(r, one));
    }
    return out;
}

static json_t *run_line(struct run *r) {
    char plan[65] = "", host[200], started[64];
    struct utsname u;
    time_t now = time(NULL);
    struct tm tm;
    digest(r, plan);
    (void)uname(&u);
    (void)snprintf(host, sizeof host, "%.60s %.60s, %ld cores", u.sysname, u.release,
                   sysconf(_SC_NPROCESSORS_ONLN));
    (void)strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_pack("{s:s, s:s, s:b, s:s, s:s, s:i, s:s, s:o}", "record", "run", "profile",
                     cert_str(r->profile, "profile"), "quick", r->o->quick, "started", started,
                     "host", host, "cells", (int)json_array_size(r->plan), "plan", plan, "versions",
                     versions(r));
}

/* ---- reports ---- */

static int render(struct run *r) {
    static const struct {
        const char *file;
        int (*write)(const struct cert_report *, const char *);
    } reports[] = {
        {"report.tap", cert_report_tap},
        {"report.xml", cert_report_junit},
        {"report.html", cert_report_html},
        {"compatibility.json", cert_report_compat},
    };
    struct cert_report report = {&r->journal, r->cases, r->out, r->o->spec};
    char path[CERT_PATH];
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        if (reports[i].write(&report, cert_path(path, "%s/%s", r->out, reports[i].file)) != 0)
            return fail(path, strerror(errno));
    return 0;
}

static int status(const struct run *r) {
    size_t n[CERT_VERDICTS];
    cert_count(&r->journal, n);
    if (n[CERT_FAIL] || n[CERT_XPASS] || n[CERT_TIMEOUT])
        return 1;
    return n[CERT_ERROR] ? 3 : 0;
}

static int show(struct run *r) {
    if (render(r) != 0)
        return 3;
    cert_matrix_print(&r->journal, stdout);
    printf("report: %s/report.html\n", r->out);
    return status(r);
}

static void add_summary(struct run *r) {
    size_t n[CERT_VERDICTS], good;
    json_t *line = json_pack("{s:s, s:i}", "record", "summary", "again",
                             (int)cert_count_again(&r->journal, &good));
    cert_count(&r->journal, n);
    for (int v = 0; v < CERT_VERDICTS; v++)
        (void)json_object_set_new(line, cert_verdict_name((enum cert_verdict)v),
                                  json_integer((json_int_t)n[v]));
    (void)cert_journal_add(&r->journal, line);
    json_decref(line);
}

/* ---- what can be asked ---- */

static int list(struct run *r) {
    for (size_t i = 0; i < json_array_size(r->plan); i++)
        puts(cert_str(json_array_get(r->plan, i), "id"));
    return 0;
}

static int certify(struct run *r) {
    char path[CERT_PATH];
    json_t *line = run_line(r);
    int rc = cert_journal_open(&r->journal, cert_path(path, "%s/results.jsonl", r->out), line,
                               r->o->fresh, r->o->resume);
    json_decref(line);
    if (rc != 0)
        return fail(path, strerror(errno));
    if (flock(fileno(r->journal.file), LOCK_EX | LOCK_NB) != 0)
        return fail(path, "another certify is at work there");
    if (json_array_size(r->journal.cells) && !r->o->quiet)
        fprintf(stderr, "certify: %zu cells are judged already; going on\n",
                json_array_size(r->journal.cells));
    struct cert_schedule s = {
        .context = {r->profile, r->cases, r->build, r->out, r->o->patience},
        .plan = r->plan,
        .expected = r->expected,
        .journal = &r->journal,
        .jobs = r->o->jobs ? r->o->jobs : cert_schedule_jobs(),
        .quiet = r->o->quiet,
    };
    if (cert_schedule_run(&s) != 0)
        return fail("interrupted", "start it again, and it goes on");
    if (!r->journal.finished)
        add_summary(r);
    return show(r);
}

static int again(struct run *r) {
    char path[CERT_PATH];
    if (cert_journal_read(&r->journal, cert_path(path, "%s/results.jsonl", r->out)) != 0)
        return fail(path, "no run there");
    return show(r);
}

int cert_main(const struct cert_options *o) {
    struct run r = {.o = o};
    char path[CERT_PATH];
    int rc = find_folders(&r);
    if (rc == 0 && o->can[0])
        return cert_compat_ask(cert_path(path, "%s/compatibility.json", r.out), o->can[0],
                               o->can[1], o->can[2]);
    if (rc == 0)
        rc = load(&r);
    if (rc == 0)
        rc = o->list ? list(&r) : o->render ? again(&r) : certify(&r);
    cert_journal_close(&r.journal);
    json_decref(r.profile);
    json_decref(r.cases);
    json_decref(r.expected);
    json_decref(r.plan);
    return rc;
}
