/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_H
#define VMSTREAM_HOST_VDPA_H

#include "host/vdpa_abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmstream/error.h>

/**
 * vDPA devices of the kernel: /dev/vhost-vdpa-N, include/uapi/linux/vhost.h. [VDPA-1] A call that
 * fails returns VMS_E_VDPA_DEVICE (or a code of its own) with device, call, errno and what to do.
 * An object belongs to one thread at a time, but for map, unmap and batch: these belong to one
 * thread, too, which may be another (vdpa_map.h).
 */
struct vms_vdpa;

/** What it is and can do; found out when it is opened. */
struct vms_vdpa_about {
    uint32_t device_id;             /* of virtio: 1 is a network card */
    uint64_t features;              /* offered, bits of virtio */
    uint64_t backend;               /* agreed on, 1 << enum vms_vdpa_backend_bit */
    uint32_t config_size;           /* bytes */
    uint32_t queues;                /* virtqueues, the control queue included */
    uint16_t ring_size;             /* the largest of a virtqueue, entries */
    uint32_t groups, spaces;        /* of virtqueues; of addresses. 1 without ASID */
    uint64_t iova_first, iova_last; /* that can be mapped, both included */
};

/**
 * name: fd:N, taken over, or a path. Negotiates backend features and becomes the owner [VDPA-2];
 * the device is reset then: nothing was mapped yet [VDPA-10].
 */
enum vms_code vms_vdpa_open(const char *name, struct vms_vdpa **out, struct vms_error *err);
/** The kernel resets the device, unmaps and unpins all. NULL is allowed. */
void vms_vdpa_close(struct vms_vdpa *device);
/** What open was told, for messages. */
const char *vms_vdpa_name(const struct vms_vdpa *device);
const struct vms_vdpa_about *vms_vdpa_about(const struct vms_vdpa *device);
bool vms_vdpa_has(const struct vms_vdpa *device, enum vms_vdpa_backend_bit bit);

/* ---- status, features, config space ---- */

/** Stops it whatever it does. Without IOTLB_PERSIST the kernel may drop all maps with it. */
enum vms_code vms_vdpa_reset(struct vms_vdpa *device, struct vms_error *err);
/** ACKNOWLEDGE, DRIVER, the features, FEATURES_OK; a device that takes that back has refused. */
enum vms_code vms_vdpa_accept(struct vms_vdpa *device, uint64_t features, struct vms_error *err);
enum vms_code vms_vdpa_driver_ok(struct vms_vdpa *device, struct vms_error *err);
enum vms_code vms_vdpa_status(struct vms_vdpa *device, uint8_t *out, struct vms_error *err);
enum vms_code vms_vdpa_config_read(struct vms_vdpa *device, uint32_t at, void *buf, uint32_t len,
                                   struct vms_error *err);
enum vms_code vms_vdpa_config_write(struct vms_vdpa *device, uint32_t at, const void *buf,
                                    uint32_t len, struct vms_error *err);

/* ---- virtqueues ---- */

struct vms_vdpa_ring {
    uint32_t size;              /* entries */
    uint32_t base;              /* as GET_VRING_BASE tells it; split: the next available index */
    uint64_t desc, avail, used; /* IOVA; packed: ring, driver area, device area */
};
/** kick, call: eventfds of the caller's, or -1. Not enabled yet. */
enum vms_code vms_vdpa_set_ring(struct vms_vdpa *device, uint32_t queue,
                                const struct vms_vdpa_ring *ring, int kick, int call,
                                struct vms_error *err);
/** Where it begins; of a device that was not started, or is suspended. */
enum vms_code vms_vdpa_set_base(struct vms_vdpa *device, uint32_t queue, uint32_t base,
                                struct vms_error *err);
enum vms_code vms_vdpa_enable(struct vms_vdpa *device, uint32_t queue, bool on,
                              struct vms_error *err);
/** Where it stands: after suspend(). */
enum vms_code vms_vdpa_ring_base(struct vms_vdpa *device, uint32_t queue, uint32_t *base,
                                 struct vms_error *err);
/** The group that a virtqueue is of; 0 without ASID. */
enum vms_code vms_vdpa_group(struct vms_vdpa *device, uint32_t queue, uint32_t *group,
                             struct vms_error *err);
/** The address space that a group's virtqueues are in. Before driver_ok(). */
enum vms_code vms_vdpa_set_space(struct vms_vdpa *device, uint32_t group, uint32_t space,
                                 struct vms_error *err);

/** [VDPA-3] It falls silent, its rings stand still. Only where SUSPEND is offered. */
enum vms_code vms_vdpa_suspend(struct vms_vdpa *device, struct vms_error *err);
/** Goes on after suspend(). Only where RESUME is offered. */
enum vms_code vms_vdpa_resume(struct vms_vdpa *device, struct vms_error *err);

/* ---- the IOTLB ---- */

/** All whole host pages. The memory must stay until it is unmapped. */
struct vms_vdpa_region {
    uint32_t space;
    uint64_t iova;   /* what the device says */
    uint8_t *memory; /* of this process */
    uint64_t length; /* bytes, > 0 */
    bool read_only;
};
/**
 * Maps, and pins where the device needs it. [VDPA-8] VMS_E_VDPA_MEMLOCK names the limit to raise;
 * [VDPA-9] VMS_E_VDPA_ADDRESSES: outside of the device's addresses, or not whole pages; [VDPA-30]
 * VMS_E_VDPA_MEMORY: private memory, and the device does not pin. On failure nothing of it is
 * mapped. Success within a batch is not the device's last word [VDPA-31].
 */
enum vms_code vms_vdpa_map(struct vms_vdpa *device, const struct vms_vdpa_region *region,
                           struct vms_error *err);
/** Exactly what one call has mapped [VDPA-6]. */
enum vms_code vms_vdpa_unmap(struct vms_vdpa *device, const struct vms_vdpa_region *region,
                             struct vms_error *err);
/** begin: BATCH_BEGIN, else BATCH_END, for one address space; nothing where it is not offered. */
enum vms_code vms_vdpa_batch(struct vms_vdpa *device, uint32_t space, bool begin,
                             struct vms_error *err);

#endif
