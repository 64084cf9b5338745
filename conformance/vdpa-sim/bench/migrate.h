/* SPDX-License-Identifier: MIT */
#ifndef VDPA_BENCH_MIGRATE_H
#define VDPA_BENCH_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>
#include <vmstream/error.h>

/**
 * One migration of a guest with a network card between both halves of the reference endpoints' vDPA
 * devices, in one process, over simulated devices behind the real calls: sparse memory of any size,
 * costs of the destination's device as told, the guest's driver at work at both ends. Memory itself
 * does not travel, but for the card's block.
 */
struct bench_case {
    uint64_t gib;       /* of guest memory */
    const char *device; /* costs of the destination's device, a text of vdpa-sim */
    unsigned pairs;     /* of queues */
    bool late;          /* mapped when the source has stopped */
    bool single;        /* without batches */
    bool late_state;    /* all of the state at the end */
    unsigned vlans;     /* that the guest has set before */
    unsigned changes;   /* VLANs that it sets while the migration goes on */
};

struct bench_result {
    uint64_t map_ns;                  /* that the kernel was busy with maps */
    uint64_t ready_ns;                /* from the block list until the switchover may come */
    uint64_t downtime_ns;             /* from the stop of the CPUs until they run there */
    uint64_t early_bytes, last_bytes; /* of state */
    uint64_t maps, batches;
};

enum vms_code bench_migrate(const struct bench_case *what, struct bench_result *out,
                            struct vms_error *err);

#endif
