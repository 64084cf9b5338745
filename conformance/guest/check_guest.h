// SPDX-License-Identifier: MIT
//
// Checks an image of a machine's main memory against what the guest says it has written there.
#ifndef VMS_CHECK_GUEST_H
#define VMS_CHECK_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest_pattern.h"

/// What vms_check_guest found. Every page of the region is in exactly one of good, torn and bad.
struct vms_guest_report {
    struct vms_guest_params params;
    uint32_t beat;      ///< heartbeats the guest has begun
    uint32_t writes;    ///< pages it has written
    uint32_t inflight;  ///< the page it was writing, or VMS_GUEST_NO_PAGE
    uint32_t self_bad;  ///< bad pages that the guest itself has seen
    uint32_t good;      ///< pages with exactly the content of their generation
    uint32_t zero;      ///< those of the good ones that are all zero
    uint32_t torn;      ///< 0 or 1: the page being written, new up to a word and old from there
    uint32_t bad;       ///< all others
    uint32_t first_bad; ///< lowest bad page, or VMS_GUEST_NO_PAGE
    uint32_t min_generation;
    uint32_t max_generation;
    char text[256]; ///< one line for people
};

/// Checks `ram`, `size` bytes of guest-physical memory from address 0, of a machine that is not
/// running. Returns 0 when all is right: each page has the content that the guest's table gives
/// for it (so an old copy of a page is found, too), the table's sum is the number of writes, and
/// the guest has seen no bad page itself. Otherwise -1; `report` is filled in either way.
int vms_check_guest(const void *ram, size_t size, struct vms_guest_report *report);

/// Fills `ram` as the guest has left it after its prefill, for machines without a processor.
/// Returns 0, or -1 when the region does not fit.
int vms_fill_guest(const struct vms_guest_params *params, void *ram, size_t size);

#endif
