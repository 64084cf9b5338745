/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_RAM_IMAGE_H
#define VMSTREAM_HOST_RAM_IMAGE_H

#include "host/guest.h"
#include "host/pump.h"

/**
 * The RAM of a migration as memory. An image holds the blocks, each a sparse memfd or file that is
 * mapped shared. A channel (one for each channel of the migration) applies that channel's records
 * to the image:
 *
 *     image  = blocks, immutable once the block list is complete
 *     channel = decompression state, staging, statistics; is a vms_pump_sink by itself
 *
 * Several threads may load different channels at once after the block list is complete. The order
 * of two versions of one page that come on different channels is the caller's business (MFD-12).
 * Everything is checked here again, whatever the caller decoded it with: RAM-4, RAM-5, MFD-4 to
 * MFD-8, MAP-2.
 */
struct vms_ram_image;
struct vms_ram_channel;

enum vms_ram_store {
    VMS_RAM_CHECK,  /* no memory: records are checked, unpacked into scratch and counted */
    VMS_RAM_MEMORY, /* a memfd for each block */
    VMS_RAM_FILES,  /* a file for each block, in directory, named by vms_ram_file_name() */
    VMS_RAM_FILE,   /* the one block `only` in the file at path */
    VMS_RAM_GUEST, /* the memory of `guest`, which keeps it and has written nothing to it yet (it is
                      zero): RAM-16, RAM-30 */
};

struct vms_ram_image_config {
    enum vms_ram_store store;
    const char *path;              /* FILES: the directory, which exists; FILE: the file */
    const struct vms_guest *guest; /* GUEST: outlives the image */
    struct vms_slice only; /* not empty: only this block is stored, the others as with CHECK */
    uint64_t max_bytes;    /* sum of the stored blocks, LIMIT error past it; 0: limits.ram_bytes */
    struct vms_limits limits;
};

/** Kind MEMORY, default limits. */
struct vms_ram_image_config vms_ram_image_config_default(void);

/** Copies the configuration and its strings. NULL and *err on failure (IO, NO_MEMORY). */
struct vms_ram_image *vms_ram_image_new(const struct vms_ram_image_config *config,
                                        struct vms_error *err);
/** Unmaps and closes every block. Files stay. Channels must be freed before. NULL is fine. */
void vms_ram_image_free(struct vms_ram_image *image);

/**
 * Sets the target page size in bytes, a power of two from 1024 to 65536 (4096 when never called).
 * Call it when the decoder has told it (vms_qevm_page_size) and before the first block.
 * VMS_E_MISUSE: not such a number, or it changes while there are blocks.
 */
enum vms_code vms_ram_image_page_size(struct vms_ram_image *image, uint32_t bytes,
                                      struct vms_error *err);

/** A block of the image. */
struct vms_ram_block {
    char name[VMS_NAME_MAX + 1]; /* NUL-terminated */
    size_t index;                /* in the block list */
    uint64_t used_length;        /* bytes, whole target pages */
    uint64_t page_size;          /* of the host, as the wire told it, bytes; 0: it did not */
    uint64_t gpa;                /* as the wire told it (x-ignore-shared), else 0 */
    uint8_t *memory;             /* used_length bytes, shared mapping; NULL when not stored */
    int fd;                      /* behind memory, owned by the image; -1 when not stored */
    bool shared;                 /* stored: memory is mapped shared; private only a guest's own */
    uint64_t map_page;           /* stored: page of that mapping, bytes */
};

/**
 * Adds a block, as record RAM_BLOCK does. A block that is there with the same length is left as it
 * is; another length is RAM-16, and so is one that is not the guest's, or a host page other than
 * the guest's. Errors: RAM_BLOCK_NAME, RAM_BLOCK_LENGTH, RAM_BLOCK_SIZE, RAM_BLOCK_UNKNOWN (the
 * guest has none: RAM-30), LIMIT (before anything is allocated), IO, NO_MEMORY. Not while another
 * thread uses the image.
 */
enum vms_code vms_ram_image_add(struct vms_ram_image *image, const struct vms_rec_ram_block *block,
                                struct vms_error *err);

