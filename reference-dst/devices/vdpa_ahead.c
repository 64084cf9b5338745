/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vdpa_internal.h"

#include <time.h>

/*
 * [VDPA-28] While the source runs: rings are made, filters told, as far as the state is known and
 * as soon as all memory is mapped. What comes later changes what is different.
 */

static uint64_t now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_same(const struct vms_vdpa_profile *a, const struct vms_vdpa_profile *b) {
    return a->features == b->features && a->queues == b->queues;
}

/* Another driver's features need a reset, which may lose the maps: that waits for the end. */
static bool can_follow(const struct one *one, const struct vms_vdpa_state *to) {
    return (to->status & VMS_VDPA_DRIVER_OK) &&
           (!vms_vdpa_card_is_prepared(one->seat.card) ||
            is_same(&vms_vdpa_card_state(one->seat.card)->profile, &to->profile));
}

static void prepare(struct one *one, const struct vms_vdpa_state *to) {
    struct dst_vdpa_ahead *a = &one->ahead;
    struct vms_error err = {.code = VMS_OK};
    uint64_t began = now();
    if (!can_follow(one, to))
        return;
    enum vms_code code = vms_vdpa_card_prepare(one->seat.card, to, one->events, &err);
    (void)pthread_mutex_lock(&a->lock);
    a->count += vms_vdpa_card_is_prepared(one->seat.card);
    a->ns += now() - began;
    a->code = code;
    a->err = err;
    (void)pthread_mutex_unlock(&a->lock);
    if (code != VMS_OK) /* now, and not when the source has stopped */
        one->set->owner.failed(one->set->owner.ctx, (size_t)(one - one->set->one), &err);
}

static bool has_work(const struct dst_vdpa_ahead *a) {
    return a->maps_in && a->version > a->applied && a->code == VMS_OK;
}

static void *work(void *ctx) {
    struct one *one = ctx;
    struct dst_vdpa_ahead *a = &one->ahead;
    (void)pthread_mutex_lock(&a->lock);
    while (!a->quit) {
        if (!has_work(a)) {
            (void)pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        struct vms_vdpa_state to = a->wanted;
        a->applied = a->version;
        (void)pthread_mutex_unlock(&a->lock);
        prepare(one, &to);
        (void)pthread_mutex_lock(&a->lock);
    }
    (void)pthread_mutex_unlock(&a->lock);
    return NULL;
}

void dst_vdpa_ahead_init(struct one *one) {
    (void)pthread_mutex_init(&one->ahead.lock, NULL);
    (void)pthread_cond_init(&one->ahead.changed, NULL);
}

/* Without a thread all is done at the end. */
void dst_vdpa_ahead_state(struct one *one) {
    struct dst_vdpa_ahead *a = &one->ahead;
    (void)pthread_mutex_lock(&a->lock);
    a->wanted = one->state;
    a->version++;
    if (!a->runs && !a->quit)
        a->runs = pthread_create(&a->thread, NULL, work, one) == 0;
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
}

void dst_vdpa_ahead_maps(struct one *one, bool in) {
    struct dst_vdpa_ahead *a = &one->ahead;
    (void)pthread_mutex_lock(&a->lock);
    a->maps_in = in;
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
}

enum vms_code dst_vdpa_ahead_end(struct one *one, struct vms_error *err) {
    struct dst_vdpa_ahead *a = &one->ahead;
    (void)pthread_mutex_lock(&a->lock);
    bool join = a->runs;
    a->runs = false;
    a->quit = true;
    (void)pthread_cond_broadcast(&a->changed);
    (void)pthread_mutex_unlock(&a->lock);
    if (join)
        (void)pthread_join(a->thread, NULL);
    if (a->code != VMS_OK)
        *err = a->err;
    return a->code;
}

/* [VDPA-10] The maps that a reset loses are made anew. */
static enum vms_code begin_again(struct one *one, struct vms_error *err) {
    enum vms_code code = vms_vdpa_card_reset(one->seat.card, err);
    return code == VMS_OK ? vms_vdpa_seat_map_again(&one->seat, err) : code;
}

enum vms_code dst_vdpa_ahead_rest(struct one *one, struct vms_error *err) {
    enum vms_code code = dst_vdpa_ahead_end(one, err);
    if (code == VMS_OK && vms_vdpa_card_is_prepared(one->seat.card) &&
        !can_follow(one, &one->state))
        code = begin_again(one, err);
    if (code == VMS_OK && (one->state.status & VMS_VDPA_DRIVER_OK))
        code = vms_vdpa_card_prepare(one->seat.card, &one->state, one->events, err);
    return code;
}
