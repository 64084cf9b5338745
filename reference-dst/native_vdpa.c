/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"

#include <stdlib.h>

/* vDPA devices of a native migration: their maps hold the switchover up, and can end it early. */

enum {
    KIND_SETUP,
    KIND_STATE,
};

/* ---- what the mapping threads say: [VDPA-11] ---- */

static uint32_t id_of(const struct dst_native_session *s, size_t index) {
    for (uint32_t i = 0; i < s->device_count; i++)
        if (s->devices[i].vdpa && s->devices[i].index == index)
            return s->devices[i].id;
    return UINT32_MAX; /* all have their place [NAT-49] */
}

static void on_needs(void *ctx, size_t index, uint64_t generation) {
    dn_post_device(ctx, DST_NEV_DEVICE_NEEDS, id_of(ctx, index), generation);
}

static void on_ready(void *ctx, size_t index, uint64_t generation) {
    dn_post_device(ctx, DST_NEV_DEVICE_READY, id_of(ctx, index), generation);
}

/* The source hears of it at once, and why. */
static void on_failed(void *ctx, size_t index, const struct vms_error *err) {
    (void)index;
    dn_fail(ctx, err);
}

static void on_progress(void *ctx, size_t index, const struct vms_vdpa_progress *p) {
    const struct dst_native_session *s = ctx;
    if (s->config.mapped)
        s->config.mapped(s->config.ctx, dst_vdpa_idstr(s->config.vdpa, index), p);
}

void dn_devices_own(struct dst_native_session *s) {
    const struct dst_vdpa_owner owner = {on_needs, on_ready, on_failed, on_progress, s};
    if (s->config.vdpa)
        dst_vdpa_own(s->config.vdpa, &owner);
}

/* ---- what the source says ---- */

/* [VDPA-5] Its blocks in its order: addresses in rings are the source's. */
enum vms_code dn_devices_layout(struct dst_native_session *s, struct vms_error *err) {
    if (!s->config.vdpa || s->layout_blocks)
        return VMS_OK;
    s->layout_blocks = calloc(s->block_count, sizeof *s->layout_blocks);
    if (!s->layout_blocks)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (size_t i = 0; i < s->block_count; i++)
        s->layout_blocks[i] = s->blocks[i].map;
    s->layout = (struct vms_guest){.blocks = s->layout_blocks, .block_count = s->block_count};
    return dst_vdpa_layout(s->config.vdpa, &s->layout, err);
}

enum vms_code dn_vdpa_data(struct dst_native_session *s, const struct dn_device *d,
                           const struct vms_native_device_state *f, struct vms_slice bulk,
                           struct vms_error *err) {
    if (f->kind == KIND_SETUP && f->last)
        return dst_vdpa_profile(s->config.vdpa, d->index, bulk.ptr, bulk.len, err);
    if (f->kind == KIND_STATE)
        return dst_vdpa_state(s->config.vdpa, d->index, bulk.ptr, bulk.len, f->last, err);
    return vms_error_set(err, VMS_E_MIG_DEVICE, "vDPA device %u, kind %u", f->device, f->kind);
}
