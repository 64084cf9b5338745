/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *vms_vdpa_name(const struct vms_vdpa *device) {
    return device->name;
}

const struct vms_vdpa_about *vms_vdpa_about(const struct vms_vdpa *device) {
    return &device->about;
}

bool vms_vdpa_has(const struct vms_vdpa *device, enum vms_vdpa_backend_bit bit) {
    return device->about.backend >> bit & 1;
}

int vms_vdpa_ioctl(const struct vms_vdpa *device, unsigned long request, void *arg) {
    int result;
    do
        result = ioctl(device->fd, request, arg);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

enum vms_code vms_vdpa_fail(const struct vms_vdpa *device, const char *what, int error,
                            struct vms_error *err) {
    return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: %s: %s", device->name, what,
                         error ? strerror(error) : "refused");
}

/** [VDPA-1] */
static enum vms_code call(const struct vms_vdpa *device, unsigned long request, void *arg,
                          const char *what, struct vms_error *err) {
    int e = vms_vdpa_ioctl(device, request, arg);
    return e < 0 ? vms_vdpa_fail(device, what, -e, err) : VMS_OK;
}

/* ---- status ---- */

enum vms_code vms_vdpa_status(struct vms_vdpa *device, uint8_t *out, struct vms_error *err) {
    return call(device, VHOST_VDPA_GET_STATUS, out, "asking for its status", err);
}

static enum vms_code set_status(struct vms_vdpa *device, uint8_t bits, const char *what,
                                struct vms_error *err) {
    uint8_t status = 0;
    enum vms_code code = bits ? vms_vdpa_status(device, &status, err) : VMS_OK;
    status = bits ? status | bits : 0;
    if (code == VMS_OK)
        code = call(device, VHOST_VDPA_SET_STATUS, &status, what, err);
    if (code == VMS_OK && bits)
        code = vms_vdpa_status(device, &status, err);
    if (code == VMS_OK && (status & bits) != bits)
        code = vms_vdpa_fail(device, what, 0, err);
    return code;
}

enum vms_code vms_vdpa_reset(struct vms_vdpa *device, struct vms_error *err) {
    return set_status(device, 0, "reset", err);
}

enum vms_code vms_vdpa_accept(struct vms_vdpa *device, uint64_t features, struct vms_error *err) {
    enum vms_code code =
        set_status(device, VMS_VDPA_ACKNOWLEDGE | VMS_VDPA_DRIVER, "status DRIVER", err);
    if (code == VMS_OK)
        code = call(device, VHOST_SET_FEATURES, &features, "setting its features", err);
    return code == VMS_OK ? set_status(device, VMS_VDPA_FEATURES_OK, "status FEATURES_OK", err)
                          : code;
}

enum vms_code vms_vdpa_driver_ok(struct vms_vdpa *device, struct vms_error *err) {
    return set_status(device, VMS_VDPA_DRIVER_OK, "status DRIVER_OK", err);
}

enum vms_code vms_vdpa_suspend(struct vms_vdpa *device, struct vms_error *err) {
    if (!vms_vdpa_has(device, VMS_VDPA_SUSPEND))
        return vms_vdpa_fail(device, "SUSPEND", EOPNOTSUPP, err);
    return call(device, VHOST_VDPA_SUSPEND, NULL, "SUSPEND", err);
}

enum vms_code vms_vdpa_resume(struct vms_vdpa *device, struct vms_error *err) {
    if (!vms_vdpa_has(device, VMS_VDPA_RESUME))
        return vms_vdpa_fail(device, "RESUME", EOPNOTSUPP, err);
    return call(device, VHOST_VDPA_RESUME, NULL, "RESUME", err);
}

/* ---- config space ---- */

static enum vms_code config(struct vms_vdpa *device, unsigned long request, uint32_t at,
                            const void *in, void *out, uint32_t len, struct vms_error *err) {
    const char *what = in ? "writing its config space" : "reading its config space";
    struct vhost_vdpa_config *arg = calloc(1, sizeof *arg + len);
    if (!arg)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    arg->off = at;
    arg->len = len;
    if (in)
        memcpy(arg->buf, in, len);
    enum vms_code code = call(device, request, arg, what, err);
    if (code == VMS_OK && out)
        memcpy(out, arg->buf, len);
    free(arg);
    return code;
}

