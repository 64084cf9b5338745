/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include "tool/native_in.h"
#include "tool/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Tables of at most 100 columns. Colours only for people: a terminal, and NO_COLOR not set. */

static bool colours(void) {
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}

static void title(const char *text) {
    printf(colours() ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text);
}

static const char *on_off(enum vms_tristate t) {
    return t == VMS_ON ? "on" : t == VMS_OFF ? "off" : "auto";
}

static unsigned long long ull(uint64_t n) {
    return n;
}

/* Cut in the middle, so that both the device and its place stay readable. */
static const char *fit(char *out, size_t columns, const char *text) {
    size_t len = strlen(text), head = columns / 2 - 1, tail = columns - head - 2;
    if (len <= columns)
        return text;
    (void)snprintf(out, columns + 1, "%.*s..%s", (int)head, text, text + len - tail);
    return out;
}

static void show_version(const char *what, vms_qemu_version v) {
    if (v)
        printf("%s %u.%u, ", what, (unsigned)v >> 8, (unsigned)v & 255);
}

static void show_dialect(const struct migration *m) {
    const struct vms_dialect *d = vms_qevm_dialect(migration_decoder(m));
    printf("dialect    ");
    show_version("qemu", d->qemu);
    show_version("machine", d->machine);
    printf("page size %u\n", vms_qevm_page_size(migration_decoder(m)));
    printf("           footers %s, vmdesc %s, postcopy %s, mapped-ram %s, ignore-shared %s,\n"
           "           multifd-flush %s, ack-legacy %s\n",
           on_off(d->footers), on_off(d->vmdesc), on_off(d->postcopy), on_off(d->mapped_ram),
           on_off(d->ignore_shared), on_off(d->multifd_flush), on_off(d->ack_legacy));
}

/* Multifd counts; nothing for the other kinds. */
static void show_multifd(const struct migration_channel *c, const struct summary_channel *counts) {
    if (c->kind == VMS_QEVM_MULTIFD)
        printf(" %3u %8llu %7llu %-7s", counts->id, ull(counts->packets), ull(counts->syncs),
               summary_compression(counts));
    else
        printf(" %3s %8s %7s %-7s", "", "", "", "");
}

static void show_channels(const struct summary *s) {
    const struct migration *m = &s->load->migration;
    char size[TEXT_SIZE], name[64];
    title("Channels");
    printf("  %3s %-11s %10s %10s %3s %8s %7s %-7s %s\n", "", "kind", "bytes", "records", "id",
           "packets", "syncs", "packed", "file");
    for (size_t i = 0; i < m->count; i++) {
        const struct migration_channel *c = &m->channels[i];
        printf("  %3zu %-11s %10s %10llu", i, vms_qevm_kind_name(c->kind),
               text_size(size, vms_pump_bytes(c->pump)), ull(s->channels[i].records));
        show_multifd(c, &s->channels[i]);
        printf(" %s\n", fit(name, 30, c->name));
    }
}

static void show_native(const struct native_input *in) {
    const struct vms_native_file_info *info = native_input_info(in);
    char size[TEXT_SIZE], id[40];
    printf("wire       native, seal %s%s%s, %llu frames, %s\n", vms_suite_name(info->suite),
           info->identity[0] ? ", key " : "", info->identity, ull(native_input_frames(in)),
           text_size(size, native_input_bytes(in)));
    printf("session    %s, by %s\n",
           text_hex(id, sizeof id, vms_slice(info->session, sizeof info->session)),
           info->software[0] ? info->software : "(not told)");
}

static void show_head(const struct summary *s) {
    const struct migration *m = &s->load->migration;
    char size[TEXT_SIZE], name[96];
    printf("stream     QEVM version %u, %s\n", s->stream_version,
           fit(name, 70, m->channels[0].name));
    if (m->native)
        show_native(m->native);
    printf("machine    %s\n", s->machine[0] ? s->machine : "(not told)");
    if (s->config[0])
        printf("           %.88s\n", s->config);
    show_dialect(m);
    if (s->types[VMS_R_RAM_MEM_SIZE])
        printf("memory     %s in %zu blocks\n", text_size(size, s->ram_total),
               vms_ram_image_count(s->load->image));
}

