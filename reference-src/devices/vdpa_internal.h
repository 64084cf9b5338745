/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_DEVICES_VDPA_INTERNAL_H
#define REFERENCE_SRC_DEVICES_VDPA_INTERNAL_H

#include "host/guest_wrap.h"
#include "host/vdpa_record.h"
#include "host/vfio_guest.h"
#include "reference-src/devices/vdpa.h"

#include <pthread.h>

/* vdpa.c: one device   vdpa_set.c: all of them and their guest   vdpa_dirty.c: what they write */

enum {
    SRC_VDPA_MAX = 16,
};

struct src_vdpa_one {
    struct src_vdpa *set;
    struct vms_vdpa_seat seat;
    struct vms_vfio_spec spec;
    uint32_t number;
    struct vms_vdpa_state idle; /* of a device without a driver */
    bool started, stopped, sent;
    struct vms_vdpa_state told; /* by records that were sent */
    bool has_told;
    uint64_t early, bytes, granted;
};

struct src_vdpa {
    struct vms_guest guest; /* the wrapped one */
    struct vms_guest_wrap wrap;
    struct src_vdpa_one one[SRC_VDPA_MAX];
    size_t count;
    bool late_state;        /* all of it at the end */
    _Atomic uint64_t stops; /* of unwatched devices: each makes all memory dirty once */
    uint64_t **written;     /* of each block: a bit a host page that a device wrote; shared */
    pthread_mutex_t lock;   /* cards, while the CPUs run: commands of drivers, and watching */
    struct vms_error lost;
};

extern const struct src_device_ops src_vdpa_ops;
/** [VDPA-17] It runs on after a stop, on the guest's rings. */
enum vms_code src_vdpa_bring_back(struct src_vdpa_one *one, struct vms_error *err);
/** [VDPA-18] By the watch's thread: ctx is the set. */
void src_vdpa_wrote(void *ctx, uint64_t iova, uint64_t length);
/** A bit for each host page of each block, cleared; NULL: no memory. */
uint64_t **src_vdpa_bitmaps(const struct vms_guest *guest);
void src_vdpa_bitmaps_free(uint64_t **bitmaps, const struct vms_guest *guest);
/** As it is now, or as it was stopped. */
const struct vms_vdpa_state *src_vdpa_state(const struct src_vdpa_one *one);

#endif
