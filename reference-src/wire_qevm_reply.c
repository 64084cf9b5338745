/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include "host/pump.h"
#include "host/source_channel.h"
#include "host/urgency.h"
#include <stdlib.h>

/* The return path: a thread for each main connection, which ends with it. */

struct reading {
    struct qevm *q;
    bool shut;       /* SHUT has come: nothing follows (RP-7) */
    uint32_t block;  /* of the bitmap that is being read */
    uint8_t *bitmap; /* owned */
    size_t bitmap_len;
};

static void tell(struct qevm *q, enum src_event_kind kind, uint64_t value,
                 const struct vms_error *why) {
    struct src_event e = {.kind = kind, .value = value, .device = SRC_NO_DEVICE};
    q->owner.event(q->owner.ctx, &e, why);
}

static bool find_block(const struct qevm *q, struct vms_slice name, uint32_t *block) {
    for (uint32_t i = 0; i < q->guest->block_count; i++)
        if (vms_slice_eq(name, qevm_block_name(q, i))) {
            *block = i;
            return true;
        }
    return false;
}

static enum vms_code unknown_block(struct vms_slice name, struct vms_error *err) {
    return vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "%.*s", (int)name.len,
                         (const char *)name.ptr);
}

/* ---- messages ---- */

static enum vms_code on_pong(struct reading *r, const struct vms_record *rec,
                             struct vms_error *err) {
    (void)rec, (void)err; /* [RP-10] in any order */
    pthread_mutex_lock(&r->q->lock);
    r->q->pong = true;
    pthread_cond_broadcast(&r->q->changed);
    pthread_mutex_unlock(&r->q->lock);
    return VMS_OK;
}

static enum vms_code on_shut(struct reading *r, const struct vms_record *rec,
                             struct vms_error *err) {
    (void)err;
    r->shut = true;
    tell(r->q, SRC_EV_SHUT, rec->u.value, NULL);
    return VMS_OK;
}

/* [RP-8] Whole host pages of a block that is ours. */
static enum vms_code on_request(struct reading *r, const struct vms_record *rec,
                                struct vms_error *err) {
    const struct vms_rec_rp_pages *p = &rec->u.request;
    struct qevm *q = r->q;
    uint32_t block;
    if (!find_block(q, p->block, &block))
        return unknown_block(p->block, err);
    const struct vms_guest_block *b = &q->guest->blocks[block];
    if (p->offset >= b->length || p->length > b->length - p->offset)
        return vms_error_set(err, VMS_E_RAM_OFFSET, "a request for 0x%llx + 0x%x of %.64s",
                             (unsigned long long)p->offset, p->length, b->name);
    if (p->offset % b->page_size || p->length % b->page_size)
        return vms_error_set(err, VMS_E_RP_ALIGNMENT, "0x%llx + 0x%x of %.64s",
                             (unsigned long long)p->offset, p->length, b->name);
    if (q->postcopy && !q->requested) {
        q->requested = true;
        tell(q, SRC_EV_RUNNING, 0, NULL);
    }
    q->owner.request(q->owner.ctx, block, p->offset, p->length);
    return VMS_OK;
}

/* [RP-4] [RP-13] */
static enum vms_code on_bitmap(struct reading *r, const struct vms_record *rec,
                               struct vms_error *err) {
    struct qevm *q = r->q;
    if (!find_block(q, rec->u.rp_block, &r->block))
        return unknown_block(rec->u.rp_block, err);
    pthread_mutex_lock(&q->lock);
    bool asked = q->bitmap_asked[r->block];
    q->bitmap_asked[r->block] = false;
    pthread_mutex_unlock(&q->lock);
    if (!asked)
        return vms_error_set(err, VMS_E_SRC_RP_UNASKED, "RECV_BITMAP");
    uint64_t pages = q->guest->blocks[r->block].length / q->page_size;
    if (rec->bulk_len != (pages + 63) / 64 * 8)
        return vms_error_set(err, VMS_E_RP_BITMAP_SIZE, "%llu for %llu pages",
                             (unsigned long long)rec->bulk_len, (unsigned long long)pages);
    free(r->bitmap);
    r->bitmap = malloc(rec->bulk_len);
    r->bitmap_len = rec->bulk_len;
    return r->bitmap ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a received-bitmap");
}

static enum vms_code on_bitmap_end(struct reading *r, const struct vms_record *rec,
                                   struct vms_error *err) {
    struct qevm *q = r->q;
    (void)rec, (void)err;
    q->owner.received(q->owner.ctx, r->block, r->bitmap, r->bitmap_len);
    pthread_mutex_lock(&q->lock);
    bool all = --q->bitmaps_missing == 0;
    pthread_mutex_unlock(&q->lock);
    if (all)
        tell(q, SRC_EV_BITMAPS, 0, NULL);
    return VMS_OK;
}

