/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_INTERNAL_H
#define VMSTREAM_HOST_VFIO_INTERNAL_H

#include "host/vfio.h"
#include "host/vfio_abi.h"

/*
 * vfio.c: states and data   vfio_open.c: IOMMU, files, features   vfio_log.c: DMA logging
 * vfio_log_container.c: that of a legacy container
 */

struct vms_vfio_iommu {
    int fd;            /* iommufd or container; -1: no device yet */
    bool legacy;       /* a container */
    bool ready;        /* legacy: VFIO_SET_IOMMU is done */
    uint32_t ioas;     /* iommufd */
    uint64_t log_page; /* legacy: of its log of dirty pages, bytes; 0: not asked, or none */
    bool logging;
};

struct vms_vfio {
    char name[128];
    struct vms_vfio_iommu *iommu;
    int fd, group_fd, data_fd; /* -1: none; fd: only after vms_vfio_halt() */
    struct vms_vfio_features features;
    enum vms_vfio_state state;
    bool logging;
    uint64_t config_offset, config_size;
    uint64_t config_region; /* bytes that the kernel shows of it */
};

/** {argsz, flags, data}: room for every feature that is used here. */
union vms_vfio_feature_arg {
    struct vfio_device_feature feature;
    uint64_t room[8];
};

/** VFIO_DEVICE_FEATURE; data of size bytes goes both ways. 0 or a negative errno. */
int vms_vfio_feature(int fd, uint32_t flags, void *data, size_t size);

/** VFIO_DEVICE with the device, what, errno (0: none) and the state. */
enum vms_code vms_vfio_fail(struct vms_vfio *device, const char *what, int error,
                            struct vms_error *err);

/** Ends its DMA logging and closes its own files, not the group's: the kernel quiets it then. */
void vms_vfio_close_files(struct vms_vfio *device);

#endif
