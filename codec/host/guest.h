/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_GUEST_H
#define VMSTREAM_HOST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <vmstream/error.h>

/**
 * What an endpoint wants of the VMM whose guest it moves: memory, and somebody who stops and runs
 * the virtual CPUs. reference-src/vm is one such guest; a VMM brings its own.
 */

/** A RAM block of a running guest. */
struct vms_guest_block {
    const char *name;   /* 1 to 255 bytes, unique; the guest's, valid while it lives */
    uint8_t *memory;    /* length bytes, page-aligned, mapped readable and writable */
    uint64_t length;    /* bytes, whole host pages */
    uint64_t page_size; /* of the host behind this mapping, bytes: 4 KiB, or a huge page's */
    bool shared;        /* MAP_SHARED: userfaultfd minor faults; else private: missing faults */
    int fd;             /* behind the mapping; -1: anonymous */
};

/** All members are set. Called by one thread at a time, but vcpu threads run meanwhile. */
struct vms_guest_ops {
    /**
     * Stops every virtual CPU: none touches memory after the return. Idempotent. One that waits for
     * a page is waited for: in postcopy whoever places pages goes on meanwhile.
     */
    enum vms_code (*stop)(void *ctx, struct vms_error *err);
    /** Runs them (again). Idempotent. At a destination: for the first time. */
    enum vms_code (*run)(void *ctx, struct vms_error *err);
    /** Lets each virtual CPU run (100 - percent) % of the time; 0 to 99 (auto-converge). */
    void (*throttle)(void *ctx, unsigned percent);
    /**
     * Before COMMIT leaves the source, and before the guest first runs at the destination: gives
     * up, or takes, storage locks (HND-15). take false: give up. A failure at the destination
     * refuses the guest.
     */
    enum vms_code (*locks)(void *ctx, bool take, struct vms_error *err);
    /** The guest runs at this end for the first time: announce its network addresses. */
    void (*announce)(void *ctx);
    /**
     * State of the virtual CPUs and of what else the guest is, as one opaque piece. Source, while
     * it is stopped: *bytes is the guest's, valid until run() or the next call.
     */
    enum vms_code (*save)(void *ctx, const uint8_t **bytes, size_t *len, struct vms_error *err);
    /** Destination, before run(): refuses what it does not understand. */
    enum vms_code (*load)(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err);
};

struct vms_guest {
    const struct vms_guest_ops *ops;
    void *ctx; /* owned by the caller, outlives the migration */
    const struct vms_guest_block *blocks;
    size_t block_count;
};

#endif
