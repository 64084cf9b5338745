/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_CONVERGE_H
#define REFERENCE_SRC_CONVERGE_H

#include <stdint.h>

/** Auto-converge (ENG-20): slows the virtual CPUs when they write faster than the link carries. */
struct src_converge {
    uint64_t since;      /* ns, the last exact question */
    uint64_t sent;       /* bytes since then */
    uint64_t dirty_rate; /* bytes a second; of the last period */
    unsigned hot;        /* periods in a row that brought back half of what was sent, or more */
    unsigned throttle;   /* percent */
};

enum {
    SRC_THROTTLE_FIRST = 20,
    SRC_THROTTLE_STEP = 10,
    SRC_THROTTLE_MOST = 99,
    SRC_THROTTLE_PATIENCE = 2, /* hot periods before it grows */
};

/** A period is over: dirtied bytes were added to what is pending. Sets throttle. */
void src_converge_period(struct src_converge *c, uint64_t now_ns, uint64_t dirtied);

#endif
