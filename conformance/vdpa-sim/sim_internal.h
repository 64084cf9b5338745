/* SPDX-License-Identifier: MIT */
#ifndef VDPA_SIM_INTERNAL_H
#define VDPA_SIM_INTERNAL_H

#include "conformance/vdpa-sim/sim.h"

/* sim_text.c: the description   sim_device.c: the device   sim_calls.c: ioctls   sim_iotlb.c: maps
 * sim_ring.c: virtqueues
 */

struct vds_device {
    struct vds_description d;
    struct vds_world world;
    struct vds_figures figures;
    struct vds_net net;
    uint64_t features, backend; /* agreed on */
    uint8_t status;
    uint8_t config[VDS_CONFIG];
    bool owned, suspended, broken;
    bool lost; /* what is mapped was forgotten by a reset */
    bool in_batch;
    uint64_t took; /* ns, by commands */
    uint32_t batch_space;
    struct vds_ring rings[VDS_QUEUES_MAX];
    uint32_t group_space[VDS_GROUPS_MAX];
    struct vds_map *maps; /* sorted by space and iova */
    size_t room;
};

/** The calls that are answered, messages of the IOTLB included. */
struct vds_call {
    const char *name;
    unsigned long request; /* 0: a message */
    uint8_t message;
    bool owner; /* only the owner may */
    bool quiet; /* asks only: in the log with trace */
    int (*run)(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy);
};
extern const struct vds_call vds_calls[];
extern const size_t vds_call_count;

/** A line of the log: t, device, event, and members in JSON, or NULL. */
void vds_note(struct vds_device *d, uint64_t now, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* sim_calls.c */
void vds_reset(struct vds_device *d);

/* sim_iotlb.c */
int vds_update(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy);
int vds_invalidate(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy);
int vds_batch_begin(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy);
int vds_batch_end(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy);
/** The device itself accesses memory; false: some of it is not mapped. */
bool vds_dma(struct vds_device *d, uint32_t space, uint64_t iova, void *buf, size_t len,
             bool write);

#endif
