/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_CONFIG_H
#define VMSTREAM_HOST_VFIO_CONFIG_H

#include "host/vfio.h"

/** [VDEV-13] The config state of a device: QEMU's, of PCI config space. */
enum {
    VMS_VFIO_CONFIG_MAX = 4 + 4096 + 16 + 2048 * 16 + 256, /* with 2048 MSI-X vectors */
};

/** Reads it from the device: *len bytes into out, of VMS_VFIO_CONFIG_MAX. */
enum vms_code vms_vfio_config_save(struct vms_vfio *device, uint8_t *out, size_t *len,
                                   struct vms_error *err);
/**
 * Gives it to the device: the command register, base addresses and the interrupt line. VFIO_CONFIG
 * when it is of another device. What an MSI-X table has is the VMM's to restore, with its
 * interrupts.
 */
enum vms_code vms_vfio_config_load(struct vms_vfio *device, const uint8_t *bytes, size_t len,
                                   struct vms_error *err);

#endif
