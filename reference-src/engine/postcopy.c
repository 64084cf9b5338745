/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/* POSTCOPY, PAUSED, RECOVER: the guest is the destination's, and pages of it are here. */

static void send_pages(struct src_engine *e) {
    src_do(e, SRC_DO_SEND_PAGES)->value = e->config.max_postcopy_bandwidth;
}

/* QEVM tells nothing when the guest starts: until its first request it is not known (ENG-24). */
void src_postcopy(struct src_engine *e) {
    e->state = SRC_POSTCOPY;
    e->runs_there |= e->config.native;
    e->owner = e->runs_there ? SRC_OWNER_THEIRS : SRC_OWNER_UNKNOWN;
    src_disarm(e, SRC_TIMER_SETTLE);
    send_pages(e);
}

enum vms_code src_pages_sent(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    (void)ev, (void)err;
    if (e->ended)
        return VMS_OK;
    e->ended = e->all_left = true;
    (void)src_do(e, SRC_DO_SEND_END);
    return VMS_OK;
}

/* [ENG-23] All is kept: the guest at the other end waits for it. */
enum vms_code src_pause(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)err;
    if (e->content && ev->kind != SRC_EV_CUT) /* everything has arrived */
        return VMS_OK;
    e->state = SRC_PAUSED;
    e->cut = true;
    e->ended = false;
    src_disarm(e, SRC_TIMER_SETTLE);
    if (ev->kind != SRC_EV_CUT)
        src_do(e, SRC_DO_ABORT)->value = ev->value;
    (void)src_do(e, SRC_DO_RECONNECT);
    (void)src_do(e, SRC_DO_TELL);
    return VMS_OK;
}

static enum vms_code unexpected(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    struct src_event broken = {.kind = SRC_EV_ERROR, .value = VMS_E_SRC_UNEXPECTED};
    const char *state = src_state_name(e->state);
    (void)src_pause(e, &broken, err);
    return vms_error_set(err, VMS_E_SRC_UNEXPECTED, "%s in state %s", src_event_name(ev->kind),
                         state);
}

/*
 * [ENG-27] Natively everything has arrived: the journal is waited for, and the connection, over
 * which the destination is to be told that nothing more comes.
 */
void src_settle(struct src_engine *e) {
    if (!e->config.native || (e->gone && !e->cut))
        src_complete(e);
}

/*
 * [ENG-27] Natively END is sent once in a session: its acknowledgement may come whatever the
 * connection does meanwhile, and does not come again.
 */
static bool all_arrived(const struct src_engine *e, const struct src_event *ev) {
    return !ev->value && (e->config.native ? e->all_left : e->ended);
}

/* [ENG-24] SHUT other than 0 gives the guest back only as long as nothing shows that it has run. */
enum vms_code src_post_shut(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    if (ev->value && !e->runs_there) {
        src_go_back(e, SRC_FAILED, VMS_E_SRC_REFUSED);
        return VMS_OK;
    }
    if (!all_arrived(e, ev))
        return unexpected(e, ev, err);
    e->content = true;
    src_settle(e);
    return VMS_OK;
}

enum vms_code src_paused_shut(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    return all_arrived(e, ev) ? src_post_shut(e, ev, err) : VMS_OK;
}

enum vms_code src_post_runs(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    e->runs_there = true;
    e->owner = SRC_OWNER_THEIRS;
    if (!e->config.native)
        return VMS_OK;
    enum vms_code code = src_hand_frame(e, ev, err);
    if (code != VMS_OK && e->state != SRC_PAUSED)
        (void)src_pause(e, ev, err);
    return code;
}

enum vms_code src_post_refused(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (!e->config.native)
        return unexpected(e, ev, err);
    enum vms_code code = src_hand_frame(e, ev, err);
    if (code != VMS_OK) {
        struct src_event broken = {.kind = SRC_EV_ERROR, .value = code};
        (void)src_pause(e, &broken, err);
    }
    return code;
}

/* GONE, in the journal. */
enum vms_code src_post_written(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (!e->config.native)
        return vms_error_set(err, VMS_E_MISUSE, "QEVM has no journal");
    bool ok = ev->kind == SRC_EV_WRITTEN;
    return src_hand_event(e, ok ? VMS_SRC_EV_WRITTEN : VMS_SRC_EV_WRITE_FAILED, err);
}

/* ---- PAUSED and RECOVER ---- */

enum vms_code src_recover(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)ev, (void)err;
    e->cut = e->resume_sent = false;
    e->state = e->content ? SRC_POSTCOPY : SRC_RECOVER;
    if (e->content) {
        src_settle(e);
        return VMS_OK;
    }
    (void)src_do(e, SRC_DO_ASK_BITMAPS);
    if (e->config.settle_ns)
        src_arm(e, SRC_TIMER_SETTLE, e->config.settle_ns);
    return VMS_OK;
}

/* [HOST-5] A destination that takes the connection and says nothing is no better than none. */
enum vms_code src_recover_timer(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    struct src_event silent = {.kind = SRC_EV_ERROR, .value = VMS_E_TIMEOUT};
    return ev->value == SRC_TIMER_SETTLE ? src_pause(e, &silent, err) : VMS_OK;
}

/* [REC-5] */
enum vms_code src_bitmaps(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    if (e->resume_sent)
        return unexpected(e, ev, err);
    e->resume_sent = true;
    (void)src_do(e, SRC_DO_SEND_RESUME);
    return VMS_OK;
}

enum vms_code src_resume_ack(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    if (!e->resume_sent)
        return unexpected(e, ev, err);
    e->state = SRC_POSTCOPY;
    e->runs_there = true; /* a destination that recovers has run it */
    e->owner = SRC_OWNER_THEIRS;
    src_disarm(e, SRC_TIMER_SETTLE);
    send_pages(e);
    return VMS_OK;
}

enum vms_code src_paused_give_up(struct src_engine *e, const struct src_event *ev,
                                 struct vms_error *err) {
    (void)ev, (void)err;
    if (e->content) { /* [ENG-27] no connection is waited for */
        e->cut = false;
        src_settle(e);
        return VMS_OK;
    }
    if (!e->runs_there) { /* [ENG-24] perhaps it never did: everything is kept */
        e->state = SRC_IN_DOUBT;
        (void)src_do(e, SRC_DO_TELL);
        return VMS_OK;
    }
    src_lost(e, VMS_E_PEER_CLOSED);
    if (e->all_left) /* as far as can be known */
        e->owner = SRC_OWNER_THEIRS;
    return VMS_OK;
}

/* [ENG-25] */
enum vms_code src_paused_resolve(struct src_engine *e, const struct src_event *ev,
                                 struct vms_error *err) {
    bool ours = ev->kind == SRC_EV_RESOLVE_OURS;
    if (ours && e->runs_there)
        return vms_error_set(err, VMS_E_SRC_ORDER, "the guest has run at the destination");
    if (ours) {
        src_go_back(e, SRC_FAILED, VMS_E_HANDOVER_IN_DOUBT);
    } else {
        e->runs_there = true;
        e->owner = SRC_OWNER_THEIRS;
    }
    return VMS_OK;
}
