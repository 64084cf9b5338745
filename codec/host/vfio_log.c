/* SPDX-License-Identifier: MIT */
#include "host/vfio_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum vms_code vms_vfio_log_start(struct vms_vfio *device, const struct vms_vfio_range *ranges,
                                 size_t count, uint64_t page_size, struct vms_error *err) {
    struct vfio_device_feature_dma_logging_control control = {
        .page_size = page_size,
        .num_ranges = (uint32_t)count,
    };
    if (!device->features.dma_logging)
        return vms_vfio_fail(device, "DMA logging", ENOTTY, err);
    struct vfio_device_feature_dma_logging_range *list = calloc(count ? count : 1, sizeof *list);
    if (!list)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < count; i++) {
        list[i].iova = ranges[i].iova;
        list[i].length = ranges[i].length;
    }
    control.ranges = (uintptr_t)list;
    int e = vms_vfio_feature(device->fd,
                             VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
                             &control, sizeof control);
    free(list);
    if (e != 0)
        return vms_vfio_fail(device, "DMA logging", -e, err);
    device->logging = true;
    return VMS_OK;
}

static void set_all(uint64_t *bitmap, uint64_t bits) {
    memset(bitmap, 0xff, bits / 64 * 8);
    if (bits % 64)
        bitmap[bits / 64] |= (1ull << (bits % 64)) - 1;
}

enum vms_code vms_vfio_log_report(struct vms_vfio *device, uint64_t iova, uint64_t length,
                                  uint64_t page_size, uint64_t *bitmap, bool *lost,
                                  struct vms_error *err) {
    struct vfio_device_feature_dma_logging_report report = {
        .iova = iova,
        .length = length,
        .page_size = page_size,
        .bitmap = (uintptr_t)bitmap,
    };
    if (!device->logging)
        return vms_vfio_fail(device, "reporting DMA that is not logged", EINVAL, err);
    int e = vms_vfio_feature(device->fd,
                             VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
                             &report, sizeof report);
    *lost = e != 0;
    if (*lost) /* [VDEV-3] the log is gone: everything may have been written */
        set_all(bitmap, (length + page_size - 1) / page_size);
    return VMS_OK;
}

void vms_vfio_log_stop(struct vms_vfio *device) {
    if (device->logging)
        (void)vms_vfio_feature(
            device->fd, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NULL, 0);
    device->logging = false;
}
