/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>

/*
 * Frames that are sent, and kept until they are acknowledged (RSM-1). A frame's sequence follows
 * from its place in the list; the cursor is what the connection gets next. So a resumption only
 * sets the cursor back.
 */

/* ---- the list; with mutex ---- */

static uint64_t size_of(const struct link_frame *f) {
    return sizeof *f + f->body_len + f->bulk_len;
}

void link_append(struct vms_native_link *l, uint16_t channel, struct link_frame *f) {
    struct link_channel *ch = &l->channels[channel];
    l->settled |= f->type == VMS_NATIVE_RUNNING || f->type == VMS_NATIVE_NOT_STARTED;
    f->prev = ch->tail;
    f->next = NULL;
    if (ch->tail)
        ch->tail->next = f;
    else
        ch->head = f;
    ch->tail = f;
    if (!ch->cursor)
        ch->cursor = f;
    ch->queued += size_of(f);
    l->queued += size_of(f);
    if (l->queued > l->stats.kept_max)
        l->stats.kept_max = l->queued;
}

static void insert_before(struct vms_native_link *l, struct link_channel *ch, struct link_frame *at,
                          struct link_frame *f) {
    f->prev = at->prev;
    f->next = at;
    if (at->prev)
        at->prev->next = f;
    else
        ch->head = f;
    at->prev = f;
    ch->cursor = f;
    ch->queued += size_of(f);
    l->queued += size_of(f);
}

