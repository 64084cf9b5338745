/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_RAM_POSTCOPY_INTERNAL_H
#define REFERENCE_DST_RAM_POSTCOPY_INTERNAL_H

#include "host/uffd.h"
#include "reference-dst/devices/ram_postcopy.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 *   ram_postcopy.c         life, memory before listen(), bitmaps
 *   ram_postcopy_fault.c   the fault thread, who waits, requests
 *   ram_postcopy_place.c   content comes, host pages become visible
 */

enum {
    PC_MAKING_MAX = 64, /* host pages in the making at a time: channels with one each */
};

struct pc_block {
    struct vms_guest_block map;
    bool minor;                /* filled through alias, else by copy */
    uint8_t *alias;            /* second mapping of minor memory */
    uint64_t unit;             /* host page, bytes */
    uint64_t units;            /* of them */
    uint32_t per_unit;         /* target pages in one */
    _Atomic uint64_t *arrived; /* one bit a target page */
    _Atomic uint64_t *shown;   /* one bit a host page */
};

/* A host page of several target pages that is not complete. */
struct pc_making {
    bool used;
    size_t block;
    uint64_t unit;
    uint32_t count;  /* target pages that are in */
    uint8_t *buffer; /* one host page; NULL: goes through the alias */
};

/* A host page that somebody waits for. */
struct pc_wait {
    size_t block;
    uint64_t unit;
    uint64_t since; /* ns */
};

struct dst_postcopy {
    struct dst_postcopy_config config;
    struct pc_block *blocks;
    uint8_t *zeros; /* one page of the largest mapping */
    uint64_t zeros_len;
    int fd;
    bool listening;
    struct vms_cancel *stop;
    pthread_t thread;

    _Atomic uint64_t missing; /* target pages */
    _Atomic uint64_t placed, zero, local, faults;

    pthread_mutex_t making_lock;
    struct pc_making making[PC_MAKING_MAX];

    pthread_mutex_t asking; /* held while request() is called: one order for all requests */
    atomic_bool paused;

    pthread_mutex_t lock;  /* of waits and the statistics below */
    struct pc_wait *waits; /* oldest first */
    _Atomic size_t wait_count;
    size_t wait_room;
    struct dst_postcopy_stats stats;
};

static inline bool pc_bit(const _Atomic uint64_t *bits, uint64_t i) {
    return atomic_load(&bits[i / 64]) >> (i % 64) & 1;
}
/* True when it was set before. */
static inline bool pc_set(_Atomic uint64_t *bits, uint64_t i) {
    uint64_t bit = UINT64_C(1) << (i % 64);
    return atomic_fetch_or(&bits[i / 64], bit) & bit;
}
static inline void pc_clear(_Atomic uint64_t *bits, uint64_t i) {
    atomic_fetch_and(&bits[i / 64], ~(UINT64_C(1) << (i % 64)));
}

uint64_t pc_now(void);

/* ram_postcopy.c: gives memory back, so that it faults again. */
enum vms_code pc_empty(const struct pc_block *b, uint64_t start, uint64_t length,
                       struct vms_error *err);

/* ram_postcopy_fault.c */
void *pc_fault_thread(void *p);
/* The host page has become visible: its latency counts, nobody waits for it any more. */
void pc_served(struct dst_postcopy *p, size_t block, uint64_t unit);

/* ram_postcopy_place.c: shows pages of the mapping that arrived earlier but are not mapped. */
enum vms_code pc_show_again(struct dst_postcopy *p, struct pc_block *b, uint8_t *page,
                            struct vms_error *err);
void pc_drop_making(struct dst_postcopy *p);

#endif
