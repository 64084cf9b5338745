/* SPDX-License-Identifier: MIT */
#include "tool/compat.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Both sides of a comparison, and what of it must be found. */

struct wanted {
    const char *rule;
    char path[512];
    enum compat_level level;
    bool found;
    unsigned errors, findings;
};

static void look(void *ctx, enum compat_level level, const char *rule, const char *path,
                 const char *text) {
    struct wanted *w = ctx;
    (void)text;
    w->findings++;
    w->errors += level == COMPAT_ERROR;
    if (w->rule && strcmp(rule, w->rule) == 0 && strcmp(path, w->path) == 0) {
        w->found = true;
        w->level = level;
    }
}

static void compare(const json_t *from, const json_t *to, struct wanted *w) {
    struct compat_side a, b;
    char error[200];
    cr_assert(compat_model(json_deep_copy(from), &a, error, sizeof error), "%s", error);
    cr_assert(compat_model(json_deep_copy(to), &b, error, sizeof error), "%s", error);
    compat_compare(&a, &b, look, w);
    compat_free(&a);
    compat_free(&b);
}

/* ---- by hand: one rule each ---- */

#define FIELD(name, size)                                                                          \
    "{\"field\":\"" name "\",\"version_id\":0,\"field_exists\":false,\"size\":" #size "}"
#define MAYBE(name, size)                                                                          \
    "{\"field\":\"" name "\",\"version_id\":0,\"field_exists\":true,\"size\":" #size "}"
#define SINCE(name, size, v)                                                                       \
    "{\"field\":\"" name "\",\"version_id\":" #v ",\"field_exists\":false,\"size\":" #size "}"
#define DEVICE(version, minimum, fields, subsections)                                              \
    "{\"vmschkmachine\":{\"Name\":\"m\"},\"d\":{\"Name\":\"d\",\"Description\":{\"name\":\"v\","   \
    "\"version_id\":" #version ",\"minimum_version_id\":" #minimum ",\"Fields\":[" fields          \
    "],\"Subsections\":[" subsections "]}}}"
/* Twins, a struct of two fields each: the first is of an older version. */
#define STRUCT(name, exists, size)                                                                 \
    "{\"field\":\"" name "\",\"version_id\":0,\"field_exists\":" #exists ",\"size\":9,"            \
    "\"Description\":{\"name\":\"s\",\"version_id\":1,\"minimum_version_id\":1,\"Fields\":"        \
    "[" FIELD("p", size) "," MAYBE("unused", 1) "," FIELD("q", 1) "]}}"
#define TWINS STRUCT("k", true, 4) "," STRUCT("k", false, 4)
#define SENT_STRUCT(name)                                                                          \
    "{\"name\":\"" name "\",\"type\":\"struct\",\"size\":9,\"struct\":{\"fields\":[" SENT(         \
        "p", 4) "," SENT("q", 1) "]}}"
#define SUB(name, fields)                                                                          \
    "{\"name\":\"" name "\",\"version_id\":1,\"minimum_version_id\":1,\"Fields\":[" fields "]}"
#define DESCRIBED(version, fields, subsections)                                                    \
    "{\"page_size\":4096,\"devices\":[{\"name\":\"bus/d\",\"instance_id\":0,\"vmsd_name\":\"v\","  \
    "\"version\":" #version ",\"fields\":[" fields "],\"subsections\":[" subsections "]}]}"
#define SENT(name, size) "{\"name\":\"" name "\",\"type\":\"x\",\"size\":" #size "}"

