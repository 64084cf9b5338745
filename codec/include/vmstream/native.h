/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_NATIVE_H
#define VMSTREAM_NATIVE_H

#include <vmstream/error.h>
#include <vmstream/limits.h>
#include <vmstream/record.h>
#include <vmstream/seal.h>

/**
 * The native wire (spec/03-native.md): frames and their bodies, an incremental decoder and an
 * encoder. No I/O, no allocation. Sessions and hand-over are in vmstream/session.h and
 * vmstream/handover.h, keys and tags in vmstream/seal.h, compression in vmstream/pack.h.
 */

enum {
    VMS_NATIVE_LABEL = 12,  /* bytes */
    VMS_NATIVE_HEADER = 32, /* bytes */
    VMS_NATIVE_TAG = 16,    /* bytes, the longest */
    VMS_NATIVE_VERSION = 1,
    VMS_NATIVE_VERSION_MIN = 1, /* NAT-41: this version and the one before it */
};

/** The 12 octets that every stream begins with (NAT-1). Static. */
extern const uint8_t vms_native_label[VMS_NATIVE_LABEL];

/** True when the bytes begin with the label. Needs 12 bytes; fewer that fit so far give false. */
bool vms_native_sniff(struct vms_slice first_bytes);

/** registry/native_frames.def (NAT-20). */
enum vms_native_type {
#define VMS_NATIVE_FRAME(name, value, class, text) VMS_NATIVE_##name = value,
#include <vmstream/registry/native_frames.def>
#undef VMS_NATIVE_FRAME
};

#define VMS_NATIVE_IGNORABLE    UINT32_C(0x80000000) /* may be passed over when unknown (NAT-21) */
#define VMS_NATIVE_PRIVATE_MASK UINT32_C(0x70000000) /* all three bits: private use (NAT-22) */

/** The frame's name as in native_frames.def, "UNKNOWN" otherwise. Static text. */
const char *vms_native_type_name(uint32_t type);

/** Flags of a frame (NAT-13). */
enum {
    VMS_NATIVE_PACK_MASK = 0x000f, /* enum vms_pack_method of the bulk */
    VMS_NATIVE_HELLO_SEALED = 0x0010,
};

/** registry/native_features.def (NAT-42): bit masks. */
#define VMS_NATIVE_FEATURE(name, bit, text)                                                        \
    static const uint64_t VMS_FEATURE_##name __attribute__((unused)) = UINT64_C(1) << (bit);
#include <vmstream/registry/native_features.def>
#undef VMS_NATIVE_FEATURE

/** What comes before a body: 32 octets, big-endian (NAT-10). */
struct vms_native_header {
    uint32_t type;
    uint16_t flags;
    uint16_t channel; /* 0 main; 1 to 199 multifd and others; 249 return path; 250 preempt; 251.. */
    uint32_t epoch;   /* 0: HELLO class */
    uint64_t sequence; /* of the frame in its channel and direction, over all epochs (NAT-16) */
    uint32_t body_len; /* bytes */
    uint32_t bulk_len; /* bytes, on the wire */
};

/* ---- bodies: spec/native.cddl; a field that is 0 or empty and optional there is left out ---- */

enum vms_native_role {
    VMS_ROLE_SOURCE,
    VMS_ROLE_DESTINATION,
};
enum vms_native_form {
    VMS_FORM_LIVE,
    VMS_FORM_FILE,    /* one-way: no answer will come (NAT-46) */
    VMS_FORM_INQUIRY, /* settles the hand-over of the session named, after a restart (HND-14) */
};
enum vms_native_secret {
    VMS_SECRET_NONE,
    VMS_SECRET_PSK,
    VMS_SECRET_EXPORTER,
};

struct vms_native_device {
    uint32_t id;
    uint32_t kind; /* 0 other, 1 VFIO, 2 vDPA, 3 vhost-user; from 0x8000 private use */
    struct vms_slice name;
};

/** Who speaks, in every frame of epoch 0. */
struct vms_native_who {
    uint8_t role; /* enum vms_native_role */
    uint8_t session[16];
    uint8_t random[32];
    uint8_t secret;            /* enum vms_native_secret */
    struct vms_slice identity; /* of the pre-shared key */
};

struct vms_native_hello {
    struct vms_native_who who;
    uint32_t version;
    uint32_t version_min;
    uint8_t form;         /* enum vms_native_form */
    uint32_t suite_count; /* 1 to 16 */
    const uint32_t *suites;
    uint64_t features;
    uint64_t features_needed;
    uint32_t body_bytes; /* what this end accepts, as the next three */
    uint32_t bulk_bytes;
    uint32_t channels;
    uint64_t replay_bytes; /* what this end keeps */
    uint32_t keepalive_ms;
    struct vms_slice machine;
    uint32_t device_count;
    const struct vms_native_device *devices;
    struct vms_slice software;
    struct vms_slice dialect;
};

