/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_QEVM_INTERNAL_H
#define VMSTREAM_QEVM_INTERNAL_H

#include "core/reader.h"
#include "core/writer.h"
#include <vmstream/qevm.h>

/*
 * The decoder is a state machine. Each state has one parser, which reads one record from a window
 * of bytes and either fills the record and chooses the next state, or finds the window short, or
 * fails. A parser changes nothing before it has seen its whole record, so that it can be asked
 * again with a longer window (MOD-4). The driver (decoder.c) knows windows, bulk and offsets;
 * parsers know bytes.
 *
 *   decoder.c      driver: windows, staging, bulk  decoder_memory.c  the block it lives in
 *   header.c       HEADER, CONFIGURATION           ram.c           RAM page records
 *   section.c      section headers, EOF, VMDESC    ram_list.c      block list, mapped-ram regions
 *   command.c      commands, packages              vfio.c          VFIO tags
 *   tail.c         device sections: hold and cut   dirty_bitmap.c  dirty-bitmap chunks
 *   multifd.c      multifd channel                 return_path.c   return path
 */
enum vms_qevm_state {
    VMS_ST_HEADER,
    VMS_ST_CONFIGURATION,
    VMS_ST_TOP,           /* a record type byte */
    VMS_ST_RAM,           /* RAM record words up to EOS */
    VMS_ST_RAM_LIST,      /* blocks after MEM_SIZE */
    VMS_ST_MAPPED_BITMAP, /* the three regions of a mapped-ram block */
    VMS_ST_MAPPED_PADDING,
    VMS_ST_MAPPED_PAGES,
    VMS_ST_VFIO,      /* tags up to the one that ends the section */
    VMS_ST_VFIO_FULL, /* tags of a FULL section, whose length is known */
    VMS_ST_DIRTY_BITMAP,
    VMS_ST_FOOTER,
    VMS_ST_AFTER_EOF,   /* VMDESC or nothing */
    VMS_ST_PACKAGE_END, /* after the last record of a package */
    VMS_ST_DEVICE_TAIL, /* opaque to the end */
    VMS_ST_MULTIFD_HELLO,
    VMS_ST_MULTIFD_PACKET,
    VMS_ST_PREEMPT,
    VMS_ST_RETURN_PATH,
    VMS_ST_RETURN_PATH_BITMAP_END,
    VMS_ST_HOLD, /* device sections are collected, see tail.c */
    VMS_ST_END,
    VMS_ST_COUNT,
};

/* CMD-6: what the destination of a postcopy is in. */
enum vms_postcopy {
    VMS_POSTCOPY_NONE,
    VMS_POSTCOPY_ADVISE,
    VMS_POSTCOPY_DISCARD,
    VMS_POSTCOPY_LISTENING,
    VMS_POSTCOPY_RUNNING,
    VMS_POSTCOPY_RECOVERING, /* on a recovery connection, before POSTCOPY_RESUME */
    VMS_POSTCOPY_STATES,
};

/* How device sections are cut (TAIL-1, TAIL-4). */
enum vms_cut {
    VMS_CUT_LIVE,   /* not known: hold them */
    VMS_CUT_VMDESC, /* by the description */
    VMS_CUT_GUESS,  /* by footers */
};

enum {
    VMS_MULTIFD_BYTES = 512 * 1024, /* MFD-4: pages of one packet, in bytes */
    VMS_MULTIFD_HEADER = 320,
    VMS_STAGE_BYTES = 65536 + 512, /* the longest record but CONFIGURATION: a DISCARD command */
    VMS_TAIL_PENDING = 16,
};

/* Record type bytes (SEC-1). */
enum vms_type_byte {
#define VMS_QEVM_TYPE(name, value) VMS_TYPE_##name = value,
#include <vmstream/registry/qevm_records.def>
#undef VMS_QEVM_TYPE
};

