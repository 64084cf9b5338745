/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_NATIVE_LINK_ROOMS_H
#define VMSTREAM_HOST_NATIVE_LINK_ROOMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LINK_ROOM = 256 * 1024, /* bytes that are sealed before they are written: while the
                               processor's cache has them */
    LINK_ROOMS = 16,        /* what ACKs may be behind: two huge pages */
};

/*
 * Where a channel's frames are sealed, before they are written. A full room may be lent to the
 * kernel; it is then not written to until the peer has acknowledged what stands there (RSM-15).
 * When all are lent the first, which never is, goes on by copies: nobody waits for a room.
 */
struct link_rooms {
    uint8_t *memory; /* LINK_ROOMS rooms; touched only as far as acknowledgements make it needed */
    uint8_t *at;     /* the room that is being filled */
    size_t used;     /* bytes of it */
    uint64_t until[LINK_ROOMS]; /* free when so many frames are acknowledged; 0: not lent */
};

/* Once; again is nothing. False: no memory. */
bool link_rooms_make(struct link_rooms *rooms);
/* What is lent the kernel keeps. */
void link_rooms_free(struct link_rooms *rooms);
bool link_rooms_may_lend(const struct link_rooms *rooms);
/* The room being filled is lent: behind is the sequence behind the last frame with octets there. */
void link_rooms_lent(struct link_rooms *rooms, uint64_t behind);
/* The room to fill now, acked frames having been acknowledged. */
void link_rooms_next(struct link_rooms *rooms, uint64_t acked);

#endif
