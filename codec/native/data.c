/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Bodies of class DATA, and how they fit their bulk (NAT-18, NAT-50 to NAT-59). */

enum {
    PAGE_BITS_MIN = 10,
    PAGE_BITS_MAX = 21,
    DEVICE_KIND_MAX = 3,
};

/* ---- UNPACKED: there when the flags name a pack method (NAT-51); PACK (NAT-52) ---- */

static bool is_packed(const struct vms_native_frame *frame) {
    return frame->header.flags & VMS_NATIVE_PACK_MASK;
}

static void read_unpacked(struct vms_body_in *in, struct vms_native_frame *frame) {
    size_t at = in->c.pos;
    uint64_t n = vms_cbor_uint(&in->c, 1, UINT32_MAX);
    if (n > in->limits->native_bulk_bytes)
        vms_cbor_fail(&in->c, VMS_E_LIMIT, at, "native_bulk_bytes");
    frame->unpacked = (uint32_t)n;
}
static void write_unpacked(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_cbor_put_uint(w, frame->unpacked);
}
static const char *object_unpacked(const struct vms_native_frame *frame,
                                   const struct vms_limits *limits) {
    if (!frame->unpacked)
        return "packed bulk of no bytes";
    return frame->unpacked > limits->native_bulk_bytes ? "native_bulk_bytes" : NULL;
}

static void read_pack(struct vms_body_in *in, struct vms_native_frame *frame) {
    size_t at = in->c.pos;
    frame->pack = vms_cbor_bytes(&in->c, UINT16_MAX);
    if (!in->c.code && !frame->pack.len)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty string");
}
static void write_pack(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_cbor_put_bytes(w, frame->pack);
}
static const char *object_pack(const struct vms_native_frame *frame,
                               const struct vms_limits *limits) {
    (void)limits;
    return frame->pack.len > UINT16_MAX ? "a string that is too long" : NULL;
}
static bool has_pack(const struct vms_native_frame *frame) {
    return frame->pack.len != 0;
}

const struct vms_codec vms_codec_unpacked = {read_unpacked, write_unpacked, object_unpacked,
                                             is_packed};
const struct vms_codec vms_codec_pack = {read_pack, write_pack, object_pack, has_pack};

/* ---- tables ---- */

static const struct vms_field RECORDS[] = {
    VMS_F_CODEC(RECORDS, vms_codec_records),
    VMS_F_UNPACKED,
};

static const struct vms_field PAGES[] = {
    VMS_F_CODEC(BLOCK, vms_codec_block_pages),
    VMS_F_UINT(PAGE_BITS, u.pages.page_bits, PAGE_BITS_MIN, PAGE_BITS_MAX),
    VMS_F_CODEC(RUNS, vms_codec_runs),
    VMS_F_CODEC_OPT(NAMED, vms_codec_named),
    VMS_F_UNPACKED,
    VMS_F_PACK,
};

static const struct vms_field PAGE_LIST[] = {
    VMS_F_CODEC(BLOCK, vms_codec_block_pages),
    VMS_F_UINT(PAGE_BITS, u.pages.page_bits, PAGE_BITS_MIN, PAGE_BITS_MAX),
    VMS_F_CODEC(RUNS, vms_codec_requested),
};

static const struct vms_field BULK[] = {
    VMS_F_UINT_OPT(ZEROS, u.bulk.zeros, UINT64_MAX),
    VMS_F_FLAG(LAST, u.bulk.last),
    VMS_F_UNPACKED,
};

static const struct vms_field DEVICE[] = {
    VMS_F_UINT_OPT(KIND, u.device.kind, DEVICE_KIND_MAX),
    VMS_F_UINT(DEVICE, u.device.device, 0, UINT32_MAX),
    VMS_F_FLAG(LAST, u.device.last),
    VMS_F_UINT_OPT(OFFSET, u.device.offset, UINT64_MAX),
    VMS_F_UNPACKED,
};

