/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include "host/zero_page.h"

/* Page records, straight from the guest's memory. */

/* The block is named when it changes, and at the head of every section (RAM-25). */
static struct vms_record page_record(struct qevm *q, struct qevm_out *out,
                                     const struct src_batch *batch, uint64_t page, bool zero) {
    struct vms_record r = {.type = zero ? VMS_R_RAM_ZERO : VMS_R_RAM_PAGE,
                           .bulk_len = zero ? 0 : q->page_size,
                           .u.page = {.block = qevm_block_name(q, batch->block),
                                      .block_index = batch->block,
                                      .continued = out->block == batch->block,
                                      .offset = page * q->page_size}};
    out->block = batch->block;
    return r;
}

enum vms_code qevm_page_records(struct qevm *q, struct qevm_out *out, const struct src_batch *batch,
                                struct vms_error *err) {
    const uint8_t *memory = q->guest->blocks[batch->block].memory;
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < batch->count && code == VMS_OK; i++) {
        const uint8_t *page = memory + batch->pages[i] * q->page_size;
        bool zero = vms_page_is_zero(page, q->page_size);
        struct vms_record r = page_record(q, out, batch, batch->pages[i], zero);
        code = qevm_out_put(out, &r, vms_slice(page, zero ? 0 : q->page_size), err);
        atomic_fetch_add(zero ? &out->zeros : &out->pages, 1);
    }
    return code == VMS_OK ? qevm_out_flush(out, err) : code;
}

/* Before 9.0 packets do not list zero pages: these go as records, the others as packets. */
static enum vms_code zeros_on_main(struct qevm *q, struct src_batch *batch, struct vms_error *err) {
    const uint8_t *memory = q->guest->blocks[batch->block].memory;
    struct src_batch zeros = {.block = batch->block, .page_size = batch->page_size};
    uint32_t left = 0;
    for (uint32_t i = 0; i < batch->count; i++)
        if (vms_page_is_zero(memory + batch->pages[i] * q->page_size, q->page_size))
            zeros.pages[zeros.count++] = batch->pages[i];
        else
            batch->pages[left++] = batch->pages[i];
    batch->count = left;
    enum vms_code code = VMS_OK;
    if (zeros.count && !q->section)
        code = qevm_section(q, VMS_R_SECTION_PART, err);
    for (uint32_t i = 0; i < zeros.count && code == VMS_OK; i++) {
        struct vms_record r = page_record(q, &q->main, &zeros, zeros.pages[i], true);
        code = qevm_put(q, &r, err);
        atomic_fetch_add(&q->main.zeros, 1);
    }
    return code;
}

static enum vms_code to_workers(struct qevm *q, const struct src_batch *batch,
                                struct vms_error *err) {
    struct src_batch copy = *batch;
    enum vms_code code = q->habits.packet_zeros ? VMS_OK : zeros_on_main(q, &copy, err);
    return code == VMS_OK && copy.count ? qevm_multifd_give(q, &copy, err) : code;
}

/* MFD-18, MFD-22: in postcopy all pages go by the main or the preempt channel. */
enum vms_code qevm_pages(void *ctx, const struct src_batch *batch, struct vms_error *err) {
    struct qevm *q = ctx;
    if (q->worker_count && !q->postcopy)
        return to_workers(q, batch, err);
    enum vms_code code = q->section ? VMS_OK : qevm_section(q, VMS_R_SECTION_PART, err);
    return code == VMS_OK ? qevm_page_records(q, &q->main, batch, err) : code;
}

/* [PRE-5] */
enum vms_code qevm_urgent(void *ctx, const struct src_batch *batch, struct vms_error *err) {
    struct qevm *q = ctx;
    if (!q->preempt.io)
        return qevm_pages(ctx, batch, err);
    return qevm_page_records(q, &q->preempt, batch, err);
}

enum vms_code qevm_sync(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_record flush = {.type = VMS_R_RAM_MULTIFD_FLUSH,
                               .u.ram_word = VMS_RAM_MULTIFD_FLUSH};
    enum vms_code code = VMS_OK;
    if (!q->worker_count || q->postcopy)
        return qevm_close_section(q, err);
    if (!q->section)
        code = qevm_section(q, VMS_R_SECTION_PART, err);
    if (code == VMS_OK && q->habits.flush_record) {
        code = qevm_multifd_sync(q, err);
        if (code == VMS_OK)
            code = qevm_put(q, &flush, err);
    }
    return code == VMS_OK ? qevm_close_section(q, err) : code; /* else EOS is the marker */
}

/* The pages dirtied last are out, in PARTs; END closes the section. */
enum vms_code qevm_ram_end(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    enum vms_code code = qevm_sync(q, err);
    if (code == VMS_OK)
        code = qevm_switchover_start(q, err);
    if (code == VMS_OK)
        code = qevm_section(q, VMS_R_SECTION_END, err);
    return code == VMS_OK ? qevm_close_section(q, err) : code;
}
