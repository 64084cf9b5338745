/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_QEVM_H
#define VMSTREAM_QEVM_H

#include <vmstream/dialect.h>
#include <vmstream/error.h>
#include <vmstream/limits.h>
#include <vmstream/record.h>

/** QEMU's wire: channels, an incremental decoder and an encoder. No I/O, no allocation. */

enum vms_qevm_kind {
    VMS_QEVM_MAIN,        /* header, configuration, sections (chapter QEVM, HDR to END) */
    VMS_QEVM_RECOVERY,    /* main channel after a postcopy recovery: no header (REC-1) */
    VMS_QEVM_MULTIFD,     /* handshake, packets (MFD) */
    VMS_QEVM_PREEMPT,     /* bare RAM page records (PRE) */
    VMS_QEVM_RETURN_PATH, /* destination to source (RP) */
};

/** "main", "recovery", "multifd", "preempt" or "return-path". Static text. */
const char *vms_qevm_kind_name(enum vms_qevm_kind kind);

/**
 * Tells the kind from a channel's first bytes: MAIN or MULTIFD by magic. Needs 4 bytes. Preempt,
 * recovery and return path have no magic: anything else gives fallback.
 */
enum vms_qevm_kind vms_qevm_sniff(struct vms_slice first_bytes, enum vms_qevm_kind fallback);

enum vms_tail_mode {
    VMS_TAIL_HOLD,   /* hold device sections until the VMDESC cuts them, guess without one */
    VMS_TAIL_OPAQUE, /* pass everything from the first device section on as one DEVICE_TAIL */
};

/**
 * Reads VM descriptions for the decoder, which has no JSON parser (TAIL-1). vms_vmdesc_ops() in
 * vmstream/vmdesc.h is the one that ships, made with jansson.
 */
struct vms_vmdesc_ops {
    /** Takes the JSON text. Returns false when it is not a VM description. May allocate. */
    bool (*load)(void *ctx, struct vms_slice json);
    /**
     * The length of the next section in the description's order that is (idstr, instance), in
     * bytes. Each section is given once. False when the description has no such section left.
     */
    bool (*next_length)(void *ctx, struct vms_slice idstr, uint32_t instance, uint64_t *length);
    /** Starts again before the first section. */
    void (*rewind)(void *ctx);
    void *ctx;
};

struct vms_qevm_config {
    enum vms_qevm_kind kind;
    uint32_t channel; /* number of the channel in errors and records */
    struct vms_dialect dialect;
    struct vms_limits limits;
    enum vms_tail_mode tail_mode;
    struct vms_vmdesc_ops vmdesc; /* all NULL: device sections are cut by guess */
    bool vmdesc_preloaded;        /* vmdesc was loaded from the file's end: cut by it at once */
};

/** Kind MAIN, default limits, the default dialect. */
struct vms_qevm_config vms_qevm_config_default(void);

enum vms_step {
    VMS_STEP_NEED,   /* event.need more bytes are needed before the next record */
    VMS_STEP_RECORD, /* event.record; its bulk follows as BULK steps when bulk_len is not 0 */
    VMS_STEP_BULK,   /* event.bulk: the next piece of the current record's bulk */
    VMS_STEP_END,    /* the stream is over, in good order */
    VMS_STEP_ERROR,  /* event.error; the decoder stays in this state */
};

struct vms_event {
    struct vms_record record;      /* the current record, also during BULK */
    struct vms_slice bulk;         /* BULK: in the caller's input, or in the decoder (held tail) */
    uint64_t bulk_offset;          /* BULK: of this piece within the record's bulk */
    size_t need;                   /* NEED: bytes, at least 1 */
    const struct vms_error *error; /* ERROR: owned by the decoder */
};

struct vms_qevm_decoder;

/**
 * Bytes of memory for a decoder of this configuration: a constant of the limits, and the peak
 * (MOD-10). Alignment: that of malloc.
 */
size_t vms_qevm_decoder_size(const struct vms_qevm_config *config);

/** Makes a decoder in mem, which the caller owns and frees after it. NULL when mem_len is short. */
struct vms_qevm_decoder *vms_qevm_decoder_init(void *mem, size_t mem_len,
                                               const struct vms_qevm_config *config);

/**
 * The next step. Takes what it uses off the front of *input; input may be cut anywhere and the
 * sequence of records and the concatenation of their bulk do not depend on it (MOD-4). Records and
 * slices in *event hold until the next call. NEED: call again with more input (all of *input was
 * taken). Never allocates, never aborts, whatever the bytes.
 */
