/* SPDX-License-Identifier: MIT */
#include "host/vdpa_state.h"

#include "core/reader.h"
#include "core/writer.h"

#include <string.h>

enum {
    VERSION = 1,
};

/* ---- writing ---- */

static void put_profile(struct vms_writer *w, const struct vms_vdpa_profile *p) {
    vms_write_u32(w, VERSION);
    vms_write_u32(w, p->device_id);
    vms_write_u64(w, p->features);
    vms_write_u32(w, p->config_size);
    vms_write_u32(w, p->queues);
    vms_write_u32(w, p->ring_size);
}

static void put_queue(struct vms_writer *w, const struct vms_vdpa_queue *q) {
    vms_write_u8(w, q->enabled);
    vms_write_u32(w, q->ring.size);
    vms_write_u32(w, q->ring.base);
    vms_write_u64(w, q->ring.desc);
    vms_write_u64(w, q->ring.avail);
    vms_write_u64(w, q->ring.used);
}

static void put_net(struct vms_writer *w, const struct vms_vdpa_net *n) {
    vms_write_bytes(w, vms_slice(n->mac, sizeof n->mac));
    vms_write_u16(w, n->pairs);
    vms_write_bytes(w, vms_slice(n->rx, sizeof n->rx));
    vms_write_u16(w, n->unicast);
    vms_write_u16(w, n->multicast);
    vms_write_bytes(w, vms_slice(n->macs, 6u * (n->unicast + n->multicast)));
    vms_write_bytes(w, vms_slice(n->vlans, sizeof n->vlans));
}

size_t vms_vdpa_profile_write(const struct vms_vdpa_profile *profile, struct vms_room out) {
    struct vms_writer w = vms_writer(out);
    put_profile(&w, profile);
    return w.pos;
}

size_t vms_vdpa_state_write(const struct vms_vdpa_state *s, struct vms_room out) {
    struct vms_writer w = vms_writer(out);
    put_profile(&w, &s->profile);
    vms_write_u8(&w, s->status);
    vms_write_bytes(&w, vms_slice(s->config, s->profile.config_size));
    for (uint32_t i = 0; i < s->profile.queues; i++)
        put_queue(&w, &s->queue[i]);
    if (s->profile.device_id == 1)
        put_net(&w, &s->net);
    return w.pos;
}

/* ---- reading ---- */

static enum vms_code malformed(const char *why, struct vms_error *err) {
    return vms_error_set(err, VMS_E_VDPA_STATE, "%s", why);
}

static enum vms_code get_profile(struct vms_reader *r, struct vms_vdpa_profile *p,
                                 struct vms_error *err) {
    uint32_t version = vms_read_u32(r);
    p->device_id = vms_read_u32(r);
    p->features = vms_read_u64(r);
    p->config_size = vms_read_u32(r);
    p->queues = vms_read_u32(r);
    p->ring_size = vms_read_u32(r);
    if (vms_reader_short(r))
        return malformed("it is too short", err);
    if (version != VERSION)
        return malformed("its version is not 1", err);
    if (p->config_size > VMS_VDPA_CONFIG_MAX)
        return malformed("more than 256 bytes of config space", err);
    if (p->queues == 0 || p->queues > VMS_VDPA_QUEUES_MAX)
        return malformed("not 1 to 129 virtqueues", err);
    if (vms_vdpa_has_control(p) && p->queues < 3)
        return malformed("a control queue without data queues", err);
    return VMS_OK;
}

static const char *get_queue(struct vms_reader *r, const struct vms_vdpa_profile *p,
                             struct vms_vdpa_queue *q) {
    uint8_t enabled = vms_read_u8(r);
    q->enabled = enabled == 1;
    q->ring.size = vms_read_u32(r);
    q->ring.base = vms_read_u32(r);
    q->ring.desc = vms_read_u64(r);
    q->ring.avail = vms_read_u64(r);
    q->ring.used = vms_read_u64(r);
    if (enabled > 1)
        return "a virtqueue that is neither on nor off";
    if (q->ring.size > p->ring_size || (enabled && q->ring.size == 0))
        return "a virtqueue larger than the largest, or of no size";
    if (!vms_vdpa_feature(p, VMS_VIRTIO_PACKED) &&
        (q->ring.base > UINT16_MAX || (q->ring.size & (q->ring.size - 1))))
        return "no split virtqueue has such a size or index";
    return NULL;
}

