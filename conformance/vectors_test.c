/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/trace.h"
#include "conformance/vectors/vectors.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/vmdesc.h>

/*
 * Runs the vectors from their JSON files, as anybody's implementation would, in many cuts, and
 * looks that every error the codec can raise has one. [MOD-1] [MOD-2] [MOD-4] [MOD-12] [ERR-1]
 * [ERR-2] [ERR-3]
 */

static const char *folder(void) {
    const char *path = getenv("VMS_VECTORS");
    return path ? path : "conformance/vectors";
}

static json_t *load_area(const char *name) {
    char path[512];
    json_error_t err;
    snprintf(path, sizeof path, "%s/%s.json", folder(), name);
    json_t *list = json_load_file(path, 0, &err);
    cr_assert_not_null(list, "%s:%d: %s", path, err.line, err.text);
    return list;
}

/* ---- reading a vector ---- */

static const char *string_of(const json_t *v, const char *key) {
    const char *text = json_string_value(json_object_get(v, key));
    return text ? text : "";
}

static uint64_t number_of(const json_t *v, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(v, key));
}

static void add_hex(struct text *t, const char *hex) {
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = {hex[0], hex[1], 0};
        uint8_t byte = (uint8_t)strtoul(pair, NULL, 16);
        text_add(t, &byte, 1);
    }
}

static void add_octets(struct text *t, const json_t *v) {
    size_t i;
    json_t *item;
    if (json_is_string(v))
        add_hex(t, json_string_value(v));
    json_array_foreach(v, i, item) {
        if (json_is_string(item)) {
            add_hex(t, json_string_value(item));
            continue;
        }
        struct text one = {0};
        add_hex(&one, string_of(item, "repeat"));
        for (uint64_t n = number_of(item, "times"); n; n--)
            text_add(t, one.ptr, one.len);
        text_free(&one);
    }
}

static struct vms_slice octets(const struct text *t) {
    return vms_slice(t->ptr, t->len);
}

