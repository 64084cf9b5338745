/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"
#include <stdlib.h>

static uint64_t pages_of(const struct vms_ram_channel *c) {
    return c->block->pub.used_length / c->image->page_size;
}

/* The bitmap is kept until the pages have come: 1 bit a page of a block that exists already. */
enum vms_code ram_mapped_bitmap(struct vms_ram_channel *c, const struct vms_record *record,
                                struct vms_answer *answer, struct vms_error *err) {
    (void)answer;
    if (ram_set_block(c, record->u.page.block, VMS_E_RAM_BLOCK_UNKNOWN, err) != VMS_OK)
        return err->code;
    uint64_t bytes = (pages_of(c) + 63) / 64 * 8;
    if (record->bulk_len != bytes)
        return vms_error_set(err, VMS_E_MAPPED_LAYOUT, "a bitmap of %llu bytes, not %llu, for %s",
                             (unsigned long long)record->bulk_len, (unsigned long long)bytes,
                             c->block->pub.name);
    free(c->bitmap);
    c->bitmap = c->block->pub.memory ? malloc((size_t)bytes) : NULL;
    if (c->block->pub.memory && !c->bitmap)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a mapped-ram bitmap");
    c->bitmap_block = c->block;
    c->bulk = RAM_BULK_BITMAP;
    return VMS_OK;
}

/* MAP-5: bits run from the lowest of each byte; those past the last page mean nothing. */
void ram_mapped_bits(struct vms_ram_channel *c, uint64_t offset, struct vms_slice bits) {
    uint64_t pages = pages_of(c), present = 0;
    for (size_t i = 0; i < bits.len; i++) {
        uint64_t first = (offset + i) * 8;
        unsigned byte = bits.ptr[i];
        if (first >= pages)
            byte = 0;
        else if (pages - first < 8)
            byte &= (1u << (pages - first)) - 1;
        present += (unsigned)__builtin_popcount(byte);
    }
    ram_stats(c)->mapped += present;
    if (c->bitmap)
        memcpy(c->bitmap + offset, bits.ptr, bits.len);
}

enum vms_code ram_mapped_pages(struct vms_ram_channel *c, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    if (ram_set_block(c, record->u.page.block, VMS_E_RAM_BLOCK_UNKNOWN, err) != VMS_OK)
        return err->code;
    if (c->block != c->bitmap_block || record->bulk_len != c->block->pub.used_length)
        return vms_error_set(err, VMS_E_MAPPED_LAYOUT, "the pages of %s", c->block->pub.name);
    c->bulk = RAM_BULK_MAPPED;
    answer->want = c->block->pub.memory ? VMS_WANT_DIRECT : VMS_WANT_DISCARD;
    return VMS_OK;
}

static bool present(const struct vms_ram_channel *c, uint64_t page) {
    return c->bitmap[page / 8] >> (page % 8) & 1;
}

/* A run of present pages goes to memory; a run of absent ones is passed over, since the file may
 * hold anything there. Absent pages are zero: nothing was written to them before. */
void ram_mapped_room(struct vms_ram_channel *c, uint64_t offset, struct vms_room *room) {
    uint64_t page_size = c->image->page_size, pages = pages_of(c);
    uint64_t first = offset / page_size, end = first + 1;
    bool here = present(c, first);
    while (end < pages && present(c, end) == here)
        end++;
    room->ptr = here ? c->block->pub.memory + offset : NULL;
    room->len = (size_t)((end - first) * page_size);
    for (uint64_t i = first; here && i < end; i++)
        ram_mark_page(c, i * page_size);
}