Test(compat, rules) {
    static const struct {
        const char *from, *to, *rule, *path;
        unsigned errors;
    } cases[] = {
        {DEVICE(1, 1, FIELD("a", 4), ""), DEVICE(1, 1, FIELD("a", 4), ""), NULL, "", 0},
        {DEVICE(2, 1, FIELD("a", 4), ""), DEVICE(1, 1, FIELD("a", 4), ""), "version", "d", 1},
        {DEVICE(1, 1, FIELD("a", 4), ""), DEVICE(3, 2, FIELD("a", 4), ""), "minimum-version", "d",
         1},
        {DEVICE(1, 1, FIELD("a", 4), ""), DEVICE(1, 1, FIELD("a", 8), ""), "field-size", "d/a", 1},
        {DEVICE(1, 1, FIELD("a", 4), ""), DEVICE(1, 1, FIELD("b", 4), ""), "field-renamed", "d/a",
         0},
        {DEVICE(1, 1, FIELD("a", 4) "," FIELD("b", 2), ""), DEVICE(1, 1, FIELD("b", 2), ""),
         "field-unread", "d/a", 1},
        {DEVICE(1, 1, FIELD("b", 2), ""), DEVICE(1, 1, FIELD("b", 2) "," FIELD("c", 2), ""),
         "field-missing", "d/c", 1},
        {DEVICE(1, 1, FIELD("b", 2), ""), DEVICE(1, 1, FIELD("b", 2) "," MAYBE("c", 2), ""),
         "field-missing", "d/c", 0},
        {DEVICE(1, 1, FIELD("b", 2), ""), DEVICE(2, 1, FIELD("b", 2) "," SINCE("c", 2, 2), ""),
         NULL, "", 0},
        {DEVICE(1, 1, FIELD("a", 4) "," FIELD("b", 4) "," FIELD("z", 1), ""),
         DEVICE(1, 1, FIELD("unused", 8) "," FIELD("z", 1), ""), "field-unused", "d/a", 0},
        {DEVICE(1, 1, FIELD("a", 4), SUB("v/s", FIELD("x", 1))), DEVICE(1, 1, FIELD("a", 4), ""),
         "subsection", "d/v/s", 0},
        {DESCRIBED(1, SENT("a", 4), "{\"vmsd_name\":\"v/s\",\"version\":1,\"fields\":[]}"),
         DEVICE(1, 1, FIELD("a", 4), ""), "subsection", "bus/d/v/s", 1},
        {DESCRIBED(1, SENT("config[1]", 4096), ""),
         DEVICE(1, 1, MAYBE("config", 256) "," MAYBE("config", 4096), ""), NULL, "", 0},
        {DESCRIBED(1, SENT("o", 4), ""), DEVICE(1, 1, MAYBE("o", 4) "," FIELD("o", 4), ""), NULL,
         "", 0},
        {DEVICE(1, 1, TWINS, ""), DEVICE(1, 1, TWINS, ""), NULL, "", 0},
        {DESCRIBED(1, SENT_STRUCT("k"), ""), DEVICE(1, 1, TWINS, ""), NULL, "", 0},
        {DEVICE(1, 1, STRUCT("k", false, 4), ""), DEVICE(1, 1, TWINS, ""), "field-missing", "d/k/p",
         0},
        {DEVICE(1, 1, TWINS, ""), DEVICE(1, 1, STRUCT("k", false, 4), ""), "field-unread", "d/k/p",
         0},
        {DEVICE(1, 1, TWINS, ""), DEVICE(1, 1, STRUCT("k", true, 4) "," STRUCT("k", false, 2), ""),
         "field-size", "d/k/p", 1},
        {DEVICE(1, 1, MAYBE("o", 4) "," FIELD("x", 4) "," FIELD("o", 4), ""),
         DEVICE(1, 1, MAYBE("o", 4) "," FIELD("x", 4), ""), "field-unread", "d/o", 1},
        {DESCRIBED(1, SENT("a", 4), ""), DESCRIBED(1, SENT("a", 2), ""), "field-size", "bus/d/a",
         1},
        {DESCRIBED(1, SENT("a", 4), ""), "{\"page_size\":4096,\"devices\":[]}", "device", "bus/d",
         1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wanted w = {.rule = cases[i].rule};
        (void)snprintf(w.path, sizeof w.path, "%s", cases[i].path);
        json_t *from = json_loads(cases[i].from, 0, NULL), *to = json_loads(cases[i].to, 0, NULL);
        cr_assert(from && to, "%zu", i);
        compare(from, to, &w);
        cr_expect(w.found || !w.rule, "%zu: no %s at %s", i, w.rule, w.path);
        cr_expect_eq(w.errors, cases[i].errors, "%zu: %u errors", i, w.errors);
        json_decref(from);
        json_decref(to);
    }
}

Test(compat, files) {
    static const char stream[] = "QEVM....\0\6\0\0\0\x0e{\"devices\":[]}";
    struct compat_side s;
    char path[] = "/tmp/vms-compat-XXXXXX", error[200];
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, stream, sizeof stream - 1), (ssize_t)sizeof stream - 1);
    cr_expect(compat_read(path, &s, error, sizeof error), "%s", error);
    compat_free(&s);
    cr_assert_eq(ftruncate(fd, 12), 0);
    cr_expect_not(compat_read(path, &s, error, sizeof error));
    compat_free(&s);
    cr_assert_eq(pwrite(fd, "{\"devices\": ", 12, 0), 12);
    cr_expect_not(compat_read(path, &s, error, sizeof error));
    compat_free(&s);
    cr_expect_not(compat_read("/nonexistent", &s, error, sizeof error));
    compat_free(&s);
    close(fd);
    (void)unlink(path);
}

/* ---- of a real QEMU: seeded changes, each found where it was made ---- */

static unsigned state;

static size_t chance(size_t n) {
    return n ? (size_t)rand_r(&state) % n : 0;
}

/* A device that has fields; its QOM type. */
static json_t *some_device(json_t *dump, const char **name) {
    for (;;) {
        size_t at = chance(json_object_size(dump));
        void *it = json_object_iter(dump);
        while (at--)
            it = json_object_iter_next(dump, it);
        json_t *about = json_object_get(json_object_iter_value(it), "Description");
        *name = json_object_iter_key(it);
        if (json_array_size(json_object_get(about, "Fields")) > 0)
            return about;
    }
}

