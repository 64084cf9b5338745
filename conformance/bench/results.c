/* SPDX-License-Identifier: MIT */
#include "conformance/bench/results.h"

#include "host/report_html.h"

#include <math.h>
#include <string.h>

/* ---- aims ---- */

static const struct row *best(const struct rows *rows, const struct aim *aim, const char *patterns,
                              enum place p) {
    const struct row *found = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *r = &rows->list[i];
        if (r->place != p || strcmp(r->suite, aim->suite) != 0 || !name_fits(r->name, patterns))
            continue;
        struct summary s = summarize(&r->series, aim->metric);
        if (s.count > 0 && s.median < least) {
            least = s.median;
            found = r;
        }
    }
    return found;
}

size_t judge(const struct rows *rows, struct verdict out[VERDICTS_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < AIM_COUNT; i++)
        for (enum place p = 0; p < PLACE_COUNT && n < VERDICTS_MAX; p++) {
            struct verdict v = {.aim = &AIMS[i], .a = best(rows, &AIMS[i], AIMS[i].a, p)};
            if (AIMS[i].b)
                v.b = best(rows, &AIMS[i], AIMS[i].b, p);
            if (!v.a || (AIMS[i].b && !v.b) || (AIMS[i].link && p != PLACE_LINK))
                continue;
            v.got = v.b ? compare(&v.a->series, &v.b->series, v.aim->metric)
                        : summarize(&v.a->series, v.aim->metric);
            v.met = v.aim->most <= 0 || v.got.median <= v.aim->most;
            if (v.got.count > 0)
                out[n++] = v;
        }
    return n;
}

const char *trouble(const struct row *r) {
    return r->skipped ? "skipped" : "failed";
}

/* ---- a line a run ---- */

static json_t *real_or_null(double x) {
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *describe(const struct row *r) {
    return json_pack("{s:s, s:s, s:s, s:I}", "suite", r->suite, "name", r->name, "place",
                     place_name(r->place), "bytes", (json_int_t)r->bytes);
}

void write_line(FILE *out, const struct row *row, int round) {
    json_t *o = describe(row);
    json_object_set_new(o, "round", json_integer(round));
    if (!row->series.done[round])
        json_object_set_new(o, row->skipped ? "skipped" : "error", json_string(row->error));
    for (enum metric m = 0; m < METRIC_COUNT && row->series.done[round]; m++) {
        double value = row->series.runs[round].value[m];
        if (!isnan(value))
            json_object_set_new(o, metric_key(m), json_real(value));
    }
    json_dumpf(o, out, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    (void)fputc('\n', out);
    (void)fflush(out);
    json_decref(o);
}

/* ---- tables ---- */

static void cell(double value, int width, int digits) {
    if (isnan(value))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, value);
}

static bool any(const struct rows *rows, const char *suite, enum metric m) {
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->list[i].suite, suite) == 0 &&
            summarize(&rows->list[i].series, m).count > 0)
            return true;
    return false;
}

static void head(const char *suite, bool faults, bool again) {
    printf("\n%-32s %-9s %7s %7s %17s %6s %8s %7s %7s %8s", suite, "", "GiB", "s", "(interval)",
           "GiB/s", "MiB wire", "cpu src", "cpu dst", "downtime");
    if (faults)
        printf(" %7s %8s %8s %8s", "faults", "mean us", "p50", "p99");
    if (again)
        printf(" %7s", "re-sent");
    printf(" %6s\n", "rounds");
}

static void line(const struct row *r, bool faults, bool again) {
    struct summary m[METRIC_COUNT];
    double gib = (double)r->bytes / (1 << 30);
    for (enum metric i = 0; i < METRIC_COUNT; i++)
        m[i] = summarize(&r->series, i);
    const struct summary *s = &m[METRIC_SECONDS];
    printf("%-32s %-9s %7.2f", r->name, place_name(r->place), gib);
    cell(s->median, 7, 3);
    if (s->count > 0)
        printf(" (%6.3f to %6.3f)", s->low, s->high);
    else
        printf(" %18s", "");
    cell(gib / s->median, 6, 2);
    cell(m[METRIC_WIRE].median / (1 << 20), 8, 1);
    cell(m[METRIC_CPU_SRC].median / gib, 7, 2);
    cell(m[METRIC_CPU_DST].median / gib, 7, 2);
    cell(m[METRIC_DOWNTIME].median, 8, 1);
    if (faults) {
        cell(m[METRIC_FAULTS].median, 7, 0);
        cell(m[METRIC_FAULT_MEAN].median, 8, 1);
        cell(m[METRIC_FAULT_P50].median, 8, 1);
        cell(m[METRIC_FAULT_P99].median, 8, 1);
    }
    if (again)
        cell(m[METRIC_RESENT].median, 7, 3);
    int rounds = 0;
    for (int i = 0; i < ROUNDS_MAX; i++)
        rounds += r->series.done[i];
    printf(" %6d\n", rounds);
    if (r->error[0])
        printf("  %s: %s\n", trouble(r), r->error);
}

