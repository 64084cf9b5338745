// SPDX-License-Identifier: MIT
// meta.json of a recording.
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *string_list(const char *const *strings) {
    json_t *list = json_array();

    for (size_t i = 0; strings[i] != NULL; i++) {
        json_array_append_new(list, json_string(strings[i]));
    }
    return list;
}

// What a connection is: told by its first bytes, except for those that begin with none.
static const char *channel_of(const char *path, bool recovery, unsigned index) {
    static const uint8_t main_magic[4] = {'Q', 'E', 'V', 'M'};
    static const uint8_t multifd_magic[4] = {0x11, 0x22, 0x33, 0x44};
    uint8_t head[4] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, head, sizeof head);

    if (fd >= 0) {
        close(fd);
    }
    if (got == 4 && memcmp(head, main_magic, 4) == 0) {
        return "main";
    }
    if (got == 4 && memcmp(head, multifd_magic, 4) == 0) {
        return "multifd";
    }
    return recovery && index == 0 ? "recovery" : "preempt";
}

static void add_file(struct record_run *run, json_t *files, const char *name, const char *channel,
                     const char *direction) {
    char path[PATH_MAX + 256];
    struct stat info;

    snprintf(path, sizeof path, "%s/%s", run->request->out, name);
    if (stat(path, &info) == 0) {
        json_array_append_new(files,
                              json_pack("{s:s, s:s, s:s, s:I}", "file", name, "channel", channel,
                                        "direction", direction, "bytes", (json_int_t)info.st_size));
    }
}

static void add_tap(struct record_run *run, json_t *files, struct vms_tap *tap,
                    const char *prefix) {
    for (unsigned i = 0; tap != NULL && i < vms_tap_count(tap); i++) {
        char name[64];
        char path[PATH_MAX + 256];
        const char *channel;

        snprintf(name, sizeof name, "%s.%u.fwd", prefix, i);
        snprintf(path, sizeof path, "%s/%s", run->request->out, name);
        channel = channel_of(path, tap == run->recovery_tap, i);
        add_file(run, files, name, channel, "forward");
        snprintf(name, sizeof name, "%s.%u.rev", prefix, i);
        add_file(run, files, name, channel, "return");
    }
}

static json_t *ram_list(const struct record_run *run) {
    json_t *list = json_array();

    for (size_t i = 0; i < run->dump.count; i++) {
        const struct vms_qemu_ram_block *block = &run->dump.blocks[i];
        char file[sizeof block->file + 8];

        snprintf(file, sizeof file, "ram/%s", block->file);
        json_array_append_new(list,
                              json_pack("{s:s, s:s?, s:I, s:I, s:s}", "block", block->name, "file",
                                        block->method != VMS_RAM_NONE ? file : NULL, "used",
                                        (json_int_t)block->used, "total", (json_int_t)block->total,
                                        "method", vms_ram_method_name(block->method)));
    }
    return list;
}

static const char *ram_note(const struct record_run *run) {
    if (run->scenario->kind == RECORD_SNAPSHOT) {
        return "the source's memory when the snapshot began; the guest ran on while it was taken";
    }
    if ((run->scenario->flags & RECORD_POSTCOPY) != 0) {
        return "the source's memory at switchover: what the destination's is made of until its "
               "guest writes; the source has stayed stopped since";
    }
    if ((run->scenario->flags & RECORD_SHARED) != 0) {
        return "the source's memory at the end of the migration; the main memory is shared and "
               "not in the stream";
    }
    return "the source's memory at the end of the migration, when it was stopped";
}

int record_write_meta(struct record_run *run) {
    json_t *files = json_array();
    char path[PATH_MAX];

    add_file(run, files, "stream.bin", "main", "forward");
    add_tap(run, files, run->tap, "stream");
    add_tap(run, files, run->recovery_tap, "recovery");
    json_object_set_new(run->meta, "files", files);
    json_object_set_new(run->meta, "ram", ram_list(run));
    json_object_set_new(run->meta, "ram_note", json_string(ram_note(run)));
    json_object_set_new(run->meta, "ram_blocks_missing",
                        json_integer((json_int_t)run->dump.missing));
    json_object_set_new(run->meta, "capabilities", string_list(run->scenario->capabilities));
    if (run->scenario->parameters != NULL) {
        json_object_set_new(run->meta, "parameters",
                            json_loads(run->scenario->parameters, 0, NULL));
    }
    snprintf(path, sizeof path, "%s/meta.json", run->request->out);
    if (json_dump_file(run->meta, path, JSON_INDENT(2)) != 0) {
        return record_fail(run, "cannot write %s", path);
    }
    return 0;
}
