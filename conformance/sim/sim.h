/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_SIM_H
#define CONFORMANCE_SIM_H

#include "reference-dst/engine/engine.h"
#include "reference-dst/engine/native.h"
#include "reference-src/engine/engine.h"

/**
 * Whole migrations of both engines in one process under virtual time: a network of settable
 * bandwidth and latency that loses, delays and cuts; guests that write; devices; journals; crashes.
 * A run follows from its configuration alone.
 */

/** What may go wrong; bits. */
enum sim_fault {
    SIM_FAULT_CUT = 1 << 0,     /* the connection is cut, at any time, some times */
    SIM_FAULT_LOSS = 1 << 1,    /* packets come late */
    SIM_FAULT_CRASH = 1 << 2,   /* an end dies; it starts again with its journal only */
    SIM_FAULT_FREEZE = 1 << 3,  /* an end stands still for a while */
    SIM_FAULT_JOURNAL = 1 << 4, /* a journal cannot be written, or only seems so */
    SIM_FAULT_LOCKS = 1 << 5,   /* storage locks are not given up, or not taken */
    SIM_FAULT_CANCEL = 1 << 6,  /* the operator cancels at any time */
    SIM_FAULT_DOUBLE = 1 << 7,  /* connections are made twice */
    SIM_FAULT_LOAD = 1 << 8,    /* the destination cannot load what came */
    SIM_FAULT_MEMORY = 1 << 9,  /* an end's program has no memory left for its next step */
    SIM_FAULT_HASTY = 1 << 10,  /* who is in doubt runs its guest at once, as a stock source does */
    SIM_FAULTS = 11,
    SIM_FAULT_ALL = (1 << 10) - 1, /* HASTY breaks the rules: by name only */
};
/** Name of bit i. Static text. */
const char *sim_fault_name(unsigned bit);

/** Mistakes that the simulation must find. */
enum sim_plant {
    SIM_PLANT_NONE,
    SIM_PLANT_RESUME,  /* the source runs its guest when the connection is cut behind COMMIT */
    SIM_PLANT_GRANT,   /* nobody waits for grants */
    SIM_PLANT_PAGE,    /* now and then a dirty page is forgotten */
    SIM_PLANT_JOURNAL, /* COMMIT is sent before COMMITTED is durable */
    SIM_PLANT_LOCKS,   /* locks are not given up */
    SIM_PLANTS,
};
const char *sim_plant_name(enum sim_plant plant);

/** A given scene instead of one from the seed. */
struct sim_scene {
    bool set;
    uint32_t pages;     /* of RAM, 4096 bytes each, at most 512 */
    uint32_t hot;       /* so many of them are written most */
    uint64_t bandwidth; /* bytes a second */
    uint64_t writes;    /* pages a second */
    uint32_t devices;   /* beside RAM, at most 3 */
    uint64_t initial;   /* bytes of initial data of each */
    uint64_t dirty;     /* bytes a second that each makes */
    uint64_t quantum;   /* bytes */
    uint64_t limit_ns;  /* for convergence */
};

struct sim_config {
    uint64_t seed;
    bool native;
    unsigned faults;
    enum src_scheduler_kind scheduler;
    enum sim_plant plant;
    bool trace;               /* every event to stderr */
    struct vms_slice choices; /* what chance says so long as they last, 2 octets a choice */
    struct sim_scene scene;
};

struct sim_result {
    bool ok;
    char why[160]; /* what was broken, when not ok */
    enum src_state src;
    enum src_owner owner;
    enum vms_code reason;
    bool postcopy;
    bool dst_runs, src_runs;
    bool src_crashed, dst_crashed;
    bool doubted;  /* the source was in doubt */
    bool window;   /* QEVM: the connection was lost between EOF and SHUT, both sides' doing well */
    bool both;     /* both guests ran; ok only for HASTY */
    bool resolved; /* the operator had to decide */
    bool lost;     /* nobody runs the guest, for a crash took it */
    uint64_t events;   /* handled */
    uint64_t ns;       /* virtual time */
    uint64_t share[4]; /* bytes that each device sent while the guest ran */
    uint64_t wait[4];  /* most bytes of others between two of its turns while it had data */
};

/** (state, event) cells of the engines that runs have passed through: of a state, bits of events.
 */
struct sim_coverage {
    uint64_t src[SRC_STATE_COUNT];
    uint64_t native[DST_N_STATE_COUNT];
    uint64_t qevm[DST_STATE_COUNT];
};
_Static_assert(SRC_EVENT_COUNT <= 64 && DST_NEV_COUNT <= 64 && DST_EVENT_COUNT <= 64, "bits");

/** Runs one migration. coverage may be NULL. */
void sim_run(const struct sim_config *config, struct sim_result *result,
             struct sim_coverage *coverage);

#endif