enum vms_step vms_qevm_decode(struct vms_qevm_decoder *decoder, struct vms_slice *input,
                              struct vms_event *event);

/**
 * True when device sections are held and end in a description that fits them: the stream may be
 * over. Nothing on the wire says that it is (QEMU keeps the connection open for the answer), so a
 * caller that finds no more bytes coming for a while calls vms_qevm_finish() (TAIL-1, TAIL-11).
 */
bool vms_qevm_tail_fits(struct vms_qevm_decoder *decoder);

/**
 * Tells that no more input comes; call it instead of vms_qevm_decode() when that answers NEED, and
 * until END or ERROR. A held tail is then cut by the description at its end, or by guess (TAIL-4).
 */
enum vms_step vms_qevm_finish(struct vms_qevm_decoder *decoder, struct vms_event *event);

/**
 * How many bytes of the current record's bulk the caller may take from the wire by itself instead
 * of passing them through the decoder: straight into guest memory, or by seeking in a file. 0 when
 * there are none, or when they are in the decoder already.
 */
uint64_t vms_qevm_bulk_direct(const struct vms_qevm_decoder *decoder);
/** Tells that n of these bytes were taken. n must not exceed vms_qevm_bulk_direct(). */
void vms_qevm_bulk_taken(struct vms_qevm_decoder *decoder, uint64_t n);

/** Bytes of the channel decoded so far, held ones included. */
uint64_t vms_qevm_offset(const struct vms_qevm_decoder *decoder);
/** The dialect as far as the stream has shown it. Owned by the decoder. */
const struct vms_dialect *vms_qevm_dialect(const struct vms_qevm_decoder *decoder);
/** The target page size in bytes. */
uint32_t vms_qevm_page_size(const struct vms_qevm_decoder *decoder);

/**
 * Gives a MULTIFD, PREEMPT or RECOVERY decoder what the main channel's decoder has learnt: dialect,
 * block list and section ids. Without it blocks are taken as they come and section ids of a
 * recovery are taken for RAM (REC-2).
 */
void vms_qevm_adopt(struct vms_qevm_decoder *decoder, const struct vms_qevm_decoder *main_channel);

/** A range of a POSTCOPY_RAM_DISCARD (CMD-7), in bytes within the block. */
struct vms_discard {
    uint64_t start;
    uint64_t length;
};
/**
 * Walks the ranges of a DISCARD's payload: *pos starts at 0. *block is the block's name. False when
 * there are no more. The payload was checked by the decoder.
 */
bool vms_qevm_discard_next(struct vms_slice payload, size_t *pos, struct vms_slice *block,
                           struct vms_discard *range);

/** Encoder state is a plain value: no memory beyond it. */
struct vms_qevm_encoder {
    struct vms_dialect dialect;
    uint32_t channel;
    uint64_t offset;    /* bytes encoded so far, bulk included */
    uint64_t number;    /* records encoded so far */
    uint64_t bulk_left; /* bytes of bulk that the caller still owes; VMS_BULK_UNKNOWN: any number */
    struct vms_error error;
};

void vms_qevm_encoder_init(struct vms_qevm_encoder *encoder, uint32_t channel,
                           const struct vms_dialect *dialect);

/**
 * Writes the bytes of a record, without its bulk, to out and their number to *len. The caller sends
 * the bulk itself, in any pieces, and tells vms_qevm_encode_bulk(); so page data is never copied.
 * VMS_E_SPACE: out is too small, *len is the exact number needed, nothing was changed.
 * VMS_E_MISUSE: the record cannot be expressed, or bulk is still owed; encoder->error says why.
 */
enum vms_code vms_qevm_encode(struct vms_qevm_encoder *encoder, const struct vms_record *record,
                              struct vms_room out, size_t *len);
enum vms_code vms_qevm_encode_bulk(struct vms_qevm_encoder *encoder, uint64_t n);

/** An upper bound of *len for any record that a decoder with these limits can produce. */
size_t vms_qevm_encode_max(const struct vms_limits *limits);

/**
 * XBZRLE (XBZ-2): applies the difference to page, which holds the page's last version and gets the
 * new one. False when the data is malformed: page may then be partly changed.
 */
bool vms_xbzrle_apply(struct vms_slice diff, struct vms_room page);
/**
 * Encodes the difference from old_page to new_page. Returns its length, 0 when the pages are equal,
 * SIZE_MAX when it does not fit into out (then send the page as it is).
 */
size_t vms_xbzrle_encode(struct vms_slice old_page, struct vms_slice new_page, struct vms_room out);

#endif
