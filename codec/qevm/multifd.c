/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* Multifd channels: clauses MFD. A handshake, then packets of RAM pages or of device state. */

enum {
    MULTIFD_VERSION = 1,
    HELLO_RESERVED = 39,
    CHANNEL_AT = 24,
    PACKET_FLAGS_AT = 8,
    ALLOC_AT = 12,
    NORMAL_AT = 16,
    ZERO_AT = 32,
    BLOCK_AT = 64,
    IDSTR_LEN = 256,
    DEVICE_FLAGS_AT = 8,
    DEVICE_HEAD = 12, /* version, index and flags at the start of a device-state packet's data */
    DEVICE_CONFIG = 1,
};

static enum vms_code check_magic(struct vms_qevm_decoder *d, struct vms_reader *r) {
    uint32_t magic = vms_read_u32(r);
    if (!vms_reader_short(r) && magic != VMS_MULTIFD_MAGIC)
        return vms_qevm_fail(d, VMS_E_MULTIFD_MAGIC, 0, "magic 0x%08x", magic);
    uint32_t version = vms_read_u32(r);
    if (!vms_reader_short(r) && version != MULTIFD_VERSION)
        return vms_qevm_fail(d, VMS_E_MULTIFD_MAGIC, 4, "version %u", version);
    return VMS_OK;
}

enum vms_code vms_parse_multifd_hello(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec) {
    struct vms_rec_multifd_hello *h = &rec->u.hello;
    enum vms_code code = check_magic(d, r);
    struct vms_slice uuid = vms_read_bytes(r, sizeof h->uuid);
    h->channel_id = vms_read_u8(r);
    h->reserved = vms_read_bytes(r, HELLO_RESERVED);
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    if (h->channel_id >= d->config.limits.multifd_channels)
        return vms_qevm_fail(d, VMS_E_LIMIT, CHANNEL_AT, "multifd_channels: id %u", h->channel_id);
    memcpy(h->uuid, uuid.ptr, sizeof h->uuid);
    rec->type = VMS_R_MULTIFD_HELLO;
    d->state = VMS_ST_MULTIFD_PACKET;
    return VMS_OK;
}

static struct vms_slice until_nul(struct vms_slice s) {
    const uint8_t *nul = s.len ? memchr(s.ptr, 0, s.len) : NULL;
    return vms_slice_head(s, nul ? (size_t)(nul - s.ptr) : s.len);
}

/* ---- RAM packets ---- */

static uint32_t capacity(const struct vms_qevm_decoder *d) {
    return VMS_MULTIFD_BYTES / d->page_size;
}

static void read_packet(struct vms_reader *r, struct vms_rec_multifd_packet *p, uint32_t pages) {
    size_t from = r->pos;
    (void)vms_read_bytes(r, PACKET_FLAGS_AT);
    p->flags = vms_read_u32(r);
    p->pages_alloc = vms_read_u32(r);
    p->normal_pages = vms_read_u32(r);
    p->next_packet_size = vms_read_u32(r);
    p->packet_num = vms_read_u64(r);
    p->zero_pages = vms_read_u32(r);
    (void)vms_read_bytes(r, BLOCK_AT - 36);
    p->block = until_nul(vms_read_bytes(r, IDSTR_LEN));
    if (!vms_reader_short(r))
        p->raw = vms_slice(r->ptr + from, VMS_MULTIFD_HEADER);
    p->offsets = vms_read_bytes(r, (size_t)pages * 8);
}

/* [MFD-4] */
static enum vms_code check_counts(struct vms_qevm_decoder *d,
                                  const struct vms_rec_multifd_packet *p) {
    size_t at = 0;
    if (p->pages_alloc > capacity(d))
        at = ALLOC_AT;
    else if (p->normal_pages > p->pages_alloc)
        at = NORMAL_AT;
    else if (p->zero_pages > p->pages_alloc - p->normal_pages)
        at = ZERO_AT;
    if (at)
        return vms_qevm_fail(d, VMS_E_MULTIFD_COUNTS, at, "%u + %u of %u, at most %u",
                             p->normal_pages, p->zero_pages, p->pages_alloc, capacity(d));
    return VMS_OK;
}

