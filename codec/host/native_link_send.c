/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>
#include <string.h>

/*
 * Frames that are sent, and kept until they are acknowledged (RSM-1). A frame's sequence follows
 * from its place in the list; the cursor is what the connection gets next. So a resumption only
 * sets the cursor back.
 */

/* ---- the list; with mutex ---- */

uint64_t link_frame_size(const struct link_frame *f) {
    return sizeof *f + f->body_len + f->bulk_len;
}

bool link_is_answer(const struct link_frame *f) {
    return f->type == VMS_NATIVE_RUNNING || f->type == VMS_NATIVE_NOT_STARTED;
}

bool link_was_told(const struct vms_native_link *l, const struct link_frame *f) {
    return l->told_type == f->type && l->told_len == f->body_len &&
           memcmp(l->told, f->body, f->body_len) == 0;
}

static void note_told(struct vms_native_link *l, const struct link_frame *f) {
    if (!link_is_answer(f) || f->body_len > sizeof l->told)
        return;
    l->told_type = f->type;
    l->told_len = (uint32_t)f->body_len;
    memcpy(l->told, f->body, f->body_len);
}

void link_append(struct vms_native_link *l, uint16_t channel, struct link_frame *f) {
    struct link_channel *ch = &l->channels[channel];
    l->settled |= link_is_answer(f);
    f->prev = ch->tail;
    f->next = NULL;
    if (ch->tail)
        ch->tail->next = f;
    else
        ch->head = f;
    ch->tail = f;
    if (!ch->cursor)
        ch->cursor = f;
    ch->queued += link_frame_size(f);
    l->queued += link_frame_size(f);
    if (l->queued > l->stats.kept_max)
        l->stats.kept_max = l->queued;
}

void link_insert_before(struct vms_native_link *l, struct link_channel *ch, struct link_frame *at,
                        struct link_frame *f) {
    f->prev = at->prev;
    f->next = at;
    if (at->prev)
        at->prev->next = f;
    else
        ch->head = f;
    at->prev = f;
    ch->cursor = f;
    ch->queued += link_frame_size(f);
    l->queued += link_frame_size(f);
}

static void pop(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    struct link_frame *f = ch->head;
    if (ch->head_sequence < l->accounts[channel].out_acked)
        note_told(l, f);
    ch->head = f->next;
    if (ch->head)
        ch->head->prev = NULL;
    else
        ch->tail = NULL;
    ch->head_sequence++;
    ch->queued -= link_frame_size(f);
    l->queued -= link_frame_size(f);
    vms_session_forgot(&l->session, channel, link_frame_size(f));
    free(f);
}

/* What is being written now stays, even if the peer has it already. */
void link_forget(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    bool keeps = l->session.agreement.features & VMS_FEATURE_RESUME;
    uint64_t acked = l->accounts[channel].out_acked;
    while (ch->head && ch->head != ch->cursor && (!keeps || ch->head_sequence < acked))
        pop(l, channel);
}

void link_rewind(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    while (ch->head && ch->head_sequence < l->accounts[channel].out_acked)
        pop(l, channel);
    ch->cursor = ch->head;
}

bool link_all_sent(const struct vms_native_link *l, uint32_t from) {
    for (uint32_t i = from; i < l->channel_count; i++)
        if (l->channels[i].cursor)
            return false;
    return true;
}

/* ---- a frame ---- */

bool link_made_when_sent(uint32_t type) {
    return type == VMS_NATIVE_ACK || type == VMS_NATIVE_REKEY || type == VMS_NATIVE_END;
}

/* copied: bytes of bulk that are kept with it. */
static struct link_frame *new_frame(size_t pieces, size_t body, size_t copied) {
    struct link_frame *f = malloc(sizeof *f + pieces * sizeof(struct vms_slice) + body + copied);
    if (f) {
        *f = (struct link_frame){.body_len = (uint32_t)body};
        f->body = (uint8_t *)&f->pieces[pieces];
    }
    return f;
}

/* The body's length; SIZE_MAX: the wire cannot say that. */
static size_t body_length(const struct vms_native_frame *frame) {
    size_t len = 0;
    if (link_made_when_sent(frame->header.type))
        return 0;
    enum vms_code code = vms_native_encode_body(frame, (struct vms_room){NULL, 0}, &len);
    return code == VMS_E_MISUSE ? SIZE_MAX : len;
}

static void copy_bulk(struct link_frame *f, const struct vms_slice *bulk, size_t count) {
    uint8_t *copy = f->body + f->body_len, *at = copy;
    for (size_t i = 0; i < count; at += bulk[i].len, i++)
        if (bulk[i].len)
            memcpy(at, bulk[i].ptr, bulk[i].len);
    f->pieces[0] = vms_slice(copy, f->bulk_len);
    f->piece_count = 1;
}

struct link_frame *link_frame_new(uint32_t type, struct vms_native_frame *frame,
                                  const struct vms_slice *bulk, size_t count, bool lasts,
                                  struct vms_error *err) {
    size_t total = 0, len;
    for (size_t i = 0; i < count; i++)
        total += bulk[i].len;
    frame->header.type = type;
    frame->header.bulk_len = (uint32_t)total; /* the body's checks want it */
    size_t body = body_length(frame);
    if (body == SIZE_MAX || total > UINT32_MAX) {
        (void)vms_error_set(err, VMS_E_MISUSE, "a frame that cannot be said");
        return NULL;
    }
    struct link_frame *f = new_frame(lasts ? count : 1, body, lasts ? 0 : total);
    if (!f) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    f->type = type;
    f->flags = frame->header.flags & VMS_NATIVE_PACK_MASK;
    f->bulk_len = (uint32_t)total;
    if (!link_made_when_sent(type))
        (void)vms_native_encode_body(frame, (struct vms_room){f->body, body}, &len);
    if (!lasts)
        copy_bulk(f, bulk, count);
    for (size_t i = 0; lasts && i < count; i++)
        f->pieces[f->piece_count++] = bulk[i];
    return f;
}
