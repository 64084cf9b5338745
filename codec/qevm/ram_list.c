/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* The RAM block list and mapped-ram's regions: clauses RAM-7 to RAM-10, RAM-20, MAP. */

enum {
    MAPPED_VERSION = 1,
};

static enum vms_code check_block(struct vms_qevm_decoder *d, const struct vms_rec_ram_block *b,
                                 size_t name_at, size_t length_at) {
    if (vms_block_find(d, b->name) != VMS_NO_BLOCK)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_TWICE, name_at, "%.*s", (int)b->name.len,
                             (const char *)b->name.ptr);
    if (!b->used_length || b->used_length % d->page_size)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_LENGTH, length_at, "0x%llx",
                             (unsigned long long)b->used_length);
    if (b->used_length > d->list_left)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_SUM, length_at, "0x%llx, 0x%llx are left",
                             (unsigned long long)b->used_length, (unsigned long long)d->list_left);
    if (d->block_count >= d->config.limits.ram_blocks)
        return vms_qevm_fail(d, VMS_E_LIMIT, name_at, "ram_blocks: %u", d->block_count + 1);
    return VMS_OK;
}

/*
 * [RAM-20] A huge page size follows the length only for blocks of huge pages in a postcopy. It
 * tells itself: a single power of two that ADVISE has announced begins with a zero byte, as no name
 * and no RAM word with flags does.
 */
static bool page_size_follows(const struct vms_qevm_decoder *d, struct vms_reader *r) {
    if (d->advised_sizes <= d->page_size || d->dialect.postcopy == VMS_OFF)
        return false;
    if (!vms_reader_want(r, 8))
        return false;
    struct vms_reader ahead = *r;
    uint64_t size = vms_read_u64(&ahead);
    return size > d->page_size && (size & (size - 1)) == 0 && (d->advised_sizes & size);
}

static enum vms_code read_mapped(struct vms_qevm_decoder *d, struct vms_reader *r,
                                 struct vms_rec_ram_block *b) {
    size_t at = r->pos;
    b->has_mapped = true;
    b->mapped_version = vms_read_u32(r);
    b->mapped_page_size = vms_read_u64(r);
    b->mapped_bitmap_offset = vms_read_u64(r);
    b->mapped_pages_offset = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (b->mapped_version != MAPPED_VERSION)
        return vms_qevm_fail(d, VMS_E_MAPPED_VERSION, at, "%u", b->mapped_version);
    if (b->mapped_page_size != d->page_size)
        return vms_qevm_fail(d, VMS_E_MAPPED_PAGE_SIZE, at + 4, "0x%llx",
                             (unsigned long long)b->mapped_page_size);
    return VMS_OK;
}

static uint64_t bitmap_bytes(const struct vms_qevm_decoder *d, uint64_t used_length) {
    return (used_length / d->page_size + 63) / 64 * 8;
}

static bool not_sent(const struct vms_rec_ram_block *b) {
    return b->has_gpa && !b->mapped_bitmap_offset && !b->mapped_pages_offset;
}

/*
 * [MAP-2] The bitmap follows the header at once, the pages after it, on a page boundary. [MAP-8]
 * The first block tells how far into its file the stream begins.
 */
static enum vms_code check_layout(struct vms_qevm_decoder *d, const struct vms_reader *r,
                                  const struct vms_rec_ram_block *b) {
    uint64_t bitmap = bitmap_bytes(d, b->used_length);
    uint64_t here = d->offset + r->pos;
    if (not_sent(b))
        return VMS_OK;
    if (b->mapped_bitmap_offset < here ||
        (d->mapped_seen && b->mapped_bitmap_offset != here + d->mapped_base) ||
        b->mapped_pages_offset < b->mapped_bitmap_offset ||
        b->mapped_pages_offset - b->mapped_bitmap_offset < bitmap ||
        b->mapped_pages_offset % d->page_size ||
        b->mapped_pages_offset > UINT64_MAX - b->used_length)
        return vms_qevm_fail(d, VMS_E_MAPPED_LAYOUT, r->pos - 16, "bitmap 0x%llx, pages 0x%llx",
                             (unsigned long long)b->mapped_bitmap_offset,
                             (unsigned long long)b->mapped_pages_offset);
    d->mapped_seen = true;
    d->mapped_base = b->mapped_bitmap_offset - here;
    return VMS_OK;
}

