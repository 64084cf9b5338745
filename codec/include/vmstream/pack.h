/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_PACK_H
#define VMSTREAM_PACK_H

#include <vmstream/error.h>
#include <vmstream/slice.h>

/**
 * Compression of the bulk of single frames, and hashes of pages (chapter PACK). Objects live in
 * memory that the caller gives at construction; nothing allocates after it. No I/O, no threads, no
 * clock. An object is for one thread at a time; objects share nothing but what they are told to.
 */

/* ---- pages: zero detection ---- */

/** Operations on page contents for one kind of CPU. All kinds agree on every input (PACK-3). */
struct vms_page_ops {
    const char *name; /* "portable", "sse2", "neon", "avx2" */
    /** True when every byte is 0. Any length and alignment; true for length 0. */
    bool (*is_zero)(const uint8_t *ptr, size_t len);
    /**
     * out = a XOR b; out may be a or b. Returns how many bytes of the result are not 0. Any length
     * and alignment.
     */
    size_t (*xor)(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t len);
};

/** The fastest that this CPU can do. Asks the CPU, which is slow in a guest: keep the answer. */
const struct vms_page_ops *vms_page_ops(void);
/** The index-th that this CPU can do, "portable" first; NULL past the last. For tests. */
const struct vms_page_ops *vms_page_ops_at(size_t index);

/**
 * The run at the front: how many whole pages are alike in being zero or not; *zero says which. 0
 * when there is no whole page.
 */
size_t vms_zero_run(const struct vms_page_ops *ops, struct vms_slice pages, uint32_t page_size,
                    bool *zero);

/* ---- hashes and the RAM digest ---- */

/** XXH64 as published, on any CPU (PACK-20). */
uint64_t vms_xxh64(struct vms_slice data, uint64_t seed);
/** The hash of a page's content; never 0, which stands for "not known" (PACK-20). */
uint64_t vms_page_hash(struct vms_slice page);
/**
 * What a page adds to the digest of its range. The digest of a range is the sum, modulo 2^64, of
 * its pages' shares, so that of two ranges together is the sum of theirs (PACK-25). 0 for hash 0.
 */
uint64_t vms_page_share(uint32_t block, uint64_t page, uint64_t hash);

/**
 * The hashes of one block's pages and, a bit each, which of them are pending: at the source, not
 * told to the destination yet; at the destination, not compared with memory yet.
 */
struct vms_digest;

size_t vms_digest_size(uint64_t pages);
/** All pages not known, none pending. NULL when mem_len is short. Alignment: that of malloc. */
struct vms_digest *vms_digest_init(void *mem, size_t mem_len, uint32_t block, uint64_t pages);
/** Source: the hash of what was sent of a page (PACK-21). The page is then pending. */
void vms_digest_set(struct vms_digest *digest, uint64_t page, uint64_t hash);
/** 0 when not known. */
uint64_t vms_digest_get(const struct vms_digest *digest, uint64_t page);
/** The next run of pending pages at or after `from`. False when there is none. */
bool vms_digest_next(const struct vms_digest *digest, uint64_t from, uint64_t *first,
                     uint64_t *count);
/**
 * Source: writes the hashes of count pages as DIGEST carries them (PACK-22), 8 bytes each, and
 * takes them off the pending ones. VMS_E_SPACE when out is short, VMS_E_MISUSE past the block.
 */
enum vms_code vms_digest_export(struct vms_digest *digest, uint64_t first, uint64_t count,
                                struct vms_room out, struct vms_error *err);
/** Destination: takes what a DIGEST frame carries. Pages with a hash other than 0 are pending. */
enum vms_code vms_digest_import(struct vms_digest *digest, uint64_t first, struct vms_slice hashes,
                                struct vms_error *err);
/** Destination: pages were written (PACK-23). They are pending, known or not. */
void vms_digest_touch(struct vms_digest *digest, uint64_t first, uint64_t count);
/**
 * Destination: compares a page's content with its hash. True when equal: it is no longer pending.
 * False is final only once nothing more can arrive for the page.
 */
bool vms_digest_check(struct vms_digest *digest, uint64_t page, struct vms_slice content);
/**
 * Destination: as vms_digest_touch() and vms_digest_check() of one page just written, whose content
 * has this hash. True when equal; otherwise the page is pending, known or not.
 */
bool vms_digest_compare(struct vms_digest *digest, uint64_t page, uint64_t hash);
/** Pages still pending. */
uint64_t vms_digest_pending(const struct vms_digest *digest);
/** Destination, at the end: VMS_OK when none is pending, else VMS_E_PACK_DIGEST (PACK-24). */
enum vms_code vms_digest_verdict(const struct vms_digest *digest, struct vms_error *err);
/** The digest of a range (PACK-25); pages past the block's end count as not known. */
uint64_t vms_digest_range(const struct vms_digest *digest, uint64_t first, uint64_t count);

/* ---- compressors ---- */

