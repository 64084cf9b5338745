/* SPDX-License-Identifier: MIT */
#include "conformance/runner/report.h"

#include "conformance/runner/case.h"
#include "conformance/runner/page.h"

#include <stdlib.h>
#include <string.h>

/*
 * One page that needs nothing else and no script: the matrix links to the cells, each of which
 * opens to its case, its wire and its logs. What came from outside is text, never markup.
 */
enum {
    SHOWN = 6000,      /* octets of an inspected wire */
    LOG_SHOWN = 3000,  /* of the end of a log */
    WHOLE_MAX = 20000, /* cells with details; beyond, only those that did not pass */
};

static void put_text(FILE *f, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '"': fputs("&quot;", f); break;
        default:
            fputc((unsigned char)*text < ' ' && *text != '\n' && *text != '\t' ? ' ' : *text, f);
        }
}

static void put(FILE *f, const char *before, const char *text, const char *after) {
    fputs(before, f);
    put_text(f, text);
    fputs(after, f);
}

/* Cells are numbered as in the journal. */
static size_t number_of(const struct cert_report *r, const json_t *line) {
    size_t i = 0;
    while (i < json_array_size(r->journal->cells) && json_array_get(r->journal->cells, i) != line)
        i++;
    return i;
}

/* ---- summary ---- */

static void put_counts(const struct cert_report *r, FILE *f) {
    size_t n[CERT_VERDICTS], all = json_array_size(r->journal->cells);
    cert_count(r->journal, n);
    fputs("<div class=\"bar\" aria-hidden=\"true\">", f);
    for (int v = 0; v < CERT_VERDICTS; v++)
        if (n[v])
            fprintf(f, "<span class=\"v %s\" style=\"flex:%zu\"></span>",
                    cert_verdict_name((enum cert_verdict)v), n[v]);
    fputs("</div>\n<ul class=\"counts\">", f);
    for (int v = 0; v < CERT_VERDICTS; v++)
        if (n[v])
            fprintf(f, "<li><span class=\"v %s\">%s</span> %zu</li>",
                    cert_verdict_name((enum cert_verdict)v),
                    cert_verdict_name((enum cert_verdict)v), n[v]);
    fprintf(f, "<li>%zu cells</li></ul>\n", all);
}

/* Nobody shall take two attempts for one. */
static void put_again(const struct cert_report *r, FILE *f) {
    size_t good, again = cert_count_again(r->journal, &good);
    if (again == 0)
        return;
    fprintf(
        f,
        "<p id=\"again\">%zu of them ended as TIMEOUT or ERROR while others ran beside them, and "
        "ran a second time, alone; %zu were good then:</p><ul>\n",
        again, good);
    for (size_t i = 0; i < json_array_size(r->journal->cells); i++) {
        const json_t *line = json_array_get(r->journal->cells, i);
        if (json_object_get(line, "first")) {
            fprintf(f, "<li><a href=\"#c%zu\">", i);
            put(f, "", cert_str(line, "id"), "</a></li>\n");
        }
    }
    fputs("</ul>\n", f);
}

static void put_run(const struct cert_report *r, FILE *f) {
    const json_t *run = r->journal->run;
    const char *name;
    json_t *version;
    put(f, "<p>Profile <b>", cert_str(run, "profile"), "</b>");
    put(f, ", begun ", cert_str(run, "started"), "");
    put(f, " on ", cert_str(run, "host"), ".</p>\n");
    fputs("<table class=\"plain\"><tr><th>implementation</th><th>exact version</th></tr>\n", f);
    json_object_foreach(json_object_get(run, "versions"), name, version) {
        put(f, "<tr><td>", name, "</td><td>");
        put(f, "", json_is_string(version) ? json_string_value(version) : "absent", "</td></tr>\n");
    }
    fputs("</table>\n", f);
}

/* ---- the matrix ---- */

