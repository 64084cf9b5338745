/* SPDX-License-Identifier: MIT */
#include "host/vdpa_map.h"
#include "host/vdpa_internal.h"
#include "host/vdpa_plan.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    CHUNK = 128 << 20, /* at the 70 ms a GB of real hardware: 9 ms */
    BATCH = 16,
    MAX_MAPS = 2048,
};

struct vms_vdpa_map {
    struct vms_vdpa *device;
    struct vms_vdpa_map_options o;
    pthread_mutex_t lock; /* all below, but held, which is the thread's */
    pthread_cond_t change;
    pthread_t thread;
    bool running, stop, cancel;
    struct vms_vdpa_list wanted;
    struct vms_vdpa_progress p;
    struct vms_error error;
    struct vms_vdpa_list held; /* what the kernel has */
};

static uint64_t now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** A piece is at most this long: all of them are not more than the device takes. */
static uint64_t chunk_of(const struct vms_vdpa_map *m, const struct vms_vdpa_list *wanted) {
    uint64_t chunk = m->o.chunk, bytes = vms_vdpa_list_bytes(wanted);
    /* each region may begin and end inside a piece, and what is held may be cut smaller */
    uint64_t most = m->o.max_maps > 4 * wanted->count ? m->o.max_maps / 2 - wanted->count : 1;
    while (bytes / chunk > most && chunk < UINT64_C(1) << 62)
        chunk *= 2;
    return chunk;
}

/** [VDPA-5] Between two batches: whether the layout that is worked at is still the one. */
static bool goes_on(struct vms_vdpa_map *m, uint64_t generation, uint64_t busy) {
    (void)pthread_mutex_lock(&m->lock);
    m->p.busy_ns += busy;
    m->p.maps = m->held.count;
    m->p.mapped = vms_vdpa_list_bytes(&m->held);
    bool good = !m->stop && !m->cancel && m->p.generation == generation;
    struct vms_vdpa_progress p = m->p;
    (void)pthread_mutex_unlock(&m->lock);
    if (m->o.changed)
        m->o.changed(m->o.ctx, &p);
    return good;
}

static enum vms_code forget(struct vms_vdpa_map *m, const struct vms_vdpa_region *region,
                            struct vms_error *err) {
    size_t i = 0;
    enum vms_code code = vms_vdpa_unmap(m->device, region, err);
    while (code == VMS_OK && i < m->held.count &&
           (m->held.at[i].space != region->space || m->held.at[i].iova != region->iova))
        i++;
    if (code == VMS_OK)
        vms_vdpa_list_remove(&m->held, i);
    return code;
}

static enum vms_code add(struct vms_vdpa_map *m, const struct vms_vdpa_region *region,
                         struct vms_error *err) {
    if (!vms_vdpa_list_insert(&m->held, region)) /* what is mapped is never forgotten */
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = vms_vdpa_map(m->device, region, err);
    for (size_t i = 0; code != VMS_OK && i < m->held.count; i++)
        if (m->held.at[i].space == region->space && m->held.at[i].iova == region->iova)
            vms_vdpa_list_remove(&m->held, i--);
    return code;
}

typedef enum vms_code change(struct vms_vdpa_map *m, const struct vms_vdpa_region *region,
                             struct vms_error *err);

/**
 * How many make the next batch. [VDPA-31] The last of an address space goes alone, outside of a
 * batch: the kernel drops what the device answers to the end of one, and tells it then, of all maps
 * of that address space.
 */
static uint32_t batch_size(const struct vms_vdpa_map *m, const struct vms_vdpa_list *list,
                           size_t at) {
    uint32_t n = 0;
    while (n < m->o.batch && at + n + 1 < list->count &&
           list->at[at + n + 1].space == list->at[at].space)
        n++;
    return n ? n : 1;
}

/** One batch, of one address space [VDPA-5]; *at: behind it. */
static enum vms_code batch(struct vms_vdpa_map *m, const struct vms_vdpa_list *list, size_t *at,
                           change *each, struct vms_error *err) {
    const uint32_t space = list->at[*at].space, count = batch_size(m, list, *at);
    struct vms_error second;
    if (count == 1)
        return each(m, &list->at[(*at)++], err);
    enum vms_code code = vms_vdpa_batch(m->device, space, true, err);
    if (code != VMS_OK)
        return code;
    for (uint32_t n = 0; n < count && code == VMS_OK; n++, ++*at)
        code = each(m, &list->at[*at], err);
    enum vms_code end = vms_vdpa_batch(m->device, space, false, code == VMS_OK ? err : &second);
    return code == VMS_OK ? end : code;
}

