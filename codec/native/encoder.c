/* SPDX-License-Identifier: MIT */
#include "native/body.h"

/* Frame assembly: header, body, bulk by reference, tag (NAT-10 to NAT-18). */

void vms_native_encoder_init(struct vms_native_encoder *encoder, struct vms_sealer *sealer,
                             uint16_t channel, const struct vms_limits *limits) {
    memset(encoder, 0, sizeof *encoder);
    encoder->limits = *limits;
    encoder->sealer = sealer;
    encoder->channel = channel;
}

static enum vms_code fail(struct vms_native_encoder *e, enum vms_code code, const char *why) {
    (void)vms_error_at(&e->error, code, e->channel, 0, e->sealer->link.sequence);
    return vms_error_set(&e->error, code, "%s", why);
}

/* A limit's name is a limit; everything else is something that the wire cannot say. */
static enum vms_code refuse(struct vms_native_encoder *e, const char *why) {
    struct vms_slice limit = vms_str("native_");
    bool named = vms_slice_eq(vms_slice_head(vms_str(why), limit.len), limit);
    return fail(e, named ? VMS_E_LIMIT : VMS_E_MISUSE, why);
}

static bool bulk_length(const struct vms_slice *bulk, size_t count, uint64_t max, uint32_t *len) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (bulk[i].len > max - sum)
            return false;
        sum += bulk[i].len;
    }
    *len = (uint32_t)sum;
    return true;
}

/* What there is room to write and what goes where. */
struct plan {
    struct vms_native_header header;
    size_t bulk_copied; /* bytes of bulk that go to out */
    size_t tag;
    size_t total;
};

/* Everything about the frame is checked here, before a byte is written. */
static enum vms_code check(struct vms_native_encoder *e, struct vms_native_frame *frame,
                           struct plan *plan) {
    struct vms_native_header h = frame->header;
    uint8_t raw[VMS_NATIVE_HEADER];
    size_t at;
    const char *why = NULL;
    h.epoch = e->sealer->link.epoch;
    vms_header_write(&h, raw);
    if (vms_header_check(&h, raw, &e->limits, &at, &why) != VMS_OK)
        return refuse(e, why ? why : "a bad header");
    if (frame->header.type == VMS_NATIVE_ABORT && frame->u.abort.has_who != !h.epoch)
        return refuse(e, "ABORT says who speaks in epoch 0 and nowhere else");
    why = vms_body_object(frame, &e->limits);
    if (why)
        return refuse(e, why);
    struct vms_writer w = vms_writer((struct vms_room){NULL, 0});
    vms_body_write(&w, frame);
    if (w.pos > e->limits.native_body_bytes)
        return refuse(e, "native_body_bytes");
    h.body_len = (uint32_t)w.pos;
    plan->header = h;
    plan->tag = vms_seal_tag_bytes(&e->sealer->link);
    plan->total = VMS_NATIVE_HEADER + w.pos + plan->bulk_copied + plan->tag;
    return VMS_OK;
}

static enum vms_code seal_bulk(struct vms_native_encoder *e, const struct vms_slice *bulk,
                               size_t count, uint8_t *out) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++) {
        code = vms_sealer_data(e->sealer, (struct vms_seal_piece){bulk[i].ptr, out, bulk[i].len},
                               &e->error);
        out = out ? out + bulk[i].len : NULL;
    }
    return code;
}

/* Header and body are in out; seals all. `copy`: the bulk goes to out too. */
static enum vms_code seal(struct vms_native_encoder *e, uint8_t *out, const struct plan *plan,
                          const struct vms_slice *bulk, size_t count, bool copy) {
    uint8_t *body = out + VMS_NATIVE_HEADER;
    uint8_t *behind = body + plan->header.body_len;
    vms_header_write(&plan->header, out);
    enum vms_code code = vms_sealer_begin(e->sealer, out, &e->error);
    if (code == VMS_OK)
        code = vms_sealer_data(
            e->sealer, (struct vms_seal_piece){body, body, plan->header.body_len}, &e->error);
    if (code == VMS_OK)
        code = seal_bulk(e, bulk, count, copy ? behind : NULL);
    if (code == VMS_OK)
        code = vms_sealer_end(e->sealer, behind + plan->bulk_copied, &e->error);
    return code;
}

static void lay_out(struct vms_native_gather *g, const uint8_t *out, const struct plan *plan,
                    const struct vms_slice *bulk, size_t count) {
    size_t head = plan->total - plan->tag;
    bool referred = !plan->bulk_copied && plan->header.bulk_len;
    g->head = vms_slice(out, head);
    g->bulk = referred ? bulk : NULL;
    g->bulk_count = referred ? count : 0;
    g->tail = vms_slice(out + head, plan->tag);
}

enum vms_code vms_native_encode(struct vms_native_encoder *encoder, struct vms_native_frame *frame,
                                const struct vms_slice *bulk, size_t bulk_count,
                                struct vms_room out, struct vms_native_gather *gather,
                                size_t *len) {
    struct vms_native_encoder *e = encoder;
    const struct vms_seal_link *link = &e->sealer->link;
    bool copy = e->copy_bulk || (link->epoch && vms_suite_encrypts(link->suite));
    struct plan plan = {0};
    *len = 0;
    frame->header.channel = e->channel;
    if (!bulk_length(bulk, bulk_count, e->limits.native_bulk_bytes, &frame->header.bulk_len))
        return refuse(e, "native_bulk_bytes");
    frame->header.flags &= VMS_NATIVE_PACK_MASK;
    plan.bulk_copied = copy ? frame->header.bulk_len : 0;
    enum vms_code code = check(e, frame, &plan);
    if (code != VMS_OK)
        return code;
    *len = plan.total;
    if (plan.total > out.len)
        return VMS_E_SPACE;
    struct vms_writer w =
        vms_writer((struct vms_room){out.ptr + VMS_NATIVE_HEADER, plan.header.body_len});
    vms_body_write(&w, frame);
    code = seal(e, out.ptr, &plan, bulk, bulk_count, copy);
    if (code != VMS_OK)
        return code;
    vms_header_read(out.ptr, &frame->header);
    lay_out(gather, out.ptr, &plan, bulk, bulk_count);
    return VMS_OK;
}

enum vms_code vms_native_encode_body(const struct vms_native_frame *frame, struct vms_room out,
                                     size_t *len) {
    struct vms_limits limits = vms_limits_default();
    struct vms_writer w = vms_writer(out);
    *len = 0;
    if (vms_body_object(frame, &limits))
        return VMS_E_MISUSE;
    vms_body_write(&w, frame);
    *len = w.pos;
    return vms_writer_over(&w) ? VMS_E_SPACE : VMS_OK;
}

size_t vms_native_encode_max(const struct vms_limits *limits) {
    return VMS_NATIVE_HEADER + (size_t)limits->native_body_bytes + VMS_NATIVE_TAG;
}