static void print_suite(const struct rows *rows, const char *suite) {
    bool faults = any(rows, suite, METRIC_FAULTS), again = any(rows, suite, METRIC_RESENT);
    head(suite, faults, again);
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->list[i].suite, suite) == 0)
            line(&rows->list[i], faults, again);
}

static void print_verdict(const struct verdict *v) {
    double most = v->aim->most, got = v->got.median;
    printf("%-7s %s, %s\n        ",
           most <= 0 ? ""
           : v->met  ? "met"
                     : "not met",
           v->aim->text, place_name(v->a->place));
    if (v->b)
        printf("%s / %s = %.3f (%.3f to %.3f)", v->a->name, v->b->name, got, v->got.low,
               v->got.high);
    else
        printf("%s: %.3g %s (%.3g to %.3g)", v->a->name, got, metric_unit(v->aim->metric),
               v->got.low, v->got.high);
    if (most > 0)
        printf(", aim: at most %.3f, %.2f of that", most, got / most);
    (void)putchar('\n');
}

void print_results(const struct rows *rows) {
    struct verdict verdicts[VERDICTS_MAX];
    size_t n = judge(rows, verdicts);
    for (size_t i = 0; i < rows->count; i++)
        if (i == 0 || strcmp(rows->list[i].suite, rows->list[i - 1].suite) != 0)
            print_suite(rows, rows->list[i].suite);
    printf("\naims: quotients are medians of rounds, with their interval\n");
    for (size_t i = 0; i < n; i++)
        print_verdict(&verdicts[i]);
    if (n == 0)
        printf("none can be judged by what was measured\n");
}

/* ---- a document ---- */

static json_t *of_summary(const struct summary *s) {
    return json_pack("{s:o, s:o, s:o, s:i}", "median", real_or_null(s->median), "low",
                     real_or_null(s->low), "high", real_or_null(s->high), "count", s->count);
}

static json_t *of_row(const struct row *r) {
    json_t *o = describe(r), *metrics = json_object();
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        struct summary s = summarize(&r->series, m);
        if (s.count > 0)
            json_object_set_new(metrics, metric_key(m), of_summary(&s));
    }
    json_object_set_new(o, "metrics", metrics);
    if (r->kind == ROW_OURS)
        json_object_set_new(o, "channels", json_integer(r->ours.channels));
    if (r->error[0])
        json_object_set_new(o, r->skipped ? "skipped" : "error", json_string(r->error));
    return o;
}

static json_t *of_verdict(const struct verdict *v) {
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:b, s:o}", "suite", v->aim->suite, "text",
                  v->aim->text, "place", place_name(v->a->place), "a", v->a->name, "b",
                  v->b ? v->b->name : "", "unit", v->b ? "" : metric_unit(v->aim->metric), "most",
                  v->aim->most, "met", v->met, "got", of_summary(&v->got));
    return o;
}

json_t *results_document(const struct rows *rows, const char *const *environment) {
    struct verdict verdicts[VERDICTS_MAX];
    size_t n = judge(rows, verdicts);
    json_t *o = json_object(), *list = json_array(), *aims = json_array(), *where = json_array();
    json_t *metrics = json_object();
    for (; *environment; environment++)
        json_array_append_new(where, json_string(*environment));
    for (enum metric m = 0; m < METRIC_COUNT; m++)
        json_object_set_new(metrics, metric_key(m),
                            json_pack("[s, s]", metric_text(m), metric_unit(m)));
    for (size_t i = 0; i < rows->count; i++)
        json_array_append_new(list, of_row(&rows->list[i]));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(aims, of_verdict(&verdicts[i]));
    json_object_set_new(o, "bench", json_string("vmstream migrations 1"));
    json_object_set_new(o, "environment", where);
    json_object_set_new(o, "metrics", metrics);
    json_object_set_new(o, "rows", list);
    json_object_set_new(o, "aims", aims);
    return o;
}

struct vms_asset bench_script(void);
VMS_EMBED(bench_script, "conformance/bench/bench_page.js")

int write_page(const char *path, const json_t *document) {
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    int rc = vms_html_write(f, "Migrations measured", document, bench_script());
    return fclose(f) == 0 && rc == 0 ? 0 : -1;
}
