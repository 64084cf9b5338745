/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_QEVM_OUT_H
#define REFERENCE_SRC_QEVM_OUT_H

#include "host/channel.h"

#include <stdatomic.h>
#include <vmstream/qevm.h>

/**
 * Records on their way out of one channel: encoded by the library into a small buffer, bulk by
 * reference, all of it written by one writev. Or gathered in memory (a package). One thread at a
 * time.
 */
enum {
    QEVM_OUT_HEADS = 64 << 10, /* bytes of encoded records between two writes */
    QEVM_OUT_PIECES = 512,
};

struct qevm_out {
    struct vms_channel *io; /* owned; NULL: gathered in `memory` */
    struct vms_qevm_encoder encoder;
    uint8_t *heads; /* QEVM_OUT_HEADS */
    size_t used;
    struct iovec pieces[QEVM_OUT_PIECES];
    int count;
    uint32_t block; /* that was named last; UINT32_MAX: none */
    uint8_t *memory;
    size_t memory_len;
    uint64_t before; /* bytes of the channels that were here before */
    _Atomic uint64_t pages, zeros;
};

enum vms_code qevm_out_init(struct qevm_out *out, uint32_t channel,
                            const struct vms_dialect *dialect, struct vms_error *err);
/** Takes a connected channel; the one before is closed. */
void qevm_out_attach(struct qevm_out *out, struct vms_channel *io);
void qevm_out_free(struct qevm_out *out);

/** A record, and its bulk, which must stay until the next qevm_out_flush() has returned. */
enum vms_code qevm_out_put(struct qevm_out *out, const struct vms_record *rec,
                           struct vms_slice bulk, struct vms_error *err);
/** The same with bulk in pieces. */
enum vms_code qevm_out_putv(struct qevm_out *out, const struct vms_record *rec,
                            const struct iovec *bulk, int count, struct vms_error *err);
enum vms_code qevm_out_flush(struct qevm_out *out, struct vms_error *err);
/** Bytes so far, of earlier channels too. From any thread that keeps io in place. */
uint64_t qevm_out_bytes(const struct qevm_out *out);

#endif
