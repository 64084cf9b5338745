/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_GUEST_WRAP_H
#define VMSTREAM_HOST_GUEST_WRAP_H

#include "host/guest.h"

/**
 * A guest that is another one but for what happens when it stops and runs: devices stop after the
 * CPUs, and come back before them. Wraps compose. A plain value, which the user keeps and fills in;
 * stop and run call the inner guest's themselves.
 */
struct vms_guest_wrap {
    const struct vms_guest *inner;
    enum vms_code (*stop)(void *ctx, struct vms_error *err);
    enum vms_code (*run)(void *ctx, struct vms_error *err);
    void *ctx;
};

/** The guest for others, with the inner one's blocks. wrap stays where it is while it is used. */
struct vms_guest vms_guest_wrap(struct vms_guest_wrap *wrap);
/** As struct vms_guest_ops. */
enum vms_code vms_guest_stop(const struct vms_guest *guest, struct vms_error *err);
enum vms_code vms_guest_run(const struct vms_guest *guest, struct vms_error *err);

#endif