static void put_square(const struct cert_report *r, const json_t *lines, FILE *f) {
    if (!lines) {
        fputs("<td></td>", f);
        return;
    }
    enum cert_verdict worst = cert_matrix_worst(lines);
    size_t n = json_array_size(lines), show = 0;
    while (show < n && cert_result_verdict(json_array_get(lines, show)) != worst)
        show++;
    fprintf(f, "<td class=\"v %s\"><a href=\"#c%zu\">%s", cert_verdict_name(worst),
            number_of(r, json_array_get(lines, show)), cert_verdict_name(worst));
    if (n > 1)
        fprintf(f, " <small>%zu</small>", n);
    fputs("</a></td>", f);
}

static void put_matrix(const struct cert_report *r, FILE *f) {
    struct cert_matrix m;
    cert_matrix_make(r->journal, &m);
    fputs("<div class=\"wide\"><table class=\"matrix\" id=\"matrix\"><thead><tr><th></th>", f);
    for (size_t c = 0; c < json_array_size(m.columns); c++)
        put(f, "<th><span>", json_string_value(json_array_get(m.columns, c)), "</span></th>");
    fputs("</tr></thead><tbody>\n", f);
    for (size_t i = 0; i < json_array_size(m.rows); i++) {
        const char *row = json_string_value(json_array_get(m.rows, i));
        put(f, "<tr><th>", row, "</th>");
        for (size_t c = 0; c < json_array_size(m.columns); c++)
            put_square(r,
                       json_object_get(json_object_get(m.at, row),
                                       json_string_value(json_array_get(m.columns, c))),
                       f);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
    cert_matrix_free(&m);
}

/* ---- what was not tried, and why ---- */

static void put_skipped(const struct cert_report *r, FILE *f) {
    json_t *reasons = json_object(), *count;
    const char *why;
    for (size_t i = 0; i < json_array_size(r->journal->cells); i++) {
        const json_t *line = json_array_get(r->journal->cells, i);
        enum cert_verdict v = cert_result_verdict(line);
        if (v != CERT_SKIP && v != CERT_UNSUPPORTED)
            continue;
        char key[400];
        const char *first = json_string_value(json_array_get(json_object_get(line, "why"), 0));
        (void)snprintf(key, sizeof key, "%s: %.300s", cert_verdict_name(v), first ? first : "");
        (void)json_object_set_new(reasons, key, json_integer(cert_int(reasons, key, 0) + 1));
    }
    if (json_object_size(reasons) == 0)
        fputs("<p>Everything was tried.</p>\n", f);
    else
        fputs("<table class=\"plain\" id=\"skipped\"><tr><th>cells</th><th>why</th></tr>\n", f);
    json_object_foreach(reasons, why, count) {
        fprintf(f, "<tr><td>%lld</td>", (long long)json_integer_value(count));
        put(f, "<td>", why, "</td></tr>\n");
    }
    if (json_object_size(reasons))
        fputs("</table>\n", f);
    json_decref(reasons);
}

/* ---- one cell ---- */

static void put_list(FILE *f, const char *title, const json_t *texts) {
    if (json_array_size(texts) == 0)
        return;
    put(f, "<h4>", title, "</h4><ul>");
    for (size_t i = 0; i < json_array_size(texts); i++)
        put(f, "<li>", json_string_value(json_array_get(texts, i)), "</li>");
    fputs("</ul>\n", f);
}

static void put_object(FILE *f, const char *title, const json_t *object) {
    const char *key;
    json_t *value;
    if (json_object_size(object) == 0)
        return;
    put(f, "<h4>", title, "</h4><table class=\"plain\">");
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        put(f, "<tr><th>", key, "</th><td>");
        put(f, "", text ? text : json_string_value(value), "</td></tr>");
        free(text);
    }
    fputs("</table>\n", f);
}

