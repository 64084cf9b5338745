/* SPDX-License-Identifier: MIT */
#include "reference-src/devices/vfio_internal.h"

#include <stdlib.h>
#include <time.h>

/* ---- together ---- */

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum vms_code src_vfio_stop_all(struct src_vfio *vfio, struct vms_error *err) {
    enum vms_code code = vms_vfio_guest_stop(vfio->devices, err);
    if (code == VMS_OK && !vfio->stopped_ns)
        vfio->stopped_ns = now_ns();
    return code;
}

/* [VDEV-8] *again: there is new initial data. */
static enum vms_code last_look(struct src_vfio *vfio, bool *again, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    *again = false;
    for (size_t i = 0; i < vfio->count && code == VMS_OK; i++) {
        struct src_vfio_one *one = &vfio->one[i];
        uint64_t before = one->generation;
        if (vms_vfio_state(one->device) != VMS_VFIO_PRE_COPY)
            continue;
        code = src_vfio_look(one, err);
        *again = *again || one->generation > before;
    }
    return code;
}

/** To where it was before the guest was stopped; else to RUNNING, and its stream is over. */
static enum vms_code bring_back(struct src_vfio_one *one, struct vms_error *err) {
    switch (vms_vfio_state(one->device)) {
    case VMS_VFIO_RUNNING:
    case VMS_VFIO_PRE_COPY: return VMS_OK;
    case VMS_VFIO_PRE_COPY_P2P:
        if (vms_vfio_set_state(one->device, VMS_VFIO_PRE_COPY, err) == VMS_OK)
            return VMS_OK;
        break;
    default: break;
    }
    one->broken = vms_vfio_features(one->device)->precopy;
    return vms_vfio_recover(one->device, err);
}

/* ---- the guest with its devices ---- */

static enum vms_code stop(void *ctx, struct vms_error *err) {
    struct src_vfio *vfio = ctx;
    bool again;
    enum vms_code code = vms_guest_stop(vfio->wrap.inner, err);
    if (code == VMS_OK)
        code = last_look(vfio, &again, err);
    if (code == VMS_OK && !again)
        code = src_vfio_stop_all(vfio, err);
    return code;
}

/* [VDEV-2] A device that is lost does not keep the guest from running: it is told. */
static enum vms_code run(void *ctx, struct vms_error *err) {
    struct src_vfio *vfio = ctx;
    src_vfio_give_up(vfio);
    for (size_t i = 0; i < vfio->count; i++) {
        struct vms_error why = {.code = VMS_OK};
        if (bring_back(&vfio->one[i], &why) != VMS_OK && vfio->lost.code == VMS_OK)
            vfio->lost = why;
    }
    vfio->stopped_ns = 0;
    return vms_guest_run(vfio->wrap.inner, err);
}

/* ---- life ---- */

static enum vms_code open_all(struct src_vfio *vfio, const char *const *specs, uint32_t first,
                              struct vms_error *err) {
    const char *names[VMS_VFIO_GUEST_MAX];
    for (size_t i = 0; i < vfio->count; i++) {
        struct src_vfio_one *one = &vfio->one[i];
        if (!vms_vfio_spec(specs[i], (unsigned)i, &one->spec))
            return vms_error_set(err, VMS_E_VFIO_DEVICE, "what device is %.60s?", specs[i]);
        one->set = vfio;
        one->number = first + (uint32_t)i;
        names[i] = one->spec.name;
    }
    enum vms_code code =
        vms_vfio_guest_new(vfio->wrap.inner, names, vfio->count, &vfio->devices, err);
    for (size_t i = 0; i < vfio->count && code == VMS_OK; i++)
        vfio->one[i].device = vms_vfio_guest_device(vfio->devices, i);
    return code;
}

enum vms_code src_vfio_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           uint32_t first, enum src_vfio_ack ack, struct src_vfio **out,
                           struct vms_error *err) {
    *out = NULL;
    if (count > VMS_VFIO_GUEST_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu VFIO devices", count);
    struct src_vfio *vfio = calloc(1, sizeof *vfio);
    if (!vfio)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    vfio->wrap = (struct vms_guest_wrap){.inner = guest, .stop = stop, .run = run, .ctx = vfio};
    vfio->guest = vms_guest_wrap(&vfio->wrap);
    vfio->count = count;
    vfio->ack = ack;
    vfio->chunk = malloc(SRC_VFIO_CHUNK);
    enum vms_code code =
        vfio->chunk ? open_all(vfio, specs, first, err) : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (code != VMS_OK) {
        src_vfio_free(vfio);
        return code;
    }
    *out = vfio;
    return VMS_OK;
}

void src_vfio_free(struct src_vfio *vfio) {
    if (!vfio)
        return;
    src_vfio_give_up(vfio);
    vms_vfio_guest_free(vfio->devices);
    free(vfio->chunk);
    free(vfio);
}

size_t src_vfio_count(const struct src_vfio *vfio) {
    return vfio->count;
}

struct src_device src_vfio_device(struct src_vfio *vfio, size_t index) {
    struct src_vfio_one *one = &vfio->one[index];
    return (struct src_device){
        .ops = &src_vfio_ops,
        .ctx = one,
        .about = {.number = one->number, .kind = 1, .idstr = one->spec.idstr, .instance = 0},
    };
}

bool src_vfio_has_initial(const struct src_vfio *vfio, size_t index) {
    return vfio->ack != SRC_VFIO_ACK_NONE && vms_vfio_features(vfio->one[index].device)->precopy;
}

const struct vms_guest *src_vfio_guest(struct src_vfio *vfio) {
    return &vfio->guest;
}

enum vms_code src_vfio_dirty(struct src_vfio *vfio, struct vms_dirty inner, struct vms_dirty *out,
                             struct vms_error *err) {
    return vms_vfio_guest_dirty(vfio->devices, inner, out, err);
}

struct src_vfio_figures src_vfio_figures(const struct src_vfio *vfio, size_t index) {
    const struct src_vfio_one *one = &vfio->one[index];
    return (struct src_vfio_figures){
        .name = one->spec.name,
        .idstr = one->spec.idstr,
        .state = vms_vfio_state(one->device),
        .precopy_bytes = one->precopy_bytes,
        .stop_bytes = one->stop_bytes,
        .generation = one->generation,
        .sent = one->sent,
        .granted = one->granted,
        .stopped_ns = vfio->stopped_ns,
    };
}

const struct vms_error *src_vfio_lost(const struct src_vfio *vfio) {
    return &vfio->lost;
}
