/* SPDX-License-Identifier: MIT */
#include "host/vfio_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const names[VMS_VFIO_STATES] = {
    [VMS_VFIO_ERROR] = "ERROR",       [VMS_VFIO_STOP] = "STOP",
    [VMS_VFIO_RUNNING] = "RUNNING",   [VMS_VFIO_STOP_COPY] = "STOP_COPY",
    [VMS_VFIO_RESUMING] = "RESUMING", [VMS_VFIO_RUNNING_P2P] = "RUNNING_P2P",
    [VMS_VFIO_PRE_COPY] = "PRE_COPY", [VMS_VFIO_PRE_COPY_P2P] = "PRE_COPY_P2P",
};

const char *vms_vfio_state_name(enum vms_vfio_state state) {
    return (unsigned)state < VMS_VFIO_STATES ? names[state] : "?";
}

const char *vms_vfio_name(const struct vms_vfio *device) {
    return device->name;
}

const struct vms_vfio_features *vms_vfio_features(const struct vms_vfio *device) {
    return &device->features;
}

enum vms_vfio_state vms_vfio_state(const struct vms_vfio *device) {
    return device->state;
}

enum vms_code vms_vfio_fail(struct vms_vfio *device, const char *what, int error,
                            struct vms_error *err) {
    /* of a long path the end tells devices apart */
    const char *name = strlen(device->name) > 60 ? strrchr(device->name, '/') : NULL;
    return vms_error_set(err, VMS_E_VFIO_DEVICE, "%.60s: %s: %s; it is in %s",
                         name ? name + 1 : device->name, what, error ? strerror(error) : "refused",
                         vms_vfio_state_name(device->state));
}

int vms_vfio_feature(int fd, uint32_t flags, void *data, size_t size) {
    union vms_vfio_feature_arg arg;
    memset(&arg, 0, sizeof arg);
    arg.feature.argsz = (uint32_t)(sizeof arg.feature + size);
    arg.feature.flags = flags;
    if (size)
        memcpy(arg.feature.data, data, size);
    int result = ioctl(fd, VFIO_DEVICE_FEATURE, &arg) < 0 ? -errno : 0;
    if (size)
        memcpy(data, arg.feature.data, size);
    return result;
}

/* ---- states ---- */

enum vms_code vms_vfio_ask_state(struct vms_vfio *device, enum vms_vfio_state *out,
                                 struct vms_error *err) {
    struct vfio_device_feature_mig_state mig = {0};
    int e =
        vms_vfio_feature(device->fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
                         &mig, sizeof mig);
    if (e != 0)
        return vms_vfio_fail(device, "asking for its state", -e, err);
    *out = device->state =
        mig.device_state < VMS_VFIO_STATES ? (enum vms_vfio_state)mig.device_state : VMS_VFIO_ERROR;
    return VMS_OK;
}

static bool has_data(enum vms_vfio_state state) {
    return state == VMS_VFIO_PRE_COPY || state == VMS_VFIO_PRE_COPY_P2P ||
           state == VMS_VFIO_STOP_COPY || state == VMS_VFIO_RESUMING;
}

static void close_data(struct vms_vfio *device) {
    if (device->data_fd >= 0)
        (void)close(device->data_fd);
    device->data_fd = -1;
}

/* PRE_COPY to STOP_COPY answers with no fd: the old one goes on. */
static void keep_data(struct vms_vfio *device, int fd) {
    if (fd >= 0 || !has_data(device->state))
        close_data(device);
    if (fd >= 0)
        device->data_fd = fd;
}

enum vms_code vms_vfio_set_state(struct vms_vfio *device, enum vms_vfio_state state,
                                 struct vms_error *err) {
    struct vfio_device_feature_mig_state mig = {.device_state = (uint32_t)state, .data_fd = -1};
    enum vms_vfio_state now;
    struct vms_error ignored;
    char what[64];
    if (device->state == state && state != VMS_VFIO_ERROR)
        return VMS_OK;
    enum vms_vfio_state from = device->state;
    int e =
        vms_vfio_feature(device->fd, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
                         &mig, sizeof mig);
    if (e == 0) {
        device->state = state;
        keep_data(device, mig.data_fd);
        return VMS_OK;
    }
    /* [VDEV-1] it may be anywhere on the way; who does not even tell is taken for broken */
    if (vms_vfio_ask_state(device, &now, &ignored) != VMS_OK)
        device->state = VMS_VFIO_ERROR;
    keep_data(device, -1);
    (void)snprintf(what, sizeof what, "from %s to %s", vms_vfio_state_name(from),
                   vms_vfio_state_name(state));
    return vms_vfio_fail(device, what, -e, err);
}

enum vms_code vms_vfio_reset(struct vms_vfio *device, struct vms_error *err) {
    enum vms_vfio_state state;
    int failed = ioctl(device->fd, VFIO_DEVICE_RESET) < 0 ? errno : 0;
    close_data(device);
    if (failed)
        return vms_vfio_fail(device, "reset", failed, err);
    return vms_vfio_ask_state(device, &state, err);
}

