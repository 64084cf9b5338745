/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 1024,
    COLUMNS = 2 + VFM_SETS,
    WORDS_MAX = 24,
};

struct word {
    char name[32], text[96];
};

struct parser {
    struct vfm_table *table;
    struct word words[WORDS_MAX];
    size_t word_count;
    bool seen[VFM_ENDS * VFM_ENDS * VFM_SETS];
    unsigned line;
    char *why;
    size_t size;
};

static int fail(struct parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct parser *p, const char *fmt, ...) {
    va_list args;
    int n = snprintf(p->why, p->size, "line %u: ", p->line);
    va_start(args, fmt);
    (void)vsnprintf(p->why + n, p->size - (size_t)n, fmt, args);
    va_end(args);
    return -1;
}

/* ---- rows of a table ---- */

static char *trim(char *text) {
    char *end = text + strlen(text);
    while (end > text && strchr(" \t\n|", end[-1]))
        *--end = 0;
    while (*text == ' ' || *text == '`')
        text++;
    end = text + strlen(text);
    while (end > text && end[-1] == '`')
        *--end = 0;
    return text;
}

/* Columns of "| a | b |"; the line is taken apart. */
static size_t split(char *line, char *column[COLUMNS]) {
    size_t n = 0;
    char *save, *next = strtok_r(line, "|", &save);
    for (; next && n < COLUMNS; next = strtok_r(NULL, "|\n", &save))
        column[n++] = trim(next);
    return n;
}

static bool is_rule(const char *line) {
    return strspn(line, "|-: \n") == strlen(line);
}

/* ---- entries ---- */

static int parse_counts(struct parser *p, const char *text, struct vfm_expect *e) {
    for (size_t i = 0; i < 3; i++) {
        char *end = (char *)(uintptr_t)text;
        e->count[i] = *text == '-' ? VFM_UNKNOWN : (int)strtol(text, &end, 10);
        if (*text == '-')
            end++;
        if (end == text)
            return fail(p, "'%s' wants three counts", text);
        e->at_least[i] = *end == '+';
        text = end + e->at_least[i];
        if (*text != (i < 2 ? '/' : 0))
            return fail(p, "'%s' behind a count", text);
        text += i < 2;
    }
    return 0;
}

/* "fails", "fails|both" */
static int parse_outcomes(struct parser *p, const char *text, struct vfm_expect *e) {
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ","), i = 0;
        while (i < VFM_OUTCOMES && (strlen(vfm_outcome_name((enum vfm_outcome)i)) != len ||
                                    strncmp(at, vfm_outcome_name((enum vfm_outcome)i), len) != 0))
            i++;
        if (i == VFM_OUTCOMES)
            return fail(p, "no outcome is called '%s'", at);
        e->outcomes |= 1u << i;
        at += len + (at[len] == ',');
    }
    return 0;
}

static int parse_word(struct parser *p, const char *name, struct vfm_expect *e) {
    for (size_t i = 0; i < p->word_count; i++) {
        if (strcmp(p->words[i].name, name) != 0)
            continue;
        (void)snprintf(e->word, sizeof e->word, "%s", name);
        (void)snprintf(e->text, sizeof e->text, "%s", p->words[i].text);
        return 0;
    }
    return fail(p, "'%s' stands in no list of errors", name);
}

static int parse_entry(struct parser *p, char *text, struct vfm_expect *e) {
    char *save, *outcome = strtok_r(text, " ", &save), *one = strtok_r(NULL, " ", &save),
                *two = strtok_r(NULL, " ", &save);
    *e = (struct vfm_expect){.exists = true};
    if (outcome && strcmp(outcome, "none") == 0 && !one) {
        e->exists = false;
        return 0;
    }
    if (!outcome || !one)
        return fail(p, "an entry wants an outcome and counts");
    if (parse_outcomes(p, outcome, e) != 0 || (two && parse_word(p, one, e) != 0))
        return -1;
    return parse_counts(p, two ? two : one, e);
}

/* ---- the table ---- */

static size_t index_of(size_t src, size_t dst, size_t set) {
    return (src * VFM_ENDS + dst) * VFM_SETS + set;
}

