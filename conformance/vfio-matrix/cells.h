/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_MATRIX_CELLS_H
#define CONFORMANCE_VFIO_MATRIX_CELLS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * The matrix of switchover acknowledgement: who sends, who receives, with which devices. Pure. What
 * has to happen in a cell stands in spec/06-vfio.md (table.h).
 */
enum vfm_ack {
    VFM_NEW,
    VFM_LEGACY,
    VFM_NATIVE,
};

struct vfm_end {
    const char *name;
    const char *qemu; /* version of the peer; NULL: reference-src or reference-dst */
    enum vfm_ack ack;
    const char *machine; /* the newest that it has, or that its mechanism belongs to */
};

enum {
    VFM_ENDS = 6,
    VFM_SETS = 7,
    VFM_DEVICES_MAX = 4,
};

struct vfm_device {
    bool precopy;
    unsigned reinits;
};

struct vfm_set {
    const char *name;
    size_t count;
    struct vfm_device device[VFM_DEVICES_MAX];
};

struct vfm_cell {
    const struct vfm_end *src, *dst;
    const struct vfm_set *set;
};

extern const struct vfm_end vfm_ends[VFM_ENDS];
extern const struct vfm_set vfm_sets[VFM_SETS];

/** By name; NULL: there is none. */
const struct vfm_end *vfm_end(const char *name, size_t len);
const struct vfm_set *vfm_set(const char *name, size_t len);

/** The n-th cell of all VFM_ENDS × VFM_ENDS × VFM_SETS. */
struct vfm_cell vfm_cell(size_t n);
/** "SOURCE/DESTINATION/DEVICES"; out: at least 64 bytes. */
void vfm_cell_name(const struct vfm_cell *cell, char *out, size_t size);
/** The machine type of both ends: the older one's. */
const char *vfm_machine(const struct vfm_cell *cell);
/** Whether an end has to be told its mechanism, as the machine type would give it the other. */
bool vfm_is_forced(const struct vfm_cell *cell, const struct vfm_end *end);

#endif
