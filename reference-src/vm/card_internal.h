/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_CARD_INTERNAL_H
#define REFERENCE_VM_CARD_INTERNAL_H

#include "host/guest_wrap.h"
#include "reference-src/vm/card.h"

#include <pthread.h>
#include <stdatomic.h>

/* card.c: blocks, the thread, what is checked   card_driver.c: what the driver does in one turn */

enum {
    CARD_BLOCK = 4 << 20,
    CARD_RINGS = 1 << 16, /* a page for each ring */
    CARD_RING = 16,       /* entries */
    CARD_AVAIL = 1024,    /* in a ring's page, behind the descriptors */
    CARD_USED = 2048,
    CARD_TRANSMIT = 1 << 20, /* one buffer for each entry, a page apart */
    CARD_RECEIVE = 2 << 20,
    CARD_FRAME = 64, /* bytes */
    CARD_FRAMES_A_COMMAND = 64,
};

/** At the begin of the block: what the driver knows. It migrates as memory does. */
struct card_memory {
    uint64_t sent, received, commands; /* frames; commands that were obeyed */
    uint64_t last;                     /* number of the last frame that came back */
    uint8_t mac[6];
    uint8_t vlans[512];
};

struct card {
    struct vms_vm_cards *set;
    size_t index;
    uint8_t *block;
    int fd; /* behind it */
    uint64_t iova;
    struct vms_vdpa_events events[VMS_VDPA_QUEUES_MAX];
    uint64_t idle; /* turns in which a frame was awaited */
};

struct vms_vm_cards {
    struct vms_guest_wrap wrap;
    struct vms_guest guest;
    struct vms_guest_block *blocks; /* inner's, and one a card */
    char names[VMS_VM_CARDS_MAX][16];
    struct card card[VMS_VM_CARDS_MAX];
    size_t count;
    struct vms_vm_plug plug;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    bool plugged, on, quit, busy; /* on: the guest runs; busy: the driver is in a turn */
    struct vms_error met;         /* the first that the driver met */
};

static inline struct card_memory *card_memory(const struct card *card) {
    return (struct card_memory *)(void *)card->block;
}
/** One turn of the driver: frames back, a new one, now and then a command. */
enum vms_code card_turn(struct card *card, struct vms_error *err);
/** Adds or removes a VLAN, at the device and in what the driver knows. */
enum vms_code card_vlan(struct card *card, uint32_t id, bool remove, struct vms_error *err);
/** Offers all receive buffers that the device does not have. */
void card_offer(struct card *card);
/** Takes what has come back. VMS_E_VM_CHECK: out of order. */
enum vms_code card_take(struct card *card, struct vms_error *err);

#endif
