/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"

static uint64_t be64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

/* MFD-4: both kinds of pages are in the array, and no packet is larger than QEMU's. */
static enum vms_code check_counts(const struct vms_rec_multifd_packet *packet,
                                  struct vms_error *err) {
    uint64_t pages = (uint64_t)packet->normal_pages + packet->zero_pages;
    if (pages <= packet->offsets.len / 8 && pages <= RAM_PACKET_PAGES)
        return VMS_OK;
    return vms_error_set(err, VMS_E_MULTIFD_COUNTS, "%u normal and %u zero pages",
                         packet->normal_pages, packet->zero_pages);
}

/* MFD-7 */
static enum vms_code read_offsets(struct vms_ram_channel *c,
                                  const struct vms_rec_multifd_packet *packet,
                                  struct vms_error *err) {
    size_t pages = packet->normal_pages + packet->zero_pages;
    for (size_t i = 0; i < pages; i++) {
        c->offsets[i] = be64(packet->offsets.ptr + 8 * i);
        if (ram_check_range(c, c->offsets[i], c->image->page_size, VMS_E_MULTIFD_OFFSET, err) !=
            VMS_OK)
            return err->code;
    }
    return VMS_OK;
}

static enum vms_code take_zeros(struct vms_ram_channel *c,
                                const struct vms_rec_multifd_packet *packet,
                                struct vms_error *err) {
    size_t first = packet->normal_pages;
    for (size_t i = first; i < first + packet->zero_pages; i++)
        if (ram_zero_page(c, c->offsets[i], 0, err) != VMS_OK)
            return err->code;
    ram_stats(c)->multifd_zero += packet->zero_pages;
    return VMS_OK;
}

static enum vms_code take_plain(struct vms_ram_channel *c, const struct vms_record *record,
                                struct vms_answer *answer, struct vms_error *err) {
    if (record->bulk_len != (uint64_t)c->pages * c->image->page_size)
        return vms_error_set(err, VMS_E_MULTIFD_SIZE, "%llu bytes for %zu pages",
                             (unsigned long long)record->bulk_len, c->pages);
    c->bulk = RAM_BULK_PAGES;
    if (!c->block->pub.memory)
        answer->want = VMS_WANT_DISCARD;
    else if (ram_in_memory(c))
        answer->want = VMS_WANT_DIRECT;
    return VMS_OK;
}

/* One stream a channel for the whole migration, so a packet is unpacked even when its block is not
 * stored; and the method cannot change on the way (MFD-5). */
static enum vms_code take_stream(struct vms_ram_channel *c, enum vms_inflate_kind kind,
                                 struct vms_error *err) {
    if (!c->stream_unpack)
        c->stream_unpack = vms_inflate_new(kind);
    if (!c->stream_unpack)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a decompressor");
    if (vms_inflate_kind(c->stream_unpack) != kind)
        return vms_error_set(err, VMS_E_MULTIFD_COMPRESSION, "zlib and zstd on one channel");
    c->bulk = RAM_BULK_PACKED;
    return VMS_OK;
}

/* QPL, UADK and QATzip need hardware or layouts that nobody could verify. Where the pages are only
 * counted nothing is lost. */
static enum vms_code take_unsupported(struct vms_ram_channel *c, uint32_t method,
                                      struct vms_answer *answer, struct vms_error *err) {
    const char *name = method == VMS_MULTIFD_QPL      ? "qpl"
                       : method == VMS_MULTIFD_UADK   ? "uadk"
                       : method == VMS_MULTIFD_QATZIP ? "qatzip"
                                                      : "this";
    if (c->block->pub.memory)
        return vms_error_set(err, VMS_E_MULTIFD_COMPRESSION,
                             "%s compression is not supported here: pages of %s cannot be unpacked",
                             name, c->block->pub.name);
    answer->want = VMS_WANT_DISCARD;
    return VMS_OK;
}

static enum vms_code take_normal(struct vms_ram_channel *c, const struct vms_record *record,
                                 struct vms_answer *answer, struct vms_error *err) {
    uint32_t method = record->u.packet.flags & VMS_MULTIFD_COMPRESSION;
    c->pages = record->u.packet.normal_pages;
    ram_stats(c)->multifd_normal += c->pages;
    for (size_t i = 0; i < c->pages; i++)
        ram_mark_page(c, c->offsets[i]);
    switch (method) {
    case 0: return take_plain(c, record, answer, err);
    case VMS_MULTIFD_ZLIB: return take_stream(c, VMS_UNPACK_ZLIB, err);
    case VMS_MULTIFD_ZSTD: return take_stream(c, VMS_UNPACK_ZSTD, err);
    default: return take_unsupported(c, method, answer, err);
    }
}

/* An empty packet, as SYNC usually is, may name any block. Without normal pages there is never
 * data, whatever next_packet_size says (MFD-8). */
enum vms_code ram_multifd_packet(struct vms_ram_channel *c, const struct vms_record *record,
                                 struct vms_answer *answer, struct vms_error *err) {
    const struct vms_rec_multifd_packet *packet = &record->u.packet;
    if (packet->normal_pages == 0 && packet->zero_pages == 0) {
        answer->want = VMS_WANT_DISCARD;
        return VMS_OK;
    }
    if (check_counts(packet, err) != VMS_OK ||
        ram_set_block(c, packet->block, VMS_E_MULTIFD_BLOCK, err) != VMS_OK ||
        read_offsets(c, packet, err) != VMS_OK || take_zeros(c, packet, err) != VMS_OK)
        return err->code;
    return packet->normal_pages ? take_normal(c, record, answer, err) : VMS_OK;
}

/* Neighbouring pages make one room, so that a read has few pieces. */
void ram_multifd_room(struct vms_ram_channel *c, uint64_t offset, struct vms_room *room) {
    uint32_t page_size = c->image->page_size;
    size_t i = (size_t)(offset / page_size), n = 1;
    while (i + n < c->pages && c->offsets[i + n] == c->offsets[i] + n * page_size)
        n++;
    *room = (struct vms_room){c->block->pub.memory + c->offsets[i], n * page_size};
}