/* [VDEV-2] */
enum vms_code vms_vfio_recover(struct vms_vfio *device, struct vms_error *err) {
    struct vms_error ignored;
    if (device->state != VMS_VFIO_ERROR && device->state != VMS_VFIO_RESUMING &&
        vms_vfio_set_state(device, VMS_VFIO_RUNNING, &ignored) == VMS_OK)
        return VMS_OK;
    enum vms_code code = vms_vfio_reset(device, err);
    if (code == VMS_OK && device->state != VMS_VFIO_RUNNING)
        code = vms_vfio_set_state(device, VMS_VFIO_RUNNING, err);
    return code;
}

void vms_vfio_close_files(struct vms_vfio *device) {
    vms_vfio_log_stop(device);
    close_data(device);
    if (device->fd >= 0)
        (void)close(device->fd);
    device->fd = -1;
}

/* [VDEV-24] */
enum vms_code vms_vfio_halt(struct vms_vfio *device, struct vms_error *err) {
    struct vms_error ignored;
    if (device->fd < 0)
        return VMS_OK;
    enum vms_code code = vms_vfio_reset(device, err);
    if (code == VMS_OK || vms_vfio_set_state(device, VMS_VFIO_STOP, &ignored) == VMS_OK)
        return code;
    vms_vfio_close_files(device);
    device->state = VMS_VFIO_ERROR;
    return code;
}

/* ---- data ---- */

enum vms_code vms_vfio_read(struct vms_vfio *device, void *buf, size_t len, size_t *got,
                            enum vms_vfio_data *what, struct vms_error *err) {
    *got = 0;
    ssize_t n;
    do
        n = read(device->data_fd, buf, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ENOMSG)
        return vms_vfio_fail(device, "reading its state", errno, err);
    *got = n > 0 ? (size_t)n : 0;
    *what = n < 0 ? VMS_VFIO_LATER : n == 0 ? VMS_VFIO_END : VMS_VFIO_DATA;
    if (*what == VMS_VFIO_END && device->state != VMS_VFIO_STOP_COPY)
        *what = VMS_VFIO_LATER; /* some drivers say so while they still run */
    return VMS_OK;
}

enum vms_code vms_vfio_write(struct vms_vfio *device, const void *buf, size_t len,
                             struct vms_error *err) {
    const uint8_t *at = buf;
    while (len > 0) {
        ssize_t n = write(device->data_fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vms_vfio_fail(device, "loading its state", n < 0 ? errno : EIO, err);
        at += n;
        len -= (size_t)n;
    }
    return VMS_OK;
}

enum vms_code vms_vfio_precopy(struct vms_vfio *device, struct vms_vfio_precopy *out,
                               struct vms_error *err) {
    struct vms_vfio_precopy_info info = {.argsz = sizeof info};
    if (ioctl(device->data_fd, VFIO_MIG_GET_PRECOPY_INFO, &info) < 0)
        return vms_vfio_fail(device, "asking what is left", errno, err);
    *out = (struct vms_vfio_precopy){
        .initial = info.initial_bytes,
        .dirty = info.dirty_bytes,
        /* [VDEV-4] before the opt-in the flags mean nothing */
        .reinit = device->features.reinit && (info.flags & VFIO_PRECOPY_INFO_REINIT),
    };
    return VMS_OK;
}

enum vms_code vms_vfio_data_size(struct vms_vfio *device, uint64_t *out, struct vms_error *err) {
    *out = UINT64_MAX;
    if (!device->features.data_size)
        return VMS_OK;
    int e = vms_vfio_feature(
        device->fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, out, sizeof *out);
    return e ? vms_vfio_fail(device, "asking for the size of its state", -e, err) : VMS_OK;
}

/* ---- config space ---- */

size_t vms_vfio_config_size(const struct vms_vfio *device) {
    return device->config_size;
}

enum vms_code vms_vfio_config_read(struct vms_vfio *device, void *buf, size_t len,
                                   struct vms_error *err) {
    /* [VDEV-20] */
    size_t there = len < device->config_region ? len : device->config_region;
    memset((uint8_t *)buf + there, 0, len - there);
    ssize_t n = pread(device->fd, buf, there, (off_t)device->config_offset);
    if (n != (ssize_t)there)
        return vms_vfio_fail(device, "reading config space", n < 0 ? errno : EIO, err);
    return VMS_OK;
}

enum vms_code vms_vfio_config_write(struct vms_vfio *device, size_t at, const void *buf, size_t len,
                                    struct vms_error *err) {
    ssize_t n = pwrite(device->fd, buf, len, (off_t)(device->config_offset + at));
    if (n != (ssize_t)len)
        return vms_vfio_fail(device, "writing config space", n < 0 ? errno : EIO, err);
    return VMS_OK;
}
