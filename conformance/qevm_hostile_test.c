/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/counting.h"
#include "conformance/qevm/streams.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What a peer may send: streams cut short, changed at random, and with the largest lengths
 * everywhere. Each run must end, in bounded steps, without allocating [MOD-10], outside of nothing
 * but the decoder's own memory, and with an error of the peer's or of a limit [ERR-4] [MOD-8].
 */

enum {
    RUNS = 100000,
    CHANGED_MAX = 8,
};

struct subject {
    struct vb *v;
    struct vms_qevm_config config;
    struct vms_qevm_decoder *main_channel;
    struct arena arena;
};

static struct subject subject_new(enum stream_id id) {
    struct subject s = {.v = stream_make(id)};
    s.config = stream_config(s.v);
    s.main_channel = stream_main(s.v);
    s.arena = arena_new(vms_qevm_decoder_size(&s.config));
    return s;
}

static void subject_free(struct subject *s) {
    arena_free(&s->arena);
    free(s->main_channel);
    vb_free(s->v);
}

/* Why the run was not in order, or NULL. */
static const char *misdeed(const struct run *run, struct vms_slice input) {
    if (run->broken)
        return run->broken;
    if (run->steps > 8 * (uint64_t)input.len + 64)
        return "too many steps";
    if (run->end == VMS_STEP_END)
        return NULL;
    if (run->end != VMS_STEP_ERROR)
        return "no end";
    if (run->error.class_ != VMS_CLASS_PEER && run->error.class_ != VMS_CLASS_LIMIT)
        return "an error that is not the peer's";
    if (run->error.offset > input.len || run->error.record > run->records)
        return "an error outside of the input";
    return NULL;
}

static void attack(const struct subject *s, struct vms_slice input, struct cut cut,
                   struct run *run) {
    struct arena arena = s->arena;
    *run = (struct run){.quiet = true, .arena = &arena};
    uint64_t before = counting_calls();
    run_stream(run, &s->config, s->main_channel, input, cut);
    if (counting_calls() != before && !run->broken)
        run->broken = "memory was allocated";
    text_free(&run->trace);
}

/* [MOD-2], [MOD-4] for what a changed stream still says. */
static const char *compare_cuts(const struct subject *s, struct vms_slice input, uint64_t seed) {
    struct run a = {0}, b = {0};
    const char *why = NULL;
    run_stream(&a, &s->config, s->main_channel, input, (struct cut){.kind = CUT_WHOLE});
    run_stream(&b, &s->config, s->main_channel, input,
               (struct cut){.kind = CUT_RANDOM, .n = 30, .seed = seed, .direct = seed & 1});
    if (a.broken || b.broken)
        why = a.broken ? a.broken : b.broken;
    else if (a.trace.len != b.trace.len || memcmp(a.trace.ptr, b.trace.ptr, a.trace.len) != 0)
        why = "the trace depends on the cuts";
    else if (a.end == VMS_STEP_END && !vms_slice_eq(vms_slice(a.encoded.ptr, a.encoded.len), input))
        why = "encoding gives other octets";
    if (why)
        fprintf(stderr, "whole:\n%s\ncut:\n%s\n", a.trace.ptr, b.trace.ptr);
    run_free(&a);
    run_free(&b);
    return why;
}

/* ---- truncation ---- */

/* The positions at which a shorter stream is complete as well. */
static bool complete_at(const struct vb *v, enum stream_id id, size_t at) {
    for (size_t i = 0; i < v->record_count; i++) {
        const struct vb_record *r = &v->records[i];
        bool begins = r->offset == at;
        switch (id) {
        case STREAM_RETURN_PATH: /* [RP-11] at any message */
            if (begins && strcmp(r->name, "RP_RECV_BITMAP_END") != 0)
                return true;
            break;
        case STREAM_MULTIFD: /* [MFD-24] between packets */
            if (begins && i)
                return true;
            break;
        case STREAM_PREEMPT: /* [PRE-3] anywhere between records */
            if (begins)
                return true;
            break;
        case STREAM_OPAQUE: /* [TAIL-6] anywhere behind the first section's head, of 19 octets */
            if (strcmp(r->name, "DEVICE_TAIL") == 0 && at >= r->offset + 19)
                return true;
            break;
        default: /* [END-5] before the description */
            if (begins && strcmp(r->name, "VMDESCRIPTION") == 0)
                return true;
        }
    }
    return at == v->len;
}

static void truncate_everywhere(enum stream_id id) {
    struct subject s = subject_new(id);
    struct run run;
    cr_assert_leq(s.v->len, 4096, "%s", s.v->comment);
    for (size_t at = 0; at <= s.v->len; at++) {
        struct vms_slice input = vms_slice_head(stream_octets(s.v), at);
        attack(&s, input, (struct cut){.kind = at % 2 ? CUT_WHOLE : CUT_FIXED, .n = 3}, &run);
        const char *why = misdeed(&run, input);
        bool complete = complete_at(s.v, id, at);
        cr_assert_null(why, "%s cut after %zu: %s", s.v->comment, at, why);
        cr_assert_eq(run.end, complete ? VMS_STEP_END : VMS_STEP_ERROR, "%s cut after %zu: %s",
                     s.v->comment, at, run.error.message);
        if (!complete) {
            cr_assert_eq(run.error.code, VMS_E_TRUNCATED, "%s cut after %zu: %s", s.v->comment, at,
                         run.error.message);
            cr_assert_eq(run.error.offset, at, "%s cut after %zu", s.v->comment, at);
        }
    }
    subject_free(&s);
}

