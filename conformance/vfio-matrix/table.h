/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_VFIO_MATRIX_TABLE_H
#define CONFORMANCE_VFIO_MATRIX_TABLE_H

#include "conformance/vfio-matrix/run.h"

/**
 * What must happen in each cell: the table between the marks "vfio-matrix" of spec/06-vfio.md. The
 * first two columns name sources and destinations, the others are the sets of devices. An entry is
 *
 *     completes 2/2/1      INIT_DATA_SENT / requests / acknowledgements; "-": not to be known
 *     fails WORD 2/2/1     one end names WORD's text (second table, marks "vfio-matrix-errors")
 *     waits 2/2/1          also: waits WORD; both …, doubt …
 *     none                 there is no such migration; the row's reason stands behind the table
 *
 * Counts may be "N+": at least N, where the order of events is not settled.
 */
struct vfm_expect {
    bool exists;
    unsigned outcomes; /* bits, 1 << enum vfm_outcome */
    char word[32];     /* empty: no text is asked for */
    char text[96];     /* of the word */
    int count[3];      /* VFM_UNKNOWN: any */
    bool at_least[3];
};

struct vfm_table {
    struct vfm_expect cell[VFM_ENDS * VFM_ENDS * VFM_SETS]; /* as vfm_cell() counts */
};

/** 0, or -1: why has line and reason. Every cell must stand in it exactly once. */
int vfm_table_read(const char *path, struct vfm_table *out, char *why, size_t size);
/** Compares; why: what is otherwise. */
bool vfm_table_agrees(const struct vfm_expect *expect, const struct vfm_seen *seen, char *why,
                      size_t size);
/** As the table writes it. */
void vfm_expect_text(const struct vfm_expect *expect, char *out, size_t size);
void vfm_seen_text(const struct vfm_seen *seen, char *out, size_t size);

#endif
