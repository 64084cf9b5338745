/* SPDX-License-Identifier: MIT */
#include "conformance/runner/report.h"

#include <string.h>

void cert_count(const struct cert_journal *j, size_t counts[CERT_VERDICTS]) {
    memset(counts, 0, CERT_VERDICTS * sizeof *counts);
    for (size_t i = 0; i < json_array_size(j->cells); i++) {
        enum cert_verdict v = cert_result_verdict(json_array_get(j->cells, i));
        if (v < CERT_VERDICTS)
            counts[v]++;
    }
}

size_t cert_count_again(const struct cert_journal *j, size_t *good) {
    size_t again = 0;
    *good = 0;
    for (size_t i = 0; i < json_array_size(j->cells); i++) {
        const json_t *line = json_array_get(j->cells, i);
        if (!json_object_get(line, "first"))
            continue;
        again++;
        *good += !cert_verdict_is_bad(cert_result_verdict(line));
    }
    return again;
}

static void row_of(const json_t *line, char *out, size_t size) {
    const char *sm = cert_str(line, "source_machine"), *dm = cert_str(line, "destination_machine");
    const char *through = cert_str(line, "through"), *m = cert_str(line, "machine");
    if (json_object_get(line, "subject"))
        (void)snprintf(out, size, "%s%s%s as %s", cert_str(line, "subject"), *m ? " @" : "", m,
                       cert_str(line, "role"));
    else if (strcmp(sm, dm) == 0)
        (void)snprintf(out, size, "%s → %s%s%s%s%s", cert_str(line, "source"),
                       cert_str(line, "destination"), *sm ? " @" : "", sm, *through ? " via " : "",
                       through);
    else
        (void)snprintf(out, size, "%s @%s → %s @%s%s%s", cert_str(line, "source"), sm,
                       cert_str(line, "destination"), dm, *through ? " via " : "", through);
}

static json_t *member(json_t *object, const char *key, json_t *(*make)(void)) {
    json_t *v = json_object_get(object, key);
    if (!v) {
        v = make();
        (void)json_object_set_new(object, key, v);
    }
    return v;
}

static void put(struct cert_matrix *m, json_t *line) {
    char row[300];
    const char *column = cert_str(line, "feature");
    row_of(line, row, sizeof row);
    if (!cert_has(m->rows, row))
        (void)json_array_append_new(m->rows, json_string(row));
    if (!cert_has(m->columns, column))
        (void)json_array_append_new(m->columns, json_string(column));
    json_t *lines = member(member(m->at, row, json_object), column, json_array);
    (void)json_array_append(lines, line);
}

void cert_matrix_make(const struct cert_journal *j, struct cert_matrix *m) {
    *m = (struct cert_matrix){json_array(), json_array(), json_object()};
    for (size_t i = 0; i < json_array_size(j->cells); i++)
        put(m, json_array_get(j->cells, i));
}

void cert_matrix_free(struct cert_matrix *m) {
    json_decref(m->rows);
    json_decref(m->columns);
    json_decref(m->at);
}

/* The later in this list, the worse. */
static const enum cert_verdict order[CERT_VERDICTS] = {CERT_UNSUPPORTED, CERT_SKIP,    CERT_PASS,
                                                       CERT_WARN,        CERT_XFAIL,   CERT_XPASS,
                                                       CERT_ERROR,       CERT_TIMEOUT, CERT_FAIL};

static int badness(enum cert_verdict v) {
    int i = 0;
    while (i < CERT_VERDICTS - 1 && order[i] != v)
        i++;
    return i;
}

enum cert_verdict cert_matrix_worst(const json_t *lines) {
    enum cert_verdict worst = order[0];
    for (size_t i = 0; i < json_array_size(lines); i++) {
        enum cert_verdict v = cert_result_verdict(json_array_get(lines, i));
        if (badness(v) > badness(worst))
            worst = v;
    }
    return worst;
}

/* ---- for a terminal ---- */

static const char *const marks[CERT_VERDICTS] = {
    [CERT_PASS] = "ok",   [CERT_FAIL] = "FAIL",   [CERT_WARN] = "warn",
    [CERT_XFAIL] = "xf",  [CERT_XPASS] = "XPASS", [CERT_UNSUPPORTED] = "-",
    [CERT_SKIP] = "skip", [CERT_ERROR] = "ERR",   [CERT_TIMEOUT] = "TIME",
};

/* Columns wide: '→' is three octets, one column. */
static int width(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static void print_row(const struct cert_matrix *m, const char *row, int wide, FILE *out) {
    const json_t *of_row = json_object_get(m->at, row);
    fprintf(out, "%s%*s", row, wide - width(row), "");
    for (size_t c = 0; c < json_array_size(m->columns); c++) {
        const char *column = json_string_value(json_array_get(m->columns, c));
        const json_t *lines = json_object_get(of_row, column);
        int w = width(column) > 5 ? width(column) : 5;
        fprintf(out, " %*s", w, lines ? marks[cert_matrix_worst(lines)] : "");
    }
    fputc('\n', out);
}

static void print_counts(const struct cert_journal *j, FILE *out) {
    size_t counts[CERT_VERDICTS], good, again = cert_count_again(j, &good);
    cert_count(j, counts);
    fprintf(out, "%zu cells:", json_array_size(j->cells));
    for (int v = 0; v < CERT_VERDICTS; v++)
        if (counts[v])
            fprintf(out, " %zu %s", counts[v], cert_verdict_name((enum cert_verdict)v));
    fputc('\n', out);
    if (again)
        fprintf(out, "%zu of them ran a second time, alone, and %zu were good then\n", again, good);
}

void cert_matrix_print(const struct cert_journal *j, FILE *out) {
    struct cert_matrix m;
    int wide = 0;
    cert_matrix_make(j, &m);
    for (size_t i = 0; i < json_array_size(m.rows); i++) {
        int w = width(json_string_value(json_array_get(m.rows, i)));
        wide = w > wide ? w : wide;
    }
    fprintf(out, "%*s", wide, "");
    for (size_t c = 0; c < json_array_size(m.columns); c++)
        fprintf(out, " %5s", json_string_value(json_array_get(m.columns, c)));
    fputc('\n', out);
    for (size_t i = 0; i < json_array_size(m.rows); i++)
        print_row(&m, json_string_value(json_array_get(m.rows, i)), wide, out);
    print_counts(j, out);
    cert_matrix_free(&m);
}
