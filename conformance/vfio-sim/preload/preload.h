/* SPDX-License-Identifier: MIT */
#ifndef VFIO_SIM_PRELOAD_H
#define VFIO_SIM_PRELOAD_H

#include "conformance/vfio-sim/sim.h"

#include <linux/vfio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/*
 * The LD_PRELOAD object: gives simulated devices file descriptors. A call on one of these is
 * answered here; every other goes to the kernel by a bare syscall, so that nothing of the host
 * program's libc, sanitizer or loader is in the way.
 *
 *   calls.c   the functions that are interposed   device.c  ioctls and regions of a device
 *   fds.c     descriptor -> object                iommu.c   iommufd, container, group
 *   log.c     the log                             data.c    the data fd
 *   container.c  the log of a legacy container
 *
 * Object functions return a result, or a negative errno.
 */
struct object;

struct object_ops {
    int (*ioctl)(struct object *object, unsigned long request, void *arg);
    ssize_t (*read)(struct object *object, void *buf, size_t len);
    ssize_t (*write)(struct object *object, const void *buf, size_t len);
    ssize_t (*pread)(struct object *object, void *buf, size_t len, uint64_t offset);
    ssize_t (*pwrite)(struct object *object, const void *buf, size_t len, uint64_t offset);
    void (*release)(struct object *object);
};

struct object {
    const struct object_ops *ops;
    atomic_uint references;
};

/* fds.c */
/** The object behind fd with a reference, or NULL. probe: looks at an unknown file's first line. */
struct object *object_get(int fd, bool probe);
void object_hold(struct object *object);
void object_put(struct object *object);
/** A new descriptor for the object, or a negative errno; takes the caller's reference either way.
 */
int object_open(struct object *object, const char *name);
/** fd is closed: takes the object off it. */
void object_close(int fd);

/* device.c */
/** NULL: the text in fd does not describe a device; why is on standard error. */
struct object *device_new(int fd);

struct data_result {
    ssize_t result;
    uint64_t busy;
};
struct device;
/** For data.c: the device's, under its lock. */
struct vfs_device *device_lock(struct device *device);
/** Waits as long as the device is busy. */
void device_unlock(struct device *device, uint64_t busy);

/* data.c */
struct object *data_new(struct object *device_object, struct device *device);

/* iommu.c */
struct object *iommu_new(void);
struct object *container_new(void);
struct object *group_new(const char *text, size_t len);
/** What is mapped now, at most max ranges; how many. */
size_t iommu_ranges(struct vfs_range *out, size_t max);
/** Writes what a device writes to an IOVA. */
void iommu_dma(uint64_t iova, uint64_t length);
uint32_t iommu_next_id(void);

/* container.c: VFIO_IOMMU_GET_INFO, VFIO_IOMMU_DIRTY_PAGES for devices that were got by groups */
void container_add(struct device *device);
/** Nothing, when it is not one of them. */
void container_remove(struct device *device);
int container_info(struct vfio_iommu_type1_info *info);
int container_dirty(struct vfio_iommu_type1_dirty_bitmap *d);

/* log.c */
struct vfs_log log_open(const char *path);
void log_close(struct vfs_log log);
uint64_t now_ns(void);

/* the kernel; results as of syscall(2), negative errno */
long kernel(long number, long a, long b, long c, long d, long e);

#endif
