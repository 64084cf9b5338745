/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vdpa_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what may come when: [VDPA-14] ---- */

enum {
    NO = STAGES, /* refused */
};

/* A total table; reset leads to OVER from everywhere. */
static const uint8_t next[STAGES][STEPS] = {
    /*            LAYOUT    PROFILE EARLY STATE   VERIFY    RUN */
    [IDLE] = {LAID_OUT, NO, NO, NO, NO, NO},
    [LAID_OUT] = {LAID_OUT, KNOWN, NO, NO, NO, NO},
    [KNOWN] = {KNOWN, NO, KNOWN, LOADED, NO, NO},
    [LOADED] = {LOADED, NO, NO, NO, VERIFIED, NO},
    [VERIFIED] = {LOADED, NO, NO, NO, VERIFIED, RUNS},
    [RUNS] = {NO, NO, NO, NO, NO, RUNS},
    [OVER] = {NO, NO, NO, NO, NO, NO},
};

static enum vms_code step(struct one *one, enum step step, struct vms_error *err) {
    static const char *const steps[STEPS] = {"the layout", "its profile", "a record of its state",
                                             "its state",  "the verdict", "the start"};
    static const char *const stages[STAGES] = {"new",      "laid out", "known", "loaded",
                                               "verified", "running",  "reset"};
    if (next[one->stage][step] != NO)
        return VMS_OK;
    return vms_error_set(err, VMS_E_VDPA_UNEXPECTED, "%.60s: %s when it is %s", one->spec.name,
                         steps[step], stages[one->stage]);
}

static void done(struct one *one, enum step step) {
    one->stage = (enum stage)next[one->stage][step];
}

/* ---- maps ---- */

/* [VDPA-11] By the mapping thread. */
static void changed(void *ctx, const struct vms_vdpa_progress *p) {
    struct one *one = ctx;
    const struct dst_vdpa_owner *owner = &one->set->owner;
    size_t index = (size_t)(one - one->set->one);
    owner->progress(owner->ctx, index, p);
    dst_vdpa_ahead_maps(one, !p->failed && p->done == p->generation);
    if (p->failed && !one->said) {
        struct vms_error err;
        one->said = true;
        (void)vms_vdpa_map_error(one->seat.map, &err);
        owner->failed(owner->ctx, index, &err);
    } else if (!one->set->options.late && !p->failed && p->done == p->generation &&
               p->done > one->told) {
        one->told = p->done;
        owner->ready(owner->ctx, index, p->done);
    }
}

static enum vms_code lay_out(struct one *one, const struct vms_guest *guest,
                             struct vms_error *err) {
    const struct dst_vdpa_owner *owner = &one->set->owner;
    uint64_t coming = one->seat.generation + 1; /* told first: READY comes from another thread */
    bool again = one->seat.generation > 0;
    owner->needs(owner->ctx, (size_t)(one - one->set->one), coming);
    enum vms_code code = vms_vdpa_seat_layout(&one->seat, guest, err);
    if (code == VMS_OK && again) /* the guest may free what is gone */
        code = vms_vdpa_map_wait_gone(one->seat.map, one->seat.generation, err);
    return code;
}

enum vms_code dst_vdpa_layout(struct dst_vdpa *vdpa, const struct vms_guest *guest,
                              struct vms_error *err) {
    enum vms_code code = VMS_OK;
    vdpa->guest = guest;
    for (size_t i = 0; i < vdpa->count && code == VMS_OK; i++) {
        struct one *one = &vdpa->one[i];
        code = step(one, LAYOUT, err);
        if (code == VMS_OK && !vdpa->options.late)
            code = lay_out(one, guest, err);
        else if (code == VMS_OK && one->stage == IDLE)
            vdpa->owner.ready(vdpa->owner.ctx, i, 1); /* nothing is to be waited for */
        if (code == VMS_OK)
            done(one, LAYOUT);
    }
    return code;
}

/* ---- what the source says ---- */

enum vms_code dst_vdpa_profile(struct dst_vdpa *vdpa, size_t index, const uint8_t *bytes,
                               size_t len, struct vms_error *err) {
    struct one *one = &vdpa->one[index];
    enum vms_code code = step(one, PROFILE, err);
    if (code == VMS_OK)
        code = vms_vdpa_profile_read(vms_slice(bytes, len), &one->profile, err);
    if (code == VMS_OK)
        code = vms_vdpa_fits(one->seat.device, &one->profile, err);
    if (code == VMS_OK)
        done(one, PROFILE);
    return code;
}

static bool is_same(const struct vms_vdpa_profile *a, const struct vms_vdpa_profile *b) {
    return a->device_id == b->device_id && a->features == b->features &&
           a->config_size == b->config_size && a->queues == b->queues &&
           a->ring_size == b->ring_size;
}

/* [VDPA-26] */
enum vms_code dst_vdpa_state(struct dst_vdpa *vdpa, size_t index, const uint8_t *bytes, size_t len,
                             bool last, struct vms_error *err) {
    struct one *one = &vdpa->one[index];
    enum vms_code code = step(one, last ? STATE : EARLY, err);
    if (code == VMS_OK)
        code = vms_vdpa_record_read(vms_slice(bytes, len), one->has_state, &one->state, err);
    /* a driver may have come or changed its mind since; what the device must be did not */
    if (code == VMS_OK && !is_same(&one->profile, &one->state.profile))
        code = vms_vdpa_fits(one->seat.device, &one->state.profile, err);
    if (code != VMS_OK)
        return code;
    one->has_state = true;
    one->bytes += len;
    one->last_bytes = last ? len : 0;
    if (!last)
        dst_vdpa_ahead_state(one);
    done(one, last ? STATE : EARLY);
    return VMS_OK;
}

