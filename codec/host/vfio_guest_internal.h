/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_GUEST_INTERNAL_H
#define VMSTREAM_HOST_VFIO_GUEST_INTERNAL_H

#include "host/vfio_guest.h"

struct vms_vfio_guest {
    const struct vms_guest *guest;
    struct vms_vfio_iommu *iommu;
    struct vms_vfio *device[VMS_VFIO_GUEST_MAX];
    size_t count;
    uint64_t *iova; /* of every block */
    size_t mapped;  /* blocks */
};

#endif
