/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_SCHEDULER_H
#define REFERENCE_SRC_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Which device sends next, and how much (chapter SCH). Deficit round robin by bytes: no device with
 * pending data starves, whatever the others make. Pure, a plain value.
 */

/** What is left of a device. Bytes. */
struct src_pending {
    uint64_t initial;  /* that the destination must have before it may acknowledge */
    uint64_t precopy;  /* can be sent while the guest runs; with initial */
    uint64_t stop;     /* can be sent only when it is stopped */
    uint64_t postcopy; /* of precopy: can be sent after the guest has moved */
    uint64_t queued;   /* was given to the wire, and the destination may not have it yet */
    uint64_t fixed_ns; /* that its part of the downtime takes however little is left */
    /* Of the initial data: 1 at first, one more at each REINIT; 0: nothing is to be granted. */
    uint64_t generation;
    bool exact; /* asked exactly: not an estimate */
};

enum src_scheduler_kind {
    SRC_SCHEDULER_DRR,    /* the default */
    SRC_SCHEDULER_SERIAL, /* as QEMU before 9.0: the first device with data, until it has none */
    SRC_SCHEDULER_KINDS,
};

enum {
    SRC_SCHEDULER_DEVICES = 32,
};

struct src_scheduler {
    enum src_scheduler_kind kind;
    uint32_t count;
    uint64_t quantum;                      /* bytes a device gains in a turn */
    int64_t credit[SRC_SCHEDULER_DEVICES]; /* bytes it may still send; below 0: its debt */
    uint64_t left[SRC_SCHEDULER_DEVICES];  /* pending, last known */
    uint64_t sent[SRC_SCHEDULER_DEVICES];  /* bytes, in all */
    uint32_t turn;                         /* whose turn it is */
    uint64_t rounds;                       /* in which every device had its turn */
};

/** quantum: 0 for the default of 1 MiB. */
void src_scheduler_init(struct src_scheduler *scheduler, enum src_scheduler_kind kind,
                        uint32_t count, uint64_t quantum);
/** What a device has left, as it says. */
void src_scheduler_pending(struct src_scheduler *scheduler, uint32_t device, uint64_t bytes);
/**
 * Picks; again without sent() in between: the same. False: nobody has anything. *bytes: how much it
 * may send in a row, at least 1; it may send more by a batch, and owes that. *round_over: everybody
 * had a turn since it was last true.
 */
bool src_scheduler_next(struct src_scheduler *scheduler, uint32_t *device, uint64_t *bytes,
                        bool *round_over);
/** The device has sent so much; more: it has more to send now. */
void src_scheduler_sent(struct src_scheduler *scheduler, uint32_t device, uint64_t bytes,
                        bool more);

#endif
