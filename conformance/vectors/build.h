/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BUILD_H
#define VMSTREAM_CONFORMANCE_BUILD_H

/*
 * Builds streams octet by octet from the specification, without our encoder, and keeps beside them
 * what a decoder must make of them: which records at which offsets, or which error where.
 *
 * A helper with a record's name writes that record and expects it. Raw writers (vb_u8 and so on)
 * write octets and expect nothing. vb_at() marks the field that will break a rule.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VB_PAGE = 4096,
    VB_RAM_ID = 2,           /* section id of ram in the preludes */
    VB_BLOCK_BYTES = 0x8000, /* of each of the two blocks in the preludes, "pc.ram" and "vga" */
};

struct vb_record {
    const char *name;
    uint64_t offset;
};

struct vb_limit {
    const char *name;
    uint64_t value;
};

/* One stream with its expectations. All text is static or lives as long as the stream. */
struct vb {
    char id[24];
    const char *clauses[6];
    const char *comment;
    const char *kind;         /* "main", "recovery", … */
    const char *dialect;      /* text form, "" by default */
    const char *tail;         /* "hold" or "opaque" */
    const char *descriptions; /* "none", "read" (reads VMDESC), or "given" beforehand */
    const char *given;        /* JSON text when given */
    struct vb *main;          /* what the main channel said before, adopted; or NULL */
    struct vb_limit limits[4];

    uint8_t *ptr;
    size_t len, cap;
    struct vb_record *records;
    size_t record_count, record_cap;
    uint64_t guessed_from; /* numbers of the first guessed record (UINT64_MAX: none) */
    uint64_t guessed_to;   /* and of the first behind it that is exact again */
    const char *error;     /* code, or NULL: the stream ends well */
    uint64_t error_at;
    bool error_in_bulk; /* of the record expected last */
};

/* A new stream for clause `clause`; the caller frees it with vb_free(). */
struct vb *vb_new(const char *kind, const char *clause, const char *comment);
void vb_free(struct vb *v);
void vb_clause(struct vb *v, const char *clause);
void vb_limit(struct vb *v, const char *name, uint64_t value);

/* raw octets, integers big-endian */
void vb_raw(struct vb *v, const void *bytes, size_t n);
void vb_fill(struct vb *v, uint8_t byte, size_t n);
void vb_u8(struct vb *v, uint8_t x);
void vb_u16(struct vb *v, uint16_t x);
void vb_u32(struct vb *v, uint32_t x);
void vb_u64(struct vb *v, uint64_t x);
void vb_text(struct vb *v, const char *text);
void vb_str8(struct vb *v, const char *text);
void vb_page(struct vb *v, unsigned seed); /* 4096 octets of data */

/* expectations */
void vb_expect(struct vb *v, const char *record); /* a record begins here */
void vb_guessed(struct vb *v);                    /* the next record and all after it are guessed */
void vb_exact(struct vb *v);                      /* they end here */
void vb_at(struct vb *v);                         /* the field that breaks the rule begins here */
void vb_fails(struct vb *v, const char *code);    /* at the mark, in the record behind the last */
void vb_breaks(struct vb *v, const char *code);   /* at the mark, in the record expected last */
void vb_ends_in_bulk(struct vb *v);      /* the input ends here, in the last record's bulk */
void vb_at_back(struct vb *v, size_t n); /* the mark is n octets back */

/* records of the main channel */
void vb_header(struct vb *v);
void vb_config(struct vb *v, const char *machine); /* without subsections */
void vb_subsection(struct vb *v, const char *name, uint32_t version);
void vb_start(struct vb *v, uint32_t id, const char *idstr, uint32_t version);
void vb_full(struct vb *v, uint32_t id, const char *idstr); /* instance 0, version 1 */
void vb_part(struct vb *v, uint32_t id);
void vb_end(struct vb *v, uint32_t id);
void vb_footer(struct vb *v, uint32_t id);
void vb_command(struct vb *v, uint16_t command, uint16_t len); /* the payload follows, raw */
void vb_ping(struct vb *v, uint32_t value);
void vb_eof(struct vb *v);
void vb_vmdesc(struct vb *v, const char *json);
/* a device section with its payload and footer */
void vb_device(struct vb *v, uint32_t id, const char *idstr, const void *data, size_t n);

/* RAM */
void vb_mem_size(struct vb *v, uint64_t total);
void vb_block(struct vb *v, const char *name, uint64_t length);
void vb_word(struct vb *v, const char *record,
             uint64_t word); /* a record that is a word, or begins so */
void vb_eos(struct vb *v);
void vb_zero(struct vb *v, const char *block, uint64_t offset);   /* block NULL: CONTINUE */
void vb_normal(struct vb *v, const char *block, uint64_t offset); /* with its data */

/* preludes: header and configuration; the same and a ram START; the same and an open PART */
void vb_head(struct vb *v);
void vb_ram(struct vb *v);
void vb_ram_part(struct vb *v);
/* the rest of an open ram PART or END, and of a stream */
void vb_close(struct vb *v);
void vb_finish(struct vb *v); /* END of ram, EOF; no description */

/* a main channel to adopt: two blocks, ram started */
struct vb *vb_adopted(void);

/* multifd: a handshake; a packet head, its offsets and no data */
void vb_hello(struct vb *v, uint8_t channel);
struct vb_packet {
    uint32_t flags, alloc, normal, size;
    uint64_t num;
    uint32_t zero;
    const char *block;
};
void vb_packet(struct vb *v, const struct vb_packet *p, const uint64_t *offsets);

/* return path: the payload follows, raw */
void vb_message(struct vb *v, const char *record, uint16_t type, uint16_t len);

#endif
