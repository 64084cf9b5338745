/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* RAM, the loading half: bulk of the records that a channel passes on goes to memory (RAM, MFD). */

enum vms_code dst_ram_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_ram ? vms_ram_channel_ops.bulk(c->ram, event, err) : VMS_OK;
}

enum vms_code dst_ram_direct(void *ctx, const struct vms_record *r, uint64_t offset,
                             struct vms_room *room, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return vms_ram_channel_ops.direct(c->ram, r, offset, room, err);
}

enum vms_code dst_ram_done(void *ctx, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_ram ? vms_ram_channel_ops.done(c->ram, err) : VMS_OK;
}
