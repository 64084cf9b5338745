/* SPDX-License-Identifier: MIT */
#include "conformance/runner/report.h"

#include <string.h>

/* TAP 13 and JUnit XML. */

static const char *reason(const json_t *line) {
    const char *why = json_string_value(json_array_get(json_object_get(line, "why"), 0));
    return why ? why : "";
}

/* ---- TAP: bad is "not ok"; what was expected to fail is TODO, what was not tried SKIP ---- */

static void put_tap_text(FILE *f, const char *text) {
    for (; *text; text++)
        fputc(*text == '\n' || *text == '#' ? ' ' : *text, f);
}

static void put_tap(FILE *f, size_t number, const json_t *line) {
    enum cert_verdict v = cert_result_verdict(line);
    bool ok = !cert_verdict_is_bad(v) && v != CERT_XFAIL;
    fprintf(f, "%s %zu - ", ok ? "ok" : "not ok", number);
    put_tap_text(f, cert_str(line, "id"));
    if (v == CERT_XFAIL) {
        fputs(" # TODO expected: ", f);
        put_tap_text(f, cert_str(line, "expected"));
    } else if (v == CERT_SKIP || v == CERT_UNSUPPORTED) {
        fprintf(f, " # SKIP %s: ", cert_verdict_name(v));
        put_tap_text(f, reason(line));
    }
    fputc('\n', f);
    const json_t *why = json_object_get(line, "why"), *first = json_object_get(line, "first");
    if (first) {
        fprintf(f, "# run twice, the first time %s: ", cert_str(first, "verdict"));
        put_tap_text(f, reason(first));
        fputc('\n', f);
    }
    for (size_t i = 0; v != CERT_PASS && i < json_array_size(why); i++) {
        fprintf(f, "# %s: ", cert_verdict_name(v));
        put_tap_text(f, json_string_value(json_array_get(why, i)));
        fputc('\n', f);
    }
}

int cert_report_tap(const struct cert_report *r, const char *path) {
    size_t n = json_array_size(r->journal->cells);
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    fprintf(f, "TAP version 13\n1..%zu\n", n);
    for (size_t i = 0; i < n; i++)
        put_tap(f, i + 1, json_array_get(r->journal->cells, i));
    return fclose(f);
}

/* ---- JUnit ---- */

/* XML 1.0 has no control characters but tab and line ends, whatever an adapter printed. */
static void put_xml(FILE *f, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '"': fputs("&quot;", f); break;
        case '\n': fputs("&#10;", f); break;
        default: fputc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, f);
        }
}

static void put_problem(FILE *f, const char *element, const json_t *line) {
    fprintf(f, "<%s type=\"%s\" message=\"", element, cert_str(line, "verdict"));
    put_xml(f, reason(line));
    fprintf(f, "\"/>");
}

static void put_junit(FILE *f, const json_t *line) {
    enum cert_verdict v = cert_result_verdict(line);
    fputs("<testcase classname=\"", f);
    put_xml(f, cert_str(line, "feature"));
    fputs("\" name=\"", f);
    put_xml(f, cert_str(line, "id"));
    fprintf(f, "\" time=\"%.3f\">", (double)cert_int(line, "ms", 0) / 1000);
    if (v == CERT_ERROR || v == CERT_TIMEOUT)
        put_problem(f, "error", line);
    else if (cert_verdict_is_bad(v))
        put_problem(f, "failure", line);
    else if (v == CERT_SKIP || v == CERT_UNSUPPORTED || v == CERT_XFAIL)
        put_problem(f, "skipped", line);
    if (json_object_get(line, "first")) {
        fputs("<system-out>run twice, the first time ", f);
        put_xml(f, cert_str(json_object_get(line, "first"), "verdict"));
        fputs(": ", f);
        put_xml(f, reason(json_object_get(line, "first")));
        fputs("</system-out>", f);
    }
    fputs("</testcase>\n", f);
}

int cert_report_junit(const struct cert_report *r, const char *path) {
    size_t n[CERT_VERDICTS], all = json_array_size(r->journal->cells);
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    cert_count(r->journal, n);
    fprintf(f,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"vmstream certify\" "
            "tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\">\n",
            all, n[CERT_FAIL] + n[CERT_XPASS], n[CERT_ERROR] + n[CERT_TIMEOUT],
            n[CERT_SKIP] + n[CERT_UNSUPPORTED] + n[CERT_XFAIL]);
    for (size_t i = 0; i < all; i++)
        put_junit(f, json_array_get(r->journal->cells, i));
    fputs("</testsuite>\n", f);
    return fclose(f);
}
