/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"
#include <stdlib.h>

struct vms_ram_channel *vms_ram_channel_new(struct vms_ram_image *image, uint32_t number,
                                            struct vms_error *err) {
    struct vms_ram_channel *c = calloc(1, sizeof *c);
    uint8_t *staging = calloc(2, RAM_PAGE_MAX);
    if (!c || !staging) {
        free(c);
        free(staging);
        (void)vms_error_set(err, VMS_E_NO_MEMORY, "a RAM channel");
        return NULL;
    }
    c->image = image;
    c->number = number;
    c->staging = staging;
    ram_stats_join(c);
    return c;
}

void vms_ram_channel_free(struct vms_ram_channel *channel) {
    if (!channel)
        return;
    ram_stats_retire(channel);
    vms_inflate_free(channel->page_unpack);
    vms_inflate_free(channel->stream_unpack);
    free(channel->bitmap);
    free(channel->staging);
    free(channel->stats);
    free(channel);
}

void vms_ram_channel_place(struct vms_ram_channel *channel, const struct vms_ram_place *place) {
    channel->place = place;
}

enum vms_code ram_set_block(struct vms_ram_channel *c, struct vms_slice name,
                            enum vms_code when_unknown, struct vms_error *err) {
    if (c->block && vms_slice_eq(vms_slice(c->block->pub.name, c->block->name_len), name))
        return VMS_OK;
    size_t index = vms_ram_image_find(c->image, name);
    if (index == SIZE_MAX)
        return vms_error_set(err, when_unknown, "%.*s", (int)(name.len > 64 ? 64 : name.len),
                             (const char *)name.ptr);
    c->index = index;
    c->block = c->image->blocks[index];
    return VMS_OK;
}

enum vms_code ram_check_range(const struct vms_ram_channel *c, uint64_t offset, uint64_t length,
                              enum vms_code code, struct vms_error *err) {
    uint64_t used = c->block->pub.used_length;
    if (offset % c->image->page_size == 0 && offset <= used && length <= used - offset)
        return VMS_OK;
    return vms_error_set(err, code, "offset 0x%llx of %s, which has 0x%llx bytes",
                         (unsigned long long)offset, c->block->pub.name, (unsigned long long)used);
}

/* The one page of a page record becomes the current one. */
static enum vms_code set_page(struct vms_ram_channel *c, const struct vms_rec_ram_page *page,
                              struct vms_error *err) {
    if (ram_set_block(c, page->block, VMS_E_RAM_BLOCK_UNKNOWN, err) != VMS_OK)
        return err->code;
    c->offsets[0] = page->offset;
    c->pages = 1;
    return ram_check_range(c, page->offset, c->image->page_size, VMS_E_RAM_OFFSET, err);
}

static enum vms_code take_mem_size(struct vms_ram_channel *c, uint64_t total,
                                   struct vms_error *err) {
    const struct vms_ram_image_config *config = &c->image->config;
    if (config->store == VMS_RAM_CHECK || config->only.len > 0 || total <= config->max_bytes)
        return VMS_OK;
    return vms_error_set(err, VMS_E_LIMIT, "RAM blocks of %llu bytes, %llu are allowed",
                         (unsigned long long)total, (unsigned long long)config->max_bytes);
}

static enum vms_code take_page(struct vms_ram_channel *c, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    if (set_page(c, &record->u.page, err) != VMS_OK)
        return err->code;
    if (record->bulk_len != c->image->page_size)
        return vms_error_set(err, VMS_E_MISUSE, "a page of %llu bytes",
                             (unsigned long long)record->bulk_len);
    ram_stats(c)->normal++;
    ram_mark_page(c, record->u.page.offset);
    c->bulk = RAM_BULK_PAGES;
    if (!c->block->pub.memory)
        answer->want = VMS_WANT_DISCARD;
    else if (ram_in_memory(c))
        answer->want = VMS_WANT_DIRECT;
    return VMS_OK;
}

