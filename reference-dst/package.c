/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdlib.h>

/*
 * [PKG-5] A package is read whole before anything in it is executed. LISTEN is executed by the main
 * channel's thread, which then goes on: pages that loading the guest waits for come behind the
 * package. Everything else is done by a thread of its own.
 */

static uint32_t ping_value(const struct vms_record *r) {
    uint32_t v = 0;
    for (size_t i = 0; i < 4 && i < r->u.command.payload.len; i++)
        v = v << 8 | r->u.command.payload.ptr[i];
    return v;
}

static enum vms_code open_package(struct dst_session *s, struct vms_error *err) {
    struct dst_package *p = &s->package;
    if (!p->steps)
        p->steps = calloc(DST_STEPS_MAX, sizeof *p->steps);
    if (!p->steps)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a package");
    p->open = true;
    p->count = p->next = 0;
    return VMS_OK;
}

static enum vms_code queue(struct dst_session *s, const struct vms_record *r,
                           struct vms_error *err) {
    struct dst_package *p = &s->package;
    enum dst_event event;
    if (dst_engine_packaged(r, &event, err) != VMS_OK)
        return err->code;
    if (event == DST_EV_NONE)
        return VMS_OK;
    if (event == DST_EV_EOF) /* DST-9 */
        return vms_error_set(err, VMS_E_DST_UNEXPECTED, "a package that lets no guest run");
    if (p->count == DST_STEPS_MAX)
        return vms_error_set(err, VMS_E_LIMIT, "a package of more than %d records", DST_STEPS_MAX);
    uint32_t ping = event == DST_EV_PING ? ping_value(r) : 0;
    p->steps[p->count++] = (struct dst_step){event, ping};
    return VMS_OK;
}

static enum vms_code step(struct dst_session *s, struct vms_error *err) {
    const struct dst_step *at = &s->package.steps[s->package.next++];
    /* the guest's section is loaded when the devices are over: before PING 3, and before RUN */
    if (at->event != DST_EV_LISTEN && at->event != DST_EV_DEVICE &&
        dst_guest_load(s, err) != VMS_OK)
        return err->code;
    return dst_happens(s, at->event, at->value, err);
}

static bool is_over(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    bool over = s->over;
    pthread_mutex_unlock(&s->lock);
    return over;
}

static void *package_thread(void *arg) {
    struct dst_session *s = arg;
    struct vms_error err = {0};
    while (s->package.next < s->package.count && !is_over(s))
        if (step(s, &err) != VMS_OK) {
            (void)dst_session_fail(s, &err);
            break;
        }
    return NULL;
}

/* A package has LISTEN in front (PKG): the engine wants nothing else there. */
static enum vms_code execute(struct dst_session *s, struct vms_error *err) {
    struct dst_package *p = &s->package;
    p->open = false;
    if (dst_happens(s, DST_EV_PACKAGE, 0, err) != VMS_OK)
        return err->code;
    if (p->count == 0)
        return vms_error_set(err, VMS_E_DST_UNEXPECTED, "an empty package");
    if (step(s, err) != VMS_OK)
        return err->code;
    if (pthread_create(&p->thread, NULL, package_thread, s) != 0)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    p->started = true;
    return VMS_OK;
}

enum vms_code dst_package_record(struct dst_session *s, const struct vms_record *r,
                                 struct vms_error *err) {
    if (r->type == VMS_R_PACKAGE_END)
        return execute(s, err);
    return r->packaged ? queue(s, r, err) : open_package(s, err);
}

void dst_package_join(struct dst_session *s) {
    if (s->package.started)
        pthread_join(s->package.thread, NULL);
    s->package.started = false;
}
