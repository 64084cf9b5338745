/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* What the wire cannot express: clause MOD-7. Each check gives the reason, or NULL. */

enum {
    PACKET_NAME = 256,
    HELLO_RESERVED = 39,
    DEVICE_HEAD = 12,
};

typedef const char *check(const struct vms_qevm_encoder *e, const struct vms_record *rec);

uint32_t vms_encode_page_size(const struct vms_qevm_encoder *e) {
    return 1u << (e->dialect.page_bits ? e->dialect.page_bits : 12);
}

static const char *check_name(struct vms_slice name) {
    return name.len > VMS_NAME_MAX ? "a name over 255 bytes" : NULL;
}

static const char *check_u32(uint64_t bulk_len) {
    return bulk_len > UINT32_MAX ? "bulk over 4 GiB" : NULL;
}

/* [CFG-5] What follows is encoded by it. */
static bool page_bits_ok(struct vms_slice body) {
    static const uint8_t high[3];
    return body.len == 4 && !memcmp(body.ptr, high, sizeof high) && body.ptr[3] >= 10 &&
           body.ptr[3] <= 16;
}

static bool subsection_ok(const struct vms_config_subsection *sub) {
    switch (sub->kind) {
    case VMS_CONFIG_PAGE_BITS: return page_bits_ok(sub->body);
    case VMS_CONFIG_CAPABILITIES: return sub->body.len >= 4;
    case VMS_CONFIG_UUID: return sub->body.len == 16;
    default: return false;
    }
}

static const char *check_configuration(const struct vms_qevm_encoder *e,
                                       const struct vms_record *rec) {
    const struct vms_rec_configuration *c = &rec->u.config;
    (void)e;
    if (c->subsection_count > VMS_CONFIG_SUBSECTIONS)
        return "too many subsections";
    for (unsigned i = 0; i < c->subsection_count; i++)
        if (!subsection_ok(&c->subsections[i]))
            return "a malformed subsection";
    return c->machine.len > UINT32_MAX ? "machine name over 4 GiB" : NULL;
}

static const char *check_section(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return check_name(rec->u.section.idstr);
}

static const char *check_command(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return rec->u.command.payload.len > UINT16_MAX ? "payload over 65535 bytes" : NULL;
}

static const char *check_vmdescription(const struct vms_qevm_encoder *e,
                                       const struct vms_record *rec) {
    (void)e;
    return check_u32(rec->bulk_len);
}

/* A word holds an offset above the page bits and flags below. */
static const char *check_aligned(const struct vms_qevm_encoder *e, uint64_t offset) {
    return offset % vms_encode_page_size(e) ? "an offset or total that is not whole pages" : NULL;
}

static const char *check_mem_size(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    return check_aligned(e, rec->u.ram_total);
}

static const char *check_block(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return check_name(rec->u.block.name);
}

static const char *check_page(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    if (check_aligned(e, rec->u.page.offset))
        return check_aligned(e, rec->u.page.offset);
    if (rec->type == VMS_R_RAM_PAGE && rec->bulk_len != vms_encode_page_size(e))
        return "a page that is not one target page";
    if (rec->type == VMS_R_RAM_XBZRLE && rec->bulk_len > UINT16_MAX)
        return "a difference over 65535 bytes";
    if (check_u32(rec->bulk_len))
        return check_u32(rec->bulk_len);
    return rec->u.page.continued ? NULL : check_name(rec->u.page.block);
}

static const char *check_word(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    uint64_t flags = rec->u.ram_word & (vms_encode_page_size(e) - 1);
    uint64_t flag = rec->type == VMS_R_RAM_EOS    ? VMS_RAM_EOS
                    : rec->type == VMS_R_RAM_HOOK ? VMS_RAM_HOOK
                                                  : VMS_RAM_MULTIFD_FLUSH;
    return flags != flag ? "a word with other flags" : NULL;
}

static const char *check_bitmap(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    const char *node = check_name(rec->u.bitmap.node);
    bool bits = rec->u.bitmap.flags & VMS_DBM_BITS && !(rec->u.bitmap.flags & VMS_DBM_ZEROES);
    if (rec->bulk_len && !bits)
        return "a chunk without bits";
    return node ? node : check_name(rec->u.bitmap.name);
}

