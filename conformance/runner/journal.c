/* SPDX-License-Identifier: MIT */
#include "conformance/runner/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void take(struct cert_journal *j, json_t *line) {
    const char *record = cert_str(line, "record");
    if (strcmp(record, "run") == 0 && !j->run)
        j->run = json_incref(line);
    else if (strcmp(record, "cell") == 0)
        (void)json_array_append(j->cells, line);
    else if (strcmp(record, "first") == 0)
        (void)json_object_set(j->first, cert_str(line, "id"), line);
    else if (strcmp(record, "summary") == 0)
        j->finished = true;
}

/* Reads whole lines; the offset behind the last of them. */
static long read_lines(struct cert_journal *j, FILE *f) {
    char *line = NULL;
    size_t size = 0;
    long good = 0;
    while (getline(&line, &size, f) > 0 && strchr(line, '\n')) {
        json_t *o = json_loads(line, 0, NULL);
        if (!o)
            break;
        take(j, o);
        json_decref(o);
        good = ftell(f);
    }
    free(line);
    return good;
}

int cert_journal_read(struct cert_journal *j, const char *path) {
    FILE *f = fopen(path, "re");
    *j = (struct cert_journal){.cells = json_array(), .first = json_object()};
    if (!f)
        return -1;
    (void)read_lines(j, f);
    (void)fclose(f);
    return j->run ? 0 : -1;
}

static bool is_same(const struct cert_journal *j, const json_t *run) {
    return j->run && strcmp(cert_str(j->run, "plan"), cert_str(run, "plan")) == 0 &&
           json_equal(json_object_get(j->run, "versions"), json_object_get(run, "versions"));
}

static void forget(struct cert_journal *j) {
    json_decref(j->run);
    json_decref(j->cells);
    json_decref(j->first);
    j->run = NULL;
    j->cells = json_array();
    j->first = json_object();
    j->finished = false;
}

int cert_journal_open(struct cert_journal *j, const char *path, const json_t *run, bool fresh,
                      bool again) {
    long good = 0;
    *j = (struct cert_journal){.cells = json_array(), .first = json_object()};
    j->file = fopen(path, "ae+");
    if (!j->file)
        return -1;
    rewind(j->file);
    if (!fresh)
        good = read_lines(j, j->file);
    if (fresh || !is_same(j, run) || (j->finished && !again)) {
        forget(j);
        good = 0;
    }
    if (ftruncate(fileno(j->file), good) != 0)
        return -1;
    (void)fseek(j->file, 0, SEEK_END);
    if (good > 0)
        return 0;
    j->run = json_incref((json_t *)(uintptr_t)run);
    return cert_journal_add(j, j->run);
}

int cert_journal_add(struct cert_journal *j, json_t *line) {
    char *text = json_dumps(line, JSON_COMPACT);
    bool ok = text && fprintf(j->file, "%s\n", text) > 0 && fflush(j->file) == 0 &&
              fdatasync(fileno(j->file)) == 0;
    free(text);
    if (line != j->run)
        take(j, line);
    return ok ? 0 : -1;
}

const json_t *cert_journal_find(const struct cert_journal *j, const char *id) {
    for (size_t i = 0; i < json_array_size(j->cells); i++)
        if (strcmp(cert_str(json_array_get(j->cells, i), "id"), id) == 0)
            return json_array_get(j->cells, i);
    return NULL;
}

const json_t *cert_journal_first(const struct cert_journal *j, const char *id) {
    return json_object_get(j->first, id);
}

void cert_journal_close(struct cert_journal *j) {
    if (j->file)
        (void)fclose(j->file);
    json_decref(j->run);
    json_decref(j->cells);
    json_decref(j->first);
    *j = (struct cert_journal){.file = NULL};
}
