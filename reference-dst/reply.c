/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

/* The return path: messages to the source, written by the main channel's thread. */

static uint16_t number_of(enum vms_record_type type) {
    switch (type) {
#define VMS_RP(name, value, length, since)                                                         \
    case VMS_R_RP_##name:                                                                          \
        return value;
#include <vmstream/registry/qevm_return_path.def>
#undef VMS_RP
    default: return 0;
    }
}

enum vms_code dst_reply(struct dst_session *s, enum vms_record_type type, uint32_t value,
                        struct vms_error *err) {
    uint8_t bytes[64];
    size_t len;
    struct vms_dialect dialect = {0};
    struct vms_qevm_encoder encoder;
    struct vms_record rec = {.type = type, .u.value = value};
    vms_qevm_encoder_init(&encoder, 0, &dialect);
    enum vms_code code =
        vms_qevm_encode(&encoder, &rec, (struct vms_room){bytes, sizeof bytes}, &len);
    if (code != VMS_OK)
        return vms_error_set(err, code, "return path");
    if (vms_channel_is_seekable(s->main->io))
        return VMS_OK; /* a captured stream: nobody listens */
    pthread_mutex_lock(&s->replying);
    s->stats.replies[number_of(type)]++;
    code = vms_channel_write_all(s->main->io, vms_slice(bytes, len), err);
    pthread_mutex_unlock(&s->replying);
    return code;
}
