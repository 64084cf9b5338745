/* SPDX-License-Identifier: MIT */
#include "sim_internal.h"

#include <errno.h>
#include <string.h>

/* What is answered to each call. */

/* ---- status ---- */

#define CALL(name) static int name(struct vds_device *d, uint64_t now, void *arg, uint64_t *busy)
#define UNUSED     (void)now, (void)busy

static void clear_rings(struct vds_device *d) {
    for (size_t i = 0; i < VDS_QUEUES_MAX; i++)
        d->rings[i] = (struct vds_ring){.size = (uint32_t)d->d.ring_size, .kick = -1, .call = -1};
    memset(d->group_space, 0, sizeof d->group_space);
}

void vds_reset(struct vds_device *d) {
    struct vds_net fresh = {.pairs = 1, .commands = d->net.commands, .refused = d->net.refused};
    clear_rings(d);
    memcpy(fresh.mac, d->d.mac, 6);
    d->net = fresh;
    d->status = 0;
    d->suspended = d->broken = false;
    d->figures.resets++;
    d->lost = d->figures.maps &&
              (d->lost || (d->d.forgets && !(d->backend >> VMS_VDPA_IOTLB_PERSIST & 1)));
}

CALL(set_status) {
    uint8_t next = *(uint8_t *)arg;
    bool starts = (next & ~d->status & VMS_VDPA_DRIVER_OK) != 0;
    if (next && (d->status & ~next))
        return -EINVAL;
    if (next == 0)
        vds_reset(d);
    d->status = next;
    for (uint32_t i = 0; starts && i < vds_queues(d); i++)
        *busy += d->rings[i].has_address ? d->d.ring_cost : 0;
    vds_note(d, now, "status", "\"status\":%u,\"maps\":%llu,\"mapped\":%llu", next,
             (unsigned long long)d->figures.maps, (unsigned long long)d->figures.mapped);
    return 0;
}

CALL(suspend) {
    UNUSED, (void)arg;
    if (!(d->d.backend >> VMS_VDPA_SUSPEND & 1))
        return -EOPNOTSUPP;
    d->suspended = d->status & VMS_VDPA_DRIVER_OK;
    d->figures.suspends++;
    return 0;
}

CALL(resume) {
    UNUSED, (void)arg;
    if (!(d->d.backend >> VMS_VDPA_RESUME & 1))
        return -EOPNOTSUPP;
    d->suspended = false;
    d->figures.resumes++;
    return 0;
}

/* ---- features and questions ---- */

CALL(set_features) {
    uint64_t wanted = *(uint64_t *)arg;
    UNUSED;
    if (d->status & VMS_VDPA_FEATURES_OK)
        return -EBUSY;
    if (wanted & ~d->d.features)
        return -EINVAL;
    d->features = wanted;
    return 0;
}

CALL(set_backend) {
    uint64_t wanted = *(uint64_t *)arg;
    UNUSED;
    if (wanted & ~d->d.backend)
        return -EOPNOTSUPP;
    d->backend = wanted;
    return 0;
}

CALL(set_owner) {
    UNUSED, (void)arg;
    if (d->owned)
        return -EBUSY;
    d->owned = true;
    return 0;
}

#define ANSWER(name, type, value)                                                                  \
    CALL(name) {                                                                                   \
        UNUSED;                                                                                    \
        *(type *)arg = (type)(value);                                                              \
        (void)d;                                                                                   \
        return 0;                                                                                  \
    }
ANSWER(get_features, uint64_t, d->d.features)
ANSWER(get_backend, uint64_t, d->d.backend)
ANSWER(get_id, uint32_t, 1)
ANSWER(get_status, uint8_t, d->status)
ANSWER(get_ring_size, uint16_t, d->d.ring_size)
ANSWER(get_config_size, uint32_t, VDS_CONFIG)
ANSWER(get_queues, uint32_t, vds_queues(d))
ANSWER(get_groups, uint32_t, d->d.groups)
ANSWER(get_spaces, uint32_t, d->d.spaces)

