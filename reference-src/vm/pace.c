/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <time.h>

enum {
    AHEAD = 1000000,   /* ns: sleeps are at least so long; until then operations come in bursts */
    BEHIND = 10000000, /* ns: what a virtual CPU may catch up */
    SLICE = 10000000,  /* ns: of it a throttled one sleeps a share */
};

uint64_t vm_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void vm_pace_begin(struct vm_pace *pace, uint64_t now) {
    *pace = (struct vm_pace){.next = now, .slice = now};
}

/* A throttled virtual CPU runs in a share of each slice, however fast it is, and earns that share
 * of the tokens, of which each operation costs one. */
uint64_t vm_pace_next(struct vm_pace *pace, uint64_t now, uint64_t rate, unsigned throttle) {
    uint64_t until = 0, run = (uint64_t)SLICE / 100 * (100 - throttle);
    if (now >= pace->slice + SLICE)
        pace->slice = now;
    if (throttle && now >= pace->slice + run)
        until = pace->slice + SLICE;
    if (!rate)
        return until;
    if (now > pace->next + BEHIND)
        pace->next = now - BEHIND;
    pace->next += UINT64_C(100000000000) / (rate * (100 - throttle));
    return pace->next > now + AHEAD && pace->next > until ? pace->next : until;
}