enum vms_code vms_vdpa_config_read(struct vms_vdpa *device, uint32_t at, void *buf, uint32_t len,
                                   struct vms_error *err) {
    return config(device, VHOST_VDPA_GET_CONFIG, at, NULL, buf, len, err);
}

enum vms_code vms_vdpa_config_write(struct vms_vdpa *device, uint32_t at, const void *buf,
                                    uint32_t len, struct vms_error *err) {
    return config(device, VHOST_VDPA_SET_CONFIG, at, buf, NULL, len, err);
}

/* ---- virtqueues ---- */

static enum vms_code set_file(struct vms_vdpa *device, unsigned long request, uint32_t queue,
                              int fd, const char *what, struct vms_error *err) {
    struct vhost_vring_file file = {.index = queue, .fd = fd};
    return fd < 0 ? VMS_OK : call(device, request, &file, what, err);
}

enum vms_code vms_vdpa_set_base(struct vms_vdpa *device, uint32_t queue, uint32_t base,
                                struct vms_error *err) {
    struct vhost_vring_state state = {.index = queue, .num = base};
    return call(device, VHOST_SET_VRING_BASE, &state, "a ring's base", err);
}

enum vms_code vms_vdpa_set_ring(struct vms_vdpa *device, uint32_t queue,
                                const struct vms_vdpa_ring *ring, int kick, int notify,
                                struct vms_error *err) {
    struct vhost_vring_state size = {.index = queue, .num = ring->size};
    struct vhost_vring_addr addr = {.index = queue,
                                    .desc_user_addr = ring->desc,
                                    .avail_user_addr = ring->avail,
                                    .used_user_addr = ring->used};
    enum vms_code code = call(device, VHOST_SET_VRING_NUM, &size, "a ring's size", err);
    if (code == VMS_OK)
        code = vms_vdpa_set_base(device, queue, ring->base, err);
    if (code == VMS_OK)
        code = call(device, VHOST_SET_VRING_ADDR, &addr, "a ring's addresses", err);
    if (code == VMS_OK)
        code = set_file(device, VHOST_SET_VRING_KICK, queue, kick, "a ring's kick", err);
    if (code == VMS_OK)
        code = set_file(device, VHOST_SET_VRING_CALL, queue, notify, "a ring's call", err);
    return code;
}

enum vms_code vms_vdpa_enable(struct vms_vdpa *device, uint32_t queue, bool on,
                              struct vms_error *err) {
    struct vhost_vring_state state = {.index = queue, .num = on};
    return call(device, VHOST_VDPA_SET_VRING_ENABLE, &state, "enabling a ring", err);
}

enum vms_code vms_vdpa_ring_base(struct vms_vdpa *device, uint32_t queue, uint32_t *base,
                                 struct vms_error *err) {
    struct vhost_vring_state state = {.index = queue};
    enum vms_code code =
        call(device, VHOST_GET_VRING_BASE, &state, "asking for a ring's base", err);
    *base = state.num;
    return code;
}

enum vms_code vms_vdpa_group(struct vms_vdpa *device, uint32_t queue, uint32_t *group,
                             struct vms_error *err) {
    struct vhost_vring_state state = {.index = queue};
    enum vms_code code = VMS_OK;
    if (vms_vdpa_has(device, VMS_VDPA_ASID))
        code = call(device, VHOST_VDPA_GET_VRING_GROUP, &state, "asking for a ring's group", err);
    *group = state.num;
    return code;
}

enum vms_code vms_vdpa_set_space(struct vms_vdpa *device, uint32_t group, uint32_t space,
                                 struct vms_error *err) {
    struct vhost_vring_state state = {.index = group, .num = space};
    if (!vms_vdpa_has(device, VMS_VDPA_ASID))
        return space ? vms_vdpa_fail(device, "address spaces", EOPNOTSUPP, err) : VMS_OK;
    return call(device, VHOST_VDPA_SET_GROUP_ASID, &state, "a group's address space", err);
}