static const char *check_hello(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return rec->u.hello.reserved.len > HELLO_RESERVED ? "over 39 reserved bytes" : NULL;
}

static const char *check_packet(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    const struct vms_rec_multifd_packet *p = &rec->u.packet;
    uint64_t page_size = vms_encode_page_size(e);
    uint64_t len = p->flags & VMS_MULTIFD_COMPRESSION ? p->next_packet_size
                                                      : (uint64_t)p->normal_pages * page_size;
    if (p->block.len > PACKET_NAME)
        return "a block name over 256 bytes";
    if (p->raw.len && p->raw.len != VMS_MULTIFD_HEADER)
        return "a residue that is no packet head";
    if (p->offsets.len > VMS_MULTIFD_BYTES / page_size * 8)
        return "more offsets than a packet holds";
    return rec->bulk_len != (p->normal_pages ? len : 0) ? "bulk that is not the packet's" : NULL;
}

static const char *check_device(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    const struct vms_rec_multifd_device *p = &rec->u.device;
    (void)e;
    if (p->idstr.len > PACKET_NAME || (p->raw_idstr.len && p->raw_idstr.len != PACKET_NAME))
        return "an id string over 256 bytes";
    return rec->bulk_len > UINT32_MAX - DEVICE_HEAD ? "bulk over 4 GiB" : NULL;
}

static const char *check_request(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return check_name(rec->u.request.block);
}

static const char *check_rp_bitmap(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    (void)e;
    return check_name(rec->u.rp_block);
}

static check *const CHECKS[VMS_RECORD_TYPE_COUNT] = {
    [VMS_R_CONFIGURATION] = check_configuration,
    [VMS_R_SECTION_START] = check_section,
    [VMS_R_SECTION_FULL] = check_section,
    [VMS_R_COMMAND] = check_command,
    [VMS_R_VMDESCRIPTION] = check_vmdescription,
    [VMS_R_RAM_MEM_SIZE] = check_mem_size,
    [VMS_R_RAM_BLOCK] = check_block,
    [VMS_R_RAM_PAGE] = check_page,
    [VMS_R_RAM_ZERO] = check_page,
    [VMS_R_RAM_XBZRLE] = check_page,
    [VMS_R_RAM_COMPRESSED] = check_page,
    [VMS_R_RAM_HOOK] = check_word,
    [VMS_R_RAM_MULTIFD_FLUSH] = check_word,
    [VMS_R_RAM_EOS] = check_word,
    [VMS_R_DIRTY_BITMAP] = check_bitmap,
    [VMS_R_MULTIFD_HELLO] = check_hello,
    [VMS_R_MULTIFD_PACKET] = check_packet,
    [VMS_R_MULTIFD_DEVICE_STATE] = check_device,
    [VMS_R_RP_REQ_PAGES_ID] = check_request,
    [VMS_R_RP_RECV_BITMAP] = check_rp_bitmap,
};

static bool may_have_bulk(enum vms_record_type type) {
    switch (type) {
    case VMS_R_SECTION_FULL:
    case VMS_R_VMDESCRIPTION:
    case VMS_R_DEVICE_TAIL:
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES:
    case VMS_R_VFIO_DATA_STATE:
    case VMS_R_VFIO_CONFIG_STATE:
    case VMS_R_DIRTY_BITMAP:
    case VMS_R_MULTIFD_PACKET:
    case VMS_R_MULTIFD_DEVICE_STATE:
    case VMS_R_RP_RECV_BITMAP: return true;
    default: return false;
    }
}

const char *vms_encode_objection(const struct vms_qevm_encoder *e, const struct vms_record *rec) {
    if (rec->bulk_len && !may_have_bulk(rec->type))
        return "bulk of a record that has none";
    if (rec->bulk_len == VMS_BULK_UNKNOWN && rec->type != VMS_R_DEVICE_TAIL)
        return "bulk of unknown length";
    return CHECKS[rec->type] ? CHECKS[rec->type](e, rec) : NULL;
}
