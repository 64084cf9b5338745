/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/* How a migration ends, and the ways back to a running guest (ENG-6 to ENG-12). */

static void finish(struct src_engine *e) {
    if (e->finished) /* [ENG-10] */
        return;
    e->finished = true;
    (void)src_do(e, SRC_DO_FINISH);
}

/* [ENG-12] */
static void quiet(struct src_engine *e) {
    src_throttle(e, 0);
    for (unsigned t = 0; t < SRC_TIMER_COUNT; t++)
        src_disarm(e, (enum src_timer)t);
    e->step = SRC_STEP_NONE;
    e->awaited = 0;
}

static void run_again(struct src_engine *e) {
    if (e->stopped)
        (void)src_do(e, SRC_DO_RUN_GUEST);
    e->stopped = false;
    finish(e);
}

static void take_locks(struct src_engine *e) {
    e->locks = SRC_LOCKS_TAKING;
    e->locks_answers++;
    src_do(e, SRC_DO_LOCKS)->value = 1;
}

void src_lost(struct src_engine *e, enum vms_code code) {
    e->state = SRC_FAILED;
    e->owner = SRC_OWNER_LOST;
    if (!e->reason)
        e->reason = code;
    quiet(e);
    src_do(e, SRC_DO_ABORT)->value = code;
    (void)src_do(e, SRC_DO_TELL);
    finish(e);
}

/* [ENG-7] [SRC-2] [HND-6] */
void src_go_back(struct src_engine *e, enum src_state end, enum vms_code code) {
    if (e->restarted) { /* ours, and its memory went with the program that had it */
        src_lost(e, e->reason ? e->reason : code);
        return;
    }
    e->state = end;
    e->owner = SRC_OWNER_OURS;
    if (!e->reason)
        e->reason = code;
    quiet(e);
    src_do(e, SRC_DO_ABORT)->value = e->reason;
    if (e->locks == SRC_LOCKS_HELD)
        run_again(e);
    else
        take_locks(e);
}

void src_complete(struct src_engine *e) {
    e->state = SRC_COMPLETED;
    e->owner = SRC_OWNER_THEIRS;
    quiet(e);
    finish(e);
}

/* ---- the locks, on the way back ---- */

/* [ENG-30] Whoever has them may be about to go, or runs the guest: tried again, and not for ever.
 */
static enum vms_code not_taken(struct src_engine *e, uint64_t why, struct vms_error *err) {
    uint64_t first = e->config.locks_retry_ns ? e->config.locks_retry_ns : 1000000000;
    e->locks = SRC_LOCKS_GIVEN;
    if (++e->locks_tries < SRC_LOCKS_TRIES) {
        src_arm(e, SRC_TIMER_LOCKS, first << (e->locks_tries - 1));
    } else {
        e->reason = VMS_E_SRC_LOCKS;
        finish(e);
    }
    (void)src_do(e, SRC_DO_TELL);
    return vms_error_set(err, VMS_E_SRC_LOCKS, "taking back: %s",
                         vms_code_name((enum vms_code)why));
}

/* Between two tries, and not over. */
static bool stands(const struct src_engine *e) {
    return e->owner == SRC_OWNER_OURS && e->locks == SRC_LOCKS_GIVEN && !e->finished;
}

/* [ENG-11] The guest does not run without its locks. */
enum vms_code src_end_locks(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    if (e->locks_answers && --e->locks_answers)
        return VMS_OK; /* of the giving up, that came too late */
    if (e->locks != SRC_LOCKS_TAKING)
        return VMS_OK;
    if (ev->value)
        return not_taken(e, ev->value, err);
    e->locks = SRC_LOCKS_HELD;
    run_again(e);
    return VMS_OK;
}

enum vms_code src_end_timer(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    (void)err;
    if (ev->value == SRC_TIMER_LOCKS && stands(e))
        take_locks(e);
    return VMS_OK;
}

enum vms_code src_end_ours(struct src_engine *e, const struct src_event *ev,
                           struct vms_error *err) {
    (void)ev, (void)err;
    if (!stands(e))
        return VMS_OK;
    e->locks_tries = 0;
    src_disarm(e, SRC_TIMER_LOCKS);
    take_locks(e);
    return VMS_OK;
}

/* [ENG-30] It runs where the locks are: nothing is kept here for it. */
enum vms_code src_end_theirs(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    (void)ev;
    if (!stands(e))
        return vms_error_set(err, VMS_E_SRC_ORDER, "the guest runs here, or is lost");
    e->owner = SRC_OWNER_THEIRS;
    src_disarm(e, SRC_TIMER_LOCKS);
    finish(e);
    return VMS_OK;
}

/* ---- steps ---- */

enum vms_code src_begin_cancel(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    (void)ev, (void)err;
    src_go_back(e, SRC_CANCELLED, VMS_E_SRC_CANCELLED);
    return VMS_OK;
}

enum vms_code src_cancel(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    return src_begin_cancel(e, ev, err);
}

enum vms_code src_fail_error(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    (void)err;
    bool known = ev->value && ev->value < VMS_CODE_COUNT;
    src_go_back(e, SRC_FAILED, known ? (enum vms_code)ev->value : VMS_E_INTERNAL);
    return VMS_OK;
}

enum vms_code src_fail_abort(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    (void)ev, (void)err;
    src_go_back(e, SRC_FAILED, VMS_E_SESSION_ABORTED);
    return VMS_OK;
}

enum vms_code src_fail_cut(struct src_engine *e, const struct src_event *ev,
                           struct vms_error *err) {
    (void)ev, (void)err;
    e->cut = true;
    src_go_back(e, SRC_FAILED, VMS_E_PEER_CLOSED);
    return VMS_OK;
}

/* [ENG-9] NOT_STARTED, or SHUT: the destination will not run the guest. */
enum vms_code src_fail_refused(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    bool fits = ev->kind == SRC_EV_SHUT ? !e->config.native && ev->value : e->config.native;
    src_go_back(e, SRC_FAILED, fits ? VMS_E_SRC_REFUSED : VMS_E_SRC_UNEXPECTED);
    return fits ? VMS_OK
                : vms_error_set(err, VMS_E_SRC_UNEXPECTED, "%s before the commit point",
                                src_event_name(ev->kind));
}

enum vms_code src_fail_give_up(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (!e->cut)
        return vms_error_set(err, VMS_E_SRC_ORDER, "GIVE_UP, and the connection is there");
    return src_fail_cut(e, ev, err);
}
