/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"

/*
 * Frames on their way out. All of them go through rooms of the channel: what is sealed is what
 * stands there, even while a guest writes to the memory it came from (SEAL-22); a room stays in the
 * processor's cache; and short frames leave together with what follows them. A full room is lent to
 * the kernel where that can be, instead of copied (RSM-15).
 */

/* ---- a frame ---- */

struct passage {
    struct link_conn *conn;
    struct link_channel *channel;
    struct vms_native_frame frame; /* of the header, and what the accounts ask for */
    uint8_t header[VMS_NATIVE_HEADER];
    uint8_t tag[VMS_NATIVE_TAG];
    uint8_t made[VMS_NATIVE_BODY_MADE]; /* of those made when sent */
    struct vms_slice body;
    bool cut; /* it was the connection that failed */
};

static void put32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The sealer fills in channel, epoch and sequence. */
static void write_header(struct passage *p, const struct link_frame *f) {
    memset(p->header, 0, sizeof p->header);
    put32(p->header, 0x564d5346); /* NAT-10 */
    put32(p->header + 4, f->type);
    p->header[9] = (uint8_t)f->flags;
    put32(p->header + 24, (uint32_t)p->body.len);
    put32(p->header + 28, f->bulk_len);
}

/* With mutex. Bodies that tell the state of things tell that of now, on a replay too. */
static enum vms_code make_body(struct link_conn *c, struct passage *p, size_t *len,
                               struct vms_error *err) {
    struct vms_native_link *l = c->link;
    struct vms_native_position positions[256];
    struct vms_native_sent sent[256];
    struct vms_native_frame *f = &p->frame;
    if (f->header.type == VMS_NATIVE_REKEY) {
        f->u.epoch = c->sealer.link.epoch + 1;
    } else if (f->header.type == VMS_NATIVE_ACK) {
        f->u.ack.position_count = vms_session_positions(&l->session, positions);
        f->u.ack.positions = positions;
        l->idle_frames = 0;
    } else {
        f->u.end.sent_count = vms_session_fill_end(&l->session, sent);
        f->u.end.sent = sent;
        sent[0].next = c->sealer.link.sequence; /* a replay: more was sent behind END */
        sent[0].epoch = l->end_epoch;
        if (vms_transcript_value(&c->transcript, f->u.end.transcript, err) != VMS_OK)
            return err->code;
    }
    if (vms_native_encode_body(f, (struct vms_room){p->made, sizeof p->made}, len) != VMS_OK)
        return vms_error_set(err, VMS_E_INTERNAL, "a control frame of %zu bytes", *len);
    return VMS_OK;
}

/* END tells the epoch of the frame before it, however often either is sent (SES-20). */
static void note_place(struct vms_native_link *l, const struct vms_native_header *h) {
    if (h->channel != 0)
        return;
    if (h->type == VMS_NATIVE_END)
        l->end_place = h->sequence + 1;
    else if (!l->end_place || h->sequence + 1 < l->end_place)
        l->end_epoch = h->epoch;
}

/* With mutex: the accounts know of the frame before its first byte can be answered. */
static enum vms_code prepare(struct passage *p, struct link_frame *f, struct vms_error *err) {
    struct link_conn *c = p->conn;
    struct vms_native_link *l = c->link;
    size_t made = 0;
    p->frame.header.type = f->type;
    p->body = vms_slice(f->body, f->body_len);
    if (link_made_when_sent(f->type)) {
        if (make_body(c, p, &made, err) != VMS_OK)
            return err->code;
        p->body = vms_slice(p->made, made);
    }
    p->frame.header.channel = c->channel;
    p->frame.header.epoch = c->sealer.link.epoch;
    p->frame.header.sequence = c->sealer.link.sequence;
    note_place(l, &p->frame.header);
    vms_session_sent(&l->session, &p->frame, link_frame_size(f));
    l->session.said_ms = (uint64_t)link_now_ms();
    l->stats.frames_out++;
    l->stats.resends += f->sent;
    l->stats.rekeys += f->type == VMS_NATIVE_REKEY;
    f->sent = true;
    return VMS_OK;
}

/* ---- the room ---- */

static uint64_t acknowledged(struct link_conn *c) {
    pthread_mutex_lock(&c->link->mutex);
    uint64_t acked = c->link->accounts[c->channel].out_acked;
    pthread_mutex_unlock(&c->link->mutex);
    return acked;
}

