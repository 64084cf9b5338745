/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Openers of suite none for a decoder without a secret. */

static struct vms_native_plain_channel *channel_of(void *ctx, uint16_t channel) {
    struct vms_native_plain_keys *k = ctx;
    return channel < k->count ? &k->channels[channel] : NULL;
}

static uint32_t first_epoch(const struct vms_native_frame *frame) {
    switch (frame->header.type) {
    case VMS_NATIVE_ATTACH: return frame->u.attach.epoch;
    case VMS_NATIVE_RESUME:
    case VMS_NATIVE_RESUMED: return frame->u.resume.epoch;
    default: return 1;
    }
}

static struct vms_opener *plain_opener(void *ctx, uint16_t channel) {
    struct vms_native_plain_channel *c = channel_of(ctx, channel);
    struct vms_error ignored;
    if (!c || !c->open)
        return NULL;
    if (!c->opener.link.epoch &&
        vms_opener_rekey(&c->opener, VMS_SUITE_NONE, NULL, c->epoch, 0, &ignored) != VMS_OK)
        return NULL;
    return &c->opener;
}

static enum vms_code plain_hello(void *ctx, const struct vms_native_frame *frame,
                                 struct vms_opener **opener, struct vms_error *err) {
    const struct vms_native_plain_keys *k = ctx;
    struct vms_native_plain_channel *c = channel_of(ctx, frame->header.channel);
    if (!c)
        return vms_error_set(err, VMS_E_LIMIT, "native_channels: %u", frame->header.channel);
    if (c->open)
        return vms_error_set(err, VMS_E_NATIVE_ORDER, "the channel is open already");
    vms_opener_init(&c->opener, NULL, k->direction, frame->header.channel, &k->limits);
    c->open = frame->header.type != VMS_NATIVE_ABORT; /* [NAT-23] it refuses one, and opens none */
    c->epoch = first_epoch(frame);
    *opener = &c->opener;
    return vms_opener_hello_plain(&c->opener, err);
}

struct vms_native_keys vms_native_plain_keys(struct vms_native_plain_keys *state) {
    return (struct vms_native_keys){false, plain_opener, plain_hello, state};
}
