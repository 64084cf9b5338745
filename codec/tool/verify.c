/* SPDX-License-Identifier: MIT */
#include "tool/native_in.h"
#include "tool/summary.h"
#include "tool/text.h"
#include <stdio.h>

static void observe(void *ctx, const struct vms_record *record) {
    summary_add(ctx, record);
}

static void print_line(const struct summary *s) {
    const struct migration *m = &s->load->migration;
    char size[TEXT_SIZE];
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++)
        bytes += vms_pump_bytes(m->channels[i].pump);
    bool alone = m->flush_seen && m->multifd_count == 0;
    if (m->native)
        bytes = native_input_bytes(m->native);
    printf("%s: complete: %s%s%s%s%s%s, %zu sections, %zu RAM blocks, %llu records, %s%s%s\n",
           m->options->files[0], m->native ? "native " : "",
           m->native ? vms_suite_name(native_input_info(m->native)->suite) : "",
           m->native ? ", " : "", vms_qevm_kind_name(m->channels[0].kind),
           s->machine[0] ? ", " : "", s->machine, s->section_count,
           vms_ram_image_count(s->load->image), (unsigned long long)s->records,
           text_size(size, bytes), s->guessed ? ", device sections cut by guess" : "",
           alone ? ", multifd channels not given" : "");
}

static int run(struct summary *s, struct load *load) {
    struct vms_error err;
    load->migration.whole = true;
    if (migration_run(&load->migration, &err) != VMS_OK)
        return migration_report(&load->migration, &err);
    print_line(s);
    return TOOL_DONE;
}

int tool_verify(const struct tool_options *options) {
    struct summary summary;
    struct load load = {.image = NULL};
    struct vms_ram_image_config config = {.store = VMS_RAM_CHECK, .limits = options->limits};
    bool room = summary_init(&summary, &load, MIGRATION_CHANNELS, options->limits.sections);
    int status = room ? load_open(&load, options, VMS_QEVM_MAIN, &config, observe, &summary)
                      : tool_local("not enough memory"); /* [MOD-9] */
    if (status == TOOL_DONE)
        status = run(&summary, &load);
    load_close(&load);
    summary_free(&summary);
    return status;
}
