/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/vmdesc.h>

static struct vms_vmdesc *vmdesc;
static struct vms_vmdesc_ops ops;

static void setup(void) {
    vmdesc = vms_vmdesc_new();
    cr_assert_not_null(vmdesc);
    ops = vms_vmdesc_ops(vmdesc);
}

static void teardown(void) {
    vms_vmdesc_free(vmdesc);
}

TestSuite(vmdesc, .init = setup, .fini = teardown);

static bool load(const char *json) {
    return ops.load(ops.ctx, vms_str(json));
}

/* A description of one device with this body. */
static bool load_body(const char *body) {
    char json[8192];
    cr_assert_lt(
        snprintf(json, sizeof json, "{\"devices\":[{\"name\":\"d\",\"instance_id\":0,%s}]}", body),
        (int)sizeof json);
    return load(json);
}

/* [TAIL-3] size is of one element; array_len multiplies; a nested struct is in size already. */
Test(vmdesc, fields) {
    cr_assert(load_body("\"version\":3,\"fields\":[{\"name\":\"a\",\"size\":4},"
                        "{\"name\":\"b\",\"size\":8,\"array_len\":16},"
                        "{\"name\":\"s\",\"size\":6,\"struct\":{\"fields\":[{\"size\":6}]}}]"));
    struct vms_vmdesc_section s = vms_vmdesc_section(vmdesc, 0);
    cr_assert_eq(vms_vmdesc_count(vmdesc), 1);
    cr_assert_eq(s.length, 4 + 8 * 16 + 6);
    cr_assert_eq(s.version, 3);
    cr_assert_str_eq(s.name, "d");
}

/* [TAIL-3] a subsection costs type, name length, name and version beside its fields. */
Test(vmdesc, subsections) {
    cr_assert(load_body("\"fields\":[{\"size\":1}],\"subsections\":[{\"vmsd_name\":\"d/sub\","
                        "\"fields\":[{\"size\":2}],\"subsections\":[{\"vmsd_name\":\"d/sub/x\","
                        "\"fields\":[]}]}]"));
    cr_assert_eq(vms_vmdesc_section(vmdesc, 0).length, 1 + (6 + 5 + 2) + (6 + 7));
}

/* [TAIL-2] sections are given in order, each once, by id string and instance. */
Test(vmdesc, next_length) {
    cr_assert(load("{\"page_size\":4096,\"devices\":["
                   "{\"name\":\"a\",\"instance_id\":0,\"fields\":[{\"size\":1}]},"
                   "{\"name\":\"b\",\"instance_id\":1,\"fields\":[{\"size\":2}]},"
                   "{\"name\":\"a\",\"instance_id\":0,\"fields\":[{\"size\":3}]}]}"));
    cr_assert_eq(vms_vmdesc_page_size(vmdesc), 4096);
    for (int round = 0; round < 2; round++) {
        uint64_t n = 0;
        cr_assert(ops.next_length(ops.ctx, vms_str("b"), 1, &n) && n == 2);
        cr_assert_not(ops.next_length(ops.ctx, vms_str("b"), 1, &n));
        cr_assert(ops.next_length(ops.ctx, vms_str("a"), 0, &n) && n == 1);
        cr_assert(ops.next_length(ops.ctx, vms_str("a"), 0, &n) && n == 3);
        cr_assert_not(ops.next_length(ops.ctx, vms_str("a"), 0, &n));
        ops.rewind(ops.ctx);
    }
}

