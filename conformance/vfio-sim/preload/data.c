/* SPDX-License-Identifier: MIT */
#include "codec/host/vfio_abi.h"
#include "preload.h"

#include <errno.h>
#include <stdlib.h>

/* The data fd of a migration: it holds its device. */
struct data {
    struct object object;
    struct object *holds;
    struct device *device;
};

static ssize_t data_read(struct object *object, void *buf, size_t len) {
    struct data *data = (struct data *)object;
    uint64_t busy;
    struct vfs_device *sim = device_lock(data->device);
    ssize_t n = vfs_read(sim, now_ns(), buf, len, &busy);
    device_unlock(data->device, busy);
    return n;
}

static ssize_t data_write(struct object *object, const void *buf, size_t len) {
    struct data *data = (struct data *)object;
    uint64_t busy;
    struct vfs_device *sim = device_lock(data->device);
    ssize_t n = vfs_write(sim, now_ns(), buf, len, &busy);
    device_unlock(data->device, busy);
    return n;
}

static int data_ioctl(struct object *object, unsigned long request, void *arg) {
    struct data *data = (struct data *)object;
    struct vms_vfio_precopy_info *info = arg;
    uint64_t initial = 0, dirty = 0;
    if (request != VFIO_MIG_GET_PRECOPY_INFO)
        return -ENOTTY;
    if (info->argsz < sizeof *info)
        return -EINVAL;
    struct vfs_device *sim = device_lock(data->device);
    int e = vfs_info(sim, now_ns(), &info->flags, &initial, &dirty);
    device_unlock(data->device, 0);
    if (e == 0) {
        info->initial_bytes = initial;
        info->dirty_bytes = dirty;
    }
    return e;
}

static ssize_t no_pread(struct object *object, void *buf, size_t len, uint64_t offset) {
    (void)object, (void)buf, (void)len, (void)offset;
    return -ESPIPE;
}

static ssize_t no_pwrite(struct object *object, const void *buf, size_t len, uint64_t offset) {
    (void)object, (void)buf, (void)len, (void)offset;
    return -ESPIPE;
}

static void data_release(struct object *object) {
    object_put(((struct data *)object)->holds);
    free(object);
}

static const struct object_ops data_ops = {
    .ioctl = data_ioctl,
    .read = data_read,
    .write = data_write,
    .pread = no_pread,
    .pwrite = no_pwrite,
    .release = data_release,
};

struct object *data_new(struct object *device_object, struct device *device) {
    struct data *data = calloc(1, sizeof *data);
    if (!data)
        return NULL;
    data->object.ops = &data_ops;
    data->object.references = 1;
    data->holds = device_object;
    data->device = device;
    object_hold(device_object);
    return &data->object;
}
