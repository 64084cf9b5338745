/* SPDX-License-Identifier: MIT */
#include "host/populate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct vms_populate {
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    struct vms_populate_progress progress;
    bool cancelled;
    int failed; /* errno */
    /* the thread's own */
    uint64_t chunk;
    size_t count;
    struct vms_guest_block blocks[];
};

/* Asks for write access to each page and leaves what is there: an exchange of a value with itself
 * that loses to any other write. [HOST-16] */
static void touch(uint8_t *start, uint64_t len, uint64_t page_size) {
    for (uint64_t at = 0; at < len; at += page_size) {
        uint8_t was = 0;
        while (!__atomic_compare_exchange_n(start + at, &was, was, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED))
            ;
    }
}

/* 0 or errno. MADV_POPULATE_WRITE does as a write would, but writes nothing. [HOST-16] */
static int populate_chunk(uint8_t *start, uint64_t len, uint64_t page_size, bool *touching) {
    while (!*touching && madvise(start, len, MADV_POPULATE_WRITE) != 0) {
        if (errno == EINVAL)
            *touching = true;
        else if (errno != EINTR && errno != EAGAIN)
            return errno;
    }
    if (*touching)
        touch(start, len, page_size);
    return 0;
}

/* Counts what is done; false when it is time to end. Waits out a pause. */
static bool may_go_on(struct vms_populate *p, uint64_t done, int failed, bool touching) {
    pthread_mutex_lock(&p->lock);
    p->progress.done += done;
    p->progress.touching = touching;
    p->failed = failed;
    while (p->progress.paused && !p->cancelled && !failed)
        pthread_cond_wait(&p->changed, &p->lock);
    bool go = !p->cancelled && !failed;
    pthread_mutex_unlock(&p->lock);
    return go;
}

static bool populate_block(struct vms_populate *p, const struct vms_guest_block *block,
                           bool *touching) {
    uint64_t chunk = p->chunk - p->chunk % block->page_size;
    if (!chunk)
        chunk = block->page_size;
    for (uint64_t at = 0; at < block->length; at += chunk) {
        uint64_t len = block->length - at < chunk ? block->length - at : chunk;
        if (!may_go_on(p, 0, 0, *touching))
            return false;
        int failed = populate_chunk(block->memory + at, len, block->page_size, touching);
        if (!may_go_on(p, failed ? 0 : len, failed, *touching))
            return false;
    }
    return true;
}

static void *run(void *ctx) {
    struct vms_populate *p = ctx;
    bool touching = p->progress.touching;
    for (size_t i = 0; i < p->count; i++)
        if (!populate_block(p, &p->blocks[i], &touching))
            break;
    pthread_mutex_lock(&p->lock);
    p->progress.finished = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static enum vms_code start(const struct vms_guest_block *blocks, size_t count, uint64_t chunk,
                           bool touching, struct vms_populate **out, struct vms_error *err) {
    *out = NULL;
    struct vms_populate *p = calloc(1, sizeof *p + count * sizeof *blocks);
    if (!p)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    p->chunk = chunk ? chunk : UINT64_C(4) << 20;
    p->count = count;
    p->progress.touching = touching;
    for (size_t i = 0; i < count; i++) {
        p->blocks[i] = blocks[i];
        p->progress.total += blocks[i].length;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    int why = pthread_create(&p->thread, NULL, run, p);
    if (why) {
        free(p);
        return vms_error_set(err, VMS_E_IO, "a thread to populate memory: %s", strerror(why));
    }
    *out = p;
    return VMS_OK;
}

enum vms_code vms_populate_start(const struct vms_guest_block *blocks, size_t count, uint64_t chunk,
                                 struct vms_populate **out, struct vms_error *err) {
    return start(blocks, count, chunk, false, out, err);
}

enum vms_code vms_populate_start_touching(const struct vms_guest_block *blocks, size_t count,
                                          uint64_t chunk, struct vms_populate **out,
                                          struct vms_error *err) {
    return start(blocks, count, chunk, true, out, err);
}

void vms_populate_pause(struct vms_populate *p, bool paused) {
    pthread_mutex_lock(&p->lock);
    p->progress.paused = paused;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void vms_populate_progress(const struct vms_populate *populate, struct vms_populate_progress *out) {
    struct vms_populate *p = (struct vms_populate *)populate; /* its lock */
    pthread_mutex_lock(&p->lock);
    *out = p->progress;
    pthread_mutex_unlock(&p->lock);
}

enum vms_code vms_populate_wait(struct vms_populate *p, struct vms_error *err) {
    pthread_mutex_lock(&p->lock);
    while (!p->progress.finished)
        pthread_cond_wait(&p->changed, &p->lock);
    int failed = p->failed;
    pthread_mutex_unlock(&p->lock);
    if (!failed)
        return VMS_OK;
    return vms_error_set(err, failed == ENOMEM ? VMS_E_NO_MEMORY : VMS_E_IO,
                         "populating memory: %s", strerror(failed));
}

void vms_populate_stop(struct vms_populate *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->cancelled = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}