static void put_file(const struct cert_report *r, FILE *f, const char *folder, const char *name,
                     size_t most, bool from_end) {
    char path[CERT_PATH];
    cert_path(path, "%s/cells/%s/%s", r->out, folder, name);
    if (!cert_exists(path))
        return;
    char *text = from_end ? cert_tail(path, most) : cert_read(path, most, NULL);
    if (text && *text) {
        put(f, "<h4>", name, "</h4>");
        put(f, "<pre>", text, strlen(text) >= most ? "\n…</pre>\n" : "</pre>\n");
    }
    free(text);
}

static void put_case(const struct cert_report *r, FILE *f, const json_t *line) {
    const json_t *test = cert_case_find(r->cases, cert_str(line, "case"));
    if (!test)
        return;
    put(f, "<p><b>", cert_str(test, "title"), "</b></p>");
    put(f, "<blockquote><b>[", cert_str(test, "clause"), "] ");
    put(f, "", cert_str(test, "level"), "</b> ");
    put(f, "", cert_str(test, "text"), "</blockquote>\n");
    char *body = json_dumps(cert_case_body(test), JSON_COMPACT);
    char *expect = json_dumps(json_object_get(test, "expect"), JSON_COMPACT);
    if (body && strlen(body) < SHOWN)
        put(f, "<h4>case</h4><pre>", body, "</pre>");
    if (expect && strlen(expect) < SHOWN)
        put(f, "<h4>expected</h4><pre>", expect, "</pre>\n");
    free(body);
    free(expect);
}

static void put_first(FILE *f, const json_t *first) {
    if (!first)
        return;
    put(f, "<h4>its first attempt, beside others: ", cert_str(first, "verdict"), "</h4>");
    put(f, "<p>files in <code>cells/", cert_str(first, "folder"), "</code></p>\n");
    put_list(f, "why", json_object_get(first, "why"));
}

static void put_cell(const struct cert_report *r, FILE *f, size_t i) {
    static const char *const logs[] = {
        "source/log",      "source/output",      "source/reference.log",
        "destination/log", "destination/output", "destination/reference.log",
        "script/log",      "script/output",      "decoder/log",
        "decoder/output",  "relay-a.log",        "relay-b.log"};
    const json_t *line = json_array_get(r->journal->cells, i);
    const char *verdict = cert_str(line, "verdict"), *folder = cert_str(line, "folder");
    fprintf(f, "<details class=\"cell\" id=\"c%zu\" data-verdict=\"%s\">", i, verdict);
    fprintf(f, "<summary><span class=\"v %s\">%s</span> ", verdict, verdict);
    put(f, "<code>", cert_str(line, "id"), "</code>");
    fprintf(f, " <small>%.1f s</small></summary><div>\n", (double)cert_int(line, "ms", 0) / 1000);
    put_case(r, f, line);
    put_list(f, "why", json_object_get(line, "why"));
    if (*cert_str(line, "expected"))
        put(f, "<p>Expected to fail: ", cert_str(line, "expected"), "</p>");
    put_first(f, json_object_get(line, "first"));
    put_list(f, "notes", json_object_get(line, "notes"));
    put_object(f, "oracles", json_object_get(line, "oracles"));
    put_object(f, "ends", json_object_get(line, "ends"));
    put_object(f, "wire", json_object_get(line, "wire"));
    put_file(r, f, folder, "inspect.txt", SHOWN, false);
    put_file(r, f, folder, "inspect-back.txt", SHOWN / 4, false);
    for (size_t k = 0; k < sizeof logs / sizeof *logs; k++)
        put_file(r, f, folder, logs[k], LOG_SHOWN, true);
    fputs("</div></details>\n", f);
}

static void put_cells(const struct cert_report *r, FILE *f) {
    size_t n = json_array_size(r->journal->cells);
    for (size_t i = 0; i < n; i++)
        if (n <= WHOLE_MAX ||
            cert_result_verdict(json_array_get(r->journal->cells, i)) != CERT_PASS)
            put_cell(r, f, i);
}

/* ---- clauses ---- */

