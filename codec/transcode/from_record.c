/* SPDX-License-Identifier: MIT */
#include "transcode/from_native.h"

/* ---- which records a channel can have (TRC-11) ---- */

static const struct {
    enum vms_record_type first, last;
} RANGES[] = {
    [VMS_QEVM_MAIN] = {VMS_R_HEADER, VMS_R_DIRTY_BITMAP},
    [VMS_QEVM_RECOVERY] = {VMS_R_HEADER, VMS_R_DIRTY_BITMAP},
    [VMS_QEVM_MULTIFD] = {VMS_R_MULTIFD_HELLO, VMS_R_MULTIFD_DEVICE_STATE},
    [VMS_QEVM_PREEMPT] = {VMS_R_RAM_PAGE, VMS_R_RAM_EOS},
    [VMS_QEVM_RETURN_PATH] = {VMS_R_RP_SHUT, VMS_R_RP_SWITCHOVER_ACK},
};

static bool belongs(enum vms_qevm_kind kind, enum vms_record_type type) {
    return type == VMS_R_DEVICE_TAIL || (type >= RANGES[kind].first && type <= RANGES[kind].last);
}

/* ---- blocks ---- */

static bool has_page(enum vms_record_type type) {
    switch (type) {
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: return true;
    default: return false;
    }
}

/* [NAT-53] */
static enum vms_code name_block(struct vms_from_native *t, struct vms_rec_ram_page *page) {
    if (page->block_index == VMS_NATIVE_NO_INDEX)
        return VMS_OK;
    if (page->block_index >= t->block_count)
        return vms_from_native_fail(t, VMS_E_RAM_BLOCK_UNKNOWN, "number %u of %u",
                                    page->block_index, t->block_count);
    const struct vms_from_block *block = &t->blocks[page->block_index];
    page->block = vms_slice(block->name, block->name_len);
    return VMS_OK;
}

static enum vms_code note_block(struct vms_from_native *t, const struct vms_rec_ram_block *block) {
    if (t->config.kind != VMS_QEVM_MAIN)
        return VMS_OK;
    if (t->block_count >= t->config.limits.ram_blocks)
        return vms_from_native_fail(t, VMS_E_LIMIT, "ram_blocks");
    struct vms_from_block *to = &t->blocks[t->block_count++];
    to->used_length = block->used_length;
    to->name_len = (uint8_t)block->name.len; /* the encoder took it: at most 255 */
    if (block->name.len)
        memcpy(to->name, block->name.ptr, block->name.len);
    return VMS_OK;
}

/* ---- pages ---- */

static uint32_t page_bits(const struct vms_from_native *t) {
    return t->encoder.dialect.page_bits ? t->encoder.dialect.page_bits : 12;
}

/* Pages that the block has; without a list, what any block may have. */
static uint64_t block_pages(const struct vms_from_native *t, const struct vms_native_block *block) {
    uint64_t bytes = block->index < t->block_count ? t->blocks[block->index].used_length
                                                   : t->config.limits.ram_bytes;
    return bytes >> page_bits(t);
}

static enum vms_code check_runs(struct vms_from_native *t, const struct vms_native_pages *pages,
                                uint64_t *sum) {
    uint64_t most = block_pages(t, &pages->block);
    for (uint32_t i = 0; i < pages->run_count; i++) {
        const struct vms_native_run *run = &pages->runs[i];
        if (run->first > most || run->count > most - run->first)
            return vms_from_native_fail(t, VMS_E_TRANSCODE_PAGES, "page %llu and %u more",
                                        (unsigned long long)run->first, run->count);
        *sum += run->count;
    }
    return VMS_OK;
}

enum vms_code vms_from_pages_check(struct vms_from_native *t,
                                   const struct vms_native_pages *pages) {
    uint64_t sum = 0;
    if (pages->page_bits != page_bits(t))
        return vms_from_native_fail(t, VMS_E_TRANSCODE_PAGES, "2^%u bytes, the target has 2^%u",
                                    pages->page_bits, page_bits(t));
    if (check_runs(t, pages, &sum) != VMS_OK)
        return t->error.code;
    if (sum > t->config.limits.native_frame_pages)
        return vms_from_native_fail(t, VMS_E_LIMIT, "native_frame_pages: %llu",
                                    (unsigned long long)sum);
    return VMS_OK;
}

/* ---- a record ---- */

/* [TRC-11] What the encoder refuses came from the peer here. */
static enum vms_code encode(struct vms_from_native *t, struct vms_slice *head) {
    size_t len = 0;
    enum vms_code code = vms_qevm_encode(&t->encoder, &t->record, t->head, &len);
    *head = vms_slice(t->head.ptr, len);
    if (code == VMS_OK)
        return VMS_OK;
    if (code == VMS_E_SPACE)
        return vms_from_native_fail(t, VMS_E_LIMIT, "a record of %zu bytes", len);
    return vms_from_native_fail(t, VMS_E_TRANSCODE_RECORD, "%s: %s",
                                vms_record_name(t->record.type), t->encoder.error.message);
}

enum vms_code vms_from_record(struct vms_from_native *t, struct vms_slice *head) {
    struct vms_record *r = &t->record;
    r->channel = t->config.channel;
    r->offset = t->encoder.offset;
    r->number = t->encoder.number;
    t->bulk_at = 0;
    if (!belongs(t->config.kind, r->type))
        return vms_from_native_fail(t, VMS_E_TRANSCODE_RECORD, "%s on a %s channel",
                                    vms_record_name(r->type), vms_qevm_kind_name(t->config.kind));
    if (has_page(r->type) && name_block(t, &r->u.page) != VMS_OK)
        return t->error.code;
    if (encode(t, head) != VMS_OK)
        return t->error.code;
    return r->type == VMS_R_RAM_BLOCK ? note_block(t, &r->u.block) : VMS_OK;
}
