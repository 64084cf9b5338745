/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include <stdio.h>

/* Orders of people and scripts, from other threads. */

/* [SRC-14] A call that waits for the peer does not delay a cancellation. */
static void cut_short(struct src_session *s) {
    struct vms_error why;
    (void)vms_error_set(&why, VMS_E_SRC_CANCELLED, NULL);
    pthread_mutex_lock(&s->lock);
    bool cut = s->busy && s->abortable && !s->closing;
    pthread_mutex_unlock(&s->lock);
    if (cut)
        s->wire.ops->abort(s->wire.ctx, &why);
}

void src_session_cancel(struct src_session *s) {
    struct src_item item = {.kind = SRC_ITEM_EVENT, .event = {.kind = SRC_EV_CANCEL}};
    src_push(s, &item);
    cut_short(s);
}

void src_session_quit(struct src_session *s) {
    struct src_item item = {.kind = SRC_ITEM_QUIT};
    struct vms_error why;
    (void)vms_error_set(&why, VMS_E_SRC_CANCELLED, NULL);
    src_push(s, &item);
    s->wire.ops->abort(s->wire.ctx, &why);
}

/* ---- answers ---- */

static json_t *refusal(const struct vms_error *err) {
    return json_pack("{s:b, s:s, s:s, s:s}", "ok", 0, "code", vms_code_name(err->code), "clause",
                     err->clause ? err->clause : "", "message", err->message);
}

static json_t *bad_order(const char *what) {
    struct vms_error err;
    (void)vms_error_set(&err, VMS_E_SRC_ORDER, "%s", what);
    return refusal(&err);
}

static json_t *send(struct src_session *s, struct src_item *item, bool cancel) {
    struct src_waiter waiter = {0};
    item->waiter = &waiter;
    src_push(s, item);
    if (cancel)
        cut_short(s);
    pthread_mutex_lock(&s->lock);
    while (!waiter.done)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return waiter.error.code
               ? refusal(&waiter.error)
               : json_pack("{s:b, s:s}", "ok", 1, "state", src_state_name(waiter.state));
}

static json_t *send_event(struct src_session *s, enum src_event_kind kind) {
    struct src_item item = {.kind = SRC_ITEM_EVENT, .event = {.kind = kind}};
    return send(s, &item, kind == SRC_EV_CANCEL);
}

/* ---- the orders ---- */

static json_t *order_cancel(struct src_session *s, const json_t *order) {
    (void)order;
    return send_event(s, SRC_EV_CANCEL);
}

static json_t *order_migrate(struct src_session *s, const json_t *order) {
    (void)order;
    return send_event(s, SRC_EV_BEGIN);
}

static json_t *order_go_on(struct src_session *s, const json_t *order) {
    (void)order;
    return send_event(s, SRC_EV_GO_ON);
}

static json_t *order_postcopy(struct src_session *s, const json_t *order) {
    (void)order;
    return send_event(s, SRC_EV_START_POSTCOPY);
}

static json_t *order_give_up(struct src_session *s, const json_t *order) {
    (void)order;
    return send_event(s, SRC_EV_GIVE_UP);
}

static json_t *order_recover(struct src_session *s, const json_t *order) {
    struct src_item item = {.kind = SRC_ITEM_RECOVER};
    const char *uri = json_string_value(json_object_get(order, "uri"));
    struct vms_uri parsed;
    struct vms_error err;
    if (uri && vms_uri_parse(uri, &parsed, &err) != VMS_OK)
        return refusal(&err);
    pthread_mutex_lock(&s->lock);
    if (uri)
        (void)snprintf(s->uri, sizeof s->uri, "%s", uri);
    pthread_mutex_unlock(&s->lock);
    return send(s, &item, false);
}

static json_t *order_resolve(struct src_session *s, const json_t *order) {
    const char *as = json_string_value(json_object_get(order, "as"));
    if (as && strcmp(as, "ours") == 0)
        return send_event(s, SRC_EV_RESOLVE_OURS);
    if (as && strcmp(as, "theirs") == 0)
        return send_event(s, SRC_EV_RESOLVE_THEIRS);
    return bad_order("resolve as \"ours\" or \"theirs\"");
}

static bool number(const json_t *order, const char *key, bool *has, uint64_t *out) {
    const json_t *value = json_object_get(order, key);
    *has = value != NULL;
    *out = (uint64_t)json_integer_value(value);
    return !value || (json_is_integer(value) && json_integer_value(value) >= 0);
}

static json_t *order_set(struct src_session *s, const json_t *order) {
    struct src_item item = {.kind = SRC_ITEM_SET};
    struct src_settings *x = &item.settings;
    bool ok = number(order, "bandwidth", &x->has_bandwidth, &x->bandwidth);
    ok &= number(order, "postcopy_bandwidth", &x->has_postcopy_bandwidth, &x->postcopy_bandwidth);
    ok &= number(order, "switchover_bandwidth", &x->has_switchover_bandwidth,
                 &x->switchover_bandwidth);
    ok &= number(order, "downtime_ms", &x->has_downtime, &x->downtime_ms);
    return ok ? send(s, &item, false) : bad_order("numbers from 0 on are wanted");
}

/* Never waits: what was published last. */
static json_t *order_status(struct src_session *s, const json_t *order) {
    struct src_ram_figures ram;
    (void)order;
    src_ram_figures(&s->devices[0], &ram);
    pthread_mutex_lock(&s->lock);
    const struct src_figures *f = &s->figures;
    bool known = f->expected_downtime_ns != UINT64_MAX; /* else null */
    json_t *downtime = known ? json_integer((json_int_t)f->expected_downtime_ns) : json_null();
    json_t *answer = json_pack(
        "{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:i, s:I}", "ok", 1, "state",
        src_state_name(s->state), "owner", src_owner_name(s->owner), "bandwidth",
        (json_int_t)f->bandwidth, "pending", (json_int_t)f->pending, "threshold",
        (json_int_t)f->threshold, "dirty_rate", (json_int_t)f->dirty_rate, "expected_downtime_ns",
        downtime, "rounds", (json_int_t)ram.passes, "requests", (json_int_t)ram.requests,
        "throttle", (int)f->throttle, "dirty_bytes", (json_int_t)ram.dirty_bytes);
    pthread_mutex_unlock(&s->lock);
    return answer;
}

static const struct {
    const char *name;
    json_t *(*take)(struct src_session *s, const json_t *order);
} ORDERS[] = {
    {"migrate", order_migrate},         {"cancel", order_cancel},   {"go-on", order_go_on},
    {"start-postcopy", order_postcopy}, {"give-up", order_give_up}, {"recover", order_recover},
    {"resolve", order_resolve},         {"set", order_set},         {"status", order_status},
};

json_t *src_session_order(struct src_session *s, const json_t *order) {
    const char *name = json_string_value(json_object_get(order, "order"));
    for (size_t i = 0; name && i < sizeof ORDERS / sizeof *ORDERS; i++)
        if (strcmp(name, ORDERS[i].name) == 0)
            return ORDERS[i].take(s, order);
    return bad_order("no such order");
}
