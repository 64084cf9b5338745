/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_SEALED_H
#define VMSTREAM_CONFORMANCE_SEALED_H

#include "conformance/qevm/streams.h"
#include "host/native_file.h"

/*
 * Sealed native files in memory, made from QEVM streams by the writer that `vmstream convert` uses,
 * and read back by its reader. Each channel gives many small frames, and the channels take turns.
 */

/* ---- files ---- */

struct sealed_channel {
    enum vms_qevm_kind kind;
    struct vms_qevm_config config;
    struct vms_qevm_decoder *main_channel; /* adopted; may be NULL */
    struct vms_slice octets;
};

struct sealed_plan {
    enum vms_suite suite;
    const struct vms_psk *psk; /* NULL with NONE */
    const struct sealed_channel *channels;
    size_t count;
    size_t piece; /* octets of a channel in a frame, about */
    int level;    /* of zstd; 0: not packed */
};

/* A frame's place in the file. */
struct sealed_frame {
    size_t at, len;
    struct vms_native_header header;
};

struct sealed {
    enum vms_suite suite;
    struct text file;
    struct sealed_frame *frames;
    size_t count;
    uint64_t *digests; /* of each frame, as the reader must give it */
};

/* abort() on failure: a good file is always made. */
struct sealed sealed_make(const struct sealed_plan *plan);
void sealed_free(struct sealed *s);
struct vms_limits sealed_limits(void);
struct vms_psk sealed_psk(const char *keys, const char *name);

/* A header of 32 octets, and back. */
struct vms_native_header sealed_header(const uint8_t *octets);
void sealed_put_header(uint8_t *octets, const struct vms_native_header *header);

/* ---- reading ---- */

struct verdict {
    bool ended; /* END: the stream was reported complete */
    struct vms_error error;
    size_t frames;
    size_t altered; /* frames given that are not those of the original */
};

/* Reads a file with these keys. original (may be NULL): what frames given are compared with. */
struct verdict sealed_read(struct vms_slice file, const char *keys, const struct sealed *original);
/* Reads it and makes each channel's QEVM octets again; false: refused, or other octets. */
bool sealed_same(struct vms_slice file, const char *keys, const struct sealed_plan *plan,
                 struct vms_error *err);

#endif
