/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/* From BEGIN to the first round, and what may come at any time before the switchover. */

enum vms_code src_begin(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)ev, (void)err;
    e->state = SRC_SETUP;
    if (e->config.limit_ns)
        src_arm(e, SRC_TIMER_LIMIT, e->config.limit_ns);
    (void)src_do(e, SRC_DO_CONNECT);
    return VMS_OK;
}

enum vms_code src_connected(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    (void)ev;
    if (e->connected)
        return vms_error_set(err, VMS_E_MISUSE, "CONNECTED twice");
    e->connected = true;
    (void)src_do(e, SRC_DO_SEND_SETUP);
    return VMS_OK;
}

enum vms_code src_setup_sent(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    (void)ev;
    if (!e->connected)
        return vms_error_set(err, VMS_E_MISUSE, "SETUP_SENT before CONNECTED");
    e->state = SRC_PRECOPY;
    src_bandwidth_init(&e->bandwidth, e->config.max_bandwidth, e->now_ns);
    e->converge.since = e->now_ns;
    src_iterate(e);
    return VMS_OK;
}

/* [ENG-23] */
enum vms_code src_start_postcopy(struct src_engine *e, const struct src_event *ev,
                                 struct vms_error *err) {
    (void)ev;
    if (!e->config.postcopy)
        return vms_error_set(err, VMS_E_SRC_ORDER, "postcopy was not allowed at setup");
    e->postcopy_wanted = true;
    if (e->step == SRC_STEP_WAIT)
        src_iterate(e);
    return VMS_OK;
}

/* [ENG-13] A native session outlives its connection; the guest runs on meanwhile. */
enum vms_code src_cut_early(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    if (e->cut)
        return VMS_OK;
    if (!e->config.native || !e->config.resume || !e->connected)
        return src_fail_cut(e, ev, err);
    e->cut = true;
    e->step = SRC_STEP_NONE;
    e->awaited = 0;
    src_disarm(e, SRC_TIMER_TICK);
    (void)src_do(e, SRC_DO_RECONNECT);
    return VMS_OK;
}

enum vms_code src_reconnected_early(struct src_engine *e, const struct src_event *ev,
                                    struct vms_error *err) {
    (void)ev, (void)err;
    if (!e->cut) /* a second connection of an eager program */
        return VMS_OK;
    e->cut = false;
    if (e->state == SRC_PRECOPY)
        src_iterate(e);
    return VMS_OK;
}

/* [ENG-22] */
enum vms_code src_timer_limit(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    (void)err;
    if (ev->value == SRC_TIMER_LIMIT)
        src_go_back(e, SRC_FAILED, VMS_E_SRC_LIMIT);
    return VMS_OK;
}