static void put_coverage(const struct cert_report *r, FILE *f) {
    json_t *all = cert_coverage(r), *c;
    size_t must = 0, shown = 0;
    const char *id;
    json_object_foreach(all, id, c) {
        bool is_must = strcmp(cert_str(c, "level"), "MUST") == 0;
        must += is_must;
        shown += is_must && cert_int(c, "cases", 0) > 0;
    }
    fprintf(f,
            "<p id=\"coverage\">%zu of %zu MUST clauses were shown by a case of this run. (Tests "
            "beside the code name the others: <code>make clauses</code>.)</p>\n"
            "<details><summary>all clauses</summary><table class=\"plain\"><tr><th>clause</th>"
            "<th>level</th><th>cells</th><th>passed</th><th></th></tr>\n",
            shown, must);
    json_object_foreach(all, id, c) {
        put(f, "<tr><td>", id, "</td>");
        put(f, "<td>", cert_str(c, "level"), "</td>");
        fprintf(f, "<td>%lld</td><td>%lld</td>", (long long)cert_int(c, "cases", 0),
                (long long)cert_int(c, "passed", 0));
        put(f, "<td>", cert_str(c, "text"), "</td></tr>\n");
    }
    fputs("</table></details>\n", f);
    json_decref(all);
}

/* The score of `make selftest`: in the run's folder, or beside it where make puts it. */
static json_t *load_selftest(const struct cert_report *r) {
    char path[CERT_PATH];
    json_t *score = json_load_file(cert_path(path, "%s/selftest.json", r->out), 0, NULL);
    return score ? score
                 : json_load_file(cert_path(path, "%s/../selftest/score.json", r->out), 0, NULL);
}

static void put_bug(FILE *f, const json_t *bug) {
    bool caught = cert_true(bug, "caught");
    const char *by = caught ? cert_str(bug, "by") : cert_str(bug, "error");
    fprintf(f, "<tr><td class=\"v %s\">", caught ? "PASS" : "FAIL");
    put(f, caught ? "caught</td><td>" : "missed</td><td>", cert_str(bug, "id"), "</td>");
    put(f, "<td>", cert_str(bug, "what"), "</td>");
    put(f, "<td>", *by ? by : "by nothing", "</td>");
    fprintf(f, "<td>%.1f s</td></tr>\n", json_number_value(json_object_get(bug, "seconds")));
}

/* Planted bugs that the suite was tried with, where somebody has. */
static void put_selftest(const struct cert_report *r, FILE *f) {
    json_t *score = load_selftest(r);
    const json_t *bugs = json_object_get(score, "bugs");
    if (!score)
        return;
    fprintf(f,
            "<h2>The suite itself</h2>\n<p id=\"selftest\">It caught %lld of %lld planted bugs, "
            "%.1f %%.</p>\n<details><summary>all of them</summary><table class=\"plain\">"
            "<tr><th></th><th>bug</th><th>what</th><th>by</th><th></th></tr>\n",
            (long long)cert_int(score, "caught", 0), (long long)cert_int(score, "planted", 0),
            json_number_value(json_object_get(score, "percent")));
    for (size_t i = 0; i < json_array_size(bugs); i++)
        put_bug(f, json_array_get(bugs, i));
    fputs("</table></details>\n", f);
    json_decref(score);
}

int cert_report_html(const struct cert_report *r, const char *path) {
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    fputs(cert_page_head, f);
    fputs("<h1>Certificate</h1>\n", f);
    put_counts(r, f);
    put_again(r, f);
    put_run(r, f);
    fputs("<h2>Matrix</h2>\n", f);
    put_matrix(r, f);
    fputs("<h2>Not tried</h2>\n", f);
    put_skipped(r, f);
    fputs("<h2>Clauses</h2>\n", f);
    put_coverage(r, f);
    put_selftest(r, f);
    fputs("<h2>Cells</h2>\n", f);
    put_cells(r, f);
    fputs(cert_page_tail, f);
    return fclose(f);
}
