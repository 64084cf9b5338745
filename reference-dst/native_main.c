/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <stdlib.h>
#include <string.h>

/* Frames of the main channel, in their order; what they mean for the machine goes into the queue.
 */

/* ---- setup ---- */

/* [MIG-3] */
static enum vms_code on_records(struct dst_native_session *s, const struct vms_native_records *r,
                                struct vms_error *err) {
    for (uint32_t i = 0; i < r->count; i++) {
        const struct vms_record *record = &r->records[i];
        if (record->type == VMS_R_RAM_MEM_SIZE && !s->ram_total)
            s->ram_total = record->u.ram_total;
        else if (record->type == VMS_R_RAM_BLOCK && s->ram_total) {
            if (dn_add_block(s, &record->u.block, err) != VMS_OK)
                return err->code;
        } else {
            return vms_error_set(err, VMS_E_MIG_FRAME, "%s", vms_record_name(record->type));
        }
    }
    return VMS_OK;
}

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* [MIG-4] How pages travel; the setup of the machine is whole. */
static enum vms_code on_manner(struct dst_native_session *s, struct vms_slice bulk, bool last,
                               struct vms_error *err) {
    uint32_t channels = bulk.len == 8 ? get32(bulk.ptr) : 0;
    if (!last || !channels || channels > DN_DATA_MAX || s->set_up)
        return vms_error_set(err, VMS_E_MIG_SETUP, "%u data channels", channels);
    if (dn_blocks_finish(s, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&s->lock);
    s->data_channels = channels;
    s->set_up = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    dn_post(s, DST_NEV_SETUP_DONE, 0, 0);
    return VMS_OK;
}

/* ---- devices ---- */

/* [MIG-6] The state of what runs the guest, in pieces. */
static enum vms_code on_guest_state(struct dst_native_session *s,
                                    const struct vms_native_device_state *d, struct vms_slice bulk,
                                    struct vms_error *err) {
    if (s->guest_state_whole || d->offset != s->guest_state_len)
        return vms_error_set(err, VMS_E_MIG_DEVICE, "state at %llu", (unsigned long long)d->offset);
    if (bulk.len > s->config.limits.device_tail_bytes - s->guest_state_len)
        return vms_error_set(err, VMS_E_LIMIT, "state of the guest (device_tail_bytes)");
    uint8_t *mem = realloc(s->guest_state, s->guest_state_len + bulk.len + 1);
    if (!mem)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (bulk.len)
        memcpy(mem + s->guest_state_len, bulk.ptr, bulk.len);
    s->guest_state = mem;
    s->guest_state_len += bulk.len;
    s->guest_state_whole = d->last;
    return VMS_OK;
}

static enum vms_code on_device(struct dst_native_session *s, const struct vms_native_link_event *ev,
                               struct vms_error *err) {
    const struct vms_native_device_state *d = &ev->frame->u.device;
    if (d->device != 0)
        return dn_device_data(s, 0, ev, err);
    if (ev->frame->header.flags & VMS_NATIVE_PACK_MASK)
        return vms_error_set(err, VMS_E_MIG_DEVICE, "packed");
    if (d->kind > 1)
        return vms_error_set(err, VMS_E_MIG_DEVICE, "device 0, kind %u", d->kind);
    return d->kind ? on_guest_state(s, d, ev->bulk, err) : on_manner(s, ev->bulk, d->last, err);
}

/* ---- the rest ---- */

static enum vms_code on_end(struct dst_native_session *s, const struct vms_native_end *end,
                            struct vms_error *err) {
    (void)err;
    pthread_mutex_lock(&s->lock);
    s->sent_count = end->sent_count < 256 ? end->sent_count : 256;
    memcpy(s->sent, end->sent, s->sent_count * sizeof *s->sent);
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (atomic_load(&s->placing))
        dn_note(s, "the source has sent all pages");
    dn_post(s, DST_NEV_END, 0, 0);
    return VMS_OK;
}

/* [SES-28] Of the machine itself, or of a device that is here. */
static enum vms_code on_switchover(struct dst_native_session *s, enum dst_native_event_kind kind,
                                   const struct vms_native_switchover *w, struct vms_error *err) {
    if (w->device && !dn_device_known(s, w->device))
        return vms_error_set(err, VMS_E_SESSION_DEVICE, "device %u", w->device);
    dn_post_device(s, kind, w->device, w->generation);
    return VMS_OK;
}

static enum vms_code take(struct dst_native_session *s, const struct vms_native_link_event *ev,
                          struct vms_error *err) {
    const struct vms_native_frame *f = ev->frame;
    enum vms_code code = VMS_OK;
    switch (f->header.type) {
    case VMS_NATIVE_RECORDS: code = on_records(s, &f->u.records, err); break;
    case VMS_NATIVE_DEVICE: code = on_device(s, ev, err); break;
    case VMS_NATIVE_END: return on_end(s, &f->u.end, err);
    case VMS_NATIVE_START: dn_post(s, DST_NEV_START, f->u.generation, 0); return VMS_OK;
    case VMS_NATIVE_COMMIT: dn_post(s, DST_NEV_COMMIT, f->u.generation, 0); return VMS_OK;
    case VMS_NATIVE_REQUEST: return on_switchover(s, DST_NEV_REQUEST, &f->u.switchover, err);
    case VMS_NATIVE_GRANT: return on_switchover(s, DST_NEV_GRANT, &f->u.switchover, err);
    case VMS_NATIVE_READY:
    case VMS_NATIVE_RUNNING:
    case VMS_NATIVE_NOT_STARTED: /* [HND-1] the destination's own words */
        return vms_error_set(err, VMS_E_HANDOVER_UNEXPECTED, "%s from the source",
                             vms_native_type_name(f->header.type));
    default:
        return vms_error_set(err, VMS_E_MIG_FRAME, "%s on the main channel",
                             vms_native_type_name(f->header.type));
    }
    if (code == VMS_OK)
        dn_post(s, DST_NEV_DATA, 0, 0);
    return code;
}

/* [HND-14] An inquiry carries the hand-over alone. */
static enum vms_code check_inquiry(const struct dst_native_session *s,
                                   const struct vms_native_frame *f, struct vms_error *err) {
    bool data = f->header.type >= VMS_NATIVE_REQUEST || f->header.type == VMS_NATIVE_END;
    if (s->ask_only && data)
        return vms_error_set(err, VMS_E_SESSION_UNEXPECTED, "%s in an inquiry",
                             vms_native_type_name(f->header.type));
    return VMS_OK;
}

static void over(struct dst_native_session *s, enum vms_code code, const struct vms_error *why) {
    pthread_mutex_lock(&s->lock);
    s->link_over = true;
    s->over_code = code;
    if (code != VMS_OK && !s->error.code)
        s->error = *why;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void *dn_receiver(void *arg) {
    struct dst_native_session *s = arg;
    for (;;) {
        struct vms_native_link_event ev;
        struct vms_error err = {.clause = ""};
        enum vms_code code = vms_native_link_receive(s->link, 0, &ev, &err);
        if (code != VMS_OK || !ev.frame) {
            over(s, code, &err);
            return NULL;
        }
        if (check_inquiry(s, ev.frame, &err) != VMS_OK || take(s, &ev, &err) != VMS_OK)
            dn_fail(s, &err);
    }
}
