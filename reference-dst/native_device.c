/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_loader.h"
#include "reference-dst/native_internal.h"

/* Devices beside RAM and virtual CPUs: [MIG-5] by their names, [MIG-6] their data. */

enum {
    KIND_SETUP,
    KIND_DATA,
    KIND_CONFIG,
    KIND_INITIAL_SENT,
};

enum { /* of a device in HELLO */
    IS_VFIO = 1,
    IS_VDPA = 2,
};

static size_t have_vfio(const struct dst_native_session *s) {
    return s->config.vfio ? dst_vfio_count(s->config.vfio) : 0;
}

static size_t have_vdpa(const struct dst_native_session *s) {
    return s->config.vdpa ? dst_vdpa_count(s->config.vdpa) : 0;
}

/* By kind and name. False: there is none. */
static bool place(const struct dst_native_session *s, const struct vms_native_device *peer,
                  struct dn_device *out) {
    struct vms_slice name = peer->name;
    *out = (struct dn_device){.id = peer->id, .vdpa = peer->kind == IS_VDPA};
    if (peer->kind == IS_VDPA && have_vdpa(s))
        out->index = dst_vdpa_find(s->config.vdpa, name.ptr, name.len);
    else if (peer->kind == IS_VFIO && have_vfio(s))
        out->index = dst_vfio_find(s->config.vfio, name.ptr, name.len);
    return peer->kind == IS_VDPA   ? out->index < have_vdpa(s)
           : peer->kind == IS_VFIO ? out->index < have_vfio(s)
                                   : false;
}

/* [NAT-49] Every device of the source has a place here, and all places are filled. */
enum vms_code dn_devices_agree(struct dst_native_session *s, const struct vms_native_hello *peer,
                               uint32_t *device, struct vms_error *err) {
    for (uint32_t i = 0; i < peer->device_count; i++) {
        struct vms_slice name = peer->devices[i].name;
        *device = peer->devices[i].id;
        if (i >= DN_DEVICES || *device == 0 || !place(s, &peer->devices[i], &s->devices[i]))
            return vms_error_set(err, VMS_E_MIG_DEVICE, "no device %.*s here", (int)name.len,
                                 (const char *)name.ptr);
    }
    *device = UINT32_MAX;
    s->device_count = peer->device_count;
    if (s->device_count == have_vfio(s) + have_vdpa(s))
        return VMS_OK;
    return vms_error_set(err, VMS_E_MIG_DEVICE, "%u devices come, and %zu wait here",
                         s->device_count, have_vfio(s) + have_vdpa(s));
}

static struct dn_device *find(struct dst_native_session *s, uint32_t id) {
    for (uint32_t i = 0; i < s->device_count; i++)
        if (s->devices[i].id == id)
            return &s->devices[i];
    return NULL;
}

bool dn_device_known(struct dst_native_session *s, uint32_t id) {
    return find(s, id) != NULL;
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

/* ---- VFIO: each device loads in a thread of its own ---- */

static void on_mark(void *device, uint64_t generation) {
    struct dn_device *d = device;
    pthread_mutex_lock(&d->session->lock);
    d->there = generation;
    pthread_mutex_unlock(&d->session->lock);
    grant_if_due(d->session, d);
}

/* The source hears of it at once, and why. */
static void on_failure(void *device, const struct vms_error *err) {
    dn_fail(((struct dn_device *)device)->session, err);
}

static enum vms_code set_up(struct dst_native_session *s, struct dn_device *d,
                            struct vms_error *err) {
    const struct dst_vfio_loader_owner owner = {on_mark, on_failure, d};
    struct dst_device device = dst_vfio_device(s->config.vfio, d->index);
    enum vms_code code = device.ops->setup(device.ctx, err);
    d->session = s;
    return code == VMS_OK ? dst_vfio_loader_new(&device, &owner, &d->loader, err) : code;
}

static enum vms_code load(struct dn_device *d, const struct vms_native_device_state *f,
                          struct vms_slice bulk, struct vms_error *err) {
    static const enum dst_vfio_load what[] = {
        [KIND_DATA] = DST_VFIO_LOAD_DATA, [KIND_INITIAL_SENT] = DST_VFIO_LOAD_MARK};
    enum vms_code code = VMS_OK;
    if (!d->loader)
        return vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "device %u before its setup", f->device);
    if (f->kind == KIND_CONFIG)
        return dst_vfio_loader_put(d->loader,
                                   f->last ? DST_VFIO_LOAD_CONFIG_LAST : DST_VFIO_LOAD_CONFIG,
                                   bulk.ptr, bulk.len, err);
    if (bulk.len || f->kind == KIND_INITIAL_SENT)
        code = dst_vfio_loader_put(d->loader, what[f->kind], bulk.ptr, bulk.len, err);
    if (code == VMS_OK && f->kind == KIND_DATA && f->last)
        code = dst_vfio_loader_put(d->loader, DST_VFIO_LOAD_END, NULL, 0, err);
    return code;
}

