/* SPDX-License-Identifier: MIT */
#ifndef VMS_NATIVE_CBOR_H
#define VMS_NATIVE_CBOR_H

#include "core/writer.h"
#include <vmstream/error.h>
#include <vmstream/limits.h>

/*
 * Strict deterministic CBOR (RFC 8949, 4.2.1; NAT-30): of all CBOR only unsigned integers, byte
 * strings, texts of printable ASCII, arrays and maps of definite length, every head in its shortest
 * form, map keys ascending and unique. libcbor finds the items (cbor_stream_decode allocates
 * nothing) and makes the heads; what may be is decided here.
 *
 * The reader's error is sticky: after it every read gives zeros and empty slices. Who reads looks
 * at `code` once, when the body is over.
 */
enum vms_cbor_type {
    VMS_CBOR_NOTHING, /* an error, or the end */
    VMS_CBOR_UINT,
    VMS_CBOR_BYTES,
    VMS_CBOR_TEXT,
    VMS_CBOR_ARRAY,
    VMS_CBOR_MAP,
};

struct vms_cbor {
    const uint8_t *ptr;
    size_t len;
    size_t pos;
    uint64_t items_max; /* elements of an array, pairs of a map */
    uint64_t depth_max;
    enum vms_code code; /* VMS_OK, NATIVE_CBOR, NATIVE_VALUE, NATIVE_KEY or LIMIT */
    size_t at;          /* where it went wrong */
    const char *why;    /* static text */
};

struct vms_cbor vms_cbor(struct vms_slice body, const struct vms_limits *limits);

/** Sets the error, unless there is one; at is a position in the body. */
void vms_cbor_fail(struct vms_cbor *c, enum vms_code code, size_t at, const char *why);

uint64_t vms_cbor_uint(struct vms_cbor *c, uint64_t min, uint64_t max);
/** A slice of the body. Longer than max is NATIVE_VALUE. */
struct vms_slice vms_cbor_bytes(struct vms_cbor *c, uint64_t max);
struct vms_slice vms_cbor_text(struct vms_cbor *c, uint64_t max);
/** Number of elements or pairs. More than max is LIMIT, `what` its name. */
uint32_t vms_cbor_array(struct vms_cbor *c, uint64_t max, const char *what);
uint32_t vms_cbor_map(struct vms_cbor *c);
/** A key of a body. Anything but an integer is NATIVE_CBOR, as is a body that is no map. */
uint64_t vms_cbor_key(struct vms_cbor *c);
/** The type of what comes next, without taking it. NOTHING at the end and after an error. */
enum vms_cbor_type vms_cbor_peek(const struct vms_cbor *c);
/** Passes over one item, of any type, which lies `depth` levels deep, with all that is in it. */
void vms_cbor_skip(struct vms_cbor *c, unsigned depth);
/** The body must be over. */
void vms_cbor_end(struct vms_cbor *c);

/* Writing: what does not fit is counted all the same (core/writer.h). */
void vms_cbor_put_uint(struct vms_writer *w, uint64_t value);
void vms_cbor_put_bytes(struct vms_writer *w, struct vms_slice bytes);
void vms_cbor_put_text(struct vms_writer *w, struct vms_slice text);
void vms_cbor_put_array(struct vms_writer *w, size_t count);
void vms_cbor_put_map(struct vms_writer *w, size_t count);

/** Printable ASCII only. */
bool vms_cbor_is_text(struct vms_slice text);

#endif
