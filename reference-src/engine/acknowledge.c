/* SPDX-License-Identifier: MIT */
#include "engine_state.h"

/*
 * Switchover acknowledgement (ENG-14 to ENG-17). Native: a table of generations by device, which no
 * repetition changes. QEVM: a count, for its ACK says neither.
 */

void src_ack_init(struct src_engine *e) {
    const struct src_config *c = &e->config;
    for (uint32_t d = 0; c->native && d < c->device_count; d++)
        e->wanted[d] = c->awaits_grant[d] || /* [VDPA-11] before the destination has asked */
                       (c->switchover_ack && c->initial_data[d]); /* before the device was */
    e->acks_missing = !c->native && c->legacy_ack ? 1 : 0;
}

static void raise(uint64_t *value, uint64_t to) {
    if (*value < to)
        *value = to;
}

bool src_ack_note(struct src_engine *e, uint32_t device) {
    uint64_t generation = e->pending[device].generation, before = e->asked[device];
    if (generation <= before || !e->config.switchover_ack)
        return false;
    e->asked[device] = generation;
    if (e->config.native) {
        struct src_action *a = src_do(e, SRC_DO_REQUEST);
        a->device = device;
        a->generation = generation;
        raise(&e->wanted[device], generation);
        return true;
    }
    if (e->config.legacy_ack) /* [ACK-2] the destination counts, once */
        return false;
    e->acks_missing += generation - before;
    return true;
}

uint32_t src_ack_missing(const struct src_engine *e, bool *missing) {
    for (uint32_t d = 0; d < e->config.device_count; d++)
        if (e->granted[d] < e->wanted[d]) {
            *missing = true;
            return d;
        }
    *missing = !e->config.native && e->config.switchover_ack && e->acks_missing;
    return SRC_NO_DEVICE;
}

/* [ENG-14] [ACK-6] Without the capability an ACK of a legacy destination is what it is. */
static enum vms_code qevm_ack(struct src_engine *e, struct vms_error *err) {
    if (!e->acks_missing) {
        src_go_back(e, SRC_FAILED, VMS_E_SRC_ACK_SURPLUS);
        return vms_error_set(err, VMS_E_SRC_ACK_SURPLUS, "%s mechanism",
                             e->config.legacy_ack ? "legacy" : "new");
    }
    e->acks_missing--;
    return VMS_OK;
}

enum vms_code src_ack_grant(struct src_engine *e, const struct src_event *ev,
                            struct vms_error *err) {
    if (!e->config.native)
        return qevm_ack(e, err);
    raise(&e->granted[ev->device], ev->generation);
    struct src_action *a = src_do(e, SRC_DO_GRANTED);
    a->device = ev->device;
    a->generation = ev->generation;
    return VMS_OK;
}

/* [ENG-15] Before the decision: the destination is told that it is waited for. */
enum vms_code src_ack_request(struct src_engine *e, const struct src_event *ev,
                              struct vms_error *err) {
    if (!e->config.native) {
        src_go_back(e, SRC_FAILED, VMS_E_SRC_UNEXPECTED);
        return vms_error_set(err, VMS_E_SRC_UNEXPECTED, "REQUEST on QEVM");
    }
    raise(&e->wanted[ev->device], ev->generation);
    struct src_action *a = src_do(e, SRC_DO_GRANT);
    a->device = ev->device;
    a->generation = ev->generation;
    return VMS_OK;
}

/* [ENG-16] After it, unless what is asked was granted before: a repetition. */
enum vms_code src_ack_request_late(struct src_engine *e, const struct src_event *ev,
                                   struct vms_error *err) {
    if (e->config.native && ev->generation <= e->granted[ev->device])
        return VMS_OK;
    src_go_back(e, SRC_FAILED, VMS_E_SRC_REQUEST_LATE);
    return vms_error_set(err, VMS_E_SRC_REQUEST_LATE, "device %u in state %s", ev->device,
                         src_state_name(e->state));
}
