/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_RIG_H
#define VMSTREAM_HOST_VDPA_RIG_H

#include "host/vdpa_seat.h"
#include "host/vdpa_test_util.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

/*
 * For tests: a guest of two blocks with the driver of a network card in it, which transmits by a
 * split ring in its own memory.
 */
enum {
    RIG_BLOCK = 4 << 20,
    RIG_RING = 16,
    RIG_DESC = 0x10000, /* of the transmit queue, in block 0; IOVA as well */
    RIG_AVAIL = 0x11000,
    RIG_USED = 0x12000,
    RIG_BUFFER = 0x20000,
    RIG_RX = 0x40000,          /* the receive queue's rings, a page each, in block 0 */
    RIG_RX_BUFFERS = 0x100000, /* one for each entry, 8 KiB apart */
    RIG_QUEUES = 3,            /* receive, transmit, control */
};

struct vdpa_rig {
    struct vms_guest_block blocks[2];
    struct vms_guest_ops ops;
    struct vms_guest guest;
    struct vms_vdpa_events events[2];
    struct vms_vdpa_state state;
};

static inline enum vms_code rig_cpu(void *ctx, struct vms_error *err) {
    (void)ctx, (void)err;
    return VMS_OK;
}

static inline uint16_t *rig_word(struct vdpa_rig *rig, uint64_t at) {
    return (uint16_t *)(void *)(rig->blocks[0].memory + at);
}

static inline void rig_set_up(struct vdpa_rig *rig) {
    memset(rig, 0, sizeof *rig);
    for (size_t i = 0; i < 2; i++) {
        rig->blocks[i] =
            (struct vms_guest_block){.name = i ? "b" : "a",
                                     .memory = mmap(NULL, RIG_BLOCK, PROT_READ | PROT_WRITE,
                                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                                     .length = RIG_BLOCK,
                                     .page_size = 4096,
                                     .shared = true,
                                     .fd = -1};
        cr_assert_neq(rig->blocks[i].memory, MAP_FAILED);
        rig->events[i] = (struct vms_vdpa_events){eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                                  eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    }
    rig->ops = (struct vms_guest_ops){.stop = rig_cpu, .run = rig_cpu};
    rig->guest = (struct vms_guest){.ops = &rig->ops, .blocks = rig->blocks, .block_count = 2};
    struct vms_vdpa_state *s = &rig->state;
    s->profile = (struct vms_vdpa_profile){.device_id = 1,
                                           .features = 0x3000e0020, /* all but mtu, status, mq */
                                           .config_size = VDS_CONFIG,
                                           .queues = RIG_QUEUES,
                                           .ring_size = RIG_RING};
    s->profile.features |= 1u << VMS_VIRTIO_CTRL_MAC;
    s->status = 15;
    s->queue[1] = (struct vms_vdpa_queue){true, {RIG_RING, 0, RIG_DESC, RIG_AVAIL, RIG_USED}};
    s->queue[0] =
        (struct vms_vdpa_queue){true, {RIG_RING, 0, RIG_RX, RIG_RX + 0x1000, RIG_RX + 0x2000}};
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    memcpy(s->net.mac, mac, 6);
    s->net.pairs = 1;
}

/** The driver offers every receive buffer that is not in the device's hands. */
static inline void rig_fill(struct vdpa_rig *rig) {
    uint16_t *avail = rig_word(rig, RIG_RX + 0x1000), *used = rig_word(rig, RIG_RX + 0x2000);
    while ((uint16_t)(avail[1] - __atomic_load_n(&used[1], __ATOMIC_ACQUIRE)) < RIG_RING) {
        uint16_t at = avail[1] % RIG_RING;
        struct {
            uint64_t address;
            uint32_t length;
            uint16_t flags, next;
        } desc = {RIG_RX_BUFFERS + 8192u * at, 2048, 2 /* write */, 0};
        memcpy(rig->blocks[0].memory + RIG_RX + 16u * at, &desc, sizeof desc);
        avail[2 + at] = at;
        __atomic_store_n(&avail[1], (uint16_t)(avail[1] + 1), __ATOMIC_RELEASE);
    }
    const uint64_t one = 1;
    cr_assert_eq(write(rig->events[0].kick, &one, sizeof one), (ssize_t)sizeof one);
}

/** The driver transmits one buffer; returns when the card has used it. */
static inline void rig_transmit(struct vdpa_rig *rig) {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } desc = {RIG_BUFFER, 64, 0, 0};
    const uint64_t one = 1;
    const struct timespec t = {.tv_nsec = 1000000};
    uint16_t *avail = rig_word(rig, RIG_AVAIL), *used = rig_word(rig, RIG_USED);
    uint16_t at = avail[1];
    memcpy(rig->blocks[0].memory + RIG_DESC + 16u * (at % RIG_RING), &desc, sizeof desc);
    avail[2 + at % RIG_RING] = at % RIG_RING;
    __atomic_store_n(&avail[1], (uint16_t)(at + 1), __ATOMIC_RELEASE);
    cr_assert_eq(write(rig->events[1].kick, &one, sizeof one), (ssize_t)sizeof one);
    for (int i = 0; i < 10000 && __atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != at + 1; i++)
        (void)nanosleep(&t, NULL);
    cr_assert_eq(used[1], at + 1, "the card does not transmit");
}

#endif
