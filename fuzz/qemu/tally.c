// SPDX-License-Identifier: MIT
// A line a case, and tables made of the lines.
#include "blackbox.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int bb_note(const char *dir, const struct bb_case *c, const struct bb_result *result) {
    json_t *line = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "seed",
                             (json_int_t)c->seed, "case", (json_int_t)c->number, "version",
                             c->from->version, "machine", c->from->machine->name, "change", c->how,
                             "verdict", bb_verdict_name(result->verdict), "message",
                             result->message, "clause", result->clause, "code", result->code);
    char path[600];
    char *text = NULL;
    int fd, status = -1;

    if (line == NULL) { // QEMU's words are not UTF-8
        return 0;
    }
    snprintf(path, sizeof path, "%s/cases.jsonl", dir);
    text = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    // One write: the workers share the file.
    if (text != NULL && fd >= 0) {
        char *whole = NULL;
        int size = asprintf(&whole, "%s\n", text);

        status = size > 0 && write(fd, whole, (size_t)size) == size ? 0 : -1;
        free(whole);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(text);
    json_decref(line);
    return status;
}

static const char *field(const json_t *line, const char *key) {
    const char *text = json_string_value(json_object_get(line, key));

    return text != NULL ? text : "";
}

static void count(json_t *counts, const char *key) {
    json_object_set_new(counts, key,
                        json_integer(json_integer_value(json_object_get(counts, key)) + 1));
}

// Numbers in a message differ from case to case.
static void normalise(char *to, size_t size, const char *from) {
    size_t n = 0;

    while (*from != '\0' && n + 2 < size) {
        if (strncmp(from, "0x", 2) == 0) {
            from += 2 + strspn(from + 2, "0123456789abcdefABCDEF");
            to[n++] = '#';
        } else if (*from >= '0' && *from <= '9') {
            from += strspn(from, "0123456789");
            to[n++] = '#';
        } else {
            to[n++] = *from++;
        }
    }
    to[n] = '\0';
}

struct tables {
    json_t *verdicts, *changes, *finds, *clauses;
};

static void add(struct tables *t, const json_t *line) {
    const char *verdict = field(line, "verdict"), *version = field(line, "version");
    char key[700], words[400];

    snprintf(key, sizeof key, "%s\t%s", version, verdict);
    count(t->verdicts, key);
    snprintf(key, sizeof key, "%s\t%s\t%s", version, field(line, "change"), verdict);
    count(t->changes, key);
    if (strcmp(verdict, "accepted") == 0) {
        snprintf(key, sizeof key, "%s\t%s", version,
                 *field(line, "code") != '\0' ? field(line, "code") : "(no clause broken)");
        snprintf(words, sizeof words, "\t%s", field(line, "clause"));
        strncat(key, words, sizeof key - strlen(key) - 1);
        count(t->clauses, key);
    } else if (strcmp(verdict, "refused") != 0) {
        normalise(words, sizeof words, field(line, "message"));
        snprintf(key, sizeof key, "%s\t%s\t%s\t%s", version, verdict, field(line, "machine"),
                 words);
        count(t->finds, key);
    }
}

struct row {
    const char *key;
    json_int_t n;
};

static int by_count(const void *a, const void *b) {
    const struct row *x = a, *y = b;

    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->key, y->key);
}

static void print(const char *title, const json_t *counts, size_t most) {
    size_t n = json_object_size(counts), i = 0;
    struct row *rows = calloc(n + 1, sizeof *rows);
    const char *key;
    json_t *value;

    printf("\n%s\n", title);
    json_object_foreach((json_t *)(uintptr_t)counts, key, value) {
        if (rows != NULL) {
            rows[i++] = (struct row){key, json_integer_value(value)};
        }
    }
    if (rows != NULL) {
        qsort(rows, i, sizeof *rows, by_count);
    }
    for (size_t r = 0; r < i && r < most; r++) {
        printf("%8lld  %s\n", (long long)rows[r].n, rows[r].key);
    }
    if (i > most) {
        printf("          and %zu more\n", i - most);
    }
    free(rows);
}

int bb_summary(const char *dir) {
    struct tables t = {json_object(), json_object(), json_object(), json_object()};
    char path[600], line[8192];
    FILE *file;

    snprintf(path, sizeof path, "%s/cases.jsonl", dir);
    file = fopen(path, "re");
    if (file == NULL) {
        fprintf(stderr, "fuzz-qemu: cannot read %s\n", path);
        return -1;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        json_t *object = json_loads(line, 0, NULL);

        if (object != NULL) {
            add(&t, object);
        }
        json_decref(object);
    }
    fclose(file);
    print("version, verdict", t.verdicts, 50);
    print("version, change, verdict", t.changes, 50);
    print("accepted: the error our decoder has for the stream, and its clause", t.clauses, 40);
    print("finds: version, verdict, machine, last words", t.finds, 60);
    json_decref(t.verdicts);
    json_decref(t.changes);
    json_decref(t.finds);
    json_decref(t.clauses);
    return 0;
}
