/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_H
#define VMSTREAM_HOST_VFIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmstream/error.h>

/**
 * VFIO devices of the kernel and their migration, include/uapi/linux/vfio.h, protocol v2 (Linux
 * 5.18; pre-copy 6.2; REINIT 7.1). A call that fails returns VMS_E_VFIO_DEVICE with the device, the
 * call, errno and the state that the device is in then. An object belongs to one thread at a time.
 */

/** enum vfio_device_mig_state */
enum vms_vfio_state {
    VMS_VFIO_ERROR,
    VMS_VFIO_STOP,
    VMS_VFIO_RUNNING,
    VMS_VFIO_STOP_COPY,
    VMS_VFIO_RESUMING,
    VMS_VFIO_RUNNING_P2P,
    VMS_VFIO_PRE_COPY,
    VMS_VFIO_PRE_COPY_P2P,
    VMS_VFIO_STATES,
};
/** "PRE_COPY", …; "?" for no state. Static text. */
const char *vms_vfio_state_name(enum vms_vfio_state state);

/* ---- the IOMMU, one for the devices of a guest ---- */

struct vms_vfio_iommu;

/** Opens nothing yet: the first device decides between iommufd and the legacy container. */
enum vms_code vms_vfio_iommu_new(struct vms_vfio_iommu **out, struct vms_error *err);
/** After all its devices. NULL is allowed. */
void vms_vfio_iommu_free(struct vms_vfio_iommu *iommu);
/**
 * Lets devices read and write length bytes of memory at iova (whole pages, all). After the first
 * device was opened; the memory must stay until the unmapping.
 */
enum vms_code vms_vfio_map(struct vms_vfio_iommu *iommu, uint64_t iova, void *memory,
                           uint64_t length, struct vms_error *err);
enum vms_code vms_vfio_unmap(struct vms_vfio_iommu *iommu, uint64_t iova, uint64_t length,
                             struct vms_error *err);

/* ---- a device ---- */

struct vms_vfio;

/** What it can do; found out when it is opened. */
struct vms_vfio_features {
    bool p2p, precopy;
    bool reinit; /* the opt-in for VFIO_PRECOPY_INFO_REINIT was taken */
    bool data_size, dma_logging;
};

/**
 * name is one of
 *   fd:N                 a device's descriptor, taken over
 *   /sys/…/DEVICE        a device in sysfs: its character device, else its group
 *   /dev/vfio/N:DEVICE   a device of a legacy group, by the name that the group knows
 *   any other path       a character device, /dev/vfio/devices/vfioN
 * A device that cannot migrate is refused.
 */
enum vms_code vms_vfio_open(struct vms_vfio_iommu *iommu, const char *name, struct vms_vfio **out,
                            struct vms_error *err);
/** Leaves it in its state. NULL is allowed. */
void vms_vfio_close(struct vms_vfio *device);
/** What open was told, for messages. */
const char *vms_vfio_name(const struct vms_vfio *device);
const struct vms_vfio_features *vms_vfio_features(const struct vms_vfio *device);
/** As last known. */
enum vms_vfio_state vms_vfio_state(const struct vms_vfio *device);
/** Asks the kernel. */
enum vms_code vms_vfio_ask_state(struct vms_vfio *device, enum vms_vfio_state *out,
                                 struct vms_error *err);

/**
 * Moves it, over other states where the kernel says so. The data fd is kept inside: opened with
 * PRE_COPY, STOP_COPY, RESUMING, closed when they are left. [VDEV-1] After a failure the state is
 * asked for.
 */
enum vms_code vms_vfio_set_state(struct vms_vfio *device, enum vms_vfio_state state,
                                 struct vms_error *err);
/** [VDEV-2] To RUNNING, from any state: by a change of state, else by VFIO_DEVICE_RESET. */
enum vms_code vms_vfio_recover(struct vms_vfio *device, struct vms_error *err);
/**
 * [VDEV-24] Nothing that was loaded into it runs, now or later: by VFIO_DEVICE_RESET; where it
 * refuses that, STOP; else its files are closed, which makes the kernel quiet it, and all that is
 * left is vms_vfio_close(). A failure tells what it has refused.
 */
