/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vdpa_internal.h"

const struct vms_vdpa_state *src_vdpa_state(const struct src_vdpa_one *one) {
    return one->started ? vms_vdpa_card_state(one->seat.card) : &one->idle;
}

static enum vms_code halt(struct src_vdpa_one *one, struct vms_error *err) {
    enum vms_code code = vms_vdpa_card_stop(one->seat.card, vms_vdpa_seat_memory, &one->seat, err);
    one->stopped = code == VMS_OK;
    return code;
}

/* [VDPA-18] For the time of the migration it works on rings of ours. */
static enum vms_code watch(struct src_vdpa_one *one, struct vms_error *err) {
    struct vms_error ignored;
    bool watched;
    if (!one->started || one->stopped || vms_vdpa_card_is_watched(one->seat.card))
        return VMS_OK;
    enum vms_code code = halt(one, err);
    if (code == VMS_OK)
        code = vms_vdpa_reset(one->seat.device, err);
    if (code == VMS_OK)
        code = vms_vdpa_seat_map_again(&one->seat, err);
    if (code == VMS_OK)
        code = vms_vdpa_card_watch(one->seat.card, vms_vdpa_seat_memory, src_vdpa_wrote, one,
                                   &watched, err);
    if (code == VMS_OK)
        one->stopped = false;
    else
        (void)src_vdpa_bring_back(one, &ignored); /* the guest runs */
    return code;
}

/* [VDPA-12] The destination can refuse before anything else is sent. */
static enum vms_code setup(void *ctx, struct src_wire *wire, struct vms_error *err) {
    struct src_vdpa_one *one = ctx;
    uint8_t bytes[64];
    (void)pthread_mutex_lock(&one->set->lock);
    enum vms_code code = watch(one, err);
    (void)pthread_mutex_unlock(&one->set->lock);
    if (code != VMS_OK)
        return code;
    size_t len = vms_vdpa_profile_write(&src_vdpa_state(one)->profile,
                                        (struct vms_room){bytes, sizeof bytes});
    return wire->ops->data(wire->ctx, one->number, SRC_DATA_SETUP, vms_slice(bytes, len), true,
                           err);
}

/* ---- records of the state: [VDPA-26] ---- */

/** What the destination does not know. The lock is held: a driver may be changing filters. */
static size_t differs(const struct src_vdpa_one *one, uint8_t bytes[VMS_VDPA_STATE_MAX]) {
    return vms_vdpa_record_write(one->has_told ? &one->told : NULL, src_vdpa_state(one),
                                 (struct vms_room){bytes, VMS_VDPA_STATE_MAX});
}

/* What differs at the end is hardly more than where rings stand. */
static enum vms_code pending(void *ctx, bool exact, struct src_pending *out,
                             struct vms_error *err) {
    struct src_vdpa_one *one = ctx;
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    bool early = !one->set->late_state && !one->stopped;
    (void)err;
    *out = (struct src_pending){.exact = exact};
    if (one->sent)
        return VMS_OK;
    (void)pthread_mutex_lock(&one->set->lock);
    *(early ? &out->precopy : &out->stop) = differs(one, bytes);
    if (early)
        out->stop = 7u * src_vdpa_state(one)->profile.queues;
    (void)pthread_mutex_unlock(&one->set->lock);
    return VMS_OK;
}

/** A record of what differs, if anything does. */
static enum vms_code tell(struct src_vdpa_one *one, struct src_wire *wire, bool last,
                          uint64_t *count, struct vms_error *err) {
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    (void)pthread_mutex_lock(&one->set->lock);
    size_t len = differs(one, bytes);
    struct vms_vdpa_state now = *src_vdpa_state(one);
    (void)pthread_mutex_unlock(&one->set->lock);
    *count = 0;
    if (len == 0 && !last)
        return VMS_OK;
    if (len == 0)
        bytes[len++] = 1; /* changes, and none */
    enum vms_code code =
        wire->ops->data(wire->ctx, one->number, SRC_DATA_STATE, vms_slice(bytes, len), last, err);
    if (code != VMS_OK)
        return code;
    one->told = now;
    one->has_told = true;
    *count = len;
    return VMS_OK;
}

static enum vms_code save(void *ctx, struct src_wire *wire, uint64_t budget, uint64_t *sent,
                          bool *more, struct vms_error *err) {
    struct src_vdpa_one *one = ctx;
    (void)budget;
    *sent = 0;
    *more = false;
    if (one->set->late_state || one->stopped)
        return VMS_OK;
    enum vms_code code = tell(one, wire, false, sent, err);
    one->early += *sent;
    return code;
}

/* [VDPA-19] The device would wait for pages that are not there yet, and nobody can interrupt it. */
static enum vms_code final(void *ctx, struct src_wire *wire, bool postcopy, struct vms_error *err) {
    struct src_vdpa_one *one = ctx;
    const char *name = one->spec.name;
    if (postcopy)
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: no postcopy with a vDPA device", name);
    if (one->started && !one->stopped)
        return vms_error_set(err, VMS_E_MISUSE, "%.60s still runs", name);
    if (one->sent)
        return VMS_OK;
    enum vms_code code = tell(one, wire, true, &one->bytes, err);
    one->sent = code == VMS_OK;
    return code;
}

static void granted(void *ctx, uint64_t generation) {
    struct src_vdpa_one *one = ctx;
    if (generation > one->granted)
        one->granted = generation;
}

static void resumed(void *ctx) {
    ((struct src_vdpa_one *)ctx)->sent = false;
}

/* [VDPA-7] The guest is gone, and so are the maps; or it runs on here, without shadow rings. */
static void cleanup(void *ctx) {
    struct src_vdpa_one *one = ctx;
    struct vms_error ignored;
    (void)pthread_mutex_lock(&one->set->lock);
    if (one->stopped) {
        (void)vms_vdpa_reset(one->seat.device, &ignored);
        vms_vdpa_map_cancel(one->seat.map);
    } else if (vms_vdpa_card_is_watched(one->seat.card) && halt(one, &ignored) == VMS_OK) {
        (void)src_vdpa_bring_back(one, &ignored);
    }
    (void)pthread_mutex_unlock(&one->set->lock);
}

const struct src_device_ops src_vdpa_ops = {
    .setup = setup,
    .pending = pending,
    .save = save,
    .final = final,
    .granted = granted,
    .resumed = resumed,
    .cleanup = cleanup,
};
