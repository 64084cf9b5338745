/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/captures.h"
#include "conformance/qevm/streams.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vmstream/vmdesc.h>

/*
 * Oracles that hold for every stream: the trace does not depend on how the input is cut [MOD-4],
 * nor on who carries the bulk [MOD-11], and encoding the records gives the same octets [MOD-2].
 * Over made streams, and over what QEMU sent where ../shared/captures (or VMS_CAPTURES) has it.
 */

static const struct {
    struct cut cut;
    const char *name;
} CUTS[] = {
    {{.kind = CUT_FIXED, .n = 1, .fresh = true}, "1"},
    {{.kind = CUT_FIXED, .n = 7, .fresh = true}, "7"},
    {{.kind = CUT_FIXED, .n = 4096, .fresh = true}, "4096"},
    {{.kind = CUT_FIXED, .n = 1 << 20, .fresh = true}, "1 MiB"},
    {{.kind = CUT_RANDOM, .n = 9000, .fresh = true}, "random"},
    {{.kind = CUT_WHOLE, .direct = true}, "whole, direct"},
    {{.kind = CUT_FIXED, .n = 5, .fresh = true, .direct = true}, "5, direct"},
    {{.kind = CUT_FIXED, .n = 4096, .fresh = true, .direct = true}, "4096, direct"},
    {{.kind = CUT_RANDOM, .n = 9000, .fresh = true, .direct = true}, "random, direct"},
};

struct subject {
    const char *name;
    struct vms_qevm_config config;
    struct vms_qevm_decoder *main_channel;
    struct vms_slice octets;
};

static void run_once(struct run *run, const struct subject *s, struct cut cut) {
    cut.seed = random_seed(42);
    if (s->config.vmdesc.rewind)
        s->config.vmdesc.rewind(s->config.vmdesc.ctx);
    run_stream(run, &s->config, s->main_channel, s->octets, cut);
}

static void check_subject(const struct subject *s) {
    struct run whole = {0};
    run_once(&whole, s, (struct cut){.kind = CUT_WHOLE});
    cr_assert_null(whole.broken, "%s: %s", s->name, whole.broken);
    cr_assert_eq(whole.end, VMS_STEP_END, "%s: %s", s->name, whole.error.message);
    cr_assert(vms_slice_eq(vms_slice(whole.encoded.ptr, whole.encoded.len), s->octets),
              "%s: encoding gives other octets", s->name);
    for (size_t i = 0; i < sizeof CUTS / sizeof *CUTS; i++) {
        struct run run = {0};
        run_once(&run, s, CUTS[i].cut);
        cr_assert_null(run.broken, "%s cut %s: %s", s->name, CUTS[i].name, run.broken);
        cr_assert(run.trace.len == whole.trace.len &&
                      memcmp(run.trace.ptr, whole.trace.ptr, run.trace.len) == 0,
                  "%s cut %s: another trace", s->name, CUTS[i].name);
        cr_assert(vms_slice_eq(vms_slice(run.encoded.ptr, run.encoded.len), s->octets),
                  "%s cut %s: encoding gives other octets", s->name, CUTS[i].name);
        run_free(&run);
    }
    run_free(&whole);
}

/* ---- made streams ---- */

/* The records are those that the builder meant. */
static void check_meant(const struct vb *v, const struct subject *s) {
    struct run run = {0};
    size_t i = 0;
    run_once(&run, s, (struct cut){.kind = CUT_WHOLE});
    for (const char *line = run.trace.ptr; line && *line; line = strchr(line, '\n') + 1) {
        unsigned long long number, offset;
        char name[64];
        if (sscanf(line, "%llu @%llu #%*u %63s", &number, &offset, name) < 3)
            continue;
        cr_assert_lt(i, v->record_count, "%s: %s", v->comment, name);
        cr_assert_str_eq(name, v->records[i].name, "%s", v->comment);
        cr_assert_eq(offset, v->records[i].offset, "%s: %s", v->comment, name);
        i++;
    }
    cr_assert_eq(i, v->record_count, "%s: %zu records\n%s", v->comment, i, run.trace.ptr);
    run_free(&run);
}

static void check_made(enum stream_id id, bool described) {
    struct vb *v = stream_make(id);
    struct vms_vmdesc *desc = vms_vmdesc_new();
    struct subject s = {v->comment, stream_config(v), stream_main(v), stream_octets(v)};
    if (described)
        s.config.vmdesc = vms_vmdesc_ops(desc);
    check_meant(v, &s);
    check_subject(&s);
    free(s.main_channel);
    vms_vmdesc_free(desc);
    vb_free(v);
}

/* [MOD-2] [MOD-4] [MOD-11] */
Test(qevm_cuts, made) {
    for (int id = 0; id < STREAM_COUNT; id++)
        check_made((enum stream_id)id, false);
}

/* [TAIL-1] the same with descriptions read */
Test(qevm_cuts, described) {
    check_made(STREAM_PRECOPY, true);
    check_made(STREAM_RICH, true);
}

/* ---- captured streams ---- */

static void check_capture(size_t i) {
    struct text octets = capture_read(CAPTURES[i].file), first = {0};
    cr_assert(octets.ptr, "%s", CAPTURES[i].file);
    struct vms_vmdesc *desc = vms_vmdesc_new();
    struct subject s = {.name = CAPTURES[i].file, .config = vms_qevm_config_default()};
    if (CAPTURES[i].main) {
        first = capture_read(CAPTURES[i].main);
        cr_assert(first.ptr, "%s", CAPTURES[i].main);
        s.main_channel = decoder_after(&s.config, vms_slice(first.ptr, first.len));
    }
    s.config.kind = CAPTURES[i].kind;
    s.config.vmdesc = vms_vmdesc_ops(desc);
    s.octets = vms_slice(octets.ptr, octets.len);
    check_subject(&s);
    free(s.main_channel);
    vms_vmdesc_free(desc);
    text_free(&octets);
    text_free(&first);
}

/* Every third capture, from the first on: three tests that run beside each other. */
static void check_captures(size_t from) {
    if (!captures_folder())
        cr_skip_test("no captures: set VMS_CAPTURES to their folder");
    for (size_t i = from; i < CAPTURE_COUNT; i += 3)
        check_capture(i);
}

/* [MOD-2] [MOD-4] [TAIL-1] [DLC-1] [RP-10] [MFD-14] [MFD-15] */
Test(qevm_cuts, captured_1) {
    check_captures(0);
}
Test(qevm_cuts, captured_2) {
    check_captures(1);
}
Test(qevm_cuts, captured_3) {
    check_captures(2);
}
