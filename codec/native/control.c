/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Bodies of class CONTROL: session, hand-over, switchover (SES, HND). */

enum {
    TEXT_MAX = 255,
};

/* ---- POSITIONS of ACK ---- */

static void read_ack(struct vms_body_in *in, struct vms_native_frame *frame) {
    vms_read_positions(in, &frame->u.ack.position_count, &frame->u.ack.positions);
}
static void write_ack(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_write_positions(w, frame->u.ack.position_count, frame->u.ack.positions);
}
static const char *object_ack(const struct vms_native_frame *frame,
                              const struct vms_limits *limits) {
    return vms_object_positions(frame->u.ack.position_count, frame->u.ack.positions, limits);
}

static const struct vms_codec POSITIONS = {read_ack, write_ack, object_ack, NULL};

/* ---- SENT ---- */

static void read_sent(struct vms_body_in *in, struct vms_native_frame *frame) {
    struct vms_native_end *e = &frame->u.end;
    size_t at = in->c.pos;
    e->sent_count = vms_cbor_array(&in->c, in->limits->native_channels, "native_channels");
    if (!in->c.code && !e->sent_count)
        vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "an empty list");
    struct vms_native_sent *list = vms_body_list(in, e->sent_count, sizeof *list);
    for (uint32_t i = 0; list && !in->c.code && i < e->sent_count; i++) {
        at = in->c.pos;
        if (vms_cbor_array(&in->c, UINT64_MAX, "") != 3)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "not three elements");
        list[i].channel = (uint16_t)vms_cbor_uint(&in->c, 0, UINT16_MAX);
        list[i].next = vms_cbor_uint(&in->c, 0, UINT64_MAX);
        list[i].epoch = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
        if (i && !in->c.code && list[i].channel <= list[i - 1].channel)
            vms_cbor_fail(&in->c, VMS_E_NATIVE_VALUE, at, "channels that do not ascend");
    }
    e->sent = list;
}

static void write_sent(struct vms_writer *w, const struct vms_native_frame *frame) {
    const struct vms_native_end *e = &frame->u.end;
    vms_cbor_put_array(w, e->sent_count);
    for (uint32_t i = 0; i < e->sent_count; i++) {
        vms_cbor_put_array(w, 3);
        vms_cbor_put_uint(w, e->sent[i].channel);
        vms_cbor_put_uint(w, e->sent[i].next);
        vms_cbor_put_uint(w, e->sent[i].epoch);
    }
}

static const char *object_sent(const struct vms_native_frame *frame,
                               const struct vms_limits *limits) {
    const struct vms_native_end *e = &frame->u.end;
    if (!e->sent_count)
        return "no channel";
    if (e->sent_count > limits->native_channels)
        return "native_channels";
    for (uint32_t i = 1; i < e->sent_count; i++)
        if (e->sent[i].channel <= e->sent[i - 1].channel)
            return "channels that do not ascend";
    return NULL;
}

static const struct vms_codec SENT = {read_sent, write_sent, object_sent, NULL};

/* ---- DEVICE of ABORT: 0 is a device too ---- */

static void read_device(struct vms_body_in *in, struct vms_native_frame *frame) {
    frame->u.abort.has_device = true;
    frame->u.abort.device = (uint32_t)vms_cbor_uint(&in->c, 0, UINT32_MAX);
}
static void write_device(struct vms_writer *w, const struct vms_native_frame *frame) {
    vms_cbor_put_uint(w, frame->u.abort.device);
}
static const char *object_device(const struct vms_native_frame *frame,
                                 const struct vms_limits *limits) {
    (void)frame, (void)limits;
    return NULL;
}
static bool has_device(const struct vms_native_frame *frame) {
    return frame->u.abort.has_device;
}

static const struct vms_codec DEVICE = {read_device, write_device, object_device, has_device};

/* ---- tables ---- */

static const struct vms_field REKEY[] = {VMS_F_UINT(EPOCH, u.epoch, 2, UINT32_MAX)};

static const struct vms_field ACK[] = {VMS_F_CODEC(POSITIONS, POSITIONS)};

static const struct vms_field END[] = {
    VMS_F_CODEC(SENT, SENT),
    VMS_F_FIXED(TRANSCRIPT, u.end.transcript),
};

#define VMS_F_ABORT                                                                                \
    VMS_F_TEXT(CODE, u.abort.code, TEXT_MAX), VMS_F_TEXT_OPT(CLAUSE, u.abort.clause, TEXT_MAX),    \
        VMS_F_CODEC_OPT(DEVICE, DEVICE), VMS_F_TEXT_OPT(MESSAGE, u.abort.message, TEXT_MAX)

static const struct vms_field ABORT[] = {VMS_F_ABORT};

static const struct vms_field ABORT_HELLO[] = {
    VMS_F_WHO(u.abort.who),
    VMS_F_WHO_IDS(u.abort.who),
    VMS_F_WHO_SECRET(u.abort.who),
    VMS_F_ABORT,
};

static const struct vms_field PING[] = {VMS_F_UINT_OPT(VALUE, u.value, UINT64_MAX)};

static const struct vms_field GENERATION[] = {
    VMS_F_UINT(GENERATION, u.generation, 0, UINT64_MAX),
};

static const struct vms_field READY[] = {
    VMS_F_UINT(GENERATION, u.ready.generation, 0, UINT64_MAX),
    VMS_F_UINT_OPT(VERDICT, u.ready.verdict, 2),
    VMS_F_UINT_OPT(PAGES_DIFFERENT, u.ready.pages_different, UINT64_MAX),
};

static const struct vms_field SWITCHOVER[] = {
    VMS_F_UINT(DEVICE, u.switchover.device, 0, UINT32_MAX),
    VMS_F_UINT(GENERATION, u.switchover.generation, 0, UINT64_MAX),
};

const struct vms_body vms_body_rekey = VMS_BODY(REKEY);
const struct vms_body vms_body_ack = VMS_BODY(ACK);
const struct vms_body vms_body_end = VMS_BODY(END);
const struct vms_body vms_body_abort = VMS_BODY(ABORT);
const struct vms_body vms_body_abort_hello = VMS_BODY(ABORT_HELLO);
const struct vms_body vms_body_ping = VMS_BODY(PING);
const struct vms_body vms_body_generation = VMS_BODY(GENERATION);
const struct vms_body vms_body_ready = VMS_BODY(READY);
const struct vms_body vms_body_switchover = VMS_BODY(SWITCHOVER);