/** A compressor and decompressor of zstd frames. vmstream/pack_zstd.h has the one that ships. */
struct vms_zip_ops {
    /**
     * Writes in as one zstd frame, as PACK-8 wants it. Returns its length, 0 when it does not fit
     * into out or the level is not supported. Does not allocate.
     */
    size_t (*compress)(void *ctx, int level, struct vms_slice in, struct vms_room out);
    /** Fills out from one frame, exactly. False when it does not. Does not allocate. */
    bool (*decompress)(void *ctx, struct vms_slice in, struct vms_room out);
    void *ctx;
};

/** Pack methods, the low bits of a frame's flags (PACK-1). */
enum vms_pack_method {
    VMS_PACK_NONE = 0,
    VMS_PACK_ZSTD = 1,
    VMS_PACK_DELTA = 2,
};

/** A level that packs nothing. zstd's own levels are from 1 up, and from -1 down for speed. */
#define VMS_LEVEL_NONE 0

/* ---- the sender's memory of what the destination holds ---- */

struct vms_known;

struct vms_known_config {
    uint64_t bytes; /* bound of its memory; at least a few dozen pages */
    uint32_t page_size;
};

/** Exactly the memory it takes, at most config->bytes; 0 when that holds no page (PACK-15). */
size_t vms_known_size(const struct vms_known_config *config);
/** NULL when mem_len is short or holds no page. Alignment: that of malloc. */
struct vms_known *vms_known_init(void *mem, size_t mem_len, const struct vms_known_config *config);
/** All frames of the channel with tickets up to this one were acknowledged (PACK-13). */
void vms_known_acked(struct vms_known *known, uint16_t channel, uint64_t ticket);
/** The page was or will be sent past the packers, or discarded: it is no base (PACK-14). */
void vms_known_forget_page(struct vms_known *known, uint32_t block, uint64_t page);
/** A resumption: nothing is known (PACK-16). Batches begun before it must be reset. */
void vms_known_forget_all(struct vms_known *known);
/** Pages it remembers, and how many it can. */
size_t vms_known_count(const struct vms_known *known);
size_t vms_known_capacity(const struct vms_known *known);

/* ---- the sender: one packer a channel ---- */

struct vms_packer;

struct vms_pack_config {
    struct vms_zip_ops zip;
    const struct vms_page_ops *page_ops; /* NULL: the fastest */
    uint32_t page_size;                  /* bytes; a power of two, 1 KiB to 64 KiB */
    uint32_t unpacked_max;               /* bytes of one frame's bulk before packing; whole pages */
    struct vms_known *known;             /* NULL: no method 2; may be shared by packers */
    uint16_t channel;                    /* for known: below 256 */
    bool skip_same; /* leave out pages that the destination holds as they are */
};

/** Bytes of memory of a packer: about twice unpacked_max. 0 when the configuration is wrong. */
size_t vms_packer_size(const struct vms_pack_config *config);
struct vms_packer *vms_packer_init(void *mem, size_t mem_len, const struct vms_pack_config *config);

enum vms_page_kind {
    VMS_PAGE_FULL,  /* added, as it is */
    VMS_PAGE_DELTA, /* added, as its difference from a version that the destination holds */
    VMS_PAGE_ZERO,  /* not added: all zero, to be sent in a zero run */
    VMS_PAGE_SAME,  /* not added: the destination holds it as it is (skip_same) */
    VMS_PAGE_ROOM,  /* not added: the batch is full, pack it first. Nothing was changed */
};

/** A frame's bulk, packed or not. Slices are in the packer and hold until the next call on it. */
struct vms_packed {
    enum vms_pack_method method;
    struct vms_slice info; /* for the body's PACK key (PACK-10); empty: no such key */
    struct vms_slice bulk; /* what goes on the wire */
    uint32_t unpacked;     /* bytes before packing, for the body */
    const uint64_t *pages; /* page numbers, in the order of the data; NULL for other bulk */
    size_t count;          /* of pages */
    size_t deltas;         /* of them, those sent as a difference */
};

/**
 * Begins a batch: pages of one block, for one frame. generation is not 0 and does not go down; best
 * is the number of the round over dirty memory (PACK-12). Whatever was in the batch is dropped.
 */
void vms_packer_begin(struct vms_packer *packer, uint32_t block, uint32_t generation);

/**
 * Adds a page. Its content is copied once, at once, and everything is made of the copy, so that a
 * guest which writes meanwhile does no harm (PACK-21). *hash (may be NULL) gets the page's hash.
 * A page number comes once in a batch.
 */
enum vms_page_kind vms_packer_add(struct vms_packer *packer, uint64_t page, const uint8_t *content,
                                  uint64_t *hash);

/**
 * Ends the batch: packs it as pays best at this level. ticket numbers the frame in its channel,
 * growing from frame to frame; vms_known_acked() refers to it. The frame must then be sent, before
 * any later one of the channel: the packer takes its pages for held from there on. VMS_E_MISUSE for
 * an empty batch, or when its bases were forgotten since it began: the batch is then dropped.
 */
