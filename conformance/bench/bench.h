/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BENCH_H
#define VMSTREAM_CONFORMANCE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmstream/qevm.h>

enum {
    BENCH_PAGE = 4096,
};

/* A stream in memory, and the guest memory that its pages make. */
struct load {
    const char *name;
    uint8_t *stream;
    size_t len;
    size_t body;      /* where the records to measure begin; before it are header and block list */
    uint64_t records; /* from there on */
    size_t pages;     /* data pages, in order; 0: none */
    uint8_t *want;    /* their content; also the memory that is encoded from */
    uint8_t *guest;   /* decoded into */
    uint8_t *sink;    /* encoded into; as long as the stream */
};

struct load load_data_pages(size_t pages);
struct load load_zero_pages(size_t records);
struct load load_empty_parts(size_t parts);
struct load load_commands(size_t records);
void load_free(struct load *l);

/* One pass over the load; false when what came out is not right. */
typedef bool pass(const struct load *l, size_t chunk);

pass decode_only;     /* records and bulk are looked at, nothing is copied */
pass decode_in_place; /* bulk is copied from the input's chunks to guest memory */
pass decode_direct;   /* bulk goes past the decoder, straight to guest memory */
pass decode_buffered; /* chunks are read into a buffer first, as from a socket */
pass encode_gather;   /* heads and pages are gathered into the sink, as by writev() */
pass copy_pages;      /* floor: memcpy of the pages into guest memory */
pass copy_stream;     /* floor: memcpy of the stream into the sink */
pass copy_gather;     /* floor: memcpy of heads and pages into the sink */

/* The result of the last pass is what the load wants. */
bool guest_right(const struct load *l);
bool sink_right(const struct load *l);

#endif
