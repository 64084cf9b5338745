/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* The RAM block list of a stream and the "last block" of a channel: clauses RAM-3 to RAM-5. */

struct vms_slice vms_block_name(const struct vms_qevm_block *b) {
    return vms_slice(b->name, b->name_len);
}

static bool is_block(const struct vms_qevm_decoder *d, uint32_t i, struct vms_slice name) {
    return i < d->block_count && vms_slice_eq(vms_block_name(&d->blocks[i]), name);
}

uint32_t vms_block_find(const struct vms_qevm_decoder *d, struct vms_slice name) {
    if (is_block(d, d->last_block, name))
        return d->last_block;
    for (uint32_t i = 0; i < d->block_count; i++)
        if (is_block(d, i, name))
            return i;
    return VMS_NO_BLOCK;
}

static void remember(struct vms_qevm_decoder *d, struct vms_slice name, uint32_t index) {
    d->last_valid = true;
    d->last_block = index;
    d->last_name_len = (uint8_t)name.len;
    memcpy(d->last_name, name.ptr, name.len);
}

/* Reads the block's name unless it is left out, and fills in page->block and block_index. */
enum vms_code vms_block_resolve(struct vms_qevm_decoder *d, struct vms_reader *r, bool continued,
                                size_t at, struct vms_rec_ram_page *page) {
    page->continued = continued;
    if (continued) {
        if (!d->last_valid)
            return vms_qevm_fail(d, VMS_E_RAM_CONTINUE, at, NULL);
        page->block = vms_slice(d->last_name, d->last_name_len);
        page->block_index = d->last_block;
        return VMS_OK;
    }
    at = r->pos;
    page->block = vms_read_str8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!page->block.len || !vms_printable(page->block))
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_NAME, at, NULL);
    page->block_index = vms_block_find(d, page->block);
    if (page->block_index == VMS_NO_BLOCK && d->list_seen)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_UNKNOWN, at, "%.*s", (int)page->block.len,
                             (const char *)page->block.ptr);
    remember(d, page->block, page->block_index);
    page->block = vms_slice(d->last_name, d->last_name_len);
    return VMS_OK;
}

enum vms_code vms_block_check_page(struct vms_qevm_decoder *d, size_t at,
                                   const struct vms_rec_ram_page *page) {
    if (page->block_index == VMS_NO_BLOCK)
        return VMS_OK;
    const struct vms_qevm_block *b = &d->blocks[page->block_index];
    if (b->ignored)
        return vms_qevm_fail(d, VMS_E_RAM_IGNORED_BLOCK, at, "%.*s", (int)b->name_len,
                             (const char *)b->name);
    if (page->offset >= b->used_length)
        return vms_qevm_fail(d, VMS_E_RAM_OFFSET, at, "0x%llx in %.*s of 0x%llx",
                             (unsigned long long)page->offset, (int)b->name_len,
                             (const char *)b->name, (unsigned long long)b->used_length);
    return VMS_OK;
}
