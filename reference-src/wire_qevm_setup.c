/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

/* Header to the START of RAM, in the order of 02-qevm.md (SRC-1). */

enum {
    HOST_PAGE = 4096,
};

static enum vms_code configuration(struct qevm *q, struct vms_error *err) {
    const struct src_recorded *recorded = q->options.recorded;
    struct vms_record r = {.type = VMS_R_CONFIGURATION};
    if (q->dialect.configuration == VMS_OFF)
        return VMS_OK;
    if (recorded)
        r.u.config = recorded->config;
    else
        r.u.config.machine = vms_str(q->options.machine);
    return qevm_put(q, &r, err);
}

static enum vms_code return_path(struct qevm *q, struct vms_error *err) {
    if (!q->return_path)
        return VMS_OK;
    enum vms_code code = qevm_command(q, VMS_CMD_OPEN_RETURN_PATH, vms_slice(NULL, 0), err);
    if (code == VMS_OK)
        code = qevm_ping(q, &q->main, 1, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

static void put_u64(uint8_t *at, uint64_t v) {
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* CMD-12: the page sizes of all blocks, ORed. */
static enum vms_code advise(struct qevm *q, struct vms_error *err) {
    uint8_t payload[16];
    uint64_t summary = 0;
    for (size_t i = 0; i < q->guest->block_count; i++)
        summary |= q->guest->blocks[i].page_size;
    put_u64(payload, summary);
    put_u64(payload + 8, q->page_size);
    q->advised = true;
    return qevm_command(q, VMS_CMD_POSTCOPY_ADVISE, vms_slice(payload, sizeof payload), err);
}

/* RAM-24: a page size only where it is not the usual one. */
static enum vms_code block(struct qevm *q, const struct vms_guest_block *b, struct vms_error *err) {
    uint64_t usual = q->page_size > HOST_PAGE ? q->page_size : HOST_PAGE;
    struct vms_record r = {.type = VMS_R_RAM_BLOCK,
                           .u.block = {.name = vms_str(b->name),
                                       .used_length = b->length,
                                       .has_page_size = q->advised && b->page_size != usual,
                                       .page_size = b->page_size}};
    return qevm_put(q, &r, err);
}

static enum vms_code block_list(struct qevm *q, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_RAM_MEM_SIZE};
    for (size_t i = 0; i < q->guest->block_count; i++)
        r.u.ram_total += q->guest->blocks[i].length;
    enum vms_code code = qevm_put(q, &r, err);
    for (size_t i = 0; i < q->guest->block_count && code == VMS_OK; i++)
        code = block(q, &q->guest->blocks[i], err);
    return code;
}

/* With multifd the block list ends with a synchronisation (MFD-21). */
static enum vms_code ram_start(struct qevm *q, struct vms_error *err) {
    enum vms_code code = qevm_section(q, VMS_R_SECTION_START, err);
    struct vms_record flush = {.type = VMS_R_RAM_MULTIFD_FLUSH,
                               .u.ram_word = VMS_RAM_MULTIFD_FLUSH};
    if (code == VMS_OK)
        code = block_list(q, err);
    if (code == VMS_OK && q->worker_count && q->habits.flush_record) {
        code = qevm_multifd_sync(q, err);
        if (code == VMS_OK)
            code = qevm_put(q, &flush, err);
    }
    return code == VMS_OK ? qevm_close_section(q, err) : code;
}

static enum vms_code early_sections(struct qevm *q, struct vms_error *err) {
    const struct src_recorded *r = q->options.recorded;
    enum vms_code code = VMS_OK;
    for (size_t i = 0; r && i < r->section_count && code == VMS_OK; i++) {
        const struct src_recorded_section *s = &r->sections[i];
        struct vms_record full = {
            .type = VMS_R_SECTION_FULL, .bulk_len = s->bytes.len, .u.section = s->about};
        struct vms_record footer = {.type = VMS_R_SECTION_FOOTER, .u.section.id = s->about.id};
        if (!s->early)
            continue;
        code = qevm_out_put(&q->main, &full, s->bytes, err);
        if (code == VMS_OK && q->dialect.footers != VMS_OFF)
            code = qevm_put(q, &footer, err);
    }
    return code;
}

enum vms_code qevm_setup(void *ctx, const struct vms_guest *guest, bool postcopy,
                         struct vms_error *err) {
    struct qevm *q = ctx;
    (void)guest; /* that of the beginning */
    enum vms_code code = configuration(q, err);
    if (code == VMS_OK && postcopy && q->options.preempt && q->habits.early_preempt)
        code = qevm_open_preempt(q, err);
    if (code == VMS_OK)
        code = return_path(q, err);
    if (code == VMS_OK && postcopy)
        code = advise(q, err);
    if (code == VMS_OK)
        code = early_sections(q, err);
    return code == VMS_OK ? ram_start(q, err) : code;
}