/* [MFD-5], [MFD-10] */
static enum vms_code check_packet_flags(struct vms_qevm_decoder *d, uint32_t flags) {
    uint32_t method = flags & VMS_MULTIFD_COMPRESSION;
    if (flags & ~(uint32_t)VMS_MULTIFD_KNOWN)
        return vms_qevm_fail(d, VMS_E_MULTIFD_FLAGS, PACKET_FLAGS_AT, "0x%x", flags);
    if (method & (method - 1))
        return vms_qevm_fail(d, VMS_E_MULTIFD_COMPRESSION, PACKET_FLAGS_AT, "0x%x", flags);
#define VMS_MULTIFD_FLAG(name, value, since)                                                       \
    if ((flags & (value)) && !vms_dialect_has(&d->dialect, since, 0))                              \
        return vms_qevm_fail(d, VMS_E_MULTIFD_FLAGS, PACKET_FLAGS_AT, #name);
#include <vmstream/registry/qevm_multifd.def>
#undef VMS_MULTIFD_FLAG
    return VMS_OK;
}

/* [MFD-6], [MFD-7] */
static enum vms_code check_pages(struct vms_qevm_decoder *d,
                                 const struct vms_rec_multifd_packet *p) {
    uint32_t pages = p->normal_pages + p->zero_pages;
    uint32_t block = vms_block_find(d, p->block);
    if (!pages)
        return VMS_OK;
    if (!p->block.len || p->block.len == IDSTR_LEN || !vms_printable(p->block) ||
        (d->list_seen && block == VMS_NO_BLOCK))
        return vms_qevm_fail(d, VMS_E_MULTIFD_BLOCK, BLOCK_AT, "%.*s", (int)p->block.len,
                             (const char *)p->block.ptr);
    uint64_t end = block == VMS_NO_BLOCK ? UINT64_MAX : d->blocks[block].used_length;
    struct vms_reader r = vms_reader(p->offsets);
    for (uint32_t i = 0; i < pages; i++) {
        uint64_t offset = vms_read_u64(&r);
        if (offset % d->page_size || offset >= end)
            return vms_qevm_fail(d, VMS_E_MULTIFD_OFFSET, VMS_MULTIFD_HEADER + (size_t)i * 8,
                                 "0x%llx", (unsigned long long)offset);
    }
    return VMS_OK;
}

/* [MFD-8] next_packet_size is stale unless compressed pages follow. */
static enum vms_code data_length(struct vms_qevm_decoder *d, const struct vms_rec_multifd_packet *p,
                                 uint64_t *len) {
    *len = (uint64_t)p->normal_pages * d->page_size;
    if (!p->normal_pages || !(p->flags & VMS_MULTIFD_COMPRESSION))
        return VMS_OK;
    *len = p->next_packet_size;
    if (!p->next_packet_size)
        return vms_qevm_fail(d, VMS_E_MULTIFD_SIZE, 20, "0 bytes for %u pages", p->normal_pages);
    if (p->next_packet_size > d->config.limits.multifd_data_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 20, "multifd_data_bytes: %u", p->next_packet_size);
    return VMS_OK;
}

static enum vms_code parse_ram_packet(struct vms_qevm_decoder *d, struct vms_reader *r,
                                      struct vms_record *rec) {
    struct vms_rec_multifd_packet *p = &rec->u.packet;
    read_packet(r, p, capacity(d));
    if (vms_reader_short(r))
        return VMS_OK;
    enum vms_code code = check_counts(d, p);
    if (code == VMS_OK)
        code = check_pages(d, p);
    if (code == VMS_OK)
        code = data_length(d, p, &rec->bulk_len);
    rec->type = VMS_R_MULTIFD_PACKET;
    return code;
}

/* ---- device-state packets ---- */

/* [MFD-9] */
static enum vms_code check_device(struct vms_qevm_decoder *d,
                                  const struct vms_rec_multifd_device *p, uint32_t size) {
    if (p->raw_flags != VMS_MULTIFD_DEVICE_STATE)
        return vms_qevm_fail(d, VMS_E_MULTIFD_DEVICE_STATE, DEVICE_FLAGS_AT, "flags 0x%x",
                             p->raw_flags);
    if (!p->idstr.len || p->idstr.len == IDSTR_LEN || !vms_printable(p->idstr))
        return vms_qevm_fail(d, VMS_E_MULTIFD_DEVICE_STATE, 12, "bad id string");
    if (size < DEVICE_HEAD)
        return vms_qevm_fail(d, VMS_E_MULTIFD_DEVICE_STATE, 272, "%u bytes", size);
    if (size - DEVICE_HEAD > d->config.limits.device_state_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, 272, "device_state_bytes: %u", size - DEVICE_HEAD);
    return VMS_OK;
}

/* [VFIO-6] */
static enum vms_code check_device_head(struct vms_qevm_decoder *d,
                                       const struct vms_rec_multifd_device *p) {
    enum {
        HEAD_AT = 276
    };
    if (p->version || p->flags & ~(uint32_t)DEVICE_CONFIG)
        return vms_qevm_fail(d, VMS_E_MULTIFD_DEVICE_STATE, p->version ? HEAD_AT : HEAD_AT + 8,
                             "version %u, flags 0x%x", p->version, p->flags);
    if (p->index == UINT32_MAX)
        return vms_qevm_fail(d, VMS_E_VFIO_STATE_INDEX, HEAD_AT + 4, "0x%x", p->index);
    return VMS_OK;
}

static enum vms_code parse_device_packet(struct vms_qevm_decoder *d, struct vms_reader *r,
                                         struct vms_record *rec) {
    struct vms_rec_multifd_device *p = &rec->u.device;
    (void)vms_read_bytes(r, DEVICE_FLAGS_AT);
    p->raw_flags = vms_read_u32(r);
    p->raw_idstr = vms_read_bytes(r, IDSTR_LEN);
    p->idstr = until_nul(p->raw_idstr);
    p->instance = vms_read_u32(r);
    uint32_t size = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    enum vms_code code = check_device(d, p, size);
    if (code != VMS_OK)
        return code;
    p->version = vms_read_u32(r);
    p->index = vms_read_u32(r);
    p->flags = vms_read_u32(r);
    if (vms_reader_short(r))
        return VMS_OK;
    rec->type = VMS_R_MULTIFD_DEVICE_STATE;
    rec->bulk_len = size - DEVICE_HEAD;
    return check_device_head(d, p);
}

enum vms_code vms_parse_multifd_packet(struct vms_qevm_decoder *d, struct vms_reader *r,
                                       struct vms_record *rec) {
    struct vms_reader head = *r;
    enum vms_code code = check_magic(d, &head);
    uint32_t flags = vms_read_u32(&head);
    r->need = head.need;
    if (code != VMS_OK || vms_reader_short(r))
        return code;
    code = check_packet_flags(d, flags);
    if (code != VMS_OK)
        return code;
    return flags & VMS_MULTIFD_DEVICE_STATE ? parse_device_packet(d, r, rec)
                                            : parse_ram_packet(d, r, rec);
}

/* ---- encoding ---- */

static void write_magic(struct vms_writer *w) {
    vms_write_u32(w, VMS_MULTIFD_MAGIC);
    vms_write_u32(w, MULTIFD_VERSION);
}

/* s, then zeros up to len. */
static void write_padded(struct vms_writer *w, struct vms_slice s, size_t len) {
    s = vms_slice_head(s, len);
    vms_write_bytes(w, s);
    vms_write_zeros(w, len - s.len);
}

void vms_emit_multifd_hello(struct vms_writer *w, const struct vms_record *rec,
                            const struct vms_qevm_encoder *e) {
    const struct vms_rec_multifd_hello *h = &rec->u.hello;
    (void)e;
    write_magic(w);
    vms_write_bytes(w, vms_slice(h->uuid, sizeof h->uuid));
    vms_write_u8(w, h->channel_id);
    write_padded(w, h->reserved, HELLO_RESERVED);
}

void vms_emit_multifd_packet(struct vms_writer *w, const struct vms_record *rec,
                             const struct vms_qevm_encoder *e) {
    const struct vms_rec_multifd_packet *p = &rec->u.packet;
    uint32_t page_size = vms_encode_page_size(e);
    bool residue = p->raw.len == VMS_MULTIFD_HEADER;
    write_magic(w);
    vms_write_u32(w, p->flags);
    vms_write_u32(w, p->pages_alloc);
    vms_write_u32(w, p->normal_pages);
    vms_write_u32(w, p->next_packet_size);
    vms_write_u64(w, p->packet_num);
    vms_write_u32(w, p->zero_pages);
    if (residue)
        vms_write_bytes(w, vms_slice_tail(p->raw, 36));
    else {
        vms_write_zeros(w, BLOCK_AT - 36);
        write_padded(w, p->block, IDSTR_LEN);
    }
    write_padded(w, p->offsets, (size_t)VMS_MULTIFD_BYTES / page_size * 8);
}

void vms_emit_multifd_device(struct vms_writer *w, const struct vms_record *rec,
                             const struct vms_qevm_encoder *e) {
    const struct vms_rec_multifd_device *p = &rec->u.device;
    (void)e;
    write_magic(w);
    vms_write_u32(w, p->raw_flags ? p->raw_flags : (uint32_t)VMS_MULTIFD_DEVICE_STATE);
    write_padded(w, p->raw_idstr.len ? p->raw_idstr : p->idstr, IDSTR_LEN);
    vms_write_u32(w, p->instance);
    vms_write_u32(w, (uint32_t)(rec->bulk_len + DEVICE_HEAD));
    vms_write_u32(w, p->version);
    vms_write_u32(w, p->index);
    vms_write_u32(w, p->flags);
}
