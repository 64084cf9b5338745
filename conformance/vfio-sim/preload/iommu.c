/* SPDX-License-Identifier: MIT */
#include "codec/host/vfio_abi.h"
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/*
 * An IOMMU that translates nothing but remembers what is mapped, so that a device can write there:
 * iommufd, and the legacy container with its groups. One for the process.
 */
enum {
    MAPS = 4096,
};

static struct {
    pthread_mutex_t lock;
    struct map {
        uint64_t iova, length, va; /* length 0: free */
        bool write;
    } maps[MAPS];
    atomic_uint id;
} iommu = {.lock = PTHREAD_MUTEX_INITIALIZER, .id = 1};

uint32_t iommu_next_id(void) {
    return atomic_fetch_add(&iommu.id, 1);
}

static int map(uint64_t iova, uint64_t length, uint64_t va, bool write) {
    int e = -ENOSPC;
    if (length == 0 || iova + length - 1 < iova || (iova | length | va) % 4096)
        return -EINVAL;
    (void)pthread_mutex_lock(&iommu.lock);
    for (size_t i = 0; i < MAPS && e == -ENOSPC; i++)
        if (iommu.maps[i].length == 0) {
            iommu.maps[i] = (struct map){iova, length, va, write};
            e = 0;
        }
    (void)pthread_mutex_unlock(&iommu.lock);
    return e;
}

static uint64_t unmap(uint64_t iova, uint64_t length) {
    uint64_t bytes = 0;
    (void)pthread_mutex_lock(&iommu.lock);
    for (size_t i = 0; i < MAPS; i++) {
        struct map *m = &iommu.maps[i];
        if (m->length && m->iova >= iova && m->iova + m->length - 1 <= iova + length - 1) {
            bytes += m->length;
            m->length = 0;
        }
    }
    (void)pthread_mutex_unlock(&iommu.lock);
    return bytes;
}

size_t iommu_ranges(struct vfs_range *out, size_t max) {
    size_t n = 0;
    (void)pthread_mutex_lock(&iommu.lock);
    for (size_t i = 0; i < MAPS && n < max; i++)
        if (iommu.maps[i].length)
            out[n++] = (struct vfs_range){iommu.maps[i].iova, iommu.maps[i].length};
    (void)pthread_mutex_unlock(&iommu.lock);
    return n;
}

/* A device counts up the first word of the page that it writes. */
void iommu_dma(uint64_t iova, uint64_t length) {
    (void)pthread_mutex_lock(&iommu.lock);
    for (size_t i = 0; i < MAPS; i++) {
        const struct map *m = &iommu.maps[i];
        if (!m->length || !m->write || !m->va || iova < m->iova ||
            iova + length > m->iova + m->length)
            continue;
        uint64_t *word = (uint64_t *)(uintptr_t)(m->va + (iova - m->iova));
        (void)__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
    }
    (void)pthread_mutex_unlock(&iommu.lock);
}

/* ---- iommufd ---- */

static int iova_ranges(struct vms_iommu_ioas_iova_ranges *r) {
    struct vms_iommu_iova_range *out = (void *)(uintptr_t)r->allowed_iovas;
    bool fits = r->num_iovas >= 1;
    r->num_iovas = 1;
    r->out_iova_alignment = 4096;
    if (fits)
        *out = (struct vms_iommu_iova_range){0, (1ull << 48) - 1};
    return fits ? 0 : -EMSGSIZE;
}

static int ioas_map(struct vms_iommu_ioas_map *m) {
    return m->flags & VMS_IOMMU_MAP_FIXED
               ? map(m->iova, m->length, m->user_va, m->flags & VMS_IOMMU_MAP_WRITE)
               : -EOPNOTSUPP;
}

static int ioas_unmap(struct vms_iommu_ioas_unmap *u) {
    uint64_t bytes = unmap(u->iova, u->length);
    if (bytes == 0 && u->iova + u->length != 0 && ~u->length != 0)
        return -ENOENT;
    u->length = bytes;
    return 0;
}

static int hw_info(struct vms_iommu_hw_info *info) {
    info->data_len = 0;
    info->out_data_type = 0;
    info->out_capabilities = 0;
    return 0;
}

