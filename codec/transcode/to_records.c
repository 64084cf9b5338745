/* SPDX-License-Identifier: MIT */
#include "transcode/to_native.h"

/* Octets of a RECORDS body beside the records: map, key, array, UNPACKED, PACK. */
enum {
    BODY_OVERHEAD = 64,
};

/* The slices of a record, by its type, so that they can be copied. */
struct slices {
    struct vms_slice *at[5];
    size_t count;
};

static void list(struct slices *s, struct vms_slice *slice) {
    s->at[s->count++] = slice;
}

static void list_config(struct slices *s, struct vms_rec_configuration *c) {
    list(s, &c->machine);
    for (unsigned i = 0; i < c->subsection_count && i < VMS_CONFIG_SUBSECTIONS; i++)
        list(s, &c->subsections[i].body);
}

static void list_packet(struct slices *s, struct vms_rec_multifd_packet *p) {
    list(s, &p->block);
    list(s, &p->offsets);
    list(s, &p->raw);
}

static void list_device(struct slices *s, struct vms_rec_multifd_device *d) {
    list(s, &d->idstr);
    list(s, &d->raw_idstr);
}

static void list_slices(struct slices *s, struct vms_record *r) {
    s->count = 0;
    switch (r->type) {
    case VMS_R_CONFIGURATION: list_config(s, &r->u.config); break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER: list(s, &r->u.section.idstr); break;
    case VMS_R_COMMAND: list(s, &r->u.command.payload); break;
    case VMS_R_RAM_BLOCK: list(s, &r->u.block.name); break;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: list(s, &r->u.page.block); break;
    case VMS_R_DIRTY_BITMAP:
        list(s, &r->u.bitmap.node);
        list(s, &r->u.bitmap.name);
        break;
    case VMS_R_MULTIFD_HELLO: list(s, &r->u.hello.reserved); break;
    case VMS_R_MULTIFD_PACKET: list_packet(s, &r->u.packet); break;
    case VMS_R_MULTIFD_DEVICE_STATE: list_device(s, &r->u.device); break;
    case VMS_R_RP_REQ_PAGES_ID:
    case VMS_R_RP_REQ_PAGES: list(s, &r->u.request.block); break;
    case VMS_R_RP_RECV_BITMAP: list(s, &r->u.rp_block); break;
    default: break;
    }
}

static size_t slice_bytes(const struct slices *s) {
    size_t sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += s->at[i]->len;
    return sum;
}

static void copy_slices(struct vms_to_native *t, const struct slices *s) {
    for (size_t i = 0; i < s->count; i++) {
        uint8_t *to = t->arena + t->arena_used;
        if (s->at[i]->len)
            memcpy(to, s->at[i]->ptr, s->at[i]->len);
        t->arena_used += s->at[i]->len;
        s->at[i]->ptr = to;
    }
}

static bool has_page(enum vms_record_type type) {
    return type == VMS_R_RAM_PAGE || type == VMS_R_RAM_ZERO || type == VMS_R_RAM_XBZRLE ||
           type == VMS_R_RAM_COMPRESSED || type == VMS_R_MAPPED_BITMAP ||
           type == VMS_R_MAPPED_PADDING || type == VMS_R_MAPPED_PAGES;
}

/* TRC-4: by number only when the list went over this channel. */
static void name_block(const struct vms_to_native *t, struct vms_record *r) {
    if (!has_page(r->type))
        return;
    if (r->u.page.block_index < t->blocks)
        r->u.page.block = vms_slice(NULL, 0);
    else
        r->u.page.block_index = VMS_NATIVE_NO_INDEX;
}

/* [TRC-21] What START bound to the id is not said again. */
static void strip_section(struct vms_record *r) {
    bool again = r->type == VMS_R_SECTION_PART || r->type == VMS_R_SECTION_END ||
                 r->type == VMS_R_SECTION_FOOTER;
    if (again)
        r->u.section = (struct vms_rec_section){.id = r->u.section.id, .kind = r->u.section.kind};
}

static bool is_compressed(const struct vms_record *r) {
    return r->type == VMS_R_RAM_COMPRESSED ||
           (r->type == VMS_R_MULTIFD_PACKET && (r->u.packet.flags & VMS_MULTIFD_COMPRESSION));
}

bool vms_records_add(struct vms_to_native *t, const struct vms_record *record) {
    struct vms_record r = *record;
    struct slices slices;
    name_block(t, &r);
    strip_section(&r);
    size_t size = vms_native_record_size(&r);
    if (t->record_count == t->config.limits.native_records ||
        size > t->config.limits.native_body_bytes ||
        t->body + size > t->config.limits.native_body_bytes)
        return false;
    list_slices(&slices, &r);
    if (slice_bytes(&slices) > t->arena_cap - t->arena_used)
        return false;
    copy_slices(t, &slices);
    t->records[t->record_count++] = r;
    t->body += size;
    t->mixed |= r.type == VMS_R_RAM_XBZRLE || r.type == VMS_R_RAM_COMPRESSED;
    t->packed_already |= is_compressed(&r);
    return true;
}

void vms_records_reset(struct vms_to_native *t) {
    t->record_count = 0;
    t->arena_used = 0;
    t->body = BODY_OVERHEAD;
    t->mixed = false;
}