static const struct vms_field OPAQUE[] = {
    VMS_F_FLAG(LAST, u.opaque.last),
    VMS_F_UINT_OPT(OFFSET, u.opaque.offset, UINT64_MAX),
    VMS_F_UNPACKED,
};

static const struct vms_field RANGE[] = {
    VMS_F_CODEC(BLOCK, vms_codec_block_range),
    VMS_F_UINT(PAGE_BITS, u.range.page_bits, PAGE_BITS_MIN, PAGE_BITS_MAX),
    VMS_F_UINT(FIRST, u.range.first, 0, UINT64_MAX),
    VMS_F_UINT(COUNT, u.range.count, 1, UINT32_MAX),
    VMS_F_UINT_OPT(HASH, u.range.hash, UINT32_MAX),
    VMS_F_UNPACKED,
};

const struct vms_body vms_body_records = VMS_BODY(RECORDS);
const struct vms_body vms_body_pages = VMS_BODY(PAGES);
const struct vms_body vms_body_page_list = VMS_BODY(PAGE_LIST);
const struct vms_body vms_body_bulk = VMS_BODY(BULK);
const struct vms_body vms_body_device = VMS_BODY(DEVICE);
const struct vms_body vms_body_opaque = VMS_BODY(OPAQUE);
const struct vms_body vms_body_range = VMS_BODY(RANGE);

/* ---- body against bulk ---- */

static const char *check_pages(const struct vms_native_pages *p, uint64_t unpacked) {
    uint64_t pages = 0, data = 0;
    for (uint32_t i = 0; i < p->run_count; i++) {
        pages += p->runs[i].count;
        data += p->runs[i].zero ? 0 : p->runs[i].count;
    }
    if (p->named_count && p->named[p->named_count - 1] >= pages)
        return "a named page that is not in the frame";
    return data > UINT32_MAX || data << p->page_bits != unpacked ? "pages that are not in the bulk"
                                                                 : NULL;
}

/* [NAT-61] Every record but the last has its bulk in the frame, and the frame has no more. */
static const char *check_records(const struct vms_native_records *r, uint64_t unpacked) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        if (sum > unpacked || (i + 1 < r->count && r->records[i].bulk_len > unpacked - sum))
            return "bulk that a record needs and the frame lacks";
        uint64_t left = unpacked - sum;
        sum += r->records[i].bulk_len < left ? r->records[i].bulk_len : left;
    }
    return sum != unpacked ? "bulk of no record" : NULL;
}

static uint64_t range_bytes(const struct vms_native_frame *frame) {
    uint64_t count = frame->u.range.count;
    return frame->header.type == VMS_NATIVE_DIGEST ? count * 8 : (count + 7) / 8;
}

const char *vms_body_check_bulk(const struct vms_native_frame *frame,
                                const struct vms_limits *limits) {
    uint64_t unpacked = is_packed(frame) ? frame->unpacked : frame->header.bulk_len;
    if (frame->header.bulk_len > limits->native_bulk_bytes)
        return "native_bulk_bytes";
    if (is_packed(frame) && !frame->header.bulk_len)
        return "packed bulk of no bytes";
    switch (frame->header.type) {
    case VMS_NATIVE_RECORDS: return check_records(&frame->u.records, unpacked);
    case VMS_NATIVE_PAGES: return check_pages(&frame->u.pages, unpacked);
    case VMS_NATIVE_DIGEST:
    case VMS_NATIVE_BITMAP: return range_bytes(frame) != unpacked ? "not the range's bytes" : NULL;
    case VMS_NATIVE_BULK:
        return frame->u.bulk.zeros > UINT64_MAX - unpacked ? "more than 2^64 bytes" : NULL;
    case VMS_NATIVE_DEVICE:
    case VMS_NATIVE_OPAQUE: return NULL;
    default: return frame->header.bulk_len ? "bulk of a frame that has none" : NULL;
    }
}
