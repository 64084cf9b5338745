/* SPDX-License-Identifier: MIT */
#include "host/vdpa_plan.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
    const struct vms_vdpa_region *x = a, *y = b;
    if (x->space != y->space)
        return x->space < y->space ? -1 : 1;
    return x->iova < y->iova ? -1 : x->iova > y->iova;
}

void vms_vdpa_list_clear(struct vms_vdpa_list *list) {
    free(list->at);
    *list = (struct vms_vdpa_list){NULL, 0, 0};
}

static bool reserve(struct vms_vdpa_list *list, size_t count) {
    if (count <= list->room)
        return true;
    size_t room = count > 2 * list->room ? count : 2 * list->room;
    struct vms_vdpa_region *more = realloc(list->at, room * sizeof *more);
    if (!more)
        return false;
    list->at = more;
    list->room = room;
    return true;
}

bool vms_vdpa_list_insert(struct vms_vdpa_list *list, const struct vms_vdpa_region *region) {
    size_t at = list->count; /* nearly always the last */
    if (!reserve(list, list->count + 1))
        return false;
    while (at > 0 && compare(&list->at[at - 1], region) > 0)
        at--;
    memmove(list->at + at + 1, list->at + at, (list->count - at) * sizeof *list->at);
    list->at[at] = *region;
    list->count++;
    return true;
}

void vms_vdpa_list_remove(struct vms_vdpa_list *list, size_t index) {
    list->count--;
    memmove(list->at + index, list->at + index + 1, (list->count - index) * sizeof *list->at);
}

static uint64_t last(const struct vms_vdpa_region *r) {
    return r->iova + (r->length - 1);
}

enum vms_code vms_vdpa_list_copy(struct vms_vdpa_list *list, const struct vms_vdpa_region *regions,
                                 size_t count, struct vms_error *err) {
    *list = (struct vms_vdpa_list){NULL, 0, 0};
    if (!reserve(list, count ? count : 1))
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (count) {
        memcpy(list->at, regions, count * sizeof *regions);
        qsort(list->at, count, sizeof *list->at, compare);
    }
    list->count = count;
    for (size_t i = 0; i < count; i++) {
        const struct vms_vdpa_region *r = &list->at[i];
        if (i > 0 && r[-1].space == r->space && last(&r[-1]) >= r->iova) {
            uint64_t iova = r->iova, length = r->length;
            vms_vdpa_list_clear(list);
            return vms_error_set(err, VMS_E_VDPA_ADDRESSES,
                                 "0x%llx, 0x%llx bytes: it overlaps the one before",
                                 (unsigned long long)iova, (unsigned long long)length);
        }
    }
    return VMS_OK;
}

uint64_t vms_vdpa_list_bytes(const struct vms_vdpa_list *list) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->count; i++)
        bytes += list->at[i].length;
    return bytes;
}

/** Whether the piece is a part of the region, with the same memory and rights. */
static bool is_part(const struct vms_vdpa_region *piece, const struct vms_vdpa_region *r) {
    return piece->space == r->space && piece->iova >= r->iova && last(piece) <= last(r) &&
           piece->memory - r->memory == (ptrdiff_t)(piece->iova - r->iova) &&
           piece->read_only == r->read_only;
}

static bool is_before(const struct vms_vdpa_region *r, const struct vms_vdpa_region *piece) {
    return r->space < piece->space || (r->space == piece->space && last(r) < piece->iova);
}

/** [from, to] of the region, cut at multiples of chunk. */
static bool fill(struct vms_vdpa_list *map, const struct vms_vdpa_region *r, uint64_t from,
                 uint64_t to, uint64_t chunk) {
    for (bool more = true; more;) {
        uint64_t end = from | (chunk - 1);
        struct vms_vdpa_region piece = *r;
        more = end < to;
        end = more ? end : to;
        piece.iova = from;
        piece.memory = r->memory + (from - r->iova);
        piece.length = end - from + 1;
        if (!vms_vdpa_list_insert(map, &piece))
            return false;
        from = end + 1;
    }
    return true;
}

bool vms_vdpa_plan(const struct vms_vdpa_list *held, const struct vms_vdpa_list *wanted,
                   uint64_t chunk, struct vms_vdpa_list *unmap, struct vms_vdpa_list *map) {
    const struct vms_vdpa_region *h = held->at, *end = held->at + held->count;
    *unmap = *map = (struct vms_vdpa_list){NULL, 0, 0};
    for (size_t i = 0; i < wanted->count; i++) {
        const struct vms_vdpa_region *r = &wanted->at[i];
        uint64_t from = r->iova;
        bool full = false, good = true;
        for (; h < end && is_before(h, r) && good; h++)
            good = vms_vdpa_list_insert(unmap, h);
        for (; h < end && h->space == r->space && h->iova <= last(r) && good; h++) {
            if (!is_part(h, r)) {
                good = vms_vdpa_list_insert(unmap, h);
                continue;
            }
            good = h->iova == from || fill(map, r, from, h->iova - 1, chunk);
            full = last(h) == last(r);
            from = last(h) + 1;
        }
        if (!good || (!full && !fill(map, r, from, last(r), chunk)))
            return false;
    }
    for (; h < end; h++)
        if (!vms_vdpa_list_insert(unmap, h))
            return false;
    return true;
}