/* Bits of the ends that "a, b" names. */
static int parse_ends(struct parser *p, const char *text, unsigned *ends) {
    *ends = 0;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ",");
        const struct vfm_end *end = vfm_end(at, len);
        if (!end)
            return fail(p, "no end is called '%.*s'", (int)len, at);
        *ends |= 1u << (end - vfm_ends);
        at += len;
        at += strspn(at, ", ");
    }
    return 0;
}

static int put_cells(struct parser *p, unsigned src, unsigned dst, size_t set,
                     const struct vfm_expect *e) {
    for (size_t s = 0; s < VFM_ENDS; s++)
        for (size_t d = 0; d < VFM_ENDS; d++) {
            size_t at = index_of(s, d, set);
            if (!(src & 1u << s) || !(dst & 1u << d))
                continue;
            if (p->seen[at])
                return fail(p, "%s to %s stands here twice", vfm_ends[s].name, vfm_ends[d].name);
            p->seen[at] = true;
            p->table->cell[at] = *e;
        }
    return 0;
}

static int parse_heading(struct parser *p, char *const column[COLUMNS], size_t n) {
    if (n != COLUMNS)
        return fail(p, "the matrix wants %d columns", COLUMNS);
    for (size_t i = 0; i < VFM_SETS; i++)
        if (strcmp(column[2 + i], vfm_sets[i].name) != 0)
            return fail(p, "column '%s' must be '%s'", column[2 + i], vfm_sets[i].name);
    return 0;
}

static int parse_row(struct parser *p, char *const column[COLUMNS], size_t n) {
    unsigned src, dst;
    if (n != COLUMNS)
        return fail(p, "a row of %zu columns", n);
    if (parse_ends(p, column[0], &src) != 0 || parse_ends(p, column[1], &dst) != 0)
        return -1;
    for (size_t i = 0; i < VFM_SETS; i++) {
        struct vfm_expect e;
        if (parse_entry(p, column[2 + i], &e) != 0 || put_cells(p, src, dst, i, &e) != 0)
            return -1;
    }
    return 0;
}

static int parse_error_row(struct parser *p, char *const column[COLUMNS], size_t n) {
    if (n < 2 || p->word_count == WORDS_MAX)
        return fail(p, "an error wants a word and a text");
    struct word *w = &p->words[p->word_count++];
    (void)snprintf(w->name, sizeof w->name, "%s", column[0]);
    (void)snprintf(w->text, sizeof w->text, "%s", column[1]);
    return 0;
}

/* ---- the file ---- */

enum region {
    OUTSIDE,
    ERRORS,
    MATRIX,
};

static enum region region_of(const char *line, enum region now) {
    if (strstr(line, "<!-- vfio-matrix-errors -->"))
        return ERRORS;
    if (strstr(line, "<!-- vfio-matrix -->"))
        return MATRIX;
    return strstr(line, "<!-- end -->") ? OUTSIDE : now;
}

static int parse_line(struct parser *p, char *line, enum region region, bool *heading) {
    char *column[COLUMNS];
    if (*line != '|' || region == OUTSIDE || is_rule(line))
        return 0;
    size_t n = split(line, column);
    bool first = !*heading;
    *heading = true;
    if (region == ERRORS)
        return first ? 0 : parse_error_row(p, column, n);
    return first ? parse_heading(p, column, n) : parse_row(p, column, n);
}

static int check_whole(struct parser *p) {
    for (size_t i = 0; i < VFM_ENDS * VFM_ENDS * VFM_SETS; i++) {
        char name[64];
        struct vfm_cell cell = vfm_cell(i);
        vfm_cell_name(&cell, name, sizeof name);
        if (!p->seen[i])
            return fail(p, "%s is missing", name);
    }
    return 0;
}

int vfm_table_read(const char *path, struct vfm_table *out, char *why, size_t size) {
    struct parser p = {.table = out, .why = why, .size = size};
    enum region region = OUTSIDE;
    char line[LINE];
    bool heading = false;
    int rc = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(&p, "cannot read %s", path);
    while (rc == 0 && fgets(line, sizeof line, file)) {
        enum region was = region;
        p.line++;
        region = region_of(line, region);
        heading = heading && region == was;
        rc = parse_line(&p, line, region, &heading);
    }
    (void)fclose(file);
    return rc == 0 ? check_whole(&p) : rc;
}
