/* SPDX-License-Identifier: MIT */
#include "sim_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vds_note(struct vds_device *d, uint64_t now, const char *event, const char *fmt, ...) {
    char line[560];
    if (!d->world.line)
        return;
    int n = snprintf(line, sizeof line, "{\"t\":%llu,\"device\":\"%s\",\"event\":\"%s\"",
                     (unsigned long long)now, d->d.name, event);
    if (fmt) {
        va_list args;
        line[n++] = ',';
        va_start(args, fmt);
        n += vsnprintf(line + n, sizeof line - (size_t)n - 2, fmt, args);
        va_end(args);
    }
    if ((size_t)n > sizeof line - 2)
        return;
    line[n++] = '}';
    line[n] = 0;
    d->world.line(d->world.ctx, line);
}

static int faulty(struct vds_device *d, uint32_t call) {
    for (size_t i = 0; i < d->d.fault_count; i++) {
        struct vds_fault *f = &d->d.faults[i];
        if (f->call != call)
            continue;
        uint64_t n = f->so_far++;
        if (n >= f->after && (f->times == 0 || n < f->after + f->times))
            return -f->error;
    }
    return 0;
}

/* One call of the table. An ioctl is noted with the first 64 bits of what it was given. */
static int run(struct vds_device *d, uint64_t now, uint32_t number, void *arg, uint64_t *busy) {
    const struct vds_call *call = &vds_calls[number];
    uint64_t value = 0;
    bool sets = call->request && _IOC_DIR(call->request) & _IOC_WRITE;
    if (sets)
        memcpy(&value, arg, _IOC_SIZE(call->request) < 8 ? _IOC_SIZE(call->request) : 8);
    int e = faulty(d, number);
    if (e != 0 && call->run == vds_batch_end)
        d->in_batch = false; /* as in the kernel: it is over, well or not */
    if (e == 0)
        e = call->owner && !d->owned ? -EPERM : call->run(d, now, arg, busy);
    if (!call->quiet || d->d.trace || (call->request && e != 0))
        vds_note(d, now, "call",
                 "\"call\":\"%s\",\"value\":%llu,\"index\":%u,\"num\":%d,\"result\":%d", call->name,
                 (unsigned long long)value, (unsigned)value, (int)(value >> 32), e);
    return e;
}

int vds_ioctl(struct vds_device *d, uint64_t now, unsigned long request, void *arg,
              uint64_t *busy) {
    *busy = 0;
    if (request == VDS_QUERY) {
        struct vds_query *q = arg;
        q->figures = d->figures;
        q->net = d->net;
        uint64_t n = q->maps ? q->room < d->figures.maps ? q->room : d->figures.maps : 0;
        if (n)
            memcpy(q->maps, d->maps, n * sizeof *q->maps);
        return 0;
    }
    for (uint32_t i = 0; i < vds_call_count; i++)
        if (vds_calls[i].request && vds_calls[i].request == request)
            return run(d, now, i, arg, busy);
    vds_note(d, now, "unknown", "\"request\":%lu", request);
    return -ENOTTY;
}

/* The kernel's answer to whatever is wrong with a message is EFAULT; the log says what it was. */
int64_t vds_write(struct vds_device *d, uint64_t now, const void *buf, size_t len, uint64_t *busy) {
    struct vhost_msg_v2 msg;
    *busy = 0;
    if (len < sizeof msg)
        return -EINVAL;
    memcpy(&msg, buf, sizeof msg);
    bool good = msg.type == VHOST_IOTLB_MSG_V2 && msg.asid < d->d.spaces &&
                (msg.asid == 0 || (d->backend >> VMS_VDPA_ASID & 1));
    for (uint32_t i = 0; i < vds_call_count && good; i++)
        if (!vds_calls[i].request && vds_calls[i].message == msg.iotlb.type)
            return run(d, now, i, &msg, busy) ? -EFAULT : (int64_t)len;
    return -EFAULT;
}

/* ---- objects ---- */

struct vds_device *vds_new(const struct vds_description *description,
                           const struct vds_world *world) {
    struct vds_device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->d = *description;
    d->world = *world;
    vds_reset(d);
    d->figures.resets = 0;
    return d;
}

void vds_free(struct vds_device *device) {
    if (device)
        free(device->maps);
    free(device);
}

const struct vds_description *vds_description(const struct vds_device *device) {
    return &device->d;
}
const struct vds_figures *vds_figures(const struct vds_device *device) {
    return &device->figures;
}
const struct vds_net *vds_net(const struct vds_device *device) {
    return &device->net;
}
uint8_t vds_status(const struct vds_device *device) {
    return device->status;
}
bool vds_runs(const struct vds_device *device) {
    return (device->status & VMS_VDPA_DRIVER_OK) && !device->suspended;
}
uint32_t vds_queues(const struct vds_device *device) {
    return (uint32_t)(2 * device->d.pairs + device->d.control);
}
const struct vds_ring *vds_ring(const struct vds_device *device, uint32_t queue) {
    return &device->rings[queue];
}
const struct vds_map *vds_maps(const struct vds_device *device) {
    return device->maps;
}
