/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_RECORDED_H
#define REFERENCE_SRC_RECORDED_H

#include "host/guest.h"

#include <vmstream/limits.h>
#include <vmstream/record.h>

/**
 * A recorded QEVM stream (--device-state FILE): the machine, its device sections and its RAM. With
 * these the source sends a guest that another VMM was running; a real QEMU runs it on.
 */
struct src_recorded_section {
    struct vms_rec_section about; /* idstr is owned by the recording */
    struct vms_slice bytes;
    bool early; /* in front of RAM's START */
};

struct src_recorded {
    struct vms_rec_configuration config; /* slices are owned by the recording */
    uint32_t ram_id;                     /* section id of RAM */
    struct src_recorded_section *sections;
    size_t section_count;
    struct vms_slice vmdesc; /* JSON; empty: the stream had none */
    struct vms_guest_block *blocks;
    size_t block_count;
};

/**
 * Reads a precopy stream on one channel, without compression. ram: blocks get memory with the
 * recorded content, whole huge pages of 2 MiB where huge is set and they fit; else blocks have no
 * memory. VMS_E_SRC_RECORDING when the stream holds what cannot be sent again; the decoder's
 * errors; VMS_E_CONNECT, VMS_E_NO_MEMORY. *out is the caller's: src_recorded_free().
 */
enum vms_code src_recorded_load(const char *path, const struct vms_limits *limits, bool ram,
                                bool huge, struct src_recorded **out, struct vms_error *err);
/** NULL is allowed. */
void src_recorded_free(struct src_recorded *recorded);

/**
 * A guest without virtual CPUs over the recorded memory, which lives longer. While it "runs" a
 * thread writes about pages_per_second pages: garbage, and some time later what was there. When it
 * is stopped all memory is as recorded: a write that dirty tracking misses leaves garbage at the
 * destination (SRC-4).
 */
struct src_replay;
enum vms_code src_replay_new(const struct src_recorded *recorded, uint32_t pages_per_second,
                             struct src_replay **out, struct vms_error *err);
const struct vms_guest *src_replay_guest(struct src_replay *replay);
/** Stops it. NULL is allowed. */
void src_replay_free(struct src_replay *replay);

#endif
