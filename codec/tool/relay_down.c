/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"
#include <stdlib.h>

/* Frames become the octets of QEVM that they were made of, and are written to QEMU. */

struct relay_down {
    struct relay *relay;
    void *mem;
    struct vms_from_native *native;
    uint8_t *buffer;
    size_t used;
    bool deaf; /* QEMU has closed, having all it wanted: the rest is dropped */
};

struct relay_down *relay_down_new(struct relay *r, uint16_t channel, enum vms_qevm_kind kind) {
    struct vms_from_native_config config = vms_from_native_config_default();
    struct relay_down *d = calloc(1, sizeof *d);
    config.kind = kind;
    config.channel = channel;
    config.dialect = r->options.dialect;
    config.limits = r->options.limits;
    if (!d)
        return NULL;
    d->relay = r;
    d->buffer = malloc(RELAY_BUFFER);
    d->mem = malloc(vms_from_native_size(&config));
    d->native =
        d->mem ? vms_from_native_init(d->mem, vms_from_native_size(&config), &config) : NULL;
    if (d->buffer && d->native)
        return d;
    relay_down_free(d);
    return NULL;
}

void relay_down_free(struct relay_down *d) {
    if (!d)
        return;
    free(d->mem);
    free(d->buffer);
    free(d);
}

/* A QEMU that has said SHUT 0 may close before it has read the last octets. */
static enum vms_code write_out(struct relay_down *d, struct vms_channel *to, struct vms_slice data,
                               struct vms_error *err) {
    if (d->deaf || data.len == 0)
        return VMS_OK;
    enum vms_code code = vms_channel_write_all(to, data, err);
    if (code != VMS_E_PEER_CLOSED || !atomic_load(&d->relay->shut_seen))
        return code;
    d->deaf = true;
    return VMS_OK;
}

static enum vms_code flush(struct relay_down *d, struct vms_channel *to, struct vms_error *err) {
    size_t n = d->used;
    d->used = 0;
    return write_out(d, to, vms_slice(d->buffer, n), err);
}

/* data.ptr NULL: zeros. Long pieces go around the buffer. */
static enum vms_code put(struct relay_down *d, struct vms_channel *to, struct vms_slice data,
                         struct vms_error *err) {
    enum vms_code code = VMS_OK;
    while (data.len && code == VMS_OK) {
        if (d->used == 0 && data.ptr && data.len >= RELAY_BUFFER)
            return write_out(d, to, data, err);
        size_t n = RELAY_BUFFER - d->used < data.len ? RELAY_BUFFER - d->used : data.len;
        if (data.ptr)
            memcpy(d->buffer + d->used, data.ptr, n);
        else
            memset(d->buffer + d->used, 0, n);
        d->used += n;
        data = (struct vms_slice){data.ptr ? data.ptr + n : NULL, data.len - n};
        if (d->used == RELAY_BUFFER)
            code = flush(d, to, err);
    }
    return code;
}

static enum vms_code put_event(struct relay_down *d, struct vms_channel *to,
                               const struct vms_from_native_event *ev, enum vms_step step,
                               _Atomic uint64_t *bytes, struct vms_error *err) {
    struct vms_slice data = step == VMS_STEP_RECORD ? ev->head : ev->bulk;
    if (step == VMS_STEP_BULK && data.len == 0)
        data = (struct vms_slice){NULL, (size_t)ev->zeros};
    atomic_fetch_add(bytes, data.len);
    if (step == VMS_STEP_RECORD && ev->record.type == VMS_R_RP_SHUT && ev->record.u.value == 0)
        atomic_store(&d->relay->shut_seen, true);
    if (step == VMS_STEP_RECORD && ev->record.type == VMS_R_COMMAND &&
        ev->record.u.command.command == VMS_CMD_POSTCOPY_LISTEN)
        atomic_store(&d->relay->postcopy, true);
    return put(d, to, data, err);
}

enum vms_code relay_down_frame(struct relay_down *d, struct vms_channel *to,
                               const struct vms_native_link_event *event, _Atomic uint64_t *bytes,
                               bool *last, struct vms_error *err) {
    const struct vms_native_frame *f = event->frame;
    struct vms_from_native_event ev;
    *last = f->header.type == VMS_NATIVE_OPAQUE && f->u.opaque.last;
    if (*last && event->bulk.len == 0)
        return VMS_OK; /* RLY-6: the end alone, wherever the stream stopped */
    if (vms_from_native_frame(d->native, f, event->bulk) != VMS_OK)
        return vms_error_set(err, VMS_E_INTERNAL, "a frame too early");
    for (;;) {
        enum vms_step step = vms_from_native_next(d->native, &ev);
        if (step == VMS_STEP_NEED)
            return flush(d, to, err);
        if (step == VMS_STEP_ERROR) {
            *err = *ev.error;
            return err->code;
        }
        enum vms_code code = put_event(d, to, &ev, step, bytes, err);
        if (code != VMS_OK)
            return code;
    }
}