static int iommu_ioctl(struct object *object, unsigned long request, void *arg) {
    struct vms_iommu_ioas_map_file *file = arg;
    (void)object;
    switch (request) {
    case VMS_IOMMU(VMS_IOMMU_DESTROY):
    case VMS_IOMMU(VMS_IOMMU_OPTION):
    case VMS_IOMMU(VMS_IOMMU_VFIO_IOAS):
    case VMS_IOMMU(VMS_IOMMU_IOAS_ALLOW_IOVAS): return 0;
    case VMS_IOMMU(VMS_IOMMU_IOAS_ALLOC):
        ((struct vms_iommu_ioas_alloc *)arg)->out_ioas_id = iommu_next_id();
        return 0;
    case VMS_IOMMU(VMS_IOMMU_IOAS_IOVA_RANGES): return iova_ranges(arg);
    case VMS_IOMMU(VMS_IOMMU_IOAS_MAP): return ioas_map(arg);
    case VMS_IOMMU(VMS_IOMMU_IOAS_MAP_FILE): /* no address to write to */
        return map(file->iova, file->length, 0, false);
    case VMS_IOMMU(VMS_IOMMU_IOAS_UNMAP): return ioas_unmap(arg);
    case VMS_IOMMU(VMS_IOMMU_HWPT_ALLOC):
        ((struct vms_iommu_hwpt_alloc *)arg)->out_hwpt_id = iommu_next_id();
        return 0;
    case VMS_IOMMU(VMS_IOMMU_GET_HW_INFO): return hw_info(arg);
    default: return -EOPNOTSUPP;
    }
}

/* ---- the legacy container and group ---- */

static int container_ioctl(struct object *object, unsigned long request, void *arg) {
    struct vfio_iommu_type1_dma_map *m = arg;
    struct vfio_iommu_type1_dma_unmap *u = arg;
    (void)object;
    switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return (uintptr_t)arg == VFIO_TYPE1v2_IOMMU;
    case VFIO_SET_IOMMU: return (uintptr_t)arg == VFIO_TYPE1v2_IOMMU ? 0 : -EINVAL;
    case VFIO_IOMMU_MAP_DMA:
        return map(m->iova, m->size, m->vaddr, m->flags & VFIO_DMA_MAP_FLAG_WRITE);
    case VFIO_IOMMU_UNMAP_DMA: u->size = unmap(u->iova, u->size); return 0;
    case VFIO_IOMMU_GET_INFO: return container_info(arg);
    case VFIO_IOMMU_DIRTY_PAGES: return container_dirty(arg);
    default: return -ENOTTY;
    }
}

struct group {
    struct object object;
    bool has_container;
    char text[4096]; /* lines: NAME FILE */
};

/* The device NAME is described by the file in the group's line of that name. */
static int device_fd(struct group *group, const char *name) {
    char *line = group->text, path[512], device[128];
    while ((line = strchr(line, '\n')) != NULL) {
        line++;
        if (sscanf(line, "%127s %511s", device, path) != 2 || strcmp(device, name) != 0)
            continue;
        long file = kernel(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0);
        if (file < 0)
            return (int)file;
        struct object *object = device_new((int)file);
        (void)kernel(SYS_close, file, 0, 0, 0, 0);
        if (object)
            container_add((struct device *)object);
        return object ? object_open(object, "vfio-sim-device") : -EINVAL;
    }
    return -ENODEV;
}

static int group_ioctl(struct object *object, unsigned long request, void *arg) {
    struct group *group = (struct group *)object;
    struct vfio_group_status *status = arg;
    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        status->flags =
            VFIO_GROUP_FLAGS_VIABLE | (group->has_container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
        return 0;
    case VFIO_GROUP_SET_CONTAINER: group->has_container = true; return 0;
    case VFIO_GROUP_UNSET_CONTAINER: group->has_container = false; return 0;
    case VFIO_GROUP_GET_DEVICE_FD: return group->has_container ? device_fd(group, arg) : -EINVAL;
    default: return -ENOTTY;
    }
}

/* ---- objects ---- */

static ssize_t none_r(struct object *object, void *buf, size_t len) {
    (void)object, (void)buf, (void)len;
    return -EINVAL;
}
static ssize_t none_w(struct object *object, const void *buf, size_t len) {
    (void)object, (void)buf, (void)len;
    return -EINVAL;
}
static ssize_t none_pr(struct object *object, void *buf, size_t len, uint64_t at) {
    (void)object, (void)buf, (void)len, (void)at;
    return -EINVAL;
}
static ssize_t none_pw(struct object *object, const void *buf, size_t len, uint64_t at) {
    (void)object, (void)buf, (void)len, (void)at;
    return -EINVAL;
}
static void release(struct object *object) {
    free(object);
}

static const struct object_ops iommu_ops = {iommu_ioctl, none_r, none_w, none_pr, none_pw, release};
static const struct object_ops container_ops = {container_ioctl, none_r,  none_w,
                                                none_pr,         none_pw, release};
static const struct object_ops group_ops = {group_ioctl, none_r, none_w, none_pr, none_pw, release};

static struct object *new_object(size_t size, const struct object_ops *ops) {
    struct object *object = calloc(1, size);
    if (object) {
        object->ops = ops;
        object->references = 1;
    }
    return object;
}

struct object *iommu_new(void) {
    return new_object(sizeof(struct object), &iommu_ops);
}

struct object *container_new(void) {
    return new_object(sizeof(struct object), &container_ops);
}

struct object *group_new(const char *text, size_t len) {
    struct group *group = (struct group *)new_object(sizeof *group, &group_ops);
    if (group)
        memcpy(group->text, text, len < sizeof group->text ? len : sizeof group->text - 1);
    return (struct object *)group;
}
