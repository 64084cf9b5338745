/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include <stdio.h>

/* What wires say, from threads of their own. */

static void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct src_item item = {.kind = SRC_ITEM_EVENT, .event = *event};
    if (why)
        item.why = *why;
    src_push(ctx, &item);
}

static void on_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    struct src_session *s = ctx;
    src_ram_request(&s->devices[0], block, offset, length);
    if (s->options.preempt)
        return;                   /* somebody does nothing but wait for it */
    pthread_mutex_lock(&s->lock); /* the sender may be pausing */
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    struct src_session *s = ctx;
    struct src_item bad = {.event = {.kind = SRC_EV_ERROR, .value = VMS_E_RP_BITMAP_SIZE}};
    if (src_ram_take_received(&s->devices[0], block, bytes, len))
        return;
    (void)vms_error_set(&bad.why, VMS_E_RP_BITMAP_SIZE, "%zu octets", len);
    src_push(s, &bad);
}

static void on_note(void *ctx, const char *text) {
    src_say(ctx, "%s", text);
}

static const char *on_uri(void *ctx) {
    struct src_session *s = ctx;
    pthread_mutex_lock(&s->lock);
    memcpy(s->uri_now, s->uri, sizeof s->uri_now);
    pthread_mutex_unlock(&s->lock);
    return s->uri_now;
}

static void on_session(void *ctx, const uint8_t *id) {
    struct src_session *s = ctx;
    char text[33];
    memcpy(s->id, id, sizeof s->id);
    s->has_id = true;
    for (unsigned i = 0; i < 16; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", id[i]);
    vms_timeline_fact(s->host.timeline, "session", text);
}

struct src_wire_owner src_owner(struct src_session *s) {
    return (struct src_wire_owner){on_event,   on_request, on_received, on_note, on_uri,
                                   on_session, s};
}
