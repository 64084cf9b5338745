/* SPDX-License-Identifier: MIT */
#include "host/urgency.h"
#include "reference-src/session_impl.h"

/*
 * The sender of the last pages: a thread from POSTCOPY_RUN until all are out, or the next cut. With
 * a preempt channel another one beside it sends what is asked for, so that a requested page never
 * stands behind a channel that is full [MIG-23] [PRE-5].
 */

enum {
    SHORT_NS = 1000000, /* a rest that is not worth while */
};

/* What the limit of bandwidth has not let through yet. */
struct debt {
    double bytes;
    uint64_t since; /* ns */
};

static bool is_stopped(struct src_session *s) {
    pthread_mutex_lock(&s->lock);
    bool stopped = s->stop_sender || s->closing;
    pthread_mutex_unlock(&s->lock);
    return stopped;
}

/* With the lock. When the debt is paid, ns, at the limit of now: an operator may have changed it.
 */
static uint64_t pay(struct src_session *s, struct debt *d) {
    uint64_t now = src_now_ns();
    double per_ns = (double)s->postcopy_bandwidth / 1e9;
    double paid = (double)(now - d->since) * per_ns;
    d->bytes = s->postcopy_bandwidth && paid < d->bytes ? d->bytes - paid : 0;
    d->since = now;
    return d->bytes > 0 ? now + (uint64_t)(d->bytes / per_ns) : now;
}

/* [SRC-10] Requested pages are never held back, nor the end; the others keep to the limit. */
static void pace(struct src_session *s, struct debt *d, uint64_t sent) {
    uint64_t at;
    pthread_mutex_lock(&s->lock);
    (void)pay(s, d);
    d->bytes += (double)sent;
    while (!s->stop_sender && !s->closing && (at = pay(s, d)) > d->since + SHORT_NS &&
           src_ram_can_wait(&s->devices[0])) {
        struct timespec t = {(time_t)(at / 1000000000), (long)(at % 1000000000)};
        (void)pthread_cond_timedwait(&s->changed, &s->lock, &t);
    }
    pthread_mutex_unlock(&s->lock);
}

static void tell(struct src_session *s, enum vms_code code, const struct vms_error *why) {
    struct src_item item = {.kind = SRC_ITEM_EVENT, .event = {.kind = SRC_EV_PAGES_SENT}};
    if (code != VMS_OK) {
        item.event.kind = src_is_cut(code) ? SRC_EV_CUT : SRC_EV_ERROR;
        item.event.value = code;
        item.why = *why;
    }
    src_push(s, &item);
}

static void note_served(struct src_session *s, const struct src_ram_sent *sent) {
    if (sent->waited_ns)
        vms_timeline_observe(s->host.timeline, VMS_LATENCY_REQUEST, sent->waited_ns);
}

/* ---- what is asked for ---- */

struct server {
    struct src_session *session;
    pthread_t thread;
    enum vms_code code;
    struct vms_error err;
};

static void *serve_thread(void *ctx) {
    struct server *server = ctx;
    struct src_session *s = server->session;
    struct src_ram_sent sent = {.more = true};
    vms_thread_urgent();
    while (sent.more && server->code == VMS_OK) {
        server->code = src_ram_send_requested(&s->devices[0], &s->wire, &sent, &server->err);
        note_served(s, &sent);
    }
    if (server->code != VMS_OK)
        src_ram_halt(&s->devices[0], true);
    pthread_mutex_lock(&s->lock); /* who keeps to the limit has nothing left to send */
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- all others ---- */

static enum vms_code push(struct src_session *s, struct vms_error *err) {
    struct src_ram_sent sent = {.more = true};
    struct debt debt = {.bytes = 0};
    enum vms_code code = VMS_OK;
    while (sent.more && code == VMS_OK && !is_stopped(s)) {
        code = s->options.preempt ? src_ram_send_others(&s->devices[0], &s->wire, &sent, err)
                                  : src_ram_send_next(&s->devices[0], &s->wire, &sent, err);
        note_served(s, &sent);
        if (!sent.urgent)
            pace(s, &debt, sent.bytes);
    }
    return code;
}

static enum vms_code push_and_serve(struct src_session *s, struct vms_error *err) {
    struct server server = {.session = s};
    if (pthread_create(&server.thread, NULL, serve_thread, &server) != 0)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
    enum vms_code code = push(s, err);
    if (code != VMS_OK)
        src_ram_halt(&s->devices[0], true);
    pthread_join(server.thread, NULL);
    if (code == VMS_OK && server.code != VMS_OK) {
        code = server.code;
        *err = server.err;
    }
    return code;
}

static void *sender_thread(void *ctx) {
    struct src_session *s = ctx;
    struct vms_error err = {0};
    enum vms_code code = s->options.preempt ? push_and_serve(s, &err) : push(s, &err);
    if (is_stopped(s))
        return NULL;
    if (code == VMS_OK)
        code = s->wire.ops->flush(s->wire.ctx, &err);
    tell(s, code, &err);
    return NULL;
}

void src_sender_start(struct src_session *s) {
    struct vms_error err;
    src_sender_stop(s);
    s->stop_sender = false;
    src_ram_halt(&s->devices[0], false);
    s->has_sender = pthread_create(&s->sender, NULL, sender_thread, s) == 0;
    if (s->has_sender)
        return;
    (void)vms_error_set(&err, VMS_E_NO_MEMORY, "a thread");
    src_trouble(s, &err);
}

void src_sender_stop(struct src_session *s) {
    if (!s->has_sender)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop_sender = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    src_ram_halt(&s->devices[0], true);
    pthread_join(s->sender, NULL);
    s->has_sender = false;
}
