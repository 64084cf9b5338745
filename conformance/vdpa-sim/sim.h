/* SPDX-License-Identifier: MIT */
#ifndef VDPA_SIM_H
#define VDPA_SIM_H

#include "codec/host/vdpa_abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A simulated vDPA network card: what the kernel shows of one as /dev/vhost-vdpa-N
 * (include/uapi/linux/vhost.h), its maps, its control queue, as a pure state machine. No system
 * call, no clock: the caller says what time it is, in nanoseconds, waits as long as it is told, and
 * lends it memory. README.md beside this file describes the text that describes a device.
 *
 * Functions return 0 (or a count) or a negative errno, as the kernel does.
 */
enum {
    VDS_NAME_MAX = 31,
    VDS_FAULTS_MAX = 16,
    VDS_QUEUES_MAX = 129,
    VDS_GROUPS_MAX = 4,
    VDS_SPACES_MAX = 8,
    VDS_RING_MAX = 1024,
    VDS_CONFIG = 24, /* bytes: mac, status, max_virtqueue_pairs, mtu, speed, duplex, … */
};

/** A call by its number in the table of calls: "MAP", "SET_STATUS", …; a fault names one. */
struct vds_fault {
    uint32_t call;
    int error;       /* errno */
    uint64_t after;  /* calls of that kind that go well before */
    uint64_t times;  /* that it happens; 0: always */
    uint64_t so_far; /* the device's own count of these calls */
};

/** A device, as its text describes it. Costs in ns. */
struct vds_description {
    char name[VDS_NAME_MAX + 1];
    char log[200]; /* path; empty: $VDPA_SIM_LOG */
    uint64_t features, backend;
    uint64_t pairs;                 /* of data queues */
    bool control;                   /* a control queue, the last one */
    uint64_t ring_size;             /* entries */
    uint64_t groups, spaces;        /* 2: the control queue in a group of its own */
    uint64_t iova_first, iova_last; /* both included */
    uint8_t mac[6];
    uint64_t page_cost;    /* of mapping 4 KiB */
    uint64_t call_cost;    /* of a change of maps: each one, or each batch */
    uint64_t ring_cost;    /* of a ring that is made, at DRIVER_OK */
    uint64_t base_cost;    /* of a ring's new base while it is suspended */
    uint64_t command_cost; /* of a command on the control queue */
    uint64_t max_maps;     /* of all address spaces; 0: no limit */
    bool pin;              /* what is mapped counts against RLIMIT_MEMLOCK */
    bool forgets;          /* a reset without IOTLB_PERSIST loses what is mapped */
    bool echo;             /* what is transmitted is received */
    bool trace;            /* the log has every call, not only what changes */
    struct vds_fault faults[VDS_FAULTS_MAX];
    size_t fault_count;
};

#define VDS_MAGIC "vdpa-sim device"
/** 0, or -1 with line and reason in error. text need not be terminated. */
int vds_parse(const char *text, size_t len, struct vds_description *out, char *error, size_t size);

/** What the device borrows. line may be NULL. */
struct vds_world {
    /** Reads or writes memory of the program; false: there is none. */
    bool (*memory)(void *ctx, uint64_t address, void *buf, size_t len, bool write);
    /** One JSON object, without newline. */
    void (*line)(void *ctx, const char *line);
    uint64_t (*memlock)(void *ctx); /* RLIMIT_MEMLOCK now, bytes */
    void *ctx;
};

struct vds_map {
    uint64_t iova, length, address;
    uint32_t space;
    uint32_t perm; /* VHOST_ACCESS_… */
};

/** What a driver has set by the control queue, and what was refused. */
struct vds_net {
    uint8_t mac[6];
    uint16_t pairs;
    uint8_t rx[6];       /* promisc, allmulti, alluni, nomulti, nouni, nobcast */
    uint8_t vlans[512];  /* bit n: VLAN n */
    uint64_t table_hash; /* FNV-1a of the last MAC table as it came; 0: none */
    uint32_t commands, refused;
};

struct vds_ring {
    uint32_t size, base;
    uint64_t desc, avail, used; /* IOVA */
    bool enabled, has_address;
    int kick, call; /* -1: none */
};

struct vds_figures {
    uint64_t updates, invalidates, batches; /* messages */
    uint64_t mapped, maps, most_mapped;     /* bytes; maps */
    uint64_t resets, suspends, resumes;
    uint64_t stray; /* accesses to what is not mapped */
};

struct vds_device;
/** NULL: no memory. Copies the description. */
struct vds_device *vds_new(const struct vds_description *description,
                           const struct vds_world *world);
void vds_free(struct vds_device *device);
const struct vds_description *vds_description(const struct vds_device *device);
const struct vds_figures *vds_figures(const struct vds_device *device);
const struct vds_net *vds_net(const struct vds_device *device);
uint8_t vds_status(const struct vds_device *device);
/** DRIVER_OK, and not suspended. */
bool vds_runs(const struct vds_device *device);
uint32_t vds_queues(const struct vds_device *device);
const struct vds_ring *vds_ring(const struct vds_device *device, uint32_t queue);

/** *busy: ns that it takes. arg as of ioctl. */
int vds_ioctl(struct vds_device *device, uint64_t now, unsigned long request, void *arg,
              uint64_t *busy);
/** A vhost_msg_v2. */
int64_t vds_write(struct vds_device *device, uint64_t now, const void *buf, size_t len,
                  uint64_t *busy);
/** Somebody kicked the queue. True: its call is to be signalled; with echo that before it, too. */
bool vds_kick(struct vds_device *device, uint64_t now, uint32_t queue);
/** ns that commands have taken since the last question. */
uint64_t vds_took(struct vds_device *device);

/** Maps by address space and IOVA; count is in the figures. Valid until the next call. */
const struct vds_map *vds_maps(const struct vds_device *device);

/* ---- ioctls of the simulation's own, for tests ---- */

struct vds_query {
    struct vds_map *maps; /* in: room for `room` of them, may be NULL */
    uint64_t room;
    struct vds_figures figures; /* out */
    struct vds_net net;
};
#define VDS_QUERY _IOWR(VHOST_VIRTIO, 0xF0, struct vds_query)

#endif
