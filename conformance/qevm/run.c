/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- memory ---- */

enum {
    CANARY = 0xc5,
    CANARIES = 256,
};

struct arena arena_new(size_t len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (len + CANARIES + 15 + page - 1) / page * page;
    struct arena a = {.map_len = body + page, .len = len};
    a.map = mmap(NULL, a.map_len, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a.map == MAP_FAILED || mprotect(a.map + body, page, PROT_NONE))
        abort();
    a.mem = a.map + body - len;
    a.slack = (uintptr_t)a.mem % 16;
    a.mem -= a.slack;
    memset(a.mem - CANARIES, CANARY, CANARIES);
    memset(a.mem + len, CANARY, a.slack);
    return a;
}

void arena_free(struct arena *a) {
    munmap(a->map, a->map_len);
}

bool arena_intact(const struct arena *a) {
    for (size_t i = 1; i <= CANARIES; i++)
        if (*(a->mem - i) != CANARY)
            return false;
    for (size_t i = 0; i < a->slack; i++)
        if (a->mem[a->len + i] != CANARY)
            return false;
    return true;
}

/* ---- one run ---- */

struct runner {
    struct run *run;
    struct vms_qevm_decoder *d;
    struct vms_qevm_encoder e;
    struct vms_slice rest; /* what was not handed over yet */
    struct cut cut;
    uint64_t hash, bulk, pieces;
    bool in_bulk;
    struct text now;   /* the current record's line */
    struct text again; /* the same from a BULK step */
};

static void broken(struct runner *r, const char *how) {
    if (!r->run->broken)
        r->run->broken = how;
}

static void hash_bulk(struct runner *r, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        r->hash = (r->hash ^ p[i]) * UINT64_C(0x100000001b3);
    r->bulk += n;
    text_add(&r->run->encoded, p, n);
    if (vms_qevm_encode_bulk(&r->e, n) != VMS_OK)
        broken(r, "more bulk than announced");
}

static void end_bulk(struct runner *r) {
    if (r->in_bulk)
        text_printf(&r->run->trace, "  bulk %" PRIu64 " %016" PRIx64 "\n", r->bulk, r->hash);
    r->in_bulk = false;
}

static void encode(struct runner *r, const struct vms_record *rec) {
    static uint8_t out[1 << 17];
    size_t len;
    if (vms_qevm_encode(&r->e, rec, (struct vms_room){out, sizeof out}, &len) != VMS_OK) {
        broken(r, "a decoded record that does not encode");
        fprintf(stderr, "%s: %s\n", vms_record_name(rec->type), r->e.error.message);
        return;
    }
    text_add(&r->run->encoded, out, len);
}

static void on_record(struct runner *r, const struct vms_record *rec) {
    r->run->records++;
    if (r->run->quiet)
        return;
    end_bulk(r);
    r->now.len = 0;
    trace_record(&r->now, rec);
    text_add(&r->run->trace, r->now.ptr, r->now.len);
    encode(r, rec);
    r->hash = UINT64_C(0xcbf29ce484222325);
    r->bulk = 0;
    r->pieces = 0;
    r->in_bulk = rec->bulk_len != 0;
}

/* The record of a BULK step is still whole, slices and all. */
static void on_bulk(struct runner *r, const struct vms_event *ev) {
    if (r->run->quiet)
        return;
    if (ev->bulk_offset != r->bulk)
        broken(r, "bulk out of order");
    if (!ev->bulk.len)
        broken(r, "an empty piece of bulk");
    bool looked_at = r->pieces++ % 64 == 0 || r->bulk + ev->bulk.len == ev->record.bulk_len;
    r->again.len = 0;
    if (looked_at)
        trace_record(&r->again, &ev->record);
    if (looked_at &&
        (r->again.len != r->now.len || memcmp(r->again.ptr, r->now.ptr, r->now.len) != 0))
        broken(r, "the record changed while its bulk lasted");
    hash_bulk(r, ev->bulk.ptr, ev->bulk.len);
}

/* Takes bulk past the decoder, from the piece and from what comes behind it. */
static void take_direct(struct runner *r, struct vms_slice *piece) {
    struct vms_slice *from[] = {piece, &r->rest};
    for (int i = 0; i < 2; i++) {
        uint64_t direct = vms_qevm_bulk_direct(r->d);
        size_t n = direct < from[i]->len ? (size_t)direct : from[i]->len;
        if (n && !r->run->quiet)
            hash_bulk(r, from[i]->ptr, n);
        *from[i] = vms_slice_tail(*from[i], n);
        vms_qevm_bulk_taken(r->d, n);
    }
}

