/* SPDX-License-Identifier: MIT */
#include "host/vfio_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Dirty pages by a legacy container of type 1: VFIO_IOMMU_DIRTY_PAGES in <linux/vfio.h>. */

/* The information with its capabilities, to be freed; NULL: it has none. */
static struct vfio_iommu_type1_info *get_info(int fd) {
    uint32_t size = sizeof(struct vfio_iommu_type1_info);
    struct vfio_iommu_type1_info *info = NULL;
    for (int i = 0; i < 2; i++) { /* the first answer says how much room it wants */
        struct vfio_iommu_type1_info *more = realloc(info, size);
        if (!more)
            break;
        info = more;
        memset(info, 0, size);
        info->argsz = size;
        if (ioctl(fd, VFIO_IOMMU_GET_INFO, info) == 0 && info->argsz <= size)
            return info;
        size = info->argsz > size && info->argsz < 1 << 20 ? info->argsz : size;
    }
    free(info);
    return NULL;
}

/* The smallest page of the log; 0: there is none. */
static uint64_t find_page(const struct vfio_iommu_type1_info *info, uint32_t size) {
    struct vfio_iommu_type1_info_cap_migration cap;
    uint32_t at = info->flags & VFIO_IOMMU_INFO_CAPS ? info->cap_offset : 0;
    for (int i = 0; i < 64 && at && at <= size - sizeof cap.header; i++) {
        struct vfio_info_cap_header head;
        memcpy(&head, (const char *)info + at, sizeof head);
        if (head.id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION && size - at >= sizeof cap) {
            memcpy(&cap, (const char *)info + at, sizeof cap);
            return cap.pgsize_bitmap & -cap.pgsize_bitmap;
        }
        at = head.next;
    }
    return 0;
}

bool vms_vfio_container_logs(struct vms_vfio_iommu *iommu) {
    if (iommu->fd < 0 || !iommu->legacy)
        return false;
    struct vfio_iommu_type1_info *info = iommu->log_page ? NULL : get_info(iommu->fd);
    if (info)
        iommu->log_page = find_page(info, info->argsz);
    free(info);
    return iommu->log_page != 0;
}

static int order(const struct vms_vfio_iommu *iommu, uint32_t flag) {
    struct vfio_iommu_type1_dirty_bitmap d = {.argsz = sizeof d, .flags = flag};
    return ioctl(iommu->fd, VFIO_IOMMU_DIRTY_PAGES, &d);
}

enum vms_code vms_vfio_container_log_start(struct vms_vfio_iommu *iommu, struct vms_error *err) {
    if (order(iommu, VFIO_IOMMU_DIRTY_PAGES_FLAG_START) < 0)
        return vms_error_set(err, VMS_E_VFIO_DEVICE, "the container's log of dirty pages: %s",
                             strerror(errno));
    iommu->logging = true;
    return VMS_OK;
}

void vms_vfio_container_log_stop(struct vms_vfio_iommu *iommu) {
    if (iommu->logging)
        (void)order(iommu, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
    iommu->logging = false;
}

/* 0, or -1: bits of the log's own pages. */
static int get_bitmap(const struct vms_vfio_iommu *iommu, uint64_t iova, uint64_t length,
                      uint64_t *bits, uint64_t bytes) {
    union {
        struct vfio_iommu_type1_dirty_bitmap head;
        uint64_t room[(sizeof(struct vfio_iommu_type1_dirty_bitmap) +
                       sizeof(struct vfio_iommu_type1_dirty_bitmap_get)) /
                      8];
    } arg = {.head = {.argsz = sizeof arg, .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP}};
    struct vfio_iommu_type1_dirty_bitmap_get get = {
        .iova = iova,
        .size = length,
        .bitmap = {.pgsize = iommu->log_page, .size = bytes, .data = (void *)bits},
    };
    memcpy(arg.head.data, &get, sizeof get);
    return ioctl(iommu->fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

static void set_bit(uint64_t *bitmap, uint64_t bit) {
    bitmap[bit / 64] |= 1ull << (bit % 64);
}

enum vms_code vms_vfio_container_log_report(struct vms_vfio_iommu *iommu, uint64_t iova,
                                            uint64_t length, uint64_t page_size, uint64_t *bitmap,
                                            bool *lost, struct vms_error *err) {
    uint64_t own = iommu->log_page, pages = own ? length / own : 0;
    uint64_t *bits = calloc(pages / 64 + 1, sizeof *bits);
    if (!bits)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    *lost = !iommu->logging ||
            get_bitmap(iommu, iova, length, bits, (pages + 63) / 64 * sizeof *bits) < 0;
    for (uint64_t i = 0; i < pages && !*lost; i++)
        if (bits[i / 64] >> (i % 64) & 1) /* a page of the log may be several of the guest's */
            for (uint64_t at = i * own; at < (i + 1) * own; at += page_size)
                set_bit(bitmap, at / page_size);
    for (uint64_t at = 0; at < length && *lost; at += page_size) /* [VDEV-3] */
        set_bit(bitmap, at / page_size);
    free(bits);
    return VMS_OK;
}
