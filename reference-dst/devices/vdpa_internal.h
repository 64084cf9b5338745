/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VDPA_INTERNAL_H
#define REFERENCE_DST_DEVICES_VDPA_INTERNAL_H

#include "host/vdpa_record.h"
#include "host/vfio_guest.h"
#include "reference-dst/devices/vdpa.h"

#include <pthread.h>

/* vdpa.c: steps of a device, and all of them   vdpa_ahead.c: the device is prepared */

enum {
    DEVICES_MAX = 16,
};

/* ---- what may come when: [VDPA-14] ---- */

enum stage {
    IDLE,     /* nothing has come */
    LAID_OUT, /* the guest's blocks are known: maps are being made */
    KNOWN,    /* and the source's device is one that this one can be */
    LOADED,   /* and its state is there */
    VERIFIED, /* and all memory is mapped */
    RUNS,
    OVER, /* it was reset */
    STAGES,
};

enum step {
    LAYOUT,
    PROFILE,
    EARLY, /* a record of the state that is not the last */
    STATE,
    VERIFY,
    RUN,
    STEPS,
};

/** [VDPA-28] Prepares the device with what is known of its state, on a thread of its own. */
struct dst_vdpa_ahead {
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    struct vms_vdpa_state wanted;
    uint64_t version, applied; /* of wanted; 0: none */
    bool maps_in, quit;
    enum vms_code code; /* what came of it */
    struct vms_error err;
    uint64_t count, ns; /* times that the device was prepared; that it took */
};

struct one {
    struct dst_vdpa *set;
    struct vms_vdpa_seat seat;
    struct vms_vfio_spec spec;
    enum stage stage;
    struct vms_vdpa_profile profile;
    struct vms_vdpa_state state;
    bool has_state; /* the first record has come */
    struct dst_vdpa_ahead ahead;
    uint64_t bytes, last_bytes, told;     /* told: generation that the owner knows to be in */
    bool said;                            /* the owner knows that it failed */
    const struct vms_vdpa_events *events; /* NULL: nobody hears */
};

struct dst_vdpa {
    struct one one[DEVICES_MAX];
    size_t count;
    struct dst_vdpa_options options;
    struct dst_vdpa_owner owner;
    const struct vms_guest *guest;
};

void dst_vdpa_ahead_init(struct one *one);
/** A record has come: the device is prepared when its maps are in. */
void dst_vdpa_ahead_state(struct one *one);
/** By the mapping thread. */
void dst_vdpa_ahead_maps(struct one *one, bool in);
/** Ends the thread; the device is the caller's. What has failed, or VMS_OK. */
enum vms_code dst_vdpa_ahead_end(struct one *one, struct vms_error *err);
/** The device becomes what the state says, but for its data queues; on the caller's thread. */
enum vms_code dst_vdpa_ahead_rest(struct one *one, struct vms_error *err);

#endif