/* Takes a step's result in; true when the run is over. */
static bool step_done(struct runner *r, enum vms_step step, const struct vms_event *ev) {
    r->run->steps++;
    switch (step) {
    case VMS_STEP_RECORD: on_record(r, &ev->record); return false;
    case VMS_STEP_BULK: on_bulk(r, ev); return false;
    case VMS_STEP_NEED:
        if (!ev->need)
            broken(r, "a need of 0 bytes");
        return false;
    case VMS_STEP_END:
        if (r->rest.len)
            return false; /* what follows the end has to be refused */
        break;
    case VMS_STEP_ERROR:
    default: r->run->error = *ev->error; break;
    }
    r->run->end = step;
    return true;
}

static size_t next_cut(struct runner *r) {
    size_t n = r->rest.len;
    if (r->cut.kind == CUT_FIXED)
        n = r->cut.n;
    else if (r->cut.kind == CUT_RANDOM)
        n = 1 + random_next(&r->cut.seed) % r->cut.n;
    return n < r->rest.len ? n : r->rest.len;
}

/* Hands one piece over, to its end; true when the run is over. */
static bool feed(struct runner *r) {
    struct vms_slice piece = vms_slice_head(r->rest, next_cut(r));
    uint8_t *copy = NULL;
    r->rest = vms_slice_tail(r->rest, piece.len);
    if (r->cut.fresh && piece.len) {
        copy = malloc(piece.len);
        if (!copy)
            abort();
        piece.ptr = memcpy(copy, piece.ptr, piece.len);
    }
    bool over = false, more = true;
    while (!over && more) {
        struct vms_event ev;
        size_t before = piece.len;
        enum vms_step step = vms_qevm_decode(r->d, &piece, &ev);
        over = step_done(r, step, &ev);
        more = step != VMS_STEP_NEED && step != VMS_STEP_END;
        if (piece.len > before || (!more && piece.len)) {
            broken(r, "NEED with input that was not taken");
            over = true;
        }
        if (more && !over && r->cut.direct)
            take_direct(r, &piece);
    }
    free(copy);
    return over;
}

static void finish(struct runner *r) {
    struct vms_event ev;
    enum vms_step step;
    do {
        step = vms_qevm_finish(r->d, &ev);
        if (step == VMS_STEP_NEED) {
            broken(r, "NEED at the end");
            return;
        }
    } while (!step_done(r, step, &ev));
}

static void describe_end(struct runner *r) {
    struct run *run = r->run;
    struct vms_event ev;
    struct vms_slice nothing = {NULL, 0};
    end_bulk(r);
    if (run->quiet)
        ; /* nothing is written down */
    else if (run->end == VMS_STEP_END)
        text_printf(&run->trace, "END @%" PRIu64 "\n", vms_qevm_offset(r->d));
    else
        text_printf(
            &run->trace, "ERROR %s %s %s #%" PRIu32 " @%" PRIu64 " record %" PRIu64 ": %s\n",
            vms_class_name(run->error.class_), vms_code_name(run->error.code), run->error.clause,
            run->error.channel, run->error.offset, run->error.record, run->error.message);
    /* [MOD-12] An end and an error stay. */
    if (vms_qevm_decode(r->d, &nothing, &ev) != run->end || vms_qevm_finish(r->d, &ev) != run->end)
        broken(r, "the end did not last");
    if (run->end == VMS_STEP_ERROR && memcmp(ev.error, &run->error, sizeof run->error) != 0)
        broken(r, "the error changed");
}

void run_stream(struct run *run, const struct vms_qevm_config *config,
                const struct vms_qevm_decoder *main_channel, struct vms_slice input,
                struct cut cut) {
    struct arena own = {0}, *arena = run->arena;
    struct runner r = {.run = run, .rest = input, .cut = cut};
    if (!arena) {
        own = arena_new(vms_qevm_decoder_size(config));
        arena = &own;
    }
    r.d = vms_qevm_decoder_init(arena->mem, arena->len, config);
    if (!r.d)
        abort();
    if (main_channel)
        vms_qevm_adopt(r.d, main_channel);
    vms_qevm_encoder_init(&r.e, config->channel, vms_qevm_dialect(r.d));
    bool over = false;
    while (!over && r.rest.len)
        over = feed(&r);
    if (!over)
        finish(&r);
    describe_end(&r);
    if (!arena_intact(arena))
        broken(&r, "wrote outside of its memory");
    if (own.map)
        arena_free(&own);
    text_free(&r.now);
    text_free(&r.again);
}

void run_free(struct run *run) {
    text_free(&run->trace);
    text_free(&run->encoded);
}

struct vms_qevm_decoder *decoder_after(const struct vms_qevm_config *config,
                                       struct vms_slice input) {
    struct vms_event ev;
    size_t len = vms_qevm_decoder_size(config);
    void *mem = malloc(len);
    struct vms_qevm_decoder *d = vms_qevm_decoder_init(mem, len, config);
    enum vms_step step = VMS_STEP_RECORD;
    while (d && (step == VMS_STEP_RECORD || step == VMS_STEP_BULK))
        step = vms_qevm_decode(d, &input, &ev);
    return d;
}
