/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_CARD_INTERNAL_H
#define VMSTREAM_HOST_VDPA_CARD_INTERNAL_H

#include "host/vdpa_watch.h"

/* vdpa_card.c: start, stop   vdpa_prepare.c: ahead of the start   vdpa_control.c: the shadow
 * control queue
 */

enum {
    VMS_VDPA_SHADOW_RING = 4,        /* entries */
    VMS_VDPA_SHADOW_BYTES = 1 << 14, /* ring, and one command at a time */
};

struct vms_vdpa_card {
    struct vms_vdpa *device;
    struct vms_vdpa_state state;
    struct vms_vdpa_events events[VMS_VDPA_QUEUES_MAX];
    bool running, stopped, suspended;
    bool prepared;   /* started, its data queues are off */
    uint8_t *shadow; /* VMS_VDPA_SHADOW_BYTES */
    uint64_t shadow_iova;
    uint8_t *rings; /* rings_bytes, behind the shadow queue's addresses */
    uint64_t rings_bytes, rings_iova;
    struct vms_vdpa_watch *watch; /* NULL: the device works on the guest's rings */
    uint32_t control_group, control_space;
    uint16_t next; /* index of the shadow ring's next command */
    int kick, call;
};

/** Sets the shadow ring up anew: before DRIVER_OK. */
enum vms_code vms_vdpa_shadow_set(struct vms_vdpa_card *card, struct vms_error *err);
/** One command, and the device's answer to it. */
enum vms_code vms_vdpa_shadow_send(struct vms_vdpa_card *card, uint8_t class_, uint8_t command,
                                   const void *data, size_t len, bool *ok, struct vms_error *err);
/** [VDPA-15] What of state.net is not as `had`; NULL: all of it. */
enum vms_code vms_vdpa_shadow_restore(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                                      struct vms_error *err);

/* ---- vdpa_card.c, for vdpa_prepare.c ---- */
void vms_vdpa_card_events(struct vms_vdpa_card *card, const struct vms_vdpa_events *events);
uint32_t vms_vdpa_card_data_queues(const struct vms_vdpa_card *card);
/** Before DRIVER_OK: all rings that are enabled in the state. */
enum vms_code vms_vdpa_card_set_rings(struct vms_vdpa_card *card, struct vms_error *err);
/** The control queue is on, DRIVER_OK, all of state.net is told. */
enum vms_code vms_vdpa_card_control_on(struct vms_vdpa_card *card, struct vms_error *err);
/** A prepared card's data queues go on. */
enum vms_code vms_vdpa_card_go(struct vms_vdpa_card *card, struct vms_error *err);

#endif
