/* SPDX-License-Identifier: MIT */
#ifndef VFIO_SIM_H
#define VFIO_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A simulated VFIO migration device: what a kernel driver of the v2 migration protocol does, as a
 * pure state machine (include/uapi/linux/vfio.h is the contract). No system call, no clock: the
 * caller says what time it is, in nanoseconds, and waits as long as it is told. What the device
 * saves is a pattern that tells device, generation and offset; what is loaded is checked against
 * it. README.md beside this file describes the text that describes a device.
 *
 * Functions of the device return 0 (or a count) or a negative errno, as a driver does.
 */
enum vfs_state { /* enum vfio_device_mig_state */
    VFS_ERROR,
    VFS_STOP,
    VFS_RUNNING,
    VFS_STOP_COPY,
    VFS_RESUMING,
    VFS_RUNNING_P2P,
    VFS_PRE_COPY,
    VFS_PRE_COPY_P2P,
    VFS_STATES,
};

enum { /* VFIO_DEVICE_FEATURE_MIGRATION */
    VFS_FLAG_STOP_COPY = 1,
    VFS_FLAG_P2P = 2,
    VFS_FLAG_PRE_COPY = 4,
    VFS_INFO_REINIT = 1, /* flags of VFIO_MIG_GET_PRECOPY_INFO */
};

enum {
    VFS_NAME_MAX = 31,
    VFS_REINITS_MAX = 8,
    VFS_FAULTS_MAX = 16,
    VFS_RANGES_MAX = 256, /* of DMA logging */
    VFS_HEADER = 48,      /* of a block of the stream: bytes */
    VFS_BLOCK = 4096,
    VFS_BLOCK_MAX = VFS_BLOCK + VFS_HEADER, /* the last one of its kind takes a short rest along */
};

/** What the bytes of the stream are for; they are read in this order. */
enum vfs_class {
    VFS_INITIAL,
    VFS_DIRTY,
    VFS_LAST, /* stop-copy data */
    VFS_CLASSES,
};

enum vfs_moment {
    VFS_AT_TIME,  /* value: ns after PRE_COPY was entered */
    VFS_AT_READ,  /* value: bytes of the stream that were read */
    VFS_AT_QUERY, /* value: the number of a VFIO_MIG_GET_PRECOPY_INFO, from 1 */
    VFS_AT_DRAIN, /* the last initial byte was read */
    VFS_AT_P2P,   /* PRE_COPY_P2P is entered, or STOP_COPY where there is none */
    VFS_AT_LAST,  /* a second query in a row, neither data read nor its size asked between them: the
                     last look of a VMM that is about to stop the device */
    VFS_MOMENTS,
};

/** The device makes initial data anew. */
struct vfs_reinit {
    enum vfs_moment moment;
    uint64_t value;
    uint64_t bytes;  /* of new initial data; may be 0 */
    bool discard;    /* unread initial data is dropped, else it stays */
    bool sticky;     /* the flag is reported until the next read, not once */
    uint32_t times;  /* that it happens, at value, 2 value, 3 value, … */
    uint32_t so_far; /* the device's own count */
};

enum vfs_op {
    VFS_OP_SET, /* entering the state */
    VFS_OP_READ,
    VFS_OP_WRITE,
    VFS_OP_INFO,
    VFS_OP_SIZE,
    VFS_OP_REPORT, /* of DMA logging */
    VFS_OP_RESET,
    VFS_OPS,
};

enum vfs_fault_kind {
    VFS_FAIL,  /* the call fails with the errno; the state stays as it was */
    VFS_BREAK, /* that, and the device is in ERROR */
    VFS_STUCK, /* as FAIL, and every further change of state and RESET fail, too */
    VFS_SHORT, /* the stream ends before its last block; of SIZE and INFO: half of the truth */
    VFS_LONG,  /* the stream goes on after its last block; of SIZE and INFO: twice the truth */
    VFS_FLIP,  /* one bit of the stream is another */
    VFS_FAULT_KINDS,
};

struct vfs_fault {
    enum vfs_op op;
    enum vfs_state state; /* VFS_STATES: in any */
    enum vfs_fault_kind kind;
    int error;       /* errno */
    uint64_t after;  /* bytes of the stream that pass before */
    uint32_t times;  /* that it happens; 0: always */
    uint32_t so_far; /* the device's own count */
};

