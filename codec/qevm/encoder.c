/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

static vms_emit *const EMIT[VMS_RECORD_TYPE_COUNT] = {
    [VMS_R_HEADER] = vms_emit_header,
    [VMS_R_CONFIGURATION] = vms_emit_configuration,
    [VMS_R_SECTION_START] = vms_emit_section,
    [VMS_R_SECTION_PART] = vms_emit_section,
    [VMS_R_SECTION_END] = vms_emit_section,
    [VMS_R_SECTION_FULL] = vms_emit_section,
    [VMS_R_SECTION_FOOTER] = vms_emit_footer,
    [VMS_R_COMMAND] = vms_emit_command,
    [VMS_R_PACKAGE_END] = vms_emit_nothing,
    [VMS_R_EOF] = vms_emit_eof,
    [VMS_R_VMDESCRIPTION] = vms_emit_vmdescription,
    [VMS_R_DEVICE_TAIL] = vms_emit_nothing,
    [VMS_R_RAM_MEM_SIZE] = vms_emit_ram_mem_size,
    [VMS_R_RAM_BLOCK] = vms_emit_ram_block,
    [VMS_R_RAM_PAGE] = vms_emit_ram_page,
    [VMS_R_RAM_ZERO] = vms_emit_ram_page,
    [VMS_R_RAM_XBZRLE] = vms_emit_ram_page,
    [VMS_R_RAM_COMPRESSED] = vms_emit_ram_page,
    [VMS_R_RAM_HOOK] = vms_emit_ram_word,
    [VMS_R_RAM_MULTIFD_FLUSH] = vms_emit_ram_word,
    [VMS_R_RAM_EOS] = vms_emit_ram_word,
    [VMS_R_MAPPED_BITMAP] = vms_emit_nothing,
    [VMS_R_MAPPED_PADDING] = vms_emit_nothing,
    [VMS_R_MAPPED_PAGES] = vms_emit_nothing,
    [VMS_R_VFIO_SETUP_STATE] = vms_emit_vfio,
    [VMS_R_VFIO_DATA_STATE] = vms_emit_vfio,
    [VMS_R_VFIO_CONFIG_STATE] = vms_emit_vfio,
    [VMS_R_VFIO_INIT_DATA_SENT] = vms_emit_vfio,
    [VMS_R_VFIO_CONFIG_LOAD_READY] = vms_emit_vfio,
    [VMS_R_VFIO_END_OF_STATE] = vms_emit_vfio,
    [VMS_R_DIRTY_BITMAP] = vms_emit_dirty_bitmap,
    [VMS_R_MULTIFD_HELLO] = vms_emit_multifd_hello,
    [VMS_R_MULTIFD_PACKET] = vms_emit_multifd_packet,
    [VMS_R_MULTIFD_DEVICE_STATE] = vms_emit_multifd_device,
    [VMS_R_RP_SHUT] = vms_emit_return_path,
    [VMS_R_RP_PONG] = vms_emit_return_path,
    [VMS_R_RP_REQ_PAGES_ID] = vms_emit_return_path,
    [VMS_R_RP_REQ_PAGES] = vms_emit_return_path,
    [VMS_R_RP_RECV_BITMAP] = vms_emit_return_path,
    [VMS_R_RP_RECV_BITMAP_END] = vms_emit_return_path,
    [VMS_R_RP_RESUME_ACK] = vms_emit_return_path,
    [VMS_R_RP_SWITCHOVER_ACK] = vms_emit_return_path,
};

void vms_emit_nothing(struct vms_writer *w, const struct vms_record *rec,
                      const struct vms_qevm_encoder *e) {
    (void)w, (void)rec, (void)e;
}

void vms_qevm_encoder_init(struct vms_qevm_encoder *e, uint32_t channel,
                           const struct vms_dialect *dialect) {
    memset(e, 0, sizeof *e);
    e->channel = channel;
    e->dialect = *dialect;
}

static enum vms_code misuse(struct vms_qevm_encoder *e, const char *what) {
    (void)vms_error_at(&e->error, VMS_E_MISUSE, e->channel, e->offset, e->number);
    return vms_error_set(&e->error, VMS_E_MISUSE, "%s", what);
}

/* The encoder follows the page size that the stream announces, as the decoder does (DLC-5). */
static void learn(struct vms_qevm_encoder *e, const struct vms_record *rec) {
    if (rec->type != VMS_R_CONFIGURATION)
        return;
    for (unsigned i = 0; i < rec->u.config.subsection_count; i++) {
        const struct vms_config_subsection *sub = &rec->u.config.subsections[i];
        if (sub->kind == VMS_CONFIG_PAGE_BITS && sub->body.len == 4)
            e->dialect.page_bits = sub->body.ptr[3];
    }
}

enum vms_code vms_qevm_encode(struct vms_qevm_encoder *e, const struct vms_record *rec,
                              struct vms_room out, size_t *len) {
    struct vms_writer w = vms_writer(out);
    *len = 0;
    if (e->bulk_left && e->bulk_left != VMS_BULK_UNKNOWN)
        return misuse(e, "the last record's bulk is not complete");
    if ((unsigned)rec->type >= VMS_RECORD_TYPE_COUNT || !EMIT[rec->type])
        return misuse(e, "not a record of the QEVM wire");
    const char *objection = vms_encode_objection(e, rec);
    if (objection)
        return misuse(e, objection);
    EMIT[rec->type](&w, rec, e);
    *len = w.pos;
    if (vms_writer_over(&w))
        return VMS_E_SPACE;
    learn(e, rec);
    e->offset += w.pos;
    e->number++;
    e->bulk_left = rec->bulk_len;
    return VMS_OK;
}

enum vms_code vms_qevm_encode_bulk(struct vms_qevm_encoder *e, uint64_t n) {
    if (n > e->bulk_left)
        return misuse(e, "more bulk than the record announced");
    if (e->bulk_left != VMS_BULK_UNKNOWN)
        e->bulk_left -= n;
    e->offset += n;
    return VMS_OK;
}

/* The wire counts names and octets in u32, whatever a limit allows. */
static size_t wire_count(uint64_t limit) {
    return limit < UINT32_MAX ? (size_t)limit : UINT32_MAX;
}

size_t vms_qevm_encode_max(const struct vms_limits *limits) {
    size_t configuration = 512 + wire_count(limits->machine_name_bytes) +
                           wire_count(limits->capabilities) * (VMS_NAME_MAX + 1);
    return configuration > VMS_STAGE_BYTES ? configuration : VMS_STAGE_BYTES;
}
