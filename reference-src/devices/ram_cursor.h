/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_RAM_CURSOR_H
#define REFERENCE_SRC_RAM_CURSOR_H

#include "reference-src/wire.h"

/**
 * Which pages of guest memory are sent next: the choice alone, in memory that the caller gives. No
 * system call, no lock, no page data. The program and the simulation run the same code.
 *
 * In precopy a cursor passes over all blocks again and again; a page is given at most once in a
 * pass, however often it is marked meanwhile (SRC-8). In postcopy each page is given once
 * (SRC-9), those that the guest waits for first.
 */
struct src_ram_block {
    uint64_t pages;    /* target pages, at least 1 */
    uint32_t per_host; /* target pages of a host page, at least 1 */
    uint64_t *dirty;   /* bit i: page i is to be sent */
    uint64_t count;    /* bits that are set */
};

/** A host page that is being sent in pieces; only its own pages may follow on its channel. */
struct src_ram_flight {
    bool active;
    bool wanted; /* of the background: the guest waits for it, too */
    uint32_t block;
    uint64_t next, end; /* target pages that are left of it */
};

struct src_ram {
    uint32_t page_size; /* target page, bytes */
    uint32_t block_count;
    struct src_ram_block *blocks;
    uint64_t dirty; /* target pages to be sent, all blocks */
    uint64_t passes;
    uint32_t block; /* the cursor */
    uint64_t page;
    struct src_ram_flight background, urgent; /* postcopy: on the main and the preempt channel */
};

/** Bytes that a src_ram of these blocks takes. Aligned as by malloc. */
size_t src_ram_size(const struct vms_guest_block *blocks, size_t count, uint32_t page_size);
/** Every page is to be sent. Only length and page_size of the blocks are looked at. */
struct src_ram *src_ram_init(void *mem, const struct vms_guest_block *blocks, size_t count,
                             uint32_t page_size);

/** Marks target pages as to be sent (again). What lies behind the block's end is ignored. */
void src_ram_mark(struct src_ram *ram, uint32_t block, uint64_t first, uint64_t count);
/** The same for host pages: bit i of words is host page i. Clears words. */
void src_ram_merge(struct src_ram *ram, uint32_t block, uint64_t *words);
bool src_ram_is_dirty(const struct src_ram *ram, uint32_t block, uint64_t page);

enum src_ram_step {
    SRC_RAM_CLEAN,     /* nothing is to be sent */
    SRC_RAM_BATCH,     /* *batch; its pages are not to be sent any more */
    SRC_RAM_PASS_OVER, /* the cursor is at the beginning: pages may come again; sync first */
};
/** The next pages of precopy, at most max (1 to SRC_BATCH_PAGES). */
enum src_ram_step src_ram_next(struct src_ram *ram, uint32_t max, struct src_batch *batch);

/* ---- postcopy ---- */

/** Host pages that are to be sent in part are so as a whole from here on (CMD-14). */
void src_ram_begin_postcopy(struct src_ram *ram);
/**
 * Ranges of pages to be sent, of a block: ranges[2 i], [2 i + 1]: first page and count. *from:
 * where to look, 0 at first; then where it stopped. Returns how many, 0: no more.
 */
size_t src_ram_ranges(const struct src_ram *ram, uint32_t block, uint64_t *from, uint64_t *ranges,
                      size_t max);

/** Target pages that the guest waits for. */
struct src_ram_request {
    uint32_t block;
    uint64_t first, count;
};

enum src_ram_pick {
    SRC_RAM_NOTHING, /* all pages are sent */
    SRC_RAM_MAIN,    /* *batch, by wire->pages() */
    SRC_RAM_URGENT,  /* *batch, by wire->urgent() */
};
/**
 * The next pages of postcopy, of one host page (or of several whole ones that are one target page
 * each), at most max. request: the oldest that is not served, or NULL. *served: forget it, its
 * pages are sent, on their way or in *batch. preempt: urgent pages have a channel of their own, so
 * that a host page on the main channel may be left half sent; else it is finished first (RAM-14).
 */
enum src_ram_pick src_ram_pick(struct src_ram *ram, const struct src_ram_request *request,
                               bool preempt, uint32_t max, struct src_batch *batch, bool *served);
/**
 * The two halves of src_ram_pick(), for who sends requested pages and the others side by side:
 * URGENT or NOTHING, which says that nobody waits for a page that is to be sent here; and MAIN or
 * NOTHING. While a requested host page is half sent the second half may only go on with one of its
 * own (background.active).
 */
enum src_ram_pick src_ram_pick_urgent(struct src_ram *ram, const struct src_ram_request *request,
                                      bool preempt, uint32_t max, struct src_batch *batch,
                                      bool *served);
enum src_ram_pick src_ram_pick_main(struct src_ram *ram, uint32_t max, struct src_batch *batch);

/**
 * Recovery: exactly the pages that the bitmap (bit i of bytes[i / 8]: arrived) lacks are to be
 * sent, by whole host pages (REC-6). False: its length does not fit the block (RP-4).
 */
bool src_ram_received(struct src_ram *ram, uint32_t block, const uint8_t *bytes, size_t len);
/** All bitmaps are in: nothing is half sent. */
void src_ram_resume(struct src_ram *ram);

#endif