/* ---- the end ---- */

enum vms_code dst_vdpa_verify(struct dst_vdpa *vdpa, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < vdpa->count && code == VMS_OK; i++)
        code = step(&vdpa->one[i], VERIFY, err);
    for (size_t i = 0; i < vdpa->count && code == VMS_OK && vdpa->options.late; i++)
        code = vms_vdpa_seat_layout(&vdpa->one[i].seat, vdpa->guest, err);
    for (size_t i = 0; i < vdpa->count && code == VMS_OK; i++) {
        code = vms_vdpa_seat_wait(&vdpa->one[i].seat, err);
        if (code == VMS_OK)
            code = dst_vdpa_ahead_rest(&vdpa->one[i], err);
        if (code == VMS_OK)
            done(&vdpa->one[i], VERIFY);
    }
    return code;
}

enum vms_code dst_vdpa_run(struct dst_vdpa *vdpa, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < vdpa->count && code == VMS_OK; i++) {
        struct one *one = &vdpa->one[i];
        code = step(one, RUN, err);
        if (code == VMS_OK && one->stage != RUNS && (one->state.status & VMS_VDPA_DRIVER_OK))
            code = vms_vdpa_card_start(one->seat.card, &one->state, one->events, err);
        if (code == VMS_OK)
            done(one, RUN);
    }
    return code;
}

void dst_vdpa_reset(struct dst_vdpa *vdpa) {
    struct vms_error ignored;
    for (size_t i = 0; i < vdpa->count; i++) {
        struct one *one = &vdpa->one[i];
        (void)dst_vdpa_ahead_end(one, &ignored);
        (void)vms_vdpa_reset(one->seat.device, &ignored);
        vms_vdpa_map_cancel(one->seat.map);
        one->stage = OVER;
    }
}

/* ---- life ---- */

static enum vms_code open_one(struct dst_vdpa *vdpa, size_t i, const char *spec,
                              struct vms_error *err) {
    struct one *one = &vdpa->one[i];
    const struct vms_vdpa_map_options options = {.chunk = vdpa->options.chunk,
                                                 .batch = vdpa->options.batch,
                                                 .max_maps = vdpa->options.max_maps,
                                                 .changed = changed,
                                                 .ctx = one};
    if (!vms_vfio_spec(spec, (unsigned)i, &one->spec))
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "what device is %.60s?", spec);
    if (!strstr(spec, ",id="))
        (void)snprintf(one->spec.idstr, sizeof one->spec.idstr, "vdpa%zu", i);
    one->set = vdpa;
    dst_vdpa_ahead_init(one);
    enum vms_code code = vms_vdpa_seat_open(&one->seat, one->spec.name, &options, err);
    vdpa->count += code == VMS_OK;
    return code;
}

enum vms_code dst_vdpa_new(const char *const *specs, size_t count,
                           const struct dst_vdpa_options *options,
                           const struct dst_vdpa_owner *owner, struct dst_vdpa **out,
                           struct vms_error *err) {
    *out = NULL;
    if (count > DEVICES_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu vDPA devices", count);
    struct dst_vdpa *vdpa = calloc(1, sizeof *vdpa);
    if (!vdpa)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    vdpa->options = *options;
    if (owner)
        vdpa->owner = *owner;
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        code = open_one(vdpa, i, specs[i], err);
    if (code == VMS_OK)
        *out = vdpa;
    else
        dst_vdpa_free(vdpa);
    return code;
}

void dst_vdpa_own(struct dst_vdpa *vdpa, const struct dst_vdpa_owner *owner) {
    vdpa->owner = *owner;
}

void dst_vdpa_events(struct dst_vdpa *vdpa, size_t index, const struct vms_vdpa_events *events) {
    vdpa->one[index].events = events;
}

void dst_vdpa_free(struct dst_vdpa *vdpa) {
    struct vms_error ignored;
    for (size_t i = 0; vdpa && i < vdpa->count; i++) {
        (void)dst_vdpa_ahead_end(&vdpa->one[i], &ignored);
        vms_vdpa_seat_close(&vdpa->one[i].seat);
    }
    free(vdpa);
}

size_t dst_vdpa_count(const struct dst_vdpa *vdpa) {
    return vdpa->count;
}

const char *dst_vdpa_idstr(const struct dst_vdpa *vdpa, size_t index) {
    return vdpa->one[index].spec.idstr;
}

size_t dst_vdpa_find(const struct dst_vdpa *vdpa, const uint8_t *idstr, size_t len) {
    size_t i = 0;
    while (i < vdpa->count && (strlen(vdpa->one[i].spec.idstr) != len ||
                               memcmp(vdpa->one[i].spec.idstr, idstr, len) != 0))
        i++;
    return i;
}

struct vms_vdpa_card *dst_vdpa_card(struct dst_vdpa *vdpa, size_t index) {
    return vdpa->one[index].seat.card;
}

struct dst_vdpa_figures dst_vdpa_figures(struct dst_vdpa *vdpa, size_t index) {
    const struct one *one = &vdpa->one[index];
    struct dst_vdpa_figures f = {.name = one->spec.name,
                                 .idstr = one->spec.idstr,
                                 .bytes = one->bytes,
                                 .last_bytes = one->last_bytes,
                                 .prepared = one->ahead.count,
                                 .prepare_ns = one->ahead.ns,
                                 .runs = one->stage == RUNS};
    vms_vdpa_map_progress(one->seat.map, &f.maps);
    return f;
}
