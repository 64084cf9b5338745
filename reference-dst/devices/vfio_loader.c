/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_loader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/*
 * A ring of records, each a head and its bytes in one piece: what does not fit before the end of
 * the ring is parted in two. Positions only grow; the device reads out of the ring, unlocked.
 */
struct head {
    uint32_t what, len;
};

enum {
    ALIGN = sizeof(struct head),
    PIECE = 1 << 20, /* bytes of the ring that get their memory at once */
    PAGE = 4096,
    SKIP = UINT32_MAX, /* the rest of the ring is not used */
};

struct dst_vfio_loader {
    struct dst_device device;
    struct dst_vfio_loader_owner owner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started, over;
    uint64_t written, taken;
    struct vms_error error; /* the thread's first */
    uint8_t *ring;
    size_t present; /* of it, bytes that have their memory */
    uint8_t *config;
    size_t config_len, config_room;
};

static size_t padded(size_t len) {
    return sizeof(struct head) + (len + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- the thread ---- */

static enum vms_code make_room(struct dst_vfio_loader *l, size_t size, struct vms_error *err) {
    size_t room = l->config_room ? l->config_room : 64 << 10;
    while (room < size)
        room *= 2;
    uint8_t *more = room == l->config_room ? l->config : realloc(l->config, room);
    if (!more)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    l->config = more;
    l->config_room = room;
    return VMS_OK;
}

/* [MIG-34] */
static enum vms_code take_config(struct dst_vfio_loader *l, const uint8_t *bytes, size_t len,
                                 bool last, struct vms_error *err) {
    const struct dst_device *d = &l->device;
    if (len > DST_VFIO_LOADER_CONFIG - l->config_len)
        return vms_error_set(err, VMS_E_LIMIT, "%.60s: config state (device_state_bytes)",
                             d->idstr);
    if (make_room(l, l->config_len + len, err) != VMS_OK)
        return err->code;
    if (len)
        memcpy(l->config + l->config_len, bytes, len);
    l->config_len += len;
    if (!last)
        return VMS_OK;
    enum vms_code code = d->ops->config(d->ctx, l->config, l->config_len, err);
    return code == VMS_OK ? d->ops->load_config(d->ctx, err) : code;
}

/* [VDEV-10] The mark is acknowledged when the device has what came before it. */
static enum vms_code take_mark(struct dst_vfio_loader *l, struct vms_error *err) {
    uint64_t generation;
    enum vms_code code = l->device.ops->initial_sent(l->device.ctx, &generation, err);
    if (code == VMS_OK)
        l->owner.marked(l->owner.ctx, generation);
    return code;
}

static enum vms_code take(struct dst_vfio_loader *l, const struct head *h, struct vms_error *err) {
    const struct dst_device *d = &l->device;
    const uint8_t *bytes = (const uint8_t *)(h + 1);
    switch (h->what) {
    case DST_VFIO_LOAD_DATA: return d->ops->data(d->ctx, bytes, h->len, err);
    case DST_VFIO_LOAD_MARK: return take_mark(l, err);
    case DST_VFIO_LOAD_END: return d->ops->end(d->ctx, err);
    case DST_VFIO_LOAD_CONFIG: return take_config(l, bytes, h->len, false, err);
    default: return take_config(l, bytes, h->len, true, err);
    }
}

static size_t size_of(const struct dst_vfio_loader *l, const struct head *h) {
    return h->what == SKIP ? DST_VFIO_LOADER_BYTES - (size_t)(l->taken % DST_VFIO_LOADER_BYTES)
                           : padded(h->len);
}

/*
 * Locked; dropped meanwhile. A piece of the ring gets its memory before anything is in it, while
 * the source's guest still runs: else the first touch of every page would be downtime.
 */
static void make_present(struct dst_vfio_loader *l) {
    uint8_t *at = l->ring + l->present;
    l->present += PIECE;
    pthread_mutex_unlock(&l->lock);
    (void)madvise(at, PIECE, MADV_POPULATE_WRITE); /* an older kernel does it at the first touch */
    pthread_mutex_lock(&l->lock);
}

/* Locked. Until there is something to take. */
static void wait_for_work(struct dst_vfio_loader *l) {
    while (l->taken == l->written && !l->over)
        if (l->present < DST_VFIO_LOADER_BYTES)
            make_present(l);
        else
            pthread_cond_wait(&l->changed, &l->lock);
}

static void *thread_main(void *loader) {
    struct dst_vfio_loader *l = loader;
    struct vms_error err;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        wait_for_work(l);
        if (l->over)
            break;
        pthread_mutex_unlock(&l->lock);
        const struct head *h = (const void *)(l->ring + l->taken % DST_VFIO_LOADER_BYTES);
        size_t size = size_of(l, h);
        bool bad = h->what != SKIP && take(l, h, &err) != VMS_OK;
        pthread_mutex_lock(&l->lock);
        l->taken += size;
        l->over = l->over || bad;
        if (bad)
            l->error = err;
        pthread_cond_broadcast(&l->changed);
    }
    bool failed = l->error.code != VMS_OK;
    pthread_mutex_unlock(&l->lock);
    if (failed)
        l->owner.failed(l->owner.ctx, &l->error);
    return NULL;
}

/* ---- whoever puts ---- */

static enum vms_code state_of(const struct dst_vfio_loader *l, struct vms_error *err) {
    if (l->error.code == VMS_OK)
        return VMS_OK;
    *err = l->error;
    return err->code;
}

/* Locked. Room for size bytes in one piece, or the error. */
static enum vms_code wait_for_room(struct dst_vfio_loader *l, size_t size, struct vms_error *err) {
    while (!l->over && DST_VFIO_LOADER_BYTES - (l->written - l->taken) < size)
        pthread_cond_wait(&l->changed, &l->lock);
    return state_of(l, err);
}

/* Locked; dropped while bytes are copied, for only this thread writes there. */
static enum vms_code put_piece(struct dst_vfio_loader *l, uint32_t what, const uint8_t *bytes,
                               size_t len, struct vms_error *err) {
    size_t size = what == SKIP ? len : padded(len);
    enum vms_code code = wait_for_room(l, size, err);
    if (code != VMS_OK || l->over)
        return code;
    struct head *h = (void *)(l->ring + l->written % DST_VFIO_LOADER_BYTES);
    pthread_mutex_unlock(&l->lock);
    *h = (struct head){what, what == SKIP ? 0 : (uint32_t)len};
    if (what != SKIP && len)
        memcpy(h + 1, bytes, len);
    pthread_mutex_lock(&l->lock);
    l->written += size;
    pthread_cond_broadcast(&l->changed);
    return VMS_OK;
}

/* What of len bytes goes in front of the end of the ring; 0: not even a head and some. */
static size_t fits(const struct dst_vfio_loader *l, size_t len) {
    size_t left = DST_VFIO_LOADER_BYTES - (size_t)(l->written % DST_VFIO_LOADER_BYTES);
    size_t most = left - sizeof(struct head);
    if (most < len && most > DST_VFIO_LOADER_BYTES / 2)
        most = DST_VFIO_LOADER_BYTES / 2;
    return len < most ? len : most;
}

enum vms_code dst_vfio_loader_put(struct dst_vfio_loader *l, enum dst_vfio_load what,
                                  const uint8_t *bytes, size_t len, struct vms_error *err) {
    bool config = what == DST_VFIO_LOAD_CONFIG || what == DST_VFIO_LOAD_CONFIG_LAST;
    enum vms_code code;
    pthread_mutex_lock(&l->lock);
    do {
        size_t n = fits(l, len);
        if (n == 0 && len > 0) { /* a head's room is left, and no more */
            size_t left = DST_VFIO_LOADER_BYTES - (size_t)(l->written % DST_VFIO_LOADER_BYTES);
            code = put_piece(l, SKIP, NULL, left, err);
            continue;
        }
        uint32_t kind = config && n < len ? DST_VFIO_LOAD_CONFIG : (uint32_t)what;
        code = put_piece(l, kind, bytes, n, err);
        if (n) /* a mark has no octets, nor an address of any */
            bytes += n;
        len -= n;
    } while (code == VMS_OK && len > 0 && !l->over);
    code = code == VMS_OK ? state_of(l, err) : code;
    pthread_mutex_unlock(&l->lock);
    return code;
}

enum vms_code dst_vfio_loader_flush(struct dst_vfio_loader *l, struct vms_error *err) {
    pthread_mutex_lock(&l->lock);
    while (l->taken != l->written && !l->over)
        pthread_cond_wait(&l->changed, &l->lock);
    enum vms_code code = state_of(l, err);
    pthread_mutex_unlock(&l->lock);
    return code;
}

/* ---- life ---- */

enum vms_code dst_vfio_loader_new(const struct dst_device *device,
                                  const struct dst_vfio_loader_owner *owner,
                                  struct dst_vfio_loader **out, struct vms_error *err) {
    struct dst_vfio_loader *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l)
        l->ring = aligned_alloc(PAGE, DST_VFIO_LOADER_BYTES);
    if (!l || !l->ring) {
        free(l);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    l->device = *device;
    l->owner = *owner;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->changed, NULL);
    l->started = pthread_create(&l->thread, NULL, thread_main, l) == 0;
    if (!l->started) {
        dst_vfio_loader_free(l);
        return vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    }
    *out = l;
    return VMS_OK;
}

void dst_vfio_loader_free(struct dst_vfio_loader *l) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->over = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->started)
        (void)pthread_join(l->thread, NULL);
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
    free(l->config);
    free(l->ring);
    free(l);
}
