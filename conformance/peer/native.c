/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct vms_opener *opener_of(void *ctx, uint16_t channel) {
    struct native *n = ctx;
    return channel == 0 ? &n->opener : NULL;
}

static bool read_key(struct native *n, const struct vms_limits *limits) {
    struct vms_error err;
    const char *text = cert_str(n->p->kit.body, "psk");
    return !*text ||
           vms_psk_parse(vms_str(text), vms_slice(NULL, 0), 0, limits, &n->psk, &err) == VMS_OK;
}

bool native_listen_anew(struct native *n) {
    struct vms_native_config config = vms_native_config_default();
    config.any_channel = true;
    config.end_optional = n->source;
    config.keys = (struct vms_native_keys){n->psk.key_len != 0, opener_of, native_on_hello, n};
    size_t size = vms_native_decoder_size(&config);
    free(n->decoder);
    n->decoder = vms_native_decoder_init(malloc(size), size, &config);
    n->input = (struct vms_room){NULL, 0};
    return n->decoder != NULL;
}

bool native_open(struct native *n, struct peer *p, bool source) {
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    n->p = p;
    n->source = source;
    n->main.fd = n->data.fd = -1;
    n->openssl = vms_openssl_new();
    if (!n->openssl || !read_key(n, &limits))
        return false;
    n->crypto = vms_openssl_ops(n->openssl);
    if (vms_transcript_init(&n->transcript, n->crypto, &err) != VMS_OK)
        return false;
    if (source)
        (void)n->crypto->random(n->crypto->ctx, (struct vms_room){n->session, sizeof n->session});
    return native_listen_anew(n);
}

void native_close(struct native *n) {
    vms_sealer_free(&n->main.sealer);
    vms_sealer_free(&n->data.sealer);
    vms_opener_free(&n->opener);
    vms_transcript_free(&n->transcript);
    vms_openssl_free(n->openssl);
    free(n->decoder);
}

/* ---- out ---- */

static void put_number(uint8_t *at, unsigned octets, uint64_t value) {
    for (; octets; octets--, value >>= 8)
        at[octets - 1] = (uint8_t)value;
}

static void send_all(struct native *n, int fd, const void *octets, size_t len) {
    struct peer *p = n->p;
    p->fd = fd;
    memcpy(p->out, octets, len);
    p->len = len;
    peer_send(p);
}

void native_put(struct native *n, struct native_line *line, uint32_t type, struct vms_slice body,
                struct vms_slice bulk) {
    static uint8_t out[PEER_BYTES];
    struct vms_error err = {.clause = ""};
    size_t payload = body.len + bulk.len;
    uint8_t *content = out + VMS_NATIVE_HEADER, *tag = content + payload;
    if (line->fd < 0 || n->p->cut)
        return;
    memcpy(out, "VMSF", 4);
    memset(out + 4, 0, VMS_NATIVE_HEADER - 4);
    put_number(out + 4, 4, type);
    put_number(out + 24, 4, body.len);
    put_number(out + 28, 4, bulk.len);
    if (body.len)
        memcpy(content, body.ptr, body.len);
    if (bulk.len)
        memcpy(content + body.len, bulk.ptr, bulk.len);
    struct vms_seal_piece piece = {content, content, payload};
    if (vms_sealer_seal(&line->sealer, out, &piece, 1, tag, &err) != VMS_OK) {
        peer_fail(n->p, "sealing %s: %s", vms_native_type_name(type), err.message);
        return;
    }
    size_t tag_len = (out[9] & VMS_NATIVE_HELLO_SEALED) != 0
                         ? VMS_NATIVE_TAG
                         : vms_seal_tag_bytes(&line->sealer.link);
    bool hello = line->sealer.link.epoch == 0;
    if (hello && line == &n->main)
        (void)vms_transcript_hello(&n->transcript,
                                   vms_slice(out, VMS_NATIVE_HEADER + payload + tag_len), &err);
    else if (n->source && line == &n->main && type != VMS_NATIVE_END)
        (void)vms_transcript_frame(&n->transcript, out, vms_slice(tag, tag_len), &err);
    kit_say(&n->p->kit, "said %s, type %x, on channel %u", vms_native_type_name(type), type,
            line->channel);
    send_all(n, line->fd, out, VMS_NATIVE_HEADER + payload + tag_len);
}

void native_send(struct native *n, struct native_line *line, struct vms_native_frame *frame,
                 struct vms_slice bulk) {
    uint8_t body[8192];
    size_t len = 0;
    frame->header.bulk_len = (uint32_t)bulk.len;
    frame->unpacked = (uint32_t)bulk.len;
    if (vms_native_encode_body(frame, (struct vms_room){body, sizeof body}, &len) != VMS_OK)
        peer_fail(n->p, "%s cannot be said", vms_native_type_name(frame->header.type));
    else
        native_put(n, line, frame->header.type, vms_slice(body, len), bulk);
}

