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
    enum vms_code code = watch(one, err);
    if (code != VMS_OK)
        return code;
    size_t len = vms_vdpa_profile_write(&src_vdpa_state(one)->profile,
                                        (struct vms_room){bytes, sizeof bytes});
    return wire->ops->data(wire->ctx, one->number, SRC_DATA_SETUP, vms_slice(bytes, len), true,
                           err);
}

static enum vms_code pending(void *ctx, bool exact, struct src_pending *out,
                             struct vms_error *err) {
    const struct src_vdpa_one *one = ctx;
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    (void)err;
    *out = (struct src_pending){.exact = exact};
    if (!one->sent)
        out->stop =
            vms_vdpa_state_write(src_vdpa_state(one), (struct vms_room){bytes, sizeof bytes});
    return VMS_OK;
}

/* Nothing goes before the end. */
static enum vms_code save(void *ctx, struct src_wire *wire, uint64_t budget, uint64_t *sent,
                          bool *more, struct vms_error *err) {
    (void)ctx, (void)wire, (void)budget, (void)err;
    *sent = 0;
    *more = false;
    return VMS_OK;
}

/* [VDPA-19] The device would wait for pages that are not there yet, and nobody can interrupt it. */
static enum vms_code final(void *ctx, struct src_wire *wire, bool postcopy, struct vms_error *err) {
    struct src_vdpa_one *one = ctx;
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    const char *name = one->spec.name;
    if (postcopy)
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: no postcopy with a vDPA device", name);
    if (one->started && !one->stopped)
        return vms_error_set(err, VMS_E_MISUSE, "%.60s still runs", name);
    if (one->sent)
        return VMS_OK;
    size_t len = vms_vdpa_state_write(src_vdpa_state(one), (struct vms_room){bytes, sizeof bytes});
    enum vms_code code =
        wire->ops->data(wire->ctx, one->number, SRC_DATA_STATE, vms_slice(bytes, len), true, err);
    one->sent = code == VMS_OK;
    one->bytes = one->sent ? len : 0;
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
    if (one->stopped) {
        (void)vms_vdpa_reset(one->seat.device, &ignored);
        vms_vdpa_map_cancel(one->seat.map);
    } else if (vms_vdpa_card_is_watched(one->seat.card) && halt(one, &ignored) == VMS_OK) {
        (void)src_vdpa_bring_back(one, &ignored);
    }
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
