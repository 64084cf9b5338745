/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_VECTORS_H
#define VMSTREAM_CONFORMANCE_VECTORS_H

#include "conformance/vectors/build.h"

/* The vectors of one area, in order. Everything is made anew, and always alike. */
struct area {
    const char *name; /* of its JSON file */
    struct vb **vectors;
    size_t count, cap;
};

/* Begins a vector of the area; its id is the clause and a number. */
struct vb *vector(struct area *area, const char *kind, const char *clause, const char *comment);

typedef void make_area(struct area *area);
make_area make_hdr, make_cfg, make_sec, make_end_tail, make_cmd, make_pkg, make_rec, make_ram,
    make_xbz, make_map, make_mfd, make_pre, make_dbm, make_vfio, make_rp, make_lim;

enum {
    AREA_COUNT = 16,
};
/* Makes area number i, 0 to AREA_COUNT - 1. */
struct area area_make(unsigned i);
void area_free(struct area *area);

/* Writes folder/NAME.json for every area. Returns 0, or -1 with errno set. */
int write_vectors(const char *folder);

#endif
