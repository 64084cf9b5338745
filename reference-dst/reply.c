/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdio.h>

/*
 * The return path: messages to the source, from any thread, one at a time. `replying` is held while
 * one is written; whoever holds it does not take `lock`.
 */

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

/* Encodes a message and what it owes of bulk into out. */
static enum vms_code encode(const struct vms_record *rec, struct vms_room out, size_t *len,
                            struct vms_error *err) {
    struct vms_dialect dialect = {0};
    struct vms_qevm_encoder encoder;
    vms_qevm_encoder_init(&encoder, 0, &dialect);
    enum vms_code code = vms_qevm_encode(&encoder, rec, out, len);
    return code == VMS_OK ? code : vms_error_set(err, code, "return path");
}

/* replying held. Without a connection it is as if the peer had gone: resume() asks again. */
static enum vms_code write_out(struct dst_session *s, enum vms_record_type type,
                               struct vms_slice bytes, struct vms_error *err) {
    if (!s->main)
        return vms_error_set(err, VMS_E_PEER_CLOSED, "no connection to the source");
    if (vms_channel_is_seekable(s->main->io))
        return VMS_OK; /* a captured stream: nobody listens */
    s->stats.replies[number_of(type)]++;
    return vms_channel_write_all(s->main->io, bytes, err);
}

static enum vms_code send_record(struct dst_session *s, const struct vms_record *rec,
                                 struct vms_error *err) {
    uint8_t bytes[VMS_NAME_MAX + 64];
    size_t len;
    if (encode(rec, (struct vms_room){bytes, sizeof bytes}, &len, err) != VMS_OK)
        return err->code;
    return write_out(s, rec->type, vms_slice(bytes, len), err);
}

enum vms_code dst_reply(struct dst_session *s, enum vms_record_type type, uint32_t value,
                        struct vms_error *err) {
    struct vms_record rec = {.type = type, .u.value = value};
    pthread_mutex_lock(&s->replying);
    enum vms_code code = send_record(s, &rec, err);
    pthread_mutex_unlock(&s->replying);
    return code;
}

enum vms_code dst_reply_request(struct dst_session *s, const char *block, uint64_t offset,
                                uint32_t length, struct vms_error *err) {
    pthread_mutex_lock(&s->replying);
    bool known = strcmp(s->asked, block) == 0;
    struct vms_record rec = {.type = known ? VMS_R_RP_REQ_PAGES : VMS_R_RP_REQ_PAGES_ID,
                             .u.request = {vms_str(block), offset, length}};
    enum vms_code code = send_record(s, &rec, err);
    (void)snprintf(s->asked, sizeof s->asked, "%s", block);
    pthread_mutex_unlock(&s->replying);
    return code;
}

/* Head, bits and end mark follow each other without anything in between. */
enum vms_code dst_reply_bitmap(struct dst_session *s, const char *block, struct vms_slice bits,
                               struct vms_error *err) {
    struct vms_record head = {
        .type = VMS_R_RP_RECV_BITMAP, .bulk_len = bits.len, .u.rp_block = vms_str(block)};
    struct vms_record end = {.type = VMS_R_RP_RECV_BITMAP_END};
    pthread_mutex_lock(&s->replying);
    enum vms_code code = send_record(s, &head, err);
    if (code == VMS_OK)
        code = write_out(s, VMS_RECORD_NONE, bits, err);
    if (code == VMS_OK)
        code = send_record(s, &end, err);
    pthread_mutex_unlock(&s->replying);
    return code;
}

void dst_reply_to(struct dst_session *s, struct dst_channel *main) {
    pthread_mutex_lock(&s->replying);
    s->main = main;
    s->asked[0] = 0;
    pthread_mutex_unlock(&s->replying);
}
