/* SPDX-License-Identifier: MIT */
#include "host/journal.h"
#include "reference-src/wire_native_internal.h"
#include <stdio.h>
#include <string.h>

/* The session's link: connecting, and connecting again. */

enum {
    RESUME_MS = 60000, /* that a lost session is kept, where the user has not said */
    ATTEMPT_MS = 1000, /* of wn_reconnect(), which is called again */
};

/* ---- the link ---- */

static void on_note(void *ctx, const char *text) {
    struct wire_native *w = ctx;
    w->owner->note(w->owner->ctx, text);
}

/* A cut that may heal: the engine waits with us. That it has healed reconnect() tells. */
static void on_changed(void *ctx, bool up, const struct vms_error *why) {
    struct wire_native *w = ctx;
    struct src_event e = {.kind = SRC_EV_CUT};
    pthread_mutex_lock(&w->mutex);
    bool tells = !up && !w->closing;
    pthread_mutex_unlock(&w->mutex);
    if (tells)
        w->owner->event(w->owner->ctx, &e, why);
}

static uint64_t features(const struct wire_native *w) {
    uint64_t f = VMS_FEATURE_HANDOVER | VMS_FEATURE_SWITCHOVER_ACK;
    if (w->inquiry)
        return VMS_FEATURE_HANDOVER;
    if (w->options.postcopy)
        f |= VMS_FEATURE_POSTCOPY;
    if (w->options.pack)
        f |= VMS_FEATURE_ZSTD | VMS_FEATURE_ZSTD_DELTA;
    if (!w->options.no_device_channels)
        f |= VMS_FEATURE_DEVICE_CHANNELS;
    return w->options.no_digest ? f : f | VMS_FEATURE_DIGEST;
}

static uint32_t fill_devices(const struct wire_native *w, struct vms_native_device *list) {
    uint32_t n = 0;
    for (size_t i = 0; i < w->options.device_count && n < SRC_DEVICES_MAX; i++) {
        const struct src_wire_device *d = &w->options.devices[i];
        if (d->number != 0)
            list[n++] = (struct vms_native_device){d->number, d->kind, vms_str(d->idstr)};
    }
    return n;
}

static struct vms_native_link *new_link(struct wire_native *w, struct vms_error *err) {
    struct vms_native_device devices[SRC_DEVICES_MAX];
    struct vms_native_link_config c = vms_native_link_config_default();
    uint32_t suite = w->options.suite;
    const char *machine = w->options.machine ? w->options.machine : "";
    bool plain = w->options.has_suite && w->options.suite == VMS_SUITE_NONE;
    c.uri = &w->uri;
    c.options = &w->channel_options;
    c.suites = w->options.has_suite ? &suite : NULL;
    c.suite_count = 1;
    c.psk = plain ? vms_slice(NULL, 0) : vms_slice(w->psk, w->psk_len);
    c.identity = c.psk.len && w->options.identity ? vms_str(w->options.identity) : c.identity;
    c.exporter = !plain && !c.psk.len && w->tls != NULL;
    c.features = features(w);
    c.features_needed = VMS_FEATURE_HANDOVER;
    c.machine = w->inquiry ? vms_slice(NULL, 0) : vms_str(machine);
    c.devices = devices;
    c.device_count = w->inquiry ? 0 : fill_devices(w, devices);
    c.handover = true;
    c.packed = true;
    c.inquiry = w->inquiry;
    c.keepalive_ms = (uint32_t)w->options.keepalive_ms;
    memcpy(c.session, w->session, sizeof c.session);
    c.resume_ms = w->inquiry                    ? 0
                  : w->options.reconnect_ms < 0 ? RESUME_MS
                                                : w->options.reconnect_ms;
    if (w->options.replay_bytes)
        c.limits.native_replay_bytes = w->options.replay_bytes;
    c.note = on_note;
    c.changed = on_changed;
    c.ctx = w;
    return vms_native_link_new(&c, err);
}

static void say_session(struct wire_native *w) {
    char id[VMS_SESSION_TEXT], text[160];
    vms_session_text(vms_native_link_session_id(w->link), id);
    (void)snprintf(text, sizeof text, "session %s, %s", id,
                   vms_suite_name(vms_native_link_agreement(w->link)->suite));
    on_note(w, text);
    if (w->owner->session)
        w->owner->session(w->owner->ctx, w->session);
}

static enum vms_code open_link(struct wire_native *w, struct vms_error *err) {
    const char *uri = w->owner->uri ? w->owner->uri(w->owner->ctx) : w->options.connect;
    if (vms_uri_parse(uri, &w->uri, err) != VMS_OK)
        return err->code;
    w->link = new_link(w, err);
    if (!w->link)
        return err->code;
    enum vms_code code = vms_native_link_open(w->link, err);
    if (code == VMS_OK) {
        memcpy(w->session, vms_native_link_session_id(w->link), sizeof w->session);
        w->failed_told = false;
        w->receiver_runs = pthread_create(&w->receiver, NULL, wn_receiver, w) == 0;
    }
    if (code == VMS_OK && w->receiver_runs)
        return VMS_OK;
    vms_native_link_free(w->link);
    w->link = NULL;
    return code != VMS_OK ? code : vms_error_set(err, VMS_E_NO_MEMORY, "threads");
}

