/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vdpa_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the guest with its devices ---- */

/* [VDPA-3] [VDPA-18] First the CPUs, then the devices, and what they wrote counts from then on. */
static enum vms_code stop(void *ctx, struct vms_error *err) {
    struct src_vdpa *vdpa = ctx;
    enum vms_code code = vms_guest_stop(vdpa->wrap.inner, err);
    for (size_t i = 0; i < vdpa->count && code == VMS_OK; i++) {
        struct src_vdpa_one *one = &vdpa->one[i];
        if (one->stopped)
            continue;
        bool watched = vms_vdpa_card_is_watched(one->seat.card);
        code = vms_vdpa_card_stop(one->seat.card, vms_vdpa_seat_memory, &one->seat, err);
        one->stopped = code == VMS_OK;
        vdpa->stops += one->stopped && one->started && !watched;
    }
    return code;
}

/* [VDPA-17] */
enum vms_code src_vdpa_bring_back(struct src_vdpa_one *one, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (!one->stopped)
        return VMS_OK;
    one->stopped = false;
    if (one->started && !vms_vdpa_card_can_resume(one->seat.card)) {
        code = vms_vdpa_reset(one->seat.device, err);
        if (code == VMS_OK)
            code = vms_vdpa_seat_map_again(&one->seat, err);
    }
    return code == VMS_OK ? vms_vdpa_card_resume(one->seat.card, err) : code;
}

/* A device that is lost does not keep the guest from running: it is told. */
static enum vms_code run(void *ctx, struct vms_error *err) {
    struct src_vdpa *vdpa = ctx;
    for (size_t i = 0; i < vdpa->count; i++) {
        struct vms_error why = {.code = VMS_OK};
        if (src_vdpa_bring_back(&vdpa->one[i], &why) != VMS_OK && vdpa->lost.code == VMS_OK)
            vdpa->lost = why;
    }
    return vms_guest_run(vdpa->wrap.inner, err);
}

/* ---- life ---- */

static enum vms_code open_one(struct src_vdpa *vdpa, size_t i, const char *spec, uint32_t first,
                              struct vms_error *err) {
    const struct vms_vdpa_map_options options = {.chunk = 0};
    struct src_vdpa_one *one = &vdpa->one[i];
    if (!vms_vfio_spec(spec, (unsigned)i, &one->spec))
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "what device is %.60s?", spec);
    if (!strstr(spec, ",id="))
        (void)snprintf(one->spec.idstr, sizeof one->spec.idstr, "vdpa%zu", i);
    one->set = vdpa;
    one->number = first + (uint32_t)i;
    enum vms_code code = vms_vdpa_seat_open(&one->seat, one->spec.name, &options, err);
    if (code != VMS_OK)
        return code;
    vdpa->count++;
    one->seat.rings = true;
    const struct vms_vdpa_about *a = vms_vdpa_about(one->seat.device);
    one->idle.profile = (struct vms_vdpa_profile){.device_id = a->device_id,
                                                  .config_size = a->config_size,
                                                  .queues = a->queues,
                                                  .ring_size = a->ring_size};
    return vms_vdpa_seat_layout(&one->seat, vdpa->wrap.inner, err);
}

enum vms_code src_vdpa_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           uint32_t first, struct src_vdpa **out, struct vms_error *err) {
    *out = NULL;
    if (count > SRC_VDPA_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu vDPA devices", count);
    struct src_vdpa *vdpa = calloc(1, sizeof *vdpa);
    if (!vdpa)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    vdpa->wrap = (struct vms_guest_wrap){.inner = guest, .stop = stop, .run = run, .ctx = vdpa};
    vdpa->guest = vms_guest_wrap(&vdpa->wrap);
    (void)pthread_mutex_init(&vdpa->lock, NULL);
    vdpa->written = src_vdpa_bitmaps(guest);
    enum vms_code code = vdpa->written ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        code = open_one(vdpa, i, specs[i], first, err);
    if (code == VMS_OK)
        *out = vdpa;
    else
        src_vdpa_free(vdpa);
    return code;
}

void src_vdpa_free(struct src_vdpa *vdpa) {
    for (size_t i = 0; vdpa && i < vdpa->count; i++)
        vms_vdpa_seat_close(&vdpa->one[i].seat);
    if (!vdpa)
        return;
    src_vdpa_bitmaps_free(vdpa->written, vdpa->wrap.inner);
    (void)pthread_mutex_destroy(&vdpa->lock);
    free(vdpa);
}

enum vms_code src_vdpa_start(struct src_vdpa *vdpa, size_t index,
                             const struct vms_vdpa_state *state,
                             const struct vms_vdpa_events *events, struct vms_error *err) {
    struct src_vdpa_one *one = &vdpa->one[index];
    enum vms_code code = vms_vdpa_seat_wait(&one->seat, err); /* [VDPA-4] */
    if (code == VMS_OK)
        code = vms_vdpa_card_start(one->seat.card, state, events, err);
    one->started = code == VMS_OK;
    return code;
}

void src_vdpa_late_state(struct src_vdpa *vdpa, bool late) {
    vdpa->late_state = late;
}

size_t src_vdpa_count(const struct src_vdpa *vdpa) {
    return vdpa->count;
}

struct src_device src_vdpa_device(struct src_vdpa *vdpa, size_t index) {
    struct src_vdpa_one *one = &vdpa->one[index];
    return (struct src_device){
        .ops = &src_vdpa_ops,
        .ctx = one,
        .about = {.number = one->number, .kind = 2, .idstr = one->spec.idstr, .instance = 0},
    };
}

struct vms_vdpa_card *src_vdpa_card(struct src_vdpa *vdpa, size_t index) {
    return vdpa->one[index].seat.card;
}

enum vms_code src_vdpa_control(struct src_vdpa *vdpa, size_t index, uint8_t class_, uint8_t command,
                               const void *data, size_t len, bool *ok, struct vms_error *err) {
    (void)pthread_mutex_lock(&vdpa->lock);
    enum vms_code code =
        vms_vdpa_card_control(vdpa->one[index].seat.card, class_, command, data, len, ok, err);
    (void)pthread_mutex_unlock(&vdpa->lock);
    return code;
}

const struct vms_vdpa_state *src_vdpa_told(const struct src_vdpa *vdpa, size_t index) {
    return src_vdpa_state(&vdpa->one[index]);
}

const struct vms_vdpa_about *src_vdpa_about(const struct src_vdpa *vdpa, size_t index) {
    return vms_vdpa_about(vdpa->one[index].seat.device);
}

const struct vms_guest *src_vdpa_guest(struct src_vdpa *vdpa) {
    return &vdpa->guest;
}

const struct vms_error *src_vdpa_lost(const struct src_vdpa *vdpa) {
    return &vdpa->lost;
}

struct src_vdpa_figures src_vdpa_figures(const struct src_vdpa *vdpa, size_t index) {
    const struct src_vdpa_one *one = &vdpa->one[index];
    struct src_vdpa_figures f = {.name = one->spec.name,
                                 .idstr = one->spec.idstr,
                                 .early = one->early,
                                 .bytes = one->bytes,
                                 .granted = one->granted,
                                 .stopped = one->stopped,
                                 .watched = vms_vdpa_card_is_watched(one->seat.card)};
    vms_vdpa_map_progress(one->seat.map, &f.maps);
    return f;
}
