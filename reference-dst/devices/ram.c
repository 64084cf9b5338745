/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* RAM, the loading half: bulk of the records that a channel passes on goes to memory (RAM, MFD). */

/* What fails here and is not the peer's fault is no cut: a new connection would not mend it. */
static enum vms_code note(struct dst_channel *c, enum vms_code code, const struct vms_error *err) {
    c->fatal |= code != VMS_OK && err->class_ != VMS_CLASS_PEER && err->class_ != VMS_CLASS_LIMIT;
    return code;
}

enum vms_code dst_ram_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_ram ? note(c, vms_ram_channel_ops.bulk(c->ram, event, err), err) : VMS_OK;
}

enum vms_code dst_ram_direct(void *ctx, const struct vms_record *r, uint64_t offset,
                             struct vms_room *room, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return note(c, vms_ram_channel_ops.direct(c->ram, r, offset, room, err), err);
}

enum vms_code dst_ram_done(void *ctx, struct vms_error *err) {
    struct dst_channel *c = ctx;
    return c->bulk_to_ram ? note(c, vms_ram_channel_ops.done(c->ram, err), err) : VMS_OK;
}
