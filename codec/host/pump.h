/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_PUMP_H
#define VMSTREAM_HOST_PUMP_H

#include "host/source.h"
#include <vmstream/qevm.h>

/**
 * The pump reads one channel of a migration through the decoder and hands records and their bulk to
 * a sink. It holds one fixed buffer and the decoder, nothing else; bulk can go from the wire
 * straight into the sink's memory, or be passed over by seeking.
 *
 *     source --read/skip--> pump (buffer, decoder) --record/direct/bulk/done--> sink
 *
 * One thread at a time may use a pump. Errors are filled with channel, offset and record number.
 */

/** How the sink wants the bulk of the record it was just given. */
enum vms_want {
    VMS_WANT_PIECES,  /* through bulk(), as it comes */
    VMS_WANT_DIRECT,  /* into the places that direct() names */
    VMS_WANT_DISCARD, /* not at all: skipped, on a file without reading it */
};

/** The sink's answer to a record. It comes zeroed: PIECES, no pause. */
struct vms_answer {
    enum vms_want want;
    bool pause; /* run() returns VMS_PUMP_PAUSED when this record and its bulk are done; when the
                 * length is unknown, after the next record */
};

/**
 * Takes what the pump decodes. No member is optional; see vms_pump_no_direct(). Call order for each
 * record: record(); when it has bulk (bulk_len is not 0) any number of bulk() or direct(), by the
 * answer, and done() once after the last byte. Slices hold until the next call of record(). Each
 * returns VMS_OK, or a code with *err's class, code, clause and message set (vms_error_set); that
 * ends the run, and the pump then adds where it was.
 */
struct vms_pump_sink_ops {
    enum vms_code (*record)(void *ctx, const struct vms_record *record, struct vms_answer *answer,
                            struct vms_error *err);
    /**
     * PIECES: the next piece of bulk is event->bulk, at event->bulk_offset; event->record is the
     * record. A record of unknown length (VMS_BULK_UNKNOWN) comes so even if DIRECT was asked for.
     */
    enum vms_code (*bulk)(void *ctx, const struct vms_event *event, struct vms_error *err);
    /**
     * DIRECT: where bulk bytes from offset on shall go. Sets room->len (1 or more; what exceeds the
     * bulk is not used) and room->ptr, NULL to pass over these bytes as DISCARD does. It is called
     * with growing offset, each the end of the previous room, and before the bytes were read.
     */
    enum vms_code (*direct)(void *ctx, const struct vms_record *record, uint64_t offset,
                            struct vms_room *room, struct vms_error *err);
    /** The bulk of the last record is complete. */
    enum vms_code (*done)(void *ctx, struct vms_error *err);
};

/** The member direct of sinks that never answer DIRECT: INTERNAL. */
enum vms_code vms_pump_no_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                                 struct vms_room *room, struct vms_error *err);
/** The member done of sinks that the end of bulk tells nothing. */
enum vms_code vms_pump_no_done(void *ctx, struct vms_error *err);

struct vms_pump_sink {
    const struct vms_pump_sink_ops *ops;
    void *ctx; /* owned by the caller, outlives the pump */
};

enum {
    VMS_PUMP_BUFFER = 1 << 20, /* bytes, the default buffer */
    VMS_PUMP_BUFFER_MIN = 4096,
};

struct vms_pump_config {
    struct vms_qevm_config qevm;
    struct vms_source source;
    struct vms_pump_sink sink;
    size_t buffer_bytes; /* 0: VMS_PUMP_BUFFER; at least VMS_PUMP_BUFFER_MIN is taken */
    /** Called after every read or skip, may be NULL. bytes: of this channel up to now. */
    void (*progress)(void *ctx, uint64_t bytes, uint64_t total);
    void *progress_ctx;
};

struct vms_pump;

/** NULL and *err (NO_MEMORY) when there is no memory. The caller frees it with vms_pump_free(). */
struct vms_pump *vms_pump_new(const struct vms_pump_config *config, struct vms_error *err);
void vms_pump_free(struct vms_pump *pump);

/**
 * Gives the pump bytes that were read from the source already (a sniffed magic), before the first
 * run. False when they are more than the buffer.
 */
bool vms_pump_feed(struct vms_pump *pump, struct vms_slice bytes);

enum vms_pump_status {
    VMS_PUMP_END,    /* the channel is over, in good order */
    VMS_PUMP_PAUSED, /* the sink paused; run again to go on */
    VMS_PUMP_AGAIN,  /* the source has nothing now; poll it and run again */
    VMS_PUMP_ERROR,  /* *err; the pump stays in this state */
};

/** Goes on until one of these. After END and ERROR it gives the same again. */
enum vms_pump_status vms_pump_run(struct vms_pump *pump, struct vms_error *err);

/** The decoder, for vms_qevm_adopt(), vms_qevm_dialect() and vms_qevm_page_size(). Never decode().
 */
struct vms_qevm_decoder *vms_pump_decoder(struct vms_pump *pump);
/** Bytes taken from the source so far, skipped ones included. */
uint64_t vms_pump_bytes(const struct vms_pump *pump);

#endif