struct vms_native_attach {
    struct vms_native_who who;
    uint32_t kind;  /* enum vms_qevm_kind + 1; 0: a channel of native frames */
    uint32_t epoch; /* of the channel's next frame, at least 1 */
};

/** A place in a channel of one direction: the sequence of the first frame that is not meant. */
struct vms_native_position {
    uint16_t channel;
    uint64_t next;
};

struct vms_native_resume { /* RESUME, RESUMED */
    struct vms_native_who who;
    uint32_t epoch; /* of all channels from here on, at least 2 */
    uint32_t position_count;
    const struct vms_native_position *positions; /* the next frame that this end wants */
};

struct vms_native_ack {
    uint32_t position_count;
    const struct vms_native_position *positions; /* ascending by channel */
};

struct vms_native_sent {
    uint16_t channel;
    uint64_t next;  /* sequence of the next frame: so many were sent */
    uint32_t epoch; /* that the last of them was in; 0: none was sent */
};

struct vms_native_end {
    uint32_t sent_count;
    const struct vms_native_sent *sent; /* ascending by channel; the main channel without END */
    uint8_t transcript[32];
};

/** In epoch 0 it answers a HELLO, ATTACH or RESUME that is refused, and has a random (SES-24). */
struct vms_native_abort {
    bool has_who;
    struct vms_native_who who;
    struct vms_slice code;   /* a name of errors.def; others are taken as they are */
    struct vms_slice clause; /* may be empty, as all that follow */
    bool has_device;
    uint32_t device;
    struct vms_slice message;
};

struct vms_native_ready {
    uint64_t generation;
    uint8_t verdict; /* 0 not made, 1 equal, 2 different */
    uint64_t pages_different;
};

struct vms_native_switchover { /* REQUEST, GRANT */
    uint32_t device;
    uint64_t generation;
};

/** A RAM block: its place in the session's block list, or VMS_NATIVE_NO_INDEX and its name. */
struct vms_native_block {
    uint32_t index;
    struct vms_slice name;
};
#define VMS_NATIVE_NO_INDEX UINT32_MAX

struct vms_native_run {
    uint64_t first; /* page */
    uint32_t count; /* pages, at least 1 */
    bool zero;      /* PAGES only: no bulk */
};

/** PAGES, PAGE_REQUEST, DISCARD. The bulk of PAGES is the pages of the runs that are not zero. */
struct vms_native_pages {
    struct vms_native_block block;
    uint8_t page_bits; /* 10 to 21 */
    uint32_t run_count;
    const struct vms_native_run *runs;
    uint32_t named_count;  /* PAGES, residue: records that named their block, by */
    const uint32_t *named; /* their number in the frame, ascending; the others had CONTINUE */
};

struct vms_native_records {
    uint32_t count;
    const struct vms_record *records; /* bulk one after the other; the last may go on in BULK */
};

struct vms_native_bulk {
    uint64_t zeros; /* octets of 0 that come before the frame's bulk */
    bool last;      /* ends a record whose bulk has no announced length */
};

struct vms_native_device_state {
    uint32_t device;
    uint32_t kind;   /* 0 setup, 1 data, 2 config, 3 initial data is complete */
    uint64_t offset; /* of the bulk in the device's data of this kind */
    bool last;
};

struct vms_native_opaque {
    uint64_t offset; /* of the bulk in the channel */
    bool last;
};

struct vms_native_range { /* DIGEST, BITMAP */
    struct vms_native_block block;
    uint8_t page_bits;
    uint64_t first;
    uint32_t count; /* pages */
    uint32_t hash;  /* DIGEST: algorithm */
};

/** A frame. Slices and arrays of a decoded one hold until the step after FRAME. */
struct vms_native_frame {
    struct vms_native_header header;
    bool unknown;          /* ignorable, and not known here: only the header has meaning */
    uint32_t unpacked;     /* bytes of the bulk when unpacked; bulk_len when it is not packed */
    struct vms_slice pack; /* what the pack method needs (NAT-52); may be empty */
    union {
        struct vms_native_hello hello;
        struct vms_native_attach attach;
        struct vms_native_resume resume; /* RESUME, RESUMED */
        uint32_t epoch;                  /* REKEY */
        struct vms_native_ack ack;
        struct vms_native_end end;
        struct vms_native_abort abort;
        uint64_t value;      /* PING, PONG */
        uint64_t generation; /* START, COMMIT, RUNNING, NOT_STARTED */
        struct vms_native_ready ready;
        struct vms_native_switchover switchover; /* REQUEST, GRANT */
        struct vms_native_records records;
        struct vms_native_pages pages; /* PAGES, PAGE_REQUEST, DISCARD */
        struct vms_native_bulk bulk;
        struct vms_native_device_state device;
        struct vms_native_opaque opaque;
        struct vms_native_range range; /* DIGEST, BITMAP */
    } u;
};

