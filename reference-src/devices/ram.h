/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_RAM_H
#define REFERENCE_SRC_RAM_H

#include "host/dirty.h"
#include "reference-src/devices/device.h"
#include "reference-src/devices/ram_cursor.h"

/**
 * The saving half of guest memory: what the cursor chooses, with the tracker's news, onto the wire.
 * Device number 0. The session's thread calls the device's operations; in postcopy one sender
 * thread calls src_ram_send_next(), and the wire's threads call src_ram_request() and
 * src_ram_take_received().
 */
struct src_ram_device;

/** Neither guest nor dirty are owned; both outlive it. *out: for the table of devices. */
enum vms_code src_ram_device_new(const struct vms_guest *guest, struct vms_dirty *dirty,
                                 uint32_t page_size, struct src_device *out, struct vms_error *err);
void src_ram_device_free(struct src_device *device);

/** [CMD-14] Into postcopy: what is stale at the destination, then LISTEN. */
enum vms_code src_ram_discard(struct src_device *device, struct src_wire *wire,
                              struct vms_error *err);

/** What src_ram_send_next() did. */
struct src_ram_sent {
    bool more;          /* false: all pages are sent */
    bool urgent;        /* for a request: not to be held back */
    uint64_t bytes;     /* of guest memory */
    uint64_t waited_ns; /* of the request whose last page this was; 0: of none */
};

/** The next pages of postcopy, by one thread alone: no preempt channel. */
enum vms_code src_ram_send_next(struct src_device *device, struct src_wire *wire,
                                struct src_ram_sent *sent, struct vms_error *err);
/**
 * The same by two threads, so that a requested page waits for nothing that fills a channel: one
 * sends what is asked for, by wire->urgent(), and waits until something is; one the others, by
 * wire->pages(), and rests while somebody waits.
 */
enum vms_code src_ram_send_requested(struct src_device *device, struct src_wire *wire,
                                     struct src_ram_sent *sent, struct vms_error *err);
enum vms_code src_ram_send_others(struct src_device *device, struct src_wire *wire,
                                  struct src_ram_sent *sent, struct vms_error *err);
/** Both end, with more = false; until it is taken back. */
void src_ram_halt(struct src_device *device, bool halted);
/**
 * The guest waits for these pages. Waits while too many requests are unserved, unless they are
 * being forgotten.
 */
void src_ram_request(struct src_device *device, uint32_t block, uint64_t offset, uint64_t length);
/**
 * Whether pages are left and nobody waits for one: only then may a limit of bandwidth hold back who
 * sends.
 */
bool src_ram_can_wait(struct src_device *device);
/** A connection is lost: forgets what was asked for (the destination asks again). */
void src_ram_forget(struct src_device *device, bool forgetting);
/** [REC-6] False: the bitmap's length does not fit. */
bool src_ram_take_received(struct src_device *device, uint32_t block, const uint8_t *bytes,
                           size_t len);
/** All bitmaps are in. */
void src_ram_go_on(struct src_device *device);

/** For people. */
struct src_ram_figures {
    uint64_t passes;
    uint64_t dirty_bytes;
    uint64_t total_bytes;
    uint64_t requests;
};
void src_ram_figures(struct src_device *device, struct src_ram_figures *out);

#endif
