/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))

static const uint64_t known = BIT(VMS_VDPA_MSG_V2) | BIT(VMS_VDPA_BATCH) | BIT(VMS_VDPA_ASID) |
                              BIT(VMS_VDPA_SUSPEND) | BIT(VMS_VDPA_RESUME) |
                              BIT(VMS_VDPA_ENABLE_AFTER_DRIVER_OK) | BIT(VMS_VDPA_IOTLB_PERSIST);

/** What is asked when a device is opened, in this order. */
static const struct question {
    unsigned long request;
    const char *what;
    size_t offset;  /* in struct vms_vdpa_about */
    uint64_t needs; /* backend features; without them it is not asked */
} questions[] = {
    {VHOST_VDPA_GET_DEVICE_ID, "asking what it is", offsetof(struct vms_vdpa_about, device_id), 0},
    {VHOST_GET_FEATURES, "asking for its features", offsetof(struct vms_vdpa_about, features), 0},
    {VHOST_VDPA_GET_CONFIG_SIZE, "asking for its config size (Linux 5.18 can tell)",
     offsetof(struct vms_vdpa_about, config_size), 0},
    {VHOST_VDPA_GET_VQS_COUNT, "counting its virtqueues (Linux 5.18 can tell)",
     offsetof(struct vms_vdpa_about, queues), 0},
    {VHOST_VDPA_GET_VRING_NUM, "asking for its ring size",
     offsetof(struct vms_vdpa_about, ring_size), 0},
    {VHOST_VDPA_GET_GROUP_NUM, "counting its groups", offsetof(struct vms_vdpa_about, groups),
     BIT(VMS_VDPA_ASID)},
    {VHOST_VDPA_GET_AS_NUM, "counting its address spaces", offsetof(struct vms_vdpa_about, spaces),
     BIT(VMS_VDPA_ASID)},
};

static enum vms_code ask(struct vms_vdpa *d, struct vms_error *err) {
    struct vhost_vdpa_iova_range range = {0, 0};
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        const struct question *q = &questions[i];
        if ((d->about.backend & q->needs) != q->needs)
            continue;
        int e = vms_vdpa_ioctl(d, q->request, (char *)&d->about + q->offset);
        if (e < 0)
            return vms_vdpa_fail(d, q->what, -e, err);
    }
    int e = vms_vdpa_ioctl(d, VHOST_VDPA_GET_IOVA_RANGE, &range);
    if (e < 0)
        return vms_vdpa_fail(d, "asking for its addresses", -e, err);
    d->about.iova_first = range.first;
    d->about.iova_last = range.last;
    return VMS_OK;
}

/* [VDPA-2] */
static enum vms_code negotiate(struct vms_vdpa *d, struct vms_error *err) {
    uint64_t features = 0;
    uint8_t none = 0;
    int e = vms_vdpa_ioctl(d, VHOST_GET_BACKEND_FEATURES, &features);
    if (e < 0)
        return vms_vdpa_fail(d, "it is no vhost-vdpa device: asking for backend features", -e, err);
    features &= known;
    if (!(features & BIT(VMS_VDPA_MSG_V2)))
        return vms_vdpa_fail(d, "it has no IOTLB messages of version 2", EOPNOTSUPP, err);
    if ((e = vms_vdpa_ioctl(d, VHOST_SET_BACKEND_FEATURES, &features)) < 0)
        return vms_vdpa_fail(d, "setting backend features", -e, err);
    d->about.backend = features;
    if ((e = vms_vdpa_ioctl(d, VHOST_SET_OWNER, NULL)) < 0)
        return vms_vdpa_fail(
            d, e == -EBUSY ? "it has another owner; close it there: SET_OWNER" : "SET_OWNER", -e,
            err);
    /* [VDPA-10] while there is nothing to lose */
    if ((e = vms_vdpa_ioctl(d, VHOST_VDPA_SET_STATUS, &none)) < 0)
        return vms_vdpa_fail(d, "reset", -e, err);
    return VMS_OK;
}

static enum vms_code open_fd(struct vms_vdpa *d, const char *name, struct vms_error *err) {
    char *end = NULL;
    if (strncmp(name, "fd:", 3) == 0) {
        long fd = strtol(name + 3, &end, 10);
        if (end == name + 3 || *end || fd < 0 || fd > 1 << 20)
            return vms_vdpa_fail(d, "no descriptor", EBADF, err);
        d->fd = (int)fd;
        return VMS_OK;
    }
    d->fd = open(name, O_RDWR | O_CLOEXEC);
    if (d->fd >= 0)
        return VMS_OK;
    return vms_vdpa_fail(d, errno == EBUSY ? "another program has it; open" : "open", errno, err);
}

enum vms_code vms_vdpa_open(const char *name, struct vms_vdpa **out, struct vms_error *err) {
    struct vms_vdpa *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    d->fd = -1;
    d->about.groups = d->about.spaces = 1;
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    enum vms_code code = open_fd(d, name, err);
    struct stat st;
    d->simulated = d->fd >= 0 && fstat(d->fd, &st) == 0 && !S_ISCHR(st.st_mode);
    if (code == VMS_OK)
        code = negotiate(d, err);
    if (code == VMS_OK)
        code = ask(d, err);
    if (code == VMS_OK)
        *out = d;
    else
        vms_vdpa_close(d);
    return code;
}

void vms_vdpa_close(struct vms_vdpa *device) {
    if (device && device->fd >= 0)
        (void)close(device->fd);
    free(device);
}
