/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

/* After a cut: attempts by itself for some time, or when it is told to (order "recover"). */

enum {
    EVERY_MS = 500,
    BY_ITSELF_MS = 60000,
};

static uint64_t ms_from_now(int ms) {
    return src_now_ns() + (uint64_t)ms * 1000000;
}

static bool by_order(const struct src_session *s) {
    return s->options.control != NULL;
}

/*
 * [RSM-12] At once after a cut; but a peer that takes connections only to drop them is tried after
 * a pause, and no longer than one that takes none.
 */
void src_reconnect_begin(struct src_session *s) {
    int ms = s->options.reconnect_ms;
    bool again = !s->progress && s->give_up_ns;
    s->progress = false;
    if (ms < 0)
        ms = !s->options.native && by_order(s) ? 0 : BY_ITSELF_MS;
    s->reconnecting = true;
    s->next_attempt_ns = ms ? ms_from_now(again ? EVERY_MS : 0) : 0;
    if (!again)
        s->give_up_ns = ms ? ms_from_now(ms) : 0;
}

void src_reconnect_now(struct src_session *s) {
    if (s->reconnecting)
        s->next_attempt_ns = src_now_ns();
}

uint64_t src_reconnect_due(const struct src_session *s) {
    if (!s->reconnecting)
        return 0;
    if (s->next_attempt_ns && (!s->give_up_ns || s->next_attempt_ns < s->give_up_ns))
        return s->next_attempt_ns;
    return s->give_up_ns;
}

/* [ENG-28] */
static bool is_of_a_connection(const struct src_item *item) {
    enum src_event_kind kind = item->event.kind;
    return item->kind == SRC_ITEM_EVENT &&
           (kind == SRC_EV_CUT || kind == SRC_EV_BITMAPS || kind == SRC_EV_RESUME_ACK);
}

/* What the connection before has left in the queue is none of the new one's. */
static void drop_stale(struct src_session *s) {
    pthread_mutex_lock(&s->lock);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        struct src_item *item = &s->queue[(s->first + i) % SESSION_QUEUE];
        if (!is_of_a_connection(item))
            s->queue[(s->first + kept++) % SESSION_QUEUE] = *item;
    }
    s->count = kept;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* With an operator at hand nothing is given up: he may know another way. */
static void give_up(struct src_session *s) {
    struct src_event e = {.kind = SRC_EV_GIVE_UP};
    s->next_attempt_ns = s->give_up_ns = 0;
    if (by_order(s)) {
        src_say(s, "no connection; waiting for an order");
        return;
    }
    s->reconnecting = false;
    src_answer(s, &e);
}

static void attempt(struct src_session *s) {
    struct src_event e = {.kind = SRC_EV_RECONNECTED};
    struct vms_error err = {0};
    src_sender_stop(s);
    if (s->wire.ops->reconnect(s->wire.ctx, &err) != VMS_OK) {
        src_say(s, "reconnecting: %s", err.message);
        s->next_attempt_ns = s->give_up_ns ? ms_from_now(EVERY_MS) : 0;
        return;
    }
    drop_stale(s);
    src_ram_forget(&s->devices[0], false);
    s->reconnecting = false;
    src_feed(s, &e); /* before a cut of the new one is */
}

void src_reconnect_step(struct src_session *s) {
    uint64_t now = src_now_ns();
    if (!s->reconnecting)
        return;
    if (s->give_up_ns && now >= s->give_up_ns)
        give_up(s);
    else if (s->next_attempt_ns && now >= s->next_attempt_ns)
        attempt(s);
}
