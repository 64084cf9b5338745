/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_GUEST_H
#define VMSTREAM_HOST_VFIO_GUEST_H

#include "host/dirty.h"
#include "host/vfio.h"

/**
 * The VFIO devices of one guest, and what they must do together: they see its memory, fall silent
 * to each other before any of them is stopped, and what they write counts as dirty. Called by one
 * thread at a time.
 */
struct vms_vfio_guest;

enum {
    VMS_VFIO_GUEST_MAX = 30,
};

/**
 * Opens the devices (names as vms_vfio_open has them) and maps the guest's blocks for them, one
 * behind the other from IOVA 0, each at a multiple of 1 GiB. More than one device, and one of them
 * cannot fall silent: VMS_E_VFIO_P2P [VDEV-5]. The guest outlives it.
 */
enum vms_code vms_vfio_guest_new(const struct vms_guest *guest, const char *const *names,
                                 size_t count, struct vms_vfio_guest **out, struct vms_error *err);
/** Stops logging, closes. NULL is allowed. */
void vms_vfio_guest_free(struct vms_vfio_guest *devices);

size_t vms_vfio_guest_count(const struct vms_vfio_guest *devices);
/** Valid while `devices` is. */
struct vms_vfio *vms_vfio_guest_device(const struct vms_vfio_guest *devices, size_t index);
/** Where devices see the first byte of a block. */
uint64_t vms_vfio_guest_iova(const struct vms_vfio_guest *devices, size_t block);

/** [VDEV-6] Source, the CPUs are stopped: all fall silent, then all stop: in STOP_COPY. */
enum vms_code vms_vfio_guest_stop(struct vms_vfio_guest *devices, struct vms_error *err);
/**
 * [VDEV-6] [VDEV-11] Destination, all is loaded, the CPUs are stopped: each takes what it got or
 * refuses it, all in RUNNING_P2P, then all in RUNNING.
 */
enum vms_code vms_vfio_guest_run(struct vms_vfio_guest *devices, struct vms_error *err);
/** [VDEV-2] All in RUNNING, whatever happened. Tries all; the first error. */
enum vms_code vms_vfio_guest_recover(struct vms_vfio_guest *devices, struct vms_error *err);

/** [VDEV-11] Destination: every device takes what it got, or refuses it; all are in STOP. */
enum vms_code vms_vfio_guest_verify(struct vms_vfio_guest *devices, struct vms_error *err);

/**
 * A tracker that has what the CPUs write (inner, taken over; on failure, too) and what devices
 * write. A device that cannot log, or loses its log, makes all memory dirty [VDEV-3]. Free it
 * before the devices.
 */
enum vms_code vms_vfio_guest_dirty(struct vms_vfio_guest *devices, struct vms_dirty inner,
                                   struct vms_dirty *out, struct vms_error *err);

/**
 * Takes apart what a command line says of a device: [sim:]NAME[,id=IDSTR]. idstr: of the section,
 * "vfioN/vfio" of number N when it is not told. False: too long, or empty.
 */
struct vms_vfio_spec {
    char name[128]; /* for vms_vfio_open */
    char idstr[128];
    bool simulated; /* vms_vfio_simulate must have been called */
};
bool vms_vfio_spec(const char *text, unsigned number, struct vms_vfio_spec *out);

#endif
