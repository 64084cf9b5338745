/* SPDX-License-Identifier: MIT */
#include "sim_device.h"

#include <errno.h>
#include <string.h>

/* The saving half: initial data, then dirty data, in STOP_COPY the rest and the end. */

void vfs_save_begin(struct vfs_device *device, uint64_t now) {
    device->session = VFS_SAVING;
    device->saver = (struct vfs_saver){
        .left = {device->d.initial, device->d.dirty, device->d.stop},
        .generation = 1,
    };
    device->flag = device->sticky = false;
    device->began = now;
    device->dirty_made = device->queries = 0;
    device->last_logged = UINT64_MAX;
    device->figures.saved = device->figures.reads = device->figures.queries = 0;
    device->figures.no_data = device->figures.reinits = 0;
    for (size_t i = 0; i < device->d.reinit_count; i++)
        device->d.reinits[i].so_far = 0;
}

void vfs_save_end(struct vfs_device *device, uint64_t now) {
    const struct vfs_figures *f = &device->figures;
    vfs_note(device, now, "saved",
             "\"bytes\":%llu,\"reads\":%llu,\"queries\":%llu,\"no_data\":%llu,\"reinits\":%llu,"
             "\"stop_read\":%llu,\"complete\":%s",
             (unsigned long long)f->saved, (unsigned long long)f->reads,
             (unsigned long long)f->queries, (unsigned long long)f->no_data,
             (unsigned long long)f->reinits, (unsigned long long)device->saver.stopped,
             device->saver.ended && device->saver.at == device->saver.length ? "true" : "false");
    device->session = VFS_NO_SESSION;
}

uint64_t vfs_unread(const struct vfs_device *device, enum vfs_class class_) {
    const struct vfs_saver *s = &device->saver;
    if (device->session != VFS_SAVING)
        return 0;
    return s->left[class_] + (s->class_ == class_ ? s->length - s->at : 0);
}

/* ---- time ---- */

static void make_dirty(struct vfs_device *device, uint64_t now) {
    unsigned __int128 all = (unsigned __int128)device->d.dirty_rate * (now - device->began);
    uint64_t made = (uint64_t)(all / 1000000000u) / VFS_BLOCK * VFS_BLOCK;
    uint64_t *left = &device->saver.left[VFS_DIRTY];
    if (made <= device->dirty_made)
        return;
    *left += made - device->dirty_made;
    device->dirty_made = made;
    if (device->d.dirty_max && *left > device->d.dirty_max)
        *left = device->d.dirty_max;
}

void vfs_advance(struct vfs_device *device, uint64_t now) {
    vfs_dma_advance(device, now);
    if (device->session != VFS_SAVING || device->state == VFS_STOP_COPY || now < device->began)
        return;
    make_dirty(device, now);
    if (device->state == VFS_PRE_COPY)
        vfs_reinit_at(device, now, VFS_AT_TIME, now - device->began);
}

/* ---- REINIT ---- */

static void reinit(struct vfs_device *device, uint64_t now, const struct vfs_reinit *r) {
    struct vfs_saver *s = &device->saver;
    s->generation++;
    device->figures.reinits++;
    if (!device->v2) { /* a driver that cannot tell keeps initial_bytes from growing */
        s->left[device->d.reinit_to_dirty ? VFS_DIRTY : VFS_LAST] += r->bytes;
    } else {
        if (r->discard)
            s->left[VFS_INITIAL] = 0;
        s->left[VFS_INITIAL] += r->bytes;
        s->left[VFS_DIRTY] = 0; /* it is counted from the new initial data on */
        device->flag = true;
        device->told = false;
        device->sticky = r->sticky;
    }
    vfs_note(device, now, "reinit", "\"generation\":%u,\"bytes\":%llu,\"announced\":%s",
             s->generation, (unsigned long long)r->bytes, device->v2 ? "true" : "false");
}

static bool is_due(const struct vfs_reinit *r, uint64_t value) {
    switch (r->moment) {
    case VFS_AT_TIME:
    case VFS_AT_READ: return value >= r->value * (r->so_far + 1);
    case VFS_AT_QUERY: return value == r->value * (r->so_far + 1);
    default: return true;
    }
}

void vfs_reinit_at(struct vfs_device *device, uint64_t now, enum vfs_moment moment,
                   uint64_t value) {
    for (size_t i = 0; i < device->d.reinit_count; i++) {
        struct vfs_reinit *r = &device->d.reinits[i];
        if (r->moment != moment || r->so_far >= r->times || !is_due(r, value))
            continue;
        r->so_far++;
        reinit(device, now, r);
    }
}

