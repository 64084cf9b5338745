/* SPDX-License-Identifier: MIT */
#include "tool/load.h"
#include "tool/text.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool to_stdout(const struct tool_options *options) {
    return options->output && strcmp(options->output, "-") == 0;
}

/* IMAGE is emptied when the block list comes: it must not be what is being read. */
static bool is_input(const struct tool_options *options) {
    struct stat out, in;
    if (stat(options->output, &out) < 0)
        return false;
    for (int i = 0; i < options->file_count; i++)
        if (stat(options->files[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
            return true;
    return false;
}

static int check_usage(const struct tool_options *options) {
    if (options->list)
        return options->block || options->output
                   ? tool_usage("ram --list takes no --block and no --output")
                   : TOOL_DONE;
    if (!options->block || !*options->block || !options->output)
        return tool_usage("ram: want --block NAME --output IMAGE, or --list");
    if (strlen(options->block) > VMS_NAME_MAX)
        return tool_usage("ram: no block has a name of more than %d bytes", VMS_NAME_MAX);
    if (!to_stdout(options) && is_input(options))
        return tool_usage("ram: %s is one of the input files", options->output);
    return TOOL_DONE;
}

static struct vms_ram_image_config image_config(const struct tool_options *options) {
    struct vms_ram_image_config config = {.store = VMS_RAM_CHECK, .limits = options->limits};
    if (options->list)
        return config;
    config.store = to_stdout(options) ? VMS_RAM_MEMORY : VMS_RAM_FILE;
    config.path = options->output;
    config.only = vms_str(options->block);
    return config;
}

static int list_blocks(const struct vms_ram_image *image) {
    char size[TEXT_SIZE];
    for (size_t i = 0; i < vms_ram_image_count(image); i++) {
        const struct vms_ram_block *block = vms_ram_image_block(image, i);
        printf("%-40s %16llu  %s\n", block->name, (unsigned long long)block->used_length,
               text_size(size, block->used_length));
    }
    return TOOL_DONE;
}

static int no_such_block(const struct tool_options *options, const struct vms_ram_image *image) {
    char names[512] = "";
    size_t at = 0;
    for (size_t i = 0; i < vms_ram_image_count(image) && at + 1 < sizeof names; i++) {
        int n = snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "",
                         vms_ram_image_block(image, i)->name);
        at += n > 0 ? (size_t)n : 0;
    }
    return tool_usage("%s: no RAM block '%s'; it has %s", options->files[0], options->block,
                      names[0] ? names : "none");
}

static int write_to_stdout(const struct vms_ram_block *block) {
    size_t left = (size_t)block->used_length;
    for (const uint8_t *at = block->memory; left > 0;) {
        ssize_t n = write(STDOUT_FILENO, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tool_local("standard output: %s", strerror(errno));
        at += n;
        left -= (size_t)n;
    }
    return TOOL_DONE;
}

static int run(const struct tool_options *options, struct load *load) {
    struct vms_error err;
    load->migration.whole = true;
    if (migration_run(&load->migration, &err) != VMS_OK)
        return migration_report(&load->migration, &err);
    if (load->without_ram)
        return tool_usage("%s: the first FILE must be the main channel", options->files[0]);
    if (options->list)
        return list_blocks(load->image);
    if (load->migration.flush_seen && load->migration.multifd_count == 0)
        return tool_usage("%s: pages are on multifd channels; give their files, too",
                          options->files[0]);
    size_t index = vms_ram_image_find(load->image, vms_str(options->block));
    if (index == SIZE_MAX)
        return no_such_block(options, load->image);
    return to_stdout(options) ? write_to_stdout(vms_ram_image_block(load->image, index))
                              : TOOL_DONE;
}

/* Half an image is worse than none. Only a regular file that is still the image goes. */
static void remove_output(const struct tool_options *options, const struct load *load) {
    struct stat image, path;
    size_t index = load->image && options->block && !to_stdout(options)
                       ? vms_ram_image_find(load->image, vms_str(options->block))
                       : SIZE_MAX;
    if (index == SIZE_MAX || fstat(vms_ram_image_block(load->image, index)->fd, &image) < 0 ||
        lstat(options->output, &path) < 0)
        return;
    if (S_ISREG(path.st_mode) && image.st_ino == path.st_ino && image.st_dev == path.st_dev)
        (void)unlink(options->output);
}

int tool_ram(const struct tool_options *options) {
    struct load load;
    int status = check_usage(options);
    if (status != TOOL_DONE)
        return status;
    struct vms_ram_image_config config = image_config(options);
    status = load_open(&load, options, VMS_QEVM_MAIN, &config, NULL, NULL);
    if (status == TOOL_DONE)
        status = run(options, &load);
    if (status != TOOL_DONE)
        remove_output(options, &load);
    load_close(&load);
    return status;
}
