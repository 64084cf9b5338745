/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vfio_internal.h"

static bool in_precopy(const struct src_vfio_one *one) {
    enum vms_vfio_state state = vms_vfio_state(one->device);
    return state == VMS_VFIO_PRE_COPY || state == VMS_VFIO_PRE_COPY_P2P;
}

static enum vms_code give(struct src_vfio_one *one, struct src_wire *wire, enum src_data_kind kind,
                          const void *bytes, size_t len, bool last, struct vms_error *err) {
    return wire->ops->data(wire->ctx, one->number, kind, vms_slice(bytes, len), last, err);
}

/* ---- setup ---- */

static enum vms_code setup(void *ctx, struct src_wire *wire, struct vms_error *err) {
    struct src_vfio_one *one = ctx;
    enum vms_code code = VMS_OK;
    if (vms_vfio_features(one->device)->precopy) {
        code = vms_vfio_set_state(one->device, VMS_VFIO_PRE_COPY, err);
        one->generation = one->set->ack != SRC_VFIO_ACK_NONE; /* [VDEV-7] */
        if (code == VMS_OK)
            code = src_vfio_look(one, err);
    }
    return code == VMS_OK ? give(one, wire, SRC_DATA_SETUP, NULL, 0, true, err) : code;
}

/* ---- what is left ---- */

/* [VDEV-7] A REINIT of no octets counts, too. */
enum vms_code src_vfio_look(struct src_vfio_one *one, struct vms_error *err) {
    struct vms_vfio_precopy left;
    enum vms_code code = vms_vfio_precopy(one->device, &left, err);
    if (code != VMS_OK)
        return code;
    if (left.reinit && !one->flagged) { /* reported again before a read it is the same one */
        one->generation += one->set->ack == SRC_VFIO_ACK_EACH;
        one->dry = false;
        one->flagged = true;
    }
    one->initial = one->dry ? 0 : left.initial;
    one->dirty = left.dirty;
    return VMS_OK;
}

/** Asks all that the device tells; stop: what only stopping can get. */
static enum vms_code ask(struct src_vfio_one *one, struct vms_error *err) {
    uint64_t size = 0;
    enum vms_code code = one->ended ? VMS_OK : vms_vfio_data_size(one->device, &size, err);
    if (code == VMS_OK && in_precopy(one))
        code = src_vfio_look(one, err);
    uint64_t before = one->initial + one->dirty;
    if (size == UINT64_MAX) /* it does not tell: it holds nothing up */
        size = before;
    one->stop = size > before ? size - before : 0;
    return code;
}

static enum vms_code check_alive(const struct src_vfio_one *one, struct vms_error *err) {
    return one->broken ? vms_error_set(err, VMS_E_VFIO_DEVICE, "%.60s: its stream was given up",
                                       vms_vfio_name(one->device))
                       : VMS_OK;
}

static enum vms_code pending(void *ctx, bool exact, struct src_pending *out,
                             struct vms_error *err) {
    struct src_vfio_one *one = ctx;
    enum vms_code code = check_alive(one, err);
    if (code == VMS_OK && exact)
        code = ask(one, err);
    bool running = in_precopy(one);
    one->told = one->generation;
    /* a mark that is due wants a turn, if there is nothing else to send */
    uint64_t due = running && one->initial == 0 && one->sent < one->generation;
    *out = (struct src_pending){
        .initial = one->initial + due,
        .precopy = running ? one->initial + one->dirty + due : 0,
        .stop = one->stop + (running ? 0 : one->initial + one->dirty),
        .exact = exact,
        .generation = one->generation,
    };
    return code;
}

/* ---- sending ---- */

static void took(struct src_vfio_one *one, uint64_t bytes) {
    uint64_t *const left[] = {&one->initial, &one->dirty, &one->stop};
    for (size_t i = 0; i < 3; i++) {
        uint64_t n = *left[i] < bytes ? *left[i] : bytes;
        *left[i] -= n;
        bytes -= n;
    }
}

/*
 * [VDEV-7] [VFIO-10] Asks again first: what was announced meanwhile is not sent yet. What this look
 * finds waits for pending(): an ACK must not overtake the request that it answers.
 */