static enum vms_code take_zero(struct vms_ram_channel *c, const struct vms_rec_ram_page *page,
                               struct vms_error *err) {
    if (set_page(c, page, err) != VMS_OK)
        return err->code;
    ram_stats(c)->zero++;
    return ram_zero_page(c, page->offset, page->fill, err);
}

static enum vms_code take_xbzrle(struct vms_ram_channel *c, const struct vms_record *record,
                                 struct vms_error *err) {
    if (set_page(c, &record->u.page, err) != VMS_OK)
        return err->code;
    if (record->bulk_len > c->image->page_size)
        return vms_error_set(err, VMS_E_XBZRLE_HEADER, "more data than a page");
    ram_stats(c)->xbzrle++;
    ram_mark_page(c, record->u.page.offset);
    c->bulk = RAM_BULK_XBZRLE;
    return VMS_OK;
}

static enum vms_code take_compressed(struct vms_ram_channel *c, const struct vms_record *record,
                                     struct vms_error *err) {
    if (set_page(c, &record->u.page, err) != VMS_OK)
        return err->code;
    if (!c->page_unpack && !(c->page_unpack = vms_inflate_new(VMS_UNPACK_ZLIB)))
        return vms_error_set(err, VMS_E_NO_MEMORY, "zlib");
    vms_inflate_reset(c->page_unpack);
    ram_stats(c)->compressed++;
    ram_mark_page(c, record->u.page.offset);
    c->bulk = RAM_BULK_COMPRESSED;
    return VMS_OK;
}

/* CMD-7: what the source will send again is not to be seen before it has. */
static enum vms_code take_discard(struct vms_ram_channel *c, struct vms_slice payload,
                                  struct vms_error *err) {
    struct vms_slice name;
    struct vms_discard range;
    size_t pos = 0;
    while (vms_qevm_discard_next(payload, &pos, &name, &range)) {
        if (ram_set_block(c, name, VMS_E_RAM_BLOCK_UNKNOWN, err) != VMS_OK ||
            vms_ram_image_discard(c->image, c->index, range.start, range.length, err) != VMS_OK)
            return err->code;
        ram_stats(c)->discarded_bytes += range.length;
    }
    return VMS_OK;
}

bool vms_ram_channel_takes(const struct vms_record *record) {
    switch (record->type) {
    case VMS_R_RAM_MEM_SIZE:
    case VMS_R_RAM_BLOCK:
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES:
    case VMS_R_MULTIFD_PACKET: return true;
    case VMS_R_COMMAND: return record->u.command.command == VMS_CMD_POSTCOPY_RAM_DISCARD;
    default: return false;
    }
}

static enum vms_code dispatch(struct vms_ram_channel *c, const struct vms_record *record,
                              struct vms_answer *answer, struct vms_error *err) {
    switch (record->type) {
    case VMS_R_RAM_MEM_SIZE: return take_mem_size(c, record->u.ram_total, err);
    case VMS_R_RAM_BLOCK: return vms_ram_image_add(c->image, &record->u.block, err);
    case VMS_R_RAM_PAGE: return take_page(c, record, answer, err);
    case VMS_R_RAM_ZERO: return take_zero(c, &record->u.page, err);
    case VMS_R_RAM_XBZRLE: return take_xbzrle(c, record, err);
    case VMS_R_RAM_COMPRESSED: return take_compressed(c, record, err);
    case VMS_R_MAPPED_BITMAP: return ram_mapped_bitmap(c, record, answer, err);
    case VMS_R_MAPPED_PAGES: return ram_mapped_pages(c, record, answer, err);
    case VMS_R_MULTIFD_PACKET: return ram_multifd_packet(c, record, answer, err);
    case VMS_R_COMMAND: return take_discard(c, record->u.command.payload, err);
    default: answer->want = VMS_WANT_DISCARD; return VMS_OK;
    }
}

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct vms_ram_channel *c = ctx;
    c->bulk = RAM_BULK_NONE;
    c->page = c->page_fill = c->staged = 0;
    if (!vms_ram_channel_takes(record)) {
        answer->want = VMS_WANT_DISCARD;
        return VMS_OK;
    }
    if (record->guessed) /* TAIL-4: a guest can forge it */
        return vms_error_set(err, VMS_E_DST_GUESSED, "%s", vms_record_name(record->type));
    return dispatch(c, record, answer, err);
}