/* stats() looks at the link and its channels from other threads: between the two it may. */
static void show(struct wire_native *w, bool shown) {
    pthread_mutex_lock(&w->looking);
    w->shown = shown;
    pthread_mutex_unlock(&w->looking);
}

void wn_drop_link(struct wire_native *w) {
    struct vms_error why = {.clause = ""};
    if (!w->link)
        return;
    show(w, false);
    (void)vms_error_set(&why, VMS_E_IO, "closed");
    vms_native_link_abort(w->link, &why); /* nothing happens when it is over */
    if (w->receiver_runs)
        (void)pthread_join(w->receiver, NULL);
    if (w->ender_runs)
        (void)pthread_join(w->ender, NULL);
    w->receiver_runs = w->ender_runs = false;
    for (unsigned i = 0; i < w->channel_count; i++)
        wn_channel_close(&w->channels[i]);
    wn_channel_close(&w->preempt);
    w->channel_count = 0;
    vms_native_link_free(w->link);
    w->link = NULL;
}

/* ---- connecting ---- */

static enum vms_code open_channels(struct wire_native *w, struct vms_error *err) {
    unsigned wanted = w->options.channels ? w->options.channels : 4;
    uint64_t most = vms_native_link_agreement(w->link)->limits.native_channels - 1;
    if (wanted > WN_CHANNELS_MAX || !most)
        return vms_error_set(err, VMS_E_LIMIT, "%u data channels", wanted);
    if (wanted > most) /* [NAT-48] */
        wanted = (unsigned)most;
    w->wanted = wanted;
    for (w->channel_count = 0; w->channel_count < wanted;) {
        struct wn_channel *c = &w->channels[w->channel_count];
        w->channel_count++;
        if (wn_channel_open(w, c, (uint16_t)w->channel_count, true, err) != VMS_OK)
            return err->code;
    }
    if (w->options.postcopy && w->options.preempt)
        return wn_channel_open(w, &w->preempt, WN_PREEMPT, false, err);
    return VMS_OK;
}

enum vms_code wn_connect(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    if (open_link(w, err) != VMS_OK)
        return err->code;
    uint64_t f = vms_native_link_agreement(w->link)->features;
    w->packs = w->options.pack && f & VMS_FEATURE_ZSTD;
    w->digests = f & VMS_FEATURE_DIGEST;
    w->device_channels = f & VMS_FEATURE_DEVICE_CHANNELS;
    say_session(w);
    enum vms_code code = w->inquiry ? VMS_OK : open_channels(w, err);
    show(w, code == VMS_OK);
    return code;
}

/* [HND-14] No session can go on; the hand-over can still be settled. */
static enum vms_code inquire(struct wire_native *w, struct vms_error *err) {
    char text[320];
    if (w->link) { /* [MIG-28] told once */
        (void)snprintf(text, sizeof text, "the session is lost: %s; asking whose the guest is",
                       err->message);
        on_note(w, text);
    }
    wn_drop_link(w);
    w->inquiry = true;
    w->error.code = VMS_OK;
    return open_link(w, err);
}

enum vms_code wn_reconnect(void *ctx, struct vms_error *err) {
    struct wire_native *w = ctx;
    struct vms_uri uri;
    const char *text = w->owner->uri ? w->owner->uri(w->owner->ctx) : w->options.connect;
    if (w->hopeless)
        return vms_error_set(err, VMS_E_PEER_CLOSED, "the destination has lost the session");
    if (!w->link)
        return w->started ? inquire(w, err) : vms_error_set(err, VMS_E_MISUSE, "not connected");
    if (vms_uri_parse(text, &uri, err) != VMS_OK)
        return err->code;
    vms_native_link_redirect(w->link, &uri);
    enum vms_code code = vms_native_link_wait_up(w->link, ATTEMPT_MS, err);
    if (code == VMS_OK || code == VMS_E_TIMEOUT || !w->started)
        return code;
    return inquire(w, err);
}

/* Everything that was sent is repeated as it was: nothing is to be asked (RSM-7). */
static enum vms_code answer_at_once(struct wire_native *w, enum src_event_kind kind) {
    struct src_event e = {.kind = kind};
    w->owner->event(w->owner->ctx, &e, NULL);
    return VMS_OK;
}

enum vms_code wn_ask_bitmaps(void *ctx, struct vms_error *err) {
    (void)err;
    return answer_at_once(ctx, SRC_EV_BITMAPS);
}

enum vms_code wn_resume(void *ctx, struct vms_error *err) {
    (void)err;
    return answer_at_once(ctx, SRC_EV_RESUME_ACK);
}
