/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void text_add(struct text *t, const void *bytes, size_t n) {
    if (t->len + n + 1 > t->cap) {
        t->cap = (t->len + n + 1) * 2;
        t->ptr = realloc(t->ptr, t->cap);
        if (!t->ptr)
            abort();
    }
    if (n)
        memcpy(t->ptr + t->len, bytes, n);
    t->len += n;
    t->ptr[t->len] = 0;
}

void text_printf(struct text *t, const char *fmt, ...) {
    char line[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    text_add(t, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

void text_free(struct text *t) {
    free(t->ptr);
    *t = (struct text){0};
}

static void add_slice(struct text *t, const char *name, struct vms_slice s) {
    text_printf(t, " %s=%zu:", name, s.len);
    for (size_t i = 0; i < s.len; i++)
        text_printf(t, "%02x", s.ptr[i]);
}

static void add_section(struct text *t, const struct vms_rec_section *s) {
    text_printf(t, " id=%" PRIu32 " instance=%" PRIu32 " version=%" PRIu32 " kind=%s", s->id,
                s->instance, s->version, vms_section_kind_name(s->kind));
    add_slice(t, "idstr", s->idstr);
}

static void add_config(struct text *t, const struct vms_rec_configuration *c) {
    add_slice(t, "machine", c->machine);
    for (unsigned i = 0; i < c->subsection_count; i++) {
        text_printf(t, " sub=%d/%" PRIu32, (int)c->subsections[i].kind, c->subsections[i].version);
        add_slice(t, "body", c->subsections[i].body);
    }
}

static void add_block(struct text *t, const struct vms_rec_ram_block *b) {
    add_slice(t, "name", b->name);
    text_printf(t, " length=%" PRIu64 " size=%d:%" PRIu64 " gpa=%d:%" PRIu64, b->used_length,
                b->has_page_size, b->page_size, b->has_gpa, b->gpa);
    text_printf(t, " mapped=%d:%" PRIu32 ":%" PRIu64 ":%" PRIu64 ":%" PRIu64, b->has_mapped,
                b->mapped_version, b->mapped_page_size, b->mapped_bitmap_offset,
                b->mapped_pages_offset);
}

static void add_page(struct text *t, const struct vms_rec_ram_page *p) {
    add_slice(t, "block", p->block);
    text_printf(t, " index=%" PRIu32 " continued=%d fill=%u offset=%" PRIu64, p->block_index,
                p->continued, p->fill, p->offset);
}

static void add_bitmap(struct text *t, const struct vms_rec_dirty_bitmap *b) {
    text_printf(t, " flags=%u granularity=%" PRIu32 " start=%u sector=%" PRIu64 " sectors=%" PRIu32,
                b->flags, b->granularity, b->start_flags, b->sector, b->sectors);
    add_slice(t, "node", b->node);
    add_slice(t, "name", b->name);
}

static void add_packet(struct text *t, const struct vms_rec_multifd_packet *p) {
    text_printf(t,
                " flags=%" PRIu32 " alloc=%" PRIu32 " normal=%" PRIu32 " next=%" PRIu32
                " num=%" PRIu64 " zero=%" PRIu32,
                p->flags, p->pages_alloc, p->normal_pages, p->next_packet_size, p->packet_num,
                p->zero_pages);
    add_slice(t, "block", p->block);
    add_slice(t, "offsets", p->offsets);
    add_slice(t, "raw", p->raw);
}

static void add_device(struct text *t, const struct vms_rec_multifd_device *p) {
    text_printf(t,
                " instance=%" PRIu32 " version=%" PRIu32 " index=%" PRIu32 " flags=%" PRIu32
                " raw=%" PRIu32,
                p->instance, p->version, p->index, p->flags, p->raw_flags);
    add_slice(t, "idstr", p->idstr);
    add_slice(t, "raw", p->raw_idstr);
}

static void add_fields(struct text *t, const struct vms_record *r) {
    switch (r->type) {
    case VMS_R_HEADER: text_printf(t, " version=%" PRIu32, r->u.version); return;
    case VMS_R_CONFIGURATION: add_config(t, &r->u.config); return;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER: add_section(t, &r->u.section); return;
    case VMS_R_COMMAND:
        text_printf(t, " command=%u", r->u.command.command);
        add_slice(t, "payload", r->u.command.payload);
        return;
    case VMS_R_RAM_MEM_SIZE: text_printf(t, " total=%" PRIu64, r->u.ram_total); return;
    case VMS_R_RAM_BLOCK: add_block(t, &r->u.block); return;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED:
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: add_page(t, &r->u.page); return;
    case VMS_R_RAM_EOS:
    case VMS_R_RAM_HOOK:
    case VMS_R_RAM_MULTIFD_FLUSH: text_printf(t, " word=%" PRIu64, r->u.ram_word); return;
    case VMS_R_DIRTY_BITMAP: add_bitmap(t, &r->u.bitmap); return;
    case VMS_R_MULTIFD_HELLO:
        text_printf(t, " channel=%u", r->u.hello.channel_id);
        add_slice(t, "uuid", vms_slice(r->u.hello.uuid, 16));
        add_slice(t, "reserved", r->u.hello.reserved);
        return;
    case VMS_R_MULTIFD_PACKET: add_packet(t, &r->u.packet); return;
    case VMS_R_MULTIFD_DEVICE_STATE: add_device(t, &r->u.device); return;
    case VMS_R_RP_REQ_PAGES:
    case VMS_R_RP_REQ_PAGES_ID:
        add_slice(t, "block", r->u.request.block);
        text_printf(t, " offset=%" PRIu64 " length=%" PRIu32, r->u.request.offset,
                    r->u.request.length);
        return;
    case VMS_R_RP_SHUT:
    case VMS_R_RP_PONG:
    case VMS_R_RP_RESUME_ACK: text_printf(t, " value=%" PRIu32, r->u.value); return;
    case VMS_R_RP_RECV_BITMAP: add_slice(t, "block", r->u.rp_block); return;
    default: return;
    }
}

void trace_record(struct text *t, const struct vms_record *r) {
    text_printf(t, "%" PRIu64 " @%" PRIu64 " #%" PRIu32 " %s%s%s bulk=%" PRIu64, r->number,
                r->offset, r->channel, vms_record_name(r->type), r->packaged ? " packaged" : "",
                r->guessed ? " guessed" : "", r->bulk_len);
    add_fields(t, r);
    text_add(t, "\n", 1);
}

uint64_t random_next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t random_seed(uint64_t standard) {
    const char *text = getenv("VMS_SEED");
    return text && *text ? strtoull(text, NULL, 0) : standard;
}

bool kind_named(const char *name, enum vms_qevm_kind *kind) {
    for (int i = VMS_QEVM_MAIN; i <= VMS_QEVM_RETURN_PATH; i++)
        if (strcmp(vms_qevm_kind_name((enum vms_qevm_kind)i), name) == 0) {
            *kind = (enum vms_qevm_kind)i;
            return true;
        }
    return false;
}
