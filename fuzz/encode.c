/* SPDX-License-Identifier: MIT */
#include "qevm.h"

#include <vmstream/native.h>

/*
 * What a program gives to the encoders: records and frames with any content. They are refused with
 * a reason, or written:
 *   - too small a room is answered with the exact size, and changes nothing [MOD-6]
 *   - the size that is told beforehand is the size that is written, on both wires
 * Input: 1 octet dialect; then of each record: type, 2 of lengths, 12 of fields.
 */
enum {
    ROOM = 1 << 16,
    TEXT = 300,
};

static uint8_t text[TEXT];

/* So many octets of something. */
static struct vms_slice some(uint32_t n) {
    return vms_slice(text, n % TEXT);
}

static uint64_t wide(uint32_t v) {
    return (uint64_t)(v & 0xffff) << (v >> 16 & 63);
}

static struct vms_rec_ram_block a_block(uint32_t lengths, const uint32_t f[3]) {
    return (struct vms_rec_ram_block){.name = some(lengths),
                                      .used_length = wide(f[0]),
                                      .has_page_size = f[1] & 1,
                                      .page_size = wide(f[1] >> 2),
                                      .has_gpa = f[1] & 2,
                                      .gpa = wide(f[2]),
                                      .has_mapped = f[2] & 1,
                                      .mapped_version = f[2] >> 30,
                                      .mapped_page_size = 4096,
                                      .mapped_bitmap_offset = wide(f[0]),
                                      .mapped_pages_offset = wide(f[1])};
}

static struct vms_rec_configuration a_configuration(uint32_t lengths, const uint32_t f[3]) {
    struct vms_rec_configuration c = {.machine = some(lengths & 511)};
    c.subsection_count = f[0] & 3;
    for (unsigned i = 0; i < c.subsection_count; i++)
        c.subsections[i] =
            (struct vms_config_subsection){.kind = (enum vms_config_kind)((f[1] >> i) & 3),
                                           .version = f[2] & 1,
                                           .body = some(f[2] >> 1)};
    return c;
}

static struct vms_rec_multifd_packet a_packet(uint32_t lengths, const uint32_t f[3]) {
    return (struct vms_rec_multifd_packet){.flags = f[0] & 0xff,
                                           .pages_alloc = f[0] >> 8 & 31,
                                           .normal_pages = f[0] >> 16 & 31,
                                           .zero_pages = f[0] >> 24 & 31,
                                           .next_packet_size = f[1],
                                           .packet_num = f[2],
                                           .block = some(lengths >> 8),
                                           .offsets = vms_slice(text, (lengths & 31) * 8),
                                           .raw = vms_slice(text, f[2] & 1 ? 290 : 0)};
}

static struct vms_record a_record(struct vms_slice *in) {
    struct vms_record r = {
        .type = (enum vms_record_type)(fuzz_option(in, 1) % (VMS_RECORD_TYPE_COUNT + 1))};
    uint32_t lengths = fuzz_option(in, 2);
    uint32_t f[3] = {fuzz_option(in, 4), fuzz_option(in, 4), fuzz_option(in, 4)};
    static const uint64_t bulks[] = {0, 1, 8, 4096, 65536, VMS_BULK_UNKNOWN, 2, 16};
    r.bulk_len = bulks[lengths >> 13];
    r.packaged = lengths & 64;
    r.guessed = lengths & 128;
    switch (r.type) {
    case VMS_R_HEADER: r.u.version = f[0]; break;
    case VMS_R_CONFIGURATION: r.u.config = a_configuration(lengths, f); break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER:
        r.u.section = (struct vms_rec_section){
            f[0], f[1], f[2], (enum vms_section_kind)(lengths >> 9 & 3), some(lengths & 511)};
        break;
    case VMS_R_COMMAND:
        r.u.command = (struct vms_rec_command){(uint16_t)(f[0] & 15), some(lengths & 511)};
        break;
    case VMS_R_RAM_MEM_SIZE: r.u.ram_total = wide(f[0]); break;
    case VMS_R_RAM_BLOCK: r.u.block = a_block(lengths & 511, f); break;
    case VMS_R_RAM_HOOK:
    case VMS_R_RAM_MULTIFD_FLUSH:
    case VMS_R_RAM_EOS: r.u.ram_word = wide(f[0]); break;
    case VMS_R_DIRTY_BITMAP:
        r.u.bitmap =
            (struct vms_rec_dirty_bitmap){(uint8_t)f[0], some(lengths & 255), some(f[1]), f[2],
                                          (uint8_t)f[1], wide(f[2]),          f[0] >> 8};
        break;
    case VMS_R_MULTIFD_HELLO:
        r.u.hello = (struct vms_rec_multifd_hello){.channel_id = (uint8_t)f[0],
                                                   .reserved = some(lengths & 63)};
        break;
    case VMS_R_MULTIFD_PACKET: r.u.packet = a_packet(lengths, f); break;
    case VMS_R_MULTIFD_DEVICE_STATE:
        r.u.device = (struct vms_rec_multifd_device){
            some(lengths & 511), f[0], f[1] & 1, f[2], f[1] >> 8, some(f[0] & 511), f[1] & 0xff};
        break;
    case VMS_R_RP_REQ_PAGES:
    case VMS_R_RP_REQ_PAGES_ID:
        r.u.request = (struct vms_rec_rp_pages){some(lengths & 511), wide(f[0]), f[1]};
        break;
    case VMS_R_RP_SHUT:
    case VMS_R_RP_PONG:
    case VMS_R_RP_RESUME_ACK: r.u.value = f[0]; break;
    case VMS_R_RP_RECV_BITMAP: r.u.rp_block = some(lengths & 511); break;
    default:
        r.u.page = (struct vms_rec_ram_page){some(lengths & 511), f[1] >> 28, f[1] & 1,
                                             (uint8_t)f[2], wide(f[0])};
        break;
    }
    return r;
}