/* ---- keys, by vtable: the objects of vmstream/seal.h ---- */

/** What a decoder asks of whoever has the keys. All members are set. */
struct vms_native_keys {
    /** Whether there is a secret: an unsealed hello is then refused before it is read (SEAL-17). */
    bool have_secret;
    /** The opener of a channel that is open; NULL: it is not (NATIVE_ORDER). */
    struct vms_opener *(*opener)(void *ctx, uint16_t channel);
    /**
     * A frame of epoch 0 was read, its tag not checked yet: finds the secret by identity, opens the
     * channel, calls vms_opener_hello() or vms_opener_hello_plain(), and gives the opener. Whatever
     * the frame says is a claim until FRAME. An error of its own, in *err, ends the decoder.
     */
    enum vms_code (*hello)(void *ctx, const struct vms_native_frame *frame,
                           struct vms_opener **opener, struct vms_error *err);
    void *ctx;
};

/**
 * Keys of suite none for one direction: an opener a channel, made when the channel's hello comes,
 * and moved to its first epoch behind it. For files without seal, tools and tests. The openers need
 * no freeing.
 */
struct vms_native_plain_keys {
    struct vms_native_plain_channel {
        struct vms_opener opener;
        uint32_t epoch; /* to come */
        bool open;
    } * channels; /* the caller's, zeroed: channels below count are allowed */
    uint32_t count;
    enum vms_direction direction;
    struct vms_limits limits;
};
struct vms_native_keys vms_native_plain_keys(struct vms_native_plain_keys *state);

/* ---- decoder ---- */

struct vms_native_config {
    struct vms_limits limits;
    struct vms_native_keys keys;
    bool any_channel; /* a file, or MUX: frames of all channels; else only channel's */
    uint16_t channel;
    bool end_optional; /* the direction back has no END (SES-21) */
};

enum vms_native_step {
    VMS_NATIVE_STEP_NEED,  /* event.need more bytes are needed before the next step */
    VMS_NATIVE_STEP_HEAD,  /* event.frame: header and body. Provisional: not authentic yet! */
    VMS_NATIVE_STEP_BULK,  /* event.bulk: the next piece of the frame's bulk, opened; provisional */
    VMS_NATIVE_STEP_FRAME, /* event.frame: all of it is authentic. Now act on it */
    VMS_NATIVE_STEP_END,   /* after END on the main channel, and no more input */
    VMS_NATIVE_STEP_ERROR, /* event.error; the decoder stays in this state */
};

struct vms_native_event {
    const struct vms_native_frame *frame; /* HEAD, BULK, FRAME */
    struct vms_slice bulk;                /* BULK: in the caller's input */
    uint64_t bulk_offset;                 /* BULK: of this piece within the frame's bulk */
    const uint8_t *header;                /* FRAME: 32 bytes as on the wire, for the transcript */
    struct vms_slice body;                /* FRAME: likewise, as opened */
    struct vms_slice tag;                 /* FRAME: likewise */
    size_t need;                          /* NEED: at least 1 */
    const struct vms_error *error;        /* ERROR: owned by the decoder */
};

struct vms_native_decoder;

struct vms_native_config vms_native_config_default(void);

/** Bytes of memory for a decoder: a constant of the limits, and the peak (MOD-10). */
size_t vms_native_decoder_size(const struct vms_native_config *config);
/** Makes a decoder in mem, which the caller owns. NULL when mem_len is short. */
struct vms_native_decoder *vms_native_decoder_init(void *mem, size_t mem_len,
                                                   const struct vms_native_config *config);

/**
 * The next step. Takes what it uses off the front of *input, which may be cut anywhere and must be
 * memory that may be written: suites that encrypt open the bulk in place. NEED: all of *input was
 * taken. Never allocates, never aborts, whatever the bytes.
 */
enum vms_native_step vms_native_decode(struct vms_native_decoder *decoder, struct vms_room *input,
                                       struct vms_native_event *event);

/** No more input comes: call it when vms_native_decode() answers NEED. END or ERROR. */
enum vms_native_step vms_native_finish(struct vms_native_decoder *decoder,
                                       struct vms_native_event *event);

