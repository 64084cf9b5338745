/* SPDX-License-Identifier: MIT */
#ifndef VMS_NATIVE_TEST_UTIL_H
#define VMS_NATIVE_TEST_UTIL_H

#include <stdio.h>
#include <stdlib.h>
#include <vmstream/native.h>

/* A decoder of a file without seal, with its keys. */
struct reader {
    struct vms_native_config config;
    struct vms_native_plain_keys keys;
    struct vms_native_decoder *decoder;
    void *mem;
};

static inline void reader_open_with(struct reader *r, const struct vms_limits *limits) {
    memset(r, 0, sizeof *r);
    r->config = vms_native_config_default();
    r->config.limits = *limits;
    r->config.any_channel = true;
    r->keys.count = 256;
    r->keys.channels = calloc(r->keys.count, sizeof *r->keys.channels);
    r->keys.limits = *limits;
    r->config.keys = vms_native_plain_keys(&r->keys);
    size_t size = vms_native_decoder_size(&r->config);
    r->mem = malloc(size);
    r->decoder = vms_native_decoder_init(r->mem, size, &r->config);
}

static inline void reader_open(struct reader *r) {
    struct vms_limits limits = vms_limits_default();
    reader_open_with(r, &limits);
}

static inline void reader_close(struct reader *r) {
    free(r->keys.channels);
    free(r->mem);
}

/* How to cut: pieces of `piece` bytes, or with 0 of random sizes from *seed. */
struct cut {
    size_t piece;
    uint32_t seed;
};

static inline uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static inline size_t next_cut(struct cut *cut, size_t left) {
    size_t n = cut->piece ? cut->piece : 1 + next_random(&cut->seed) % 97;
    return n < left ? n : left;
}

/* Called for each step but NEED; bytes of the stream are in a copy that the decoder may change. */
typedef void on_step(void *ctx, enum vms_native_step step, const struct vms_native_event *ev);

/* Feeds the whole stream and finishes. Returns the last step, END or ERROR. */
static inline enum vms_native_step feed(struct reader *r, struct vms_slice stream, struct cut cut,
                                        on_step *call, void *ctx, struct vms_error *err) {
    uint8_t *copy = malloc(stream.len + 1);
    struct vms_native_event ev;
    enum vms_native_step step = VMS_NATIVE_STEP_NEED;
    size_t at = 0;
    if (stream.len)
        memcpy(copy, stream.ptr, stream.len);
    memset(err, 0, sizeof *err);
    while (step != VMS_NATIVE_STEP_ERROR && step != VMS_NATIVE_STEP_END) {
        size_t n = next_cut(&cut, stream.len - at);
        struct vms_room input = {copy + at, n};
        at += n;
        do {
            step =
                n ? vms_native_decode(r->decoder, &input, &ev) : vms_native_finish(r->decoder, &ev);
            if (step != VMS_NATIVE_STEP_NEED && call)
                call(ctx, step, &ev);
        } while (step != VMS_NATIVE_STEP_NEED && step != VMS_NATIVE_STEP_ERROR &&
                 step != VMS_NATIVE_STEP_END);
    }
    if (step == VMS_NATIVE_STEP_ERROR)
        *err = *ev.error;
    free(copy);
    return step;
}

/* A sender without seal that appends to a buffer, label first. */
struct sender {
    struct vms_sealer sealer;
    struct vms_native_encoder encoder;
    uint8_t *ptr;
    size_t len, cap;
};

static inline void sender_append(struct sender *s, struct vms_slice bytes) {
    while (s->len + bytes.len > s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1 << 16;
        s->ptr = realloc(s->ptr, s->cap);
    }
    if (bytes.len)
        memcpy(s->ptr + s->len, bytes.ptr, bytes.len);
    s->len += bytes.len;
}

static inline void sender_open(struct sender *s, uint16_t channel) {
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    memset(s, 0, sizeof *s);
    vms_sealer_init(&s->sealer, NULL, VMS_SOURCE_TO_DESTINATION, channel, &limits);
    (void)vms_sealer_hello_plain(&s->sealer, &err);
    vms_native_encoder_init(&s->encoder, &s->sealer, channel, &limits);
    sender_append(s, vms_slice(vms_native_label, VMS_NATIVE_LABEL));
}

static inline void sender_close(struct sender *s) {
    vms_sealer_free(&s->sealer);
    free(s->ptr);
}

static inline enum vms_code send_frame(struct sender *s, struct vms_native_frame *frame,
                                       struct vms_slice bulk) {
    static uint8_t room[80000];
    struct vms_native_gather g;
    struct vms_error err;
    size_t len;
    enum vms_code code = vms_native_encode(&s->encoder, frame, &bulk, bulk.len ? 1 : 0,
                                           (struct vms_room){room, sizeof room}, &g, &len);
    if (code != VMS_OK)
        return code;
    sender_append(s, g.head);
    for (size_t i = 0; i < g.bulk_count; i++)
        sender_append(s, g.bulk[i]);
    sender_append(s, g.tail);
    if (!frame->header.epoch)
        (void)vms_sealer_rekey(&s->sealer, VMS_SUITE_NONE, NULL, 1, 0, &err);
    return VMS_OK;
}

static inline struct vms_native_frame hello_frame(void) {
    static const uint32_t none[] = {0};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    f.u.hello.version = f.u.hello.version_min = 1;
    f.u.hello.form = VMS_FORM_FILE;
    f.u.hello.suite_count = 1;
    f.u.hello.suites = none;
    f.u.hello.body_bytes = 69632;
    f.u.hello.bulk_bytes = 4194304;
    f.u.hello.channels = 256;
    memset(f.u.hello.who.random, 7, 32);
    return f;
}

static inline void send_hello(struct sender *s) {
    struct vms_native_frame f = hello_frame();
    (void)send_frame(s, &f, vms_slice(NULL, 0));
}

static inline enum vms_code send_end(struct sender *s) {
    struct vms_native_sent sent = {0, s->sealer.link.sequence, s->sealer.link.sequence ? 1 : 0};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_END};
    f.u.end.sent_count = 1;
    f.u.end.sent = &sent;
    return send_frame(s, &f, vms_slice(NULL, 0));
}

#endif
