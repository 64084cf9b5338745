/* SPDX-License-Identifier: MIT */
#include "host/vfio_guest_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

static enum vms_code map_blocks(struct vms_vfio_guest *g, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    uint64_t at = 0;
    for (size_t i = 0; i < g->guest->block_count && code == VMS_OK; i++) {
        const struct vms_guest_block *b = &g->guest->blocks[i];
        g->iova[i] = at;
        code = vms_vfio_map(g->iommu, at, b->memory, b->length, err);
        g->mapped += code == VMS_OK;
        at = up(at + b->length, 1ull << 30);
    }
    return code;
}

/* [VDEV-5] */
static enum vms_code check_p2p(const struct vms_vfio_guest *g, struct vms_error *err) {
    for (size_t i = 0; i < g->count && g->count > 1; i++)
        if (!vms_vfio_features(g->device[i])->p2p)
            return vms_error_set(err, VMS_E_VFIO_P2P, "%.60s", vms_vfio_name(g->device[i]));
    return VMS_OK;
}

enum vms_code vms_vfio_guest_new(const struct vms_guest *guest, const char *const *names,
                                 size_t count, struct vms_vfio_guest **out, struct vms_error *err) {
    *out = NULL;
    if (count > VMS_VFIO_GUEST_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu VFIO devices", count);
    struct vms_vfio_guest *g = calloc(1, sizeof *g);
    uint64_t *iova = calloc(guest->block_count + 1, sizeof *iova);
    if (!g || !iova) {
        free(g);
        free(iova);
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    g->guest = guest;
    g->iova = iova;
    enum vms_code code = vms_vfio_iommu_new(&g->iommu, err);
    for (size_t i = 0; i < count && code == VMS_OK; i++) {
        code = vms_vfio_open(g->iommu, names[i], &g->device[i], err);
        g->count += code == VMS_OK;
    }
    if (code == VMS_OK)
        code = check_p2p(g, err);
    if (code == VMS_OK && count)
        code = map_blocks(g, err);
    if (code != VMS_OK) {
        vms_vfio_guest_free(g);
        return code;
    }
    *out = g;
    return VMS_OK;
}

void vms_vfio_guest_free(struct vms_vfio_guest *g) {
    struct vms_error ignored;
    if (!g)
        return;
    for (size_t i = 0; i < g->mapped; i++)
        (void)vms_vfio_unmap(g->iommu, g->iova[i], g->guest->blocks[i].length, &ignored);
    for (size_t i = 0; i < g->count; i++)
        vms_vfio_close(g->device[i]);
    vms_vfio_iommu_free(g->iommu);
    free(g->iova);
    free(g);
}

size_t vms_vfio_guest_count(const struct vms_vfio_guest *g) {
    return g->count;
}

struct vms_vfio *vms_vfio_guest_device(const struct vms_vfio_guest *g, size_t index) {
    return g->device[index];
}

uint64_t vms_vfio_guest_iova(const struct vms_vfio_guest *g, size_t block) {
    return g->iova[block];
}

/* ---- together ---- */

typedef enum vms_vfio_state to_state(const struct vms_vfio *device);

struct change {
    struct vms_vfio *device;
    enum vms_vfio_state to;
    enum vms_code code;
    struct vms_error err;
    pthread_t thread;
    bool runs;
};

static void *change(void *arg) {
    struct change *c = arg;
    c->code = vms_vfio_set_state(c->device, c->to, &c->err);
    return NULL;
}

/* [VDEV-21] Each in a thread of its own, the last one in this; where there is none, here, too. */
static void begin(struct change *c, bool last) {
    bool alone = last || vms_vfio_state(c->device) == c->to;
    c->runs = !alone && pthread_create(&c->thread, NULL, change, c) == 0;
    if (!c->runs)
        (void)change(c);
}

/* All have tried; the first one's error. */
static enum vms_code all_to(struct vms_vfio_guest *g, to_state *to, struct vms_error *err) {
    struct change changes[VMS_VFIO_GUEST_MAX];
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < g->count; i++) {
        changes[i] = (struct change){.device = g->device[i], .to = to(g->device[i])};
        begin(&changes[i], i + 1 == g->count);
    }
    for (size_t i = 0; i < g->count; i++) {
        if (changes[i].runs)
            (void)pthread_join(changes[i].thread, NULL);
        if (code == VMS_OK && changes[i].code != VMS_OK)
            *err = changes[i].err;
        code = code == VMS_OK ? changes[i].code : code;
    }
    return code;
}

/* What is silent already, or stopped, stays as it is: its stream would be lost. */
static enum vms_vfio_state silent(const struct vms_vfio *device) {
    enum vms_vfio_state state = vms_vfio_state(device);
    if (!vms_vfio_features(device)->p2p)
        return state;
    return state == VMS_VFIO_PRE_COPY  ? VMS_VFIO_PRE_COPY_P2P
           : state == VMS_VFIO_RUNNING ? VMS_VFIO_RUNNING_P2P
                                       : state;
}

static enum vms_vfio_state stop_copy(const struct vms_vfio *device) {
    (void)device;
    return VMS_VFIO_STOP_COPY;
}

static enum vms_vfio_state running_p2p(const struct vms_vfio *device) {
    return vms_vfio_features(device)->p2p ? VMS_VFIO_RUNNING_P2P : VMS_VFIO_STOP;
}

static enum vms_vfio_state running(const struct vms_vfio *device) {
    (void)device;
    return VMS_VFIO_RUNNING;
}

static enum vms_vfio_state stopped(const struct vms_vfio *device) {
    (void)device;
    return VMS_VFIO_STOP;
}

enum vms_code vms_vfio_guest_verify(struct vms_vfio_guest *g, struct vms_error *err) {
    return all_to(g, stopped, err);
}

enum vms_code vms_vfio_guest_stop(struct vms_vfio_guest *g, struct vms_error *err) {
    enum vms_code code = all_to(g, silent, err);
    return code == VMS_OK ? all_to(g, stop_copy, err) : code;
}

enum vms_code vms_vfio_guest_run(struct vms_vfio_guest *g, struct vms_error *err) {
    enum vms_code code = all_to(g, running_p2p, err);
    return code == VMS_OK ? all_to(g, running, err) : code;
}

enum vms_code vms_vfio_guest_recover(struct vms_vfio_guest *g, struct vms_error *err) {
    enum vms_code first = VMS_OK;
    struct vms_error ignored;
    for (size_t i = 0; i < g->count; i++) {
        enum vms_code code = vms_vfio_recover(g->device[i], first == VMS_OK ? err : &ignored);
        first = first == VMS_OK ? code : first;
    }
    return first;
}

bool vms_vfio_spec(const char *text, unsigned number, struct vms_vfio_spec *out) {
    const char *id = strstr(text, ",id=");
    out->simulated = strncmp(text, "sim:", 4) == 0;
    text += out->simulated ? 4 : 0;
    size_t len = id ? (size_t)(id - text) : strlen(text);
    int n = id ? snprintf(out->idstr, sizeof out->idstr, "%s", id + 4)
               : snprintf(out->idstr, sizeof out->idstr, "vfio%u/vfio", number);
    if (len == 0 || len >= sizeof out->name || n <= 0 || (size_t)n >= sizeof out->idstr)
        return false;
    memcpy(out->name, text, len);
    out->name[len] = 0;
    return true;
}
