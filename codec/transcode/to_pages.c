/* SPDX-License-Identifier: MIT */
#include "transcode/to_native.h"

static uint64_t page_size(const struct vms_to_native *t) {
    return UINT64_C(1) << t->page_bits;
}

/* [TRC-14] Within its block, which the decoder has checked; without a list within the limit. */
static bool within(const struct vms_to_native *t, const struct vms_record *r) {
    uint64_t most = t->config.limits.ram_bytes & ~(page_size(t) - 1);
    return r->u.page.block_index < t->blocks || r->u.page.offset < most;
}

/* [TRC-3] What PAGES has no place for goes as a record: marks, a fill byte, odd lengths, places. */
bool vms_pages_fit(const struct vms_to_native *t, const struct vms_record *r) {
    if (!within(t, r) || r->packaged || r->guessed || r->u.page.offset & (page_size(t) - 1))
        return false;
    if (r->type == VMS_R_RAM_ZERO)
        return r->u.page.fill == 0 && r->bulk_len == 0;
    return r->type == VMS_R_RAM_PAGE && r->u.page.fill == 0 && r->bulk_len == page_size(t);
}

/* The record with its block as the frame names it: by number, or by a name that is ours. */
static struct vms_record named(struct vms_to_native *t, const struct vms_record *record) {
    struct vms_record r = *record;
    struct vms_slice name = r.u.page.block;
    if (r.u.page.block_index < t->blocks) {
        r.u.page.block = vms_slice(NULL, 0);
        return r;
    }
    if (name.len && name.ptr != t->name)
        memcpy(t->name, name.ptr, name.len);
    r.u.page.block = vms_slice(t->name, name.len);
    r.u.page.block_index = VMS_NATIVE_NO_INDEX;
    return r;
}

/* The name is kept once for the batch, so another one must not overwrite it. */
static bool other_block(const struct vms_to_native *t, const struct vms_record *r) {
    const struct vms_native_block *have = &t->pages.pages.block;
    if (t->pages.number == 0)
        return false;
    if (r->u.page.block_index < t->blocks)
        return have->index != r->u.page.block_index;
    return have->index != VMS_NATIVE_NO_INDEX || !vms_slice_eq(have->name, r->u.page.block);
}

/* [TRC-6] A frame's pages are bounded, zero ones too. */
static bool full(const struct vms_to_native *t) {
    return t->pages.number >= t->config.limits.native_frame_pages;
}

bool vms_pages_add(struct vms_to_native *t, const struct vms_record *record) {
    if (record->u.page.block.len > VMS_NAME_MAX || full(t) || other_block(t, record))
        return false;
    t->page = named(t, record);
    if (!vms_native_collect_add(&t->pages, &t->page, t->page_bits))
        return false;
    t->pending = record->bulk_len != 0;
    return true;
}

/* The page was the last that the collection took: undo that. */
void vms_pages_hold_back(struct vms_to_native *t) {
    struct vms_native_collect *c = &t->pages;
    struct vms_native_run *run = &c->runs[c->pages.run_count - 1];
    if (run->count > 1)
        run->count--;
    else
        c->pages.run_count--;
    if (!t->page.u.page.continued)
        c->pages.named_count--;
    c->number--;
    c->bulk_len -= t->page.bulk_len;
}

/* An empty collection takes any page. */
void vms_pages_reset(struct vms_to_native *t) {
    vms_native_collect_reset(&t->pages);
    if (t->pending)
        (void)vms_native_collect_add(&t->pages, &t->page, t->page_bits);
}
