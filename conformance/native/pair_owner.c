/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Who owns the source's wire, instead of its engine: what the wire tells, and waiting for it. */

static void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct pair *p = ctx;
    pthread_mutex_lock(&p->mutex);
    p->seen[event->kind] = true;
    p->last[event->kind] = *event;
    if (why)
        p->why = *why;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void on_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    struct pair *p = ctx;
    pthread_mutex_lock(&p->mutex);
    cr_assert_lt(p->request_count, 4096);
    p->requests[(p->request_first + p->request_count++) % 4096] =
        (struct pair_request){block, offset, length};
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    (void)ctx;
    (void)block;
    (void)bytes;
    (void)len;
}

static void on_note(void *ctx, const char *text) {
    (void)ctx;
    if (getenv("PAIR_NOTES"))
        fprintf(stderr, "source: %s\n", text);
}

static const char *on_uri(void *ctx) {
    return ((struct pair *)ctx)->uri_text;
}

static void on_session(void *ctx, const uint8_t id[16]) {
    (void)ctx;
    (void)id;
}

void pair_own(struct pair *p) {
    p->owner = (struct src_wire_owner){.event = on_event,
                                       .request = on_request,
                                       .received = on_received,
                                       .note = on_note,
                                       .uri = on_uri,
                                       .session = on_session,
                                       .ctx = p};
}

/* Whether the event came; false: the session is over instead. */
bool pair_wait(struct pair *p, enum src_event_kind kind) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int rc = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->seen[kind] && !p->seen[SRC_EV_ABORT] && rc == 0)
        rc = pthread_cond_timedwait(&p->changed, &p->mutex, &until);
    bool seen = p->seen[kind];
    pthread_mutex_unlock(&p->mutex);
    return seen;
}

bool pair_next_request(struct pair *p, struct pair_request *r) {
    pthread_mutex_lock(&p->mutex);
    bool any = p->request_count > 0;
    if (any) {
        *r = p->requests[p->request_first];
        p->request_first = (p->request_first + 1) % 4096;
        p->request_count--;
    }
    pthread_mutex_unlock(&p->mutex);
    return any;
}

/* What is pushed before anybody has touched it is not asked for. */
void pair_wait_for_request(struct pair *p) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 20;
    pthread_mutex_lock(&p->mutex);
    while (!p->request_count && pthread_cond_timedwait(&p->changed, &p->mutex, &t) == 0) {
    }
    pthread_mutex_unlock(&p->mutex);
}