static enum vms_code mark_initial(struct src_vfio_one *one, struct src_wire *wire,
                                  struct vms_error *err) {
    if (one->initial || one->sent == one->told)
        return VMS_OK;
    enum vms_code code = src_vfio_look(one, err);
    if (code != VMS_OK || one->initial)
        return code;
    for (; one->sent < one->told && code == VMS_OK; one->sent++)
        code = give(one, wire, SRC_DATA_INITIAL_SENT, NULL, 0, true, err);
    return code;
}

static enum vms_code save_chunk(struct src_vfio_one *one, struct src_wire *wire, uint64_t limit,
                                size_t *got, struct vms_error *err) {
    enum vms_vfio_data what;
    size_t want = limit < SRC_VFIO_CHUNK ? (size_t)limit : SRC_VFIO_CHUNK;
    enum vms_code code = vms_vfio_read(one->device, one->set->chunk, want, got, &what, err);
    if (code != VMS_OK)
        return code;
    if (what == VMS_VFIO_LATER) { /* [VDEV-9] whatever it had announced */
        one->initial = one->dirty = 0;
        one->dry = true;
    }
    one->flagged = one->flagged && *got == 0;
    took(one, *got);
    one->precopy_bytes += *got;
    return *got ? give(one, wire, SRC_DATA_STATE, one->set->chunk, *got, false, err) : VMS_OK;
}

static enum vms_code save(void *ctx, struct src_wire *wire, uint64_t budget, uint64_t *sent,
                          bool *more, struct vms_error *err) {
    struct src_vfio_one *one = ctx;
    enum vms_code code = check_alive(one, err);
    size_t got = 1;
    *sent = 0;
    *more = false;
    if (code != VMS_OK || !in_precopy(one))
        return code;
    while (code == VMS_OK && got && *sent < budget) {
        /* the mark stands where the initial data ends, not after dirty data */
        uint64_t rest = budget - *sent;
        code = save_chunk(one, wire, one->initial && one->initial < rest ? one->initial : rest,
                          &got, err);
        *sent += got;
        if (code == VMS_OK)
            code = mark_initial(one, wire, err);
    }
    *more = got > 0 && one->initial + one->dirty > 0;
    return code;
}

/* ---- the end ---- */

/* With or without postcopy: a device cannot follow its guest. */
static enum vms_code final(void *ctx, struct src_wire *wire, bool postcopy, struct vms_error *err) {
    struct src_vfio_one *one = ctx;
    enum vms_code code = check_alive(one, err);
    (void)postcopy;
    if (one->ended)
        return code;
    if (code == VMS_OK)
        code = src_vfio_stop_all(one->set, err);
    if (code == VMS_OK)
        code = src_vfio_give(one, wire, err);
    if (code != VMS_OK)
        src_vfio_give_up(one->set);
    one->ended = code == VMS_OK;
    if (one->ended)
        one->initial = one->dirty = one->stop = 0;
    return code;
}

static void granted(void *ctx, uint64_t generation) {
    struct src_vfio_one *one = ctx;
    if (generation > one->granted)
        one->granted = generation;
}

/* The guest's run() has brought the device back, before the CPUs. */
static void resumed(void *ctx) {
    struct src_vfio_one *one = ctx;
    one->ended = false;
}

/* The guest is gone, or runs here without a migration. */
static void cleanup(void *ctx) {
    struct src_vfio_one *one = ctx;
    struct vms_error why;
    src_vfio_give_up(one->set);
    if (vms_vfio_state(one->device) == VMS_VFIO_STOP_COPY)
        (void)vms_vfio_set_state(one->device, VMS_VFIO_STOP, &why); /* nobody needs it any more */
    else if (vms_vfio_state(one->device) != VMS_VFIO_STOP &&
             vms_vfio_recover(one->device, &why) != VMS_OK && one->set->lost.code == VMS_OK)
        one->set->lost = why; /* [VDEV-15] */
}

const struct src_device_ops src_vfio_ops = {
    .setup = setup,
    .pending = pending,
    .save = save,
    .final = final,
    .granted = granted,
    .resumed = resumed,
    .cleanup = cleanup,
};
