/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include "host/backend.h"
#include "host/source_channel.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <vmstream/crypto.h>
#include <vmstream/vmdesc.h>

#include "reference-src/vm/vm.h"

/* The life of one incoming migration. */

enum {
    LINGER_MS = 2000, /* for the source to close its channels after SHUT(0) */
};

int64_t dst_now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- channels ---- */

static struct vms_qevm_config qevm_config(const struct dst_channel *c) {
    struct vms_qevm_config q = vms_qevm_config_default();
    q.kind = c->kind;
    q.channel = c->number;
    q.dialect = c->session->options->dialect;
    q.limits = c->session->options->limits;
    return q;
}

enum vms_code dst_channel_prepare(struct dst_channel *c, const struct vms_pump_sink *sink,
                                  struct vms_error *err) {
    struct vms_pump_config p = {
        .qevm = qevm_config(c), .source = vms_source_from_channel(c->io), .sink = *sink};
    if (c->kind == VMS_QEVM_MAIN || c->kind == VMS_QEVM_RECOVERY) {
        c->vmdesc = vms_vmdesc_new();
        if (!c->vmdesc)
            return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        p.qevm.vmdesc = vms_vmdesc_ops(c->vmdesc);
    }
    c->pump = vms_pump_new(&p, err);
    c->ram = c->pump ? vms_ram_channel_new(c->session->image, c->number, err) : NULL;
    return c->ram ? VMS_OK : err->code;
}

void dst_channel_free(struct dst_channel *c) {
    vms_pump_free(c->pump);
    dst_vfio_packet_free(&c->packet);
    vms_ram_channel_free(c->ram);
    vms_vmdesc_free(c->vmdesc);
    (void)vms_channel_close(c->io, NULL);
    free(c);
}

/* ---- failing ---- */

static void shut_all(struct dst_session *s) {
    struct vms_error ignored;
    for (size_t i = 0; i < s->channel_count; i++)
        (void)vms_channel_shutdown(s->channels[i]->io, VMS_SHUT_BOTH, &ignored);
}

/* Lock held. The source is told while its channel is still open (DST-8), where the machine wants it
 * to be: now, or when it refused what came. */
static void tell_source(struct dst_session *s) {
    struct vms_error ignored;
    unsigned actions;
    (void)dst_engine_event(&s->engine, DST_EV_ERROR, &actions, &ignored);
    bool back = (s->owed | actions) & DST_DO_SHUT_BAD;
    if (back && s->engine.return_path && s->main)
        (void)dst_reply(s, VMS_R_RP_SHUT, 1, &ignored);
}

enum vms_code dst_session_fail(struct dst_session *s, const struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    if (!s->over) {
        s->error = *err;
        s->over = true;
        s->stats.times.finished = dst_now_ms();
        tell_source(s);
        shut_all(s);
        dst_devices_abort(s);
        vms_cancel_raise(s->cancel);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return err->code;
}

/* ---- running ---- */

static enum vms_code load_tls(struct dst_session *s, struct vms_error *err) {
    const struct dst_options *o = s->options;
    struct vms_tls_config t = {
        .dir = o->tls_creds, .psk = o->psk, .no_verify_peer = o->no_verify_peer};
    if (!o->tls_creds && !o->psk)
        return VMS_OK;
    return vms_tls_creds_load(&t, VMS_TLS_SERVER, &s->tls, err);
}

static enum vms_code listen_on(struct dst_session *s, struct vms_error *err) {
    struct vms_channel_options c = vms_channel_options_default();
    struct vms_uri uri;
    struct vms_error ignored;
    enum vms_code code = vms_uri_parse(s->options->listen, &uri, err);
    if (code == VMS_OK)
        code = load_tls(s, err);
    if (code != VMS_OK)
        return code;
    c.tls = s->tls;
    c.cancel = s->cancel;
    c.defer_handshake = true;
    c.open_timeout_ms = c.read_timeout_ms = c.write_timeout_ms = s->options->timeout_ms;
    code = vms_listener_open(&uri, &c, &s->listener, err);
    if (code == VMS_OK && !vms_listener_is_single(s->listener))
        s->crypto = vms_backend_new(NULL, &ignored); /* a session that needs it says why not */
    if (code == VMS_OK && !s->options->quiet)
        fprintf(stderr, "reference-dst: listening on %s\n", vms_listener_name(s->listener));
    return code;
}

static enum vms_code make_image(struct dst_session *s, struct vms_error *err) {
    struct vms_ram_image_config c = vms_ram_image_config_default();
    if (s->guest) {
        c.store = VMS_RAM_GUEST;
        c.guest = s->guest;
    } else if (s->options->ram_dir) {
        c.store = VMS_RAM_FILES;
        c.path = s->options->ram_dir;
    }
    c.max_bytes = s->options->max_ram;
    c.limits = s->options->limits;
    s->image = vms_ram_image_new(&c, err);
    return s->image ? VMS_OK : err->code;
}

static void make_locks(struct dst_session *s) {
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->replying, NULL);
    pthread_mutex_init(&s->accepting, NULL);
}