/* ---- the stream ---- */

/** A fault that changes the stream. */
static bool twisted(struct vfs_device *device, enum vfs_fault_kind kind) {
    for (size_t i = 0; i < device->d.fault_count; i++) {
        struct vfs_fault *f = &device->d.faults[i];
        if (f->op != VFS_OP_READ || f->kind != kind || device->saver.made < f->after ||
            (f->times && f->so_far >= f->times))
            continue;
        f->so_far++;
        return true;
    }
    return false;
}

static uint32_t cut(uint64_t left) {
    return left <= VFS_BLOCK_MAX ? (uint32_t)(left < VFS_HEADER ? VFS_HEADER : left) : VFS_BLOCK;
}

/** Of which class the next block is; VFS_CLASSES: none now. */
static enum vfs_class choose(const struct vfs_device *device) {
    const struct vfs_saver *s = &device->saver;
    if (s->left[VFS_INITIAL])
        return VFS_INITIAL;
    if (s->left[VFS_DIRTY])
        return VFS_DIRTY;
    return device->state == VFS_STOP_COPY && !s->ended ? VFS_LAST : VFS_CLASSES;
}

static void make_block(struct vfs_device *device, enum vfs_class class_) {
    struct vfs_saver *s = &device->saver;
    struct vfs_block b = {
        .device = vfs_name_hash(device->d.name),
        .seed = device->d.seed,
        .offset = s->made,
        .generation = s->generation,
        .class_ = class_,
        .length = cut(s->left[class_]),
    };
    s->left[class_] -= s->left[class_] < b.length ? s->left[class_] : b.length;
    b.end = s->ended = class_ == VFS_LAST && s->left[class_] == 0;
    s->class_ = class_;
    s->at = 0;
    s->length = b.length;
    if (b.end && twisted(device, VFS_SHORT)) {
        s->length = 0;
        return;
    }
    if (b.end && twisted(device, VFS_LONG))
        s->ended = false; /* one more last block */
    vfs_block_make(&b, s->block);
    if (twisted(device, VFS_FLIP))
        s->block[b.length / 2] ^= 0x10;
    s->made += b.length;
}

/** True when there is a byte to read. */
static bool refill(struct vfs_device *device) {
    while (device->saver.at == device->saver.length) {
        enum vfs_class class_ = choose(device);
        if (class_ == VFS_CLASSES)
            return false;
        make_block(device, class_);
    }
    return true;
}

static size_t take(struct vfs_device *device, uint8_t *out, size_t len) {
    struct vfs_saver *s = &device->saver;
    size_t got = 0;
    while (got < len && refill(device)) {
        size_t n = s->length - s->at < len - got ? s->length - s->at : len - got;
        memcpy(out + got, s->block + s->at, n);
        s->at += (uint32_t)n;
        s->offset += n;
        got += n;
    }
    return got;
}

int64_t vfs_read(struct vfs_device *device, uint64_t now, void *buf, size_t len, uint64_t *busy) {
    struct vfs_fault *f;
    *busy = 0;
    if (device->session != VFS_SAVING)
        return -ENODEV;
    vfs_advance(device, now);
    f = vfs_fault_of(device, VFS_OP_READ, device->state, device->saver.offset);
    if (f && f->kind <= VFS_STUCK)
        return vfs_fail(device, now, f);
    bool before = vfs_unread(device, VFS_INITIAL) > 0;
    if (device->state == VFS_STOP_COPY && device->saver.stopped == 0)
        device->saver.stopped = now;
    size_t got = take(device, buf, len);
    device->queries = 0;
    device->figures.reads++;
    device->figures.saved += got;
    device->figures.no_data += got == 0;
    if (device->d.trace)
        vfs_note(device, now, "read", "\"bytes\":%zu", got);
    /* also when there was nothing to read any more: a flag must end some time */
    device->flag = device->flag && !(device->sticky && device->told);
    if (device->state == VFS_PRE_COPY) {
        vfs_reinit_at(device, now, VFS_AT_READ, device->saver.offset);
        if (before && vfs_unread(device, VFS_INITIAL) == 0)
            vfs_reinit_at(device, now, VFS_AT_DRAIN, 0);
    }
    if (device->d.read_rate)
        *busy = (uint64_t)((unsigned __int128)got * 1000000000u / device->d.read_rate);
    if (got == 0 && len > 0 && device->state != VFS_STOP_COPY)
        return -ENOMSG;
    return (int64_t)got;
}
