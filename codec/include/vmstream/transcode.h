/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TRANSCODE_H
#define VMSTREAM_TRANSCODE_H

#include <vmstream/native.h>
#include <vmstream/pack.h>
#include <vmstream/qevm.h>

/**
 * Between the two wires (spec/03.4-transcode.md): the records of a QEVM channel become native
 * frames, and frames become records and octets of QEVM again, the same ones. Objects live in memory
 * that the caller gives at construction; nothing allocates after it. No I/O, no threads, no clock.
 * One object a channel and direction, one thread at a time.
 *
 *   QEVM octets -> vms_qevm_decode -> vms_to_native -> vms_native_encode -> native octets
 *   native octets -> vms_intake -> vms_from_native -> QEVM octets
 */

/* ---- to native ---- */

enum {
    VMS_BATCH_BYTES = 256 * 1024, /* bulk of a frame, by default */
    VMS_BATCH_BYTES_MIN = 64 * 1024,
};

struct vms_to_native_config {
    uint32_t batch_bytes;                /* bulk of a frame before packing; 0: VMS_BATCH_BYTES */
    struct vms_limits limits;            /* ours and the peer's, where they are smaller (TRC-5) */
    const struct vms_page_ops *page_ops; /* NULL: the fastest */
    struct vms_packer *packer; /* the caller's, for batch_bytes at least; NULL: nothing is packed */
    int level;                 /* of the packer */
};

struct vms_to_native;

/** The default batch, default limits, no packing. */
struct vms_to_native_config vms_to_native_config_default(void);

/** Bytes of memory: about batch_bytes and 200 KiB. A constant of the configuration (MOD-10). */
size_t vms_to_native_size(const struct vms_to_native_config *config);
/** NULL when mem_len is short or batch_bytes is under its minimum or over native_bulk_bytes. */
struct vms_to_native *vms_to_native_init(void *mem, size_t mem_len,
                                         const struct vms_to_native_config *config);

/** What a call answers. */
enum vms_transcode {
    VMS_TRANSCODE_TAKEN, /* what was given is taken */
    VMS_TRANSCODE_FRAME, /* *out is due: send it, then make the same call again */
    VMS_TRANSCODE_ERROR, /* vms_to_native_error(); for good */
};

/**
 * A frame for vms_native_encode(). It and its bulk hold until the next call on the transcoder, the
 * pieces of bulk that lie in the caller's memory as long as that does.
 */
struct vms_native_out {
    struct vms_native_frame frame;
    const struct vms_slice *bulk;
    size_t bulk_count;
};

/** The target's page size, from vms_qevm_page_size(); before the first page. 4096 otherwise. */
void vms_to_native_page_size(struct vms_to_native *t, uint32_t bytes);
/** Level of the packer, from the next frame on. */
void vms_to_native_level(struct vms_to_native *t, int level);

/** The next record of the channel. It and its slices are copied. */
enum vms_transcode vms_to_native_record(struct vms_to_native *t, const struct vms_record *record,
                                        struct vms_native_out *out);
/**
 * Bulk of the last record, in any pieces. Takes what it uses off the front of *piece. Not copied:
 * the memory must stay as it is until the frame was sent, or vms_to_native_settle().
 */
enum vms_transcode vms_to_native_bulk(struct vms_to_native *t, struct vms_slice *piece,
                                      struct vms_native_out *out);
/**
 * Octets of the channel that no record was made of (TRC-9): `offset` is where they are in the
 * channel. Records may not follow.
 */
enum vms_transcode vms_to_native_opaque(struct vms_to_native *t, uint64_t offset,
                                        struct vms_slice *piece, struct vms_native_out *out);
/** Copies what was given as bulk and is not sent yet: the caller's memory is free again. */
void vms_to_native_settle(struct vms_to_native *t);
/**
 * Gives what can be sent now, because the input has run dry: call it until TAKEN. A page that is
 * not complete waits. Does not settle.
 */
enum vms_transcode vms_to_native_flush(struct vms_to_native *t, struct vms_native_out *out);
/** The channel is over, or has broken off: all that is left. Call it until TAKEN. */
enum vms_transcode vms_to_native_end(struct vms_to_native *t, struct vms_native_out *out);

/** Bytes of bulk that wait in the batch. */
size_t vms_to_native_waiting(const struct vms_to_native *t);
/** Owned by the transcoder. */
const struct vms_error *vms_to_native_error(const struct vms_to_native *t);

/* ---- from native ---- */

struct vms_from_native_config {
    enum vms_qevm_kind kind;
    uint32_t channel; /* number of the channel in errors and records */
    struct vms_dialect dialect;
    struct vms_limits limits;
};

struct vms_from_native;

/** Kind MAIN, default limits, the default dialect. */
struct vms_from_native_config vms_from_native_config_default(void);