CALL(get_range) {
    UNUSED;
    *(struct vhost_vdpa_iova_range *)arg =
        (struct vhost_vdpa_iova_range){d->d.iova_first, d->d.iova_last};
    return 0;
}

CALL(get_config) {
    struct vhost_vdpa_config *c = arg;
    UNUSED;
    if (c->off > VDS_CONFIG || c->len > VDS_CONFIG - c->off || c->len == 0)
        return -E2BIG;
    memcpy(d->config, d->net.mac, 6);
    d->config[6] = 1; /* VIRTIO_NET_S_LINK_UP */
    d->config[8] = (uint8_t)d->d.pairs;
    d->config[10] = 1500 & 255;
    d->config[11] = 1500 >> 8;
    memcpy(c->buf, d->config + c->off, c->len);
    return 0;
}

CALL(set_config) {
    struct vhost_vdpa_config *c = arg;
    UNUSED;
    if (c->off > VDS_CONFIG || c->len > VDS_CONFIG - c->off || c->len == 0)
        return -E2BIG;
    memcpy(d->config + c->off, c->buf, c->len);
    memcpy(d->net.mac, d->config, 6);
    return 0;
}

CALL(ignore) {
    UNUSED, (void)d, (void)arg;
    return 0;
}

/* ---- virtqueues ---- */

static struct vds_ring *ring(struct vds_device *d, const void *arg) {
    uint32_t index = *(const uint32_t *)arg;
    return index < vds_queues(d) ? &d->rings[index] : NULL;
}

CALL(ring_size) {
    struct vhost_vring_state *s = arg;
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    if (s->num == 0 || s->num > d->d.ring_size || (s->num & (s->num - 1)))
        return -EINVAL;
    ring(d, arg)->size = s->num;
    return 0;
}

CALL(ring_set_base) {
    (void)now;
    *busy += d->suspended ? d->d.base_cost : 0;
    if (!ring(d, arg))
        return -ENOBUFS;
    if ((d->status & VMS_VDPA_DRIVER_OK) && !d->suspended)
        return -EINVAL;
    ring(d, arg)->base = ((struct vhost_vring_state *)arg)->num;
    return 0;
}

CALL(ring_get_base) {
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    ((struct vhost_vring_state *)arg)->num = ring(d, arg)->base;
    return 0;
}

CALL(ring_address) {
    struct vhost_vring_addr *a = arg;
    struct vds_ring *r = ring(d, arg);
    UNUSED;
    if (!r)
        return -ENOBUFS;
    if ((d->status & VMS_VDPA_DRIVER_OK) && !d->suspended)
        return -EINVAL;
    r->desc = a->desc_user_addr;
    r->avail = a->avail_user_addr;
    r->used = a->used_user_addr;
    r->has_address = true;
    return 0;
}

CALL(ring_kick) {
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    ring(d, arg)->kick = ((struct vhost_vring_file *)arg)->fd;
    return 0;
}

CALL(ring_call) {
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    ring(d, arg)->call = ((struct vhost_vring_file *)arg)->fd;
    return 0;
}

CALL(ring_enable) {
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    if ((d->status & VMS_VDPA_DRIVER_OK) && !(d->d.backend >> VMS_VDPA_ENABLE_AFTER_DRIVER_OK & 1))
        return -EINVAL;
    ring(d, arg)->enabled = ((struct vhost_vring_state *)arg)->num;
    return 0;
}

CALL(ring_group) {
    struct vhost_vring_state *s = arg;
    UNUSED;
    if (!ring(d, arg))
        return -ENOBUFS;
    s->num = d->d.control && d->d.groups > 1 && s->index == 2 * d->d.pairs;
    return 0;
}

CALL(group_space) {
    struct vhost_vring_state *s = arg;
    UNUSED;
    if (s->index >= d->d.groups || s->num >= d->d.spaces || (d->status & VMS_VDPA_DRIVER_OK))
        return -EINVAL;
    d->group_space[s->index] = s->num;
    return 0;
}

/* ---- the table of calls ---- */

#define IOCTL(name, request, owner, quiet, run)                                                    \
    { name, request, 0, owner, quiet, run }
