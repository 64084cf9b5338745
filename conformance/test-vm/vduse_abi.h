/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_TEST_VM_VDUSE_ABI_H
#define CONFORMANCE_TEST_VM_VDUSE_ABI_H

#include <linux/types.h>
#include <linux/vduse.h>

/* API version 1 (groups and address spaces), which headers of 6.1 do not have: sizes and places are
 * those of include/uapi/linux/vduse.h. */
enum {
    VMS_VDUSE_API = 1,
    VMS_VDUSE_SET_VQ_GROUP_ASID = 3, /* a request, beside those of version 0 */
};

struct vms_vduse_config {
    char name[VDUSE_NAME_MAX];
    __u32 vendor_id, device_id;
    __u64 features;
    __u32 vq_num, vq_align, ngroups, nas, reserved[11];
    __u32 config_size;
    __u8 config[];
};
_Static_assert(sizeof(struct vms_vduse_config) == sizeof(struct vduse_dev_config), "one layout");

struct vms_vduse_queue {
    __u32 index;
    __u16 max_size, reserved1;
    __u32 group;
    __u16 reserved2[10];
};
_Static_assert(sizeof(struct vms_vduse_queue) == sizeof(struct vduse_vq_config), "one layout");

struct vms_vduse_map {
    __u64 offset, start, last;
    __u8 perm, padding[7];
    __u32 asid, reserved[11];
};
#define VMS_VDUSE_GET_FD2 _IOWR(VDUSE_BASE, 0x1b, struct vms_vduse_map)

#endif
