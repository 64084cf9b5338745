/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_DEVICES_VDPA_H
#define REFERENCE_SRC_DEVICES_VDPA_H

#include "host/dirty.h"
#include "host/vdpa_seat.h"
#include "reference-src/devices/device.h"

/**
 * The saving half of vDPA devices: one struct src_device each, and what they do together. As with
 * src_vfio, the session is given src_vdpa_guest() in place of the guest and src_vdpa_dirty() in
 * place of the tracker:
 *
 *   stop()  stops the CPUs, then the devices; their state is complete, and what they may have
 *           written counts as dirty [VDPA-18]
 *   run()   brings the devices back before the CPUs [VDPA-17]
 */
struct src_vdpa;

/** specs: [sim:]NAME[,id=IDSTR]; idstr "vdpaN" of number N when it is not told. Maps the guest. */
enum vms_code src_vdpa_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           uint32_t first, struct src_vdpa **out, struct vms_error *err);
/** After the session and the tracker. NULL is allowed. */
void src_vdpa_free(struct src_vdpa *vdpa);

/**
 * What the guest's driver has made of the device; it runs from now on. Before the migration. A
 * device for which that is not called has no driver: it migrates as such.
 */
enum vms_code src_vdpa_start(struct src_vdpa *vdpa, size_t index,
                             const struct vms_vdpa_state *state,
                             const struct vms_vdpa_events *events, struct vms_error *err);

/** All of the state goes at the end; before setup. */
void src_vdpa_late_state(struct src_vdpa *vdpa, bool late);
size_t src_vdpa_count(const struct src_vdpa *vdpa);
/** Valid while vdpa is. */
struct src_device src_vdpa_device(struct src_vdpa *vdpa, size_t index);
struct vms_vdpa_card *src_vdpa_card(struct src_vdpa *vdpa, size_t index);
/** A command of the guest's driver, as vms_vdpa_card_control; from any thread. */
enum vms_code src_vdpa_control(struct src_vdpa *vdpa, size_t index, uint8_t class_, uint8_t command,
                               const void *data, size_t len, bool *ok, struct vms_error *err);
/** What the device is for the guest, as it was stopped or last told. */
const struct vms_vdpa_state *src_vdpa_told(const struct src_vdpa *vdpa, size_t index);
const struct vms_vdpa_about *src_vdpa_about(const struct src_vdpa *vdpa, size_t index);
const struct vms_guest *src_vdpa_guest(struct src_vdpa *vdpa);
/** inner is taken over, on failure, too. */
enum vms_code src_vdpa_dirty(struct src_vdpa *vdpa, struct vms_dirty inner, struct vms_dirty *out,
                             struct vms_error *err);
/** The first device that could not be brought back: code OK, none. The guest runs without it. */
const struct vms_error *src_vdpa_lost(const struct src_vdpa *vdpa);

struct src_vdpa_figures {
    const char *name, *idstr;
    uint64_t early, bytes;         /* of state that was sent before the stop; after it */
    uint64_t granted;              /* generation of the destination's maps */
    struct vms_vdpa_progress maps; /* of its own */
    bool stopped, watched;
};
struct src_vdpa_figures src_vdpa_figures(const struct src_vdpa *vdpa, size_t index);

#endif
