/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_RAM_POSTCOPY_H
#define REFERENCE_DST_RAM_POSTCOPY_H

#include "host/guest.h"
#include "host/histogram.h"

#include <vmstream/slice.h>

/**
 * Memory that fills while its guest runs already (DST-15 to DST-20). Knows no wire: whoever has one
 * asks with request() and brings what comes to place().
 *
 *     new ── discard()… ── arrived()… ── listen ──┬─ place() from any channel ── end ── free
 *                                                 └─ pause ── bitmap() ── resume ─┘ any number
 *
 * A *host page* is what is asked for and becomes visible at once: the larger of the mapping's page
 * and the peer's. It is made of target pages, the unit of place(). Private memory is served by
 * missing faults: a page is put together aside and copied in at once. Shared memory (of huge pages,
 * too) is filled through a second mapping, and then shown by a minor fault's CONTINUE.
 *
 * Every thread that touches memory is served. A page that arrived before listen() and is not in the
 * page tables (a hole that is zero) is shown without asking anybody.
 */
struct dst_postcopy;

struct dst_postcopy_config {
    const struct vms_guest_block *blocks; /* outlive the object; indices below are into them */
    size_t block_count;
    uint32_t page_size; /* target page, bytes */
    /**
     * Host page of each block as the peer has it, bytes; at least the mapping's counts. NULL: the
     * mapping's.
     */
    const uint64_t *host_pages;
    bool by_copy; /* serve shared memory as private memory is: what older kernels get anyway */
    /**
     * The guest waits for the host page of length bytes at offset. Called once for each host page,
     * and again for those that are still awaited after resume(). From the fault's thread, or
     * resume()'s caller. Must not wait for place(). What it does with its failure is its business:
     * a cut pauses, and resume() asks again.
     */
    void (*request)(void *ctx, size_t block, uint64_t offset, uint64_t length);
    /** The fault thread cannot go on: local errors only. May be called once. */
    void (*failed)(void *ctx, const struct vms_error *err);
    /** A host page that was asked for is visible, ns after the fault was read. May be NULL. */
    void (*served)(void *ctx, uint64_t ns);
    void *ctx;
};

/**
 * Finds out whether the kernel can serve these blocks (VMS_E_IO with what is missing), makes second
 * mappings, switches transparent huge pages off for private memory. Copies the configuration.
 */
struct dst_postcopy *dst_postcopy_new(const struct dst_postcopy_config *config,
                                      struct vms_error *err);
/** Ends first. Threads that still wait for pages get zeros: nobody may use this guest again. */
void dst_postcopy_free(struct dst_postcopy *p);

/**
 * Before listen(): content of these bytes is stale and must not be seen (CMD-13); gives the memory
 * back, forgets that it arrived. Whole host pages: DISCARD_FORM otherwise.
 */
enum vms_code dst_postcopy_discard(struct dst_postcopy *p, size_t block, uint64_t start,
                                   uint64_t length, struct vms_error *err);
/** Before listen(): bit i of bits: target page i arrived, zero pages too. ORed. */
void dst_postcopy_arrived(struct dst_postcopy *p, size_t block, const uint64_t *bits);

/**
 * Registers all memory and starts to serve. Memory that has partly arrived host pages is emptied
 * there (they will come again). No vCPU may run before the return.
 */
enum vms_code dst_postcopy_listen(struct dst_postcopy *p, struct vms_error *err);

/**
 * One target page: content, or empty for zeros. Any thread, several at once. When it completes its
 * host page that becomes visible and the threads that wait for it go on. POSTCOPY_PAGE_TWICE: it
 * has arrived already (DST-17).
 */
enum vms_code dst_postcopy_place(struct dst_postcopy *p, size_t block, uint64_t offset,
                                 struct vms_slice page, struct vms_error *err);
/**
 * As place() without copying, for shared memory: where the bytes from offset on go, and then that
 * they are there. room() gives NULL when this memory wants place(). Nothing that is visible is ever
 * written (RAM-32): room() is NULL with *err for pages that have arrived.
 */
uint8_t *dst_postcopy_room(struct dst_postcopy *p, size_t block, uint64_t offset, uint64_t length,
                           struct vms_error *err);
enum vms_code dst_postcopy_filled(struct dst_postcopy *p, size_t block, uint64_t offset,
                                  uint64_t length, struct vms_error *err);

/** The connection is gone, and every channel's thread with it: host pages in the making are
 * dropped; faults wait. Idempotent. */
void dst_postcopy_pause(struct dst_postcopy *p);
/** A new connection stands: asks again for what is awaited, oldest fault first (REC-4). */
void dst_postcopy_resume(struct dst_postcopy *p);

/** Bytes of bitmap(): one bit a target page, in whole 64-bit words. */
size_t dst_postcopy_bitmap_bytes(const struct dst_postcopy *p, size_t block);
/** Which target pages are in visible host pages: bit i % 8 of out[i / 8]. While paused exact. */
void dst_postcopy_bitmap(const struct dst_postcopy *p, size_t block, uint8_t *out);
/** Target pages that have not become visible yet, over all blocks. */
uint64_t dst_postcopy_missing(const struct dst_postcopy *p);

/** Everything has arrived: memory is ordinary again. DST_INCOMPLETE when something is missing. */
enum vms_code dst_postcopy_end(struct dst_postcopy *p, struct vms_error *err);

/** Latency: from the moment the fault was read to the moment its page was visible, ns. */
struct dst_postcopy_stats {
    uint64_t faults;     /* read from the kernel: one for each thread that waits */
    uint64_t requests;   /* host pages asked for, each once */
    uint64_t repeated;   /* asked for again by resume() */
    uint64_t local;      /* faults answered without asking */
    uint64_t awaited;    /* target pages that were missing at listen() */
    uint64_t placed;     /* target pages; those of a host page that a cut dropped come twice */
    uint64_t zero;       /* of them empty */
    uint64_t waiting;    /* host pages that are awaited now */
    uint64_t inversions; /* requests that were served while an older one waited */
    uint64_t pauses;
    struct vms_histogram latency; /* of the host pages that were asked for */
};
void dst_postcopy_stats(const struct dst_postcopy *p, struct dst_postcopy_stats *out);

#endif