enum vms_code vms_packer_pack(struct vms_packer *packer, int level, uint64_t ticket,
                              struct vms_packed *out, struct vms_error *err);

/**
 * Packs bulk that is not pages: count pieces, in order, as one. Drops a batch. VMS_E_MISUSE when it
 * is longer than unpacked_max. A single piece that does not pay is given back where it lies.
 */
enum vms_code vms_packer_pack_bulk(struct vms_packer *packer, int level,
                                   const struct vms_slice *pieces, size_t count,
                                   struct vms_packed *out, struct vms_error *err);

/* ---- the receiver ---- */

/** The generations of which the receiver has had pages; one for all channels (PACK-12, PACK-16). */
struct vms_generations {
    uint32_t forgotten; /* this and older ones are not known any more */
    uint32_t newest;    /* 0: none yet */
};

/** The sender has forgotten: references to what came so far are refused from now on. */
void vms_generations_forget(struct vms_generations *generations);

struct vms_unpack_config {
    struct vms_zip_ops zip;
    const struct vms_page_ops *page_ops; /* NULL: the fastest */
    uint32_t page_size;                  /* bytes; a power of two, 1 KiB to 64 KiB */
    uint32_t unpacked_max;               /* bytes of one frame's bulk when unpacked */
};

struct vms_unpacker;

/** Bytes of memory of an unpacker: unpacked_max and a little. */
size_t vms_unpacker_size(const struct vms_unpack_config *config);
struct vms_unpacker *vms_unpacker_init(void *mem, size_t mem_len,
                                       const struct vms_unpack_config *config);

/** What a frame's header and body announce. */
struct vms_pack_announced {
    unsigned method;       /* from the flags */
    uint64_t bulk_len;     /* bytes on the wire */
    uint64_t unpacked;     /* bytes; without packing, bulk_len */
    struct vms_slice info; /* the body's PACK key, empty when it has none */
    bool pages;            /* the bulk is pages */
};

/**
 * Whether this can be right and within bounds, before any bulk is read or memory touched (PACK-6).
 * Sets class, code, clause and message of *err; place and number are the caller's.
 */
enum vms_code vms_unpack_check(const struct vms_unpacker *unpacker,
                               const struct vms_pack_announced *announced, struct vms_error *err);

/**
 * Unpacks bulk into rooms: count pieces which together have the announced size and, for pages, are
 * whole pages that need not lie side by side. For method 2 they hold the pages' present content.
 * Does vms_unpack_check() by itself. generations may be NULL when the bulk is not pages. After an
 * error in method 2 the rooms are as they were; in method 1 they may be partly written.
 */
enum vms_code vms_unpack(struct vms_unpacker *unpacker, const struct vms_pack_announced *announced,
                         struct vms_slice bulk, const struct vms_room *rooms, size_t count,
                         struct vms_generations *generations, struct vms_error *err);

/**
 * As vms_unpack() for pages of method 0 that were read straight to where they belong: checks what is
 * announced, and takes note of its generation (PACK-12). MISUSE for another method.
 */
enum vms_code vms_unpack_placed(struct vms_unpacker *unpacker,
                                const struct vms_pack_announced *announced,
                                struct vms_generations *generations, struct vms_error *err);

/* ---- choosing a level ---- */

enum {
    VMS_CHOOSER_LEVELS = 6, /* none, -3, 1, 3, 6, 9 */
};

/** What one level does, in 1/1024: learnt from what the caller measures. */
struct vms_level_stats {
    uint64_t cpu;   /* picoseconds of CPU for a byte of input */
    uint64_t ratio; /* packed bytes for 1024 bytes of input */
    bool measured;
};

/**
 * Picks the level at which frames get through fastest, on a link and a CPU as measured by the
 * caller. A plain value; pure: the same calls give the same answers (PACK-18).
 */
struct vms_level_chooser {
    struct vms_level_stats stats[VMS_CHOOSER_LEVELS];
    uint64_t link; /* picoseconds for a byte; 0: not measured */
    unsigned current, lowest, highest;
    unsigned better, streak; /* a level that has looked better, and how often in a row */
    unsigned frames;         /* since a level was last tried out */
    unsigned turn;           /* which one is tried out next */
};

/** Levels outside [lowest, highest] are not chosen. Begins at the level nearest to 1. */
void vms_chooser_init(struct vms_level_chooser *chooser, int lowest, int highest);
/** A frame was packed at this level: bytes in and out, CPU time in nanoseconds. */
void vms_chooser_packed(struct vms_level_chooser *chooser, int level, uint64_t bytes_in,
                        uint64_t bytes_out, uint64_t ns);
/** The link took so many bytes in so many nanoseconds in which it was never idle. */
void vms_chooser_sent(struct vms_level_chooser *chooser, uint64_t bytes, uint64_t ns);
/** The level for the next frame; now and then a neighbour of the best, to measure it. */
int vms_chooser_next(struct vms_level_chooser *chooser);

#endif
