/* SPDX-License-Identifier: MIT */
#include "tool/summary.h"
#include "tool/text.h"
#include <stdio.h>
#include <stdlib.h>

bool summary_init(struct summary *s, const struct load *load, size_t channels, uint64_t sections) {
    *s = (struct summary){.load = load, .current = SIZE_MAX, .list_max = (size_t)sections};
    s->channels = calloc(channels, sizeof *s->channels);
    s->channel_count = channels;
    return s->channels != NULL;
}

void summary_free(struct summary *s) {
    free(s->sections);
    free(s->vfio);
    free(s->channels);
}

/* Room for one entry more, when the list may grow; doubled as it goes. */
static void *grow(void *list, size_t count, size_t max, size_t entry) {
    if (count >= max)
        return NULL;
    if (count & (count - 1))
        return list;
    return reallocarray(list, count ? 2 * count : 1, entry);
}

static void name_copy(char out[VMS_NAME_MAX + 1], struct vms_slice name) {
    (void)text_slice(out, VMS_NAME_MAX + 1, name);
}

/* ---- sections ---- */

static bool same_section(const struct summary_section *have, const struct vms_rec_section *r) {
    char idstr[VMS_NAME_MAX + 1];
    if (have->id != r->id || have->instance != r->instance)
        return false;
    name_copy(idstr, r->idstr);
    return strcmp(have->idstr, idstr) == 0;
}

static size_t find_section(const struct summary *s, const struct vms_rec_section *r) {
    for (size_t i = s->section_count; i-- > 0;)
        if (same_section(&s->sections[i], r))
            return i;
    return SIZE_MAX;
}

static size_t add_section(struct summary *s, const struct vms_record *record) {
    const struct vms_rec_section *r = &record->u.section;
    struct summary_section *list =
        grow(s->sections, s->section_count, s->list_max, sizeof *s->sections);
    if (!list)
        return SIZE_MAX;
    s->sections = list;
    struct summary_section *entry = &list[s->section_count];
    *entry = (struct summary_section){.id = r->id,
                                      .instance = r->instance,
                                      .version = r->version,
                                      .kind = r->kind,
                                      .full = record->type == VMS_R_SECTION_FULL,
                                      .offset = record->offset};
    name_copy(entry->idstr, r->idstr);
    return s->section_count++;
}

/* The header's length is known from the record, the payload's from where the next record begins. */
static void open_section(struct summary *s, const struct vms_record *record) {
    const struct vms_rec_section *r = &record->u.section;
    bool full_header = record->type == VMS_R_SECTION_START || record->type == VMS_R_SECTION_FULL;
    s->current = find_section(s, r);
    if (s->current == SIZE_MAX)
        s->current = add_section(s, record);
    if (s->current != SIZE_MAX)
        s->sections[s->current].parts++;
    s->payload_start = record->offset + 5 + (full_header ? 1 + r->idstr.len + 8 : 0);
}

static bool ends_section(enum vms_record_type type) {
    switch (type) {
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL:
    case VMS_R_SECTION_FOOTER:
    case VMS_R_COMMAND:
    case VMS_R_EOF: return true;
    default: return false;
    }
}

static void close_section(struct summary *s, const struct vms_record *record) {
    if (s->current == SIZE_MAX || !ends_section(record->type))
        return;
    s->sections[s->current].bytes += record->offset - s->payload_start;
    s->current = SIZE_MAX;
}

/* ---- VFIO ---- */

static struct summary_vfio *find_vfio(struct summary *s, const char *idstr) {
    for (size_t i = 0; i < s->vfio_count; i++)
        if (strcmp(s->vfio[i].idstr, idstr) == 0)
            return &s->vfio[i];
    struct summary_vfio *list = grow(s->vfio, s->vfio_count, s->list_max, sizeof *s->vfio);
    if (!list)
        return NULL;
    s->vfio = list;
    struct summary_vfio *entry = &list[s->vfio_count++];
    *entry = (struct summary_vfio){0};
    (void)snprintf(entry->idstr, sizeof entry->idstr, "%s", idstr);
    return entry;
}

static void add_vfio(struct summary *s, const struct vms_record *record) {
    const struct summary_section *section =
        s->current == SIZE_MAX ? NULL : &s->sections[s->current];
    struct summary_vfio *v = section ? find_vfio(s, section->idstr) : NULL;
    if (!v)
        return;
    switch (record->type) {
    case VMS_R_VFIO_DATA_STATE:
        v->data_blocks++;
        v->data_bytes += record->bulk_len;
        break;
    case VMS_R_VFIO_CONFIG_STATE: v->config_bytes += record->bulk_len; break;
    case VMS_R_VFIO_INIT_DATA_SENT: v->init_data_sent++; break;
    case VMS_R_VFIO_CONFIG_LOAD_READY: v->config_load_ready++; break;
    default: break;
    }
}