static enum vms_code on_resume_ack(struct reading *r, const struct vms_record *rec,
                                   struct vms_error *err) {
    struct qevm *q = r->q;
    (void)rec;
    pthread_mutex_lock(&q->lock);
    bool asked = q->resume_asked;
    q->resume_asked = false;
    pthread_mutex_unlock(&q->lock);
    if (!asked)
        return vms_error_set(err, VMS_E_SRC_RP_UNASKED, "RESUME_ACK");
    tell(q, SRC_EV_RESUME_ACK, rec->u.value, NULL);
    return VMS_OK;
}

static enum vms_code on_ack(struct reading *r, const struct vms_record *rec,
                            struct vms_error *err) {
    (void)rec, (void)err;
    tell(r->q, SRC_EV_GRANT, 0, NULL);
    return VMS_OK;
}

static enum vms_code (*const ON[VMS_RECORD_TYPE_COUNT])(struct reading *, const struct vms_record *,
                                                        struct vms_error *) = {
    [VMS_R_RP_SHUT] = on_shut,
    [VMS_R_RP_PONG] = on_pong,
    [VMS_R_RP_REQ_PAGES_ID] = on_request,
    [VMS_R_RP_REQ_PAGES] = on_request,
    [VMS_R_RP_RECV_BITMAP] = on_bitmap,
    [VMS_R_RP_RECV_BITMAP_END] = on_bitmap_end,
    [VMS_R_RP_RESUME_ACK] = on_resume_ack,
    [VMS_R_RP_SWITCHOVER_ACK] = on_ack,
};

/* ---- the pump's sink ---- */

static enum vms_code take_record(void *ctx, const struct vms_record *rec, struct vms_answer *answer,
                                 struct vms_error *err) {
    answer->want = VMS_WANT_PIECES;
    return ON[rec->type] ? ON[rec->type](ctx, rec, err)
                         : vms_error_set(err, VMS_E_INTERNAL, "%s on a return path",
                                         vms_record_name(rec->type));
}

static enum vms_code take_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct reading *r = ctx;
    (void)err;
    memcpy(r->bitmap + event->bulk_offset, event->bulk.ptr, event->bulk.len);
    return VMS_OK;
}

static const struct vms_pump_sink_ops SINK = {take_record, take_bulk, vms_pump_no_direct,
                                              vms_pump_no_done};

/* ---- the thread ---- */

/* [RP-11] An end without SHUT is a cut; bytes that break a rule are the peer's failure. */
static void ended(struct reading *r, enum vms_pump_status status, const struct vms_error *why) {
    struct vms_error cut;
    bool gone = status != VMS_PUMP_ERROR || why->code == VMS_E_PEER_CLOSED ||
                why->code == VMS_E_TRUNCATED || why->code == VMS_E_IO ||
                why->code == VMS_E_TIMEOUT || why->code == VMS_E_TLS;
    if (r->shut && gone)
        return;
    (void)vms_error_set(&cut, VMS_E_PEER_CLOSED, "the return path ended without SHUT");
    if (status == VMS_PUMP_ERROR)
        cut = *why;
    tell(r->q, gone ? SRC_EV_CUT : SRC_EV_ABORT, cut.code, &cut);
}

static void *reader_thread(void *ctx) {
    struct reading r = {.q = ctx};
    struct vms_error err = {0};
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = vms_source_from_channel(r.q->main.io),
                                     .sink = {&SINK, &r}};
    config.qevm.kind = VMS_QEVM_RETURN_PATH;
    config.qevm.dialect = r.q->dialect;
    config.qevm.limits = r.q->options.limits;
    if (r.q->options.postcopy)
        vms_thread_urgent(); /* it brings REQ_PAGES */
    struct vms_pump *pump = vms_pump_new(&config, &err);
    enum vms_pump_status status = pump ? vms_pump_run(pump, &err) : VMS_PUMP_ERROR;
    ended(&r, status, &err);
    vms_pump_free(pump);
    free(r.bitmap);
    return NULL;
}

enum vms_code qevm_reader_start(struct qevm *q, struct vms_error *err) {
    q->has_reader = pthread_create(&q->reader, NULL, reader_thread, q) == 0;
    return q->has_reader ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
}

void qevm_reader_join(struct qevm *q) {
    if (!q->has_reader)
        return;
    pthread_join(q->reader, NULL);
    q->has_reader = false;
}
