/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio.h"

#include "host/vfio_config.h"

#include <stdlib.h>
#include <string.h>

/* ---- what may come when: [VDEV-12] ---- */

enum stage {
    IDLE,       /* nothing has come, or it was reset */
    LOADING,    /* in RESUMING */
    ENDED,      /* its stream is over */
    CONFIGURED, /* its config state is there */
    COMPLETE,   /* and loaded */
    STOPPED,    /* verified */
    RUNS,
    STAGES,
};

enum step {
    SETUP,
    DATA,
    MARK,
    END,
    CONFIG,
    LOAD,
    VERIFY,
    RUN,
    STEPS,
};

enum {
    NO = STAGES, /* not allowed */
};

/* Each stage: SETUP, DATA, MARK, END, CONFIG, LOAD, VERIFY, RUN */
static const uint8_t table[STAGES][STEPS] = {
    [IDLE] = {LOADING, NO, NO, NO, NO, NO, NO, NO},
    [LOADING] = {NO, LOADING, LOADING, ENDED, NO, NO, NO, NO},
    [ENDED] = {NO, NO, NO, NO, CONFIGURED, NO, NO, NO},
    [CONFIGURED] = {NO, NO, NO, NO, NO, COMPLETE, NO, NO},
    [COMPLETE] = {NO, NO, NO, NO, NO, NO, STOPPED, NO},
    [STOPPED] = {NO, NO, NO, NO, NO, NO, STOPPED, RUNS},
    [RUNS] = {NO, NO, NO, NO, NO, NO, NO, RUNS},
};

static const char *const stage_names[STAGES] = {
    "before its setup",    "while it loads",      "after its end", "before its config is loaded",
    "when it is complete", "when it was checked", "when it runs",
};
static const char *const step_names[STEPS] = {
    "setup", "data", "INIT_DATA_SENT", "end", "config", "loading of config", "check", "run",
};

struct one {
    struct dst_vfio *set;
    struct vms_vfio *device;
    struct vms_vfio_spec spec;
    enum stage stage;
    _Atomic uint64_t bytes, generation; /* figures are read while it loads */
    uint8_t *config;
    size_t config_len;
};

struct dst_vfio {
    struct vms_vfio_guest *devices;
    struct one one[VMS_VFIO_GUEST_MAX];
    size_t count;
    dst_vfio_watch *watch;
    void *watch_ctx;
};

static void tell(struct one *one) {
    size_t index = (size_t)(one - one->set->one);
    struct dst_vfio_figures now = dst_vfio_figures(one->set, index);
    if (one->set->watch)
        one->set->watch(one->set->watch_ctx, index, &now);
}

void dst_vfio_tell(struct dst_vfio *vfio, dst_vfio_watch *watch, void *ctx) {
    vfio->watch = watch;
    vfio->watch_ctx = ctx;
}

static enum vms_code may(const struct one *one, enum step step, struct vms_error *err) {
    if (table[one->stage][step] != NO)
        return VMS_OK;
    return vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "%.60s: %s %s", one->spec.idstr,
                         step_names[step], stage_names[one->stage]);
}

/** The step was taken if code is OK. */
static enum vms_code took(struct one *one, enum step step, enum vms_code code) {
    if (code == VMS_OK)
        one->stage = (enum stage)table[one->stage][step];
    if (step != DATA || code != VMS_OK)
        tell(one);
    return code;
}

/* ---- one device ---- */

static enum vms_code setup(void *ctx, struct vms_error *err) {
    struct one *one = ctx;
    enum vms_code code = may(one, SETUP, err);
    if (code == VMS_OK)
        code = vms_vfio_set_state(one->device, VMS_VFIO_RESUMING, err);
    return took(one, SETUP, code);
}

static enum vms_code data(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct one *one = ctx;
    enum vms_code code = may(one, DATA, err);
    if (code == VMS_OK)
        code = vms_vfio_write(one->device, bytes, len, err); /* [VFIO-12] */
    if (code == VMS_OK)
        one->bytes += len;
    return took(one, DATA, code);
}

/* [VDEV-10] data() has returned for all that came before: the device has it. */
static enum vms_code initial_sent(void *ctx, uint64_t *generation, struct vms_error *err) {
    struct one *one = ctx;
    enum vms_code code = may(one, MARK, err);
    if (code == VMS_OK && !vms_vfio_features(one->device)->precopy)
        code = vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "%.60s: initial data without pre-copy",
                             one->spec.idstr);
    if (code == VMS_OK)
        *generation = ++one->generation;
    return took(one, MARK, code);
}

static enum vms_code end(void *ctx, struct vms_error *err) {
    struct one *one = ctx;
    return took(one, END, may(one, END, err));
}

static enum vms_code config(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct one *one = ctx;
    enum vms_code code = may(one, CONFIG, err);
    if (code == VMS_OK && len > VMS_VFIO_CONFIG_MAX)
        code = vms_error_set(err, VMS_E_VFIO_CONFIG, "%.60s: %zu octets", one->spec.idstr, len);
    uint8_t *copy = code == VMS_OK ? malloc(len ? len : 1) : NULL;
    if (code == VMS_OK && !copy)
        code = vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (code != VMS_OK)
        return code;
    if (len)
        memcpy(copy, bytes, len);
    one->config = copy;
    one->config_len = len;
    return took(one, CONFIG, VMS_OK);
}

