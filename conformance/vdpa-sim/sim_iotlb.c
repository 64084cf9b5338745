/* SPDX-License-Identifier: MIT */
#include "sim_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 4096,
};

static bool before(const struct vds_map *m, uint32_t space, uint64_t iova) {
    return m->space < space || (m->space == space && m->iova + (m->length - 1) < iova);
}

/** The first map that is not wholly before it. */
static size_t find(const struct vds_device *d, uint32_t space, uint64_t iova) {
    size_t low = 0, high = d->figures.maps;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (before(&d->maps[middle], space, iova))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool overlaps(const struct vds_device *d, size_t at, uint32_t space, uint64_t last) {
    return at < d->figures.maps && d->maps[at].space == space && d->maps[at].iova <= last;
}

static bool readable(const struct vds_device *d, uint64_t address, uint64_t length) {
    uint8_t byte;
    return d->world.memory(d->world.ctx, address, &byte, 1, false) &&
           d->world.memory(d->world.ctx, address + length - 1, &byte, 1, false);
}

static int check(const struct vds_device *d, uint32_t space, const struct vhost_iotlb_msg *m) {
    uint64_t last = m->iova + m->size - 1;
    if (m->size == 0 || last < m->iova || (m->iova | m->size | m->uaddr) % PAGE ||
        m->iova < d->d.iova_first || last > d->d.iova_last)
        return -EINVAL;
    if (overlaps(d, find(d, space, m->iova), space, last))
        return -EEXIST;
    if (d->d.max_maps && d->figures.maps >= d->d.max_maps)
        return -ENOSPC;
    if (d->d.pin && d->figures.mapped + m->size > d->world.memlock(d->world.ctx))
        return -ENOMEM;
    return readable(d, m->uaddr, m->size) ? 0 : -EFAULT;
}

static int insert(struct vds_device *d, const struct vds_map *map) {
    size_t at = find(d, map->space, map->iova);
    if (d->figures.maps == d->room) {
        size_t room = d->room ? 2 * d->room : 64;
        struct vds_map *more = realloc(d->maps, room * sizeof *more);
        if (!more)
            return -ENOMEM;
        d->maps = more;
        d->room = room;
    }
    memmove(d->maps + at + 1, d->maps + at, (d->figures.maps - at) * sizeof *d->maps);
    d->maps[at] = *map;
    d->figures.maps++;
    d->figures.mapped += map->length;
    if (d->figures.mapped > d->figures.most_mapped)
        d->figures.most_mapped = d->figures.mapped;
    return 0;
}

int vds_update(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy) {
    const struct vhost_msg_v2 *msg = arg;
    const struct vhost_iotlb_msg *m = &msg->iotlb;
    if (d->in_batch && d->batch_space != msg->asid)
        return -EINVAL;
    int e = check(d, msg->asid, m);
    if (e == 0)
        e = insert(d, &(struct vds_map){m->iova, m->size, m->uaddr, msg->asid, m->perm});
    if (e == 0)
        *busy += m->size / PAGE * d->d.page_cost + (d->in_batch ? 0 : d->d.call_cost);
    d->figures.updates += e == 0;
    vds_note(d, now, "map", "\"space\":%u,\"iova\":%llu,\"size\":%llu,\"result\":%d", msg->asid,
             (unsigned long long)m->iova, (unsigned long long)m->size, e);
    return e;
}

/* As the kernel: whole maps go that the range touches. */
int vds_invalidate(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy) {
    const struct vhost_msg_v2 *msg = arg;
    uint64_t last = msg->iotlb.iova + msg->iotlb.size - 1, bytes = 0;
    if (d->in_batch && d->batch_space != msg->asid)
        return -EINVAL;
    size_t at = find(d, msg->asid, msg->iotlb.iova), end = at;
    for (; overlaps(d, end, msg->asid, last); end++)
        bytes += d->maps[end].length;
    if (end > at) /* there are maps at all */
        memmove(d->maps + at, d->maps + end, (d->figures.maps - end) * sizeof *d->maps);
    d->figures.maps -= end - at;
    d->figures.mapped -= bytes;
    d->figures.invalidates++;
    d->lost = d->lost && d->figures.maps;
    *busy += d->in_batch ? 0 : d->d.call_cost;
    vds_note(d, now, "unmap", "\"space\":%u,\"iova\":%llu,\"size\":%llu,\"maps\":%zu", msg->asid,
             (unsigned long long)msg->iotlb.iova, (unsigned long long)msg->iotlb.size, end - at);
    return 0;
}

int vds_batch_begin(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy) {
    (void)busy;
    if (d->in_batch)
        return -EINVAL;
    d->in_batch = true;
    d->batch_space = ((const struct vhost_msg_v2 *)arg)->asid;
    vds_note(d, now, "batch-begin", "\"space\":%u", d->batch_space);
    return 0;
}

int vds_batch_end(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy) {
    if (!d->in_batch || d->batch_space != ((const struct vhost_msg_v2 *)arg)->asid)
        return -EINVAL;
    d->in_batch = false;
    d->figures.batches++;
    *busy += d->d.call_cost;
    vds_note(d, now, "batch-end", "\"space\":%u,\"maps\":%llu,\"mapped\":%llu", d->batch_space,
             (unsigned long long)d->figures.maps, (unsigned long long)d->figures.mapped);
    return 0;
}

bool vds_dma(struct vds_device *d, uint32_t space, uint64_t iova, void *buf, size_t len,
             bool write) {
    uint8_t *at = buf;
    while (len > 0) {
        size_t i = find(d, space, iova);
        uint32_t need = write ? VHOST_ACCESS_WO : VHOST_ACCESS_RO;
        if (d->lost || !overlaps(d, i, space, iova) || !(d->maps[i].perm & need)) {
            d->figures.stray++;
            return false;
        }
        const struct vds_map *m = &d->maps[i];
        uint64_t rest = m->length - (iova - m->iova);
        size_t n = rest < len ? (size_t)rest : len;
        if (!d->world.memory(d->world.ctx, m->address + (iova - m->iova), at, n, write))
            return false;
        at += n;
        iova += n;
        len -= n;
    }
    return true;
}