static void add_device_packet(struct summary *s, const struct vms_record *record) {
    char idstr[VMS_NAME_MAX + 1];
    name_copy(idstr, record->u.device.idstr);
    struct summary_vfio *v = find_vfio(s, idstr);
    if (!v)
        return;
    v->packets++;
    v->packet_bytes += record->bulk_len;
    if (record->u.device.flags & 1)
        v->config_bytes += record->bulk_len;
}

/* ---- the rest ---- */

static void append(char *text, size_t size, const char *more) {
    size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s", more);
}

/* u32 count and the names as str8, checked by the decoder (CFG-6). */
static void append_names(char *text, size_t size, struct vms_slice body) {
    char name[VMS_NAME_MAX + 1];
    for (size_t at = 4; at < body.len; at += 1 + body.ptr[at]) {
        append(text, size, " ");
        append(text, size,
               text_slice(name, sizeof name,
                          vms_slice_head(vms_slice_tail(body, at + 1), body.ptr[at])));
    }
}

static void add_config(struct summary *s, const struct vms_rec_configuration *c) {
    static const char *const names[] = {"target-page-bits", "capabilities", "uuid"};
    char hex[64];
    name_copy(s->machine, c->machine);
    for (unsigned i = 0; i < c->subsection_count; i++) {
        const struct vms_config_subsection *sub = &c->subsections[i];
        append(s->config, sizeof s->config, i ? ", " : "");
        append(s->config, sizeof s->config, names[sub->kind]);
        if (sub->kind == VMS_CONFIG_CAPABILITIES) {
            append_names(s->config, sizeof s->config, sub->body);
            continue;
        }
        append(s->config, sizeof s->config, " ");
        append(s->config, sizeof s->config, text_hex(hex, sizeof hex, sub->body));
    }
}

const char *summary_compression(const struct summary_channel *channel) {
    switch (channel->compression) {
    case 0: return "";
    case VMS_MULTIFD_ZLIB: return "zlib";
    case VMS_MULTIFD_ZSTD: return "zstd";
    case VMS_MULTIFD_QPL: return "qpl";
    case VMS_MULTIFD_UADK: return "uadk";
    case VMS_MULTIFD_QATZIP: return "qatzip";
    default: return "mixed";
    }
}

static void add_packet(struct summary_channel *c, const struct vms_rec_multifd_packet *packet) {
    c->packets++;
    c->syncs += packet->flags & VMS_MULTIFD_SYNC;
    c->compression |= packet->flags & VMS_MULTIFD_COMPRESSION;
}

static void add_channel_record(struct summary *s, const struct vms_record *record) {
    if (record->channel >= s->channel_count)
        return;
    struct summary_channel *c = &s->channels[record->channel];
    c->records++;
    if (record->type == VMS_R_MULTIFD_HELLO) {
        c->hello = true;
        c->id = record->u.hello.channel_id;
    } else if (record->type == VMS_R_MULTIFD_PACKET) {
        add_packet(c, &record->u.packet);
    } else if (record->type == VMS_R_MULTIFD_DEVICE_STATE) {
        c->packets++;
        add_device_packet(s, record);
    }
}

static void add_by_type(struct summary *s, const struct vms_record *record) {
    switch (record->type) {
    case VMS_R_HEADER: s->stream_version = record->u.version; break;
    case VMS_R_CONFIGURATION: add_config(s, &record->u.config); break;
    case VMS_R_SECTION_START:
    case VMS_R_SECTION_PART:
    case VMS_R_SECTION_END:
    case VMS_R_SECTION_FULL: open_section(s, record); break;
    case VMS_R_COMMAND:
        if (record->u.command.command < SUMMARY_COMMANDS)
            s->commands[record->u.command.command]++;
        break;
    case VMS_R_RAM_MEM_SIZE: s->ram_total = record->u.ram_total; break;
    case VMS_R_EOF: s->ended |= !record->packaged; break;
    case VMS_R_VMDESCRIPTION: s->vmdesc_bytes = record->bulk_len; break;
    case VMS_R_VFIO_DATA_STATE:
    case VMS_R_VFIO_SETUP_STATE:
    case VMS_R_VFIO_CONFIG_STATE:
    case VMS_R_VFIO_INIT_DATA_SENT:
    case VMS_R_VFIO_CONFIG_LOAD_READY:
    case VMS_R_VFIO_END_OF_STATE: add_vfio(s, record); break;
    default: break;
    }
}

void summary_add(struct summary *s, const struct vms_record *record) {
    s->records++;
    s->guessed |= record->guessed;
    if ((unsigned)record->type < VMS_RECORD_TYPE_COUNT)
        s->types[record->type]++;
    add_channel_record(s, record);
    close_section(s, record);
    add_by_type(s, record);
}
