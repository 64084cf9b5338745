/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_SOURCE_H
#define VMSTREAM_HOST_SOURCE_H

#include <vmstream/error.h>
#include <vmstream/slice.h>

/** What a read from a source gave. */
enum vms_source_status {
    VMS_SOURCE_DATA,  /* *got is 1 or more, for a skip 0 or more */
    VMS_SOURCE_END,   /* no more bytes, ever */
    VMS_SOURCE_AGAIN, /* nothing now: a non-blocking source; poll it and run the pump again */
    VMS_SOURCE_ERROR, /* *err is filled: VMS_E_IO and the like */
};

/** Where the bytes of a channel come from. No member is optional. */
struct vms_source_ops {
    /**
     * Reads at least one byte into rooms[0], then rooms[1] and so on (count is 1 or more, no room
     * is empty); it may stop after any byte. *got: the bytes read.
     */
    enum vms_source_status (*read)(void *ctx, const struct vms_room *rooms, size_t count,
                                   size_t *got, struct vms_error *err);
    /**
     * Moves at most n bytes forward without reading them, never past the end of the data. *got: how
     * far. DATA with *got 0 means that this source cannot, and the pump reads and drops instead.
     */
    enum vms_source_status (*skip)(void *ctx, uint64_t n, uint64_t *got, struct vms_error *err);
    /**
     * True when no byte comes within ms milliseconds and the source is not known to be over either:
     * a connection that is silent. False when there is something to read, be it the end.
     */
    bool (*quiet)(void *ctx, int ms);
};

struct vms_source {
    const struct vms_source_ops *ops;
    void *ctx;      /* owned by the caller, outlives the pump */
    uint64_t total; /* bytes the source will give, UINT64_MAX when that is not known */
};

/** A source over a file descriptor: regular files are skipped by lseek, all else is read. */
struct vms_fd_source {
    int fd; /* owned by the caller */
    bool seekable;
};

/** Makes a source of fd from its current position on. *state outlives the source. */
struct vms_source vms_source_from_fd(struct vms_fd_source *state, int fd);

#endif
