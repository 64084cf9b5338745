/* SPDX-License-Identifier: MIT */
#include "host/source_channel.h"

enum {
    IOV_COUNT = 64,
};

static enum vms_source_status read_one(struct vms_channel *channel, struct vms_room room,
                                       size_t *got, struct vms_error *err) {
    if (vms_channel_read(channel, room, got, err) != VMS_OK)
        return VMS_SOURCE_ERROR;
    return *got ? VMS_SOURCE_DATA : VMS_SOURCE_END;
}

static enum vms_source_status channel_read(void *ctx, const struct vms_room *rooms, size_t count,
                                           size_t *got, struct vms_error *err) {
    struct iovec iov[IOV_COUNT];
    size_t n = count < IOV_COUNT ? count : IOV_COUNT, sum = 0;
    if (n == 1)
        return read_one(ctx, rooms[0], got, err);
    for (size_t i = 0; i < n; i++) {
        iov[i] = (struct iovec){rooms[i].ptr, rooms[i].len};
        sum += rooms[i].len;
    }
    if (vms_channel_readv_full(ctx, iov, (int)n, err) != VMS_OK)
        return VMS_SOURCE_ERROR;
    *got = sum;
    return VMS_SOURCE_DATA;
}

static enum vms_source_status channel_skip(void *ctx, uint64_t n, uint64_t *got,
                                           struct vms_error *err) {
    uint64_t at = 0, size = 0;
    *got = 0;
    if (!vms_channel_is_seekable(ctx))
        return VMS_SOURCE_DATA;
    if (vms_channel_tell(ctx, &at, err) != VMS_OK || vms_channel_size(ctx, &size, err) != VMS_OK)
        return VMS_SOURCE_ERROR;
    uint64_t left = size > at ? size - at : 0;
    if (left == 0)
        return VMS_SOURCE_END;
    *got = n < left ? n : left;
    return vms_channel_skip(ctx, *got, err) == VMS_OK ? VMS_SOURCE_DATA : VMS_SOURCE_ERROR;
}

static bool channel_quiet(void *ctx, int ms) {
    return vms_channel_quiet(ctx, ms);
}

static const struct vms_source_ops CHANNEL_OPS = {channel_read, channel_skip, channel_quiet};

struct vms_source vms_source_from_channel(struct vms_channel *channel) {
    struct vms_source source = {&CHANNEL_OPS, channel, UINT64_MAX};
    struct vms_error ignored;
    uint64_t at = 0, size = 0;
    if (vms_channel_is_seekable(channel) && vms_channel_tell(channel, &at, &ignored) == VMS_OK &&
        vms_channel_size(channel, &size, &ignored) == VMS_OK)
        source.total = size > at ? size - at : 0;
    return source;
}
