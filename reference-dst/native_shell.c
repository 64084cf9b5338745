/* SPDX-License-Identifier: MIT */
#include "host/journal.h"
#include "reference-dst/native.h"
#include "reference-dst/session.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The program around a native migration: options in, progress and outcome out. */

enum {
    RESUME_MS = 60000, /* that a lost session is kept, where the user has not said */
};

/* ---- orders, while it is in doubt (HND-12) ---- */

static volatile sig_atomic_t ordered; /* enum dst_native_resolve */

static void on_signal(int number) {
    ordered = number == SIGUSR1 ? DST_NATIVE_OURS : DST_NATIVE_THEIRS;
}

static enum dst_native_resolve order(void *ctx) {
    struct dst_session *s = ctx;
    enum dst_native_resolve o = (enum dst_native_resolve)ordered;
    ordered = DST_NATIVE_ASK;
    return o ? o : (enum dst_native_resolve)s->options->resolve;
}

/* ---- what is told ---- */

static void note(void *ctx, const char *text) {
    dst_say(ctx, "%s", text);
}

static uint64_t now_ns(void) {
    return (uint64_t)dst_now_ms() * 1000000u;
}

static void event(struct dst_session *s, enum vms_timeline_event e) {
    vms_timeline_event(s->timeline, now_ns(), e, VMS_NO_LANE, 0, NULL);
}

static void on_state(void *ctx, enum dst_native_state state) {
    struct dst_session *s = ctx;
    vms_timeline_phase(s->timeline, now_ns(), dst_native_state_name(state));
    switch (state) {
    case DST_N_PRECOPY:
        s->stats.times.setup = s->stats.times.connected;
        s->stats.times.precopy = dst_now_ms();
        break;
    case DST_N_ASKED:
        s->stats.times.switchover = dst_now_ms();
        event(s, VMS_EVENT_START);
        break;
    case DST_N_READY: s->stats.times.loaded = dst_now_ms(); break;
    case DST_N_STARTING: event(s, VMS_EVENT_COMMIT); break;
    case DST_N_STARTED:
        pthread_mutex_lock(&s->lock);
        s->ran = s->guest != NULL;
        pthread_mutex_unlock(&s->lock);
        break;
    case DST_N_REFUSING: /* [HND-17] not after all */
        pthread_mutex_lock(&s->lock);
        s->ran = false;
        pthread_mutex_unlock(&s->lock);
        break;
    case DST_N_POSTCOPY:
        if (!s->stats.times.running)
            event(s, VMS_EVENT_POSTCOPY);
        break;
    case DST_N_PAUSED:
    case DST_N_IN_DOUBT: event(s, VMS_EVENT_CUT); break;
    default: break;
    }
    if ((state == DST_N_POSTCOPY || state == DST_N_RUNNING) && !s->stats.times.running) {
        s->stats.times.running = dst_now_ms();
        event(s, VMS_EVENT_RUNNING);
    }
}

static void on_served(void *ctx, uint64_t ns) {
    struct dst_session *s = ctx;
    vms_timeline_observe(s->timeline, VMS_LATENCY_FAULT, ns);
}

/* A lane of its own: how much is mapped, of how much. */
static void on_mapped(void *ctx, const char *idstr, const struct vms_vdpa_progress *p) {
    struct dst_session *s = ctx;
    const char *state = p->failed                  ? "mapping failed"
                        : p->done != p->generation ? "mapping"
                        : p->wanted                ? "mapped"
                                                   : "unmapped";
    uint32_t lane = vms_timeline_lane(s->timeline, now_ns(), VMS_LANE_DEVICE, idstr);
    vms_timeline_count(s->timeline, lane,
                       &(struct vms_counters){.done = p->mapped, .total = p->wanted});
    vms_timeline_lane_state(s->timeline, now_ns(), lane, state);
}

/* ---- configuration ---- */

static bool over_tls(const struct dst_options *o) {
    return strncmp(o->listen, "tls:", 4) == 0;
}