#define MESSAGE(name, type, run)                                                                   \
    { name, 0, type, true, true, run }
const struct vds_call vds_calls[] = {
    IOCTL("SET_OWNER", VHOST_SET_OWNER, false, false, set_owner),
    IOCTL("GET_FEATURES", VHOST_GET_FEATURES, false, true, get_features),
    IOCTL("SET_FEATURES", VHOST_SET_FEATURES, false, false, set_features),
    IOCTL("GET_BACKEND_FEATURES", VHOST_GET_BACKEND_FEATURES, false, true, get_backend),
    IOCTL("SET_BACKEND_FEATURES", VHOST_SET_BACKEND_FEATURES, false, false, set_backend),
    IOCTL("GET_DEVICE_ID", VHOST_VDPA_GET_DEVICE_ID, false, true, get_id),
    IOCTL("GET_STATUS", VHOST_VDPA_GET_STATUS, false, true, get_status),
    IOCTL("SET_STATUS", VHOST_VDPA_SET_STATUS, false, false, set_status),
    IOCTL("GET_CONFIG", VHOST_VDPA_GET_CONFIG, false, true, get_config),
    IOCTL("SET_CONFIG", VHOST_VDPA_SET_CONFIG, false, false, set_config),
    IOCTL("SET_CONFIG_CALL", VHOST_VDPA_SET_CONFIG_CALL, false, true, ignore),
    IOCTL("GET_CONFIG_SIZE", VHOST_VDPA_GET_CONFIG_SIZE, false, true, get_config_size),
    IOCTL("GET_VQS_COUNT", VHOST_VDPA_GET_VQS_COUNT, false, true, get_queues),
    IOCTL("GET_VRING_NUM", VHOST_VDPA_GET_VRING_NUM, false, true, get_ring_size),
    IOCTL("GET_IOVA_RANGE", VHOST_VDPA_GET_IOVA_RANGE, false, true, get_range),
    IOCTL("GET_GROUP_NUM", VHOST_VDPA_GET_GROUP_NUM, false, true, get_groups),
    IOCTL("GET_AS_NUM", VHOST_VDPA_GET_AS_NUM, false, true, get_spaces),
    IOCTL("GET_VRING_GROUP", VHOST_VDPA_GET_VRING_GROUP, false, true, ring_group),
    IOCTL("SET_GROUP_ASID", VHOST_VDPA_SET_GROUP_ASID, false, false, group_space),
    IOCTL("SET_VRING_NUM", VHOST_SET_VRING_NUM, true, false, ring_size),
    IOCTL("SET_VRING_BASE", VHOST_SET_VRING_BASE, true, false, ring_set_base),
    IOCTL("GET_VRING_BASE", VHOST_GET_VRING_BASE, true, false, ring_get_base),
    IOCTL("SET_VRING_ADDR", VHOST_SET_VRING_ADDR, true, false, ring_address),
    IOCTL("SET_VRING_KICK", VHOST_SET_VRING_KICK, true, false, ring_kick),
    IOCTL("SET_VRING_CALL", VHOST_SET_VRING_CALL, true, false, ring_call),
    IOCTL("SET_VRING_ERR", VHOST_SET_VRING_ERR, true, true, ignore),
    IOCTL("SET_VRING_ENABLE", VHOST_VDPA_SET_VRING_ENABLE, false, false, ring_enable),
    IOCTL("SUSPEND", VHOST_VDPA_SUSPEND, false, false, suspend),
    IOCTL("RESUME", VHOST_VDPA_RESUME, false, false, resume),
    MESSAGE("MAP", VHOST_IOTLB_UPDATE, vds_update),
    MESSAGE("UNMAP", VHOST_IOTLB_INVALIDATE, vds_invalidate),
    MESSAGE("BATCH_BEGIN", VHOST_IOTLB_BATCH_BEGIN, vds_batch_begin),
    MESSAGE("BATCH_END", VHOST_IOTLB_BATCH_END, vds_batch_end),
};
const size_t vds_call_count = sizeof vds_calls / sizeof vds_calls[0];
