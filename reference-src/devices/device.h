/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_DEVICE_H
#define REFERENCE_SRC_DEVICE_H

#include "reference-src/wire.h"

/**
 * A device that sends while the guest runs: RAM (ram.c), VFIO, vDPA. All members are set. Call
 * order: setup, then pending and save in any order, final once the guest is stopped, cleanup last
 * and always. Called by the session's thread.
 */
struct src_device_ops {
    enum vms_code (*setup)(void *ctx, struct src_wire *wire, struct vms_error *err);
    /** exact: asks the kernel, may be slow; else what is known. */
    enum vms_code (*pending)(void *ctx, bool exact, struct src_pending *out, struct vms_error *err);
    /** Sends about `budget` bytes, more by at most one batch. *more: it has more to send now. */
    enum vms_code (*save)(void *ctx, struct src_wire *wire, uint64_t budget, uint64_t *sent,
                          bool *more, struct vms_error *err);
    /** The guest is stopped: the rest; postcopy: only what cannot follow later. */
    enum vms_code (*final)(void *ctx, struct src_wire *wire, bool postcopy, struct vms_error *err);
    /** The destination says, for this device: initial data of that generation is loaded. */
    void (*granted)(void *ctx, uint64_t generation);
    /** The guest runs here again: as before final(). */
    void (*resumed)(void *ctx);
    void (*cleanup)(void *ctx);
};

struct src_device {
    const struct src_device_ops *ops;
    void *ctx;
    struct src_wire_device about;
};

#endif
