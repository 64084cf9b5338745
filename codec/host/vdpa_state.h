/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_STATE_H
#define VMSTREAM_HOST_VDPA_STATE_H

#include "host/vdpa.h"

#include <vmstream/slice.h>

/**
 * What a virtio device behind vDPA is for its guest, and what migrates of it [VDPA-13]. It goes in
 * two pieces, big-endian: the profile while the guest runs (what the destination's device must be
 * able to do), the whole state when it is stopped.
 */
enum {
    VMS_VDPA_QUEUES_MAX = 129,
    VMS_VDPA_CONFIG_MAX = 256,
    VMS_VDPA_MACS_MAX = 64,
    VMS_VDPA_STATE_MAX = 8192, /* bytes of the longer piece, at most */
};

struct vms_vdpa_profile {
    uint32_t device_id;
    uint64_t features; /* that the guest's driver has accepted */
    uint32_t config_size;
    uint32_t queues;    /* the control queue included */
    uint32_t ring_size; /* the largest in use, entries */
};

/** What a driver of a network card has said by its control queue. */
struct vms_vdpa_net {
    uint8_t mac[6];
    uint16_t pairs;              /* of data queues in use */
    uint8_t rx[6];               /* promisc, allmulti, alluni, nomulti, nouni, nobcast */
    uint16_t unicast, multicast; /* entries of macs; unicast ones first */
    uint8_t macs[VMS_VDPA_MACS_MAX][6];
    uint8_t vlans[512]; /* bit n % 8 of byte n / 8: VLAN n passes */
};

struct vms_vdpa_queue {
    bool enabled;
    struct vms_vdpa_ring ring;
};

struct vms_vdpa_state {
    struct vms_vdpa_profile profile;
    uint8_t status; /* of virtio */
    uint8_t config[VMS_VDPA_CONFIG_MAX];
    struct vms_vdpa_queue queue[VMS_VDPA_QUEUES_MAX];
    struct vms_vdpa_net net;
};

/** Bytes written to out, at most VMS_VDPA_STATE_MAX. */
size_t vms_vdpa_profile_write(const struct vms_vdpa_profile *profile, struct vms_room out);
size_t vms_vdpa_state_write(const struct vms_vdpa_state *state, struct vms_room out);
/** VMS_E_VDPA_STATE [VDPA-13]: what cannot be; not a byte more or less. */
enum vms_code vms_vdpa_profile_read(struct vms_slice in, struct vms_vdpa_profile *out,
                                    struct vms_error *err);
enum vms_code vms_vdpa_state_read(struct vms_slice in, struct vms_vdpa_state *out,
                                  struct vms_error *err);

/** [VDPA-12] VMS_E_VDPA_MISMATCH with the reason: the device cannot be what the source's was. */
enum vms_code vms_vdpa_fits(const struct vms_vdpa *device, const struct vms_vdpa_profile *profile,
                            struct vms_error *err);

/* Numbers of feature bits: virtio 1.2, 5.1.3 and 6. */
enum {
    VMS_VIRTIO_CTRL_VQ = 17,
    VMS_VIRTIO_CTRL_RX = 18,
    VMS_VIRTIO_CTRL_VLAN = 19,
    VMS_VIRTIO_CTRL_RX_EXTRA = 20,
    VMS_VIRTIO_MQ = 22,
    VMS_VIRTIO_CTRL_MAC = 23,
    VMS_VIRTIO_EVENT_INDEX = 29,
    VMS_VIRTIO_PACKED = 34,
};
static inline bool vms_vdpa_feature(const struct vms_vdpa_profile *profile, unsigned bit) {
    return profile->features >> bit & 1;
}
/** Whether the last queue is a control queue. */
static inline bool vms_vdpa_has_control(const struct vms_vdpa_profile *profile) {
    return profile->device_id == 1 && vms_vdpa_feature(profile, VMS_VIRTIO_CTRL_VQ);
}

#endif