/* ---- QEMU's wire ---- */

static void encode_qevm(struct vms_qevm_encoder *e, const struct vms_record *r) {
    static uint8_t room[ROOM];
    struct vms_qevm_encoder before = *e;
    size_t exact = 0, len = 0;
    enum vms_code none = vms_qevm_encode(e, r, (struct vms_room){room, 0}, &exact);
    fuzz_saw(none);
    if (none != VMS_E_SPACE) {
        ORACLE(none == VMS_OK || e->error.code == none, "%s", vms_code_name(none));
        return;
    }
    ORACLE(e->offset == before.offset && e->number == before.number, "SPACE has changed something");
    ORACLE(exact <= ROOM, "%zu octets", exact);
    if (exact > 1)
        ORACLE(vms_qevm_encode(e, r, (struct vms_room){room, exact - 1}, &len) == VMS_E_SPACE &&
                   len == exact,
               "%zu, then %zu", exact, len);
    ORACLE(vms_qevm_encode(e, r, (struct vms_room){room, exact}, &len) == VMS_OK && len == exact,
           "%zu, then %zu: %s", exact, len, e->error.message);
    uint64_t bulk = r->bulk_len == VMS_BULK_UNKNOWN ? 3 : r->bulk_len;
    fuzz_saw(vms_qevm_encode_bulk(e, bulk + 1)); /* more than is owed */
    if (e->bulk_left)
        (void)vms_qevm_encode_bulk(e, bulk);
    if (e->bulk_left == VMS_BULK_UNKNOWN)
        e->bulk_left = 0;
}

/* ---- native ---- */

static void encode_native(const struct vms_record *r) {
    static uint8_t room[1 << 17];
    struct vms_native_frame frame = {.header.type = VMS_NATIVE_RECORDS};
    size_t exact = 0, len = 0, size = vms_native_record_size(r);
    frame.u.records = (struct vms_native_records){1, r};
    enum vms_code none = vms_native_encode_body(&frame, (struct vms_room){room, 0}, &exact);
    fuzz_saw(none);
    if (none != VMS_E_SPACE)
        return;
    ORACLE(size != SIZE_MAX, "a record that has no size was written");
    ORACLE(exact > size, "%zu octets, the record %zu", exact, size);
    ORACLE(vms_native_encode_body(&frame, (struct vms_room){room, exact}, &len) == VMS_OK &&
               len == exact,
           "%zu, then %zu", exact, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    struct vms_qevm_encoder encoder;
    struct vms_dialect dialect = fuzz_dialect((uint8_t)fuzz_option(&in, 1));
    if (!text[0])
        memset(text, 'a', sizeof text);
    vms_qevm_encoder_init(&encoder, 0, &dialect);
    while (in.len) {
        struct vms_record r = a_record(&in);
        encode_qevm(&encoder, &r);
        encode_native(&r);
    }
    return 0;
}