static int64_t number(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

/* A field that is always sent, with a name that it alone has; SIZE_MAX: none. */
static size_t some_field(const json_t *about) {
    const json_t *fields = json_object_get(about, "Fields");
    size_t n = json_array_size(fields), first = chance(n);
    for (size_t i = 0; i < n; i++) {
        const json_t *f = json_array_get(fields, (first + i) % n);
        unsigned same = 0;
        for (size_t j = 0; j < n; j++)
            same += strcmp(text(json_array_get(fields, j), "field"), text(f, "field")) == 0;
        if (same == 1 && !json_object_get(f, "Description") && number(f, "size") > 0 &&
            number(f, "version_id") <= number(about, "version_id") &&
            !json_is_true(json_object_get(f, "field_exists")) &&
            strcmp(text(f, "field"), "unused") != 0)
            return (first + i) % n;
    }
    return SIZE_MAX;
}

static void at(struct wanted *w, const char *rule, const char *device, const char *part) {
    w->rule = rule;
    (void)snprintf(w->path, sizeof w->path, "%s%s%s", device, *part ? "/" : "", part);
}

static bool change_version(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(from, &name);
    (void)to;
    json_object_set_new(about, "version_id", json_integer(number(about, "version_id") + 100));
    at(w, "version", name, "");
    return true;
}

static bool change_minimum(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(to, &name);
    int64_t version = number(about, "version_id") + 1;
    (void)from;
    json_object_set_new(about, "version_id", json_integer(version));
    json_object_set_new(about, "minimum_version_id", json_integer(version));
    at(w, "minimum-version", name, "");
    return true;
}

static bool change_size(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(to, &name);
    size_t i = some_field(about);
    (void)from;
    if (i == SIZE_MAX)
        return false;
    json_t *f = json_array_get(json_object_get(about, "Fields"), i);
    json_object_set_new(f, "size", json_integer(number(f, "size") + 1));
    at(w, "field-size", name, text(f, "field"));
    return true;
}

/* Padding may stand for whatever is not there. */
static bool has_padding(const json_t *fields) {
    size_t i;
    json_t *f;
    json_array_foreach(fields, i, f) if (strcmp(text(f, "field"), "unused") == 0) return true;
    return false;
}

static bool drop_field(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(to, &name);
    size_t i = some_field(about);
    (void)from;
    json_t *fields = json_object_get(about, "Fields");
    if (i == SIZE_MAX || json_array_size(fields) < 2 || has_padding(fields))
        return false;
    at(w, "field-unread", name, text(json_array_get(fields, i), "field"));
    json_array_remove(fields, i);
    return true;
}

static bool add_field(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(to, &name);
    (void)from;
    json_array_append_new(json_object_get(about, "Fields"),
                          json_pack("{s:s, s:i, s:b, s:i}", "field", "of_tomorrow", "version_id", 0,
                                    "field_exists", 0, "size", 4));
    at(w, "field-missing", name, "of_tomorrow");
    return true;
}

static bool add_subsection(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    json_t *about = some_device(from, &name), *list = json_object_get(about, "Subsections");
    (void)to;
    if (!list)
        json_object_set_new(about, "Subsections", list = json_array());
    json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:[]}", "name", "of/tomorrow",
                                          "version_id", 1, "minimum_version_id", 1, "Fields"));
    at(w, "subsection", name, "of/tomorrow");
    return true;
}

static bool drop_device(json_t *from, json_t *to, struct wanted *w) {
    const char *name;
    (void)from;
    (void)some_device(to, &name);
    at(w, "device", name, "");
    json_object_del(to, w->path);
    return true;
}

static bool change_machine(json_t *from, json_t *to, struct wanted *w) {
    (void)from;
    json_object_set_new(json_object_get(to, "vmschkmachine"), "Name", json_string("other"));
    at(w, "machine", "machine", "");
    return true;
}

Test(compat, seeded_changes_of_a_real_dump, .timeout = 60) {
    static bool (*const changes[])(json_t *, json_t *, struct wanted *) = {
        change_version, change_minimum, change_size, drop_field,
        add_field,      add_subsection, drop_device, change_machine};
    char path[] = "/tmp/vms-dump-XXXXXX", command[200];
    struct wanted same = {.rule = NULL};
    int fd = mkstemp(path);
    close(fd);
    (void)snprintf(command, sizeof command,
                   "qemu-system-x86_64 -M pc -dump-vmstate %s >/dev/null 2>&1", path);
    bool there = system(command) == 0;
    json_t *dump = there ? json_load_file(path, 0, NULL) : NULL;
    (void)unlink(path);
    if (!dump)
        cr_skip_test("peer absent: qemu-system-x86_64");
    compare(dump, dump, &same);
    cr_expect_eq(same.findings, 0u);
    unsigned made = 0;
    for (state = 1; made < 48;) {
        struct wanted w = {.rule = NULL};
        json_t *from = json_deep_copy(dump), *to = json_deep_copy(dump);
        unsigned seed = state;
        if (changes[made % 8](from, to, &w)) {
            compare(from, to, &w);
            cr_expect(w.found, "seed %u: no %s at %s", seed, w.rule, w.path);
            made++;
        }
        json_decref(from);
        json_decref(to);
    }
    json_decref(dump);
}
