// SPDX-License-Identifier: MIT
//
// Makes boot images of the guest. The program is part of the binary (guest_blob.S).
#ifndef VMS_GUEST_IMAGE_H
#define VMS_GUEST_IMAGE_H

#include "guest_pattern.h"

/// SeaBIOS counts whole cylinders of 16 x 63 sectors and boots no disk that has none.
#define VMS_GUEST_DISK_SIZE   (1u << 20)
#define VMS_GUEST_FLOPPY_SIZE (1440u << 10)

/// Writes a bootable raw image of `size` bytes (sparse) with these parameters. Returns NULL, or
/// what is wrong; then errno is 0 (the parameters) or tells why the file could not be written.
const char *vms_guest_write_image(const char *path, const struct vms_guest_params *params,
                                  uint32_t size);

#endif
