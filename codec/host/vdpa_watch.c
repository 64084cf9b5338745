/* SPDX-License-Identifier: MIT */
#include "host/vdpa_watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * Both rings have the same entries under the same numbers, and count alike: descriptors are copied
 * to their own place, indices of available and used buffers are those of the guest.
 */
enum {
    PAGE = 4096,
    DESC_NEXT = 1, /* virtio 1.2, 2.7.5 */
    DESC_WRITE = 2,
    DESC_INDIRECT = 4,
    NO_INTERRUPT = 1,
};

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct used {
    uint32_t id, length;
};

/** A split ring in this process. */
struct ring {
    struct desc *desc;
    uint16_t *avail; /* flags, index, entries, used_event */
    uint16_t *used;  /* flags, index, then struct used, avail_event */
};

struct queue {
    struct vms_vdpa_watch_queue guest, device;
    struct ring theirs, ours;
    uint16_t avail, used; /* carried over so far */
    bool broken;          /* the guest's ring says what cannot be */
};

struct vms_vdpa_watch {
    struct queue *queue;
    size_t count;
    bool event_index, running;
    vms_vdpa_memory *memory;
    vms_vdpa_wrote *wrote;
    void *ctx;
    pthread_t thread;
    int stop;
};

static uint64_t pages(uint64_t bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
}
static uint64_t avail_bytes(uint32_t n) {
    return 6 + 2 * (uint64_t)n;
}
static uint64_t used_bytes(uint32_t n) {
    return 6 + 8 * (uint64_t)n;
}

uint64_t vms_vdpa_watch_bytes(uint32_t entries) {
    return pages(16 * (uint64_t)entries) + pages(avail_bytes(entries)) + pages(used_bytes(entries));
}

static uint16_t load(const uint16_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}
static void store(uint16_t *at, uint16_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}
static void signal_fd(int fd) {
    const uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        /* it is full: it has been signalled */
    }
}

/* ---- guest to device ---- */

static bool copy_chain(struct queue *q, uint16_t at) {
    const uint32_t size = q->guest.ring.size;
    struct desc d = {.flags = DESC_NEXT, .next = at};
    for (uint32_t n = 0; d.flags & DESC_NEXT; n++) {
        if (n == size || d.next >= size)
            return false;
        uint16_t i = d.next;
        d = q->theirs.desc[i]; /* once: the guest may change it */
        q->ours.desc[i] = d;
    }
    return true;
}

static void offer(struct vms_vdpa_watch *w, struct queue *q) {
    const uint32_t size = q->guest.ring.size;
    const uint16_t end = load(&q->theirs.avail[1]), from = q->avail;
    q->broken = q->broken || (uint16_t)(end - from) > size;
    for (; q->avail != end && !q->broken; q->avail++) {
        uint16_t head = q->theirs.avail[2 + q->avail % size];
        q->broken = !copy_chain(q, head);
        if (q->broken)
            break;
        q->ours.avail[2 + q->avail % size] = head;
    }
    store(&q->ours.avail[1], q->avail);
    if (w->event_index) /* wants every kick */
        store((uint16_t *)(void *)((uint8_t *)q->theirs.used + 4 + 8u * size), q->avail);
    if (q->avail != from)
        signal_fd(q->device.events.kick);
}

/* ---- device to guest ---- */

static void tell(struct vms_vdpa_watch *w, const struct desc *d) {
    if (!(d->flags & DESC_INDIRECT)) {
        if ((d->flags & DESC_WRITE) && d->length)
            w->wrote(w->ctx, d->address, d->length);
        return;
    }
    const struct desc *table = w->memory(w->ctx, d->address, d->length);
    for (uint32_t i = 0; table && i < d->length / sizeof *table; i++)
        if ((table[i].flags & DESC_WRITE) && table[i].length)
            w->wrote(w->ctx, table[i].address, table[i].length);
}

/** All that the chain lets the device write: how much it did write it may not say truly. */
static void tell_chain(struct vms_vdpa_watch *w, const struct queue *q, uint32_t head) {
    const uint32_t size = q->guest.ring.size;
    uint32_t i = head;
    for (uint32_t n = 0; n < size && i < size; n++) {
        tell(w, &q->ours.desc[i]);
        i = q->ours.desc[i].flags & DESC_NEXT ? q->ours.desc[i].next : size;
    }
}

static void give_back(struct vms_vdpa_watch *w, struct queue *q) {
    const uint32_t size = q->guest.ring.size;
    const uint16_t end = load(&q->ours.used[1]), from = q->used;
    const struct used *ours = (const void *)&q->ours.used[2];
    struct used *theirs = (void *)&q->theirs.used[2];
    for (; q->used != end; q->used++) {
        tell_chain(w, q, ours[q->used % size].id);
        theirs[q->used % size] = ours[q->used % size];
    }
    if (w->event_index) /* wants every call */
        store(&q->ours.avail[2 + size], q->used);
    if (q->used == from)
        return;
    store(&q->theirs.used[1], q->used);
    w->wrote(w->ctx, q->guest.ring.used, used_bytes(size));
    if (w->event_index || !(load(&q->theirs.avail[0]) & NO_INTERRUPT))
        signal_fd(q->guest.events.call);
}

/* ---- the thread ---- */

