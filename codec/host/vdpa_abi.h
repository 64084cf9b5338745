/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_ABI_H
#define VMSTREAM_HOST_VDPA_ABI_H

#include <linux/vhost.h>
#include <linux/vhost_types.h>

/* What kernel headers of 6.1 do not have yet: include/uapi/linux/vhost.h, vhost_types.h. */
#ifndef VHOST_VDPA_SUSPEND
#define VHOST_VDPA_SUSPEND _IO(VHOST_VIRTIO, 0x7D)
#endif
#ifndef VHOST_VDPA_RESUME
#define VHOST_VDPA_RESUME _IO(VHOST_VIRTIO, 0x7E)
#endif

/* Numbers of bits. A header that has them defines macros of the same values. */
enum vms_vdpa_backend_bit {
    VMS_VDPA_MSG_V2 = 1,
    VMS_VDPA_BATCH = 2,
    VMS_VDPA_ASID = 3,
    VMS_VDPA_SUSPEND = 4,                /* 6.0 */
    VMS_VDPA_RESUME = 5,                 /* 6.3 */
    VMS_VDPA_ENABLE_AFTER_DRIVER_OK = 6, /* 6.6 */
    VMS_VDPA_IOTLB_PERSIST = 8,          /* 6.7 */
};

enum { /* virtio 1.2, 2.1 */
    VMS_VDPA_ACKNOWLEDGE = 1,
    VMS_VDPA_DRIVER = 2,
    VMS_VDPA_DRIVER_OK = 4,
    VMS_VDPA_FEATURES_OK = 8,
};

#endif
