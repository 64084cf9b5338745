/* SPDX-License-Identifier: MIT */
#include "native/records.h"

/* Which record has which fields: registry/native_records.def (NAT-60). */

enum {
    HEAD_ITEMS = 3, /* number, marks, length of bulk */
    PACKET_OFFSETS = 4096,
    HELLO_RESERVED = 39,
};

#define SIZE(m)  (uint8_t)sizeof(((struct vms_record *)0)->u.m)
#define AT(m)    (uint16_t) offsetof(struct vms_record, u.m)
#define UP_TO(m) (UINT64_MAX >> (64 - 8 * sizeof(((struct vms_record *)0)->u.m)))
#define U(m)                                                                                       \
    { R_UINT, SIZE(m), AT(m), UP_TO(m) }
#define U_MAX(m, x)                                                                                \
    { R_UINT, SIZE(m), AT(m), x }
#define FIXED(m)                                                                                   \
    { R_FIXED, SIZE(m), AT(m), 0 }
#define BYTES(m, x)                                                                                \
    { R_BYTES, 0, AT(m), x }
#define BLOCK                                                                                      \
    { R_BLOCK, 0, 0, 0 }
#define LAYOUT(rows)                                                                               \
    { rows, sizeof(rows) / sizeof *(rows) }

/* ---- tables: fields as registry/native_records.def names them ---- */

static const struct vms_row HEADER[] = {U(version)};
static const struct vms_row CONFIGURATION[] = {BYTES(config.machine, VMS_NAME_MAX)};
static const struct vms_row SECTION[] = {U(section.id), U(section.instance), U(section.version),
                                         U_MAX(section.kind, VMS_SECTION_DIRTY_BITMAP),
                                         BYTES(section.idstr, VMS_NAME_MAX)};
static const struct vms_row COMMAND[] = {U(command.command), BYTES(command.payload, UINT16_MAX)};
static const struct vms_row TOTAL[] = {U(ram_total)};
/* The three bools of a block travel as one number, see parts_of(). */
static const struct vms_row RAM_BLOCK[] = {BYTES(block.name, VMS_NAME_MAX)};
static const struct vms_row RAM_BLOCK_REST[] = {
    U(block.used_length),         U(block.page_size),        U(block.gpa),
    U(block.mapped_version),      U(block.mapped_page_size), U(block.mapped_bitmap_offset),
    U(block.mapped_pages_offset),
};
static const struct vms_row PAGE[] = {BLOCK, U_MAX(page.continued, 1), U(page.fill),
                                      U(page.offset)};
static const struct vms_row WORD[] = {U(ram_word)};
static const struct vms_row BITMAP[] = {U(bitmap.flags),
                                        BYTES(bitmap.node, VMS_NAME_MAX),
                                        BYTES(bitmap.name, VMS_NAME_MAX),
                                        U(bitmap.granularity),
                                        U(bitmap.start_flags),
                                        U(bitmap.sector),
                                        U(bitmap.sectors)};
static const struct vms_row HELLO[] = {FIXED(hello.uuid), U(hello.channel_id),
                                       BYTES(hello.reserved, HELLO_RESERVED)};
static const struct vms_row PACKET[] = {U(packet.flags),
                                        U(packet.pages_alloc),
                                        U(packet.normal_pages),
                                        U(packet.next_packet_size),
                                        U(packet.packet_num),
                                        U(packet.zero_pages),
                                        BYTES(packet.block, PACKET_NAME),
                                        BYTES(packet.offsets, PACKET_OFFSETS),
                                        BYTES(packet.raw, PACKET_HEAD)};
static const struct vms_row DEVICE[] = {BYTES(device.idstr, PACKET_NAME),
                                        U(device.instance),
                                        U(device.version),
                                        U(device.index),
                                        U(device.flags),
                                        BYTES(device.raw_idstr, PACKET_NAME),
                                        U(device.raw_flags)};
static const struct vms_row REQUEST[] = {BYTES(request.block, VMS_NAME_MAX), U(request.offset),
                                         U(request.length)};
static const struct vms_row VALUE[] = {U(value)};
static const struct vms_row RP_BLOCK[] = {BYTES(rp_block, VMS_NAME_MAX)};