static void drain(const struct pollfd *fds, size_t count) {
    uint64_t n;
    for (size_t i = 0; i < count; i++)
        if ((fds[i].revents & POLLIN) && read(fds[i].fd, &n, sizeof n) < 0)
            continue; /* somebody was faster */
}

static void *carry(void *ctx) {
    struct vms_vdpa_watch *w = ctx;
    struct pollfd fds[1 + 2 * VMS_VDPA_QUEUES_MAX] = {{.fd = w->stop, .events = POLLIN}};
    for (size_t i = 0; i < w->count; i++) {
        fds[1 + 2 * i] = (struct pollfd){.fd = w->queue[i].guest.events.kick, .events = POLLIN};
        fds[2 + 2 * i] = (struct pollfd){.fd = w->queue[i].device.events.call, .events = POLLIN};
    }
    for (;;) {
        for (size_t i = 0; i < w->count; i++) {
            offer(w, &w->queue[i]);
            give_back(w, &w->queue[i]);
        }
        if (poll(fds, 1 + 2 * w->count, -1) < 0)
            continue;
        if (fds[0].revents)
            return NULL;
        drain(fds + 1, 2 * w->count);
    }
}

enum vms_code vms_vdpa_watch_run(struct vms_vdpa_watch *watch, struct vms_error *err) {
    watch->running = pthread_create(&watch->thread, NULL, carry, watch) == 0;
    return watch->running ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "no thread");
}

static void stop(struct vms_vdpa_watch *w) {
    if (w->running) {
        signal_fd(w->stop);
        (void)pthread_join(w->thread, NULL);
    }
    w->running = false;
}

/* What the device took and did not use is offered again, where it runs next. */
void vms_vdpa_watch_end(struct vms_vdpa_watch *watch, uint32_t *bases) {
    stop(watch);
    for (size_t i = 0; i < watch->count; i++) {
        give_back(watch, &watch->queue[i]);
        bases[i] = watch->queue[i].used;
    }
}

/* ---- life ---- */

struct vms_vdpa_watch_queue vms_vdpa_watch_ring(const struct vms_vdpa_watch *watch, size_t index) {
    return watch->queue[index].device;
}

static bool find_theirs(struct vms_vdpa_watch *w, struct queue *q) {
    const struct vms_vdpa_ring *r = &q->guest.ring;
    union { /* the guest's memory is ours to write */
        const void *in;
        void *out;
    } desc = {w->memory(w->ctx, r->desc, 16u * r->size)},
      avail = {w->memory(w->ctx, r->avail, (size_t)avail_bytes(r->size))},
      used = {w->memory(w->ctx, r->used, (size_t)used_bytes(r->size))};
    q->theirs = (struct ring){desc.out, avail.out, used.out};
    return desc.in && avail.in && used.in;
}

static void set_ours(struct queue *q, uint8_t *memory, uint64_t iova) {
    const uint32_t n = q->guest.ring.size;
    uint64_t avail = pages(16 * (uint64_t)n), used = avail + pages(avail_bytes(n));
    memset(memory, 0, (size_t)vms_vdpa_watch_bytes(n));
    q->ours = (struct ring){(void *)memory, (void *)(memory + avail), (void *)(memory + used)};
    q->device = q->guest;
    q->device.ring.desc = iova;
    q->device.ring.avail = iova + avail;
    q->device.ring.used = iova + used;
    q->avail = q->used = (uint16_t)q->guest.ring.base;
    q->ours.avail[1] = q->ours.used[1] = q->avail;
    q->ours.avail[2 + n] = q->used;
    q->device.events.kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->device.events.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

enum vms_code vms_vdpa_watch_new(const struct vms_vdpa_watch_queue *queues, size_t count,
                                 bool event_index, uint8_t *shadow, uint64_t iova,
                                 vms_vdpa_memory *memory, vms_vdpa_wrote *wrote, void *ctx,
                                 struct vms_vdpa_watch **out, struct vms_error *err) {
    struct vms_vdpa_watch *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w)
        *w = (struct vms_vdpa_watch){.queue = calloc(count + 1, sizeof *w->queue),
                                     .event_index = event_index,
                                     .memory = memory,
                                     .wrote = wrote,
                                     .ctx = ctx,
                                     .stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!w || !w->queue) {
        vms_vdpa_watch_free(w);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    for (; w->count < count; w->count++) {
        struct queue *q = &w->queue[w->count];
        q->guest = queues[w->count];
        set_ours(q, shadow, iova);
        shadow += vms_vdpa_watch_bytes(q->guest.ring.size);
        iova += vms_vdpa_watch_bytes(q->guest.ring.size);
        if (find_theirs(w, q))
            continue;
        w->count++;
        enum vms_code code =
            vms_error_set(err, VMS_E_VDPA_DEVICE, "ring %u is not in memory", q->guest.number);
        vms_vdpa_watch_free(w);
        return code;
    }
    *out = w;
    return VMS_OK;
}

void vms_vdpa_watch_free(struct vms_vdpa_watch *watch) {
    if (!watch)
        return;
    stop(watch);
    for (size_t i = 0; i < watch->count; i++) {
        (void)close(watch->queue[i].device.events.kick);
        (void)close(watch->queue[i].device.events.call);
    }
    (void)close(watch->stop);
    free(watch->queue);
    free(watch);
}
