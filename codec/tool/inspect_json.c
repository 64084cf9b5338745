/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include "tool/json.h"
#include "tool/text.h"
#include <stdio.h>

static uint64_t be(struct vms_slice s, size_t at, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n && at + i < s.len; i++)
        v = v << 8 | s.ptr[at + i];
    return v;
}

/* ---- fields of the records ---- */

static json_t *capabilities(struct vms_slice body) {
    json_t *list = json_array();
    for (size_t at = 4; at < body.len;) {
        char name[VMS_NAME_MAX + 1];
        size_t len = body.ptr[at++];
        (void)text_slice(name, sizeof name, vms_slice_head(vms_slice_tail(body, at), len));
        (void)json_array_append_new(list, json_string(name));
        at += len;
    }
    return list;
}

static void put_configuration(json_t *o, const struct vms_rec_configuration *c) {
    json_put_slice(o, "machine", c->machine);
    for (unsigned i = 0; i < c->subsection_count; i++) {
        struct vms_slice body = c->subsections[i].body;
        switch (c->subsections[i].kind) {
        case VMS_CONFIG_PAGE_BITS: json_put_u64(o, "page_bits", be(body, 0, 4)); break;
        case VMS_CONFIG_CAPABILITIES: json_put(o, "capabilities", capabilities(body)); break;
        case VMS_CONFIG_UUID: json_put_hex(o, "uuid", body); break;
        }
    }
}

static void put_section(json_t *o, const struct vms_rec_section *s) {
    json_put_u64(o, "id", s->id);
    json_put_slice(o, "idstr", s->idstr);
    json_put_u64(o, "instance", s->instance);
    json_put_u64(o, "version", s->version);
    json_put_text(o, "kind", vms_section_kind_name(s->kind));
}

static void put_discard(json_t *o, struct vms_slice payload) {
    struct vms_slice block = {NULL, 0};
    struct vms_discard range;
    size_t pos = 0;
    json_t *ranges = json_array();
    while (vms_qevm_discard_next(payload, &pos, &block, &range)) {
        json_t *r = json_object();
        json_put_u64(r, "start", range.start);
        json_put_u64(r, "length", range.length);
        (void)json_array_append_new(ranges, r);
    }
    json_put_slice(o, "block", block);
    json_put(o, "ranges", ranges);
}

static void put_command(json_t *o, const struct vms_rec_command *c) {
    const char *name = vms_command_name(c->command);
    if (name)
        json_put_text(o, "command", name);
    else
        json_put_u64(o, "command", c->command);
    json_put_u64(o, "length", c->payload.len);
    switch (c->command) {
    case VMS_CMD_PING: json_put_u64(o, "value", be(c->payload, 0, 4)); break;
    case VMS_CMD_PACKAGED: json_put_u64(o, "package_bytes", be(c->payload, 0, 4)); break;
    case VMS_CMD_RECV_BITMAP: json_put_slice(o, "block", vms_slice_tail(c->payload, 1)); break;
    case VMS_CMD_POSTCOPY_RAM_DISCARD: put_discard(o, c->payload); break;
    case VMS_CMD_POSTCOPY_ADVISE:
        if (c->payload.len == 16) {
            json_put_u64(o, "host_page_sizes", be(c->payload, 0, 8));
            json_put_u64(o, "target_page_size", be(c->payload, 8, 8));
        }
        break;
    default: break;
    }
}

static void put_block(json_t *o, const struct vms_rec_ram_block *b) {
    json_put_slice(o, "block", b->name);
    json_put_u64(o, "size", b->used_length);
    if (b->has_page_size)
        json_put_u64(o, "page_size", b->page_size);
    if (b->has_gpa)
        json_put_u64(o, "gpa", b->gpa);
    if (!b->has_mapped)
        return;
    json_t *m = json_object();
    json_put_u64(m, "version", b->mapped_version);
    json_put_u64(m, "page_size", b->mapped_page_size);
    json_put_u64(m, "bitmap_offset", b->mapped_bitmap_offset);
    json_put_u64(m, "pages_offset", b->mapped_pages_offset);
    json_put(o, "mapped", m);
}

static void put_page(json_t *o, const struct vms_record *record) {
    const struct vms_rec_ram_page *p = &record->u.page;
    json_put_slice(o, "block", p->block);
    json_put_u64(o, "page_offset", p->offset);
    json_put_true(o, "continued", p->continued);
    if (record->type == VMS_R_RAM_ZERO && p->fill)
        json_put_u64(o, "fill", p->fill);
}

static void put_bitmap(json_t *o, const struct vms_rec_dirty_bitmap *b) {
    json_put_u64(o, "flags", b->flags);
    if (b->flags & VMS_DBM_DEVICE_NAME)
        json_put_slice(o, "node", b->node);
    if (b->flags & VMS_DBM_BITMAP_NAME)
        json_put_slice(o, "name", b->name);
    if (b->flags & VMS_DBM_START) {
        json_put_u64(o, "granularity", b->granularity);
        json_put_u64(o, "start_flags", b->start_flags);
    }
    if (b->flags & VMS_DBM_BITS) {
        json_put_u64(o, "sector", b->sector);
        json_put_u64(o, "sectors", b->sectors);
    }
}