/** All of the list, or until somebody wants something else. */
static enum vms_code run(struct vms_vdpa_map *m, const struct vms_vdpa_list *list, change *each,
                         uint64_t generation, bool *on, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (size_t at = 0; at < list->count && code == VMS_OK && *on;) {
        uint64_t began = now();
        code = batch(m, list, &at, each, err);
        *on = goes_on(m, generation, now() - began);
    }
    return code;
}

static void note_gone(struct vms_vdpa_map *m, uint64_t generation) {
    (void)pthread_mutex_lock(&m->lock);
    m->p.gone = generation;
    (void)pthread_cond_broadcast(&m->change);
    (void)pthread_mutex_unlock(&m->lock);
}

/* [VDPA-6] What goes makes room first. */
static enum vms_code follow(struct vms_vdpa_map *m, const struct vms_vdpa_list *wanted,
                            uint64_t generation, bool *on, struct vms_error *err) {
    struct vms_vdpa_list unmap, map;
    enum vms_code code = VMS_OK;
    *on = true;
    if (!vms_vdpa_plan(&m->held, wanted, chunk_of(m, wanted), &unmap, &map))
        code = vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (code == VMS_OK)
        code = run(m, &unmap, forget, generation, on, err);
    if (code == VMS_OK && *on)
        note_gone(m, generation);
    if (code == VMS_OK)
        code = run(m, &map, add, generation, on, err);
    vms_vdpa_list_clear(&unmap);
    vms_vdpa_list_clear(&map);
    return code;
}

/** What one address space holds, in a batch; what fails stays in the list. */
static size_t unmap_space(struct vms_vdpa_map *m, size_t i, size_t *left) {
    const uint32_t space = m->held.at[i].space;
    struct vms_error ignored;
    (void)vms_vdpa_batch(m->device, space, true, &ignored);
    for (; i < m->held.count && m->held.at[i].space == space; i++)
        if (vms_vdpa_unmap(m->device, &m->held.at[i], &ignored) != VMS_OK)
            m->held.at[(*left)++] = m->held.at[i];
    (void)vms_vdpa_batch(m->device, space, false, &ignored);
    return i;
}

/* [VDPA-7] All, whatever fails, and what failed once more: the rest goes when the device is closed.
 */
static void unmap_all(struct vms_vdpa_map *m) {
    for (int again = 0; again < 2; again++) {
        size_t left = 0;
        for (size_t i = 0; i < m->held.count;)
            i = unmap_space(m, i, &left);
        m->held.count = left;
    }
    m->held.count = 0;
}

/** Waits for work: a copy of what is wanted; false: it is over. */
static bool next(struct vms_vdpa_map *m, struct vms_vdpa_list *wanted, uint64_t *generation,
                 enum vms_code *code, struct vms_error *err) {
    (void)pthread_mutex_lock(&m->lock);
    while (!m->stop && !m->cancel && (m->p.failed || m->p.done == m->p.generation))
        (void)pthread_cond_wait(&m->change, &m->lock);
    bool on = !m->stop && !m->cancel;
    *generation = m->p.generation;
    if (on)
        *code = vms_vdpa_list_copy(wanted, m->wanted.at, m->wanted.count, err);
    (void)pthread_mutex_unlock(&m->lock);
    return on;
}

static void settle(struct vms_vdpa_map *m, uint64_t generation, bool on, enum vms_code code,
                   const struct vms_error *err) {
    if (code != VMS_OK)
        unmap_all(m);
    (void)pthread_mutex_lock(&m->lock);
    if (code != VMS_OK) {
        m->error = *err;
        m->p.failed = true;
    } else if (on) {
        m->p.done = generation;
    }
    (void)pthread_cond_broadcast(&m->change);
    (void)pthread_mutex_unlock(&m->lock);
    (void)goes_on(m, generation, 0);
}

static void *work(void *ctx) {
    struct vms_vdpa_map *m = ctx;
    struct vms_vdpa_list wanted = {NULL, 0, 0};
    struct vms_error err = {.code = VMS_OK};
    enum vms_code code = VMS_OK;
    uint64_t generation;
    bool on = false;
    while (next(m, &wanted, &generation, &code, &err)) {
        if (code == VMS_OK)
            code = follow(m, &wanted, generation, &on, &err);
        settle(m, generation, on, code, &err);
        vms_vdpa_list_clear(&wanted);
    }
    if (m->cancel) /* nobody takes that back */
        unmap_all(m);
    return NULL;
}

