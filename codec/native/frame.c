/* SPDX-License-Identifier: MIT */
#include "native/body.h"

#include "core/reader.h"
#include <vmstream/pack.h>

/* The label and the frame header: clauses NAT-1, NAT-10 to NAT-23. */

/* [NAT-1] RFC 9277: tag 55801 (labelled data that is not CBOR) over tag "VMS1" over bytes "BOR". */
const uint8_t vms_native_label[VMS_NATIVE_LABEL] = {0xd9, 0xd9, 0xf9, 0xda, 'V', 'M',
                                                    'S',  '1',  0x43, 'B',  'O', 'R'};

enum {
    TYPE_AT = 4,
    FLAGS_AT = 8,
    CHANNEL_AT = 10,
    EPOCH_AT = 12,
    SEQUENCE_AT = 16,
    BODY_AT = 24,
    BULK_AT = 28,
    KNOWN_FLAGS = VMS_NATIVE_PACK_MASK | VMS_NATIVE_HELLO_SEALED,
};

bool vms_native_sniff(struct vms_slice first_bytes) {
    return first_bytes.len >= VMS_NATIVE_LABEL &&
           memcmp(first_bytes.ptr, vms_native_label, VMS_NATIVE_LABEL) == 0;
}

const char *vms_native_type_name(uint32_t type) {
    switch (type) {
#define VMS_NATIVE_FRAME(name, value, class, text)                                                 \
    case value:                                                                                    \
        return #name;
#include <vmstream/registry/native_frames.def>
#undef VMS_NATIVE_FRAME
    default: return "UNKNOWN";
    }
}

enum vms_frame_class vms_frame_class(uint32_t type) {
    switch (type) {
#define VMS_NATIVE_FRAME(name, value, class, text)                                                 \
    case value:                                                                                    \
        return FRAME_##class;
#include <vmstream/registry/native_frames.def>
#undef VMS_NATIVE_FRAME
    default: return FRAME_UNKNOWN;
    }
}

void vms_header_read(const uint8_t raw[VMS_NATIVE_HEADER], struct vms_native_header *h) {
    h->type = vms_be32(raw + TYPE_AT);
    h->flags = vms_be16(raw + FLAGS_AT);
    h->channel = vms_be16(raw + CHANNEL_AT);
    h->epoch = vms_be32(raw + EPOCH_AT);
    h->sequence = vms_be64(raw + SEQUENCE_AT);
    h->body_len = vms_be32(raw + BODY_AT);
    h->bulk_len = vms_be32(raw + BULK_AT);
}

void vms_header_write(const struct vms_native_header *h, uint8_t raw[VMS_NATIVE_HEADER]) {
    struct vms_writer w = vms_writer((struct vms_room){raw, VMS_NATIVE_HEADER});
    vms_write_u32(&w, VMS_NATIVE_MAGIC);
    vms_write_u32(&w, h->type);
    vms_write_u16(&w, h->flags);
    vms_write_u16(&w, h->channel);
    vms_write_u32(&w, h->epoch);
    vms_write_u64(&w, h->sequence);
    vms_write_u32(&w, h->body_len);
    vms_write_u32(&w, h->bulk_len);
}

/* [NAT-21] A type that is unknown here; those that are known have bit 31 clear. */
static enum vms_code check_type(const struct vms_native_header *h, const char **why) {
    *why = "bit 31 is clear";
    bool unknown = vms_frame_class(h->type) == FRAME_UNKNOWN;
    return unknown && !(h->type & VMS_NATIVE_IGNORABLE) ? VMS_E_NATIVE_TYPE : VMS_OK;
}

static bool never_packed(uint32_t type) {
    enum vms_frame_class class_ = vms_frame_class(type);
    return class_ == FRAME_HELLO || class_ == FRAME_CONTROL || type == VMS_NATIVE_PAGE_REQUEST ||
           type == VMS_NATIVE_DISCARD;
}