static void set_limits(struct vms_limits *limits, const json_t *v) {
    const json_t *set = json_object_get(v, "limits");
#define VMS_LIMIT(name, value, unit, text)                                                         \
    if (json_object_get(set, #name))                                                               \
        limits->name = number_of(set, #name);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
}

static struct vms_qevm_config config_of(const json_t *v) {
    struct vms_error err;
    struct vms_qevm_config c = vms_qevm_config_default();
    cr_assert(kind_named(string_of(v, "kind"), &c.kind), "%s", string_of(v, "id"));
    cr_assert_eq(vms_dialect_parse(vms_str(string_of(v, "dialect")), &c.dialect, &err), VMS_OK);
    c.limits.device_tail_bytes = 1 << 16; /* small, to be made often */
    set_limits(&c.limits, v);
    if (strcmp(string_of(v, "tail"), "opaque") == 0)
        c.tail_mode = VMS_TAIL_OPAQUE;
    return c;
}

static void set_descriptions(struct vms_qevm_config *c, const json_t *v, struct vms_vmdesc *desc) {
    const char *how = string_of(v, "descriptions");
    if (strcmp(how, "none") == 0)
        return;
    c->vmdesc = vms_vmdesc_ops(desc);
    c->vmdesc_preloaded = strcmp(how, "given") == 0;
    if (c->vmdesc_preloaded)
        cr_assert(c->vmdesc.load(c->vmdesc.ctx, vms_str(string_of(v, "given"))));
}

/* ---- expectations ---- */

/* The records of a trace are checked by number, offset, name and mark. */
static const char *check_records(const json_t *expect, const char *trace) {
    const json_t *names = json_object_get(expect, "records");
    const json_t *offsets = json_object_get(expect, "offsets");
    const json_t *guessed = json_object_get(expect, "guessed");
    size_t i = 0;
    for (const char *line = trace; line && *line; line = strchr(line, '\n') + 1) {
        unsigned long long number, offset;
        char name[64] = "", mark[64] = "", mark2[64] = "";
        if (sscanf(line, "%llu @%llu #%*u %63s %63s %63s", &number, &offset, name, mark, mark2) < 4)
            continue;
        bool marked = strcmp(mark, "guessed") == 0 || strcmp(mark2, "guessed") == 0;
        bool wanted = i >= (uint64_t)json_integer_value(json_array_get(guessed, 0)) &&
                      i < (uint64_t)json_integer_value(json_array_get(guessed, 1));
        const char *want = json_string_value(json_array_get(names, i));
        if (!want || strcmp(want, name) != 0 || number != i)
            return "another record";
        if (offset != (uint64_t)json_integer_value(json_array_get(offsets, i)))
            return "a record at another offset";
        if (marked != wanted)
            return "another mark";
        i++;
    }
    return i == json_array_size(names) ? NULL : "records are missing";
}

static const char *check_end(const json_t *expect, const struct run *run) {
    const char *error = string_of(expect, "error");
    const struct vms_error *e = &run->error;
    if (!*error)
        return run->end == VMS_STEP_END ? NULL : "an error";
    if (run->end != VMS_STEP_ERROR)
        return "no error";
    if (strcmp(vms_code_name(e->code), error) != 0 ||
        strcmp(e->clause, string_of(expect, "clause")) != 0 ||
        strcmp(vms_class_name(e->class_), string_of(expect, "class")) != 0)
        return "another error";
    if (e->offset != number_of(expect, "offset"))
        return "another place";
    return e->record == number_of(expect, "record") ? NULL : "another record number";
}

static const char *check_message(const struct run *run) {
    if (run->end == VMS_STEP_ERROR && !*run->error.message)
        return "no message";
    for (const char *c = run->error.message; run->end == VMS_STEP_ERROR && *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return "a message that is not printable";
    return NULL;
}

/* ---- running ---- */

static const struct cut CUTS[] = {
    {.kind = CUT_FIXED, .n = 1, .fresh = true},
    {.kind = CUT_FIXED, .n = 7, .fresh = true},
    {.kind = CUT_FIXED, .n = 4096, .fresh = true, .direct = true},
    {.kind = CUT_WHOLE, .direct = true},
    {.kind = CUT_RANDOM, .n = 40, .seed = 1, .fresh = true},
    {.kind = CUT_RANDOM, .n = 9, .seed = 2, .fresh = true, .direct = true},
    {.kind = CUT_RANDOM, .n = 600, .seed = 3, .fresh = true},
};

static const char *check_whole(const json_t *v, const struct run *run, struct vms_slice input) {
    const json_t *expect = json_object_get(v, "expect");
    const char *why = run->broken;
    if (!why)
        why = check_end(expect, run);
    if (!why)
        why = check_records(expect, run->trace.ptr);
    if (!why)
        why = check_message(run);
    if (!why && run->end == VMS_STEP_END &&
        !vms_slice_eq(vms_slice(run->encoded.ptr, run->encoded.len), input))
        why = "encoding gives other octets";
    return why;
}

static void run_vector(const json_t *v) {
    struct text input = {0}, first = {0};
    struct vms_vmdesc *desc = vms_vmdesc_new();
    struct vms_qevm_config c = config_of(v), main_config = c;
    struct vms_qevm_decoder *main_channel = NULL;
    set_descriptions(&c, v, desc);
    add_octets(&input, json_object_get(v, "hex"));
    main_config.kind = VMS_QEVM_MAIN;
    main_config.limits = vms_limits_default();
    main_config.limits.device_tail_bytes = 4096;
    add_octets(&first, json_object_get(v, "main"));
    if (first.len)
        main_channel = decoder_after(&main_config, octets(&first));
    struct run whole = {0};
    run_stream(&whole, &c, main_channel, octets(&input), (struct cut){.kind = CUT_WHOLE});
    const char *why = check_whole(v, &whole, octets(&input));
    cr_expect(!why, "%s (%s): %s\n%s", string_of(v, "id"), string_of(v, "comment"), why,
              whole.trace.ptr);
    for (size_t i = 0; i < sizeof CUTS / sizeof *CUTS; i++) {
        struct run run = {0};
        if (c.vmdesc.rewind)
            c.vmdesc.rewind(c.vmdesc.ctx);
        run_stream(&run, &c, main_channel, octets(&input), CUTS[i]);
        cr_expect(!run.broken && strcmp(run.trace.ptr, whole.trace.ptr) == 0,
                  "%s, cut %zu: %s\n%s\nwhole:\n%s", string_of(v, "id"), i,
                  run.broken ? run.broken : "another trace", run.trace.ptr, whole.trace.ptr);
        run_free(&run);
    }
    run_free(&whole);
    free(main_channel);
    vms_vmdesc_free(desc);
    text_free(&input);
    text_free(&first);
}

static void run_area(const char *name) {
    size_t i;
    json_t *v, *list = load_area(name);
    cr_assert_gt(json_array_size(list), 0, "%s is empty", name);
    json_array_foreach(list, i, v) run_vector(v);
    json_decref(list);
}

#define AREA(name)                                                                                 \
    Test(vectors, name) {                                                                          \
        run_area(#name);                                                                           \
    }
AREA(hdr)
AREA(cfg)
AREA(sec)
AREA(end_tail)
AREA(cmd)
AREA(pkg)
AREA(rec)
AREA(ram)
AREA(xbz)
AREA(map)
AREA(mfd)
AREA(pre)
AREA(dbm)
AREA(vfio)
AREA(rp)
AREA(lim)

/* ---- the collection ---- */

/* The areas whose errors this codec raises; the native wire and endpoints have tests of their own.
 */
static bool is_of_qevm(const char *clause) {
    static const char *const areas[] = {"HDR-",  "CFG-", "SEC-", "END-", "TAIL-", "CMD-",
                                        "PKG-",  "RAM-", "XBZ-", "MAP-", "MFD-",  "PRE-",
                                        "VFIO-", "DBM-", "RP-",  "LIM-", "MOD-3"};
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++)
        if (strncmp(clause, areas[i], strlen(areas[i])) == 0)
            return true;
    return false;
}

/* Errors of these areas that no octets make the codec raise, but who unpacks or knows more. */
static bool raised_elsewhere(enum vms_code code) {
    switch (code) {
    case VMS_E_CONFIG_MACHINE:
    case VMS_E_CONFIG_UUID:
    case VMS_E_RAM_BLOCK_SIZE:
    case VMS_E_RAM_COMPRESSED_DATA:
    case VMS_E_RAM_IGNORED_BLOCK: /* MAPPED_RECORD comes first on every wire of QEMU's */
    case VMS_E_XBZRLE_DATA:
    case VMS_E_MULTIFD_CHANNEL:
    case VMS_E_MULTIFD_UUID:
    case VMS_E_MULTIFD_DATA:
    case VMS_E_MULTIFD_SYNC:
    case VMS_E_SRC_RP_UNASKED: return true;
    default: return !is_of_qevm(vms_code_clause(code));
    }
}

typedef void visit(const json_t *v, void *ctx);

static void visit_all(visit *on_vector, void *ctx) {
    for (unsigned i = 0; i < AREA_COUNT; i++) {
        struct area area = area_make(i);
        json_t *v, *list = load_area(area.name);
        size_t k;
        json_array_foreach(list, k, v) on_vector(v, ctx);
        json_decref(list);
        area_free(&area);
    }
}

static void mark_error(const json_t *v, void *ctx) {
    bool *seen = ctx;
    const char *error = string_of(json_object_get(v, "expect"), "error");
    for (int code = 0; code < VMS_CODE_COUNT; code++)
        seen[code] |= strcmp(vms_code_name((enum vms_code)code), error) == 0;
}

Test(vectors, every_error_has_one) {
    bool seen[VMS_CODE_COUNT] = {false};
    visit_all(mark_error, seen);
    for (int code = 1; code < VMS_CODE_COUNT; code++)
        cr_expect(seen[code] != raised_elsewhere((enum vms_code)code), "%s %s",
                  vms_code_name((enum vms_code)code),
                  seen[code] ? "has a vector after all" : "has no vector");
}

static void mark_records(const json_t *v, void *ctx) {
    bool *seen = ctx;
    const json_t *expect = json_object_get(v, "expect");
    size_t i;
    json_t *name;
    if (!json_object_get(expect, "end"))
        return;
    json_array_foreach(json_object_get(expect, "records"), i, name) {
        for (int type = 1; type < VMS_RECORD_TYPE_COUNT; type++)
            seen[type] |=
                strcmp(vms_record_name((enum vms_record_type)type), json_string_value(name)) == 0;
    }
}

/* [MOD-1] */
Test(vectors, every_record_has_one) {
    bool seen[VMS_RECORD_TYPE_COUNT] = {false};
    visit_all(mark_records, seen);
    for (int type = 1; type < VMS_RECORD_TYPE_COUNT; type++)
        cr_expect(seen[type], "no good vector with %s",
                  vms_record_name((enum vms_record_type)type));
}

static void mark_limits(const json_t *v, void *ctx) {
    json_t *seen = ctx;
    const json_t *expect = json_object_get(v, "expect");
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(v, "limits"), name, value) {
        int64_t bit = *string_of(expect, "error") ? 2 : 1;
        int64_t bits = json_integer_value(json_object_get(seen, name));
        json_object_set_new(seen, name, json_integer(bits | bit));
    }
}

/* Limits of the native wire, which has vectors of its own. */
static bool is_native(const char *name) {
    return strncmp(name, "native_", 7) == 0 || strncmp(name, "seal_", 5) == 0 ||
           strncmp(name, "psk_", 4) == 0;
}

/* [LIM-1] [LIM-2] */
Test(vectors, every_limit_has_two) {
    json_t *seen = json_object();
    visit_all(mark_limits, seen);
#define VMS_LIMIT(name, value, unit, text)                                                         \
    cr_expect(json_integer_value(json_object_get(seen, #name)) == (is_native(#name) ? 0 : 3),      \
              "%s", #name);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
    json_decref(seen);
}

static void check_id(const json_t *v, void *ctx) {
    json_t *seen = ctx;
    const char *id = string_of(v, "id");
    cr_expect(!json_object_get(seen, id), "%s twice", id);
    json_object_set_new(seen, id, json_true());
    cr_expect(json_array_size(json_object_get(v, "clauses")) > 0 && *string_of(v, "comment"));
}

Test(vectors, ids_are_unique) {
    json_t *seen = json_object();
    visit_all(check_id, seen);
    cr_assert_gt(json_object_size(seen), 400);
    json_decref(seen);
}
