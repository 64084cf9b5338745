/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"

/* Devices beside RAM and virtual CPUs: [MIG-5] by their names, [MIG-6] their data. */

enum {
    KIND_SETUP,
    KIND_DATA,
    KIND_CONFIG,
    KIND_INITIAL_SENT,
};

static size_t have(const struct dst_native_session *s) {
    return s->config.vfio ? dst_vfio_count(s->config.vfio) : 0;
}

/* [NAT-49] Every device of the source has a place here, and all places are filled. */
enum vms_code dn_devices_agree(struct dst_native_session *s, const struct vms_native_hello *peer,
                               uint32_t *device, struct vms_error *err) {
    for (uint32_t i = 0; i < peer->device_count; i++) {
        struct vms_slice name = peer->devices[i].name;
        size_t at = have(s) ? dst_vfio_find(s->config.vfio, name.ptr, name.len) : 0;
        *device = peer->devices[i].id;
        if (at >= have(s) || i >= DN_DEVICES || *device == 0)
            return vms_error_set(err, VMS_E_MIG_DEVICE, "no device %.*s here", (int)name.len,
                                 (const char *)name.ptr);
        s->devices[i] = (struct dn_device){.id = *device, .index = at};
    }
    *device = UINT32_MAX;
    s->device_count = peer->device_count;
    if (s->device_count == have(s))
        return VMS_OK;
    return vms_error_set(err, VMS_E_MIG_DEVICE, "%u devices come, and %zu wait here",
                         s->device_count, have(s));
}

static struct dn_device *find(struct dst_native_session *s, uint32_t id) {
    for (uint32_t i = 0; i < s->device_count; i++)
        if (s->devices[i].id == id)
            return &s->devices[i];
    return NULL;
}

/* [SES-26] Asked before or after: the answer goes out once it is there. */
static void grant_if_due(struct dst_native_session *s, const struct dn_device *d) {
    pthread_mutex_lock(&s->lock);
    uint64_t asked = d->asked, there = d->there;
    pthread_mutex_unlock(&s->lock);
    if (asked && there >= asked)
        dn_post_device(s, DST_NEV_DEVICE_READY, d->id, asked);
}

void dn_device_asked(struct dst_native_session *s, uint32_t id, uint64_t generation) {
    struct dn_device *d = find(s, id);
    if (!d) { /* the machine itself, which is always in time */
        dn_post_device(s, DST_NEV_DEVICE_READY, id, generation);
        return;
    }
    pthread_mutex_lock(&s->lock);
    d->asked = generation;
    pthread_mutex_unlock(&s->lock);
    grant_if_due(s, d);
}

static enum vms_code initial_sent(struct dst_native_session *s, struct dn_device *d,
                                  const struct dst_device *device, struct vms_error *err) {
    uint64_t generation = 0;
    if (device->ops->initial_sent(device->ctx, &generation, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&s->lock);
    d->there = generation;
    pthread_mutex_unlock(&s->lock);
    grant_if_due(s, d);
    return VMS_OK;
}

static enum vms_code config(struct dn_device *d, const struct dst_device *device,
                            struct vms_slice bulk, bool last, struct vms_error *err) {
    (void)d;
    if (!last)
        return vms_error_set(err, VMS_E_MIG_DEVICE, "configuration in pieces");
    if (device->ops->config(device->ctx, bulk.ptr, bulk.len, err) != VMS_OK)
        return err->code;
    return device->ops->load_config(device->ctx, err);
}

static enum vms_code data(const struct dst_device *device, struct vms_slice bulk, bool last,
                          struct vms_error *err) {
    if (bulk.len && device->ops->data(device->ctx, bulk.ptr, bulk.len, err) != VMS_OK)
        return err->code;
    return last ? device->ops->end(device->ctx, err) : VMS_OK;
}

enum vms_code dn_device_data(struct dst_native_session *s, const struct vms_native_device_state *f,
                             struct vms_slice bulk, struct vms_error *err) {
    struct dn_device *d = find(s, f->device);
    if (!d || !s->set_up || f->kind > KIND_INITIAL_SENT || f->offset != d->offset[f->kind])
        return vms_error_set(err, VMS_E_MIG_DEVICE, "device %u, kind %u at %llu", f->device,
                             f->kind, (unsigned long long)f->offset);
    struct dst_device device = dst_vfio_device(s->config.vfio, d->index);
    d->offset[f->kind] += bulk.len;
    switch (f->kind) {
    case KIND_SETUP: return device.ops->setup(device.ctx, err);
    case KIND_DATA: return data(&device, bulk, f->last, err);
    case KIND_CONFIG: return config(d, &device, bulk, f->last, err);
    default: return initial_sent(s, d, &device, err);
    }
}

/* [VDEV-11] The devices' own verdict, before READY. */
enum vms_code dn_devices_verify(struct dst_native_session *s, struct vms_error *err) {
    return s->config.vfio ? dst_vfio_verify(s->config.vfio, err) : VMS_OK;
}

enum vms_code dn_devices_run(struct dst_native_session *s, struct vms_error *err) {
    return s->config.vfio ? dst_vfio_run(s->config.vfio, err) : VMS_OK;
}

void dn_devices_reset(struct dst_native_session *s) {
    if (s->config.vfio)
        dst_vfio_reset(s->config.vfio);
}