static const char *get_net(struct vms_reader *r, const struct vms_vdpa_profile *p,
                           struct vms_vdpa_net *n) {
    struct vms_slice mac = vms_read_bytes(r, sizeof n->mac);
    n->pairs = vms_read_u16(r);
    struct vms_slice rx = vms_read_bytes(r, sizeof n->rx);
    n->unicast = vms_read_u16(r);
    n->multicast = vms_read_u16(r);
    if ((uint32_t)n->unicast + n->multicast > VMS_VDPA_MACS_MAX)
        return "more than 64 addresses to receive";
    struct vms_slice macs = vms_read_bytes(r, 6u * (n->unicast + n->multicast));
    struct vms_slice vlans = vms_read_bytes(r, sizeof n->vlans);
    if (vms_reader_short(r))
        return NULL; /* told by the caller */
    if (2u * n->pairs > p->queues)
        return "more pairs of queues in use than there are";
    memcpy(n->mac, mac.ptr, mac.len);
    memcpy(n->rx, rx.ptr, rx.len);
    if (macs.len)
        memcpy(n->macs, macs.ptr, macs.len);
    memcpy(n->vlans, vlans.ptr, vlans.len);
    return NULL;
}

enum vms_code vms_vdpa_profile_read(struct vms_slice in, struct vms_vdpa_profile *out,
                                    struct vms_error *err) {
    struct vms_reader r = vms_reader(in);
    enum vms_code code = get_profile(&r, out, err);
    return code == VMS_OK && r.pos != in.len ? malformed("bytes follow", err) : code;
}

enum vms_code vms_vdpa_state_read(struct vms_slice in, struct vms_vdpa_state *out,
                                  struct vms_error *err) {
    struct vms_reader r = vms_reader(in);
    const char *why = NULL;
    memset(out, 0, sizeof *out);
    enum vms_code code = get_profile(&r, &out->profile, err);
    if (code != VMS_OK)
        return code;
    out->status = vms_read_u8(&r);
    struct vms_slice config = vms_read_bytes(&r, out->profile.config_size);
    if (config.len)
        memcpy(out->config, config.ptr, config.len);
    for (uint32_t i = 0; i < out->profile.queues && !why; i++)
        why = get_queue(&r, &out->profile, &out->queue[i]);
    if (!why && out->profile.device_id == 1)
        why = get_net(&r, &out->profile, &out->net);
    if (vms_reader_short(&r))
        why = "it is too short";
    else if (!why && r.pos != in.len)
        why = "bytes follow";
    return why ? malformed(why, err) : VMS_OK;
}

/* ---- may it be loaded ---- */

/* [VDPA-12] */
enum vms_code vms_vdpa_fits(const struct vms_vdpa *device, const struct vms_vdpa_profile *p,
                            struct vms_error *err) {
    const struct vms_vdpa_about *a = vms_vdpa_about(device);
    const char *name = vms_vdpa_name(device);
    uint64_t missing = p->features & ~a->features;
    if (p->device_id != a->device_id)
        return vms_error_set(err, VMS_E_VDPA_MISMATCH,
                             "%.60s: it is a device of type %u, the source's of %u", name,
                             a->device_id, p->device_id);
    if (missing)
        return vms_error_set(err, VMS_E_VDPA_MISMATCH, "%.60s: it has no features 0x%llx", name,
                             (unsigned long long)missing);
    if (p->queues > a->queues)
        return vms_error_set(err, VMS_E_VDPA_MISMATCH, "%.60s: %u virtqueues, the guest has %u",
                             name, a->queues, p->queues);
    if (p->ring_size > a->ring_size)
        return vms_error_set(err, VMS_E_VDPA_MISMATCH, "%.60s: rings of %u, the guest has %u", name,
                             a->ring_size, p->ring_size);
    if (p->config_size != a->config_size)
        return vms_error_set(err, VMS_E_VDPA_MISMATCH, "%.60s: config space of %u bytes, not %u",
                             name, a->config_size, p->config_size);
    if (vms_vdpa_has_control(p) && p->queues != a->queues) /* the control queue is the last one */
        return vms_error_set(err, VMS_E_VDPA_MISMATCH,
                             "%.60s: its control queue is number %u, the guest's %u", name,
                             a->queues - 1, p->queues - 1);
    if (vms_vdpa_has_control(p) && !vms_vdpa_has(device, VMS_VDPA_ENABLE_AFTER_DRIVER_OK))
        return vms_error_set(err, VMS_E_VDPA_MISMATCH,
                             "%.60s: it has a control queue, and not ENABLE_AFTER_DRIVER_OK", name);
    return VMS_OK;
}
