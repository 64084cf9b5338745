/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/*
 * The hand-over machine (HND) inside the engine: what it says becomes actions and states. With
 * QEVM, which has none, only the sending of the commit point is of use.
 */

void src_doubt(struct src_engine *e) {
    if (e->state == SRC_IN_DOUBT)
        return;
    e->state = SRC_IN_DOUBT;
    e->owner = SRC_OWNER_UNKNOWN;
    src_disarm(e, SRC_TIMER_SETTLE);
    (void)src_do(e, SRC_DO_TELL);
}

static void write_journal(struct src_engine *e) {
    struct src_action *a = src_do(e, SRC_DO_WRITE);
    a->journal = e->handover.journal;
    a->generation = e->handover.generation;
    a->value = e->postcopy && !e->content; /* [HND-16] */
}

/* The end's session is over by the rules; to the hand-over that is a cut (HND-1). */
static enum vms_code refuse(struct src_engine *e, enum vms_code code, struct vms_error *err) {
    if (code == VMS_OK)
        code = VMS_E_HANDOVER_UNEXPECTED;
    src_do(e, SRC_DO_ABORT)->value = code;
    e->cut = true;
    unsigned before = e->handover.state;
    if (before == VMS_SRC_COMMITTED || before == VMS_SRC_IN_DOUBT)
        (void)src_hand(e, vms_handover_event(&e->handover, VMS_SRC_EV_CUT), VMS_OK, err);
    return vms_error_set(err, code, "in state %s", vms_handover_state_name(&e->handover));
}

static void send_start(struct src_engine *e) {
    struct src_action *a = src_do(e, SRC_DO_SEND_START);
    a->generation = e->handover.generation;
    a->value = e->postcopy;
    if (e->config.ready_ns)
        src_arm(e, SRC_TIMER_READY, e->config.ready_ns);
}

void src_send_commit(struct src_engine *e) {
    struct src_action *a = src_do(e, SRC_DO_SEND_COMMIT);
    e->state = SRC_COMMITTED;
    e->owner = SRC_OWNER_UNKNOWN;
    a->generation = e->handover.generation;
    a->value = e->postcopy;
    if (e->config.settle_ns)
        src_arm(e, SRC_TIMER_SETTLE, e->config.settle_ns);
}

/* The guest is the destination's, before or behind a reconnection. */
void src_pages_follow(struct src_engine *e) {
    if (!e->cut) {
        src_postcopy(e);
        return;
    }
    e->state = SRC_PAUSED;
    e->runs_there = true;
    e->owner = SRC_OWNER_THEIRS;
}

/* The journal says GONE, as far as it can be made to. */
static void dropped(struct src_engine *e) {
    e->gone = true;
    if (e->postcopy && e->restarted)
        src_lost(e, VMS_E_HANDOVER_IN_DOUBT); /* its last pages went with the program */
    else if (!e->postcopy)
        src_complete(e);
    else if (e->content)
        src_settle(e);
    else if (e->state == SRC_IN_DOUBT)
        src_pages_follow(e); /* by order: its pages are here, and may still be fetched */
}

enum vms_code src_hand(struct src_engine *e, enum vms_handover_action action, enum vms_code refused,
                       struct vms_error *err) {
    switch (action) {
    case VMS_DO_STOP: send_start(e); break;
    case VMS_DO_RUN:
        src_go_back(e, e->way_back == SRC_COMMITTED ? SRC_FAILED : e->way_back,
                    e->reason ? e->reason : VMS_E_SRC_REFUSED);
        break;
    case VMS_DO_WRITE: write_journal(e); break;
    case VMS_DO_SEND_COMMIT: src_send_commit(e); break;
    case VMS_DO_RECONNECT:
        src_doubt(e);
        (void)src_do(e, SRC_DO_RECONNECT);
        break;
    case VMS_DO_DROP: dropped(e); break;
    case VMS_DO_TELL:
        e->state = SRC_COMMITTED; /* told again, each time */
        src_doubt(e);
        break;
    case VMS_DO_REFUSE: return refuse(e, refused, err);
    case VMS_DO_MISUSE:
        return vms_error_set(err, VMS_E_MISUSE, "hand-over in state %s",
                             vms_handover_state_name(&e->handover));
    default: break;
    }
    return VMS_OK;
}

enum vms_code src_hand_event(struct src_engine *e, enum vms_handover_src_event event,
                             struct vms_error *err) {
    return src_hand(e, vms_handover_event(&e->handover, event), VMS_OK, err);
}

enum vms_code src_hand_frame(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    struct vms_native_frame f;
    enum vms_code code = VMS_OK;
    f.header.type = ev->kind == SRC_EV_READY     ? VMS_NATIVE_READY
                    : ev->kind == SRC_EV_RUNNING ? VMS_NATIVE_RUNNING
                                                 : VMS_NATIVE_NOT_STARTED;
    if (ev->kind == SRC_EV_READY)
        f.u.ready = (struct vms_native_ready){.generation = ev->generation,
                                              .verdict = ev->value < 3 ? (uint8_t)ev->value : 2};
    else
        f.u.generation = ev->generation;
    enum vms_handover_action action = vms_handover_frame(&e->handover, &f, &code);
    return src_hand(e, action, code, err);
}
