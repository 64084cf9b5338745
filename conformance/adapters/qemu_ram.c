// SPDX-License-Identifier: MIT
// Listing and dumping the RAM blocks of a VM; the method is described in qemu.h.
#include "qemu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 4096
};

const char *vms_ram_method_name(enum vms_ram_method method) {
    static const char *const names[] = {"none", "monitor", "gpa2hva", "searched"};

    return names[method];
}

int vms_qemu_pmemsave(struct vms_qemu *qemu, uint64_t address, uint64_t size, const char *path) {
    return vms_qemu_execute(qemu, "pmemsave",
                            json_pack("{s:I, s:I, s:s}", "val", (json_int_t)address, "size",
                                      (json_int_t)size, "filename", path),
                            NULL);
}

int vms_qemu_read_host(int mem_fd, uint64_t host, void *buffer, size_t size) {
    uint8_t *to = buffer;

    while (size > 0) {
        ssize_t got = pread(mem_fd, to, size, (off_t)host);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got == 0 ? EFAULT : errno;
            return -1;
        }
        to += got;
        host += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

// One line of `info ramblock`: name, page size with its unit, offset, used, total [, host, ro].
// Names may hold spaces, so the numbers are found first: the first word that begins with 0x.
static bool parse_line(const char *line, struct vms_qemu_ram_block *block) {
    const char *numbers = strstr(line, " 0x");
    const char *end;

    memset(block, 0, sizeof *block);
    if (numbers == NULL || sscanf(numbers, " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64,
                                  &block->offset, &block->used, &block->total, &block->host) < 3) {
        return false;
    }
    while (*line == ' ') {
        line++;
    }
    end = numbers;
    for (int words = 0; words < 2; words++) { // back over the unit and the number of the page size
        while (end > line && end[-1] == ' ') {
            end--;
        }
        while (end > line && end[-1] != ' ') {
            end--;
        }
    }
    while (end > line && end[-1] == ' ') {
        end--;
    }
    if (end == line || (size_t)(end - line) >= sizeof block->name) {
        return false;
    }
    memcpy(block->name, line, (size_t)(end - line));
    block->method = block->host != 0 ? VMS_RAM_MONITOR : VMS_RAM_NONE;
    return true;
}

static void set_file_name(struct vms_qemu_ram_block *block) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-";
    char *to = block->file;

    for (const char *from = block->name; *from != '\0'; from++) {
        bool keep = strchr(plain, *from) != NULL && (*from != '.' || from != block->name);

        to += sprintf(to, keep ? "%c" : "%%%02X", (unsigned char)*from);
    }
}

static int add_block(struct vms_qemu *qemu, struct vms_ram_dump *dump, const char *line) {
    struct vms_qemu_ram_block block;
    struct vms_qemu_ram_block *grown;

    if (!parse_line(line, &block)) {
        return 0; // the heading
    }
    set_file_name(&block);
    grown = realloc(dump->blocks, (dump->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return vms_qemu_fail(qemu, "out of memory");
    }
    dump->blocks = grown;
    dump->blocks[dump->count++] = block;
    return 0;
}

static int list_blocks(struct vms_qemu *qemu, struct vms_ram_dump *dump) {
    char *text;
    char *rest;
    int status = 0;

    if (vms_qemu_hmp(qemu, "info ramblock", &text) != 0) {
        return -1;
    }
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL && status == 0;
         line = strtok_r(NULL, "\r\n", &rest)) {
        status = add_block(qemu, dump, line);
    }
    free(text);
    return status;
}

static int open_memory(struct vms_qemu *qemu) {
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/%d/mem", (int)qemu->pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : vms_qemu_fail(qemu, "%s: %s", path, strerror(errno));
}

static int find_ram(struct vms_qemu *qemu, int mem_fd, struct vms_ram_dump *dump) {
    memset(dump, 0, sizeof *dump);
    if (list_blocks(qemu, dump) != 0 || vms_qemu_search_ram(qemu, mem_fd, dump) != 0) {
        vms_ram_dump_free(dump);
        return -1;
    }
    for (size_t i = 0; i < dump->count; i++) {
        dump->missing += dump->blocks[i].method == VMS_RAM_NONE;
    }
    return 0;
}

int vms_qemu_find_ram(struct vms_qemu *qemu, struct vms_ram_dump *dump) {
    int mem_fd = open_memory(qemu);
    int status;

    if (mem_fd < 0) {
        return -1;
    }
    status = find_ram(qemu, mem_fd, dump);
    close(mem_fd);
    return status;
}

static int copy_block(int mem_fd, const struct vms_qemu_ram_block *block, int out) {
    static const uint8_t zeroes[CHUNK];
    uint8_t bytes[CHUNK];

    for (uint64_t at = 0; at < block->used; at += CHUNK) {
        size_t length = block->used - at < CHUNK ? (size_t)(block->used - at) : CHUNK;

        if (vms_qemu_read_host(mem_fd, block->host + at, bytes, length) != 0) {
            return -1;
        }
        if (memcmp(bytes, zeroes, length) != 0 &&
            pwrite(out, bytes, length, (off_t)at) != (ssize_t)length) {
            return -1;
        }
    }
    return ftruncate(out, (off_t)block->used);
}

static int dump_block(struct vms_qemu *qemu, int mem_fd, const struct vms_qemu_ram_block *block,
                      const char *dir) {
    char path[PATH_MAX];
    int status;
    int out;

    snprintf(path, sizeof path, "%s/%s", dir, block->file);
    out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) {
        return vms_qemu_fail(qemu, "%s: %s", path, strerror(errno));
    }
    status = copy_block(mem_fd, block, out);
    if (status != 0) {
        vms_qemu_fail(qemu, "dumping RAM block %s to %s: %s", block->name, path, strerror(errno));
    }
    close(out);
    return status;
}

static int require_stopped(struct vms_qemu *qemu) {
    char status[64];

    if (vms_qemu_status(qemu, status, sizeof status) != 0) {
        return -1;
    }
    if (strcmp(status, "running") == 0) {
        return vms_qemu_fail(qemu, "the VM is running: its memory cannot be dumped");
    }
    return 0;
}

int vms_qemu_dump_ram(struct vms_qemu *qemu, const char *dir, struct vms_ram_dump *dump) {
    int status = 0;
    int mem_fd;

    memset(dump, 0, sizeof *dump);
    if (require_stopped(qemu) != 0) {
        return -1;
    }
    if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
        return vms_qemu_fail(qemu, "%s: %s", dir, strerror(errno));
    }
    mem_fd = open_memory(qemu);
    if (mem_fd < 0) {
        return -1;
    }
    status = find_ram(qemu, mem_fd, dump);
    for (size_t i = 0; i < dump->count && status == 0; i++) {
        if (dump->blocks[i].method != VMS_RAM_NONE) {
            status = dump_block(qemu, mem_fd, &dump->blocks[i], dir);
        }
    }
    close(mem_fd);
    if (status != 0) {
        vms_ram_dump_free(dump);
    }
    return status;
}

void vms_ram_dump_free(struct vms_ram_dump *dump) {
    free(dump->blocks);
    memset(dump, 0, sizeof *dump);
}
