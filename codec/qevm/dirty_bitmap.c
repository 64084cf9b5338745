/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* Block dirty bitmaps: clauses DBM. A section is chunks up to one with EOS. */

enum {
    WHAT = VMS_DBM_START | VMS_DBM_COMPLETE | VMS_DBM_BITS,
    KNOWN = WHAT | VMS_DBM_EOS | VMS_DBM_ZEROES | VMS_DBM_BITMAP_NAME | VMS_DBM_DEVICE_NAME,
    START_FLAGS = 7,
};

static bool one_bit(unsigned v) {
    return v && (v & (v - 1)) == 0;
}

/* [DBM-1] */
static bool flags_ok(uint8_t flags) {
    if (flags & ~KNOWN || ((flags & VMS_DBM_ZEROES) && !(flags & VMS_DBM_BITS)))
        return false;
    return one_bit(flags & WHAT) || flags == VMS_DBM_EOS;
}

/* [DBM-2] A name lasts until the next one, across section records. */
static enum vms_code read_name(struct vms_qevm_decoder *d, struct vms_reader *r,
                               struct vms_rec_dirty_bitmap *b, unsigned flag) {
    size_t at = r->pos;
    struct vms_slice *name = flag == VMS_DBM_DEVICE_NAME ? &b->node : &b->name;
    bool *named = &d->bitmap_named[flag == VMS_DBM_BITMAP_NAME];
    if (b->flags == VMS_DBM_EOS || vms_reader_short(r))
        return VMS_OK;
    if (!(b->flags & flag))
        return *named ? VMS_OK : vms_qevm_fail(d, VMS_E_DIRTY_BITMAP_NAME, 0, "no name before");
    *name = vms_read_str8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!name->len)
        return vms_qevm_fail(d, VMS_E_DIRTY_BITMAP_NAME, at, NULL);
    *named = true;
    return VMS_OK;
}

static enum vms_code read_start(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_rec_dirty_bitmap *b) {
    size_t at = r->pos;
    b->granularity = vms_read_u32(r);
    b->start_flags = vms_read_u8(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!one_bit(b->granularity) || b->granularity < 512 || b->start_flags & ~START_FLAGS)
        return vms_qevm_fail(d, VMS_E_DIRTY_BITMAP_BODY, at, "granularity %u, flags 0x%x",
                             b->granularity, b->start_flags);
    return VMS_OK;
}

static enum vms_code read_bits(struct vms_qevm_decoder *d, struct vms_reader *r,
                               struct vms_record *rec) {
    struct vms_rec_dirty_bitmap *b = &rec->u.bitmap;
    b->sector = vms_read_u64(r);
    b->sectors = vms_read_u32(r);
    if (b->flags & VMS_DBM_ZEROES)
        return VMS_OK;
    size_t at = r->pos;
    rec->bulk_len = vms_read_u64(r);
    if (vms_reader_short(r))
        return VMS_OK;
    if (!rec->bulk_len)
        return vms_qevm_fail(d, VMS_E_DIRTY_BITMAP_BODY, at, "no bits");
    if (rec->bulk_len > d->config.limits.dirty_bitmap_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, at, "dirty_bitmap_bytes: %llu",
                             (unsigned long long)rec->bulk_len);
    return VMS_OK;
}

enum vms_code vms_parse_dirty_bitmap(struct vms_qevm_decoder *d, struct vms_reader *r,
                                     struct vms_record *rec) {
    struct vms_rec_dirty_bitmap *b = &rec->u.bitmap;
    b->flags = vms_read_u8(r);
    if (!vms_reader_short(r) && !flags_ok(b->flags))
        return vms_qevm_fail(d, VMS_E_DIRTY_BITMAP_FLAGS, 0, "0x%02x", b->flags);
    enum vms_code code = read_name(d, r, b, VMS_DBM_DEVICE_NAME);
    if (code == VMS_OK)
        code = read_name(d, r, b, VMS_DBM_BITMAP_NAME);
    if (code == VMS_OK && b->flags & VMS_DBM_START)
        code = read_start(d, r, b);
    if (code == VMS_OK && b->flags & VMS_DBM_BITS)
        code = read_bits(d, r, rec);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    rec->type = VMS_R_DIRTY_BITMAP;
    if (b->flags & VMS_DBM_EOS)
        vms_section_done(d);
    return VMS_OK;
}

void vms_emit_dirty_bitmap(struct vms_writer *w, const struct vms_record *rec,
                           const struct vms_qevm_encoder *e) {
    const struct vms_rec_dirty_bitmap *b = &rec->u.bitmap;
    (void)e;
    vms_write_u8(w, b->flags);
    if (b->flags & VMS_DBM_DEVICE_NAME)
        vms_write_str8(w, b->node);
    if (b->flags & VMS_DBM_BITMAP_NAME)
        vms_write_str8(w, b->name);
    if (b->flags & VMS_DBM_START) {
        vms_write_u32(w, b->granularity);
        vms_write_u8(w, b->start_flags);
    }
    if (!(b->flags & VMS_DBM_BITS))
        return;
    vms_write_u64(w, b->sector);
    vms_write_u32(w, b->sectors);
    if (!(b->flags & VMS_DBM_ZEROES))
        vms_write_u64(w, rec->bulk_len);
}
