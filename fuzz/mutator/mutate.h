/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_MUTATE_H
#define VMSTREAM_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>
#include <vmstream/qevm.h>

/**
 * A mutator that knows records. It cuts an input into the records that the library's decoder finds
 * in it, and changes their order, their number and their fields, so that most of what it makes goes
 * deeper than the first check; octets are changed at random as well.
 *
 *   split.c   records of an input, on both wires; actions of fixed length
 *   fields.c  where the lengths, counts, flags and ids of a record stand
 *   mutate.c  the operations
 *   engine.c  as a custom mutator of AFL++ and of libFuzzer
 *
 * Everything follows from the seed: the same call gives the same octets.
 */

/** How an input is cut. */
enum fuzz_wire {
    FUZZ_WIRE_OCTETS, /* not at all */
    FUZZ_WIRE_GUESS,  /* QEVM or native, by the first octets; else not at all */
    FUZZ_WIRE_QEVM,
    FUZZ_WIRE_NATIVE,
    FUZZ_WIRE_ACTIONS, /* of `action` octets each */
};

struct fuzz_shape {
    enum fuzz_wire wire;
    enum vms_qevm_kind kind; /* QEVM */
    bool mapped;             /* QEVM: mapped-ram */
    unsigned options;        /* octets in front of the first record */
    unsigned dialect_at;     /* QEVM: of them, the one with the dialect; `options`: none */
    unsigned action;
};

/** The shape of a harness's input, by the harness's name; OCTETS for what is not known. */
struct fuzz_shape fuzz_shape_of(const char *harness);

enum fuzz_op {
    FUZZ_OP_DROP,       /* a record */
    FUZZ_OP_DOUBLE,     /* a record, beside itself or elsewhere */
    FUZZ_OP_SWAP,       /* two records */
    FUZZ_OP_REORDER,    /* a run of records goes elsewhere */
    FUZZ_OP_SPLICE,     /* records of the donor come in */
    FUZZ_OP_TRANSPLANT, /* a record of the other wire, as bulk or as it is */
    FUZZ_OP_LENGTH,     /* of a field: +1, -1, x2, half, 0, maximal */
    FUZZ_OP_COUNT,      /* of pages, blocks, channels: likewise */
    FUZZ_OP_FLAGS,      /* one bit */
    FUZZ_OP_ID,         /* of a channel or section: another's, or a neighbour */
    FUZZ_OP_VALUE,      /* any other field */
    FUZZ_OP_BULK,       /* contents of a record: zeros, one octet, random */
    FUZZ_OP_OPTIONS,    /* what stands in front */
    FUZZ_OP_CUT,        /* the end */
    FUZZ_OP_HAVOC,      /* octets, wherever */
    FUZZ_OPS,
};
const char *fuzz_op_name(enum fuzz_op op);

/**
 * Changes size octets of buf by one to four operations; what comes out has at most max octets, and
 * at least 1 when max has. donor: another input of the same shape, other: an input of another wire
 * without options; both may be empty. Returns the new size. applied, NULL or FUZZ_OPS counters:
 * which operations were carried out.
 */
size_t fuzz_mutate(const struct fuzz_shape *shape, uint8_t *buf, size_t size, size_t max,
                   uint64_t seed, struct vms_slice donor, struct vms_slice other,
                   unsigned *applied);

/** The same for a stream as it is on the wire, without options or donors. */
size_t mutate(uint8_t *buf, size_t size, size_t max, uint64_t seed);

/* ---- parts ---- */

enum {
    FUZZ_SPANS = 512, /* of an input, at most; the last one holds the rest */
};

/** A record in an input: octets [at, at + len), of which the last are bulk. */
struct fuzz_span {
    uint32_t at, len;
    uint32_t head; /* octets before the bulk */
    uint32_t type; /* enum vms_record_type, a native frame's type; 0: not known */
    bool native;
};

/** Cuts buf; spans are adjacent and end with it. At least one when size > options. */
size_t fuzz_split(const struct fuzz_shape *shape, struct vms_slice buf,
                  struct fuzz_span spans[FUZZ_SPANS]);

struct fuzz_field {
    uint32_t at; /* in the span */
    uint8_t width;
    enum fuzz_op kind; /* LENGTH, COUNT, FLAGS, ID or VALUE */
};
enum {
    FUZZ_FIELDS = 24,
};
/** The fields of a span of that kind. */
size_t fuzz_fields(const struct fuzz_span *span, enum fuzz_op kind,
                   struct fuzz_field fields[FUZZ_FIELDS]);

#endif
