/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/* READY: native, START was sent, and nobody but the source may run the guest (HND-6). */

enum vms_code src_ready(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    bool different = ev->value >= 2 && ev->generation == e->handover.generation;
    if (different) /* [HND-8] */
        e->reason = VMS_E_HANDOVER_DIGEST;
    enum vms_code code = src_hand_frame(e, ev, err);
    if (e->handover.state == VMS_SRC_WRITING) {
        e->state = SRC_COMMITTED; /* [ENG-6] */
        e->owner = SRC_OWNER_UNKNOWN;
        src_disarm(e, SRC_TIMER_READY);
    }
    if (code != VMS_OK && e->state == SRC_READY) /* of another generation: the session is over */
        src_go_back(e, SRC_FAILED, code);
    return different ? vms_error_set(err, VMS_E_HANDOVER_DIGEST, NULL) : code;
}

static enum vms_code back_from_ready(struct src_engine *e, enum vms_handover_src_event event,
                                     enum src_state end, enum vms_code code,
                                     struct vms_error *err) {
    e->way_back = end;
    e->reason = e->reason ? e->reason : code;
    return src_hand_event(e, event, err);
}

enum vms_code src_ready_refused(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    e->reason = VMS_E_SRC_REFUSED;
    return src_hand_frame(e, ev, err);
}

enum vms_code src_ready_cut(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    (void)ev;
    e->cut = true;
    return back_from_ready(e, VMS_SRC_EV_CUT, SRC_FAILED, VMS_E_PEER_CLOSED, err);
}

enum vms_code src_ready_abort(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    (void)ev;
    return back_from_ready(e, VMS_SRC_EV_CUT, SRC_FAILED, VMS_E_SESSION_ABORTED, err);
}

enum vms_code src_ready_error(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    bool known = ev->value && ev->value < VMS_CODE_COUNT;
    return back_from_ready(e, VMS_SRC_EV_CUT, SRC_FAILED,
                           known ? (enum vms_code)ev->value : VMS_E_INTERNAL, err);
}

enum vms_code src_ready_cancel(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    (void)ev;
    return back_from_ready(e, VMS_SRC_EV_TIMEOUT, SRC_CANCELLED, VMS_E_SRC_CANCELLED, err);
}

enum vms_code src_ready_timer(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    if (ev->value != SRC_TIMER_READY)
        return VMS_OK;
    return back_from_ready(e, VMS_SRC_EV_TIMEOUT, SRC_FAILED, VMS_E_TIMEOUT, err);
}
