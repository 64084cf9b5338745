/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_TEST_VM_MTTY_H
#define CONFORMANCE_TEST_VM_MTTY_H

#include "host/vfio_internal.h"

#include <criterion/criterion.h>

/**
 * The kernel's own sample of a VFIO device that migrates: mtty (samples/vfio-mdev), a serial card
 * of one or two ports that give back what is written into them. Its stream is a header and, at the
 * end, 36 octets for each port. Functions end the test when the kernel refuses.
 */
enum {
    MTTY_HEADER = 24, /* what it says before it stops: u64 magic, u32 version × 2, ports, flags */
    MTTY_PORT = 36,
    MTTY_CARDS = 5,
    MTTY_SMALL = 4, /* the card that has one port: it takes no other's stream */
};

struct mtty {
    char path[96]; /* in sysfs: what vms_vfio_open takes */
    unsigned ports;
};

/**
 * All of them, in RUNNING. They stay: the removal of a card that somebody has open would wait for
 * ever.
 */
void mtty_cards(struct mtty cards[MTTY_CARDS]);
/** Opens it alone, with an IOMMU of its own. */
struct vms_vfio *mtty_open(const struct mtty *card);
void mtty_close(struct vms_vfio *device);

/** Registers and what waits in the FIFO, all of which follow from the seed. */
void mtty_fill(struct vms_vfio *device, unsigned ports, unsigned seed);
/** That all of them are as mtty_fill() has left them. Empties the FIFO. */
void mtty_expect(struct vms_vfio *device, unsigned ports, unsigned seed);
/** Opens, fills or checks, closes. */
void mtty_prepare(const struct mtty *card, unsigned seed);
void mtty_verify(const struct mtty *card, unsigned seed);

/** Reads all that is there now: bytes read. */
size_t mtty_drain(struct vms_vfio *device, uint8_t *out, size_t room, enum vms_vfio_data *end);

#endif