/* [TAIL-1] what is not a description leaves nothing behind. */
Test(vmdesc, refused) {
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"devices\":{}}",
        "{\"devices\":[1]}",
        "{\"devices\":[{\"name\":\"d\",\"fields\":[]}]}", /* no instance */
        "{\"devices\":[{\"name\":1,\"instance_id\":0,\"fields\":[]}]}",
        "{\"devices\":[{\"name\":\"\",\"instance_id\":0,\"fields\":[]}]}",
        "{\"devices\":[{\"name\":\"d\",\"instance_id\":-1,\"fields\":[]}]}",
        "{\"devices\":[{\"name\":\"d\",\"instance_id\":4294967296,\"fields\":[]}]}",
        "{\"devices\":[{\"name\":\"d\",\"instance_id\":0.5,\"fields\":[]}]}",
        "{\"devices\":[{\"name\":\"d\",\"instance_id\":0}]}", /* no fields */
        "{\"devices\":[],\"devices\":[]}",                    /* duplicate key */
        "{\"devices\":[],\"page_size\":-1}",
        "{\"devices\":[]} trailing",
        "{\"devices\":[{\"name\":\"d\\u0000\",\"instance_id\":0,\"fields\":[]}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert(load_body("\"fields\":[]"));
        cr_assert_not(load(bad[i]), "%s", bad[i]);
        cr_assert_eq(vms_vmdesc_count(vmdesc), 0);
    }
}

Test(vmdesc, refused_fields) {
    static const char *const bad[] = {
        "{}",
        "[1]",
        "[{}]",
        "[{\"size\":-1}]",
        "[{\"size\":\"4\"}]",
        "[{\"size\":1.0}]",
        "[{\"size\":4,\"array_len\":-1}]",
        "[{\"size\":4,\"array_len\":null}]",
        "[{\"size\":9223372036854775808}]",
        "[{\"size\":9223372036854775807,\"array_len\":3}]",
        "[{\"size\":9223372036854775807},{\"size\":9223372036854775807},{\"size\":2}]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char body[256];
        snprintf(body, sizeof body, "\"fields\":%s", bad[i]);
        cr_assert_not(load_body(body), "%s", bad[i]);
    }
    cr_assert_not(load_body("\"fields\":[],\"subsections\":[{\"fields\":[]}]"));
    cr_assert_not(load_body("\"fields\":[],\"subsections\":{}"));
    cr_assert_not(load_body("\"fields\":[],\"subsections\":[7]"));
}

/* Nesting of subsections up to DEPTH levels. */
static bool load_nested(unsigned depth) {
    static char json[1 << 20];
    size_t n =
        (size_t)sprintf(json, "{\"devices\":[{\"name\":\"d\",\"instance_id\":0,\"fields\":[]");
    for (unsigned i = 0; i < depth; i++)
        n += (size_t)sprintf(json + n, ",\"subsections\":[{\"vmsd_name\":\"d\",\"fields\":[]");
    for (unsigned i = 0; i < depth; i++)
        n += (size_t)sprintf(json + n, "}]");
    sprintf(json + n, "}]}");
    return load(json);
}

/* [LIM-1] at the limit and one past it; far past it is the parser's own limit. */
Test(vmdesc, depth) {
    cr_assert(load_nested(63));
    cr_assert_eq(vms_vmdesc_section(vmdesc, 0).length, 63 * 7);
    cr_assert_not(load_nested(64));
    cr_assert_not(load_nested(20000));
}

static bool load_values(size_t commas) {
    char *json = malloc(commas * 2 + 64);
    cr_assert_not_null(json);
    size_t n = (size_t)sprintf(json, "{\"devices\":[],\"x\":[0");
    for (size_t i = 0; i < commas; i++, n += 2)
        memcpy(json + n, ",0", 2);
    memcpy(json + n, "]}", 3);
    bool ok = load(json);
    free(json);
    return ok;
}

/* [LIM-1] the number of values is bounded before any is allocated. */
Test(vmdesc, values) {
    size_t others = 4; /* one brace, two brackets, one comma */
    cr_assert(load_values((1 << 20) - others));
    cr_assert_not(load_values((1 << 20) - others + 1));
}

Test(vmdesc, past_the_end) {
    cr_assert_str_eq(vms_vmdesc_section(vmdesc, 0).name, "");
    cr_assert_eq(vms_vmdesc_page_size(vmdesc), 0);
}