/** Bytes of the frame's bulk that the caller may read from the wire straight into its memory. */
uint64_t vms_native_bulk_direct(const struct vms_native_decoder *decoder);
/** Tells that they were read to bytes, and opens them there. n <= vms_native_bulk_direct(). */
void vms_native_bulk_taken(struct vms_native_decoder *decoder, uint8_t *bytes, size_t n);
/** Tells that they were read to in, and opens them to out, which does not overlap it or is it. */
void vms_native_bulk_moved(struct vms_native_decoder *decoder, const uint8_t *in, uint8_t *out,
                           size_t n);
/** Whether they are ciphertext: opened from one place to another they cost no copy. */
bool vms_native_bulk_enciphered(const struct vms_native_decoder *decoder);

/** Bytes of the stream decoded so far. */
uint64_t vms_native_offset(const struct vms_native_decoder *decoder);

/* ---- encoder: one for each channel and direction; a plain value ---- */

struct vms_native_encoder {
    struct vms_limits limits;  /* the peer's body, bulk and list limits where they are smaller */
    struct vms_sealer *sealer; /* the caller's: prepared for a hello, or with a key (seal.h) */
    uint16_t channel;
    bool copy_bulk; /* seal a copy of the bulk: it may change under our hands (SEAL-22) */
    struct vms_error error;
};

void vms_native_encoder_init(struct vms_native_encoder *encoder, struct vms_sealer *sealer,
                             uint16_t channel, const struct vms_limits *limits);

/** A frame to be sent: head, bulk, tail in this order. */
struct vms_native_gather {
    struct vms_slice head; /* header and body; and the bulk, when it was enciphered or copied */
    const struct vms_slice *bulk; /* what the caller gave, or NULL */
    size_t bulk_count;
    struct vms_slice tail; /* the tag */
};

/**
 * Writes a frame and seals it. frame->header: of it type and pack method are read, the rest is
 * filled in. The bulk is the concatenation of bulk[0..bulk_count), packed already when the flags
 * say so; it is not copied unless the suite enciphers or copy_bulk is set, and must then not change
 * until it has been sent. out takes header, body, perhaps the bulk, and tag; *len is what it takes.
 * The label is not written here. VMS_E_SPACE: out is too small, *len is the exact number.
 * VMS_E_LIMIT, VMS_E_MISUSE, VMS_E_SEAL_REKEY_DUE: encoder->error says why. Nothing has changed
 * then.
 */
enum vms_code vms_native_encode(struct vms_native_encoder *encoder, struct vms_native_frame *frame,
                                const struct vms_slice *bulk, size_t bulk_count,
                                struct vms_room out, struct vms_native_gather *gather, size_t *len);

/** Encodes the body alone, deterministic; the same answers. For sizes pass an empty room. */
enum vms_code vms_native_encode_body(const struct vms_native_frame *frame, struct vms_room out,
                                     size_t *len);

/** Bytes that a record takes in a RECORDS body. SIZE_MAX when it cannot be expressed. */
size_t vms_native_record_size(const struct vms_record *record);

/** Bytes of header, body and tag that any frame within these limits takes. */
size_t vms_native_encode_max(const struct vms_limits *limits);

/* ---- pages as records ---- */

/** Walks the pages of a PAGES frame as RAM_PAGE and RAM_ZERO records. Zero it to begin. */
struct vms_native_walk {
    uint32_t run, page, named, number;
};
/**
 * The next one; false: no more. record->u.page.block is empty when the frame gives an index: the
 * caller knows the list. The bulk of each RAM_PAGE is one page, in the frame's order.
 */
bool vms_native_pages_next(const struct vms_native_pages *pages, struct vms_native_walk *walk,
                           struct vms_record *record);

/**
 * Collects RAM_PAGE and RAM_ZERO records into the runs of a PAGES frame: begin, add until it says
 * no, send, begin again.
 */
struct vms_native_collect {
    struct vms_native_pages pages; /* what to send: points into this struct and the two arrays */
    struct vms_native_run *runs;   /* the caller's, run_cap of them */
    uint32_t run_cap;
    uint32_t *named; /* the caller's, named_cap of them */
    uint32_t named_cap;
    uint32_t number;   /* pages so far */
    uint64_t bulk_len; /* bytes of pages with data so far */
    uint64_t bulk_max;
    uint8_t name[VMS_NAME_MAX];
};
void vms_native_collect_init(struct vms_native_collect *collect, struct vms_native_run *runs,
                             uint32_t run_cap, uint32_t *named, uint32_t named_cap,
                             uint64_t bulk_max);
/** Whether a PAGES frame can say all that the record says; if not, it goes into RECORDS. */
bool vms_native_collectable(const struct vms_record *record, uint8_t page_bits);
/** Takes one more such record. False: it does not fit; send what there is, reset, give it again. */
bool vms_native_collect_add(struct vms_native_collect *collect, const struct vms_record *record,
                            uint8_t page_bits);
void vms_native_collect_reset(struct vms_native_collect *collect);

#endif
