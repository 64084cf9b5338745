/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_TEST_UTIL_H
#define VMSTREAM_HOST_VDPA_TEST_UTIL_H

#include "conformance/vdpa-sim/sim.h"
#include "host/vdpa.h"
#include "host/vfio_test_util.h"

#include <fcntl.h>
#include <sys/ioctl.h>

/* Simulated vDPA devices behind the real calls, as vfio_test_util.h has them of VFIO. */

/** Opens a device of that text; its descriptor is the device's, for vdpa_ask(). */
static inline int vdpa_describe(const char *text) {
    int fd = open(vfio_file("vdpa", VDS_MAGIC "\nname dev\n%s\n", text), O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

static inline struct vms_vdpa *vdpa_open(const char *text, int *fd) {
    struct vms_error err = {.message = ""};
    struct vms_vdpa *device = NULL;
    char name[32];
    *fd = vdpa_describe(text);
    (void)snprintf(name, sizeof name, "fd:%d", *fd);
    vfio_good(vms_vdpa_open(name, &device, &err), &err);
    return device;
}

/** What the device itself says of its maps. maps: room for them, or NULL. */
static inline struct vds_query vdpa_ask(int fd, struct vds_map *maps, size_t room) {
    struct vds_query q = {.maps = maps, .room = room};
    cr_assert_eq(ioctl(fd, VDS_QUERY, &q), 0);
    return q;
}

#endif
