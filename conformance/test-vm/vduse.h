/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_TEST_VM_VDUSE_H
#define CONFORMANCE_TEST_VM_VDUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A vDPA network card of ours behind the kernel's own /dev/vhost-vdpa-N: a VDUSE device
 * (include/uapi/linux/vduse.h, API version 1), one thread that answers the kernel. What a program
 * maps for the card is seen here, as the card would see it. Functions end the test when the kernel
 * refuses.
 */
struct vduse;

enum {
    VDUSE_QUEUES = 2,
    VDUSE_GROUPS = 2,
    VDUSE_SPACES = 2,
    VDUSE_CONFIG = 24, /* bytes of config space */
};

/** On the bus, with a device file of its own. */
struct vduse *vduse_new(void);
/** /dev/vhost-vdpa-N */
const char *vduse_path(const struct vduse *card);
/** From now on it refuses every change of its maps. */
void vduse_refuse(struct vduse *card, bool on);
/** From now on it is gone: nobody answers the kernel, which waits for a second. */
void vduse_die(struct vduse *card);
/** Changes of maps that the kernel has told of. */
unsigned vduse_updates(const struct vduse *card);
/** Takes it off the bus. Whoever had it open has closed it. */
void vduse_free(struct vduse *card);

/** A map as the card sees it. */
struct vduse_map {
    uint64_t iova, length;
    bool writable;
    const uint8_t *memory; /* mapped here; NULL where it could not be */
};
/** All maps of an address space, by IOVA, at most room; their number. */
size_t vduse_maps(const struct vduse *card, uint32_t space, struct vduse_map *out, size_t room);
void vduse_unmap(struct vduse_map *maps, size_t count);

enum {
    VDUSE_WINDOWS = 8, /* of 1 GiB: where the endpoints put one block each */
};
/**
 * What the card saw of the guest's memory, a hash for each window of address space 0, when it was
 * last started (DRIVER_OK) and when it was last stopped (reset while it ran); lengths in bytes, 0:
 * nothing there, or it never was.
 */
struct vduse_sight {
    uint64_t hash[VDUSE_WINDOWS], length[VDUSE_WINDOWS];
};
struct vduse_sight vduse_at_start(const struct vduse *card);
struct vduse_sight vduse_at_stop(const struct vduse *card);

/** vDPA's management: makes device name of "vduse" or "vdpasim_net", or takes it away. */
void vdpa_bus_add(const char *management, const char *name);
void vdpa_bus_remove(const char *name);
/** Its device file, /dev/vhost-vdpa-N. */
void vdpa_bus_path(const char *name, char out[64]);

/** The kernel's module vdpa_sim with that parameter, and the files of two cards "one" and "two". */
void vdpa_sim_load(const char *parameter, char path[2][64]);
/** Takes both away. Whoever had them open has closed them. */
void vdpa_sim_unload(void);

#endif
