/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static bool must_escape(uint8_t byte) {
    return byte < 0x20 || byte >= 0x7f || byte == '/' || byte == '%';
}

bool vms_ram_file_name(struct vms_slice name, char *out) {
    static const char hex[] = "0123456789ABCDEF";
    bool dots = vms_slice_eq(name, vms_str(".")) || vms_slice_eq(name, vms_str(".."));
    if (name.len == 0 || name.len > VMS_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t byte = name.ptr[i];
        if (!dots && !must_escape(byte)) {
            *out++ = (char)byte;
            continue;
        }
        *out++ = '%';
        *out++ = hex[byte >> 4];
        *out++ = hex[byte & 15];
    }
    *out = '\0';
    return true;
}

static enum vms_code io_error(struct vms_error *err, const char *what, const char *name) {
    int why = errno;
    return vms_error_set(err, VMS_E_IO, "%s RAM block %s: %s", what, name, strerror(why));
}

/* A file left by an earlier run is emptied; a link is not followed, the directory may be shared. */
static int open_in_directory(const char *directory, const struct ram_block *b) {
    char name[VMS_RAM_FILE_NAME_MAX];
    if (!vms_ram_file_name(vms_slice(b->pub.name, b->name_len), name)) {
        errno = EINVAL;
        return -1;
    }
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int why = errno;
    close(dir);
    errno = why;
    return fd;
}

static int open_store(const struct vms_ram_image_config *config, const struct ram_block *b) {
    switch (config->store) {
    case VMS_RAM_FILES: return open_in_directory(config->path, b);
    case VMS_RAM_FILE: return open(config->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    case VMS_RAM_MEMORY: return memfd_create("vmstream-ram", MFD_CLOEXEC);
    case VMS_RAM_CHECK: break;
    }
    errno = EINVAL;
    return -1;
}

static enum vms_code map(struct ram_block *b, struct vms_error *err) {
    if (b->pub.used_length > SIZE_MAX || b->pub.used_length > INT64_MAX)
        return vms_error_set(err, VMS_E_LIMIT, "RAM block %s does not fit the address space",
                             b->pub.name);
    if (ftruncate(b->pub.fd, (off_t)b->pub.used_length) < 0)
        return io_error(err, "sizing", b->pub.name);
    void *memory = mmap(NULL, (size_t)b->pub.used_length, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_NORESERVE, b->pub.fd, 0);
    if (memory == MAP_FAILED)
        return io_error(err, "mapping", b->pub.name);
    b->pub.memory = memory;
    return VMS_OK;
}

enum vms_code ram_store_open(const struct vms_ram_image_config *config, uint32_t page_size,
                             struct ram_block *block, struct vms_error *err) {
    block->pub.fd = open_store(config, block);
    if (block->pub.fd < 0)
        return io_error(err, "opening", block->pub.name);
    if (map(block, err) != VMS_OK) {
        ram_store_close(block);
        return err->code;
    }
    uint64_t words = (block->pub.used_length / page_size + 63) / 64;
    block->written = calloc((size_t)words, sizeof *block->written);
    if (block->written)
        return VMS_OK;
    ram_store_close(block);
    return vms_error_set(err, VMS_E_NO_MEMORY, "RAM block %s", block->pub.name);
}

void ram_store_close(struct ram_block *block) {
    if (block->pub.memory)
        munmap(block->pub.memory, (size_t)block->pub.used_length);
    if (block->pub.fd >= 0)
        close(block->pub.fd);
    free(block->written);
    block->pub.memory = NULL;
    block->pub.fd = -1;
    block->written = NULL;
}

enum vms_code ram_store_punch(struct ram_block *block, uint64_t start, uint64_t length,
                              struct vms_error *err) {
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(block->pub.fd, mode, (off_t)start, (off_t)length) == 0)
        return VMS_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return io_error(err, "discarding from", block->pub.name);
    memset(block->pub.memory + start, 0, (size_t)length);
    return VMS_OK;
}