static void put_offsets(json_t *o, const char *key, struct vms_slice offsets, size_t first,
                        size_t count) {
    json_t *list = json_array();
    for (size_t i = first; i < first + count && 8 * (i + 1) <= offsets.len; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)be(offsets, 8 * i, 8)));
    json_put(o, key, list);
}

static void put_packet(json_t *o, const struct vms_rec_multifd_packet *p) {
    json_put_u64(o, "flags", p->flags);
    json_put_true(o, "sync", p->flags & VMS_MULTIFD_SYNC);
    json_put_u64(o, "packet_num", p->packet_num);
    json_put_u64(o, "pages_alloc", p->pages_alloc);
    json_put_u64(o, "normal_pages", p->normal_pages);
    json_put_u64(o, "zero_pages", p->zero_pages);
    json_put_u64(o, "next_packet_size", p->next_packet_size);
    json_put_slice(o, "block", p->block);
    put_offsets(o, "normal", p->offsets, 0, p->normal_pages);
    put_offsets(o, "zero", p->offsets, p->normal_pages, p->zero_pages);
}

static void put_device(json_t *o, const struct vms_rec_multifd_device *d) {
    json_put_slice(o, "idstr", d->idstr);
    json_put_u64(o, "instance", d->instance);
    json_put_u64(o, "version", d->version);
    json_put_u64(o, "index", d->index);
    json_put_true(o, "config", d->flags & 1);
}

static void put_request(json_t *o, const struct vms_rec_rp_pages *r) {
    json_put_slice(o, "block", r->block);
    json_put_u64(o, "page_offset", r->offset);
    json_put_u64(o, "length", r->length);
}

static void put_fields(json_t *o, const struct vms_record *record) {
    switch (record->type) {
    case VMS_R_HEADER: json_put_u64(o, "version", record->u.version); break;
    case VMS_R_CONFIGURATION: put_configuration(o, &record->u.config); break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL: put_section(o, &record->u.section); break;
    case VMS_R_SECTION_FOOTER: json_put_u64(o, "id", record->u.section.id); break;
    case VMS_R_COMMAND: put_command(o, &record->u.command); break;
    case VMS_R_RAM_MEM_SIZE: json_put_u64(o, "total", record->u.ram_total); break;
    case VMS_R_RAM_BLOCK: put_block(o, &record->u.block); break;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED: put_page(o, record); break;
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: json_put_slice(o, "block", record->u.page.block); break;
    case VMS_R_RAM_EOS:
    case VMS_R_RAM_HOOK:
    case VMS_R_RAM_MULTIFD_FLUSH: json_put_u64(o, "word", record->u.ram_word); break;
    case VMS_R_DIRTY_BITMAP: put_bitmap(o, &record->u.bitmap); break;
    case VMS_R_MULTIFD_HELLO:
        json_put_u64(o, "channel_id", record->u.hello.channel_id);
        json_put_hex(o, "uuid", vms_slice(record->u.hello.uuid, 16));
        break;
    case VMS_R_MULTIFD_PACKET: put_packet(o, &record->u.packet); break;
    case VMS_R_MULTIFD_DEVICE_STATE: put_device(o, &record->u.device); break;
    case VMS_R_RP_REQ_PAGES:
    case VMS_R_RP_REQ_PAGES_ID: put_request(o, &record->u.request); break;
    case VMS_R_RP_SHUT:
    case VMS_R_RP_PONG:
    case VMS_R_RP_RESUME_ACK: json_put_u64(o, "value", record->u.value); break;
    case VMS_R_RP_RECV_BITMAP: json_put_slice(o, "block", record->u.rp_block); break;
    default: break;
    }
}

void inspect_json_record(const struct vms_record *record) {
    json_t *o = json_object();
    json_put_text(o, "record", vms_record_name(record->type));
    json_put_u64(o, "offset", record->offset);
    json_put_u64(o, "channel", record->channel);
    json_put_u64(o, "number", record->number);
    put_fields(o, record);
    if (record->bulk_len == VMS_BULK_UNKNOWN)
        json_put(o, "bulk", json_null());
    else if (record->bulk_len)
        json_put_u64(o, "bulk", record->bulk_len);
    json_put_true(o, "packaged", record->packaged);
    json_put_true(o, "guessed", record->guessed);
    json_print_line(o);
}

void inspect_json_error(const struct migration *m, const struct vms_error *err) {
    json_t *o = json_object();
    json_put_text(o, "record", "error");
    json_put_text(o, "class", vms_class_name(err->class_));
    json_put_text(o, "code", vms_code_name(err->code));
    json_put_u64(o, "offset", err->offset);
    json_put_text(o, "clause", err->clause);
    json_put_text(o, "message", err->message);
    json_put_u64(o, "channel", err->channel);
    json_put_u64(o, "number", err->record);
    if (err->channel < m->count)
        json_put_text(o, "file", m->channels[err->channel].name);
    json_print_line(o);
}
