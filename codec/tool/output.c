/* SPDX-License-Identifier: MIT */
#include "tool/output.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024, /* bytes */
    BLOCK = 4096,
};

static enum vms_code failed(struct vms_error *err, const char *what) {
    int why = errno;
    return vms_error_set(err, VMS_E_IO, "%s: %s", what, strerror(why));
}

enum vms_code output_open(struct output *out, const char *path, struct vms_error *err) {
    struct stat st;
    *out = (struct output){.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (out->fd < 0)
        return failed(err, path);
    out->seekable = fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode);
    out->buffer = malloc(BUFFER);
    if (out->buffer)
        return VMS_OK;
    (void)close(out->fd);
    out->fd = -1;
    return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
}

static enum vms_code flush(struct output *out, struct vms_error *err) {
    for (size_t done = 0; done < out->used;) {
        ssize_t n = write(out->fd, out->buffer + done, out->used - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(err, "write");
        done += (size_t)n;
    }
    out->position += out->used;
    out->used = 0;
    return VMS_OK;
}

enum vms_code output_write(struct output *out, struct vms_slice bytes, struct vms_error *err) {
    while (bytes.len > 0) {
        if (out->used == BUFFER && flush(out, err) != VMS_OK)
            return err->code;
        struct vms_slice head = vms_slice_head(bytes, BUFFER - out->used);
        memcpy(out->buffer + out->used, head.ptr, head.len);
        out->used += head.len;
        bytes = vms_slice_tail(bytes, head.len);
    }
    return VMS_OK;
}

static enum vms_code write_zeros(struct output *out, uint64_t n, struct vms_error *err) {
    static const uint8_t zeros[BLOCK];
    while (n > 0) {
        struct vms_slice part = vms_slice(zeros, n < BLOCK ? (size_t)n : BLOCK);
        if (output_write(out, part, err) != VMS_OK)
            return err->code;
        n -= part.len;
    }
    return VMS_OK;
}

enum vms_code output_hole(struct output *out, uint64_t n, struct vms_error *err) {
    if (!out->seekable || n < BLOCK)
        return write_zeros(out, n, err);
    if (flush(out, err) != VMS_OK)
        return err->code;
    if (n > INT64_MAX || lseek(out->fd, (off_t)n, SEEK_CUR) < 0)
        return failed(err, "seek");
    out->position += n;
    return VMS_OK;
}

static bool is_zero(struct vms_slice s) {
    return s.len == 0 || (s.ptr[0] == 0 && memcmp(s.ptr, s.ptr + 1, s.len - 1) == 0);
}

/* Blocks of the output file, so that a hole can really be one. */
enum vms_code output_write_sparse(struct output *out, struct vms_slice bytes,
                                  struct vms_error *err) {
    while (bytes.len > 0) {
        size_t to_block = BLOCK - (size_t)((out->position + out->used) % BLOCK);
        struct vms_slice head = vms_slice_head(bytes, to_block);
        enum vms_code code = head.len == BLOCK && is_zero(head) ? output_hole(out, BLOCK, err)
                                                                : output_write(out, head, err);
        if (code != VMS_OK)
            return code;
        bytes = vms_slice_tail(bytes, head.len);
    }
    return VMS_OK;
}

/* Where data begins at or after `at`, at most `end`; a file system that cannot tell has data. */
static uint64_t next_data(int fd, uint64_t at, uint64_t end) {
    off_t here = lseek(fd, 0, SEEK_CUR);
    off_t data = lseek(fd, (off_t)at, SEEK_DATA);
    bool none = data < 0 && errno == ENXIO;
    (void)lseek(fd, here, SEEK_SET);
    if (none || (data >= 0 && (uint64_t)data > end))
        return end;
    return data < 0 ? at : (uint64_t)data;
}

static enum vms_code copy_piece(struct output *out, int fd, uint64_t *at, uint64_t end,
                                struct vms_error *err) {
    uint8_t bytes[64 * 1024];
    size_t want = end - *at < sizeof bytes ? (size_t)(end - *at) : sizeof bytes;
    ssize_t n = pread(fd, bytes, want, (off_t)*at);
    if (n < 0)
        return errno == EINTR ? VMS_OK : failed(err, "read");
    if (n == 0)
        return vms_error_set(err, VMS_E_TRUNCATED, "the file ends at %llu",
                             (unsigned long long)*at);
    *at += (uint64_t)n;
    return output_write_sparse(out, vms_slice(bytes, (size_t)n), err);
}

enum vms_code output_copy(struct output *out, int fd, uint64_t from, uint64_t n,
                          struct vms_error *err) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return failed(err, "read");
    if (st.st_size < 0 || from > (uint64_t)st.st_size || n > (uint64_t)st.st_size - from)
        return vms_error_set(err, VMS_E_TRUNCATED, "the file ends at %lld", (long long)st.st_size);
    for (uint64_t at = from, end = from + n; at < end;) {
        uint64_t data = next_data(fd, at, end);
        if (data > at && output_hole(out, data - at, err) != VMS_OK)
            return err->code;
        at = data;
        if (at < end && copy_piece(out, fd, &at, end, err) != VMS_OK)
            return err->code;
    }
    return VMS_OK;
}

void output_drop(struct output *out, const char *path) {
    struct stat mine, there;
    if (out->fd < 0)
        return;
    if (fstat(out->fd, &mine) == 0 && lstat(path, &there) == 0 && S_ISREG(there.st_mode) &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
        (void)unlink(path);
    (void)close(out->fd);
    free(out->buffer);
    out->buffer = NULL;
    out->fd = -1;
}

/* A hole at the very end is no write: the length is set. */
enum vms_code output_close(struct output *out, struct vms_error *err) {
    if (out->fd < 0)
        return VMS_OK;
    enum vms_code code = flush(out, err);
    if (code == VMS_OK && out->seekable && ftruncate(out->fd, (off_t)out->position) < 0)
        code = failed(err, "truncate");
    if (close(out->fd) < 0 && code == VMS_OK)
        code = failed(err, "close");
    free(out->buffer);
    out->buffer = NULL;
    out->fd = -1;
    return code;
}
