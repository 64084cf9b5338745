/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <time.h>

/* The synchronisation of multifd channels with the main channel: MFD-12. */

bool dst_wait(struct dst_session *s, vms_deadline deadline) {
    if (deadline == VMS_NEVER) {
        pthread_cond_wait(&s->changed, &s->lock);
        return true;
    }
    struct timespec at = {(time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000};
    return pthread_cond_timedwait(&s->changed, &s->lock, &at) == 0;
}

/* A channel that main waits for and that will not come to this sync. */
static bool lost(const struct dst_channel *c, uint64_t sync) {
    return c->kind == VMS_QEVM_MULTIFD && c->ended && c->syncs < sync;
}

static bool late(const struct dst_channel *c, uint64_t sync) {
    return c->kind == VMS_QEVM_MULTIFD && !c->ended && c->syncs < sync;
}

static bool any(const struct dst_session *s, uint64_t sync,
                bool (*is)(const struct dst_channel *, uint64_t)) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (is(s->channels[i], sync))
            return true;
    return false;
}

static bool failed(struct dst_session *s, enum vms_code code, uint64_t sync) {
    struct vms_error err = {0};
    (void)vms_error_set(&err, code, "synchronisation %llu", (unsigned long long)sync);
    pthread_mutex_unlock(&s->lock);
    (void)dst_session_fail(s, &err);
    return false;
}

bool dst_barrier_main(struct dst_session *s, uint64_t sync) {
    vms_deadline deadline = vms_deadline_in(s->options->timeout_ms);
    dst_settle(s);
    pthread_mutex_lock(&s->lock);
    while (!s->over && any(s, sync, late))
        if (!dst_wait(s, deadline))
            return failed(s, VMS_E_TIMEOUT, sync);
    if (!s->over && any(s, sync, lost))
        return failed(s, VMS_E_MULTIFD_SYNC, sync);
    s->released = sync;
    bool go = !s->over;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return go;
}

bool dst_barrier_channel(struct dst_channel *c) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    c->syncs++;
    pthread_cond_broadcast(&s->changed);
    while (!s->over && s->released < c->syncs)
        (void)dst_wait(s, VMS_NEVER);
    bool go = !s->over;
    pthread_mutex_unlock(&s->lock);
    return go;
}