/* [MOD-3] */
Test(qevm_hostile, truncation) {
    for (int id = 0; id < STREAM_RICH; id++)
        truncate_everywhere((enum stream_id)id);
}

/* ---- random changes ---- */

/* Changes, inserts or deletes 1 to 8 octets in place; buf has room for 8 more. Returns the length.
 */
static size_t change(uint8_t *buf, size_t len, uint64_t *rng) {
    static const uint8_t favourites[] = {0x00, 0xff, 0x7f, 0x80, 0x10, 0x20, 0x04, 0x08, 0x7e};
    size_t n = 1 + random_next(rng) % CHANGED_MAX, at = random_next(rng) % len;
    uint64_t how = random_next(rng) % 4;
    if (n > len - at)
        n = len - at;
    if (how == 2) {
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;
    }
    if (how == 3) {
        memmove(buf + at + n, buf + at, len - at);
        len += n;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t r = random_next(rng);
        buf[at + i] = r & 1 ? (uint8_t)(r >> 8) : favourites[(r >> 8) % sizeof favourites];
    }
    return len;
}

/* One run from its seed alone. */
static void random_run(struct subject *subjects, uint64_t seed, unsigned *ended) {
    static uint8_t buf[4096 + CHANGED_MAX];
    uint64_t rng = seed;
    struct subject *s = &subjects[random_next(&rng) % STREAM_RICH];
    size_t len = s->v->len;
    struct run run;
    memcpy(buf, s->v->ptr, len);
    len = change(buf, len, &rng);
    struct vms_slice input = vms_slice(buf, len);
    struct cut cut = {.kind = (enum cut_kind)(random_next(&rng) % 3), .n = 40, .seed = rng};
    attack(s, input, cut, &run);
    const char *why = misdeed(&run, input);
    if (!why && (run.end == VMS_STEP_END || seed % 8 == 0))
        why = compare_cuts(s, input, rng);
    *ended += run.end == VMS_STEP_END;
    cr_assert_null(why, "VMS_SEED=0x%" PRIx64 " (%s): %s; %s", seed, s->v->comment, why,
                   run.error.message);
}

/* How many: VMS_RUNS, or the one whose seed is given. */
static unsigned runs_wanted(void) {
    const char *runs = getenv("VMS_RUNS");
    if (runs)
        return (unsigned)strtoul(runs, NULL, 10);
    return getenv("VMS_SEED") ? 1 : RUNS;
}

/* [ERR-4] [MOD-8]; VMS_SEED=… runs one seed again, with VMS_RUNS=N that many from there on */
Test(qevm_hostile, random_changes) {
    struct subject subjects[STREAM_RICH];
    unsigned ended = 0;
    uint64_t first = random_seed(1);
    unsigned runs = runs_wanted();
    for (int id = 0; id < STREAM_RICH; id++)
        subjects[id] = subject_new((enum stream_id)id);
    for (unsigned i = 0; i < runs; i++)
        random_run(subjects, first + i, &ended);
    cr_assert(runs < RUNS || (ended > runs / 100 && ended < runs / 2), "%u ended well", ended);
    for (int id = 0; id < STREAM_RICH; id++)
        subject_free(&subjects[id]);
}

/* ---- the largest lengths ---- */

/* Octets 0xff of every width at every position: so into every length there is. [LIM-1] */
static void fill_everywhere(enum stream_id id) {
    static const size_t widths[] = {1, 2, 4, 8};
    static uint8_t buf[4096];
    struct subject s = subject_new(id);
    struct run run;
    for (size_t w = 0; w < 4; w++)
        for (size_t at = 0; at + widths[w] <= s.v->len; at++) {
            memcpy(buf, s.v->ptr, s.v->len);
            memset(buf + at, 0xff, widths[w]);
            struct vms_slice input = vms_slice(buf, s.v->len);
            attack(&s, input, (struct cut){.kind = CUT_WHOLE}, &run);
            const char *why = misdeed(&run, input);
            cr_assert_null(why, "%s, %zu octets at %zu: %s; %s", s.v->comment, widths[w], at, why,
                           run.error.message);
        }
    subject_free(&s);
}

Test(qevm_hostile, largest_lengths) {
    for (int id = 0; id < STREAM_RICH; id++)
        fill_everywhere((enum stream_id)id);
}

/* The counter counts: otherwise the tests above prove nothing. */
Test(qevm_hostile, counter_works) {
    uint64_t before = counting_calls();
    void *volatile p = malloc(10);
    cr_assert_gt(counting_calls(), before);
    free(p);
}
