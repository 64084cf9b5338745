/* SPDX-License-Identifier: MIT */
#include "host/vfio_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- the IOMMU ---- */

enum vms_code vms_vfio_iommu_new(struct vms_vfio_iommu **out, struct vms_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    (*out)->fd = -1;
    return VMS_OK;
}

void vms_vfio_iommu_free(struct vms_vfio_iommu *iommu) {
    if (iommu && iommu->fd >= 0)
        (void)close(iommu->fd);
    free(iommu);
}

static enum vms_code iommu_fail(const char *what, struct vms_error *err) {
    return vms_error_set(err, VMS_E_VFIO_DEVICE, "%s: %s", what, strerror(errno));
}

static enum vms_code open_iommu(struct vms_vfio_iommu *iommu, bool legacy, struct vms_error *err) {
    struct vms_iommu_ioas_alloc alloc = {.size = sizeof alloc};
    const char *path = legacy ? "/dev/vfio/vfio" : "/dev/iommu";
    if (iommu->fd >= 0)
        return iommu->legacy == legacy
                   ? VMS_OK
                   : vms_error_set(err, VMS_E_VFIO_DEVICE,
                                   "devices of groups and of iommufd cannot be mixed");
    iommu->fd = open(path, O_RDWR | O_CLOEXEC);
    if (iommu->fd < 0)
        return iommu_fail(path, err);
    iommu->legacy = legacy;
    if (legacy && ioctl(iommu->fd, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
        return iommu_fail("the version of VFIO", err);
    if (!legacy && ioctl(iommu->fd, VMS_IOMMU(VMS_IOMMU_IOAS_ALLOC), &alloc) < 0)
        return iommu_fail("an address space of the IOMMU", err);
    iommu->ioas = alloc.out_ioas_id;
    return VMS_OK;
}

enum vms_code vms_vfio_map(struct vms_vfio_iommu *iommu, uint64_t iova, void *memory,
                           uint64_t length, struct vms_error *err) {
    struct vfio_iommu_type1_dma_map old = {
        .argsz = sizeof old,
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)memory,
        .iova = iova,
        .size = length,
    };
    struct vms_iommu_ioas_map map = {
        .size = sizeof map,
        .flags = VMS_IOMMU_MAP_FIXED | VMS_IOMMU_MAP_WRITE | VMS_IOMMU_MAP_READ,
        .ioas_id = iommu->ioas,
        .user_va = (uintptr_t)memory,
        .length = length,
        .iova = iova,
    };
    int e = iommu->legacy ? ioctl(iommu->fd, VFIO_IOMMU_MAP_DMA, &old)
                          : ioctl(iommu->fd, VMS_IOMMU(VMS_IOMMU_IOAS_MAP), &map);
    return e < 0 ? iommu_fail("mapping memory for devices", err) : VMS_OK;
}

enum vms_code vms_vfio_unmap(struct vms_vfio_iommu *iommu, uint64_t iova, uint64_t length,
                             struct vms_error *err) {
    struct vfio_iommu_type1_dma_unmap old = {.argsz = sizeof old, .iova = iova, .size = length};
    struct vms_iommu_ioas_unmap unmap = {
        .size = sizeof unmap, .ioas_id = iommu->ioas, .iova = iova, .length = length};
    int e = iommu->legacy ? ioctl(iommu->fd, VFIO_IOMMU_UNMAP_DMA, &old)
                          : ioctl(iommu->fd, VMS_IOMMU(VMS_IOMMU_IOAS_UNMAP), &unmap);
    return e < 0 ? iommu_fail("unmapping memory of devices", err) : VMS_OK;
}

/* ---- by character device ---- */

static enum vms_code bind_device(struct vms_vfio *d, struct vms_error *err) {
    enum vms_code code = open_iommu(d->iommu, false, err);
    if (code != VMS_OK)
        return code;
    struct vms_vfio_bind bind = {.argsz = sizeof bind, .iommufd = d->iommu->fd};
    struct vms_vfio_attach attach = {.argsz = sizeof attach, .pt_id = d->iommu->ioas};
    if (ioctl(d->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0)
        return vms_vfio_fail(d, "binding to the iommufd", errno, err);
    if (ioctl(d->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0)
        return vms_vfio_fail(d, "attaching to the address space", errno, err);
    return VMS_OK;
}

static enum vms_code open_cdev(struct vms_vfio *d, const char *path, struct vms_error *err) {
    d->fd = open(path, O_RDWR | O_CLOEXEC);
    return d->fd < 0 ? vms_vfio_fail(d, "opening", errno, err) : bind_device(d, err);
}

/* ---- by legacy group ---- */

static enum vms_code open_group(struct vms_vfio *d, const char *group, const char *device,
                                struct vms_error *err) {
    struct vfio_group_status status = {.argsz = sizeof status};
    enum vms_code code = open_iommu(d->iommu, true, err);
    if (code != VMS_OK)
        return code;
    d->group_fd = open(group, O_RDWR | O_CLOEXEC);
    if (d->group_fd < 0)
        return vms_vfio_fail(d, "opening its group", errno, err);
    if (ioctl(d->group_fd, VFIO_GROUP_GET_STATUS, &status) < 0 ||
        !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
        return vms_vfio_fail(d, "its group is not viable", EBUSY, err);
    if (ioctl(d->group_fd, VFIO_GROUP_SET_CONTAINER, &d->iommu->fd) < 0)
        return vms_vfio_fail(d, "its group and the container", errno, err);
    if (!d->iommu->ready &&
        ioctl(d->iommu->fd, VFIO_SET_IOMMU, (unsigned long)VFIO_TYPE1v2_IOMMU) < 0)
        return vms_vfio_fail(d, "an IOMMU of type 1 v2", errno, err);
    d->iommu->ready = true;
    d->fd = ioctl(d->group_fd, VFIO_GROUP_GET_DEVICE_FD, device);
    return d->fd < 0 ? vms_vfio_fail(d, "getting it from its group", errno, err) : VMS_OK;
}

/** The only entry of a folder that begins with prefix. */
static bool entry_of(const char *folder, const char *prefix, char *out, size_t size) {
    DIR *dir = opendir(folder);
    struct dirent *e;
    bool found = false;
    while (dir && !found && (e = readdir(dir)) != NULL)
        if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            found = (size_t)snprintf(out, size, "%s", e->d_name) < size;
    if (dir)
        (void)closedir(dir);
    return found;
}

/** /sys/…/DEVICE: vfio-dev/vfioN names the character device, iommu_group the group. */
static enum vms_code open_sysfs(struct vms_vfio *d, const char *path, struct vms_error *err) {
    char folder[PATH_MAX], name[64], file[128], real[PATH_MAX];
    (void)snprintf(folder, sizeof folder, "%s/vfio-dev", path);
    if (entry_of(folder, "vfio", name, sizeof name)) {
        (void)snprintf(file, sizeof file, "/dev/vfio/devices/%s", name);
        if (access(file, R_OK | W_OK) == 0 && access("/dev/iommu", R_OK | W_OK) == 0)
            return open_cdev(d, file, err);
    }
    (void)snprintf(folder, sizeof folder, "%s/iommu_group", path);
    if (!realpath(folder, real))
        return vms_vfio_fail(d, "neither a character device nor a group", errno, err);
    (void)snprintf(file, sizeof file, "/dev/vfio/%.60s", basename(real));
    if (!realpath(path, real))
        return vms_vfio_fail(d, "opening", errno, err);
    return open_group(d, file, basename(real), err);
}

static enum vms_code open_any(struct vms_vfio *d, const char *name, struct vms_error *err) {
    const char *colon = strchr(name, ':');
    char group[128];
    if (strncmp(name, "fd:", 3) == 0) {
        d->fd = atoi(name + 3);
        return bind_device(d, err);
    }
    if (strncmp(name, "/sys/", 5) == 0)
        return open_sysfs(d, name, err);
    if (!colon)
        return open_cdev(d, name, err);
    (void)snprintf(group, sizeof group, "%.*s", (int)(colon - name), name);
    return open_group(d, group, colon + 1, err);
}

/* ---- what it can do ---- */

static bool probe(const struct vms_vfio *d, uint32_t feature, uint32_t way) {
    return vms_vfio_feature(d->fd, VFIO_DEVICE_FEATURE_PROBE | way | feature, NULL, 0) == 0;
}

static enum vms_code find_features(struct vms_vfio *d, struct vms_error *err) {
    struct vfio_device_feature_migration migration = {0};
    int e = vms_vfio_feature(d->fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
                             &migration, sizeof migration);
    if (e != 0 || !(migration.flags & VFIO_MIGRATION_STOP_COPY))
        return vms_vfio_fail(d, "it cannot migrate", e ? -e : ENOTTY, err);
    d->features = (struct vms_vfio_features){
        .p2p = migration.flags & VFIO_MIGRATION_P2P,
        .precopy = migration.flags & VFIO_MIGRATION_PRE_COPY,
        .data_size = probe(d, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, VFIO_DEVICE_FEATURE_GET),
        .dma_logging = probe(d, VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_SET) &&
                       probe(d, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_SET) &&
                       probe(d, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_GET),
    };
    /* [VDEV-4] for good, before it is first asked */
    d->features.reinit =
        d->features.precopy &&
        vms_vfio_feature(d->fd, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
                         NULL, 0) == 0;
    return VMS_OK;
}

static void find_config(struct vms_vfio *d) {
    struct vfio_device_info info = {.argsz = sizeof info};
    struct vfio_region_info region = {.argsz = sizeof region, .index = 7 /* PCI config */};
    if (ioctl(d->fd, VFIO_DEVICE_GET_INFO, &info) < 0 || !(info.flags & VFIO_DEVICE_FLAGS_PCI) ||
        ioctl(d->fd, VFIO_DEVICE_GET_REGION_INFO, &region) < 0)
        return;
    d->config_offset = region.offset;
    d->config_region = region.size;
    d->config_size = region.size <= 256 ? 256 : 4096; /* [VDEV-20] */
}

enum vms_code vms_vfio_open(struct vms_vfio_iommu *iommu, const char *name, struct vms_vfio **out,
                            struct vms_error *err) {
    enum vms_vfio_state state;
    struct vms_vfio *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    d->iommu = iommu;
    d->fd = d->group_fd = d->data_fd = -1;
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    enum vms_code code = open_any(d, name, err);
    if (code == VMS_OK)
        code = find_features(d, err);
    if (code == VMS_OK)
        code = vms_vfio_ask_state(d, &state, err);
    if (code != VMS_OK) {
        vms_vfio_close(d);
        return code;
    }
    find_config(d);
    *out = d;
    return VMS_OK;
}

void vms_vfio_close(struct vms_vfio *device) {
    if (!device)
        return;
    vms_vfio_close_files(device);
    if (device->group_fd >= 0)
        (void)close(device->group_fd);
    free(device);
}
