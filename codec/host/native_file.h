/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_NATIVE_FILE_H
#define VMSTREAM_HOST_NATIVE_FILE_H

#include <vmstream/transcode.h>

/**
 * Native files: all channels of a migration in one stream (NAT-46, TRC-18). With OpenSSL and zstd.
 * Memory is bounded by the limits. Errors of all calls besides those of the library: IO, NO_MEMORY.
 */

/* ---- writing ---- */

struct vms_native_writer;

struct vms_native_writer_config {
    int fd; /* borrowed */
    enum vms_suite suite;
    const struct vms_psk *psk; /* of a keyed suite; copied. NULL with NONE */
    struct vms_limits limits;
    struct vms_slice machine; /* for the HELLO; all may be empty, and are copied into it at once */
    struct vms_slice dialect; /* what the QEVM stream does not tell, as DLC-2 writes it */
    bool packed;              /* some frames will be */
};

/** Writes label and HELLO, with a fresh random and session id. NULL and *err on failure. */
struct vms_native_writer *vms_native_writer_new(const struct vms_native_writer_config *config,
                                                struct vms_error *err);
/** Wipes keys. The file without END is not whole. NULL is fine. */
void vms_native_writer_free(struct vms_native_writer *writer);
/**
 * Opens a channel for a QEVM channel of that kind; *channel gets its number: 0 for MAIN, which is
 * open already (TRC-19). LIMIT when there are native_channels.
 */
enum vms_code vms_native_writer_open(struct vms_native_writer *writer, enum vms_qevm_kind kind,
                                     uint16_t *channel, struct vms_error *err);
/** Seals and writes a frame; a REKEY before it when one is due. */
enum vms_code vms_native_writer_frame(struct vms_native_writer *writer, uint16_t channel,
                                      struct vms_native_out *out, struct vms_error *err);
/** Writes END, the last frame. */
enum vms_code vms_native_writer_end(struct vms_native_writer *writer, struct vms_error *err);
/** Bytes written so far. */
uint64_t vms_native_writer_bytes(const struct vms_native_writer *writer);

/* ---- reading ---- */

struct vms_native_reader;

struct vms_native_reader_config {
    int fd;                   /* borrowed; read from its position on */
    struct vms_slice begin;   /* bytes that were read from it already; copied */
    struct vms_limits limits; /* for what is accepted */
    struct vms_slice psk;     /* text of a key file (SEAL-19); borrowed. Empty: no key */
};

enum vms_native_file_step {
    VMS_NATIVE_FILE_CHANNEL, /* event.channel, kind: opened. The main channel comes first */
    VMS_NATIVE_FILE_FRAME,   /* a DATA frame, authentic, its bulk unpacked */
    VMS_NATIVE_FILE_END,     /* all is here that was sent (SES-20) */
    VMS_NATIVE_FILE_ERROR,
};

struct vms_native_file_event {
    uint16_t channel;
    enum vms_qevm_kind kind;
    const struct vms_native_frame *frame; /* FRAME: holds until the next call, as bulk */
    struct vms_slice bulk;
};

struct vms_native_reader *vms_native_reader_new(const struct vms_native_reader_config *config,
                                                struct vms_error *err);
/** Wipes keys. NULL is fine. */
void vms_native_reader_free(struct vms_native_reader *reader);
/** Blocks until there is a step. After END and ERROR it gives the same again. */
enum vms_native_file_step vms_native_reader_next(struct vms_native_reader *reader,
                                                 struct vms_native_file_event *event,
                                                 struct vms_error *err);

/** What the HELLO said; the first channel has been told by then. */
struct vms_native_file_info {
    enum vms_suite suite;
    uint8_t session[16];
    struct vms_dialect dialect;
    char identity[VMS_PSK_NAME_MAX + 1];
    char machine[VMS_NAME_MAX + 1]; /* printable ASCII */
    char software[VMS_NAME_MAX + 1];
};
/** Owned by the reader; all zeros before the first step. */
const struct vms_native_file_info *vms_native_reader_info(const struct vms_native_reader *reader);
/** Bytes read from the file so far. */
uint64_t vms_native_reader_bytes(const struct vms_native_reader *reader);

/* ---- looking at it without a key ---- */

/** A frame's header at an offset of the file. Nothing of it is proven. */
struct vms_native_scan_ops {
    void (*hello)(void *ctx, const struct vms_native_file_info *info);
    void (*header)(void *ctx, uint64_t offset, const struct vms_native_header *header);
    void *ctx;
};
/**
 * Walks the headers from label to end of file. Checks no tag. Errors: of the label, the HELLO and
 * headers, TRUNCATED, SESSION_NO_END, IO.
 */
enum vms_code vms_native_scan(int fd, const struct vms_limits *limits,
                              const struct vms_native_scan_ops *ops, struct vms_error *err);

#endif
