/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_ABI_H
#define VMSTREAM_HOST_VFIO_ABI_H

#include <linux/types.h>
#include <linux/vfio.h>

/*
 * What <linux/vfio.h> and <linux/iommufd.h> of newer kernels have: numbers and layouts of the
 * kernel's interface, under names of ours where the installed header may come to have them.
 */

/* 6.2: migration */
#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY (1 << 2)
#endif
#ifndef VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 9
#endif
#ifndef VFIO_MIG_GET_PRECOPY_INFO
#define VFIO_MIG_GET_PRECOPY_INFO _IO(VFIO_TYPE, VFIO_BASE + 21)
#endif
struct vms_vfio_precopy_info {
    __u32 argsz;
    __u32 flags;
    __aligned_u64 initial_bytes;
    __aligned_u64 dirty_bytes;
};

/* 7.1: REINIT */
#ifndef VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2
#define VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 12
#endif
#ifndef VFIO_PRECOPY_INFO_REINIT
#define VFIO_PRECOPY_INFO_REINIT (1 << 0)
#endif

/* 6.6: devices as character devices */
#ifndef VFIO_DEVICE_BIND_IOMMUFD
#define VFIO_DEVICE_BIND_IOMMUFD      _IO(VFIO_TYPE, VFIO_BASE + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#define VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)
#endif
struct vms_vfio_bind {
    __u32 argsz, flags;
    __s32 iommufd;
    __u32 out_devid;
};
struct vms_vfio_attach {
    __u32 argsz, flags;
    __u32 pt_id; /* in and out */
};
struct vms_vfio_detach {
    __u32 argsz, flags;
};

/* <linux/iommufd.h>, since 6.2; type ';', numbers from 0x80 */
enum {
    VMS_IOMMU_DESTROY = 0x80,
    VMS_IOMMU_IOAS_ALLOC,
    VMS_IOMMU_IOAS_ALLOW_IOVAS,
    VMS_IOMMU_IOAS_COPY,
    VMS_IOMMU_IOAS_IOVA_RANGES,
    VMS_IOMMU_IOAS_MAP,
    VMS_IOMMU_IOAS_UNMAP,
    VMS_IOMMU_OPTION,
    VMS_IOMMU_VFIO_IOAS,
    VMS_IOMMU_HWPT_ALLOC,
    VMS_IOMMU_GET_HW_INFO,
    VMS_IOMMU_HWPT_SET_DIRTY_TRACKING,
    VMS_IOMMU_HWPT_GET_DIRTY_BITMAP,
    VMS_IOMMU_HWPT_INVALIDATE,
    VMS_IOMMU_FAULT_QUEUE_ALLOC,
    VMS_IOMMU_IOAS_MAP_FILE,
};
#define VMS_IOMMU(number) _IO(';', number)
enum {
    VMS_IOMMU_MAP_FIXED = 1,
    VMS_IOMMU_MAP_WRITE = 2,
    VMS_IOMMU_MAP_READ = 4,
};
struct vms_iommu_destroy {
    __u32 size, id;
};
struct vms_iommu_ioas_alloc {
    __u32 size, flags, out_ioas_id;
};
struct vms_iommu_iova_range {
    __aligned_u64 start, last;
};
struct vms_iommu_ioas_iova_ranges {
    __u32 size, ioas_id, num_iovas, reserved;
    __aligned_u64 allowed_iovas, out_iova_alignment;
};
struct vms_iommu_ioas_map {
    __u32 size, flags, ioas_id, reserved;
    __aligned_u64 user_va, length, iova;
};
struct vms_iommu_ioas_map_file {
    __u32 size, flags, ioas_id;
    __s32 fd;
    __aligned_u64 start, length, iova;
};
struct vms_iommu_ioas_unmap {
    __u32 size, ioas_id;
    __aligned_u64 iova, length;
};
struct vms_iommu_hwpt_alloc {
    __u32 size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
    __aligned_u64 data_uptr;
};
struct vms_iommu_hw_info {
    __u32 size, flags, dev_id, data_len;
    __aligned_u64 data_uptr;
    __u32 out_data_type, reserved;
    __aligned_u64 out_capabilities;
};

#endif