#define VMS_MULTIFD_MAGIC UINT32_C(0x11223344)
#define VMS_QEVM_MAGIC    UINT32_C(0x5145564d)
#define VMS_RP_BITMAP_END UINT64_C(0x0123456789abcdef)
#define VMS_NO_BLOCK      UINT32_MAX

struct vms_qevm_section {
    uint32_t id;
    uint32_t instance;
    uint32_t version;
    enum vms_section_kind kind;
    bool started; /* had its START */
    bool full;    /* had its FULL */
    bool ended;
    uint8_t idstr_len;
    uint8_t idstr[VMS_NAME_MAX];
};

struct vms_qevm_block {
    uint64_t used_length;
    uint64_t page_size; /* 0: the target's */
    bool ignored;       /* shared, listed but not sent (RAM-19) */
    uint8_t name_len;
    uint8_t name[VMS_NAME_MAX];
};

/* A place in the held tail that looks like a VMDESC (TAIL-1). */
struct vms_tail_candidate {
    size_t eof;  /* offset of the EOF byte before it */
    size_t json; /* offset and length of the text */
    size_t len;
};

struct vms_tail {
    uint8_t *ptr;
    size_t cap;
    size_t len;
    size_t scanned;
    size_t looked;  /* length for which `fits` was found out */
    bool fits;      /* a description that ends there fits */
    size_t target;  /* package: hold exactly this many bytes; 0: until a VMDESC fits */
    size_t anchor;  /* package: where the commands after the device sections begin */
    size_t replay;  /* position of the parser in the tail */
    bool replaying; /* the parser reads the tail, not the input */
    uint64_t tries;
    unsigned pending_count;
    struct vms_tail_candidate pending[VMS_TAIL_PENDING];
};

struct vms_qevm_decoder {
    struct vms_qevm_config config;
    struct vms_dialect dialect;
    struct vms_error error;
    enum vms_qevm_state state;
    uint32_t page_size;

    uint64_t offset; /* of the first byte that no record or bulk has taken */
    uint64_t number;
    uint64_t bulk_left;
    struct vms_record blank;  /* what every record begins as: copied faster than cleared */
    struct vms_record record; /* the current one, while its bulk lasts */
    enum vms_record_type last_type;

    uint64_t bulk_given;

    size_t stage_begin; /* the staged bytes */
    size_t stage_end;
    size_t stage_size;
    size_t need; /* window length that the parser asked for */

    /* section in progress */
    uint32_t section_index;
    uint8_t section_type;  /* record type byte */
    uint64_t section_left; /* VFIO FULL: bytes to the footer */
    bool vfio_setup;       /* SETUP_STATE was the last tag */
    bool vfio_config;      /* CONFIG_STATE was */
    uint32_t section_count;
    uint32_t section_hit;

    /* package */
    bool packaged;
    uint64_t package_left;
    uint32_t package_enter; /* length of the package that the current command announced */

    /* commands */
    bool return_path;
    bool switchover_start;
    enum vms_postcopy postcopy;
    uint64_t advised_sizes; /* OR of the page sizes in ADVISE */

    /* RAM */
    bool list_seen;
    bool adopted;
    uint64_t list_left; /* bytes of used_length still to be listed */
    uint32_t block_count;
    uint32_t last_block; /* index, or VMS_NO_BLOCK with last_name */
    bool last_valid;
    uint8_t last_name_len;
    uint8_t last_name[VMS_NAME_MAX];
    uint32_t host_block; /* RAM-14: the host page in progress */
    uint64_t host_page;
    uint64_t host_left;
    struct vms_rec_ram_block mapped; /* block whose regions come now; name unused */
    uint64_t mapped_base;            /* MAP-8: where the stream begins in its file */
    bool mapped_seen;

    bool bitmap_named[2]; /* DBM-2: a node, a bitmap was named */
    bool rp_named;
    bool rp_shut;

    enum vms_cut cut;
    bool guessed;
    struct vms_tail tail;
    struct vms_qevm_section *sections;
    struct vms_qevm_block *blocks;
    uint8_t *stage;
};

