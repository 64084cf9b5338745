/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

static const struct {
    const char *name;
    make_area *make;
} AREAS[AREA_COUNT] = {
    {"hdr", make_hdr}, {"cfg", make_cfg},   {"sec", make_sec}, {"end_tail", make_end_tail},
    {"cmd", make_cmd}, {"pkg", make_pkg},   {"rec", make_rec}, {"ram", make_ram},
    {"xbz", make_xbz}, {"map", make_map},   {"mfd", make_mfd}, {"pre", make_pre},
    {"dbm", make_dbm}, {"vfio", make_vfio}, {"rp", make_rp},   {"lim", make_lim},
};

static unsigned number_of(const struct area *area, const char *clause) {
    unsigned n = 1;
    for (size_t i = 0; i < area->count; i++)
        n += strcmp(area->vectors[i]->clauses[0], clause) == 0;
    return n;
}

/* The clause is of the area that the file is about. */
static bool is_of(const struct area *area, const char *clause) {
    char name[8] = "";
    for (size_t i = 0; i + 1 < sizeof name && clause[i] != '-'; i++)
        name[i] = (char)(clause[i] - 'A' + 'a');
    return strstr(area->name, name) != NULL;
}

struct vb *vector(struct area *area, const char *kind, const char *clause, const char *comment) {
    struct vb *v = vb_new(kind, clause, comment);
    const char *file = is_of(area, clause) ? "" : area->name;
    snprintf(v->id, sizeof v->id, "%s.%s%s%u", clause, file, *file ? "." : "",
             number_of(area, clause));
    if (area->count == area->cap) {
        area->cap = area->cap * 2 + 16;
        area->vectors = realloc(area->vectors, area->cap * sizeof *area->vectors);
        if (!area->vectors)
            exit(3);
    }
    area->vectors[area->count++] = v;
    return v;
}

struct area area_make(unsigned i) {
    struct area area = {.name = AREAS[i].name};
    AREAS[i].make(&area);
    return area;
}

void area_free(struct area *area) {
    for (size_t i = 0; i < area->count; i++)
        vb_free(area->vectors[i]);
    free(area->vectors);
}

/* ---- the registry's view of an error ---- */

static const struct {
    const char *code, *class_, *clause;
} ERRORS[] = {
#define VMS_ERROR(code, class_, clause, text) {#code, #class_, clause},
#include "spec/registry/errors.def"
#undef VMS_ERROR
};

static size_t error_index(const char *code) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (strcmp(ERRORS[i].code, code) == 0)
            return i;
    fprintf(stderr, "no error %s\n", code);
    exit(3);
}

/* ---- JSON ---- */

static void write_string(FILE *f, const char *text) {
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void write_hex(FILE *f, const uint8_t *p, size_t n) {
    fputc('"', f);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%02x", p[i]);
    fputc('"', f);
}

enum {
    SHORTEST_RUN = 48,
};

static size_t run_at(const uint8_t *p, size_t n) {
    size_t i = 1;
    while (i < n && p[i] == p[0])
        i++;
    return i;
}

/* Length of what comes before the next long run of one octet. */
static size_t plain_at(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n && run_at(p + i, n - i) < SHORTEST_RUN)
        i += run_at(p + i, n - i);
    return i;
}

/* One string, or an array of strings and runs. */
static void write_octets(FILE *f, const uint8_t *p, size_t n) {
    size_t plain = n ? plain_at(p, n) : 0;
    if (plain == n) {
        write_hex(f, p, n);
        return;
    }
    fputc('[', f);
    for (const char *comma = ""; n; comma = ", ") {
        fputs(comma, f);
        plain = plain_at(p, n);
        size_t taken = plain ? plain : run_at(p, n);
        if (plain)
            write_hex(f, p, plain);
        else
            fprintf(f, "{\"repeat\": \"%02x\", \"times\": %zu}", p[0], taken);
        p += taken;
        n -= taken;
    }
    fputc(']', f);
}

static void write_records(FILE *f, const struct vb *v) {
    fputs(",\n      \"records\": [", f);
    for (size_t i = 0; i < v->record_count; i++)
        fprintf(f, "%s\"%s\"", i ? ", " : "", v->records[i].name);
    fputs("],\n      \"offsets\": [", f);
    for (size_t i = 0; i < v->record_count; i++)
        fprintf(f, "%s%" PRIu64, i ? ", " : "", v->records[i].offset);
    fputs("]", f);
    if (v->guessed_from == UINT64_MAX)
        return;
    uint64_t to = v->guessed_to < v->record_count ? v->guessed_to : v->record_count;
    fprintf(f, ",\n      \"guessed\": [%" PRIu64 ", %" PRIu64 "]", v->guessed_from, to);
}

static void write_expect(FILE *f, const struct vb *v) {
    fputs(",\n    \"expect\": {", f);
    if (v->error) {
        size_t e = error_index(v->error);
        fprintf(f, "\"error\": \"%s\", \"class\": \"", v->error);
        for (const char *c = ERRORS[e].class_; *c; c++)
            fputc(*c - 'A' + 'a', f);
        fprintf(f, "\", \"clause\": \"%s\", \"offset\": %" PRIu64 ", \"record\": %zu",
                ERRORS[e].clause, v->error_at, v->record_count - v->error_in_bulk);
    } else {
        fputs("\"end\": true", f);
    }
    write_records(f, v);
    fputs("}}", f);
}

static void write_limits(FILE *f, const struct vb *v) {
    if (!v->limits[0].name)
        return;
    fputs(",\n    \"limits\": {", f);
    for (size_t i = 0; v->limits[i].name; i++)
        fprintf(f, "%s\"%s\": %" PRIu64, i ? ", " : "", v->limits[i].name, v->limits[i].value);
    fputc('}', f);
}

static void write_vector(FILE *f, const struct vb *v) {
    fprintf(f, "  {\"id\": \"%s\", \"clauses\": [", v->id);
    for (size_t i = 0; v->clauses[i]; i++)
        fprintf(f, "%s\"%s\"", i ? ", " : "", v->clauses[i]);
    fputs("],\n    \"comment\": ", f);
    write_string(f, v->comment);
    fprintf(f, ",\n    \"kind\": \"%s\", \"dialect\": \"%s\"", v->kind, v->dialect);
    fprintf(f, ", \"tail\": \"%s\", \"descriptions\": \"%s\"", v->tail, v->descriptions);
    write_limits(f, v);
    if (v->given) {
        fputs(",\n    \"given\": ", f);
        write_string(f, v->given);
    }
    if (v->main) {
        fputs(",\n    \"main\": ", f);
        write_octets(f, v->main->ptr, v->main->len);
    }
    fputs(",\n    \"hex\": ", f);
    write_octets(f, v->ptr, v->len);
    write_expect(f, v);
}

static int write_area(const char *folder, const struct area *area) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.json", folder, area->name);
    FILE *f = fopen(path, "w");
    if (!f)
        return -1;
    fputs("[\n", f);
    for (size_t i = 0; i < area->count; i++) {
        fputs(i ? ",\n" : "", f);
        write_vector(f, area->vectors[i]);
    }
    fputs("\n]\n", f);
    bool bad = ferror(f);
    return fclose(f) || bad ? -1 : 0;
}

int write_vectors(const char *folder) {
    for (unsigned i = 0; i < AREA_COUNT; i++) {
        struct area area = area_make(i);
        int rc = write_area(folder, &area);
        area_free(&area);
        if (rc)
            return rc;
    }
    return 0;
}