/* behind: the sequence behind the last frame that has octets in the room. */
static enum vms_code flush(struct link_conn *c, struct link_channel *ch, uint64_t behind,
                           struct vms_error *err) {
    struct link_rooms *out = &ch->out;
    struct vms_slice full = vms_slice(out->at, out->used);
    enum vms_code code = VMS_OK;
    bool lent = false;
    out->used = 0;
    atomic_fetch_add(&c->link->bytes_out, full.len);
    atomic_fetch_add(&ch->bytes_out, full.len);
    if (full.len >= LINK_LEND_MIN && link_rooms_may_lend(out))
        code = vms_channel_lend_all(c->io, full, &lent, err);
    else if (full.len)
        code = vms_channel_write_all(c->io, full, err);
    if (lent)
        link_rooms_lent(out, behind);
    if (full.len >= LINK_LEND_MIN)
        link_rooms_next(out, acknowledged(c));
    return code;
}

static enum vms_code make_room(struct passage *p, size_t want, struct vms_error *err) {
    if (LINK_ROOM - p->channel->out.used >= want)
        return VMS_OK;
    p->cut = flush(p->conn, p->channel, p->frame.header.sequence + 1, err) != VMS_OK;
    return p->cut ? err->code : VMS_OK;
}

static enum vms_code put_plain(struct passage *p, const uint8_t *bytes, size_t n,
                               struct vms_error *err) {
    struct link_rooms *out = &p->channel->out;
    if (make_room(p, n, err) != VMS_OK)
        return err->code;
    memcpy(out->at + out->used, bytes, n);
    out->used += n;
    return VMS_OK;
}

/* Of body or bulk: read once, from wherever it lies. */
static enum vms_code put_sealed(struct passage *p, struct vms_slice from, struct vms_error *err) {
    struct link_rooms *out = &p->channel->out;
    enum vms_code code = VMS_OK;
    for (size_t done = 0, n; done < from.len && code == VMS_OK; done += n) {
        size_t room = LINK_ROOM - out->used;
        n = from.len - done < room ? from.len - done : room;
        code =
            vms_sealer_data(&p->conn->sealer,
                            (struct vms_seal_piece){from.ptr + done, out->at + out->used, n}, err);
        out->used += n;
        if (code == VMS_OK && out->used == LINK_ROOM)
            code = make_room(p, 1, err);
    }
    return code;
}

static enum vms_code put_frame(struct passage *p, const struct link_frame *f,
                               struct vms_error *err) {
    struct vms_sealer *sealer = &p->conn->sealer;
    size_t tag = vms_seal_tag_bytes(&sealer->link);
    write_header(p, f);
    enum vms_code code = vms_sealer_begin(sealer, p->header, err);
    if (code == VMS_OK)
        code = put_plain(p, p->header, VMS_NATIVE_HEADER, err);
    if (code == VMS_OK)
        code = put_sealed(p, p->body, err);
    for (uint32_t i = 0; i < f->piece_count && code == VMS_OK; i++)
        code = put_sealed(p, f->pieces[i], err);
    if (code == VMS_OK)
        code = vms_sealer_end(sealer, p->tag, err);
    return code == VMS_OK ? put_plain(p, p->tag, tag, err) : code;
}

/* ---- sending ---- */

/* Frames of the main channel are in the transcript of the direction that END is in (SEAL-20). */
static enum vms_code finish(struct link_conn *c, const struct passage *p, struct vms_error *err) {
    struct vms_native_link *l = c->link;
    const struct vms_native_header *h = &p->frame.header;
    bool transcribed =
        l->config.role == VMS_ROLE_SOURCE && c->channel == 0 && h->type != VMS_NATIVE_END;
    struct vms_slice tag = vms_slice(p->tag, vms_seal_tag_bytes(&c->sealer.link));
    if (transcribed && vms_transcript_frame(&c->transcript, p->header, tag, err) != VMS_OK)
        return err->code;
    if (h->type != VMS_NATIVE_REKEY)
        return VMS_OK;
    return vms_sealer_rekey(&c->sealer, l->session.agreement.suite,
                            c->secret_len ? c->master : NULL, p->frame.u.epoch, h->sequence + 1,
                            err);
}

/* A local failure of sealing is not healed by a new connection. */
static bool failed(struct passage *p, const struct vms_error *err) {
    if (p->cut)
        link_lost(p->conn->link, p->conn, false, err);
    else
        link_fail(p->conn->link, err);
    return false;
}

