/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_INTERNAL_H
#define VMSTREAM_HOST_VDPA_INTERNAL_H

#include "host/vdpa.h"

/* vdpa.c: status, virtqueues   vdpa_open.c: negotiation   vdpa_iotlb.c: maps
   vdpa_memory.c: memory of this process */

struct vms_vdpa {
    char name[128];
    int fd;
    struct vms_vdpa_about about;
    uint64_t mapped, maps; /* bytes and maps that are held now */
    bool simulated;        /* no device of the kernel: its memory is this process's */
    bool pins;             /* it was seen to pin what it maps */
};

/** ioctl, again after a signal. 0 or a negative errno. */
int vms_vdpa_ioctl(const struct vms_vdpa *device, unsigned long request, void *arg);
/** VDPA_DEVICE with the device, what, errno (0: none). */
enum vms_code vms_vdpa_fail(const struct vms_vdpa *device, const char *what, int error,
                            struct vms_error *err);
/** [VDPA-9] Whether the device can take such a region at all. */
enum vms_code vms_vdpa_check(const struct vms_vdpa *device, const struct vms_vdpa_region *region,
                             struct vms_error *err);

/* vdpa_memory.c */
/** Bytes that devices have pinned of this process, all devices. */
uint64_t vms_vdpa_pinned(void);
/** Whether all of it is mapped here, shared. */
bool vms_vdpa_is_shared(const uint8_t *memory, uint64_t length);

#endif