static enum vms_code load_config(void *ctx, struct vms_error *err) {
    struct one *one = ctx;
    enum vms_code code = may(one, LOAD, err);
    if (code == VMS_OK)
        code = vms_vfio_config_load(one->device, one->config, one->config_len, err);
    return took(one, LOAD, code);
}

/* [VDEV-24] A change of state to RUNNING would run what it has loaded of the guest. */
static enum vms_code halt(struct one *one, struct vms_error *err) {
    bool touched = one->stage != IDLE || vms_vfio_state(one->device) != VMS_VFIO_RUNNING;
    enum vms_code code = touched ? vms_vfio_halt(one->device, err) : VMS_OK;
    free(one->config);
    one->config = NULL;
    one->config_len = 0;
    one->bytes = one->generation = 0;
    one->stage = IDLE;
    tell(one);
    return code;
}

static void reset(void *ctx) {
    struct vms_error ignored;
    (void)halt(ctx, &ignored);
}

static const struct dst_device_ops ops = {
    .setup = setup,
    .data = data,
    .initial_sent = initial_sent,
    .end = end,
    .config = config,
    .load_config = load_config,
    .reset = reset,
};

/* ---- all of them ---- */

static enum vms_code all(struct dst_vfio *vfio, enum step step,
                         enum vms_code (*act)(struct vms_vfio_guest *, struct vms_error *),
                         struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < vfio->count && code == VMS_OK; i++)
        code = may(&vfio->one[i], step, err);
    if (code == VMS_OK)
        code = act(vfio->devices, err);
    for (size_t i = 0; i < vfio->count && code == VMS_OK; i++)
        (void)took(&vfio->one[i], step, code);
    return code;
}

enum vms_code dst_vfio_verify(struct dst_vfio *vfio, struct vms_error *err) {
    return all(vfio, VERIFY, vms_vfio_guest_verify, err);
}

enum vms_code dst_vfio_run(struct dst_vfio *vfio, struct vms_error *err) {
    return all(vfio, RUN, vms_vfio_guest_run, err);
}

enum vms_code dst_vfio_reset(struct dst_vfio *vfio, struct vms_error *err) {
    enum vms_code first = VMS_OK;
    struct vms_error ignored;
    for (size_t i = 0; i < vfio->count; i++) {
        enum vms_code code = halt(&vfio->one[i], first == VMS_OK ? err : &ignored);
        first = first == VMS_OK ? code : first;
    }
    return first;
}

/* ---- life ---- */

static enum vms_code open_all(struct dst_vfio *vfio, const struct vms_guest *guest,
                              const char *const *specs, struct vms_error *err) {
    const char *names[VMS_VFIO_GUEST_MAX];
    for (size_t i = 0; i < vfio->count; i++) {
        if (!vms_vfio_spec(specs[i], (unsigned)i, &vfio->one[i].spec))
            return vms_error_set(err, VMS_E_VFIO_DEVICE, "what device is %.60s?", specs[i]);
        vfio->one[i].set = vfio;
        names[i] = vfio->one[i].spec.name;
    }
    enum vms_code code = vms_vfio_guest_new(guest, names, vfio->count, &vfio->devices, err);
    for (size_t i = 0; i < vfio->count && code == VMS_OK; i++)
        vfio->one[i].device = vms_vfio_guest_device(vfio->devices, i);
    return code;
}

enum vms_code dst_vfio_new(const struct vms_guest *guest, const char *const *specs, size_t count,
                           struct dst_vfio **out, struct vms_error *err) {
    *out = NULL;
    if (count > VMS_VFIO_GUEST_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu VFIO devices", count);
    struct dst_vfio *vfio = calloc(1, sizeof *vfio);
    if (!vfio)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    vfio->count = count;
    enum vms_code code = open_all(vfio, guest, specs, err);
    if (code != VMS_OK) {
        dst_vfio_free(vfio);
        return code;
    }
    *out = vfio;
    return VMS_OK;
}

void dst_vfio_free(struct dst_vfio *vfio) {
    if (!vfio)
        return;
    for (size_t i = 0; i < vfio->count; i++)
        free(vfio->one[i].config);
    vms_vfio_guest_free(vfio->devices);
    free(vfio);
}

size_t dst_vfio_count(const struct dst_vfio *vfio) {
    return vfio->count;
}

struct dst_device dst_vfio_device(struct dst_vfio *vfio, size_t index) {
    struct one *one = &vfio->one[index];
    return (struct dst_device){&ops, one, one->spec.idstr, vms_vfio_features(one->device)->precopy};
}

size_t dst_vfio_find(const struct dst_vfio *vfio, const uint8_t *idstr, size_t len) {
    size_t i = 0;
    while (i < vfio->count && (strlen(vfio->one[i].spec.idstr) != len ||
                               memcmp(vfio->one[i].spec.idstr, idstr, len) != 0))
        i++;
    return i;
}

uint64_t dst_vfio_generation(const struct dst_vfio *vfio, size_t index) {
    return vfio->one[index].generation;
}

struct dst_vfio_figures dst_vfio_figures(const struct dst_vfio *vfio, size_t index) {
    const struct one *one = &vfio->one[index];
    return (struct dst_vfio_figures){
        .name = one->spec.name,
        .idstr = one->spec.idstr,
        .state = vms_vfio_state(one->device),
        .bytes = one->bytes,
        .config_bytes = one->config_len,
        .generation = one->generation,
    };
}
