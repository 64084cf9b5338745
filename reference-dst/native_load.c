/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"

/* What START asks for: everything in its place, compared, and the guest's state taken. */

static bool wait_for_data(struct dst_native_session *s, bool postcopy) {
    pthread_mutex_lock(&s->lock);
    while (!dn_all_applied(s, postcopy) && !s->stopping && !s->link_over)
        pthread_cond_wait(&s->changed, &s->lock);
    bool complete = dn_all_applied(s, postcopy);
    pthread_mutex_unlock(&s->lock);
    return complete;
}

/* In postcopy: of the pages that stay. The others are compared when they are placed (MIG-24). */
static uint64_t verdict(struct dst_native_session *s) {
    if (!(s->features & VMS_FEATURE_DIGEST))
        return 0;
    int64_t begin = dn_now_us();
    s->result.pages_different = dn_compare_rest(s);
    s->result.verdict_us = dn_now_us() - begin;
    return s->result.pages_different ? 2 : 1;
}

static enum vms_code load_guest(struct dst_native_session *s, struct vms_error *err) {
    const struct vms_guest *g = s->config.guest;
    if (!s->guest_state_whole)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "the guest's state is missing");
    return g ? g->ops->load(g->ctx, s->guest_state, s->guest_state_len, err) : VMS_OK;
}

static void *loader(void *arg) {
    struct dst_native_session *s = arg;
    struct vms_error err = {.clause = ""};
    bool postcopy = s->load_postcopy;
    if (!wait_for_data(s, postcopy))
        return NULL;
    bool proven = dn_seal_off(s);
    uint64_t v = proven ? verdict(s) : 0;
    s->result.verdict = v;
    if (!proven)
        (void)vms_error_set(&err, VMS_E_MIG_UNPROVEN, NULL);
    if (!proven || dn_devices_verify(s, &err) != VMS_OK || load_guest(s, &err) != VMS_OK ||
        (postcopy && dn_listen(s, &err) != VMS_OK))
        dn_fail(s, &err);
    else
        dn_post(s, DST_NEV_LOADED, s->load_generation, v);
    return NULL;
}

void dn_load(struct dst_native_session *s, uint64_t generation, bool postcopy) {
    if (s->loader_runs)
        (void)pthread_join(s->loader, NULL);
    s->load_generation = generation;
    s->load_postcopy = postcopy;
    s->loader_runs = pthread_create(&s->loader, NULL, loader, s) == 0;
    if (!s->loader_runs) {
        struct vms_error err = {.clause = ""};
        (void)vms_error_set(&err, VMS_E_NO_MEMORY, "threads");
        dn_fail(s, &err);
    }
}
