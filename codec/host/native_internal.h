/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_NATIVE_INTERNAL_H
#define VMSTREAM_HOST_NATIVE_INTERNAL_H

#include "host/backend.h"
#include "host/native_file.h"
#include <vmstream/session.h>

/*
 * The reader: native_reader.c has its input and its steps, native_frames.c keys and the frames that
 * are about the file itself.
 */
struct vms_native_in_channel {
    bool open;
    struct vms_opener opener;
};

struct vms_native_reader {
    struct vms_native_reader_config config;
    struct vms_backend *backend;
    const struct vms_crypto_ops *crypto;
    void *zstd_mem;
    void *intake_mem;
    struct vms_intake *intake;
    struct vms_psk psk;
    uint8_t master[VMS_MASTER_BYTES];
    struct vms_transcript transcript;
    struct vms_session session;
    struct vms_session_channel *accounts;
    struct vms_native_in_channel *channels;
    uint32_t channel_count;
    struct vms_native_file_info info;
    uint8_t *buffer;
    size_t buffer_len;
    struct vms_room input; /* what the intake has not taken of buffer */
    uint64_t bytes;
    bool eof;
    struct vms_intake_event event;
    bool over;
    struct vms_error error;
};

/* The vtable for the decoder. */
struct vms_native_keys vms_native_reader_keys(struct vms_native_reader *r);
/* Acts on r->event's frame, which is authentic; err gets what is wrong with it. */
enum vms_code vms_native_reader_take(struct vms_native_reader *r, struct vms_error *err);
void vms_native_file_info_fill(struct vms_native_file_info *info,
                               const struct vms_native_hello *hello);

#endif
