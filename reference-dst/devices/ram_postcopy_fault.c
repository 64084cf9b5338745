/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "reference-dst/devices/ram_postcopy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Somebody touches a page that is not there: who waits, what is asked for, how long it took. */

/* ---- the list of who waits: one entry a host page, oldest first. lock held ---- */

static struct pc_wait *find_wait(struct dst_postcopy *p, size_t block, uint64_t unit) {
    for (size_t i = 0; i < p->wait_count; i++)
        if (p->waits[i].block == block && p->waits[i].unit == unit)
            return &p->waits[i];
    return NULL;
}

static bool grow(struct dst_postcopy *p) {
    size_t room = p->wait_room ? 2 * p->wait_room : 64;
    if (p->wait_count < p->wait_room)
        return true;
    struct pc_wait *waits = realloc(p->waits, room * sizeof *waits);
    if (!waits)
        return false;
    p->waits = waits;
    p->wait_room = room;
    return true;
}

static void remove_wait(struct dst_postcopy *p, struct pc_wait *w) {
    size_t i = (size_t)(w - p->waits), left = p->wait_count - i - 1;
    memmove(w, w + 1, left * sizeof *w);
    atomic_fetch_sub(&p->wait_count, 1);
}

/*
 * Either the fault's thread sees that the page is shown when it has entered itself, or this sees
 * the entry: both sides write first and look afterwards.
 */
