/* SPDX-License-Identifier: MIT */
#include "reference-src/recorded.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* A guest over recorded memory: it writes garbage that it takes back before it stops. */

enum {
    PAGE = 4096,
    TICK_MS = 10,
    SPOILED_MAX = 4096, /* pages that hold garbage at a time */
};

struct src_replay {
    struct vms_guest guest;
    uint64_t pages; /* of all blocks */
    uint32_t per_tick;
    uint64_t seed;
    _Atomic unsigned throttle; /* percent */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool running, ending;
    pthread_t thread;
    bool has_thread;

    uint8_t *spoiled[SPOILED_MAX]; /* a ring: first, count */
    uint8_t (*content)[PAGE];      /* what was there */
    size_t first, count;
};

/* ---- garbage ---- */

static uint8_t *some_page(struct src_replay *r) {
    r->seed = r->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    uint64_t page = (r->seed >> 20) % r->pages;
    for (size_t i = 0; i < r->guest.block_count; i++) {
        const struct vms_guest_block *b = &r->guest.blocks[i];
        if (page < b->length / PAGE)
            return b->memory + page * PAGE;
        page -= b->length / PAGE;
    }
    return NULL;
}

static void restore_oldest(struct src_replay *r) {
    memcpy(r->spoiled[r->first], r->content[r->first], PAGE);
    r->first = (r->first + 1) % SPOILED_MAX;
    r->count--;
}

static bool is_spoiled(const struct src_replay *r, const uint8_t *page) {
    for (size_t i = 0; i < r->count; i++)
        if (r->spoiled[(r->first + i) % SPOILED_MAX] == page)
            return true;
    return false;
}

static void spoil(struct src_replay *r) {
    uint8_t *page = some_page(r);
    if (!page || is_spoiled(r, page))
        return;
    size_t at = (r->first + r->count++) % SPOILED_MAX;
    r->spoiled[at] = page;
    memcpy(r->content[at], page, PAGE);
    memset(page, (int)(r->seed >> 40) | 1, PAGE);
}

/* A page stays spoiled for about five ticks, so that it is sent spoiled, too. */
static void tick(struct src_replay *r) {
    unsigned n = r->per_tick * (100 - atomic_load(&r->throttle)) / 100;
    for (unsigned i = 0; i < n; i++) {
        if (r->count && (r->count == SPOILED_MAX || r->count >= (size_t)5 * r->per_tick))
            restore_oldest(r);
        spoil(r);
    }
}

static void *run_thread(void *ctx) {
    struct src_replay *r = ctx;
    pthread_mutex_lock(&r->lock);
    while (!r->ending) {
        struct timespec t;
        if (r->running)
            tick(r);
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += TICK_MS * 1000000L;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&r->changed, &r->lock, &t);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- the guest's operations ---- */

static enum vms_code set_running(struct src_replay *r, bool running) {
    pthread_mutex_lock(&r->lock);
    r->running = running;
    while (!running && r->count)
        restore_oldest(r);
    pthread_mutex_unlock(&r->lock);
    return VMS_OK;
}

static enum vms_code replay_stop(void *ctx, struct vms_error *err) {
    (void)err;
    return set_running(ctx, false);
}

static enum vms_code replay_run(void *ctx, struct vms_error *err) {
    (void)err;
    return set_running(ctx, true);
}

static void replay_throttle(void *ctx, unsigned percent) {
    struct src_replay *r = ctx;
    atomic_store(&r->throttle, percent < 99 ? percent : 99);
}

static enum vms_code replay_locks(void *ctx, bool take, struct vms_error *err) {
    (void)ctx, (void)take, (void)err;
    return VMS_OK;
}

static void replay_announce(void *ctx) {
    (void)ctx;
}

/* Its state is the recorded device sections, which the wire sends. */
static enum vms_code replay_save(void *ctx, const uint8_t **bytes, size_t *len,
                                 struct vms_error *err) {
    (void)ctx, (void)err;
    *bytes = NULL;
    *len = 0;
    return VMS_OK;
}

static enum vms_code replay_load(void *ctx, const uint8_t *bytes, size_t len,
                                 struct vms_error *err) {
    (void)ctx, (void)bytes, (void)len;
    return vms_error_set(err, VMS_E_MISUSE, "a recorded guest is not loaded here");
}

static const struct vms_guest_ops OPS = {replay_stop,  replay_run,      replay_throttle,
                                         replay_locks, replay_announce, replay_save,
                                         replay_load};

/* ---- life ---- */

enum vms_code src_replay_new(const struct src_recorded *recorded, uint32_t pages_per_second,
                             struct src_replay **out, struct vms_error *err) {
    struct src_replay *r = calloc(1, sizeof *r);
    if (!r)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    r->guest = (struct vms_guest){&OPS, r, recorded->blocks, recorded->block_count};
    for (size_t i = 0; i < recorded->block_count; i++)
        r->pages += recorded->blocks[i].length / PAGE;
    r->per_tick = (pages_per_second * TICK_MS + 999) / 1000;
    r->seed = 1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &clock);
    pthread_condattr_destroy(&clock);
    r->content = malloc(sizeof *r->content * SPOILED_MAX);
    r->has_thread = r->content && r->per_tick && r->pages &&
                    pthread_create(&r->thread, NULL, run_thread, r) == 0;
    if (!r->content || (r->per_tick && !r->has_thread)) {
        src_replay_free(r);
        return vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    }
    *out = r;
    return VMS_OK;
}

const struct vms_guest *src_replay_guest(struct src_replay *replay) {
    return &replay->guest;
}

void src_replay_free(struct src_replay *r) {
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->ending = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (r->has_thread)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->content);
    free(r);
}
