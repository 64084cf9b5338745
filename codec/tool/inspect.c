/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include <string.h>

struct inspect {
    const struct tool_options *options;
    struct summary summary;
};

const char *inspect_rp_name(enum vms_record_type type) {
    const char *name = vms_record_name(type);
    return strncmp(name, "RP_", 3) == 0 ? name + 3 : name;
}

bool inspect_is_rp_message(enum vms_record_type type) {
    return strncmp(vms_record_name(type), "RP_", 3) == 0 && type != VMS_R_RP_RECV_BITMAP_END;
}

static void observe(void *ctx, const struct vms_record *record) {
    struct inspect *inspect = ctx;
    summary_add(&inspect->summary, record);
    if (inspect->options->json)
        inspect_json_record(record);
    else if (inspect->options->records)
        inspect_text_record(record);
}

static int show_end(const struct inspect *inspect, const struct load *load, bool ok,
                    const struct vms_error *err) {
    const struct migration *m = &load->migration;
    bool no_key = !ok && m->native && err->code == VMS_E_SEAL_NO_KEY;
    if (no_key)
        inspect_native_headers(m, inspect->options->json);
    if (!inspect->options->json && m->count)
        inspect_text_summary(&inspect->summary, ok);
    else if (!inspect->options->json)
        ; /* there is no channel to show */
    else if (ok)
        inspect_json_summary(&inspect->summary);
    else
        inspect_json_error(&load->migration, err);
    if (ok)
        return TOOL_DONE;
    return inspect->options->json ? migration_status(err) : migration_report(&load->migration, err);
}

static int run(struct inspect *inspect, struct load *load) {
    struct vms_error err;
    bool ok = migration_run(&load->migration, &err) == VMS_OK;
    return show_end(inspect, load, ok, &err);
}

int tool_inspect(const struct tool_options *options) {
    struct inspect inspect = {.options = options};
    struct load load = {.image = NULL};
    struct vms_ram_image_config config = {.store = VMS_RAM_CHECK, .limits = options->limits};
    enum vms_qevm_kind fallback = options->return_path ? VMS_QEVM_RETURN_PATH : VMS_QEVM_MAIN;
    if (options->return_path && options->file_count > 1)
        return tool_usage("inspect --return-path takes one FILE");
    bool room = summary_init(&inspect.summary, &load, MIGRATION_CHANNELS, options->limits.sections);
    int status = room ? load_open(&load, options, fallback, &config, observe, &inspect)
                      : tool_local("not enough memory"); /* [MOD-9] */
    if (status == TOOL_DONE)
        status = run(&inspect, &load);
    load_close(&load);
    summary_free(&inspect.summary);
    return status;
}
