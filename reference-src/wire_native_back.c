/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "reference-src/wire_native_internal.h"

/* What the destination says, as the engine takes it. */

static void tell(struct wire_native *w, const struct src_event *event,
                 const struct vms_error *why) {
    w->owner->event(w->owner->ctx, event, why);
}

static void tell_kind(struct wire_native *w, enum src_event_kind kind, uint64_t generation) {
    struct src_event e = {.kind = kind, .generation = generation};
    tell(w, &e, NULL);
}

static void on_ready(struct wire_native *w, const struct vms_native_ready *ready) {
    struct src_event e = {
        .kind = SRC_EV_READY, .generation = ready->generation, .value = ready->verdict};
    struct vms_error why = {.clause = ""};
    if (ready->verdict == 2)
        (void)vms_error_set(&why, VMS_E_HANDOVER_DIGEST, "%llu pages differ",
                            (unsigned long long)ready->pages_different);
    tell(w, &e, ready->verdict == 2 ? &why : NULL);
}

static void on_switchover(struct wire_native *w, enum src_event_kind kind,
                          const struct vms_native_switchover *s) {
    struct src_event e = {.kind = kind, .device = s->device, .generation = s->generation};
    tell(w, &e, NULL);
}

/* [MIG-22] Pages that do not exist are nobody's. */
static enum vms_code on_request(struct wire_native *w, const struct vms_native_pages *p,
                                struct vms_error *err) {
    if (p->block.index >= w->guest->block_count)
        return vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "block %u", p->block.index);
    uint64_t pages = w->guest->blocks[p->block.index].length >> p->page_bits;
    for (uint32_t i = 0; i < p->run_count; i++) {
        if (p->runs[i].first >= pages || p->runs[i].count > pages - p->runs[i].first)
            return vms_error_set(err, VMS_E_RAM_OFFSET, "a request past block %u", p->block.index);
        w->owner->request(w->owner->ctx, p->block.index, p->runs[i].first << p->page_bits,
                          (uint64_t)p->runs[i].count << p->page_bits);
    }
    return VMS_OK;
}

/* [HND-1] START and COMMIT are the source's. [MIG-7] Data does not travel back; END neither. */
static enum vms_code refuse(uint32_t type, struct vms_error *err) {
    bool hand = type == VMS_NATIVE_START || type == VMS_NATIVE_COMMIT;
    enum vms_code code = hand                         ? VMS_E_HANDOVER_UNEXPECTED
                         : type >= VMS_NATIVE_RECORDS ? VMS_E_MIG_FRAME
                                                      : VMS_E_SESSION_UNEXPECTED;
    return vms_error_set(err, code, "%s from the destination", vms_native_type_name(type));
}

static enum vms_code take(struct wire_native *w, const struct vms_native_link_event *ev,
                          struct vms_error *err) {
    const struct vms_native_frame *f = ev->frame;
    switch (f->header.type) {
    case VMS_NATIVE_READY: on_ready(w, &f->u.ready); return VMS_OK;
    case VMS_NATIVE_RUNNING: tell_kind(w, SRC_EV_RUNNING, f->u.generation); return VMS_OK;
    case VMS_NATIVE_NOT_STARTED: tell_kind(w, SRC_EV_NOT_STARTED, f->u.generation); return VMS_OK;
    case VMS_NATIVE_REQUEST: on_switchover(w, SRC_EV_REQUEST, &f->u.switchover); return VMS_OK;
    case VMS_NATIVE_GRANT: on_switchover(w, SRC_EV_GRANT, &f->u.switchover); return VMS_OK;
    case VMS_NATIVE_PAGE_REQUEST: return on_request(w, &f->u.pages, err);
    default: return refuse(f->header.type, err);
    }
}

/*
 * The session is over: in order, by the peer's word, or cut for good. Before START nothing is to be
 * asked about, so that no new connection is of use.
 */
static enum src_event_kind kind_of_end(const struct wire_native *w, enum vms_code code) {
    if (code == VMS_E_SESSION_ABORTED)
        return SRC_EV_ABORT;
    return code == VMS_OK || w->started ? SRC_EV_CUT : SRC_EV_ERROR;
}

static void over(struct wire_native *w, enum vms_code code, const struct vms_error *why) {
    struct src_event e = {.kind = kind_of_end(w, code), .value = code};
    pthread_mutex_lock(&w->mutex);
    bool tells = !w->closing && !w->failed_told;
    w->failed_told = true;
    pthread_mutex_unlock(&w->mutex);
    if (code != VMS_OK)
        wn_fail(w, why);
    if (tells)
        tell(w, &e, why);
}

void *wn_receiver(void *arg) {
    struct wire_native *w = arg;
    if (w->options.postcopy)
        vms_thread_urgent(); /* it brings PAGE_REQUEST */
    for (;;) {
        struct vms_native_link_event ev;
        struct vms_error err = {.clause = ""};
        enum vms_code code = vms_native_link_receive(w->link, 0, &ev, &err);
        if (code != VMS_OK || !ev.frame) {
            over(w, code, &err);
            return NULL;
        }
        if (take(w, &ev, &err) != VMS_OK)
            vms_native_link_abort(w->link, &err);
    }
}
