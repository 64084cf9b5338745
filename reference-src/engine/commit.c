/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/*
 * COMMITTED and IN_DOUBT. Native: the hand-over machine decides (hand.c). QEVM: EOF or POSTCOPY_RUN
 * is the commit point, SHUT the answer (SRC-3).
 */

/* ---- COMMITTED is being written ---- */

static bool writing(const struct src_engine *e) {
    return e->config.native && e->handover.state == VMS_SRC_WRITING;
}

/* [ENG-8] Nothing of COMMIT has left: when the write is over the guest comes back. */
static void come_back(struct src_engine *e, enum src_state end, enum vms_code code) {
    e->way_back = end;
    e->reason = e->reason ? e->reason : code;
}

/* What was written as COMMITTED is written over by RELEASED, then the guest runs (HND-9). */
static enum vms_code release(struct src_engine *e, struct vms_error *err) {
    return src_hand_event(e, VMS_SRC_EV_WRITE_FAILED, err);
}

static enum vms_code committed_written(struct src_engine *e, const struct src_event *ev,
                                       struct vms_error *err) {
    if (e->locks != SRC_LOCKS_HELD)
        return vms_error_set(err, VMS_E_MISUSE, "%s twice", src_event_name(ev->kind));
    if (ev->kind == SRC_EV_WRITE_FAILED)
        come_back(e, SRC_FAILED, VMS_E_HANDOVER_JOURNAL);
    if (e->way_back != SRC_COMMITTED)
        return release(e, err);
    e->locks = SRC_LOCKS_GIVING; /* [ENG-11] [HND-15] */
    e->locks_answers++;
    (void)src_do(e, SRC_DO_LOCKS);
    return VMS_OK;
}

enum vms_code src_commit_write(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (writing(e))
        return committed_written(e, ev, err);
    if (!e->config.native)
        return vms_error_set(err, VMS_E_MISUSE, "QEVM has no journal");
    bool ok = ev->kind == SRC_EV_WRITTEN;
    return src_hand_event(e, ok ? VMS_SRC_EV_WRITTEN : VMS_SRC_EV_WRITE_FAILED, err);
}

static enum vms_code locks_failed(struct src_engine *e, uint64_t why, struct vms_error *err) {
    struct vms_error ignored = {0};
    come_back(e, SRC_FAILED, VMS_E_SRC_LOCKS);
    if (e->config.native)
        (void)release(e, &ignored);
    else
        src_go_back(e, SRC_FAILED, VMS_E_SRC_LOCKS);
    return vms_error_set(err, VMS_E_SRC_LOCKS, "giving up: %s", vms_code_name((enum vms_code)why));
}

/* SWITCHOVER (QEVM) and COMMITTED: the locks were given up. */
enum vms_code src_commit_locks(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (e->locks != SRC_LOCKS_GIVING)
        return vms_error_set(err, VMS_E_MISUSE, "LOCKS was not asked for");
    e->locks_answers--;
    e->locks = SRC_LOCKS_GIVEN;
    if (ev->value)
        return locks_failed(e, ev->value, err);
    if (e->config.native)
        return e->way_back != SRC_COMMITTED ? release(e, err)
                                            : src_hand_event(e, VMS_SRC_EV_WRITTEN, err);
    src_send_commit(e);
    if (e->postcopy)
        src_postcopy(e);
    return VMS_OK;
}

enum vms_code src_too_late(struct src_engine *e, const struct src_event *ev,
                           struct vms_error *err) {
    return vms_error_set(err, VMS_E_SRC_TOO_LATE, "%s in state %s", src_event_name(ev->kind),
                         src_state_name(e->state));
}

enum vms_code src_commit_cancel(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    if (!writing(e))
        return src_too_late(e, ev, err);
    come_back(e, SRC_CANCELLED, VMS_E_SRC_CANCELLED);
    return VMS_OK;
}

/* ---- COMMIT may be out ---- */

/* [ENG-24] Without a return path nothing more can be learnt. */
enum vms_code src_commit_sent(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    (void)ev, (void)err;
    if (!e->config.native && !e->config.return_path)
        src_complete(e);
    return VMS_OK;
}