void pc_served(struct dst_postcopy *p, size_t block, uint64_t unit) {
    if (atomic_load(&p->wait_count) == 0)
        return;
    uint64_t ns = 0;
    (void)pthread_mutex_lock(&p->lock);
    struct pc_wait *w = find_wait(p, block, unit);
    if (w) {
        ns = pc_now() - w->since;
        vms_histogram_add(&p->stats.latency, ns);
        p->stats.inversions += w != p->waits;
        remove_wait(p, w);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (ns && p->config.served)
        p->config.served(p->config.ctx, ns);
}

/* ---- faults ---- */

static bool locate(const struct dst_postcopy *p, const uint8_t *address, size_t *block) {
    for (size_t i = 0; i < p->config.block_count; i++) {
        const struct vms_guest_block *b = &p->blocks[i].map;
        if (address >= b->memory && address < b->memory + b->length) {
            *block = i;
            return true;
        }
    }
    return false;
}

enum entry {
    ENTERED, /* nobody had asked for it */
    KNOWN,   /* is being waited for */
    SHOWN,   /* became visible meanwhile */
    NO_ROOM,
};

static enum entry enter(struct dst_postcopy *p, size_t block, uint64_t unit, uint64_t since) {
    enum entry result = KNOWN;
    (void)pthread_mutex_lock(&p->lock);
    struct pc_wait *w = find_wait(p, block, unit);
    if (!w && !grow(p)) {
        result = NO_ROOM;
    } else if (!w) {
        w = &p->waits[p->wait_count];
        *w = (struct pc_wait){block, unit, since};
        atomic_fetch_add(&p->wait_count, 1);
        result = ENTERED;
    }
    if (w && pc_bit(p->blocks[block].shown, unit)) {
        remove_wait(p, w);
        result = SHOWN;
    }
    p->stats.requests += result == ENTERED;
    (void)pthread_mutex_unlock(&p->lock);
    return result;
}

static void ask(struct dst_postcopy *p, size_t block, uint64_t unit) {
    uint64_t size = p->blocks[block].unit;
    p->config.request(p->config.ctx, block, unit * size, size);
}

/* [DST-15] Asks for the host page once. While paused resume() will ask. */
static enum entry wait_for(struct dst_postcopy *p, size_t block, uint64_t unit, uint64_t since) {
    (void)pthread_mutex_lock(&p->asking);
    enum entry result = enter(p, block, unit, since);
    if (result == ENTERED && !atomic_load(&p->paused))
        ask(p, block, unit);
    (void)pthread_mutex_unlock(&p->asking);
    return result;
}

static enum vms_code serve(struct dst_postcopy *p, const struct vms_uffd_fault *fault,
                           uint64_t since, struct vms_error *err) {
    size_t block;
    if (!locate(p, fault->address, &block))
        return VMS_OK;
    struct pc_block *b = &p->blocks[block];
    uint64_t offset = (uint64_t)(fault->address - b->map.memory), unit = offset / b->unit;
    enum entry result = pc_bit(b->shown, unit) ? SHOWN : wait_for(p, block, unit, since);
    if (result == NO_ROOM)
        return vms_error_set(err, VMS_E_NO_MEMORY, "faults that wait");
    if (result != SHOWN)
        return VMS_OK;
    /* [DST-16] it has arrived: a hole, or a page that is not mapped */
    atomic_fetch_add(&p->local, 1);
    return pc_show_again(p, b, b->map.memory + offset / b->map.page_size * b->map.page_size, err);
}

void *pc_fault_thread(void *arg) {
    struct dst_postcopy *p = arg;
    struct vms_uffd_fault faults[VMS_UFFD_BATCH];
    struct vms_error err = {0};
    enum vms_code code = VMS_OK;
    vms_thread_urgent();
    while (code == VMS_OK) {
        size_t count = 0;
        enum vms_wait w = vms_uffd_read(p->fd, faults, VMS_UFFD_BATCH, &count, VMS_NEVER, p->stop);
        uint64_t since = pc_now();
        if (w == VMS_WAIT_CANCELLED)
            return NULL;
        if (w != VMS_WAIT_READY)
            code = vms_error_set(&err, VMS_E_IO, "reading faults: %s", strerror(errno));
        atomic_fetch_add(&p->faults, count);
        for (size_t i = 0; i < count && code == VMS_OK; i++)
            code = serve(p, &faults[i], since, &err);
    }
    p->config.failed(p->config.ctx, &err);
    return NULL;
}

/* ---- a cut, and after it ---- */

void dst_postcopy_pause(struct dst_postcopy *p) {
    if (!atomic_exchange(&p->paused, true)) {
        (void)pthread_mutex_lock(&p->lock);
        p->stats.pauses++;
        (void)pthread_mutex_unlock(&p->lock);
    }
    pc_drop_making(p);
}

/* Who waits now; NULL: nobody, or no memory, and then what is pushed serves them. */
static struct pc_wait *copy_waits(struct dst_postcopy *p, size_t *count) {
    (void)pthread_mutex_lock(&p->lock);
    struct pc_wait *waits = p->wait_count ? malloc(p->wait_count * sizeof *waits) : NULL;
    *count = waits ? p->wait_count : 0;
    if (waits)
        memcpy(waits, p->waits, *count * sizeof *waits);
    p->stats.repeated += *count;
    (void)pthread_mutex_unlock(&p->lock);
    return waits;
}

/* [REC-4] Pages may be coming while this asks, on the other channel. */
void dst_postcopy_resume(struct dst_postcopy *p) {
    size_t count;
    (void)pthread_mutex_lock(&p->asking);
    struct pc_wait *waits = copy_waits(p, &count);
    for (size_t i = 0; i < count; i++)
        if (!pc_bit(p->blocks[waits[i].block].shown, waits[i].unit))
            ask(p, waits[i].block, waits[i].unit);
    atomic_store(&p->paused, false);
    (void)pthread_mutex_unlock(&p->asking);
    free(waits);
}

/* ---- statistics ---- */

void dst_postcopy_stats(const struct dst_postcopy *p, struct dst_postcopy_stats *out) {
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&p->lock;
    (void)pthread_mutex_lock(lock);
    *out = p->stats;
    out->waiting = p->wait_count;
    (void)pthread_mutex_unlock(lock);
    out->faults = atomic_load(&p->faults);
    out->local = atomic_load(&p->local);
    out->placed = atomic_load(&p->placed);
    out->zero = atomic_load(&p->zero);
}
