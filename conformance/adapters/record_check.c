// SPDX-License-Identifier: MIT
// Dumps the source's memory and proves that the recorded migration has been a good one.
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
    uint8_t *bytes;
    size_t size;
};

static int map_image(struct record_run *run, const char *dir, const char *file,
                     struct image *image) {
    char path[PATH_MAX + 1024];
    struct stat info;
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0) {
        return record_fail(run, "cannot open %s", path);
    }
    image->size = (size_t)info.st_size;
    image->bytes = mmap(NULL, image->size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    return image->bytes != MAP_FAILED ? 0 : record_fail(run, "cannot map %s", path);
}

static const char *main_block(const struct record_run *run) {
    return run->has_cpu ? "pc.ram" : "ram";
}

static int check_guest_image(struct record_run *run, const char *dir, const char *key) {
    struct vms_guest_report report;
    struct image image;
    int status;

    if (map_image(run, dir, main_block(run), &image) != 0) {
        return -1;
    }
    status = vms_check_guest(image.bytes, image.size, &report);
    munmap(image.bytes, image.size);
    json_object_set_new(run->meta, key, json_string(report.text));
    return status == 0 ? 0 : record_fail(run, "%s: %s", key, report.text);
}

int record_dump_source(struct record_run *run) {
    if (vms_qemu_dump_ram(run->source, run->ram, &run->dump) != 0) {
        return record_fail_qemu(run, run->source);
    }
    return check_guest_image(run, run->ram, "source_guest");
}

// How many pages differ, and the first difference.
static void describe_difference(struct record_run *run, const struct vms_qemu_ram_block *block,
                                const struct image *source, const struct image *destination,
                                size_t at) {
    size_t pages = 0;

    for (size_t page = 0; page + VMS_GUEST_PAGE <= source->size; page += VMS_GUEST_PAGE) {
        pages += memcmp(source->bytes + page, destination->bytes + page, VMS_GUEST_PAGE) != 0;
    }
    record_fail(run,
                "%zu pages of RAM block %s differ; first at 0x%zx: %02x on the source, %02x on the "
                "destination",
                pages, block->name, at, source->bytes[at], destination->bytes[at]);
}

static int compare_block(struct record_run *run, const struct vms_qemu_ram_block *block,
                         const char *dir) {
    struct image source;
    struct image destination;
    size_t at = 0;

    if (map_image(run, run->ram, block->file, &source) != 0 ||
        map_image(run, dir, block->file, &destination) != 0) {
        return -1;
    }
    if (source.size != destination.size) {
        return record_fail(run, "RAM block %s: %zu bytes on the source, %zu on the destination",
                           block->name, source.size, destination.size);
    }
    while (at < source.size && source.bytes[at] == destination.bytes[at]) {
        at++;
    }
    if (at != source.size) {
        describe_difference(run, block, &source, &destination, at);
    }
    munmap(source.bytes, source.size);
    munmap(destination.bytes, destination.size);
    return at == source.size ? 0 : -1;
}

int record_compare_destination(struct record_run *run) {
    struct vms_ram_dump dump;
    char dir[128];
    int status = 0;

    snprintf(dir, sizeof dir, "%s/destination-ram", run->work);
    if (vms_qemu_dump_ram(run->destination, dir, &dump) != 0) {
        return record_fail_qemu(run, run->destination);
    }
    if (dump.missing != 0) {
        status = record_fail(run, "%zu RAM blocks of the destination were not found", dump.missing);
    }
    if (dump.count != run->dump.count) {
        status = record_fail(run, "the destination has %zu RAM blocks, the source %zu", dump.count,
                             run->dump.count);
    }
    for (size_t i = 0; i < run->dump.count && status == 0; i++) {
        status = run->dump.blocks[i].method == VMS_RAM_NONE
                     ? 0
                     : compare_block(run, &run->dump.blocks[i], dir);
    }
    vms_ram_dump_free(&dump);
    json_object_set_new(run->meta, "destination_memory_equal", json_boolean(status == 0));
    return status;
}

// Heartbeats continue where the source stopped; three of them let it verify pages, too.
static int watch_heartbeat(struct record_run *run) {
    ssize_t at = 0;

    for (int i = 0; i < 3 && at >= 0; i++) {
        at = vms_qemu_wait_serial(run->destination, "hb ", (size_t)at, 0);
    }
    if (at < 0) {
        return record_fail_qemu(run, run->destination);
    }
    return vms_qemu_serial_has(run->destination, "BAD")
               ? record_fail(run, "the guest says BAD on the destination")
               : 0;
}

int record_check_destination_guest(struct record_run *run) {
    char path[256];

    if (run->has_cpu && watch_heartbeat(run) != 0) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/%s", run->work, main_block(run));
    if (vms_qemu_stop(run->destination) != 0 ||
        vms_qemu_pmemsave(run->destination, 0, run->memory_bytes, path) != 0) {
        return record_fail_qemu(run, run->destination);
    }
    return check_guest_image(run, run->work, "destination_guest");
}