/** A device, as its text describes it. Sizes in bytes, rates in bytes a second, costs in ns. */
struct vfs_description {
    char name[VFS_NAME_MAX + 1]; /* in the pattern: a stream loads into a device of this name */
    char log[200];               /* path of the log; empty: $VFIO_SIM_LOG */
    uint64_t seed;
    bool p2p, precopy, reinit, data_size, dma_log;
    bool iommu_log; /* the legacy container logs its writes: VFIO_IOMMU_DIRTY_PAGES */
    bool trace;     /* the log has every call, not only what changes */
    uint64_t initial, dirty, dirty_rate, dirty_max, stop;
    bool reinit_to_dirty;  /* without the opt-in new data is dirty data, else stop-copy data */
    uint64_t read_rate;    /* of the data fd, 0: no limit */
    uint64_t load_cost[3]; /* a MiB, at the destination, by class */
    uint64_t state_cost[VFS_STATES];       /* of entering the state */
    uint64_t dma_rate;                     /* pages of 4 KiB a second that the device writes */
    uint64_t dma_first, dma_pages;         /* where: IOVA, number; they are written in turn */
    uint16_t vendor, product, config_size; /* of PCI; config_size 256 or 4096 */
    struct vfs_reinit reinits[VFS_REINITS_MAX];
    size_t reinit_count;
    struct vfs_fault faults[VFS_FAULTS_MAX];
    size_t fault_count;
};

/** 0, or -1 with line and reason in error. text need not be terminated. */
int vfs_parse(const char *text, size_t len, struct vfs_description *out, char *error, size_t size);
/** The first line of a device's text. */
#define VFS_MAGIC "vfio-sim device"

/** Where the log goes: one JSON object in a line, without newline. May be NULL. */
struct vfs_log {
    void (*line)(void *ctx, const char *line);
    void *ctx;
};

struct vfs_figures {
    uint64_t saved, loaded; /* bytes of the last session */
    uint64_t blocks;        /* loaded and found good */
    uint64_t reads, writes, queries, no_data, reinits, reports;
    bool complete; /* a whole stream was loaded and was good */
    bool bad;      /* what was loaded was not */
};

struct vfs_device; /* sim_device.h; a plain value of vfs_device_size() bytes */

size_t vfs_device_size(void);
/** In RUNNING. Copies the description; mem aligned as by malloc. */
struct vfs_device *vfs_device_init(void *mem, const struct vfs_description *description,
                                   const struct vfs_log *log);
/** Frees what DMA logging has allocated. */
void vfs_device_clear(struct vfs_device *device);

uint32_t vfs_flags(const struct vfs_device *device);
enum vfs_state vfs_device_state(const struct vfs_device *device);
const struct vfs_figures *vfs_device_figures(const struct vfs_device *device);
const struct vfs_description *vfs_device_description(const struct vfs_device *device);

/** *opened: a data session began, its fd is the answer; *busy: ns that it takes. */
int vfs_set_state(struct vfs_device *device, uint64_t now, uint32_t target, bool *opened,
                  uint64_t *busy);
int vfs_reset(struct vfs_device *device, uint64_t now);
/** -ENOMSG: nothing now, maybe later; 0: the end. */
int64_t vfs_read(struct vfs_device *device, uint64_t now, void *buf, size_t len, uint64_t *busy);
int64_t vfs_write(struct vfs_device *device, uint64_t now, const void *buf, size_t len,
                  uint64_t *busy);
/** VFIO_MIG_GET_PRECOPY_INFO. flags: in and out, an echo without opt-in. */
int vfs_info(struct vfs_device *device, uint64_t now, uint32_t *flags, uint64_t *initial,
             uint64_t *dirty);
int vfs_data_size(struct vfs_device *device, uint64_t now, uint64_t *bytes);
/** VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 */
int vfs_opt_in(struct vfs_device *device, uint64_t now);

/* sim_dma.c */
struct vfs_range {
    uint64_t first, length; /* IOVA, bytes */
};
/** Called for every page that the device writes. May be NULL. */
typedef void vfs_dma_write(void *ctx, uint64_t iova, uint64_t length);
void vfs_dma_hook(struct vfs_device *device, vfs_dma_write *write, void *ctx);
int vfs_log_start(struct vfs_device *device, uint64_t now, uint64_t *page_size,
                  const struct vfs_range *ranges, size_t count);
int vfs_log_stop(struct vfs_device *device, uint64_t now);
/** Sets a bit for every page of page_size that was written, and forgets it. */
int vfs_log_report(struct vfs_device *device, uint64_t now, uint64_t iova, uint64_t length,
                   uint64_t page_size, uint64_t *bitmap);

/** The same by the container: for a device with iommu_log, and without dma_log. */
bool vfs_iommu_logs(const struct vfs_device *device);
int vfs_iommu_log_start(struct vfs_device *device, uint64_t now, const struct vfs_range *ranges,
                        size_t count);
void vfs_iommu_log_stop(struct vfs_device *device, uint64_t now);
int vfs_iommu_log_report(struct vfs_device *device, uint64_t now, uint64_t iova, uint64_t length,
                         uint64_t *bitmap);

/* sim_states.c */
/** The next state on the way, as vfio_mig_get_next_state(); VFS_ERROR: no way. */
enum vfs_state vfs_next_state(enum vfs_state from, uint32_t target, uint32_t flags);
bool vfs_has_state(uint32_t state, uint32_t flags);
/** "PRE_COPY", …; "?" for no state. */
const char *vfs_state_name(uint32_t state);
/** Lower case with '-', as texts have it; VFS_STATES when there is none. */
enum vfs_state vfs_state_parse(const char *word);

#endif