/* ---- the caller's side ---- */

enum vms_code vms_vdpa_map_want(struct vms_vdpa_map *map, const struct vms_vdpa_region *regions,
                                size_t count, uint64_t *generation, struct vms_error *err) {
    struct vms_vdpa_list list;
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        code = vms_vdpa_check(map->device, &regions[i], err);
    if (code == VMS_OK)
        code = vms_vdpa_list_copy(&list, regions, count, err);
    if (code != VMS_OK)
        return code;
    (void)pthread_mutex_lock(&map->lock);
    struct vms_vdpa_list old = map->wanted;
    map->wanted = list;
    map->p.wanted = vms_vdpa_list_bytes(&list);
    *generation = ++map->p.generation;
    (void)pthread_cond_broadcast(&map->change);
    (void)pthread_mutex_unlock(&map->lock);
    vms_vdpa_list_clear(&old);
    return VMS_OK;
}

static enum vms_code error_of(const struct vms_vdpa_map *m, struct vms_error *err) {
    if (m->p.failed)
        *err = m->error;
    return m->p.failed ? m->error.code : VMS_OK;
}

static enum vms_code wait_until(struct vms_vdpa_map *m, const uint64_t *what, uint64_t generation,
                                struct vms_error *err) {
    (void)pthread_mutex_lock(&m->lock);
    while (!m->p.failed && !m->cancel && *what < generation)
        (void)pthread_cond_wait(&m->change, &m->lock);
    enum vms_code code = error_of(m, err);
    if (code == VMS_OK && *what < generation)
        code = vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: mapping was given up",
                             vms_vdpa_name(m->device));
    (void)pthread_mutex_unlock(&m->lock);
    return code;
}

enum vms_code vms_vdpa_map_wait(struct vms_vdpa_map *map, uint64_t generation,
                                struct vms_error *err) {
    return wait_until(map, &map->p.done, generation, err);
}

enum vms_code vms_vdpa_map_wait_gone(struct vms_vdpa_map *map, uint64_t generation,
                                     struct vms_error *err) {
    return wait_until(map, &map->p.gone, generation, err);
}

void vms_vdpa_map_progress(struct vms_vdpa_map *map, struct vms_vdpa_progress *out) {
    (void)pthread_mutex_lock(&map->lock);
    *out = map->p;
    (void)pthread_mutex_unlock(&map->lock);
}

enum vms_code vms_vdpa_map_error(struct vms_vdpa_map *map, struct vms_error *err) {
    (void)pthread_mutex_lock(&map->lock);
    enum vms_code code = error_of(map, err);
    (void)pthread_mutex_unlock(&map->lock);
    return code;
}

static void finish(struct vms_vdpa_map *m, bool cancel) {
    (void)pthread_mutex_lock(&m->lock);
    bool join = m->running;
    m->running = false;
    m->stop = true;
    m->cancel = m->cancel || cancel;
    (void)pthread_cond_broadcast(&m->change);
    (void)pthread_mutex_unlock(&m->lock);
    if (join)
        (void)pthread_join(m->thread, NULL);
    if (cancel) {
        unmap_all(m);
        (void)goes_on(m, 0, 0);
    }
}

void vms_vdpa_map_cancel(struct vms_vdpa_map *map) {
    finish(map, true);
}

void vms_vdpa_map_free(struct vms_vdpa_map *map) {
    if (!map)
        return;
    finish(map, false);
    vms_vdpa_list_clear(&map->wanted);
    vms_vdpa_list_clear(&map->held);
    (void)pthread_cond_destroy(&map->change);
    (void)pthread_mutex_destroy(&map->lock);
    free(map);
}

enum vms_code vms_vdpa_map_new(struct vms_vdpa *device, const struct vms_vdpa_map_options *options,
                               struct vms_vdpa_map **out, struct vms_error *err) {
    struct vms_vdpa_map *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    m->device = device;
    m->o = *options;
    m->o.chunk = m->o.chunk ? m->o.chunk : CHUNK;
    m->o.batch = m->o.batch ? m->o.batch : BATCH;
    m->o.max_maps = m->o.max_maps ? m->o.max_maps : MAX_MAPS;
    (void)pthread_mutex_init(&m->lock, NULL);
    (void)pthread_cond_init(&m->change, NULL);
    m->running = pthread_create(&m->thread, NULL, work, m) == 0;
    if (!m->running) {
        vms_vdpa_map_free(m);
        return vms_error_set(err, VMS_E_NO_MEMORY, "no thread");
    }
    *out = m;
    return VMS_OK;
}