static void pop(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    struct link_frame *f = ch->head;
    ch->head = f->next;
    if (ch->head)
        ch->head->prev = NULL;
    else
        ch->tail = NULL;
    ch->head_sequence++;
    ch->queued -= size_of(f);
    l->queued -= size_of(f);
    vms_session_forgot(&l->session, channel, size_of(f));
    link_frame_done(l, f);
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

static bool made_when_sent(uint32_t type) {
    return type == VMS_NATIVE_ACK || type == VMS_NATIVE_REKEY || type == VMS_NATIVE_END;
}

void link_frame_done(struct vms_native_link *l, struct link_frame *f) {
    if (f->cap < LINK_DIRECT_MIN || l->spare_count == LINK_SPARE) {
        free(f);
        return;
    }
    f->next = l->spare;
    l->spare = f;
    l->spare_count++;
}

/* One that was used before, and so is in memory already, if there is one. */
static struct link_frame *take_spare(struct vms_native_link *l, size_t cap) {
    struct link_frame *f = NULL;
    pthread_mutex_lock(&l->mutex);
    if (l->spare && l->spare->cap >= cap) {
        f = l->spare;
        l->spare = f->next;
        l->spare_count--;
    }
    pthread_mutex_unlock(&l->mutex);
    return f;
}

static struct link_frame *frame_with_room(size_t cap, size_t body) {
    struct link_frame *f = malloc(sizeof *f + cap + body);
    if (f) {
        *f = (struct link_frame){.cap = (uint32_t)cap};
        f->body = f->bytes + cap;
    }
    return f;
}

enum vms_code vms_native_link_reserve(struct vms_native_link *l, size_t len,
                                      struct vms_native_reserved *out, struct vms_error *err) {
    struct link_frame *f = len > UINT32_MAX ? NULL : take_spare(l, len);
    if (!f && len <= UINT32_MAX)
        f = frame_with_room(len, LINK_BODY_ROOM);
    *out = (struct vms_native_reserved){.frame = f};
    if (!f)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    out->bulk = f->bytes;
    out->len = len;
    return VMS_OK;
}

void vms_native_link_unreserve(struct vms_native_link *l, struct vms_native_reserved *reserved) {
    pthread_mutex_lock(&l->mutex);
    if (reserved->frame)
        link_frame_done(l, reserved->frame);
    pthread_mutex_unlock(&l->mutex);
    *reserved = (struct vms_native_reserved){.frame = NULL};
}

struct link_frame *link_frame_new(uint32_t type, struct vms_native_frame *frame,
                                  const struct vms_slice *bulk, size_t count,
                                  struct vms_error *err) {
    size_t body = 0, total = 0;
    bool later = made_when_sent(type);
    for (size_t i = 0; i < count; i++)
        total += bulk[i].len;
    frame->header.bulk_len = (uint32_t)total; /* the body's checks want it */
    if (!later &&
        vms_native_encode_body(frame, (struct vms_room){NULL, 0}, &body) == VMS_E_MISUSE) {
        (void)vms_error_set(err, VMS_E_MISUSE, "a frame that cannot be said");
        return NULL;
    }
    struct link_frame *f = frame_with_room(total, body);
    if (!f) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    f->cap = 0; /* not one to be used again */
    f->type = type;
    f->flags = frame->header.flags & VMS_NATIVE_PACK_MASK;
    f->body_len = (uint32_t)body;
    f->bulk_len = (uint32_t)total;
    if (!later)
        (void)vms_native_encode_body(frame, (struct vms_room){f->body, body}, &body);
    uint8_t *at = f->bytes;
    for (size_t i = 0; i < count; at += bulk[i].len, i++)
        if (bulk[i].len)
            memcpy(at, bulk[i].ptr, bulk[i].len);
    return f;
}

/* A frame on its way: body and bulk as they are, header and tag for this connection. */
struct passage {
    struct vms_native_frame frame; /* of the header, and what the accounts ask for */
    uint8_t header[VMS_NATIVE_HEADER];
    uint8_t tag[VMS_NATIVE_TAG];
    uint8_t body[VMS_NATIVE_BODY_MADE]; /* of those made when sent */
    struct vms_seal_piece pieces[2];
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
    put32(p->header + 24, (uint32_t)p->pieces[0].len);
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
    if (vms_native_encode_body(f, (struct vms_room){p->body, sizeof p->body}, len) != VMS_OK)
        return vms_error_set(err, VMS_E_INTERNAL, "a control frame of %zu bytes", *len);
    return VMS_OK;
}

static uint8_t *sealed_room(struct link_channel *ch, size_t len) {
    if (len > ch->out.len) {
        uint8_t *mem = realloc(ch->out.ptr, len);
        if (!mem)
            return NULL;
        ch->out = (struct vms_room){mem, len};
    }
    return ch->out.ptr;
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
static enum vms_code prepare(struct link_conn *c, struct link_frame *f, struct passage *p,
                             struct vms_error *err) {
    struct vms_native_link *l = c->link;
    size_t body = f->body_len;
    p->frame.header.type = f->type;
    p->pieces[0] = (struct vms_seal_piece){f->body, NULL, f->body_len};
    if (made_when_sent(f->type)) {
        if (make_body(c, p, &body, err) != VMS_OK)
            return err->code;
        p->pieces[0] = (struct vms_seal_piece){p->body, NULL, body};
    }
    p->pieces[1] = (struct vms_seal_piece){f->bytes, NULL, f->bulk_len};
    p->frame.header.channel = c->channel;
    p->frame.header.epoch = c->sealer.link.epoch;
    p->frame.header.sequence = c->sealer.link.sequence;
    note_place(l, &p->frame.header);
    vms_session_sent(&l->session, &p->frame, size_of(f));
    l->session.said_ms = (uint64_t)link_now_ms();
    l->stats.frames_out++;
    l->stats.resends += f->sent;
    l->stats.rekeys += f->type == VMS_NATIVE_REKEY;
    f->sent = true;
    return VMS_OK;
}

/* What is not kept is enciphered where it is. */
static enum vms_code seal(struct link_conn *c, struct link_frame *f, struct passage *p,
                          struct vms_error *err) {
    bool kept = c->link->session.agreement.features & VMS_FEATURE_RESUME;
    bool enciphers = vms_suite_encrypts(c->link->session.agreement.suite);
    if (enciphers && !kept && !made_when_sent(f->type)) {
        p->pieces[0].out = f->body;
        p->pieces[1].out = f->bytes;
    } else if (enciphers) {
        uint8_t *out =
            sealed_room(&c->link->channels[c->channel], p->pieces[0].len + p->pieces[1].len);
        if (!out)
            return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        p->pieces[0].out = out;
        p->pieces[1].out = out + p->pieces[0].len;
    }
    write_header(p, f);
    return vms_sealer_seal(&c->sealer, p->header, p->pieces, 2, p->tag, err);
}

static struct iovec iovec_of(const void *ptr, size_t len) {
    union {
        const void *in;
        void *out;
    } u = {ptr}; /* only read */
    return (struct iovec){u.out, len};
}

static enum vms_code write_frame(struct link_conn *c, const struct passage *p,
                                 struct vms_error *err) {
    size_t tag = vms_seal_tag_bytes(&c->sealer.link), total = VMS_NATIVE_HEADER + tag;
    struct iovec iov[4] = {iovec_of(p->header, VMS_NATIVE_HEADER)};
    int n = 1;
    for (int i = 0; i < 2; i++) {
        const struct vms_seal_piece *piece = &p->pieces[i];
        if (piece->len)
            iov[n++] = iovec_of(piece->out ? piece->out : piece->in, piece->len);
        total += piece->len;
    }
    iov[n++] = iovec_of(p->tag, tag);
    atomic_fetch_add(&c->link->bytes_out, total);
    atomic_fetch_add(&c->link->channels[c->channel].bytes_out, total);
    return vms_channel_writev_all(c->io, iov, n, err);
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
static bool send_one(struct link_conn *c, struct link_frame *f) {
    struct vms_native_link *l = c->link;
    struct passage p;
    struct vms_error err;
    p.frame = (struct vms_native_frame){.unknown = false};
    pthread_mutex_lock(&l->mutex);
    enum vms_code code = prepare(c, f, &p, &err);
    pthread_mutex_unlock(&l->mutex);
    if (code == VMS_OK)
        code = seal(c, f, &p, &err);
    if (code != VMS_OK) {
        link_fail(l, &err);
        return false;
    }
    if (write_frame(c, &p, &err) != VMS_OK) {
        link_lost(l, c, &err);
        return false;
    }
    if (finish(c, &p, &err) == VMS_OK)
        return true;
    link_fail(l, &err);
    return false;
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
    uint64_t payload = (made_when_sent(f->type) ? VMS_NATIVE_BODY_MADE : f->body_len) + f->bulk_len;
    if (f->sent || f->type == VMS_NATIVE_REKEY || !vms_sealer_must_rekey(&c->sealer, payload))
        return f;
    struct link_frame *rekey = link_frame_new(VMS_NATIVE_REKEY, &none, NULL, 0, &err);
    if (!rekey)
        return f;
    insert_before(l, &l->channels[c->channel], f, rekey);
    return rekey;
}

void link_pump(struct vms_native_link *l, uint16_t channel) {
    struct link_channel *ch = &l->channels[channel];
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = link_conn_ref(ch->conn);
    struct link_frame *f;
    while (c && (f = next_due(l, c))) {
        f = with_rekey(l, c, f);
        pthread_mutex_unlock(&l->mutex);
        bool ok = send_one(c, f);
        pthread_mutex_lock(&l->mutex);
        if (!ok || ch->conn != c)
            break;
        ch->cursor = f->next;
        link_forget(l, channel);
        if (!ch->cursor)
            pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->mutex);
    link_conn_put(l, c);
}