/* [NAT-13] Packed is bulk of DATA; sealed hellos are of epoch 0. An unknown frame may be packed. */
static enum vms_code check_flags(const struct vms_native_header *h, const char **why) {
    enum vms_frame_class class_ = vms_frame_class(h->type);
    unsigned method = h->flags & VMS_NATIVE_PACK_MASK;
    *why = "unknown flags";
    if (h->flags & ~(unsigned)KNOWN_FLAGS)
        return VMS_E_NATIVE_FLAGS;
    *why = "a pack method";
    if (method && never_packed(h->type))
        return VMS_E_NATIVE_FLAGS;
    if (method > VMS_PACK_DELTA && class_ != FRAME_UNKNOWN)
        return VMS_E_NATIVE_FLAGS;
    *why = "HELLO_SEALED behind epoch 0";
    return h->flags & VMS_NATIVE_HELLO_SEALED && h->epoch ? VMS_E_NATIVE_FLAGS : VMS_OK;
}

/* [NAT-14], [NAT-15] Where a frame may be. */
static enum vms_code check_place(const struct vms_native_header *h, size_t *at, const char **why) {
    enum vms_frame_class class_ = vms_frame_class(h->type);
    bool opens = class_ == FRAME_HELLO || (h->type == VMS_NATIVE_ABORT && !h->epoch);
    *at = EPOCH_AT;
    *why = opens ? "an epoch other than 0" : "epoch 0";
    if (opens != (h->epoch == 0))
        return VMS_E_NATIVE_ORDER;
    *at = SEQUENCE_AT;
    *why = "a sequence in epoch 0";
    if (opens && h->sequence)
        return VMS_E_NATIVE_ORDER;
    *at = CHANNEL_AT;
    *why = vms_native_type_name(h->type);
    bool main_only = (class_ == FRAME_CONTROL && h->type != VMS_NATIVE_REKEY) ||
                     (class_ == FRAME_HELLO && h->type != VMS_NATIVE_ATTACH);
    bool wrong = h->channel ? main_only && !(opens && h->type == VMS_NATIVE_ABORT)
                            : h->type == VMS_NATIVE_ATTACH;
    return wrong ? VMS_E_NATIVE_CHANNEL : VMS_OK;
}

/* [NAT-12], [NAT-17], [LIM-1] */
static enum vms_code check_lengths(const struct vms_native_header *h,
                                   const struct vms_limits *limits, size_t *at, const char **why) {
    enum vms_frame_class class_ = vms_frame_class(h->type);
    *at = CHANNEL_AT;
    *why = "native_channels";
    if (h->channel >= limits->native_channels)
        return VMS_E_LIMIT;
    *at = BODY_AT;
    *why = "native_body_bytes";
    if (h->body_len > limits->native_body_bytes)
        return VMS_E_LIMIT;
    *at = BULK_AT;
    *why = "native_bulk_bytes";
    if (h->bulk_len > limits->native_bulk_bytes)
        return VMS_E_LIMIT;
    *why = "a frame that has none";
    bool none = class_ == FRAME_HELLO || class_ == FRAME_CONTROL;
    return none && h->bulk_len ? VMS_E_NATIVE_BULK : VMS_OK;
}

enum vms_code vms_header_check(const struct vms_native_header *h, const uint8_t *raw,
                               const struct vms_limits *limits, size_t *at, const char **why) {
    *at = 0;
    *why = NULL;
    if (vms_be32(raw) != VMS_NATIVE_MAGIC)
        return VMS_E_NATIVE_MAGIC;
    *at = TYPE_AT;
    enum vms_code code = check_type(h, why);
    if (code != VMS_OK)
        return code;
    *at = FLAGS_AT;
    code = check_flags(h, why);
    if (code == VMS_OK)
        code = check_lengths(h, limits, at, why);
    return code == VMS_OK ? check_place(h, at, why) : code;
}