static enum vms_code flush(struct dst_native_session *s, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < s->device_count && code == VMS_OK; i++)
        if (s->devices[i].loader)
            code = dst_vfio_loader_flush(s->devices[i].loader, err);
    return code;
}

/* Nobody gives anything to a device any more. */
void dn_devices_close(struct dst_native_session *s) {
    for (uint32_t i = 0; i < s->device_count; i++) {
        dst_vfio_loader_free(s->devices[i].loader);
        s->devices[i].loader = NULL;
    }
}

/* [MIG-6] */
static uint16_t channel_of(const struct dst_native_session *s, const struct dn_device *d) {
    bool apart = !d->vdpa && s->features & VMS_FEATURE_DEVICE_CHANNELS;
    return (uint16_t)(apart ? (d->id - 1) % s->data_channels + 1 : 0);
}

static enum vms_code check_place(const struct dst_native_session *s, const struct dn_device *d,
                                 const struct vms_native_device_state *f, uint16_t channel,
                                 struct vms_error *err) {
    if (!d || !s->set_up || channel_of(s, d) != channel) /* its offsets are its channel's */
        return vms_error_set(err, VMS_E_MIG_DEVICE, "device %u on channel %u", f->device, channel);
    if (f->kind > KIND_INITIAL_SENT || f->offset != d->offset[f->kind])
        return vms_error_set(err, VMS_E_MIG_DEVICE, "device %u, kind %u at %llu", f->device,
                             f->kind, (unsigned long long)f->offset);
    return VMS_OK;
}

enum vms_code dn_device_data(struct dst_native_session *s, uint16_t channel,
                             const struct vms_native_link_event *ev, struct vms_error *err) {
    const struct vms_native_device_state *f = &ev->frame->u.device;
    struct vms_slice bulk = ev->bulk;
    struct dn_device *d = find(s, f->device);
    if (ev->frame->header.flags & VMS_NATIVE_PACK_MASK)
        return vms_error_set(err, VMS_E_MIG_DEVICE, "packed");
    if (check_place(s, d, f, channel, err) != VMS_OK)
        return err->code;
    d->offset[f->kind] += bulk.len;
    if (d->vdpa)
        return dn_vdpa_data(s, d, f, bulk, err);
    return f->kind == KIND_SETUP ? set_up(s, d, err) : load(d, f, bulk, err);
}

/* [VDEV-11] The devices' own verdict, before READY; [VDPA-4] and all their maps. */
enum vms_code dn_devices_verify(struct dst_native_session *s, struct vms_error *err) {
    enum vms_code code = flush(s, err);
    if (code == VMS_OK && have_vfio(s))
        code = dst_vfio_verify(s->config.vfio, err);
    return code == VMS_OK && have_vdpa(s) ? dst_vdpa_verify(s->config.vdpa, err) : code;
}

enum vms_code dn_devices_run(struct dst_native_session *s, struct vms_error *err) {
    enum vms_code code = have_vfio(s) ? dst_vfio_run(s->config.vfio, err) : VMS_OK;
    return code == VMS_OK && have_vdpa(s) ? dst_vdpa_run(s->config.vdpa, err) : code;
}

void dn_devices_halt(struct dst_native_session *s) {
    struct vms_error err = {.clause = ""};
    if (s->config.vfio && dst_vfio_reset(s->config.vfio, &err) != VMS_OK)
        dn_note(s, "a device was quieted, and not reset: %s", err.message);
    if (s->config.vdpa)
        dst_vdpa_reset(s->config.vdpa);
}

void dn_devices_reset(struct dst_native_session *s) {
    dn_devices_close(s);
    dn_devices_halt(s);
}
