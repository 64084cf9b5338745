/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_DIRTY_H
#define VMSTREAM_HOST_DIRTY_H

#include "host/guest.h"

/**
 * Which pages of a running guest were written (design: dirty tracking). One tracker for all blocks
 * of a guest. A page that is written between two collections is reported by the second, always; a
 * page that was not may be reported too.
 *
 * Contract for who reads pages: collect() first, read the page afterwards. A write that comes after
 * the read is then reported by a later collection. [HOST-13] [HOST-14]
 *
 * Memory that is taken away (MADV_DONTNEED, a balloon) becomes zero without a write: whoever does
 * that while a tracker runs tells the migration by itself.
 */
struct vms_dirty;

/** All members are set. One thread at a time; the guest writes meanwhile. */
struct vms_dirty_ops {
    /** From here on writes are followed; all pages count as clean. Again after stop(). */
    enum vms_code (*start)(void *ctx, struct vms_error *err);
    /**
     * ORs into bitmap the host pages (block->page_size each; bit i is page i) of block number
     * `block` that were written since the last collection of them, in [first, first + count) pages,
     * and counts them as clean again. *found (may be NULL): bits that were not set before.
     * VMS_E_IO: writes cannot be followed any more, nor from now on (HOST-15).
     */
    enum vms_code (*collect)(void *ctx, size_t block, uint64_t first, uint64_t count,
                             uint64_t *bitmap, uint64_t *found, struct vms_error *err);
    /** No more; leaves memory as it was. Idempotent. */
    void (*stop)(void *ctx);
    void (*free)(void *ctx);
};

struct vms_dirty {
    const struct vms_dirty_ops *ops;
    void *ctx;        /* freed by ops->free */
    const char *name; /* "wp-async", "uffd-wp", "vmm", for logs and reports */
};

/** Trackers by the kernel. */
enum vms_dirty_kind {
    VMS_DIRTY_BEST,     /* the first of the following that the kernel has */
    VMS_DIRTY_WP_ASYNC, /* userfaultfd WP_ASYNC and PAGEMAP_SCAN: Linux 6.7 */
    VMS_DIRTY_UFFD_WP,  /* userfaultfd write protection with a thread that answers: Linux 5.7; for
                           shared memory and huge pages 5.19 */
};

/**
 * A tracker by the kernel. The guest's blocks must not be mapped anew while it lives. VMS_E_IO with
 * what is missing when the kernel cannot. A VMM that has its own dirty bitmap fills a struct
 * vms_dirty by itself.
 */
enum vms_code vms_dirty_new(enum vms_dirty_kind kind, const struct vms_guest *guest,
                            struct vms_dirty *out, struct vms_error *err);

/** The dirty log of a VMM, such as KVM's. All members are set; called by who calls the tracker. */
struct vms_dirty_log {
    void *ctx;          /* the caller's, outlives the tracker */
    uint64_t page_size; /* of a bit of the log, bytes; divides or equals that of the blocks */
    /** Switches the log on, with no page dirty; or off. */
    enum vms_code (*enable)(void *ctx, bool on, struct vms_error *err);
    /**
     * Fetches and clears in one step: bit i of bits is page first + i of the log's pages in the
     * block, bits outside [0, count) are 0. first and count are multiples of 64 but for the
     * block's end; count is at most VMS_DIRTY_LOG_MAX.
     */
    enum vms_code (*fetch)(void *ctx, size_t block, uint64_t first, uint64_t count, uint64_t *bits,
                           struct vms_error *err);
};

enum {
    VMS_DIRTY_LOG_MAX = 32768
}; /* pages in one fetch */

/**
 * A tracker over a VMM's own log. What a fetch brought for pages that collect() was not asked for
 * is kept for the next one. VMS_E_MISUSE when page sizes do not fit; VMS_E_NO_MEMORY.
 */
enum vms_code vms_dirty_from_bitmap(const struct vms_dirty_log *log, const struct vms_guest *guest,
                                    struct vms_dirty *out, struct vms_error *err);

#endif
