/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct packet {
    bool config;
    size_t len;
    uint8_t bytes[];
};

struct dst_vfio_queue {
    struct dst_device device;
    uint64_t bytes_max;
    uint32_t ahead_max;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* the lock guards the rest */
    struct packet **ring; /* of ahead_max; the packet of an index is at index % ahead_max */
    uint64_t next;        /* index that is wanted */
    uint64_t highest;     /* index + 1 of the highest that came */
    uint64_t last;        /* index of CONFIG; UINT64_MAX: not known yet */
    uint64_t waiting;     /* bytes in the ring */
    bool started, over, aborted;
    struct vms_error error;
};

/* ---- the device's side ---- */

static enum vms_code give(struct dst_vfio_queue *q, const struct packet *p, struct vms_error *err) {
    const struct dst_device *d = &q->device;
    if (!p->config)
        return d->ops->data(d->ctx, p->bytes, p->len, err);
    enum vms_code code = d->ops->end(d->ctx, err);
    return code == VMS_OK ? d->ops->config(d->ctx, p->bytes, p->len, err) : code;
}

static void settle(struct dst_vfio_queue *q, enum vms_code code, const struct vms_error *err) {
    if (code != VMS_OK && q->error.code == VMS_OK)
        q->error = *err;
    q->over = q->over || code != VMS_OK;
    (void)pthread_cond_broadcast(&q->changed);
}

/* Lock held; given up while the device takes the packet. */
static void take_next(struct dst_vfio_queue *q) {
    struct packet **at = &q->ring[q->next % q->ahead_max], *p = *at;
    struct vms_error err = {.code = VMS_OK};
    (void)pthread_mutex_unlock(&q->lock);
    enum vms_code code = give(q, p, &err);
    (void)pthread_mutex_lock(&q->lock);
    *at = NULL;
    q->next++;
    q->waiting -= p->len;
    q->over = q->over || p->config;
    settle(q, code, &err);
    free(p);
}

static void *run(void *arg) {
    struct dst_vfio_queue *q = arg;
    (void)pthread_mutex_lock(&q->lock);
    while (!q->over && !q->aborted) {
        if (q->started && q->ring[q->next % q->ahead_max])
            take_next(q);
        else
            (void)pthread_cond_wait(&q->changed, &q->lock);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ---- the channels' side ---- */

/* [VFIO-6] */
static enum vms_code check_index(const struct dst_vfio_queue *q, uint32_t index, bool config,
                                 struct vms_error *err) {
    const char *why = NULL;
    if (index == UINT32_MAX)
        why = "no index";
    else if (index < q->next)
        why = "was taken already";
    else if (index > q->last || (config && q->last != UINT64_MAX))
        why = "after the config state";
    else if (config && q->highest > (uint64_t)index + 1)
        why = "the config state is not the last";
    else if (index - q->next < q->ahead_max && q->ring[index % q->ahead_max])
        why = "came already";
    return why ? vms_error_set(err, VMS_E_VFIO_STATE_INDEX, "%.60s: %u: %s", q->device.idstr, index,
                               why)
               : VMS_OK;
}

static bool has_room(const struct dst_vfio_queue *q, uint32_t index, size_t len) {
    return index == q->next || (index - q->next < q->ahead_max && q->waiting + len <= q->bytes_max);
}

/* Lock held. */
static enum vms_code wait_for_room(struct dst_vfio_queue *q, uint32_t index, bool config,
                                   size_t len, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    while (!q->aborted && q->error.code == VMS_OK &&
           (code = check_index(q, index, config, err)) == VMS_OK && !has_room(q, index, len)) {
        if (!q->ring[q->next % q->ahead_max])
            return vms_error_set(err, VMS_E_LIMIT,
                                 "%.60s: %u packets, %llu bytes before packet %llu",
                                 q->device.idstr, index, (unsigned long long)q->waiting,
                                 (unsigned long long)q->next);
        (void)pthread_cond_wait(&q->changed, &q->lock);
    }
    if (q->error.code != VMS_OK) {
        *err = q->error;
        return q->error.code;
    }
    return q->aborted ? vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "%.60s: the migration is over",
                                      q->device.idstr)
                      : code;
}

enum vms_code dst_vfio_queue_put(struct dst_vfio_queue *q, uint32_t index, bool config,
                                 const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct packet *p = malloc(sizeof *p + len);
    if (!p)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    p->config = config;
    p->len = len;
    if (len)
        memcpy(p->bytes, bytes, len);
    (void)pthread_mutex_lock(&q->lock);
    enum vms_code code = wait_for_room(q, index, config, len, err);
    if (code == VMS_OK) {
        q->ring[index % q->ahead_max] = p;
        q->waiting += len;
        q->highest = q->highest > (uint64_t)index + 1 ? q->highest : (uint64_t)index + 1;
        q->last = config ? index : q->last;
        (void)pthread_cond_broadcast(&q->changed);
    } else {
        settle(q, code, err);
        free(p);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return code;
}

enum vms_code dst_vfio_queue_finish(struct dst_vfio_queue *q, bool load, struct vms_error *err) {
    (void)pthread_mutex_lock(&q->lock);
    while (!q->over && !q->aborted)
        (void)pthread_cond_wait(&q->changed, &q->lock);
    enum vms_code code = q->error.code;
    if (code != VMS_OK)
        *err = q->error;
    else if (!q->over)
        code = vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "%.60s: the migration is over",
                             q->device.idstr);
    (void)pthread_mutex_unlock(&q->lock);
    return code == VMS_OK && load ? q->device.ops->load_config(q->device.ctx, err) : code;
}

/* ---- life ---- */

void dst_vfio_queue_start(struct dst_vfio_queue *q) {
    (void)pthread_mutex_lock(&q->lock);
    q->started = true;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->lock);
}

void dst_vfio_queue_abort(struct dst_vfio_queue *q) {
    (void)pthread_mutex_lock(&q->lock);
    q->aborted = true;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->lock);
}

enum vms_code dst_vfio_queue_new(const struct dst_device *device, uint64_t bytes, uint32_t ahead,
                                 struct dst_vfio_queue **out, struct vms_error *err) {
    struct dst_vfio_queue *q = calloc(1, sizeof *q);
    *out = NULL;
    if (!q)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    q->device = *device;
    q->bytes_max = bytes ? bytes : DST_VFIO_QUEUE_BYTES;
    q->ahead_max = ahead ? ahead : DST_VFIO_QUEUE_AHEAD;
    q->last = UINT64_MAX;
    q->ring = calloc(q->ahead_max, sizeof *q->ring);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->changed, NULL);
    if (!q->ring || pthread_create(&q->thread, NULL, run, q) != 0) {
        free(q->ring);
        free(q);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    *out = q;
    return VMS_OK;
}

void dst_vfio_queue_free(struct dst_vfio_queue *q) {
    if (!q)
        return;
    dst_vfio_queue_abort(q);
    (void)pthread_join(q->thread, NULL);
    for (uint32_t i = 0; i < q->ahead_max; i++)
        free(q->ring[i]);
    (void)pthread_cond_destroy(&q->changed);
    (void)pthread_mutex_destroy(&q->lock);
    free(q->ring);
    free(q);
}
