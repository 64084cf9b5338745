/* SPDX-License-Identifier: MIT */
#include "host/vfio_config.h"
#include "reference-src/devices/vfio_internal.h"

#include <stdlib.h>

/*
 * [VDEV-22] What stopped devices have: one after another, or, where the wire has lanes, a thread
 * for each from the first final() on; the final() of a device then waits for its thread.
 */
static enum vms_code give(struct src_vfio_one *one, struct src_wire *wire, enum src_data_kind kind,
                          const void *bytes, size_t len, bool last, struct vms_error *err) {
    return wire->ops->data(wire->ctx, one->number, kind, vms_slice(bytes, len), last, err);
}

static enum vms_code wanted(const struct src_vfio_one *one, struct vms_error *err) {
    return atomic_load(&one->set->give_up)
               ? vms_error_set(err, VMS_E_VFIO_DEVICE, "%.60s: another device has failed",
                               vms_vfio_name(one->device))
               : VMS_OK;
}

static enum vms_code send_rest(struct src_vfio_one *one, struct src_wire *wire, uint8_t *chunk,
                               struct vms_error *err) {
    enum vms_vfio_data what = VMS_VFIO_DATA;
    enum vms_code code = VMS_OK;
    size_t got = 0;
    while (what != VMS_VFIO_END && code == VMS_OK) { /* [VFIO-11] */
        code = wanted(one, err);
        if (code == VMS_OK)
            code = vms_vfio_read(one->device, chunk, SRC_VFIO_CHUNK, &got, &what, err);
        if (code == VMS_OK && what == VMS_VFIO_LATER)
            code = vms_error_set(err, VMS_E_VFIO_DEVICE, "%.60s: no more data, and no end",
                                 vms_vfio_name(one->device));
        if (code == VMS_OK && got)
            code = give(one, wire, SRC_DATA_STATE, chunk, got, false, err);
        one->stop_bytes += code == VMS_OK ? got : 0;
    }
    return code == VMS_OK ? give(one, wire, SRC_DATA_STATE, NULL, 0, true, err) : code;
}

static enum vms_code send_config(struct src_vfio_one *one, struct src_wire *wire, uint8_t *chunk,
                                 struct vms_error *err) {
    size_t len;
    enum vms_code code = vms_vfio_config_save(one->device, chunk, &len, err);
    return code == VMS_OK ? give(one, wire, SRC_DATA_CONFIG, chunk, len, true, err) : code;
}

static enum vms_code send_all(struct src_vfio_one *one, struct src_wire *wire, uint8_t *chunk,
                              struct vms_error *err) {
    enum vms_code code = send_rest(one, wire, chunk, err);
    return code == VMS_OK ? send_config(one, wire, chunk, err) : code;
}

/* ---- side by side ---- */

static void *lane(void *arg) {
    struct src_vfio_one *one = arg;
    struct src_vfio *set = one->set;
    struct vms_error err = {.code = VMS_OK};
    uint8_t *chunk = malloc(SRC_VFIO_CHUNK);
    enum vms_code code = chunk ? send_all(one, &set->lane_wire, chunk, &err)
                               : vms_error_set(&err, VMS_E_NO_MEMORY, NULL);
    if (code != VMS_OK && !atomic_exchange(&set->give_up, true))
        set->lane_error = err; /* the first: the others give up for it */
    free(chunk);
    return NULL;
}

/* All that have something to give. One without a thread is done by its final(). */
static void start_lanes(struct src_vfio *set, struct src_wire *wire) {
    set->lane_wire = *wire;
    set->lane_error.code = VMS_OK;
    for (size_t i = 0; i < set->count; i++) {
        struct src_vfio_one *one = &set->one[i];
        if (!one->broken && !one->ended)
            one->lane = pthread_create(&one->lane_thread, NULL, lane, one) == 0;
    }
}

static void join_lane(struct src_vfio_one *one) {
    if (one->lane)
        (void)pthread_join(one->lane_thread, NULL);
    one->lane = false;
}

void src_vfio_give_up(struct src_vfio *set) {
    atomic_store(&set->give_up, true);
    for (size_t i = 0; i < set->count; i++)
        join_lane(&set->one[i]);
    set->lanes_began = false;
    atomic_store(&set->give_up, false);
}

static enum vms_code wait_for_lane(struct src_vfio_one *one, struct vms_error *err) {
    struct src_vfio *set = one->set;
    join_lane(one);
    if (!atomic_load(&set->give_up))
        return VMS_OK;
    src_vfio_give_up(set); /* whoever was first has said why by then */
    *err = set->lane_error;
    return err->code;
}

enum vms_code src_vfio_give(struct src_vfio_one *one, struct src_wire *wire,
                            struct vms_error *err) {
    struct src_vfio *set = one->set;
    if (!set->lanes_began && set->count > 1 && wire->ops->lanes(wire->ctx) > 1)
        start_lanes(set, wire);
    set->lanes_began = true;
    return one->lane ? wait_for_lane(one, err) : send_all(one, wire, set->chunk, err);
}
