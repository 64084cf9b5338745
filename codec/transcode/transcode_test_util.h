/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TRANSCODE_TEST_UTIL_H
#define VMSTREAM_TRANSCODE_TEST_UTIL_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <vmstream/transcode.h>

/* For tests: a writer with the frames it gave, and records by hand. */

enum {
    PAGE = 4096,
    FRAMES = 64,
};

/* A frame that was given, with a copy of its bulk. */
struct given {
    uint32_t type;
    uint16_t flags;
    uint32_t records, runs, named, unpacked;
    uint64_t zeros, offset;
    bool last;
    enum vms_record_type first;
    struct vms_native_run run;
    struct vms_native_block block;
    uint8_t *bulk;
    size_t len;
};

struct writer {
    struct vms_to_native *t;
    struct given frames[FRAMES];
    size_t count;
    enum vms_transcode answer; /* the last one */
};

static inline struct writer writer_new(const struct vms_to_native_config *config) {
    size_t size = vms_to_native_size(config);
    struct writer w = {.t = vms_to_native_init(malloc(size), size, config)};
    cr_assert_not_null(w.t);
    return w;
}

static inline void writer_free(struct writer *w) {
    for (size_t i = 0; i < w->count; i++)
        free(w->frames[i].bulk);
    free(w->t);
}

static inline void keep_pages(struct given *g, const struct vms_native_pages *p) {
    g->runs = p->run_count;
    g->named = p->named_count;
    g->run = p->runs[0];
    g->block = p->block;
}

/* Takes note of a due frame; true: make the call again. */
static inline bool keep(struct writer *w, enum vms_transcode answer,
                        const struct vms_native_out *out) {
    w->answer = answer;
    if (answer != VMS_TRANSCODE_FRAME)
        return false;
    cr_assert_lt(w->count, FRAMES);
    struct given *g = &w->frames[w->count++];
    *g = (struct given){.type = out->frame.header.type,
                        .flags = out->frame.header.flags,
                        .unpacked = out->frame.unpacked};
    for (size_t i = 0; i < out->bulk_count; i++)
        g->len += out->bulk[i].len;
    g->bulk = malloc(g->len + 1);
    for (size_t i = 0, at = 0; i < out->bulk_count; at += out->bulk[i++].len)
        memcpy(g->bulk + at, out->bulk[i].ptr, out->bulk[i].len);
    if (g->type == VMS_NATIVE_RECORDS) {
        g->records = out->frame.u.records.count;
        g->first = out->frame.u.records.records[0].type;
    } else if (g->type == VMS_NATIVE_PAGES) {
        keep_pages(g, &out->frame.u.pages);
    } else if (g->type == VMS_NATIVE_BULK) {
        g->zeros = out->frame.u.bulk.zeros;
        g->last = out->frame.u.bulk.last;
    } else {
        g->offset = out->frame.u.opaque.offset;
        g->last = out->frame.u.opaque.last;
    }
    return true;
}

static inline void put(struct writer *w, struct vms_record r) {
    struct vms_native_out out;
    while (keep(w, vms_to_native_record(w->t, &r, &out), &out))
        continue;
}

static inline void put_bulk(struct writer *w, struct vms_slice piece) {
    struct vms_native_out out;
    while (keep(w, vms_to_native_bulk(w->t, &piece, &out), &out))
        continue;
    if (w->answer == VMS_TRANSCODE_TAKEN)
        cr_assert_eq(piece.len, 0);
}

static inline void flush(struct writer *w) {
    struct vms_native_out out;
    while (keep(w, vms_to_native_flush(w->t, &out), &out))
        continue;
}

static inline void end(struct writer *w) {
    struct vms_native_out out;
    while (keep(w, vms_to_native_end(w->t, &out), &out))
        continue;
}

static inline struct vms_record page(enum vms_record_type type, const char *block,
                                     uint64_t number) {
    return (struct vms_record){.type = type,
                               .bulk_len = type == VMS_R_RAM_PAGE ? PAGE : 0,
                               .u.page = {.block = vms_str(block),
                                          .block_index = VMS_NATIVE_NO_INDEX,
                                          .continued = true,
                                          .offset = number * PAGE}};
}

static inline struct vms_record eos(void) {
    return (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS};
}

#endif