static const struct vms_layout NOTHING = {NULL, 0};
static const struct vms_layout LAYOUTS[VMS_RECORD_TYPE_COUNT] = {
    [VMS_R_HEADER] = LAYOUT(HEADER),
    [VMS_R_CONFIGURATION] = LAYOUT(CONFIGURATION),
    [VMS_R_SECTION_START] = LAYOUT(SECTION),
    [VMS_R_SECTION_PART] = LAYOUT(SECTION),
    [VMS_R_SECTION_END] = LAYOUT(SECTION),
    [VMS_R_SECTION_FULL] = LAYOUT(SECTION),
    [VMS_R_SECTION_FOOTER] = LAYOUT(SECTION),
    [VMS_R_COMMAND] = LAYOUT(COMMAND),
    [VMS_R_RAM_MEM_SIZE] = LAYOUT(TOTAL),
    [VMS_R_RAM_BLOCK] = LAYOUT(RAM_BLOCK),
    [VMS_R_RAM_PAGE] = LAYOUT(PAGE),
    [VMS_R_RAM_ZERO] = LAYOUT(PAGE),
    [VMS_R_RAM_XBZRLE] = LAYOUT(PAGE),
    [VMS_R_RAM_COMPRESSED] = LAYOUT(PAGE),
    [VMS_R_RAM_HOOK] = LAYOUT(WORD),
    [VMS_R_RAM_MULTIFD_FLUSH] = LAYOUT(WORD),
    [VMS_R_RAM_EOS] = LAYOUT(WORD),
    [VMS_R_MAPPED_BITMAP] = LAYOUT(PAGE),
    [VMS_R_MAPPED_PADDING] = LAYOUT(PAGE),
    [VMS_R_MAPPED_PAGES] = LAYOUT(PAGE),
    [VMS_R_DIRTY_BITMAP] = LAYOUT(BITMAP),
    [VMS_R_MULTIFD_HELLO] = LAYOUT(HELLO),
    [VMS_R_MULTIFD_PACKET] = LAYOUT(PACKET),
    [VMS_R_MULTIFD_DEVICE_STATE] = LAYOUT(DEVICE),
    [VMS_R_RP_SHUT] = LAYOUT(VALUE),
    [VMS_R_RP_PONG] = LAYOUT(VALUE),
    [VMS_R_RP_REQ_PAGES_ID] = LAYOUT(REQUEST),
    [VMS_R_RP_REQ_PAGES] = LAYOUT(REQUEST),
    [VMS_R_RP_RECV_BITMAP] = LAYOUT(RP_BLOCK),
    [VMS_R_RP_RESUME_ACK] = LAYOUT(VALUE),
};
const struct vms_layout vms_layout_block_rest = LAYOUT(RAM_BLOCK_REST);

/* [NAT-60] Numbers on the wire are the registry's, whatever the enum's are. */
uint64_t vms_record_number(enum vms_record_type type) {
    switch (type) {
#define VMS_NATIVE_RECORD(name, number, fields)                                                    \
    case VMS_R_##name:                                                                             \
        return number;
#include <vmstream/registry/native_records.def>
#undef VMS_NATIVE_RECORD
    default: return 0;
    }
}

enum vms_record_type vms_record_numbered(uint64_t number) {
    switch (number) {
#define VMS_NATIVE_RECORD(name, number, fields)                                                    \
    case number:                                                                                   \
        return VMS_R_##name;
#include <vmstream/registry/native_records.def>
#undef VMS_NATIVE_RECORD
    default: return VMS_RECORD_NONE;
    }
}

const struct vms_layout *vms_record_layout(enum vms_record_type type) {
    return LAYOUTS[type].rows ? &LAYOUTS[type] : &NOTHING;
}

/* Elements of the record's array. */
uint32_t vms_record_items(const struct vms_record *rec) {
    uint32_t count = HEAD_ITEMS + vms_record_layout(rec->type)->count;
    if (rec->type == VMS_R_CONFIGURATION)
        count += rec->u.config.subsection_count * SUBSECTION_ITEMS;
    if (rec->type == VMS_R_RAM_BLOCK)
        count += 1u + vms_layout_block_rest.count;
    return count;
}
