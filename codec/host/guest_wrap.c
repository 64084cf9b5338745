/* SPDX-License-Identifier: MIT */
#include "host/guest_wrap.h"

enum vms_code vms_guest_stop(const struct vms_guest *guest, struct vms_error *err) {
    return guest->ops->stop(guest->ctx, err);
}

enum vms_code vms_guest_run(const struct vms_guest *guest, struct vms_error *err) {
    return guest->ops->run(guest->ctx, err);
}

static enum vms_code stop(void *ctx, struct vms_error *err) {
    const struct vms_guest_wrap *w = ctx;
    return w->stop(w->ctx, err);
}

static enum vms_code run(void *ctx, struct vms_error *err) {
    const struct vms_guest_wrap *w = ctx;
    return w->run(w->ctx, err);
}

static const struct vms_guest *inner(const void *ctx) {
    return ((const struct vms_guest_wrap *)ctx)->inner;
}

static void throttle(void *ctx, unsigned percent) {
    inner(ctx)->ops->throttle(inner(ctx)->ctx, percent);
}

static enum vms_code locks(void *ctx, bool take, struct vms_error *err) {
    return inner(ctx)->ops->locks(inner(ctx)->ctx, take, err);
}

static void announce(void *ctx) {
    inner(ctx)->ops->announce(inner(ctx)->ctx);
}

static enum vms_code save(void *ctx, const uint8_t **bytes, size_t *len, struct vms_error *err) {
    return inner(ctx)->ops->save(inner(ctx)->ctx, bytes, len, err);
}

static enum vms_code load(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    return inner(ctx)->ops->load(inner(ctx)->ctx, bytes, len, err);
}

static const struct vms_guest_ops ops = {stop, run, throttle, locks, announce, save, load};

struct vms_guest vms_guest_wrap(struct vms_guest_wrap *wrap) {
    struct vms_guest guest = *wrap->inner;
    guest.ops = &ops;
    guest.ctx = wrap;
    return guest;
}