static enum vms_code stage(struct vms_ram_channel *c, struct vms_slice bytes,
                           struct vms_error *err) {
    if (bytes.len > RAM_PAGE_MAX - c->staged)
        return vms_error_set(err, VMS_E_MISUSE, "more bulk than was announced");
    memcpy(c->staging + c->staged, bytes.ptr, bytes.len);
    c->staged += bytes.len;
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct vms_ram_channel *c = ctx;
    struct vms_slice bytes = event->bulk;
    switch (c->bulk) {
    case RAM_BULK_PAGES: return ram_pages_plain(c, bytes, err);
    case RAM_BULK_XBZRLE: return stage(c, bytes, err);
    case RAM_BULK_COMPRESSED:
        return ram_pages_packed(c, c->page_unpack, bytes, VMS_E_RAM_COMPRESSED_DATA, err);
    case RAM_BULK_PACKED:
        return ram_pages_packed(c, c->stream_unpack, bytes, VMS_E_MULTIFD_DATA, err);
    case RAM_BULK_BITMAP: ram_mapped_bits(c, event->bulk_offset, bytes); return VMS_OK;
    case RAM_BULK_MAPPED:
    case RAM_BULK_NONE: break;
    }
    return VMS_OK;
}

static enum vms_code on_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                               struct vms_room *room, struct vms_error *err) {
    struct vms_ram_channel *c = ctx;
    (void)record;
    (void)err;
    if (c->bulk == RAM_BULK_MAPPED)
        ram_mapped_room(c, offset, room);
    else
        ram_multifd_room(c, offset, room);
    return VMS_OK;
}

/* The diff applies to what the page holds now; of a page that is not stored only the form is
 * checked.
 */
static enum vms_code apply_xbzrle(struct vms_ram_channel *c, struct vms_error *err) {
    uint8_t *page =
        c->block->pub.memory ? c->block->pub.memory + c->offsets[0] : c->staging + RAM_PAGE_MAX;
    if (vms_xbzrle_apply(vms_slice(c->staging, c->staged),
                         (struct vms_room){page, c->image->page_size}))
        return VMS_OK;
    return vms_error_set(err, VMS_E_XBZRLE_DATA, "offset 0x%llx of %s",
                         (unsigned long long)c->offsets[0], c->block->pub.name);
}

static enum vms_code end_packed(const struct vms_ram_channel *c, enum vms_code code,
                                struct vms_error *err) {
    if (c->page == c->pages)
        return VMS_OK;
    return vms_error_set(err, code, "%zu of %zu pages of %s", c->page, c->pages,
                         c->block->pub.name);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct vms_ram_channel *c = ctx;
    switch (c->bulk) {
    case RAM_BULK_XBZRLE: return apply_xbzrle(c, err);
    case RAM_BULK_PACKED: return end_packed(c, VMS_E_MULTIFD_DATA, err);
    case RAM_BULK_COMPRESSED:
        if (!vms_inflate_ended(c->page_unpack))
            return vms_error_set(err, VMS_E_RAM_COMPRESSED_DATA, "the zlib stream goes on");
        return end_packed(c, VMS_E_RAM_COMPRESSED_DATA, err);
    default: return VMS_OK;
    }
}

const struct vms_pump_sink_ops vms_ram_channel_ops = {on_record, on_bulk, on_direct, on_done};

struct vms_pump_sink vms_ram_channel_sink(struct vms_ram_channel *channel) {
    return (struct vms_pump_sink){&vms_ram_channel_ops, channel};
}