/* ---- in ---- */

/* Data channels are not read by anybody; what comes there goes. */
static void drain(struct peer *p, int fd) {
    uint8_t rest[65536];
    if (read(fd, rest, sizeof rest) > 0)
        return;
    for (unsigned i = 0; i < p->count; i++)
        if (p->fds[i] == fd)
            p->fds[i] = p->fds[--p->count];
}

/* Waits for octets on the main connection, and does what the others want. False: its end. */
static bool fill(struct native *n) {
    struct peer *p = n->p;
    for (;;) {
        struct pollfd fds[PEER_CONNECTIONS + 1];
        unsigned count = 0;
        fds[count++] = (struct pollfd){n->main.fd, POLLIN, 0};
        for (unsigned i = 0; i < p->count; i++)
            if (p->fds[i] != n->main.fd)
                fds[count++] = (struct pollfd){p->fds[i], POLLIN, 0};
        unsigned others = count;
        if (p->listener > 0)
            fds[count++] = (struct pollfd){p->listener, POLLIN, 0};
        if (poll(fds, count, kit_left(&p->kit, 600000)) <= 0)
            return false;
        if (fds[0].revents) {
            ssize_t got = read(n->main.fd, n->buffer, sizeof n->buffer);
            n->input = (struct vms_room){n->buffer, got > 0 ? (size_t)got : 0};
            return got > 0;
        }
        for (unsigned i = 1; i < others; i++)
            if (fds[i].revents)
                drain(p, fds[i].fd);
        if (count > others && fds[others].revents)
            (void)peer_accept(p);
    }
}

static void on_ack(struct native *n, const struct vms_native_ack *ack) {
    for (uint32_t i = 0; i < ack->position_count; i++)
        if (ack->positions[i].channel == 1)
            n->acked = ack->positions[i].next;
}

static void remember(struct native *n, const struct vms_native_frame *f) {
    n->type = f->unknown ? 0 : f->header.type;
    switch (n->type) {
    case VMS_NATIVE_PING: n->value = f->u.value; break;
    case VMS_NATIVE_PONG: /* [SES-25] */
        if (f->u.value != NATIVE_PING_VALUE)
            peer_finds(n->p, "SES-25", "a PONG of %llu, which no PING had",
                       (unsigned long long)f->u.value);
        break;
    case VMS_NATIVE_ACK: on_ack(n, &f->u.ack); break;
    case VMS_NATIVE_START:
    case VMS_NATIVE_COMMIT: n->generation = f->u.generation; break;
    case VMS_NATIVE_READY: n->said = f->u.ready.generation; break;
    case VMS_NATIVE_RUNNING:
    case VMS_NATIVE_NOT_STARTED: n->said = f->u.generation; break;
    case VMS_NATIVE_REQUEST:
        n->device = f->u.switchover.device;
        n->said = f->u.switchover.generation;
        break;
    case VMS_NATIVE_ABORT:
        (void)snprintf(n->aborted, sizeof n->aborted, "%.*s", (int)f->u.abort.code.len,
                       (const char *)f->u.abort.code.ptr);
        break;
    default: break;
    }
    kit_say(&n->p->kit, "heard %s %s", vms_native_type_name(f->header.type),
            n->type == VMS_NATIVE_ABORT ? n->aborted : "");
}

/* [SEAL-20] The peer's HELLO as it came. */
static void transcribe(struct native *n, const struct vms_native_event *e) {
    struct vms_error err;
    struct vms_slice pieces[] = {vms_slice(e->header, VMS_NATIVE_HEADER), e->body, e->tag};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        (void)vms_transcript_hello(&n->transcript, pieces[i], &err);
}

uint32_t native_hear(struct native *n) {
    struct vms_native_event e;
    for (;;) {
        enum vms_native_step step = vms_native_decode(n->decoder, &n->input, &e);
        if (step == VMS_NATIVE_STEP_FRAME) {
            remember(n, e.frame);
            if (e.frame->header.type == VMS_NATIVE_HELLO)
                transcribe(n, &e);
            return n->type ? n->type : UINT32_MAX;
        }
        if (step == VMS_NATIVE_STEP_ERROR) {
            peer_finds(n->p, e.error->clause, "the subject's octets: %s: %s",
                       vms_code_name(e.error->code), e.error->message);
            return 0;
        }
        if (step == VMS_NATIVE_STEP_NEED && !fill(n))
            return 0;
    }
}
