/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_LOAD_H
#define VMSTREAM_TOOL_LOAD_H

#include "host/ram_image.h"
#include "tool/migration.h"

/**
 * A consumer that loads RAM into an image (or only checks it) and shows every record to an
 * observer. Bulk that is not RAM is skipped. What comes after a guessed boundary is shown, never
 * loaded.
 */
struct load {
    struct migration migration;
    struct vms_ram_image *image;
    struct load_sink *sinks; /* by channel number */
    size_t sink_count;
    bool without_ram; /* the first file is no main channel: there is no block list to check with */
    void (*observe)(void *ctx, const struct vms_record *record); /* NULL: nobody */
    void *observe_ctx;
};

/**
 * Opens the files of the options and makes the image. observe may be NULL. TOOL_DONE, or another
 * status after a line on stderr. load_close() in either case.
 */
int load_open(struct load *load, const struct tool_options *options, enum vms_qevm_kind fallback,
              const struct vms_ram_image_config *config,
              void (*observe)(void *ctx, const struct vms_record *record), void *observe_ctx);
void load_close(struct load *load);

#endif
