/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_BANDWIDTH_H
#define REFERENCE_SRC_BANDWIDTH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SRC_WINDOW_NS = 100 * 1000 * 1000,
    SRC_WINDOWS = 4,      /* that count */
    SRC_LITTLE = 1 << 20, /* bytes: with less no window raises what was measured */
    SRC_NS = 1000 * 1000 * 1000,
};

/** What the link carries, and how much of it may be used (ENG-18, ENG-19). A plain value. */
struct src_bandwidth {
    uint64_t limit;                /* bytes a second; 0: none */
    int64_t tokens;                /* bytes that may leave now; below 0: sent in advance */
    uint64_t filled;               /* ns, when tokens was right */
    uint64_t since;                /* ns, the window's begin */
    uint64_t bytes;                /* sent in the window */
    uint64_t idle;                 /* ns of the window in which there was nothing to send */
    uint64_t resting;              /* since when there has been nothing to send; 0: there is */
    uint64_t windows[SRC_WINDOWS]; /* bytes a second, the last ones; 0: not yet */
    unsigned next;                 /* of them */
    uint64_t measured;             /* the least of them; 0: not yet */
};

void src_bandwidth_init(struct src_bandwidth *b, uint64_t limit, uint64_t now_ns);
/** bytes were given to the wire, left have left this machine meanwhile. */
void src_bandwidth_sent(struct src_bandwidth *b, uint64_t now_ns, uint64_t bytes, uint64_t left);
/** From now on there is nothing to send, until one of the other calls. */
void src_bandwidth_idle(struct src_bandwidth *b, uint64_t now_ns);
/** Closes the window when it is over: measured. */
void src_bandwidth_measure(struct src_bandwidth *b, uint64_t now_ns);
/** Nanoseconds until bytes may leave again; 0: now. */
uint64_t src_bandwidth_delay(struct src_bandwidth *b, uint64_t now_ns);
/** Bytes that go through in ns at so many bytes a second; UINT64_MAX when that is more. */
uint64_t src_bandwidth_bytes(uint64_t per_second, uint64_t ns);
/** Nanoseconds that bytes take; UINT64_MAX when the bandwidth is 0 or it is more. */
uint64_t src_bandwidth_ns(uint64_t per_second, uint64_t bytes);

#endif