static bool send_one(struct link_conn *c, struct link_frame *f) {
    struct vms_native_link *l = c->link;
    struct passage p;
    struct vms_error err;
    p.conn = c;
    p.channel = &l->channels[c->channel];
    p.frame = (struct vms_native_frame){.unknown = false};
    p.cut = false;
    pthread_mutex_lock(&l->mutex);
    enum vms_code code = prepare(&p, f, &err);
    pthread_mutex_unlock(&l->mutex);
    if (code == VMS_OK)
        code = put_frame(&p, f, &err);
    if (code == VMS_OK)
        code = finish(c, &p, &err);
    return code == VMS_OK || failed(&p, &err);
}

/* With mutex. END waits for what it lists. */
static struct link_frame *next_due(struct vms_native_link *l, const struct link_conn *c) {
    struct link_channel *ch = &l->channels[c->channel];
    while (ch->conn == c && ch->cursor && ch->cursor->type == VMS_NATIVE_END &&
           !link_all_sent(l, 1))
        pthread_cond_wait(&l->changed, &l->mutex);
    return ch->conn == c ? ch->cursor : NULL;
}

/* [SEAL-9] A frame that was sent before keeps its sequence; its REKEYs are in the list already. */
static struct link_frame *with_rekey(struct vms_native_link *l, struct link_conn *c,
                                     struct link_frame *f) {
    struct vms_error err;
    struct vms_native_frame none = {.header.type = VMS_NATIVE_REKEY};
    uint64_t body = link_made_when_sent(f->type) ? VMS_NATIVE_BODY_MADE : f->body_len;
    if (f->sent || f->type == VMS_NATIVE_REKEY ||
        !vms_sealer_must_rekey(&c->sealer, body + f->bulk_len))
        return f;
    struct link_frame *rekey = link_frame_new(VMS_NATIVE_REKEY, &none, NULL, 0, false, &err);
    if (!rekey)
        return f;
    link_insert_before(l, &l->channels[c->channel], f, rekey);
    return rekey;
}

/* With mutex, which it gives up meanwhile: what stands in the room leaves. */
static bool let_go(struct vms_native_link *l, struct link_conn *c) {
    struct link_channel *ch = &l->channels[c->channel];
    struct vms_error err;
    pthread_mutex_unlock(&l->mutex);
    bool ok = flush(c, ch, c->sealer.link.sequence, &err) == VMS_OK;
    if (!ok)
        link_lost(l, c, false, &err);
    pthread_mutex_lock(&l->mutex);
    pthread_cond_broadcast(&l->changed);
    return ok && ch->conn == c;
}

/* With mutex. */
static bool pump_one(struct vms_native_link *l, struct link_conn *c, struct link_frame *f) {
    struct link_channel *ch = &l->channels[c->channel];
    f = with_rekey(l, c, f);
    pthread_mutex_unlock(&l->mutex);
    bool ok = send_one(c, f);
    pthread_mutex_lock(&l->mutex);
    if (!ok || ch->conn != c)
        return false;
    ch->cursor = f->next;
    link_forget(l, c->channel);
    bool end_waits = ch->cursor && ch->cursor->type == VMS_NATIVE_END;
    return !end_waits || let_go(l, c);
}

/* With mutex. What stands in the room was sealed for another connection: it comes again there. */
static void drop_stale(struct link_channel *ch, const struct link_conn *c) {
    if (ch->out_serial != c->serial)
        ch->out.used = 0;
    ch->out_serial = c->serial;
}

/* more: the caller is back at once, so that a room that is not full may wait for what it brings. */
void link_pump(struct vms_native_link *l, uint16_t channel, bool more) {
    struct link_channel *ch = &l->channels[channel];
    struct vms_error err = {.clause = ""};
    struct link_frame *f;
    if (!link_rooms_make(&ch->out)) {
        (void)vms_error_set(&err, VMS_E_NO_MEMORY, NULL);
        link_fail(l, &err);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = link_conn_ref(ch->conn);
    if (c)
        drop_stale(ch, c);
    while (c && (f = next_due(l, c)) && pump_one(l, c, f)) {
    }
    if (c && ch->conn == c && !ch->cursor && more)
        pthread_cond_broadcast(&l->changed); /* all is on its way */
    else if (c && ch->conn == c && !ch->cursor)
        (void)let_go(l, c);
    pthread_mutex_unlock(&l->mutex);
    link_conn_put(l, c);
}
