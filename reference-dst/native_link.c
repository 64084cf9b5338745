/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"
#include <string.h>
#include <time.h>

/* The link of the session, and those of inquiries about it. */

static void on_note(void *ctx, const char *text) {
    struct dst_native_session *s = ctx;
    if (s->config.note)
        s->config.note(s->config.ctx, text);
}

/* That the link is gone for good the receiver tells. */
static void on_changed(void *ctx, bool up, const struct vms_error *why) {
    struct dst_native_session *s = ctx;
    (void)why;
    s->result.cuts += !up;
    dn_post(s, up ? DST_NEV_RECONNECTED : DST_NEV_CUT, 0, 0);
}

/* [NAT-49] */
static enum vms_code check_guest(struct dst_native_session *s, const struct vms_native_hello *peer,
                                 uint32_t *device, struct vms_error *err) {
    const char *machine = s->config.machine;
    if (machine && !vms_slice_eq(peer->machine, vms_str(machine)))
        return vms_error_set(err, VMS_E_CONFIG_MACHINE, "%.*s", (int)peer->machine.len,
                             (const char *)peer->machine.ptr);
    return dn_devices_agree(s, peer, device, err);
}

/* [HND-14] Another session than the one that is open here is nobody's business. */
static enum vms_code on_hello(void *ctx, const struct vms_native_hello *peer, uint32_t *device,
                              struct vms_error *err) {
    struct dst_native_session *s = ctx;
    bool inquiry = peer->form == VMS_FORM_INQUIRY;
    if (inquiry != s->ask_only)
        return vms_error_set(err, VMS_E_SESSION_ID, "this end %s",
                             inquiry ? "knows no such session" : "waits for another source");
    if (!inquiry)
        return check_guest(s, peer, device, err);
    if (memcmp(peer->who.session, s->id, sizeof s->id) != 0)
        return vms_error_set(err, VMS_E_SESSION_ID, "another session was open here");
    return VMS_OK;
}

static uint64_t features(const struct dst_native_session *s) {
    uint64_t f = VMS_FEATURE_HANDOVER;
    if (s->ask_only)
        return f;
    f |= VMS_FEATURE_SWITCHOVER_ACK | VMS_FEATURE_ZSTD | VMS_FEATURE_ZSTD_DELTA |
         VMS_FEATURE_DEVICE_CHANNELS;
    if (!s->config.no_digest)
        f |= VMS_FEATURE_DIGEST;
    if (!s->config.no_postcopy && s->config.resume_ms)
        f |= VMS_FEATURE_POSTCOPY; /* [MIG-20] */
    return f;
}

static struct vms_native_link *new_link(struct dst_native_session *s, int open_ms,
                                        struct vms_error *err) {
    struct vms_native_link_config c = vms_native_link_config_default();
    c.role = VMS_ROLE_DESTINATION;
    c.listener = s->config.listener;
    c.first = s->config.first;
    s->config.first = NULL;
    c.psk = s->config.psk;
    c.exporter = s->config.exporter;
    c.features = features(s);
    c.features_needed = VMS_FEATURE_HANDOVER;
    c.open_ms = open_ms;
    c.keepalive_ms = (uint32_t)s->config.keepalive_ms;
    c.resume_ms = s->ask_only ? 0 : s->config.resume_ms;
    c.handover = true;
    c.packed = true;
    c.attached = dn_attached;
    c.hello = on_hello;
    c.place = s->ask_only ? NULL : dn_rooms;
    c.changed = on_changed;
    c.note = on_note;
    c.ctx = s;
    return vms_native_link_new(&c, err);
}

static enum vms_code start_receiver(struct dst_native_session *s, struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    s->link_over = false;
    pthread_mutex_unlock(&s->lock);
    s->receiver_runs = pthread_create(&s->receiver, NULL, dn_receiver, s) == 0;
    return s->receiver_runs ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "threads");
}

static void say_session(struct dst_native_session *s) {
    char id[VMS_SESSION_TEXT];
    vms_session_text(s->id, id);
    dn_note(s, "session %s, %s%s", id, vms_suite_name(vms_native_link_agreement(s->link)->suite),
            s->ask_only ? ", an inquiry" : "");
}

enum vms_code dn_link_open(struct dst_native_session *s, int open_ms, struct vms_error *err) {
    s->link = new_link(s, open_ms, err);
    if (!s->link || vms_native_link_open(s->link, err) != VMS_OK) {
        vms_native_link_free(s->link);
        s->link = NULL;
        return err->code;
    }
    const struct vms_agreement *a = vms_native_link_agreement(s->link);
    memcpy(s->id, vms_native_link_session_id(s->link), sizeof s->id);
    if (!s->ask_only)
        s->features =
            a->features & VMS_FEATURE_RESUME ? a->features : a->features & ~VMS_FEATURE_POSTCOPY;
    s->has_id = true;
    say_session(s);
    return start_receiver(s, err);
}

void dn_link_drop(struct dst_native_session *s) {
    if (!s->link)
        return;
    struct vms_error why = {.clause = ""};
    (void)vms_error_set(&why, VMS_E_IO, "closed");
    vms_native_link_abort(s->link, &why); /* nothing, when it is over */
    if (s->receiver_runs)
        (void)pthread_join(s->receiver, NULL);
    s->receiver_runs = false;
    if (s->teller_runs)
        (void)pthread_join(s->teller, NULL);
    s->teller_runs = false;
    dn_channels_join(s);
    struct vms_native_link_stats stats = vms_native_link_stats(s->link);
    s->result.bytes_in += stats.bytes_in;
    s->result.resumes += stats.resumes;
    vms_native_link_free(s->link);
    s->link = NULL;
}

/* ---- inquiries ---- */

static bool goes_on(struct dst_native_session *s) {
    pthread_mutex_lock(&s->lock);
    bool on = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return on;
}

static void *asker(void *arg) {
    struct dst_native_session *s = arg;
    struct vms_error err = {.clause = ""};
    while (goes_on(s)) {
        enum vms_code code = dn_link_open(s, 250, &err);
        if (code == VMS_OK) {
            s->link_dead = false;
            dn_post(s, DST_NEV_RECONNECTED, 0, 0);
            return NULL;
        }
        if (code == VMS_E_TIMEOUT || code == VMS_E_PEER_CLOSED)
            continue;
        /* [HND-12] no descriptor or memory now: later perhaps; an only connection comes once */
        if (vms_listener_is_single(s->config.listener))
            break;
        const struct timespec moment = {.tv_nsec = 100000000};
        (void)nanosleep(&moment, NULL);
    }
    if (goes_on(s)) {
        dn_note(s, "no more inquiries can be taken: %.200s", err.message);
        dn_post(s, DST_NEV_GIVE_UP, 0, 0);
    }
    return NULL;
}

void dn_ask_join(struct dst_native_session *s) {
    if (s->asker_runs)
        (void)pthread_join(s->asker, NULL);
    s->asker_runs = false;
}

void dn_ask(struct dst_native_session *s) {
    dn_ask_join(s);
    dn_link_drop(s);
    s->ask_only = true;
    s->answered = false;
    s->asker_runs = pthread_create(&s->asker, NULL, asker, s) == 0;
}