typedef enum vms_code vms_parse(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec);

/* Fails at byte `at` of the current window; returns code (ERR-1). */
enum vms_code vms_qevm_fail(struct vms_qevm_decoder *d, enum vms_code code, size_t at,
                            const char *fmt, ...) __attribute__((format(printf, 4, 5)));

vms_parse vms_parse_header, vms_parse_configuration, vms_parse_top, vms_parse_footer,
    vms_parse_after_eof, vms_parse_command, vms_parse_package_end, vms_parse_device_tail,
    vms_parse_ram, vms_parse_preempt, vms_parse_ram_list, vms_parse_mapped_bitmap,
    vms_parse_mapped_padding, vms_parse_mapped_pages, vms_parse_vfio, vms_parse_vfio_full,
    vms_parse_dirty_bitmap, vms_parse_multifd_hello, vms_parse_multifd_packet,
    vms_parse_return_path, vms_parse_return_path_bitmap_end;

/* tail.c */
/* Takes input into the held tail; true when the parser can go on. */
bool vms_tail_take(struct vms_qevm_decoder *d, struct vms_slice *input);
/* The input is over: cuts the held tail by the description at its end, or by guess. */
void vms_tail_cut(struct vms_qevm_decoder *d);
/* False when the held bytes at the parser are `json`'s text and no description (END-2). */
bool vms_tail_describes(struct vms_qevm_decoder *d, struct vms_reader *r, uint32_t len);
/* The length of a FULL section whose header was just read; or the state becomes HOLD. */
enum vms_code vms_tail_length(struct vms_qevm_decoder *d, struct vms_reader *r,
                              const struct vms_rec_section *section, uint64_t *length);
/* After the device sections of a package boundaries are exact again (TAIL-5). */
void vms_tail_passed_anchor(struct vms_qevm_decoder *d);

/* section.c */
struct vms_slice vms_section_idstr(const struct vms_qevm_section *section);
void vms_section_done(struct vms_qevm_decoder *d); /* the payload is over: to the footer */
bool vms_printable(struct vms_slice text);

/* blocks.c */
struct vms_slice vms_block_name(const struct vms_qevm_block *block);
uint32_t vms_block_find(const struct vms_qevm_decoder *d, struct vms_slice name);
enum vms_code vms_block_resolve(struct vms_qevm_decoder *d, struct vms_reader *r, bool continued,
                                size_t at, struct vms_rec_ram_page *page);
enum vms_code vms_block_check_page(struct vms_qevm_decoder *d, size_t at,
                                   const struct vms_rec_ram_page *page);

/* Main and recovery channels have sections, the others have none. */
static inline bool vms_has_sections(const struct vms_qevm_config *c) {
    return c->kind == VMS_QEVM_MAIN || c->kind == VMS_QEVM_RECOVERY;
}

static inline bool vms_on(enum vms_tristate t, bool when_auto) {
    return t == VMS_AUTO ? when_auto : t == VMS_ON;
}

/* encoder side: one function a record type, in the file of its parser */
/* encoder_check.c: why the record cannot be expressed, NULL when it can (MOD-7). */
const char *vms_encode_objection(const struct vms_qevm_encoder *e, const struct vms_record *rec);
uint32_t vms_encode_page_size(const struct vms_qevm_encoder *e);

typedef void vms_emit(struct vms_writer *w, const struct vms_record *rec,
                      const struct vms_qevm_encoder *e);
vms_emit vms_emit_header, vms_emit_configuration, vms_emit_section, vms_emit_footer, vms_emit_eof,
    vms_emit_vmdescription, vms_emit_command, vms_emit_nothing, vms_emit_ram_mem_size,
    vms_emit_ram_block, vms_emit_ram_page, vms_emit_ram_word, vms_emit_vfio, vms_emit_dirty_bitmap,
    vms_emit_multifd_hello, vms_emit_multifd_packet, vms_emit_multifd_device, vms_emit_return_path;

#endif