/** Bytes of memory: a constant of the limits. */
size_t vms_from_native_size(const struct vms_from_native_config *config);
struct vms_from_native *vms_from_native_init(void *mem, size_t mem_len,
                                             const struct vms_from_native_config *config);

/** True for the frames that vms_from_native_frame() takes: RECORDS, PAGES, BULK, OPAQUE. */
bool vms_from_native_takes(uint32_t type);

/**
 * Gives the next frame of the channel, after its tag was found right, and its bulk, unpacked. Both
 * are the caller's and hold until vms_from_native_next() says NEED. VMS_E_MISUSE when it has not;
 * other errors come with vms_from_native_next().
 */
enum vms_code vms_from_native_frame(struct vms_from_native *t, const struct vms_native_frame *frame,
                                    struct vms_slice bulk);

/** A step: of the octets of the channel, head, bulk and zeros come next, one of them a step. */
struct vms_from_native_event {
    struct vms_record record;      /* RECORD, BULK: the current one */
    struct vms_slice head;         /* RECORD: the record on the wire, without its bulk */
    struct vms_slice bulk;         /* BULK: the next piece */
    uint64_t zeros;                /* BULK: when bulk is empty, so many octets of 0 */
    uint64_t bulk_offset;          /* BULK: of the piece within the record's bulk */
    const struct vms_error *error; /* ERROR: owned by the transcoder */
};

/**
 * The next step: NEED (a frame), RECORD, BULK, ERROR. Slices of the event hold until the next call
 * and, those of bulk, as long as the frame's bulk does. The octets are what the QEVM encoder makes
 * of the record; whether the records follow each other rightly is for a QEVM decoder (TRC-12).
 */
enum vms_step vms_from_native_next(struct vms_from_native *t, struct vms_from_native_event *event);
/** No more frames come: END, or ERROR when a record's bulk is not complete. */
enum vms_step vms_from_native_finish(struct vms_from_native *t,
                                     struct vms_from_native_event *event);

/**
 * Gives another channel what the main one has learnt by now: the page size, and the block list,
 * which stays the main channel's. Make this call before each frame, in the order of the frames.
 */
void vms_from_native_adopt(struct vms_from_native *t, const struct vms_from_native *main_channel);
/** Octets of QEVM given so far. */
uint64_t vms_from_native_offset(const struct vms_from_native *t);

/* ---- whole frames: bulk collected, tag checked, unpacked ---- */

struct vms_intake_config {
    struct vms_native_config native;
    struct vms_zip_ops zip; /* all NULL: packed frames are refused (TRANSCODE_PACKED) */
    bool keep_packed; /* the bulk is given as on the wire: the caller unpacks; no zip wanted */
    /**
     * Where the bulk of a frame that is not authentic yet may be put (NAT-19): up to max rooms,
     * which together are as long as the bulk; 0: nowhere, it is collected. May be NULL. With one,
     * vms_intake_rooms() takes the place of vms_intake_room().
     */
    size_t (*place)(void *ctx, const struct vms_native_frame *frame, struct vms_room *rooms,
                    size_t max);
    void *place_ctx;
};

enum {
    VMS_INTAKE_ROOMS = 2048, /* at most, for one frame: native_runs */
};

struct vms_intake;

/** Bytes of memory: three times native_bulk_bytes and a decoder; once, without zip. */
size_t vms_intake_size(const struct vms_intake_config *config);
struct vms_intake *vms_intake_init(void *mem, size_t mem_len,
                                   const struct vms_intake_config *config);

struct vms_intake_event {
    struct vms_native_event native; /* FRAME: authentic; NEED, ERROR: as there */
    struct vms_slice bulk;          /* FRAME: all of it, unpacked; holds until the next call */
    bool placed;                    /* FRAME: it is where place() said, as on the wire */
};

/** As vms_native_decode(), but HEAD and BULK are kept back: NEED, FRAME, END, ERROR. */
enum vms_native_step vms_intake_next(struct vms_intake *intake, struct vms_room *input,
                                     struct vms_intake_event *event);
enum vms_native_step vms_intake_finish(struct vms_intake *intake, struct vms_intake_event *event);
/**
 * Where the next bytes of bulk may be read to from the wire, past `input`; len 0: nowhere now. The
 * caller tells how many with vms_intake_filled().
 */
struct vms_room vms_intake_room(struct vms_intake *intake);
void vms_intake_filled(struct vms_intake *intake, size_t n);
/** As vms_intake_room(), in up to max pieces and most bytes: what is opened while the cache has it.
 */
size_t vms_intake_rooms(struct vms_intake *intake, size_t most, struct vms_room *rooms, size_t max);
/** Bytes of the stream taken so far. */
uint64_t vms_intake_offset(const struct vms_intake *intake);

#endif
