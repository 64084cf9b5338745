/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include "tool/json.h"
#include "tool/native_in.h"

static void put_stats(json_t *o, const struct vms_ram_stats *s) {
    json_put_u64(o, "normal", s->normal);
    json_put_u64(o, "zero", s->zero);
    json_put_u64(o, "xbzrle", s->xbzrle);
    json_put_u64(o, "compressed", s->compressed);
    json_put_u64(o, "multifd_normal", s->multifd_normal);
    json_put_u64(o, "multifd_zero", s->multifd_zero);
    json_put_u64(o, "mapped", s->mapped);
    json_put_u64(o, "discarded_bytes", s->discarded_bytes);
}

static json_t *blocks(const struct vms_ram_image *image) {
    json_t *list = json_object();
    for (size_t i = 0; i < vms_ram_image_count(image); i++) {
        const struct vms_ram_block *block = vms_ram_image_block(image, i);
        struct vms_ram_stats stats = vms_ram_image_stats(image, i);
        json_t *o = json_object();
        json_put_u64(o, "size", block->used_length);
        put_stats(o, &stats);
        json_put(list, block->name, o);
    }
    return list;
}

static json_t *sections(const struct summary *s) {
    json_t *list = json_array();
    for (size_t i = 0; i < s->section_count; i++) {
        const struct summary_section *section = &s->sections[i];
        json_t *o = json_object();
        json_put_u64(o, "id", section->id);
        json_put_text(o, "idstr", section->idstr);
        json_put_u64(o, "instance", section->instance);
        json_put_u64(o, "version", section->version);
        json_put_text(o, "kind", vms_section_kind_name(section->kind));
        json_put_u64(o, "parts", section->parts);
        json_put_u64(o, "bytes", section->bytes);
        json_put_u64(o, "offset", section->offset);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *vfio(const struct summary *s) {
    json_t *list = json_object();
    for (size_t i = 0; i < s->vfio_count; i++) {
        const struct summary_vfio *v = &s->vfio[i];
        json_t *o = json_object();
        json_put_u64(o, "data_bytes", v->data_bytes);
        json_put_u64(o, "init_data_sent", v->init_data_sent);
        json_put_u64(o, "data_blocks", v->data_blocks);
        json_put_u64(o, "config_bytes", v->config_bytes);
        json_put_u64(o, "config_load_ready", v->config_load_ready);
        json_put_u64(o, "multifd_packets", v->packets);
        json_put_u64(o, "multifd_bytes", v->packet_bytes);
        json_put(list, v->idstr, o);
    }
    return list;
}

static json_t *commands(const struct summary *s) {
    json_t *list = json_object();
    for (unsigned i = 0; i < SUMMARY_COMMANDS; i++)
        if (s->commands[i] && vms_command_name(i))
            json_put_u64(list, vms_command_name(i), s->commands[i]);
    return list;
}

static json_t *messages(const struct summary *s) {
    json_t *list = json_object();
    for (unsigned i = 0; i < VMS_RECORD_TYPE_COUNT; i++)
        if (s->types[i] && inspect_is_rp_message((enum vms_record_type)i))
            json_put_u64(list, inspect_rp_name((enum vms_record_type)i), s->types[i]);
    return list;
}

static json_t *channels(const struct summary *s) {
    const struct migration *m = &s->load->migration;
    json_t *list = json_array();
    for (size_t i = 0; i < m->count; i++) {
        json_t *o = json_object();
        json_put_text(o, "file", m->channels[i].name);
        json_put_text(o, "kind", vms_qevm_kind_name(m->channels[i].kind));
        json_put_u64(o, "bytes", vms_pump_bytes(m->channels[i].pump));
        json_put_u64(o, "records", s->channels[i].records);
        if (m->channels[i].kind == VMS_QEVM_MULTIFD) {
            json_put_u64(o, "packets", s->channels[i].packets);
            json_put_u64(o, "syncs", s->channels[i].syncs);
            json_put_text(o, "compression", summary_compression(&s->channels[i]));
        }
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *record_counts(const struct summary *s) {
    json_t *list = json_object();
    for (unsigned i = 0; i < VMS_RECORD_TYPE_COUNT; i++)
        if (s->types[i])
            json_put_u64(list, vms_record_name((enum vms_record_type)i), s->types[i]);
    return list;
}

static json_t *native(const struct native_input *in) {
    const struct vms_native_file_info *info = native_input_info(in);
    json_t *o = json_object();
    json_put_text(o, "seal", vms_suite_name(info->suite));
    json_put_hex(o, "session", vms_slice(info->session, sizeof info->session));
    if (info->identity[0])
        json_put_text(o, "identity", info->identity);
    json_put_text(o, "software", info->software);
    json_put_u64(o, "bytes", native_input_bytes(in));
    json_put_u64(o, "frames", native_input_frames(in));
    return o;
}

static bool has_messages(const struct migration *m) {
    for (size_t i = 0; i < m->count; i++)
        if (m->channels[i].kind == VMS_QEVM_RETURN_PATH)
            return true;
    return false;
}

static void put_stream(json_t *o, const struct summary *s) {
    const struct migration *m = &s->load->migration;
    json_put_text(o, "wire", m->native ? "native" : "qevm");
    if (m->native)
        json_put(o, "native", native(m->native));
    json_put(o, "complete", json_true());
    if (s->machine[0])
        json_put_text(o, "machine", s->machine);
    json_put_u64(o, "page_size", vms_qevm_page_size(migration_decoder(m)));
    json_put(o, "blocks", blocks(s->load->image));
    json_put(o, "sections", sections(s));
    json_put(o, "vfio", vfio(s));
    json_put(o, "commands", commands(s));
    json_put(o, "channels", channels(s));
    if (has_messages(m))
        json_put(o, "messages", messages(s));
    json_put_u64(o, "vmdesc_bytes", s->vmdesc_bytes);
    json_put(o, "guessed", json_boolean(s->guessed));
    json_put_true(o, "recovered", m->cut);
}

void inspect_json_summary(const struct summary *s) {
    json_t *o = json_object();
    json_put_text(o, "record", "summary");
    if (s->load->migration.channels[0].kind == VMS_QEVM_RETURN_PATH)
        json_put(o, "messages", messages(s));
    else
        put_stream(o, s);
    json_put(o, "records", record_counts(s));
    json_print_line(o);
}
