/* SPDX-License-Identifier: MIT */
#include "host/transport.h"
#include "reference-src/wire_native_internal.h"
#include <stdlib.h>
#include <string.h>

/* A data channel's queue and its worker, which makes frames of the jobs. */

enum {
    GROUP = 2 << 20, /* bytes: MIG-10; no host page lies in two */
};

struct wn_channel *wn_channel_of(struct wire_native *w, uint32_t block, uint64_t offset) {
    return &w->channels[(block + offset / GROUP) % w->channel_count];
}

void wn_fail(struct wire_native *w, const struct vms_error *err) {
    pthread_mutex_lock(&w->mutex);
    if (!w->error.code)
        w->error = *err;
    pthread_mutex_unlock(&w->mutex);
}

enum vms_code wn_check(struct wire_native *w, struct vms_error *err) {
    pthread_mutex_lock(&w->mutex);
    if (w->error.code)
        *err = w->error;
    enum vms_code code = w->error.code;
    pthread_mutex_unlock(&w->mutex);
    return code;
}

/* The next job, or NULL: it is over. The job stays in the ring until it is done. */
static struct wn_job *next_job(struct wn_channel *c) {
    pthread_mutex_lock(&c->mutex);
    while (c->open && !c->count)
        pthread_cond_wait(&c->changed, &c->mutex);
    struct wn_job *job = c->open ? &c->jobs[c->first] : NULL;
    c->busy = job != NULL;
    c->more = job && c->count > 1;
    pthread_mutex_unlock(&c->mutex);
    return job;
}

static void job_done(struct wn_channel *c) {
    pthread_mutex_lock(&c->mutex);
    c->first = (c->first + 1) % WN_QUEUE;
    c->count--;
    c->busy = false;
    bool news = c->count <= WN_QUEUE_LOW;
    pthread_mutex_unlock(&c->mutex);
    if (news)
        pthread_cond_broadcast(&c->changed);
}

/* After a failure jobs are dropped, so that nobody waits for room. */
static void *worker(void *arg) {
    struct wn_channel *c = arg;
    struct wn_job *job;
    bool failed = false, held = false;
    vms_thread_without_sigpipe();
    while ((job = next_job(c))) {
        struct vms_error err = {.clause = ""};
        pthread_mutex_lock(&c->sending);
        if (!failed && wn_send_job(c, job, &err) != VMS_OK) {
            failed = true;
            wn_fail(c->wire, &err);
        }
        if (held && !c->more) /* the last job may have had nothing to send */
            vms_native_link_flush(c->wire->link, c->number);
        held = c->more;
        pthread_mutex_unlock(&c->sending);
        job_done(c);
    }
    return NULL;
}

/* With the channel's mutex: the free place behind the last job. */
static struct wn_job *free_job(struct wn_channel *c) {
    while (c->open && c->count == WN_QUEUE)
        pthread_cond_wait(&c->changed, &c->mutex);
    return &c->jobs[(c->first + c->count) % WN_QUEUE];
}

enum vms_code wn_channel_put(struct wn_channel *c, const struct wn_job *job,
                             struct vms_error *err) {
    if (wn_check(c->wire, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&c->mutex);
    *free_job(c) = *job;
    c->count++;
    pthread_mutex_unlock(&c->mutex);
    pthread_cond_broadcast(&c->changed); /* not before: who wakes up wants the mutex */
    return VMS_OK;
}

enum vms_code wn_channel_put_batch(struct wn_channel *c, const struct src_batch *batch,
                                   struct vms_error *err) {
    if (wn_check(c->wire, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&c->mutex);
    struct wn_job *job = free_job(c);
    job->kind = WN_BATCH;
    job->batch = *batch;
    c->count++;
    pthread_mutex_unlock(&c->mutex);
    pthread_cond_broadcast(&c->changed); /* not before: who wakes up wants the mutex */
    return VMS_OK;
}

enum vms_code wn_channel_drain(struct wn_channel *c, struct vms_error *err) {
    pthread_mutex_lock(&c->mutex);
    while (c->open && c->count)
        pthread_cond_wait(&c->changed, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    return wn_check(c->wire, err);
}

enum vms_code wn_channel_open(struct wire_native *w, struct wn_channel *c, uint16_t number,
                              bool with_worker, struct vms_error *err) {
    *c = (struct wn_channel){.wire = w, .number = number, .open = true, .generation = 1};
    pthread_mutex_init(&c->mutex, NULL);
    pthread_mutex_init(&c->sending, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->jobs = calloc(WN_QUEUE, sizeof *c->jobs);
    c->hashes = malloc(SRC_BATCH_PAGES * sizeof(uint64_t));
    if (!c->jobs || !c->hashes)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (wn_packer_make(c, err) != VMS_OK ||
        vms_native_link_attach(w->link, number, 0, err) != VMS_OK)
        return err->code;
    if (with_worker)
        c->runs = pthread_create(&c->thread, NULL, worker, c) == 0;
    return c->runs == with_worker ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "threads");
}

/* The link is closed, or has failed: a worker that sends returns. */
void wn_channel_close(struct wn_channel *c) {
    if (!c->wire)
        return;
    pthread_mutex_lock(&c->mutex);
    c->open = false;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->mutex);
    if (c->runs)
        (void)pthread_join(c->thread, NULL);
    wn_packer_free(c);
    free(c->jobs);
    free(c->hashes);
    pthread_mutex_destroy(&c->mutex);
    pthread_mutex_destroy(&c->sending);
    pthread_cond_destroy(&c->changed);
    *c = (struct wn_channel){.wire = NULL};
}