static bool all_ended(const struct dst_session *s) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (!s->channels[i]->ended)
            return false;
    return true;
}

/*
 * Nobody came in time. A guest that has all its pages and runs needs no source any more; another
 * one is lost, for the reason of the cut. Lock held; true: the session is over in good order.
 */
static bool give_up(struct dst_session *s) {
    struct vms_error err = s->cut;
    unsigned actions;
    if (!s->ran || dst_postcopy_missing(s->postcopy) > 0 ||
        vms_ram_image_save(s->image, &s->cut) != VMS_OK)
        return false;
    (void)dst_engine_event(&s->engine, DST_EV_CHANNELS_DONE, &actions, &err);
    s->stats.times.finished = dst_now_ms();
    s->over = true;
    return true;
}

static void wait_until_over(struct dst_session *s) {
    pthread_mutex_lock(&s->lock);
    while (!s->over) {
        bool broken = s->broken;
        if (dst_wait(s, broken ? s->recover_by : VMS_NEVER) || !broken || !s->broken || give_up(s))
            continue;
        struct vms_error cut = s->cut;
        pthread_mutex_unlock(&s->lock);
        (void)dst_session_fail(s, &cut);
        pthread_mutex_lock(&s->lock);
    }
    vms_deadline deadline = vms_deadline_in(LINGER_MS);
    while (!s->error.code && !all_ended(s))
        if (!dst_wait(s, deadline))
            break;
    shut_all(s);
    pthread_mutex_unlock(&s->lock);
}

static void join_all(struct dst_session *s, pthread_t acceptor) {
    vms_cancel_raise(s->cancel);
    vms_listener_shutdown(s->listener);
    pthread_join(acceptor, NULL);
    for (size_t i = 0; i < s->channel_count; i++)
        if (!pthread_equal(s->channels[i]->thread, pthread_self()))
            pthread_join(s->channels[i]->thread, NULL);
    if (s->native_runs)
        pthread_join(s->native_thread, NULL);
    dst_package_join(s);
    dst_postcopy_keep_stats(s);
    dst_touch_join(s);
    if (s->error.code && !s->ran && !s->native)
        dst_devices_reset(s);
}

static enum vms_code start(struct dst_session *s, struct vms_error *err) {
    s->cancel = vms_cancel_new();
    if (!s->cancel)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = dst_guest_open(s, err);
    if (code == VMS_OK)
        code = dst_devices_open(s, err);
    if (code == VMS_OK)
        code = dst_cards_open(s, err);
    if (code == VMS_OK)
        code = make_image(s, err);
    return code == VMS_OK ? listen_on(s, err) : code;
}

/* [REP-9] Time begins with the first phase: before it nobody has connected. */
static void record(struct dst_session *s) {
    const struct vms_timeline_options t = {
        .end = VMS_END_DESTINATION, .started_unix_s = time(NULL), .waits = true};
    const struct vms_display_options d = {.fd = s->options->quiet ? -1 : STDERR_FILENO,
                                          .program = "reference-dst",
                                          .refresh = dst_refresh,
                                          .ctx = s};
    s->timeline = vms_timeline_new(&t, vms_display_now());
    s->display = vms_display_start(s->timeline, &d);
}

enum vms_code dst_session_run(struct dst_session *s, const struct dst_options *options) {
    pthread_t acceptor;
    struct vms_error err = {0};
    s->options = options;
    make_locks(s);
    dst_engine_init(&s->engine);
    if (start(s, &err) != VMS_OK) {
        s->error = err;
        return err.code;
    }
    if (options->answer) {
        (void)dst_native_answer_for(s, &s->error);
        return s->error.code;
    }
    dst_native_remind(s);
    record(s);
    if (pthread_create(&acceptor, NULL, dst_accept_thread, s) != 0)
        return vms_error_set(&s->error, VMS_E_NO_MEMORY, "a thread");
    wait_until_over(s);
    join_all(s, acceptor);
    vms_timeline_result(s->timeline, vms_display_now(), s->error.code ? "failed" : "completed",
                        s->error.code ? &s->error : NULL);
    vms_display_stop(s->display);
    s->display = NULL;
    return s->error.code;
}

void dst_session_free(struct dst_session *s) {
    vms_display_stop(s->display);
    dst_cards_free(s); /* their threads tell session and timeline */
    vms_timeline_free(s->timeline);
    dst_native_free(s->native);
    if (s->key)
        vms_wipe(s->key, s->key_len);
    free(s->key);
    dst_postcopy_free(s->postcopy);
    for (size_t i = 0; i < s->channel_count; i++)
        dst_channel_free(s->channels[i]);
    for (size_t i = 0; i < s->stats.section_count; i++)
        free(s->stats.sections[i].idstr);
    vms_listener_close(s->listener);
    vms_ram_image_free(s->image);
    dst_devices_free(s);
    vms_vm_cards_free(s->cards);
    vms_vm_free(s->vm);
    vms_tls_creds_free(s->tls);
    vms_backend_free(s->crypto);
    vms_cancel_free(s->cancel);
    free(s->package.steps);
    free(s->guest_state.bytes);
    free(s->memory);
}
