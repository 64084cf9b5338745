/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"

bool ram_in_memory(const struct vms_ram_channel *c) {
    return c->block->pub.memory && !c->place;
}

void ram_mark_page(struct vms_ram_channel *c, uint64_t offset) {
    if (c->block->pub.memory && ram_mark(c->block, offset / c->image->page_size))
        ram_stats(c)->duplicates++;
}

/* A page that nothing was written to is zero already: touching it would only fill a hole. */
static enum vms_code fill_memory(struct vms_ram_channel *c, uint64_t offset, uint8_t fill) {
    uint64_t page = offset / c->image->page_size;
    uint64_t word = atomic_load_explicit(&c->block->written[page / 64], memory_order_relaxed);
    bool written = word >> (page % 64) & 1;
    if (written || fill != 0)
        memset(c->block->pub.memory + offset, fill, c->image->page_size);
    if (written)
        ram_stats(c)->duplicates++;
    else
        ram_mark_in(fill ? c->block->written : c->block->zeros, page);
    return VMS_OK;
}

static enum vms_code place_fill(struct vms_ram_channel *c, uint64_t offset, uint8_t fill,
                                struct vms_error *err) {
    struct vms_slice page = {c->staging, fill ? c->image->page_size : 0};
    memset(c->staging, fill, page.len);
    return c->place->place(c->place->ctx, &c->block->pub, offset, page, err);
}

enum vms_code ram_zero_page(struct vms_ram_channel *c, uint64_t offset, uint8_t fill,
                            struct vms_error *err) {
    if (!c->block->pub.memory)
        return VMS_OK;
    return c->place ? place_fill(c, offset, fill, err) : fill_memory(c, offset, fill);
}

/* Where the page in progress goes: memory, or the staging page to be placed or thrown away. */
static struct vms_room rest_of_page(const struct vms_ram_channel *c) {
    uint8_t *page = ram_in_memory(c) ? c->block->pub.memory + c->offsets[c->page] : c->staging;
    return (struct vms_room){page + c->page_fill, c->image->page_size - c->page_fill};
}

/* n more bytes of the page in progress are there. */
static enum vms_code advance(struct vms_ram_channel *c, size_t n, struct vms_error *err) {
    c->page_fill += n;
    if (c->page_fill < c->image->page_size)
        return VMS_OK;
    uint64_t offset = c->offsets[c->page++];
    c->page_fill = 0;
    if (!c->place || !c->block->pub.memory)
        return VMS_OK;
    return c->place->place(c->place->ctx, &c->block->pub, offset,
                           vms_slice(c->staging, c->image->page_size), err);
}

enum vms_code ram_pages_plain(struct vms_ram_channel *c, struct vms_slice bytes,
                              struct vms_error *err) {
    while (bytes.len > 0 && c->page < c->pages) {
        struct vms_room room = rest_of_page(c);
        struct vms_slice head = vms_slice_head(bytes, room.len);
        memcpy(room.ptr, head.ptr, head.len);
        bytes = vms_slice_tail(bytes, head.len);
        if (advance(c, head.len, err) != VMS_OK)
            return err->code;
    }
    return VMS_OK;
}

/* MFD-11, RAM-18: exactly the announced pages. When they are full, what is left of the data may
 * only be the compressor's own bytes: one byte of output more is too much. */
enum vms_code ram_pages_packed(struct vms_ram_channel *c, struct vms_inflate *u,
                               struct vms_slice bytes, enum vms_code code, struct vms_error *err) {
    for (;;) {
        uint8_t excess;
        bool full = c->page == c->pages;
        struct vms_room room = full ? (struct vms_room){&excess, 1} : rest_of_page(c);
        size_t had = bytes.len, room_len = room.len;
        if (!vms_inflate(u, &bytes, &room))
            return vms_error_set(err, code, "page %zu of %zu of %s", c->page, c->pages,
                                 c->block->pub.name);
        size_t out = room_len - room.len;
        if (full && out > 0)
            return vms_error_set(err, code, "more than %zu pages of %s", c->pages,
                                 c->block->pub.name);
        if (!full && advance(c, out, err) != VMS_OK)
            return err->code;
        if (bytes.len == 0 && room.len > 0)
            return VMS_OK;
        if (bytes.len == had && out == 0)
            return vms_error_set(err, code, "data after the end of the compressed stream");
    }
}
