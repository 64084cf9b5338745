/* SPDX-License-Identifier: MIT */
#include "host/multifd_plain.h"
#include "host/ram_unpack.h"
#include <stdlib.h>

enum {
    PACKET_BYTES = 512 * 1024, /* pages of one packet (MFD-4) */
};

struct vms_multifd_plain {
    struct vms_inflate *inflate; /* NULL before the first packet */
    struct vms_record record;
    struct vms_room left; /* of pages */
    size_t want;
    uint8_t pages[PACKET_BYTES];
};

struct vms_multifd_plain *vms_multifd_plain_new(void) {
    return calloc(1, sizeof(struct vms_multifd_plain));
}

void vms_multifd_plain_free(struct vms_multifd_plain *plain) {
    if (plain)
        vms_inflate_free(plain->inflate);
    free(plain);
}

static uint32_t method_of(const struct vms_record *record) {
    return record->u.packet.flags & VMS_MULTIFD_COMPRESSION;
}

bool vms_multifd_plain_takes(const struct vms_record *record) {
    return record->type == VMS_R_MULTIFD_PACKET && record->u.packet.normal_pages > 0 &&
           (method_of(record) == VMS_MULTIFD_ZLIB || method_of(record) == VMS_MULTIFD_ZSTD);
}

enum vms_code vms_multifd_plain_begin(struct vms_multifd_plain *p, const struct vms_record *record,
                                      uint32_t page_size, struct vms_error *err) {
    enum vms_inflate_kind kind =
        method_of(record) == VMS_MULTIFD_ZLIB ? VMS_UNPACK_ZLIB : VMS_UNPACK_ZSTD;
    uint64_t bytes = (uint64_t)record->u.packet.normal_pages * page_size;
    if (bytes > PACKET_BYTES)
        return vms_error_set(err, VMS_E_MULTIFD_COUNTS, "%u pages", record->u.packet.normal_pages);
    if (!p->inflate)
        p->inflate = vms_inflate_new(kind);
    if (!p->inflate)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a decompressor");
    if (vms_inflate_kind(p->inflate) != kind)
        return vms_error_set(err, VMS_E_MULTIFD_COMPRESSION, "zlib and zstd on one channel");
    p->record = *record;
    p->want = (size_t)bytes;
    p->left = (struct vms_room){p->pages, p->want};
    return VMS_OK;
}

/* [MFD-11] When the pages are full, what is left may only be the compressor's own bytes. */
static enum vms_code drain(struct vms_multifd_plain *p, struct vms_slice *piece,
                           struct vms_error *err) {
    uint8_t excess;
    struct vms_room room = {&excess, 1};
    size_t had = piece->len;
    if (!vms_inflate(p->inflate, piece, &room) || room.len == 0)
        return vms_error_set(err, VMS_E_MULTIFD_DATA, "more than the announced pages");
    if (piece->len == had)
        return vms_error_set(err, VMS_E_MULTIFD_DATA, "data after the end of the stream");
    return VMS_OK;
}

enum vms_code vms_multifd_plain_bulk(struct vms_multifd_plain *p, struct vms_slice piece,
                                     struct vms_error *err) {
    while (piece.len > 0) {
        size_t had = piece.len, room = p->left.len;
        if (room == 0) {
            if (drain(p, &piece, err) != VMS_OK)
                return err->code;
            continue;
        }
        if (!vms_inflate(p->inflate, &piece, &p->left))
            return vms_error_set(err, VMS_E_MULTIFD_DATA, NULL);
        if (piece.len == had && p->left.len == room)
            return vms_error_set(err, VMS_E_MULTIFD_DATA, "data after the end of the stream");
    }
    return VMS_OK;
}

/* The residue of a head that is not canonical names the old flags and size: it goes. */
enum vms_code vms_multifd_plain_end(struct vms_multifd_plain *p, struct vms_record *record,
                                    struct vms_slice *pages, struct vms_error *err) {
    struct vms_slice nothing = {NULL, 0};
    if (p->left.len > 0 && !vms_inflate(p->inflate, &nothing, &p->left))
        return vms_error_set(err, VMS_E_MULTIFD_DATA, NULL);
    if (p->left.len > 0)
        return vms_error_set(err, VMS_E_MULTIFD_DATA, "%zu bytes of pages are missing",
                             p->left.len);
    *record = p->record;
    record->bulk_len = p->want;
    record->u.packet.flags &= ~(uint32_t)VMS_MULTIFD_COMPRESSION;
    record->u.packet.next_packet_size = (uint32_t)p->want;
    record->u.packet.raw = nothing;
    *pages = vms_slice(p->pages, p->want);
    return VMS_OK;
}
