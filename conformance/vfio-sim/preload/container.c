/* SPDX-License-Identifier: MIT */
#include "preload.h"

#include <errno.h>
#include <string.h>

/*
 * Dirty pages by a legacy container, of the devices that have no log of their own: as type 1 of the
 * kernel has it, a range is whole mappings, and pages are of the smallest size.
 */
enum {
    DEVICES = 64,
    PAGE = 4096,
    RANGES = 64,
};

static struct {
    pthread_mutex_t lock;
    struct device *devices[DEVICES]; /* NULL: free */
    bool on;
} container = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void replace(struct device *from, struct device *to) {
    (void)pthread_mutex_lock(&container.lock);
    for (size_t i = 0; i < DEVICES; i++)
        if (container.devices[i] == from) {
            container.devices[i] = to;
            break;
        }
    (void)pthread_mutex_unlock(&container.lock);
}

void container_add(struct device *device) {
    replace(NULL, device);
}

void container_remove(struct device *device) {
    replace(device, NULL);
}

/* Locked. Whether there is a device whose writes it logs. */
static bool can_log(void) {
    bool can = false;
    for (size_t i = 0; i < DEVICES; i++) {
        if (!container.devices[i])
            continue;
        can = can || vfs_iommu_logs(device_lock(container.devices[i]));
        device_unlock(container.devices[i], 0);
    }
    return can;
}

int container_info(struct vfio_iommu_type1_info *info) {
    struct vfio_iommu_type1_info_cap_migration cap = {
        .header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, .version = 1},
        .pgsize_bitmap = PAGE,
        .max_dirty_bitmap_size = 256 << 20,
    };
    uint32_t all = sizeof *info + sizeof cap;
    (void)pthread_mutex_lock(&container.lock);
    bool can = can_log();
    (void)pthread_mutex_unlock(&container.lock);
    if (!can)
        return -ENOTTY;
    if (info->argsz < sizeof *info)
        return -EINVAL;
    info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    info->iova_pgsizes = PAGE;
    info->cap_offset = info->argsz < all ? 0 : sizeof *info;
    if (info->cap_offset)
        memcpy(info + 1, &cap, sizeof cap);
    info->argsz = all;
    return 0;
}

/* Locked. */
static int start(void) {
    struct vfs_range ranges[RANGES];
    size_t count = iommu_ranges(ranges, RANGES);
    int e = can_log() ? 0 : -EINVAL;
    for (size_t i = 0; i < DEVICES && e == 0 && !container.on; i++) {
        if (!container.devices[i])
            continue;
        struct vfs_device *sim = device_lock(container.devices[i]);
        if (vfs_iommu_logs(sim))
            e = vfs_iommu_log_start(sim, now_ns(), ranges, count);
        device_unlock(container.devices[i], 0);
    }
    container.on = container.on || e == 0;
    return e;
}

/* Locked. */
static int stop(void) {
    for (size_t i = 0; i < DEVICES && container.on; i++) {
        if (!container.devices[i])
            continue;
        struct vfs_device *sim = device_lock(container.devices[i]);
        if (vfs_iommu_logs(sim))
            vfs_iommu_log_stop(sim, now_ns());
        device_unlock(container.devices[i], 0);
    }
    container.on = false;
    return 0;
}

/* Every mapping that it touches is whole in it. */
static bool is_whole(uint64_t iova, uint64_t size) {
    struct vfs_range r[RANGES];
    size_t count = iommu_ranges(r, RANGES);
    bool whole = size > 0 && (iova | size) % PAGE == 0 && iova + size - 1 >= iova;
    for (size_t i = 0; i < count && whole; i++) {
        uint64_t last = r[i].first + r[i].length - 1;
        bool touches = r[i].first <= iova + size - 1 && last >= iova;
        whole = !touches || (r[i].first >= iova && last <= iova + size - 1);
    }
    return whole;
}

/* Locked. */
static int get_bitmap(const struct vfio_iommu_type1_dirty_bitmap_get *get) {
    uint64_t need = (get->size / PAGE + 63) / 64 * 8;
    int e = 0;
    if (!container.on || get->bitmap.pgsize != PAGE || get->bitmap.size < need ||
        !is_whole(get->iova, get->size))
        return -EINVAL;
    memset(get->bitmap.data, 0, need);
    for (size_t i = 0; i < DEVICES && e == 0; i++) {
        if (!container.devices[i])
            continue;
        struct vfs_device *sim = device_lock(container.devices[i]);
        if (vfs_iommu_logs(sim))
            e = vfs_iommu_log_report(sim, now_ns(), get->iova, get->size,
                                     (uint64_t *)get->bitmap.data);
        device_unlock(container.devices[i], 0);
    }
    return e;
}

static int carry_out(struct vfio_iommu_type1_dirty_bitmap *d) {
    switch (d->flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START: return start();
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: return stop();
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
        return d->argsz < sizeof *d + sizeof(struct vfio_iommu_type1_dirty_bitmap_get)
                   ? -EINVAL
                   : get_bitmap((const void *)d->data);
    default: return -EINVAL;
    }
}

int container_dirty(struct vfio_iommu_type1_dirty_bitmap *d) {
    if (d->argsz < sizeof *d)
        return -EINVAL;
    (void)pthread_mutex_lock(&container.lock);
    int e = carry_out(d);
    (void)pthread_mutex_unlock(&container.lock);
    return e;
}