static enum vms_code read_key(struct dst_session *s, struct vms_error *err) {
    size_t room = (size_t)s->options->limits.psk_file_bytes + 1;
    int fd = open(s->options->psk, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    s->key = malloc(room);
    while (fd >= 0 && s->key && s->key_len < room &&
           (n = read(fd, s->key + s->key_len, room - s->key_len)) > 0)
        s->key_len += (size_t)n;
    if (fd >= 0)
        (void)close(fd);
    return n == 0 && s->key_len
               ? VMS_OK
               : vms_error_set(err, VMS_E_SEAL_PSK_FILE, "%.150s cannot be read", s->options->psk);
}

/* [SEAL-11] With tls: a key file is TLS's, and TLS gives the secret; else it seals. */
static enum vms_code configure(struct dst_session *s, struct dst_native_config *c,
                               struct vms_error *err) {
    const struct dst_options *o = s->options;
    *c = (struct dst_native_config){.listener = s->listener,
                                    .exporter = over_tls(o),
                                    .machine = o->settings.machine,
                                    .limits = o->limits,
                                    .open_ms = o->timeout_ms,
                                    .keepalive_ms = o->keepalive_ms,
                                    .resume_ms = o->recover_ms > 0 ? o->recover_ms : RESUME_MS,
                                    .image = s->image,
                                    .guest = s->guest,
                                    .vfio = o->vfio_count ? s->vfio : NULL,
                                    .journal = o->journal,
                                    .no_digest = o->no_digest,
                                    .note = note,
                                    .state = on_state,
                                    .served = on_served,
                                    .vdpa = s->vdpa,
                                    .mapped = on_mapped,
                                    .no_postcopy = s->vdpa != NULL, /* [VDPA-19] */
                                    .order = order,
                                    .ctx = s};
    if (c->limits.native_bulk_bytes > 1 << 20)
        c->limits.native_bulk_bytes = 1 << 20;
    if (o->psk && !over_tls(o) && !s->key && read_key(s, err) != VMS_OK)
        return err->code;
    c->psk = vms_slice(s->key, s->key_len);
    return VMS_OK;
}

static void catch_orders(void) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigaction(SIGUSR1, &a, NULL);
    (void)sigaction(SIGUSR2, &a, NULL);
}

/* ---- a migration ---- */

static enum vms_code run(struct dst_session *s, struct vms_channel *first, struct vms_error *err) {
    struct dst_native_config c;
    if (configure(s, &c, err) != VMS_OK) {
        (void)vms_channel_close(first, NULL);
        return err->code;
    }
    c.first = first;
    struct dst_native_session *native = dst_native_new(&c, err);
    pthread_mutex_lock(&s->lock); /* dst_refresh() looks */
    s->native = native;
    pthread_mutex_unlock(&s->lock);
    return s->native ? dst_native_run(s->native, err) : err->code;
}

void dst_native_live(struct dst_session *s, struct vms_channel *first) {
    struct vms_error err = {.clause = ""};
    catch_orders();
    vms_timeline_fact(s->timeline, "wire", "native");
    vms_timeline_phase(s->timeline, now_ns(), dst_native_state_name(DST_N_SETUP));
    enum vms_code code = run(s, first, &err);
    if (s->native)
        dst_native_result(s->native, &s->native_result);
    pthread_mutex_lock(&s->lock);
    s->postcopied = s->native_result.postcopy;
    s->stats.times.finished = dst_now_ms();
    if (code != VMS_OK)
        s->error = err;
    s->over = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* ---- after a restart ---- */

enum vms_code dst_native_answer_for(struct dst_session *s, struct vms_error *err) {
    struct dst_native_config c;
    uint8_t session[16];
    const char *id = s->options->answer;
    bool good = strlen(id) == VMS_SESSION_TEXT - 1 && vms_session_parse(id, session);
    if (!s->options->journal || !good)
        return vms_error_set(err, VMS_E_MISUSE, "--answer wants 32 digits and --journal DIR");
    if (configure(s, &c, err) != VMS_OK)
        return err->code;
    if (dst_native_answer(&c, session, (enum dst_native_resolve)s->options->resolve,
                          &s->native_result, err) != VMS_OK)
        return err->code;
    dst_say(s, "the source of session %s was told: %s", s->options->answer,
            s->native_result.refused ? "the guest was not started here and never will be"
                                     : "the guest had been started here");
    return VMS_OK;
}

static void remind(void *ctx, const struct vms_journal_record *r) {
    char id[VMS_SESSION_TEXT];
    vms_session_text(r->session, id);
    if (r->journal == VMS_JOURNAL_OPEN || r->journal == VMS_JOURNAL_LOST)
        dst_say(ctx,
                "journal of session %s says %s: its source may be in doubt; run with --answer %s",
                id, vms_journal_name(r->journal), id);
}

void dst_native_remind(struct dst_session *s) {
    struct vms_error ignored;
    if (s->options->journal)
        (void)vms_journal_list(s->options->journal, VMS_ROLE_DESTINATION, remind, s, &ignored);
}