enum vms_code vms_vfio_halt(struct vms_vfio *device, struct vms_error *err);
/** VFIO_DEVICE_RESET: RUNNING, as new. */
enum vms_code vms_vfio_reset(struct vms_vfio *device, struct vms_error *err);

enum vms_vfio_data {
    VMS_VFIO_DATA,  /* some bytes */
    VMS_VFIO_LATER, /* none now: ENOMSG */
    VMS_VFIO_END,   /* the end of the stream, in STOP_COPY */
};
/** Reads the device's stream: at most len bytes. *got is 0 unless DATA. */
enum vms_code vms_vfio_read(struct vms_vfio *device, void *buf, size_t len, size_t *got,
                            enum vms_vfio_data *what, struct vms_error *err);
/** Writes all of it, in RESUMING. */
enum vms_code vms_vfio_write(struct vms_vfio *device, const void *buf, size_t len,
                             struct vms_error *err);

struct vms_vfio_precopy {
    uint64_t initial, dirty; /* bytes */
    bool reinit;             /* initial is anew; only after the opt-in */
};
/** VFIO_MIG_GET_PRECOPY_INFO, in PRE_COPY and PRE_COPY_P2P. */
enum vms_code vms_vfio_precopy(struct vms_vfio *device, struct vms_vfio_precopy *out,
                               struct vms_error *err);
/** Bytes that it would take to stop and copy now; UINT64_MAX: the device does not tell. */
enum vms_code vms_vfio_data_size(struct vms_vfio *device, uint64_t *out, struct vms_error *err);

/* ---- DMA logging: what the device writes into the guest's memory ---- */

struct vms_vfio_range {
    uint64_t iova, length; /* bytes, whole pages */
};
/** page_size: wanted; the kernel may take another. */
enum vms_code vms_vfio_log_start(struct vms_vfio *device, const struct vms_vfio_range *ranges,
                                 size_t count, uint64_t page_size, struct vms_error *err);
/**
 * ORs into bitmap the pages of [iova, iova + length) that were written since the last report. When
 * the kernel fails to tell, all bits are set, *lost is true, and the call succeeds. [VDEV-3]
 */
enum vms_code vms_vfio_log_report(struct vms_vfio *device, uint64_t iova, uint64_t length,
                                  uint64_t page_size, uint64_t *bitmap, bool *lost,
                                  struct vms_error *err);
/** Idempotent. */
void vms_vfio_log_stop(struct vms_vfio *device);

/**
 * [VDEV-23] The log of a legacy container, for devices that have none: of all that its devices
 * write. False: it has none, or this is an iommufd.
 */
bool vms_vfio_container_logs(struct vms_vfio_iommu *iommu);
enum vms_code vms_vfio_container_log_start(struct vms_vfio_iommu *iommu, struct vms_error *err);
/**
 * Sets a bit for every page that was written since the last report: iova and length are those of a
 * mapping. bitmap has (length / page_size + 63) / 64 words; page_size is a power of two, 4096 or
 * more. *lost, and all bits: there is no log any more.
 */
enum vms_code vms_vfio_container_log_report(struct vms_vfio_iommu *iommu, uint64_t iova,
                                            uint64_t length, uint64_t page_size, uint64_t *bitmap,
                                            bool *lost, struct vms_error *err);
void vms_vfio_container_log_stop(struct vms_vfio_iommu *iommu);

/* ---- PCI config space ---- */

/** Bytes: 256, 4096, or 0 for a device that has none. */
size_t vms_vfio_config_size(const struct vms_vfio *device);
enum vms_code vms_vfio_config_read(struct vms_vfio *device, void *buf, size_t len,
                                   struct vms_error *err);
enum vms_code vms_vfio_config_write(struct vms_vfio *device, size_t at, const void *buf, size_t len,
                                    struct vms_error *err);

/* ---- simulated devices ---- */

/**
 * Starts this program anew, with its arguments, under build/vfio-sim.so, which lies beside it or in
 * the folder above; then a device's text opens as a character device does. Returns at once where
 * that has happened already; else only with an error. argv as main() got it.
 */
enum vms_code vms_vfio_simulate(char *const *argv, struct vms_error *err);

#endif