static void show_sections(const struct summary *s) {
    char name[64], size[TEXT_SIZE];
    if (!s->section_count)
        return;
    title("Sections");
    printf("  %6s  %-32s %4s %3s %-12s %6s %10s  %s\n", "id", "idstr", "inst", "ver", "kind",
           "parts", "bytes", "first offset");
    for (size_t i = 0; i < s->section_count; i++) {
        const struct summary_section *e = &s->sections[i];
        printf("  %6u  %-32s %4u %3u %-12s %6llu %10s  0x%llx\n", e->id, fit(name, 32, e->idstr),
               e->instance, e->version, vms_section_kind_name(e->kind), ull(e->parts),
               text_size(size, e->bytes), ull(e->offset));
    }
}

static void show_block(const struct summary *s, size_t i) {
    char name[64], size[TEXT_SIZE];
    const struct vms_ram_block *b = vms_ram_image_block(s->load->image, i);
    struct vms_ram_stats t = vms_ram_image_stats(s->load->image, i);
    printf("  %-30s %10s %9llu %9llu %8llu %8llu %9llu %7llu\n", fit(name, 30, b->name),
           text_size(size, b->used_length), ull(t.normal + t.mapped), ull(t.zero), ull(t.xbzrle),
           ull(t.compressed), ull(t.multifd_normal), ull(t.multifd_zero));
}

static void show_blocks(const struct summary *s) {
    size_t count = vms_ram_image_count(s->load->image);
    if (!count)
        return;
    title("RAM blocks, pages by kind");
    printf("  %-30s %10s %9s %9s %8s %8s %9s %7s\n", "block", "size", "normal", "zero", "xbzrle",
           "zlib", "multifd", "mfdzero");
    for (size_t i = 0; i < count; i++)
        show_block(s, i);
}

static void show_vfio(const struct summary *s) {
    char name[64], data[TEXT_SIZE], packets[TEXT_SIZE], config[TEXT_SIZE];
    if (!s->vfio_count)
        return;
    title("VFIO devices");
    printf("  %-32s %10s %15s %10s %19s\n", "device", "data", "INIT_DATA_SENT", "config",
           "multifd packets");
    for (size_t i = 0; i < s->vfio_count; i++) {
        const struct summary_vfio *v = &s->vfio[i];
        printf("  %-32s %10s %15llu %10s %6llu, %10s\n", fit(name, 32, v->idstr),
               text_size(data, v->data_bytes), ull(v->init_data_sent),
               text_size(config, v->config_bytes), ull(v->packets),
               text_size(packets, v->packet_bytes));
    }
}

static void show_commands(const struct summary *s) {
    bool any = false;
    for (unsigned i = 0; i < SUMMARY_COMMANDS; i++) {
        if (!s->commands[i] || !vms_command_name(i))
            continue;
        if (!any)
            title("Commands");
        any = true;
        printf("  %-24s %9llu\n", vms_command_name(i), ull(s->commands[i]));
    }
}

static void show_messages(const struct summary *s) {
    printf("Return path, %llu records\n", ull(s->records));
    for (unsigned i = 0; i < VMS_RECORD_TYPE_COUNT; i++)
        if (s->types[i] && inspect_is_rp_message((enum vms_record_type)i))
            printf("  %-24s %9llu\n", inspect_rp_name((enum vms_record_type)i), ull(s->types[i]));
}

static void show_end(const struct summary *s, bool complete) {
    char size[TEXT_SIZE];
    title("End");
    printf("  %s, %llu records", complete ? "complete" : "BROKEN", ull(s->records));
    printf(s->ended ? ", EOF" : ", no EOF");
    if (s->vmdesc_bytes)
        printf(", VM description of %s", text_size(size, s->vmdesc_bytes));
    if (s->load->migration.cut)
        printf(", broken off and recovered");
    if (s->guessed)
        printf(", device sections cut by guess");
    printf("\n");
}

void inspect_text_summary(const struct summary *s, bool complete) {
    if (s->load->migration.channels[0].kind == VMS_QEVM_RETURN_PATH) {
        show_messages(s);
        return;
    }
    show_head(s);
    show_channels(s);
    show_sections(s);
    show_blocks(s);
    show_vfio(s);
    show_commands(s);
    show_end(s, complete);
}