size_t vms_ram_image_count(const struct vms_ram_image *image);
/** Owned by the image, valid while it lives. NULL past the end. In the order of the block list. */
const struct vms_ram_block *vms_ram_image_block(const struct vms_ram_image *image, size_t index);
/** The block's index, SIZE_MAX when there is none of this name. */
size_t vms_ram_image_find(const struct vms_ram_image *image, struct vms_slice name);

/** What came for a block, in target pages. */
struct vms_ram_stats {
    uint64_t normal;
    uint64_t zero;
    uint64_t xbzrle;
    uint64_t compressed;
    uint64_t multifd_normal;
    uint64_t multifd_zero;
    uint64_t mapped;     /* present in a mapped-ram bitmap */
    uint64_t duplicates; /* stored blocks: pages that came when content for them had come before */
    uint64_t discarded_bytes; /* POSTCOPY_RAM_DISCARD, bytes */
};

/** Sum over the channels. Not while a channel is being loaded by another thread. */
struct vms_ram_stats vms_ram_image_stats(const struct vms_ram_image *image, size_t index);

/**
 * A channel of the image. number is only for messages. NULL and *err (NO_MEMORY) on failure. Any
 * thread may call it. Its statistics stay in the image when it is freed.
 */
struct vms_ram_channel *vms_ram_channel_new(struct vms_ram_image *image, uint32_t number,
                                            struct vms_error *err);
void vms_ram_channel_free(struct vms_ram_channel *channel);

/** True for the records that a channel acts on; all others it answers with VMS_WANT_DISCARD. */
bool vms_ram_channel_takes(const struct vms_record *record);

/**
 * The channel as a sink of its own, and its members for a sink that passes the records on which
 * vms_ram_channel_takes(): same contracts as in pump.h. A guessed record is refused: DST_GUESSED.
 * Errors carry RAM-*, XBZ-*, MFD-*, MAP-* codes; what was stored before one stays.
 */
struct vms_pump_sink vms_ram_channel_sink(struct vms_ram_channel *channel);
extern const struct vms_pump_sink_ops vms_ram_channel_ops; /* ctx: struct vms_ram_channel * */

/**
 * Where pages go instead of memory, for postcopy: userfaultfd places whole pages. block is the
 * image's, offset in bytes; page is one target page, or empty for a zero page. Called once for each
 * page, in the order received, before the next record. DISCARD and mapped-ram are not given here.
 */
struct vms_ram_place {
    enum vms_code (*place)(void *ctx, const struct vms_ram_block *block, uint64_t offset,
                           struct vms_slice page, struct vms_error *err);
    void *ctx;
};
/** From the next record on; NULL: into memory again. *place outlives the channel. */
void vms_ram_channel_place(struct vms_ram_channel *channel, const struct vms_ram_place *place);

/**
 * Zeroes a range of a block, giving its memory back (DISCARD; also for the caller). start and
 * length in bytes, whole target pages, inside the block: RAM_OFFSET otherwise.
 */
enum vms_code vms_ram_image_discard(struct vms_ram_image *image, size_t index, uint64_t start,
                                    uint64_t length, struct vms_error *err);

/**
 * Which target pages of a stored block content or a zero page came for, since the last discard: bit
 * i % 64 of bits[i / 64], for every page; words past the last page are 0. Not while a channel is
 * being loaded.
 */
void vms_ram_image_arrived(const struct vms_ram_image *image, size_t index, uint64_t *bits);

/**
 * Before the first block: with FILES memory is kept as with MEMORY, and vms_ram_image_save() writes
 * the files; userfaultfd serves no files. Nothing to do for other stores.
 */
void vms_ram_image_defer_files(struct vms_ram_image *image);
/** Writes the deferred files, sparse. IO. */
enum vms_code vms_ram_image_save(const struct vms_ram_image *image, struct vms_error *err);

enum {
    VMS_RAM_FILE_NAME_MAX = 3 * VMS_NAME_MAX + 1,
};
/**
 * The file name of a block: '/', '%', control bytes and bytes from 0x7f on become %XX, the names
 * "." and ".." too; no two blocks have the same. out takes VMS_RAM_FILE_NAME_MAX bytes,
 * NUL-terminated. False when the name is empty or longer than VMS_NAME_MAX.
 */
bool vms_ram_file_name(struct vms_slice name, char *out);

#endif
