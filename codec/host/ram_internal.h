/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_RAM_INTERNAL_H
#define VMSTREAM_HOST_RAM_INTERNAL_H

#include "host/ram_image.h"
#include "host/ram_unpack.h"
#include <pthread.h>
#include <stdatomic.h>

/*
 *   ram_image.c    blocks, statistics         ram_channel.c   records of one channel
 *   ram_store.c    memory behind a block      ram_multifd.c   multifd packets
 *   ram_stats.c    what came                  ram_mapped.c    mapped-ram regions
 *   ram_unpack.c   zlib and zstd              ram_pages.c     content of pages
 */

enum {
    RAM_PACKET_PAGES = 512 * 1024 / 1024, /* MFD-4, with the smallest target page */
    RAM_PAGE_MIN = 1024,
    RAM_PAGE_MAX = 65536,
};

struct ram_block {
    struct vms_ram_block pub;
    size_t name_len;
    _Atomic uint64_t *written; /* one bit a target page that content came for; NULL: not stored */
    _Atomic uint64_t *zeros;   /* and one that came as zero while nothing was written to it */
    bool borrowed;             /* memory is the guest's */
};

struct vms_ram_image {
    struct vms_ram_image_config config;
    bool deferred; /* files are written by vms_ram_image_save() */
    uint8_t only[VMS_NAME_MAX];
    uint32_t page_size;
    uint64_t stored_bytes;
    struct ram_block **blocks;
    size_t count;
    pthread_mutex_t lock; /* of channels and retired */
    struct vms_ram_channel *channels;
    struct vms_ram_stats *retired; /* of channels that were freed, count of them */
    size_t retired_count;
};

/* What the bulk in progress is. */
enum ram_bulk {
    RAM_BULK_NONE, /* nothing to be done with it */
    RAM_BULK_PAGES,
    RAM_BULK_XBZRLE,
    RAM_BULK_COMPRESSED,
    RAM_BULK_PACKED, /* multifd zlib, zstd */
    RAM_BULK_BITMAP,
    RAM_BULK_MAPPED,
};

struct vms_ram_channel {
    struct vms_ram_image *image;
    struct vms_ram_channel *next, *previous;
    uint32_t number;
    const struct vms_ram_place *place;
    struct vms_ram_stats *stats; /* stats_count of them, by block */
    size_t stats_count;

    enum ram_bulk bulk;
    size_t index;            /* of the current block */
    struct ram_block *block; /* the current one, NULL before the first */
    uint64_t offsets[RAM_PACKET_PAGES];
    size_t pages;     /* that the bulk fills, by offsets */
    size_t page;      /* the one in progress */
    size_t page_fill; /* bytes of it */
    uint8_t
        *staging; /* a page that does not go straight to memory, and a page of scratch behind it */
    size_t staged;

    struct vms_inflate *page_unpack;   /* COMPRESSED: one stream a page */
    struct vms_inflate *stream_unpack; /* multifd: one stream a channel */
    uint8_t *bitmap;                   /* mapped-ram: of bitmap_block */
    struct ram_block *bitmap_block;
};

/* ram_store.c: gives a block memory, or takes it away. */
enum vms_code ram_store_open(const struct vms_ram_image *image, struct ram_block *block,
                             struct vms_error *err);
void ram_store_close(struct ram_block *block);
enum vms_code ram_store_punch(struct ram_block *block, uint64_t start, uint64_t length,
                              struct vms_error *err);

/* Marks a page as one that content came for. True when there was some before. */
static inline bool ram_mark(struct ram_block *b, uint64_t page) {
    uint64_t bit = UINT64_C(1) << (page % 64);
    return atomic_fetch_or_explicit(&b->written[page / 64], bit, memory_order_relaxed) & bit;
}

static inline void ram_mark_in(_Atomic uint64_t *bits, uint64_t page) {
    (void)atomic_fetch_or_explicit(&bits[page / 64], UINT64_C(1) << (page % 64),
                                   memory_order_relaxed);
}

/* ram_stats.c: the current block's; a channel's life in the image's sums */
struct vms_ram_stats *ram_stats(struct vms_ram_channel *c);
void ram_stats_join(struct vms_ram_channel *c);
void ram_stats_retire(struct vms_ram_channel *c);

/* ram_channel.c */
enum vms_code ram_set_block(struct vms_ram_channel *c, struct vms_slice name,
                            enum vms_code when_unknown, struct vms_error *err);
enum vms_code ram_check_range(const struct vms_ram_channel *c, uint64_t offset, uint64_t length,
                              enum vms_code code, struct vms_error *err);
/* ram_pages.c */
void ram_mark_page(struct vms_ram_channel *c, uint64_t offset);
enum vms_code ram_zero_page(struct vms_ram_channel *c, uint64_t offset, uint8_t fill,
                            struct vms_error *err);
/* True when pages go straight into memory: they are stored and not placed. */
bool ram_in_memory(const struct vms_ram_channel *c);
/* Content of pages[page...] in order: plain, or to be unpacked. */
enum vms_code ram_pages_plain(struct vms_ram_channel *c, struct vms_slice bytes,
                              struct vms_error *err);
enum vms_code ram_pages_packed(struct vms_ram_channel *c, struct vms_inflate *u,
                               struct vms_slice bytes, enum vms_code code, struct vms_error *err);

/* ram_multifd.c */
enum vms_code ram_multifd_packet(struct vms_ram_channel *c, const struct vms_record *record,
                                 struct vms_answer *answer, struct vms_error *err);
void ram_multifd_room(struct vms_ram_channel *c, uint64_t offset, struct vms_room *room);

/* ram_mapped.c */
enum vms_code ram_mapped_bitmap(struct vms_ram_channel *c, const struct vms_record *record,
                                struct vms_answer *answer, struct vms_error *err);
void ram_mapped_bits(struct vms_ram_channel *c, uint64_t offset, struct vms_slice bits);
enum vms_code ram_mapped_pages(struct vms_ram_channel *c, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err);
void ram_mapped_room(struct vms_ram_channel *c, uint64_t offset, struct vms_room *room);

#endif
