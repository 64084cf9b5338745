/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_DEVICES_VDPA_H
#define REFERENCE_DST_DEVICES_VDPA_H

#include "host/vdpa_seat.h"

/**
 * The loading half of vDPA devices. Their maps of the guest's memory are made from the moment on
 * that the blocks are known, while the source still runs; the switchover waits for them [VDPA-11].
 *
 * Call order: layout for all of them, again whenever the guest's blocks change; for each device
 * profile, then records of its state; then for all verify and run. reset at any time ends it. What
 * comes out of order is refused: VDPA_UNEXPECTED [VDPA-14]. One thread at a time.
 */
struct dst_vdpa;

/** Called by mapping threads; must not call back into the devices. All members are set. */
struct dst_vdpa_owner {
    /** [VDPA-11] These maps shall be in before the switchover: native REQUEST,
     * DST_NEV_DEVICE_NEEDS. By the thread that calls layout. */
    void (*needs)(void *ctx, size_t index, uint64_t generation);
    /** They are in: native GRANT, DST_NEV_DEVICE_READY. */
    void (*ready)(void *ctx, size_t index, uint64_t generation);
    /** [VDPA-7] They never will be: the migration fails now, the source's guest has not stopped. */
    void (*failed)(void *ctx, size_t index, const struct vms_error *err);
    void (*progress)(void *ctx, size_t index, const struct vms_vdpa_progress *progress);
    void *ctx;
};

struct dst_vdpa_options {
    bool late; /* map when everything is loaded, in downtime, as used to be done; granted at once */
    uint64_t chunk; /* struct vms_vdpa_map_options; 0: the defaults */
    uint32_t batch, max_maps;
};

/** specs: [sim:]NAME[,id=IDSTR]; idstr "vdpaN" of number N when it is not told. owner is copied;
 * NULL: dst_vdpa_own() tells it. */
enum vms_code dst_vdpa_new(const char *const *specs, size_t count,
                           const struct dst_vdpa_options *options,
                           const struct dst_vdpa_owner *owner, struct dst_vdpa **out,
                           struct vms_error *err);
/** Before the first layout. */
void dst_vdpa_own(struct dst_vdpa *vdpa, const struct dst_vdpa_owner *owner);
/** What the guest's driver of a device kicks and hears: one for each data queue; borrowed. Before
 * run. */
void dst_vdpa_events(struct dst_vdpa *vdpa, size_t index, const struct vms_vdpa_events *events);
/** Closes the devices: nothing stays mapped. NULL is allowed. */
void dst_vdpa_free(struct dst_vdpa *vdpa);

size_t dst_vdpa_count(const struct dst_vdpa *vdpa);
const char *dst_vdpa_idstr(const struct dst_vdpa *vdpa, size_t index);
/** By the idstr of its section; count: there is none. */
size_t dst_vdpa_find(const struct dst_vdpa *vdpa, const uint8_t *idstr, size_t len);

/**
 * The guest's blocks as they are from now on; the guest stays until the next layout or the end.
 * What was mapped and is gone must stay in memory until this returns VMS_OK: it waits for that only
 * where something goes.
 */
enum vms_code dst_vdpa_layout(struct dst_vdpa *vdpa, const struct vms_guest *guest,
                              struct vms_error *err);
/** [VDPA-12] What the source's device is; SETUP. */
enum vms_code dst_vdpa_profile(struct dst_vdpa *vdpa, size_t index, const uint8_t *bytes,
                               size_t len, struct vms_error *err);
/**
 * A record of its state; STATE, in one piece, at most VMS_VDPA_STATE_MAX bytes. last: there is no
 * more. Before that the device is prepared with what is known [VDPA-28], on a thread of its own.
 */
enum vms_code dst_vdpa_state(struct dst_vdpa *vdpa, size_t index, const uint8_t *bytes, size_t len,
                             bool last, struct vms_error *err);
/** [VDPA-4] All states are there, all memory is mapped; waits for the maps. Before READY. */
enum vms_code dst_vdpa_verify(struct dst_vdpa *vdpa, struct vms_error *err);
/** The guest is ours: the devices run, then the CPUs. */
enum vms_code dst_vdpa_run(struct dst_vdpa *vdpa, struct vms_error *err);
/** [VDPA-7] It has failed: devices are reset, nothing stays mapped. Idempotent. */
void dst_vdpa_reset(struct dst_vdpa *vdpa);

/** For vms_vdpa_card_control, once it runs. */
struct vms_vdpa_card *dst_vdpa_card(struct dst_vdpa *vdpa, size_t index);

struct dst_vdpa_figures {
    const char *name, *idstr;
    struct vms_vdpa_progress maps;
    uint64_t bytes, last_bytes;    /* of state; of the last record */
    uint64_t prepared, prepare_ns; /* times before the source stopped; what that took */
    bool runs;
};
struct dst_vdpa_figures dst_vdpa_figures(struct dst_vdpa *vdpa, size_t index);

#endif
