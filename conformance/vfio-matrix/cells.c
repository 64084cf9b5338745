/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/cells.h"

#include <stdio.h>
#include <string.h>

#define V11_1 "pc-i440fx-11.1"
#define V11_0 "pc-i440fx-11.0"
#define V10_0 "pc-i440fx-10.0"

const struct vfm_end vfm_ends[VFM_ENDS] = {
    {"qemu-11.1", "11.1", VFM_NEW, V11_1},         {"qemu-11.1-legacy", "11.1", VFM_LEGACY, V11_0},
    {"qemu-10.0", "10.0", VFM_LEGACY, V10_0},      {"reference-new", NULL, VFM_NEW, V11_1},
    {"reference-legacy", NULL, VFM_LEGACY, V11_0}, {"reference-native", NULL, VFM_NATIVE, V11_1},
};

const struct vfm_set vfm_sets[VFM_SETS] = {
    {"none", 0, {{0}}},
    {"without-precopy", 1, {{false, 0}}},
    {"precopy", 1, {{true, 0}}},
    {"reinit", 1, {{true, 1}}},
    {"reinit-3", 1, {{true, 3}}},
    {"two", 2, {{true, 0}, {true, 0}}},
    {"mixed", 3, {{false, 0}, {true, 0}, {true, 1}}},
};

static bool is(const char *name, const char *text, size_t len) {
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

const struct vfm_end *vfm_end(const char *name, size_t len) {
    for (size_t i = 0; i < VFM_ENDS; i++)
        if (is(vfm_ends[i].name, name, len))
            return &vfm_ends[i];
    return NULL;
}

const struct vfm_set *vfm_set(const char *name, size_t len) {
    for (size_t i = 0; i < VFM_SETS; i++)
        if (is(vfm_sets[i].name, name, len))
            return &vfm_sets[i];
    return NULL;
}

struct vfm_cell vfm_cell(size_t n) {
    return (struct vfm_cell){
        .src = &vfm_ends[n / VFM_SETS / VFM_ENDS % VFM_ENDS],
        .dst = &vfm_ends[n / VFM_SETS % VFM_ENDS],
        .set = &vfm_sets[n % VFM_SETS],
    };
}

void vfm_cell_name(const struct vfm_cell *cell, char *out, size_t size) {
    (void)snprintf(out, size, "%s/%s/%s", cell->src->name, cell->dst->name, cell->set->name);
}

const char *vfm_machine(const struct vfm_cell *cell) {
    const char *a = cell->src->machine, *b = cell->dst->machine;
    return strcmp(a, b) < 0 ? a : b; /* their versions have two digits, and one */
}

bool vfm_is_forced(const struct vfm_cell *cell, const struct vfm_end *end) {
    bool legacy = strcmp(vfm_machine(cell), V11_1) != 0;
    return end->ack != VFM_NATIVE && legacy != (end->ack == VFM_LEGACY);
}