static void add_block(struct vms_qevm_decoder *d, const struct vms_rec_ram_block *b) {
    struct vms_qevm_block *block = &d->blocks[d->block_count];
    block->used_length = b->used_length;
    block->page_size = b->page_size;
    block->ignored = b->has_mapped && not_sent(b);
    block->name_len = (uint8_t)b->name.len;
    memcpy(block->name, b->name.ptr, b->name.len);
    d->block_count++;
    d->list_left -= b->used_length;
}

static enum vms_qevm_state after_block(const struct vms_qevm_decoder *d) {
    return d->list_left ? VMS_ST_RAM_LIST : VMS_ST_RAM;
}

enum vms_code vms_parse_ram_list(struct vms_qevm_decoder *d, struct vms_reader *r,
                                 struct vms_record *rec) {
    struct vms_rec_ram_block *b = &rec->u.block;
    b->name = vms_read_str8(r);
    size_t length_at = r->pos;
    if (!vms_reader_short(r) && (!b->name.len || !vms_printable(b->name)))
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_NAME, 0, NULL);
    b->used_length = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    enum vms_code code = check_block(d, b, 0, length_at);
    if (code != VMS_OK)
        return code;
    b->has_page_size = page_size_follows(d, r);
    if (b->has_page_size)
        b->page_size = vms_read_u64(r);
    b->has_gpa = vms_on(d->dialect.ignore_shared, false);
    if (b->has_gpa)
        b->gpa = vms_read_u64(r);
    if (vms_on(d->dialect.mapped_ram, false))
        code = read_mapped(d, r, b);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    if (b->has_mapped && (code = check_layout(d, r, b)) != VMS_OK)
        return code;
    rec->type = VMS_R_RAM_BLOCK;
    add_block(d, b);
    d->mapped = *b;
    d->state = b->has_mapped && !not_sent(b) ? VMS_ST_MAPPED_BITMAP : after_block(d);
    return VMS_OK;
}

/* ---- mapped-ram: three regions of the file that belong to the block just listed ---- */

static void region(struct vms_qevm_decoder *d, struct vms_record *rec, enum vms_record_type type,
                   uint64_t len) {
    uint32_t index = d->block_count - 1;
    rec->type = type;
    rec->bulk_len = len;
    rec->u.page.block = vms_block_name(&d->blocks[index]);
    rec->u.page.block_index = index;
}

enum vms_code vms_parse_mapped_bitmap(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec) {
    (void)r;
    region(d, rec, VMS_R_MAPPED_BITMAP, bitmap_bytes(d, d->mapped.used_length));
    d->state = VMS_ST_MAPPED_PADDING;
    return VMS_OK;
}

enum vms_code vms_parse_mapped_padding(struct vms_qevm_decoder *d, struct vms_reader *r,
                                       struct vms_record *rec) {
    (void)r;
    uint64_t hole = d->mapped.mapped_pages_offset - d->mapped_base - d->offset;
    if (hole)
        region(d, rec, VMS_R_MAPPED_PADDING, hole);
    d->state = VMS_ST_MAPPED_PAGES;
    return VMS_OK;
}

enum vms_code vms_parse_mapped_pages(struct vms_qevm_decoder *d, struct vms_reader *r,
                                     struct vms_record *rec) {
    (void)r;
    region(d, rec, VMS_R_MAPPED_PAGES, d->mapped.used_length);
    d->state = after_block(d);
    return VMS_OK;
}

/* ---- encoding ---- */

void vms_emit_ram_mem_size(struct vms_writer *w, const struct vms_record *rec,
                           const struct vms_qevm_encoder *e) {
    (void)e;
    vms_write_u64(w, rec->u.ram_total | VMS_RAM_MEM_SIZE);
}

void vms_emit_ram_block(struct vms_writer *w, const struct vms_record *rec,
                        const struct vms_qevm_encoder *e) {
    const struct vms_rec_ram_block *b = &rec->u.block;
    (void)e;
    vms_write_str8(w, b->name);
    vms_write_u64(w, b->used_length);
    if (b->has_page_size)
        vms_write_u64(w, b->page_size);
    if (b->has_gpa)
        vms_write_u64(w, b->gpa);
    if (!b->has_mapped)
        return;
    vms_write_u32(w, b->mapped_version);
    vms_write_u64(w, b->mapped_page_size);
    vms_write_u64(w, b->mapped_bitmap_offset);
    vms_write_u64(w, b->mapped_pages_offset);
}
