/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include "tool/text.h"
#include <stdio.h>

enum {
    NAME_SIZE = 128, /* bytes for a name, cut to that */
};

static void describe_section(const struct vms_rec_section *s, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "id %u %s/%u", s->id, text_slice(name, sizeof name, s->idstr),
                   s->instance);
}

static void describe_command(const struct vms_rec_command *c, char *out, size_t size) {
    const char *name = vms_command_name(c->command);
    (void)snprintf(out, size, "%s", name ? name : "unknown");
}

static void describe_block(const struct vms_rec_ram_block *b, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "%s, 0x%llx bytes", text_slice(name, sizeof name, b->name),
                   (unsigned long long)b->used_length);
}

static void describe_page(const struct vms_rec_ram_page *p, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "%s 0x%llx%s", text_slice(name, sizeof name, p->block),
                   (unsigned long long)p->offset, p->continued ? " cont" : "");
}

static void describe_packet(const struct vms_rec_multifd_packet *p, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "%llu flags 0x%x, %u normal, %u zero of %s",
                   (unsigned long long)p->packet_num, p->flags, p->normal_pages, p->zero_pages,
                   text_slice(name, sizeof name, p->block));
}

static void describe_device(const struct vms_rec_multifd_device *d, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "%s index %u%s", text_slice(name, sizeof name, d->idstr), d->index,
                   d->flags & 1 ? " config" : "");
}

static void describe_request(const struct vms_rec_rp_pages *r, char *out, size_t size) {
    char name[NAME_SIZE];
    (void)snprintf(out, size, "%s 0x%llx, 0x%x bytes", text_slice(name, sizeof name, r->block),
                   (unsigned long long)r->offset, r->length);
}

/* What a record carries, in a few words. */
static void describe(const struct vms_record *r, char *out, size_t size) {
    *out = '\0';
    switch (r->type) {
    case VMS_R_HEADER: (void)snprintf(out, size, "version %u", r->u.version); break;
    case VMS_R_CONFIGURATION: (void)text_slice(out, size, r->u.config.machine); break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL: describe_section(&r->u.section, out, size); break;
    case VMS_R_SECTION_FOOTER: (void)snprintf(out, size, "id %u", r->u.section.id); break;
    case VMS_R_COMMAND: describe_command(&r->u.command, out, size); break;
    case VMS_R_RAM_MEM_SIZE: (void)text_size(out, r->u.ram_total); break;
    case VMS_R_RAM_BLOCK: describe_block(&r->u.block, out, size); break;
    case VMS_R_RAM_PAGE:
    case VMS_R_RAM_ZERO:
    case VMS_R_RAM_XBZRLE:
    case VMS_R_RAM_COMPRESSED: describe_page(&r->u.page, out, size); break;
    case VMS_R_MAPPED_BITMAP:
    case VMS_R_MAPPED_PADDING:
    case VMS_R_MAPPED_PAGES: (void)text_slice(out, size, r->u.page.block); break;
    case VMS_R_MULTIFD_HELLO: (void)snprintf(out, size, "id %u", r->u.hello.channel_id); break;
    case VMS_R_MULTIFD_PACKET: describe_packet(&r->u.packet, out, size); break;
    case VMS_R_MULTIFD_DEVICE_STATE: describe_device(&r->u.device, out, size); break;
    case VMS_R_RP_REQ_PAGES:
    case VMS_R_RP_REQ_PAGES_ID: describe_request(&r->u.request, out, size); break;
    case VMS_R_RP_SHUT:
    case VMS_R_RP_PONG:
    case VMS_R_RP_RESUME_ACK: (void)snprintf(out, size, "%u", r->u.value); break;
    case VMS_R_RP_RECV_BITMAP: (void)text_slice(out, size, r->u.rp_block); break;
    default: break;
    }
}

void inspect_text_record(const struct vms_record *record) {
    char what[160];
    describe(record, what, sizeof what);
    printf("%2u 0x%010llx  %-22s %.60s", record->channel, (unsigned long long)record->offset,
           vms_record_name(record->type), what);
    if (record->bulk_len == VMS_BULK_UNKNOWN)
        printf("  +?");
    else if (record->bulk_len)
        printf("  +%llu", (unsigned long long)record->bulk_len);
    printf("%s%s\n", record->packaged ? "  packaged" : "", record->guessed ? "  guessed" : "");
}
