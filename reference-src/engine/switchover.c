/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/* STOPPING, HELD, SWITCHOVER: the guest stands still, and is still ours. */
enum {
    ATTEMPTS_MAX = 8, /* at switching over, that devices thwart (ENG-16) */
};

void src_switch(struct src_engine *e) {
    e->state = SRC_STOPPING;
    e->step = SRC_STEP_NONE;
    e->postcopy = e->postcopy_wanted;
    e->attempts++;
    src_throttle(e, 0); /* [ENG-12] */
    e->converge.throttle = 0;
    e->stopped = true;
    (void)src_do(e, SRC_DO_STOP_GUEST);
}

enum vms_code src_stopped(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)ev, (void)err;
    if (e->step == SRC_STEP_NONE)
        src_ask_all(e, SRC_STEP_FINAL, true);
    return VMS_OK;
}

/* Nothing of the end was sent yet: the guest runs on, and so does the iteration. */
static void iterate_on(struct src_engine *e) {
    e->state = SRC_PRECOPY;
    e->step = SRC_STEP_NONE;
    e->awaited = 0;
    e->stopped = false;
    (void)src_do(e, SRC_DO_RUN_GUEST);
    if (e->cut)
        (void)src_do(e, SRC_DO_RECONNECT);
    else
        src_iterate(e);
}

/* [ENG-16] [ACK-7] */
static enum vms_code late_request(struct src_engine *e, uint32_t device, struct vms_error *err) {
    if (e->config.native && e->attempts < ATTEMPTS_MAX)
        iterate_on(e);
    else
        src_go_back(e, SRC_FAILED, VMS_E_SRC_REQUEST_LATE);
    return vms_error_set(err, VMS_E_SRC_REQUEST_LATE, "device %u", device);
}

enum vms_code src_back_request(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    if (e->config.native && ev->generation <= e->granted[ev->device])
        return VMS_OK; /* repeated */
    enum vms_code code = src_ack_request(e, ev, err);
    return code == VMS_OK ? late_request(e, ev->device, err) : code;
}

enum vms_code src_back_cut(struct src_engine *e, const struct src_event *ev,
                           struct vms_error *err) {
    if (!e->config.native || !e->config.resume)
        return src_fail_cut(e, ev, err);
    e->cut = true;
    iterate_on(e);
    return VMS_OK;
}

/* [ENG-23] What follows later in postcopy is kept by the device; discarding what is stale is RAM's.
 */
static void save_final(struct src_engine *e) {
    uint32_t n = e->config.device_count;
    e->state = SRC_SWITCHOVER;
    e->step = SRC_STEP_NONE;
    e->awaited = n == 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
    for (uint32_t d = 0; d < n; d++) {
        struct src_action *a = src_do(e, SRC_DO_SAVE_FINAL);
        a->device = d;
        a->value = e->postcopy;
    }
}

enum vms_code src_go_on(struct src_engine *e, const struct src_event *ev, struct vms_error *err) {
    (void)ev, (void)err;
    save_final(e);
    return VMS_OK;
}

/* [ENG-16] The last look at every device: the first that asks anew ends the attempt. */
static uint32_t who_asks_anew(struct src_engine *e, const struct src_event *ev) {
    uint64_t known = e->asked[ev->device];
    (void)src_take_answer(e, ev);
    return e->asked[ev->device] > known && !e->config.legacy_ack ? ev->device : SRC_NO_DEVICE;
}

enum vms_code src_final_pending(struct src_engine *e, const struct src_event *ev,
                                struct vms_error *err) {
    if (e->step != SRC_STEP_FINAL || !(e->awaited & UINT32_C(1) << ev->device))
        return VMS_OK;
    uint32_t device = who_asks_anew(e, ev);
    if (device != SRC_NO_DEVICE)
        return late_request(e, device, err);
    if (e->awaited)
        return VMS_OK;
    if (e->config.pause_before_switchover)
        e->state = SRC_HELD;
    else
        save_final(e);
    return VMS_OK;
}

enum vms_code src_final_sent(struct src_engine *e, const struct src_event *ev,
                             struct vms_error *err) {
    uint32_t bit = UINT32_C(1) << ev->device;
    if (!(e->awaited & bit))
        return vms_error_set(err, VMS_E_MISUSE, "FINAL_SENT of device %u twice", ev->device);
    e->awaited &= ~bit;
    if (e->awaited)
        return VMS_OK;
    if (e->postcopy)
        (void)src_do(e, SRC_DO_DISCARD);
    e->step = SRC_STEP_SAVE;
    src_do(e, SRC_DO_SAVE_DEVICES)->value = e->postcopy;
    return VMS_OK;
}

enum vms_code src_devices_sent(struct src_engine *e, const struct src_event *ev,
                               struct vms_error *err) {
    (void)ev;
    if (e->step != SRC_STEP_SAVE)
        return vms_error_set(err, VMS_E_MISUSE, "DEVICES_SENT was not asked for");
    e->step = SRC_STEP_NONE;
    if (e->config.native) {
        e->state = SRC_READY;
        return src_hand(e, vms_handover_event(&e->handover, VMS_SRC_EV_BEGIN), VMS_OK, err);
    }
    e->locks = SRC_LOCKS_GIVING; /* [ENG-11] */
    e->locks_answers++;
    (void)src_do(e, SRC_DO_LOCKS);
    return VMS_OK;
}
