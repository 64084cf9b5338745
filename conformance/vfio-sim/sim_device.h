/* SPDX-License-Identifier: MIT */
#ifndef VFIO_SIM_DEVICE_H
#define VFIO_SIM_DEVICE_H

#include "sim.h"

/** One block of the stream: VFS_HEADER bytes, then payload that follows from them. */
struct vfs_block {
    uint64_t device; /* hash of the name */
    uint64_t seed;
    uint64_t offset; /* in the stream */
    uint32_t length; /* with the header */
    uint32_t generation;
    enum vfs_class class_;
    bool end; /* nothing follows */
};

/** sim_pattern.c. out: block->length bytes. */
void vfs_block_make(const struct vfs_block *block, uint8_t *out);
/** NULL when in[0, VFS_HEADER) is the header of a block; else why not. */
const char *vfs_block_header(const uint8_t *in, struct vfs_block *out);
/** Whether in[0, block->length) is the block, to its last byte. */
bool vfs_block_good(const struct vfs_block *block, const uint8_t *in);
uint64_t vfs_name_hash(const char *name);

/** The saving half: what is left, by class, and the block that is being read. */
struct vfs_saver {
    uint64_t left[VFS_CLASSES]; /* bytes that no block was made of yet */
    uint8_t block[VFS_BLOCK_MAX];
    uint32_t length, at; /* of that block; read up to here */
    enum vfs_class class_;
    uint64_t offset;     /* of the stream, read */
    uint64_t made;       /* of the stream, in blocks */
    uint32_t generation; /* counts reinits */
    uint64_t stopped;    /* when it was first read in STOP_COPY; 0: not yet */
    bool ended;
};

/** The loading half: the block that is being collected. */
struct vfs_loader {
    uint8_t block[VFS_BLOCK_MAX];
    uint32_t have, want;
    uint64_t offset; /* of the stream, blocks that were good */
    struct vfs_block header;
    uint32_t generation;
    uint64_t last; /* when the last write began */
    bool ended;
    const char *bad; /* why; NULL: good so far */
};

struct vfs_dma {
    bool on;
    uint64_t started;   /* ns */
    uint64_t written;   /* pages since */
    uint64_t page_size; /* of the log */
    struct vfs_range ranges[VFS_RANGES_MAX];
    uint64_t *bits[VFS_RANGES_MAX];
    size_t range_count;
    vfs_dma_write *write;
    void *ctx;
};

enum vfs_session {
    VFS_NO_SESSION,
    VFS_SAVING,
    VFS_LOADING,
};

struct vfs_device {
    struct vfs_description d;
    struct vfs_log log;
    struct vfs_figures figures;
    enum vfs_state state;
    enum vfs_session session;
    bool v2;     /* opted in */
    bool flag;   /* REINIT is to be reported */
    bool sticky; /* until the next read, once it was reported */
    bool told;   /* it was reported */
    bool stuck;
    uint64_t began;       /* ns: PRE_COPY */
    uint64_t dirty_made;  /* bytes of dirty data since */
    uint32_t queries;     /* in a row */
    uint64_t load_rest;   /* ns * MiB that was not charged yet */
    uint64_t last_logged; /* what the last query said, not to log it twice */
    struct vfs_saver saver;
    struct vfs_loader loader;
    struct vfs_dma dma;
};

/* sim_device.c */
void vfs_note(struct vfs_device *device, uint64_t now, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/** Whether a fault applies here and now; counts it. */
struct vfs_fault *vfs_fault_of(struct vfs_device *device, enum vfs_op op, enum vfs_state state,
                               uint64_t bytes);
/** Does what a fault of kind FAIL, BREAK or STUCK does. The negative errno. */
int vfs_fail(struct vfs_device *device, uint64_t now, const struct vfs_fault *fault);

/* sim_save.c */
void vfs_save_begin(struct vfs_device *device, uint64_t now);
void vfs_save_end(struct vfs_device *device, uint64_t now);
/** Time passes: dirty data, reinits. */
void vfs_advance(struct vfs_device *device, uint64_t now);
void vfs_reinit_at(struct vfs_device *device, uint64_t now, enum vfs_moment moment, uint64_t value);
/** Not read yet, of a class. */
uint64_t vfs_unread(const struct vfs_device *device, enum vfs_class class_);

/* sim_load.c */
void vfs_load_begin(struct vfs_device *device, uint64_t now);
/** The verdict: 0, or -EINVAL: the stream was not whole, or not good. */
int vfs_load_end(struct vfs_device *device, uint64_t now);

/* sim_dma.c */
void vfs_dma_advance(struct vfs_device *device, uint64_t now);

#endif
