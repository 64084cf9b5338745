/* SPDX-License-Identifier: MIT */
#ifndef VMS_NATIVE_DECODER_H
#define VMS_NATIVE_DECODER_H

#include "native/body.h"

enum vms_decoder_state {
    AT_LABEL,
    AT_HEADER,
    AT_BODY,
    AT_BULK,
    AT_TAG,
    AT_FRAME, /* the tag is right, and the HEAD was told */
    AT_FAILED,
};

struct vms_native_decoder {
    struct vms_native_config config;
    struct vms_error error;
    enum vms_decoder_state state;
    uint64_t offset; /* of the first byte that is neither staged nor given */
    uint64_t start;  /* of the frame */
    uint64_t number; /* of the frame in the stream */
    bool ended;      /* END has come */
    bool parsed;     /* the frame's body; one that is bad waits for its tag (SEAL-28) */

    struct vms_native_frame frame;
    struct vms_opener *opener;
    uint64_t bulk_left;
    size_t tag_len;
    size_t have; /* bytes of the label, header, body or tag so far */
    uint8_t header[VMS_NATIVE_HEADER];
    uint8_t tag[VMS_NATIVE_TAG];
    uint8_t *body;
    struct vms_arena arena;
};

#endif
