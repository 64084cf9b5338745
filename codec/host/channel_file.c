/* SPDX-License-Identifier: MIT */
#include "host/channel_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SKIP_BUFFER 65536u

bool vms_channel_is_seekable(const struct vms_channel *channel) {
    return channel->kind == CHANNEL_FILE;
}

static enum vms_code need_file(struct vms_channel *channel, uint64_t position,
                               struct vms_error *err) {
    if (channel->kind != CHANNEL_FILE)
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: it cannot be seeked", channel->name);
    if (position > INT64_MAX)
        return vms_io_error(err, channel->name, "seek", EOVERFLOW);
    return VMS_OK;
}

enum vms_code vms_channel_seek(struct vms_channel *channel, uint64_t position,
                               struct vms_error *err) {
    enum vms_code code = need_file(channel, position, err);
    if (code != VMS_OK)
        return code;
    if (lseek(channel->fd, (off_t)position, SEEK_SET) < 0)
        return vms_io_error(err, channel->name, "seek", errno);
    channel->ahead_pos = channel->ahead_len = 0;
    atomic_store(&channel->end, VMS_CHANNEL_OPEN);
    return VMS_OK;
}

enum vms_code vms_channel_tell(struct vms_channel *channel, uint64_t *position,
                               struct vms_error *err) {
    enum vms_code code = need_file(channel, 0, err);
    if (code != VMS_OK)
        return code;
    off_t at = lseek(channel->fd, 0, SEEK_CUR);
    if (at < 0)
        return vms_io_error(err, channel->name, "tell", errno);
    *position = (uint64_t)at - (channel->ahead_len - channel->ahead_pos);
    return VMS_OK;
}

static off_t device_size(int fd) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    off_t end = lseek(fd, 0, SEEK_END);
    return at < 0 || end < 0 || lseek(fd, at, SEEK_SET) < 0 ? -1 : end;
}

enum vms_code vms_channel_size(struct vms_channel *channel, uint64_t *size, struct vms_error *err) {
    struct stat st;
    enum vms_code code = need_file(channel, 0, err);
    if (code != VMS_OK)
        return code;
    off_t bytes = fstat(channel->fd, &st) != 0 ? -1
                  : S_ISREG(st.st_mode)        ? st.st_size
                                               : device_size(channel->fd);
    if (bytes < 0)
        return vms_io_error(err, channel->name, "find the size", errno);
    *size = (uint64_t)bytes;
    return VMS_OK;
}

static enum vms_code seek_forward(struct vms_channel *channel, uint64_t n, struct vms_error *err) {
    uint64_t at;
    uint64_t size;
    enum vms_code code = vms_channel_tell(channel, &at, err);
    if (code == VMS_OK)
        code = vms_channel_size(channel, &size, err);
    if (code != VMS_OK)
        return code;
    if (at > size || n > size - at)
        return vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: the file ends at byte %llu",
                             channel->name, (unsigned long long)size);
    code = vms_channel_seek(channel, at + n, err);
    if (code == VMS_OK)
        atomic_fetch_add(&channel->in, n);
    return code;
}

enum vms_code vms_channel_skip(struct vms_channel *channel, uint64_t n, struct vms_error *err) {
    if (channel->kind == CHANNEL_FILE)
        return seek_forward(channel, n, err);
    uint8_t *waste = malloc(SKIP_BUFFER);
    if (!waste)
        return vms_error_set(err, VMS_E_NO_MEMORY, "%.80s: skip", channel->name);
    enum vms_code code = VMS_OK;
    while (n > 0 && code == VMS_OK) {
        size_t step = n < SKIP_BUFFER ? (size_t)n : SKIP_BUFFER;
        code = vms_channel_read_full(channel, (struct vms_room){waste, step}, err);
        n -= step;
    }
    free(waste);
    return code;
}

enum vms_code vms_channel_read_at(struct vms_channel *channel, uint64_t position,
                                  struct vms_room room, struct vms_error *err) {
    enum vms_code code = need_file(channel, position, err);
    if (code == VMS_OK)
        code = vms_channel_check(channel, "read", err);
    while (room.len > 0 && code == VMS_OK) {
        ssize_t n = pread(channel->fd, room.ptr, room.len, (off_t)position);
        if (n < 0 && errno != EINTR)
            return vms_io_error(err, channel->name, "read", errno);
        if (n == 0)
            return vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: the file ends at byte %llu",
                                 channel->name, (unsigned long long)position);
        size_t got = n > 0 ? (size_t)n : 0;
        room = (struct vms_room){room.ptr + got, room.len - got};
        position += got;
    }
    return code;
}

enum vms_code vms_channel_write_at(struct vms_channel *channel, uint64_t position,
                                   struct vms_slice data, struct vms_error *err) {
    enum vms_code code = need_file(channel, position, err);
    if (code == VMS_OK)
        code = vms_channel_check(channel, "write", err);
    while (data.len > 0 && code == VMS_OK) {
        ssize_t n = pwrite(channel->fd, data.ptr, data.len, (off_t)position);
        if (n < 0 && errno != EINTR)
            return vms_io_error(err, channel->name, "write", errno);
        size_t put = n > 0 ? (size_t)n : 0;
        data = vms_slice_tail(data, put);
        position += put;
    }
    return code;
}