/* The connection is gone, or not believed any more. */
static enum vms_code lose_connection(struct src_engine *e, enum vms_code code,
                                     struct vms_error *err) {
    e->cut = true;
    if (writing(e)) {
        come_back(e, SRC_FAILED, code);
        return VMS_OK;
    }
    if (e->config.native)
        return src_hand_event(e, VMS_SRC_EV_CUT, err);
    src_doubt(e);
    return VMS_OK;
}

enum vms_code src_commit_cut(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    bool cut = ev->kind == SRC_EV_CUT;
    return lose_connection(e, cut ? VMS_E_PEER_CLOSED : VMS_E_SESSION_ABORTED, err);
}

enum vms_code src_commit_error(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    bool known = ev->value && ev->value < VMS_CODE_COUNT;
    enum vms_code code = known ? (enum vms_code)ev->value : VMS_E_INTERNAL;
    if (e->config.native && !writing(e))
        src_do(e, SRC_DO_ABORT)->value = code;
    return lose_connection(e, code, err);
}

static enum vms_code unexpected(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    struct src_event broken = {.kind = SRC_EV_ERROR, .value = VMS_E_SRC_UNEXPECTED};
    (void)src_commit_error(e, &broken, err);
    return vms_error_set(err, VMS_E_SRC_UNEXPECTED, "%s", src_event_name(ev->kind));
}

enum vms_code src_commit_frame(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (!e->config.native)
        return unexpected(e, ev, err);
    if (ev->kind == SRC_EV_NOT_STARTED)
        e->reason = e->reason ? e->reason : VMS_E_SRC_REFUSED;
    if (writing(e) && ev->kind == SRC_EV_NOT_STARTED) { /* it has given up meanwhile */
        come_back(e, SRC_FAILED, VMS_E_SRC_REFUSED);
        return VMS_OK;
    }
    enum vms_code code = src_hand_frame(e, ev, err);
    bool pages = ev->kind == SRC_EV_RUNNING && e->handover.state == VMS_SRC_LEAVING && e->postcopy;
    if (!pages || e->restarted)
        return code;
    src_pages_follow(e);
    return code;
}

enum vms_code src_commit_reconnected(struct src_engine *e, const struct src_event *ev,
                                     struct vms_error *err) {
    (void)ev;
    if (!e->config.native)
        return VMS_OK;
    e->cut = false;
    return src_hand_event(e, VMS_SRC_EV_RECONNECTED, err);
}

/* [SRC-3] */
enum vms_code src_commit_shut(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    if (e->config.native)
        return unexpected(e, ev, err);
    if (ev->value)
        src_go_back(e, SRC_FAILED, VMS_E_SRC_REFUSED);
    else
        src_complete(e);
    return VMS_OK;
}

/* [ENG-25] The connection stands, and nothing comes. */
enum vms_code src_commit_timer(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    (void)err;
    if (ev->value != SRC_TIMER_SETTLE)
        return VMS_OK;
    if (e->config.native)
        (void)src_do(e, SRC_DO_TELL);
    else
        src_doubt(e);
    return VMS_OK;
}

/* ---- IN_DOUBT ---- */

enum vms_code src_doubt_give_up(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    (void)ev, (void)err;
    (void)src_do(e, SRC_DO_TELL); /* everything is kept: HND-12 */
    return VMS_OK;
}

static enum vms_code resolve_qevm(struct src_engine *e, bool ours) {
    if (ours)
        src_go_back(e, SRC_FAILED, VMS_E_HANDOVER_IN_DOUBT);
    else if (e->postcopy && !e->all_left)
        src_lost(e, VMS_E_HANDOVER_IN_DOUBT); /* theirs, without the pages that are here */
    else
        src_complete(e);
    return VMS_OK;
}

/* [ENG-25] [HND-12] */
enum vms_code src_doubt_resolve(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    bool ours = ev->kind == SRC_EV_RESOLVE_OURS;
    if (!e->config.native)
        return resolve_qevm(e, ours);
    enum vms_code code =
        src_hand_event(e, ours ? VMS_SRC_EV_RESOLVE_OURS : VMS_SRC_EV_RESOLVE_THEIRS, err);
    if (code == VMS_E_MISUSE)
        return vms_error_set(err, VMS_E_SRC_ORDER, "the hand-over is in state %s",
                             vms_handover_state_name(&e->handover));
    if (ours && !e->reason)
        e->reason = VMS_E_HANDOVER_IN_DOUBT;
    return code;
}
