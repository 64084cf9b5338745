/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_TRACE_H
#define VMSTREAM_CONFORMANCE_TRACE_H

#include <vmstream/qevm.h>

/*
 * Runs the QEVM decoder over a stream that is cut in some way, and records all that it says: a line
 * of text for each record, with every field, its bulk as length and hash, and how it ended. Two
 * runs agree when their texts do. Beside that the records are encoded again.
 */

/* A growing byte string; free() its ptr. */
struct text {
    char *ptr;
    size_t len, cap;
};
void text_add(struct text *t, const void *bytes, size_t n);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *t);

/* A line about the record's fields, without bulk. */
void trace_record(struct text *t, const struct vms_record *rec);

/* Small pseudo-random numbers from a seed (splitmix64). */
uint64_t random_next(uint64_t *state);
/* VMS_SEED of the environment, or `standard`. */
uint64_t random_seed(uint64_t standard);

enum cut_kind {
    CUT_WHOLE,
    CUT_FIXED,  /* pieces of n bytes */
    CUT_RANDOM, /* pieces of 1 to n bytes, from the seed */
};

struct cut {
    enum cut_kind kind;
    size_t n;
    uint64_t seed;
    bool direct; /* take bulk past the decoder where it allows that */
    bool fresh;  /* each piece is a copy that is freed after its call */
};

/* Memory for a decoder with a page without access behind it and canaries in front. */
struct arena {
    uint8_t *map;
    size_t map_len;
    uint8_t *mem; /* ends directly in front of the guard page */
    size_t len;
    size_t slack; /* between the canaries and mem, 0 to 15 bytes */
};
struct arena arena_new(size_t len);
void arena_free(struct arena *a);
bool arena_intact(const struct arena *a);

struct run {
    struct text trace;
    struct text encoded; /* what the encoder makes of the records and their bulk */
    enum vms_step end;   /* END or ERROR */
    struct vms_error error;
    uint64_t steps;
    uint64_t records;
    const char *broken;  /* the decoder broke its own interface's promises: how; or NULL */
    bool quiet;          /* in: no trace and no encoding, for speed */
    struct arena *arena; /* in: memory to use, NULL: own */
};

/* Runs the decoder. main_channel (may be NULL) is adopted. */
void run_stream(struct run *run, const struct vms_qevm_config *config,
                const struct vms_qevm_decoder *main_channel, struct vms_slice input,
                struct cut cut);
void run_free(struct run *run);

/* A decoder that has read all of input, for vms_qevm_adopt(); free() it. */
struct vms_qevm_decoder *decoder_after(const struct vms_qevm_config *config,
                                       struct vms_slice input);

/* The kind by its name; false when there is none. */
bool kind_named(const char *name, enum vms_qevm_kind *kind);

#endif
