/* SPDX-License-Identifier: MIT */
#include "sim_device.h"

#include <errno.h>
#include <string.h>

/*
 * The loading half. What is wrong is told at once in the log, and to the loader when it leaves
 * RESUMING, as the kernel's sample driver does: EINVAL, the state stays until a reset.
 */
void vfs_load_begin(struct vfs_device *device, uint64_t now) {
    (void)now;
    device->session = VFS_LOADING;
    memset(&device->loader, 0, sizeof device->loader);
    device->loader.want = VFS_HEADER;
    device->load_rest = 0;
    device->figures.loaded = device->figures.writes = device->figures.blocks = 0;
    device->figures.complete = device->figures.bad = false;
}

static void refuse(struct vfs_device *device, uint64_t now, const char *why) {
    struct vfs_loader *l = &device->loader;
    if (l->bad)
        return;
    l->bad = why;
    device->figures.bad = true;
    vfs_note(device, now, "bad", "\"offset\":%llu,\"why\":\"%s\"", (unsigned long long)l->offset,
             why);
}

int vfs_load_end(struct vfs_device *device, uint64_t now) {
    struct vfs_loader *l = &device->loader;
    if (!l->ended || l->have)
        refuse(device, now, "the stream is not whole");
    device->figures.complete = !l->bad;
    vfs_note(device, now, "loaded",
             "\"bytes\":%llu,\"blocks\":%llu,\"writes\":%llu,\"last_write\":%llu,\"good\":%s",
             (unsigned long long)device->figures.loaded, (unsigned long long)device->figures.blocks,
             (unsigned long long)device->figures.writes, (unsigned long long)l->last,
             l->bad ? "false" : "true");
    if (l->bad)
        return -EINVAL;
    device->session = VFS_NO_SESSION;
    return 0;
}

static const char *check_header(const struct vfs_device *device, const struct vfs_loader *l) {
    const struct vfs_block *b = &l->header;
    if (b->device != vfs_name_hash(device->d.name))
        return "data of another device";
    if (b->offset != l->offset)
        return "data is missing, doubled or out of order";
    if (b->generation < l->generation)
        return "initial data of an earlier generation";
    return NULL;
}

static void header_is_in(struct vfs_device *device, uint64_t now) {
    struct vfs_loader *l = &device->loader;
    const char *why = vfs_block_header(l->block, &l->header);
    if (!why)
        why = check_header(device, l);
    if (why)
        refuse(device, now, why);
    else
        l->want = l->header.length;
}

static void block_is_in(struct vfs_device *device, uint64_t now) {
    struct vfs_loader *l = &device->loader;
    if (!vfs_block_good(&l->header, l->block))
        refuse(device, now, "the payload of a block is damaged");
    l->offset += l->header.length;
    l->generation = l->header.generation;
    l->ended = l->header.end;
    l->have = 0;
    l->want = VFS_HEADER;
    device->figures.blocks++;
    device->load_rest += device->d.load_cost[l->header.class_] * l->header.length;
}

int64_t vfs_write(struct vfs_device *device, uint64_t now, const void *buf, size_t len,
                  uint64_t *busy) {
    struct vfs_loader *l = &device->loader;
    *busy = 0;
    if (device->session != VFS_LOADING || device->state != VFS_RESUMING)
        return -ENODEV;
    struct vfs_fault *f = vfs_fault_of(device, VFS_OP_WRITE, device->state, device->figures.loaded);
    if (f && f->kind <= VFS_STUCK)
        return vfs_fail(device, now, f);
    for (size_t at = 0; at < len && !l->bad;) {
        if (l->ended) {
            refuse(device, now, "data after the end of the stream");
            break;
        }
        size_t n = l->want - l->have < len - at ? l->want - l->have : len - at;
        memcpy(l->block + l->have, (const uint8_t *)buf + at, n);
        l->have += (uint32_t)n;
        at += n;
        if (l->have == VFS_HEADER && l->want == VFS_HEADER)
            header_is_in(device, now);
        if (!l->bad && l->have == l->want && l->want == l->header.length)
            block_is_in(device, now);
    }
    l->last = now;
    if (device->d.trace)
        vfs_note(device, now, "write", "\"bytes\":%zu", len);
    device->figures.writes++;
    device->figures.loaded += len;
    *busy = device->load_rest >> 20;
    device->load_rest &= (1u << 20) - 1;
    return (int64_t)len;
}
