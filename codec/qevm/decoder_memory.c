/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* A decoder's memory: one block, laid out once (MOD-10). */

static const enum vms_qevm_state FIRST_STATE[] = {
    [VMS_QEVM_MAIN] = VMS_ST_HEADER,
    [VMS_QEVM_RECOVERY] = VMS_ST_TOP,
    [VMS_QEVM_MULTIFD] = VMS_ST_MULTIFD_HELLO,
    [VMS_QEVM_PREEMPT] = VMS_ST_PREEMPT,
    [VMS_QEVM_RETURN_PATH] = VMS_ST_RETURN_PATH,
};

struct vms_qevm_config vms_qevm_config_default(void) {
    return (struct vms_qevm_config){.kind = VMS_QEVM_MAIN, .limits = vms_limits_default()};
}

/* Sizes that no memory holds stay at the largest number, whatever limits a caller sets (LIM-3). */
static size_t aligned(uint64_t n) {
    return n > SIZE_MAX - 15 ? SIZE_MAX : (size_t)((n + 15) & ~(uint64_t)15);
}

static size_t plus(size_t a, size_t b) {
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t table_bytes(uint64_t count, size_t size) {
    return count > (SIZE_MAX - 15) / size ? SIZE_MAX : aligned(count * size);
}

static size_t tail_bytes(const struct vms_qevm_config *c) {
    return vms_has_sections(c) && c->tail_mode == VMS_TAIL_HOLD
               ? aligned(c->limits.device_tail_bytes)
               : 0;
}

static size_t section_bytes(const struct vms_qevm_config *c) {
    return vms_has_sections(c) ? table_bytes(c->limits.sections, sizeof(struct vms_qevm_section))
                               : 0;
}

static size_t block_bytes(const struct vms_qevm_config *c) {
    return c->kind == VMS_QEVM_RETURN_PATH
               ? 0
               : table_bytes(c->limits.ram_blocks, sizeof(struct vms_qevm_block));
}

/* Room for the longest record: none is longer on the wire than the encoder can make it. */
static size_t stage_bytes(const struct vms_qevm_config *c) {
    return aligned(vms_qevm_encode_max(&c->limits));
}

size_t vms_qevm_decoder_size(const struct vms_qevm_config *c) {
    size_t tables = plus(section_bytes(c), block_bytes(c));
    size_t bytes = plus(stage_bytes(c), tail_bytes(c));
    return plus(aligned(sizeof(struct vms_qevm_decoder)), plus(tables, bytes));
}

struct vms_qevm_decoder *vms_qevm_decoder_init(void *mem, size_t mem_len,
                                               const struct vms_qevm_config *config) {
    if (!mem || mem_len < vms_qevm_decoder_size(config))
        return NULL;
    struct vms_qevm_decoder *d = mem;
    uint8_t *at = (uint8_t *)mem + aligned(sizeof *d);
    memset(d, 0, sizeof *d);
    d->config = *config;
    d->blank.channel = config->channel;
    d->dialect = config->dialect;
    if (d->dialect.machine)
        vms_dialect_learn_machine(&d->dialect, vms_slice(NULL, 0));
    d->page_size = 1u << (d->dialect.page_bits ? d->dialect.page_bits : 12);
    d->state = FIRST_STATE[config->kind];
    d->last_block = VMS_NO_BLOCK;
    d->cut = config->vmdesc_preloaded ? VMS_CUT_VMDESC : VMS_CUT_LIVE;
    if (config->kind == VMS_QEVM_RECOVERY)
        d->postcopy = VMS_POSTCOPY_RECOVERING;
    d->stage = at;
    d->stage_size = stage_bytes(config);
    at += d->stage_size;
    d->sections = (void *)at;
    at += section_bytes(config);
    d->blocks = (void *)at;
    at += block_bytes(config);
    d->tail.ptr = at;
    d->tail.cap = tail_bytes(config) ? (size_t)config->limits.device_tail_bytes : 0;
    return d;
}

void vms_qevm_adopt(struct vms_qevm_decoder *d, const struct vms_qevm_decoder *main_channel) {
    const struct vms_qevm_decoder *m = main_channel;
    d->dialect = m->dialect;
    d->page_size = m->page_size;
    if (d->config.kind == VMS_QEVM_RETURN_PATH)
        return;
    d->adopted = true;
    d->list_seen = m->list_seen;
    d->advised_sizes = m->advised_sizes;
    d->block_count = m->block_count <= d->config.limits.ram_blocks
                         ? m->block_count
                         : (uint32_t)d->config.limits.ram_blocks;
    memcpy(d->blocks, m->blocks, d->block_count * sizeof *d->blocks);
    if (!vms_has_sections(&d->config))
        return;
    memcpy(d->bitmap_named, m->bitmap_named, sizeof d->bitmap_named);
    d->section_count = m->section_count <= d->config.limits.sections
                           ? m->section_count
                           : (uint32_t)d->config.limits.sections;
    memcpy(d->sections, m->sections, d->section_count * sizeof *d->sections);
    for (uint32_t i = 0; i < d->section_count; i++) /* REC-8 */
        d->sections[i].ended = false;
}
