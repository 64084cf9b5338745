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

static int open_store(const struct vms_ram_image *image, const struct ram_block *b) {
    switch (image->config.store) {
    case VMS_RAM_FILES:
        if (!image->deferred)
            return open_in_directory(image->config.path, b);
        /* fall through */
    case VMS_RAM_MEMORY: return memfd_create("vmstream-ram", MFD_CLOEXEC);
    case VMS_RAM_FILE:
        return open(image->config.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    case VMS_RAM_GUEST:
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
    b->pub.shared = true;
    b->pub.map_page = (uint64_t)sysconf(_SC_PAGESIZE);
    return VMS_OK;
}

static enum vms_code open_own(const struct vms_ram_image *image, struct ram_block *b,
                              struct vms_error *err) {
    b->pub.fd = open_store(image, b);
    return b->pub.fd < 0 ? io_error(err, "opening", b->pub.name) : map(b, err);
}

static const struct vms_guest_block *find_in(const struct vms_guest *guest, const char *name) {
    for (size_t i = 0; i < guest->block_count; i++)
        if (strcmp(guest->blocks[i].name, name) == 0)
            return &guest->blocks[i];
    return NULL;
}

/* [RAM-16] [RAM-30] */
static enum vms_code borrow(const struct vms_guest *guest, struct ram_block *b,
                            struct vms_error *err) {
    const struct vms_guest_block *g = find_in(guest, b->pub.name);
    if (!g)
        return vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "the guest here has no block %s",
                             b->pub.name);
    if (g->length != b->pub.used_length)
        return vms_error_set(err, VMS_E_RAM_BLOCK_SIZE, "%s has %llu bytes here, %llu there",
                             b->pub.name, (unsigned long long)g->length,
                             (unsigned long long)b->pub.used_length);
    if (b->pub.page_size && b->pub.page_size != g->page_size)
        return vms_error_set(
            err, VMS_E_RAM_BLOCK_SIZE, "%s has pages of %llu bytes here, of %llu there",
            b->pub.name, (unsigned long long)g->page_size, (unsigned long long)b->pub.page_size);
    b->borrowed = true;
    b->pub.memory = g->memory;
    b->pub.fd = g->fd;
    b->pub.shared = g->shared;
    b->pub.map_page = g->page_size;
    return VMS_OK;
}

enum vms_code ram_store_open(const struct vms_ram_image *image, struct ram_block *b,
                             struct vms_error *err) {
    const struct vms_guest *guest =
        image->config.store == VMS_RAM_GUEST ? image->config.guest : NULL;
    if ((guest ? borrow(guest, b, err) : open_own(image, b, err)) != VMS_OK) {
        ram_store_close(b);
        return err->code;
    }
    uint64_t words = (b->pub.used_length / image->page_size + 63) / 64;
    b->written = calloc((size_t)words, sizeof *b->written);
    b->zeros = calloc((size_t)words, sizeof *b->zeros);
    if (b->written && b->zeros)
        return VMS_OK;
    ram_store_close(b);
    return vms_error_set(err, VMS_E_NO_MEMORY, "RAM block %s", b->pub.name);
}

void ram_store_close(struct ram_block *block) {
    if (block->pub.memory && !block->borrowed)
        munmap(block->pub.memory, (size_t)block->pub.used_length);
    if (block->pub.fd >= 0 && !block->borrowed)
        close(block->pub.fd);
    free(block->written);
    free(block->zeros);
    block->pub.memory = NULL;
    block->pub.fd = -1;
    block->written = block->zeros = NULL;
}

/* Private memory has its pages beside the file, if there is one. */
enum vms_code ram_store_punch(struct ram_block *block, uint64_t start, uint64_t length,
                              struct vms_error *err) {
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r = block->pub.shared ? fallocate(block->pub.fd, mode, (off_t)start, (off_t)length)
                              : madvise(block->pub.memory + start, (size_t)length, MADV_DONTNEED);
    if (r == 0)
        return VMS_OK;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return io_error(err, "discarding from", block->pub.name);
    memset(block->pub.memory + start, 0, (size_t)length);
    return VMS_OK;
}

/* ---- files that are written afterwards ---- */

void vms_ram_image_defer_files(struct vms_ram_image *image) {
    image->deferred = image->config.store == VMS_RAM_FILES;
}

static enum vms_code write_at(int fd, const struct ram_block *b, uint64_t offset, uint64_t length,
                              struct vms_error *err) {
    while (length > 0) {
        ssize_t n = pwrite(fd, b->pub.memory + offset, (size_t)length, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return io_error(err, "writing", b->pub.name);
        offset += n > 0 ? (uint64_t)n : 0;
        length -= n > 0 ? (uint64_t)n : 0;
    }
    return VMS_OK;
}

/* What the memory's own file has no data for stays a hole. */
static enum vms_code copy_data(int fd, const struct ram_block *b, struct vms_error *err) {
    off_t end = 0, at;
    while ((at = lseek(b->pub.fd, end, SEEK_DATA)) >= 0) {
        end = lseek(b->pub.fd, at, SEEK_HOLE);
        if (end < 0)
            return io_error(err, "seeking in", b->pub.name);
        if (write_at(fd, b, (uint64_t)at, (uint64_t)(end - at), err) != VMS_OK)
            return err->code;
    }
    return errno == ENXIO ? VMS_OK : io_error(err, "seeking in", b->pub.name);
}

static enum vms_code save_block(const struct vms_ram_image *image, const struct ram_block *b,
                                struct vms_error *err) {
    int fd = open_in_directory(image->config.path, b);
    if (fd < 0)
        return io_error(err, "opening", b->pub.name);
    enum vms_code code = ftruncate(fd, (off_t)b->pub.used_length) == 0
                             ? copy_data(fd, b, err)
                             : io_error(err, "sizing", b->pub.name);
    if (close(fd) != 0 && code == VMS_OK)
        code = io_error(err, "writing", b->pub.name);
    return code;
}

enum vms_code vms_ram_image_save(const struct vms_ram_image *image, struct vms_error *err) {
    for (size_t i = 0; image->deferred && i < image->count; i++)
        if (image->blocks[i]->pub.memory && save_block(image, image->blocks[i], err) != VMS_OK)
            return err->code;
    return VMS_OK;
}
