/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>
#include <time.h>

/* Construction, opening and closing. */

struct vms_native_link_config vms_native_link_config_default(void) {
    struct vms_native_link_config c = {
        .role = VMS_ROLE_SOURCE,
        .limits = vms_limits_default(),
        .keepalive_ms = LINK_HANDSHAKE_MS,
        .open_ms = -1,
        .handshake_ms = LINK_HANDSHAKE_MS,
        .resume_ms = 60000,
    };
    c.limits.native_bulk_bytes = 1 << 20;
    return c;
}

/* NAT-44: what the secret allows, the fastest first. */
static void choose_suites(struct vms_native_link *l) {
    static const uint32_t keyed[] = {VMS_SUITE_AES_256_GCM, VMS_SUITE_CHACHA20_POLY1305,
                                     VMS_SUITE_AES_256_GMAC};
    size_t n = 0;
    size_t most = sizeof l->suites / sizeof *l->suites;
    if (l->config.suites) {
        for (; n < l->config.suite_count && n < most; n++)
            l->suites[n] = l->config.suites[n];
    } else if (link_has_secret(l)) {
        for (; n < sizeof keyed / sizeof *keyed; n++)
            l->suites[n] = keyed[n];
    } else {
        l->suites[n++] = VMS_SUITE_NONE;
    }
    l->config.suites = l->suites;
    l->config.suite_count = n;
}

static enum vms_code copy_bytes(struct vms_slice from, uint8_t **to, struct vms_error *err) {
    if (from.len == 0)
        return VMS_OK;
    *to = malloc(from.len);
    if (!*to)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    memcpy(*to, from.ptr, from.len);
    return VMS_OK;
}

/* The names stand behind the list. */
static enum vms_code copy_devices(struct vms_native_link *l, struct vms_error *err) {
    const struct vms_native_link_config *c = &l->config;
    size_t names = 0;
    for (uint32_t i = 0; i < c->device_count; i++)
        names += c->devices[i].name.len;
    if (!c->device_count)
        return VMS_OK;
    l->devices = malloc(c->device_count * sizeof *l->devices + names);
    if (!l->devices)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    uint8_t *at = (uint8_t *)&l->devices[c->device_count];
    for (uint32_t i = 0; i < c->device_count; i++) {
        struct vms_slice name = c->devices[i].name;
        l->devices[i] = c->devices[i];
        l->devices[i].name = vms_slice(at, name.len);
        if (name.len)
            memcpy(at, name.ptr, name.len);
        at += name.len;
    }
    return VMS_OK;
}

static enum vms_code take_config(struct vms_native_link *l, struct vms_error *err) {
    const struct vms_native_link_config *c = &l->config;
    bool source = c->role == VMS_ROLE_SOURCE;
    if (source ? !c->uri : !c->listener)
        return vms_error_set(err, VMS_E_MISUSE, "where to connect or to listen is wanted");
    if (copy_bytes(c->psk, &l->psk_text, err) != VMS_OK ||
        copy_bytes(c->machine, &l->machine, err) != VMS_OK)
        return err->code;
    if (source)
        l->uri = *c->uri;
    if (copy_devices(l, err) != VMS_OK)
        return err->code;
    l->options = c->options ? *c->options : vms_channel_options_default();
    l->options.cancel = l->cancel;
    l->options.open_timeout_ms = c->handshake_ms;
    choose_suites(l);
    if (source && l->psk_text)
        return vms_psk_parse(vms_slice(l->psk_text, c->psk.len), c->identity, 0, &c->limits,
                             &l->psk, err);
    return VMS_OK;
}

static enum vms_code allocate(struct vms_native_link *l, struct vms_error *err) {
    uint64_t count = l->config.limits.native_channels;
    l->channel_count = count < 256 ? (uint32_t)count : 256;
    l->channels = calloc(l->channel_count, sizeof *l->channels);
    l->accounts = calloc(l->channel_count, sizeof *l->accounts);
    l->cancel = vms_cancel_new();
    if (!l->channels || !l->accounts || !l->cancel || !l->channel_count)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    for (uint32_t i = 0; i < l->channel_count; i++)
        pthread_mutex_init(&l->channels[i].write, NULL);
    l->backend = vms_backend_new(NULL, err);
    if (!l->backend)
        return err->code;
    l->crypto = vms_backend_ops(l->backend);
    return VMS_OK;
}

static void init_locks(struct vms_native_link *l) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->attaching, NULL);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->changed, &monotonic);
    pthread_cond_init(&l->work, &monotonic);
    pthread_cond_init(&l->lost, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

struct vms_native_link *vms_native_link_new(const struct vms_native_link_config *config,
                                            struct vms_error *err) {
    struct vms_native_link *l = calloc(1, sizeof *l);
    uint8_t id[16] = {0};
    if (!l) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    l->config = *config;
    if (!config->handshake_ms)
        l->config.handshake_ms = LINK_HANDSHAKE_MS;
    if (!config->keepalive_ms)
        l->config.keepalive_ms = LINK_HANDSHAKE_MS;
    l->stats.rtt_us = -1;
    init_locks(l);
    enum vms_code code = allocate(l, err);
    if (code == VMS_OK)
        code = take_config(l, err);
    if (config->inquiry)
        memcpy(id, config->session, sizeof id);
    else if (code == VMS_OK && config->role == VMS_ROLE_SOURCE)
        code = link_random(l, id, sizeof id, err);
    if (code == VMS_OK) {
        vms_session_init(&l->session, config->role, id, l->accounts, l->channel_count);
        return l;
    }
    vms_native_link_free(l);
    return NULL;
}

/* ---- opening ---- */

static enum vms_code start_threads(struct vms_native_link *l, struct vms_error *err) {
    bool source = l->config.role == VMS_ROLE_SOURCE;
    bool keeper = source ? l->config.resume_ms != 0 : !vms_listener_is_single(l->config.listener);
    l->ticker_runs = pthread_create(&l->ticker, NULL, link_ticker, l) == 0;
    if (keeper && l->ticker_runs)
        l->keeper_runs =
            pthread_create(&l->keeper, NULL, source ? link_source_keeper : link_destination_keeper,
                           l) == 0;
    if (!l->ticker_runs || keeper != l->keeper_runs)
        return vms_error_set(err, VMS_E_NO_MEMORY, "threads");
    return VMS_OK;
}

enum vms_code vms_native_link_open(struct vms_native_link *l, struct vms_error *err) {
    *err = (struct vms_error){.clause = ""};
    enum vms_code code = l->config.role == VMS_ROLE_SOURCE ? link_open_source(l, err)
                                                           : link_open_destination(l, err);
    if (code != VMS_OK)
        return code;
    l->opened = true;
    l->ping_at = 0;
    return start_threads(l, err);
}

const struct vms_agreement *vms_native_link_agreement(const struct vms_native_link *l) {
    return &l->session.agreement;
}

const uint8_t *vms_native_link_session_id(const struct vms_native_link *l) {
    return l->session.id;
}

struct vms_error vms_native_link_refused(struct vms_native_link *l) {
    pthread_mutex_lock(&l->mutex);
    struct vms_error e = l->refused;
    pthread_mutex_unlock(&l->mutex);
    return e;
}

struct vms_native_link_stats vms_native_link_stats(struct vms_native_link *l) {
    pthread_mutex_lock(&l->mutex);
    struct vms_native_link_stats s = l->stats;
    s.kept = l->queued;
    pthread_mutex_unlock(&l->mutex);
    s.bytes_in = atomic_load(&l->bytes_in);
    s.bytes_out = atomic_load(&l->bytes_out);
    return s;
}

/* ---- closing ---- */

/* With mutex: no more is written on the first channels; then waits until the peer has closed, as
 * its reader finds. */
static void shut_and_wait(struct vms_native_link *l, uint32_t channels, int ms) {
    struct timespec until = link_after_ms(ms);
    struct vms_error ignored;
    int rc = 0;
    for (uint32_t i = 0; i < channels; i++)
        if (l->channels[i].conn) {
            vms_channel_set_timeouts(l->channels[i].conn->io, ms, 100);
            (void)vms_channel_shutdown(l->channels[i].conn->io, VMS_SHUT_WRITE, &ignored);
        }
    while (rc == 0 && l->channels[0].conn)
        rc = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
}

/* [RSM-14] With mutex: what is cut meanwhile comes back, for so long. */
static void await_farewell(struct vms_native_link *l) {
    struct timespec until = link_after_ms(LINK_CLOSE_MS);
    int rc = 0;
    while (rc == 0 && link_wants_farewell(l) && l->end_place && !l->farewell_due && !l->failed)
        rc = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
}

void vms_native_link_close(struct vms_native_link *l) {
    struct vms_native_frame ack = {.header.type = VMS_NATIVE_ACK};
    struct vms_native_frame pong = {.header.type = VMS_NATIVE_PONG};
    pthread_mutex_lock(&l->mutex);
    bool source = l->config.role == VMS_ROLE_SOURCE;
    if (source && !l->over)
        await_farewell(l);
    bool polite = source && link_is_up(l) && !l->failed && !l->over;
    bool owes = l->pong_due || l->farewell_due; /* who is about to say it may come too late */
    pong.u.value = l->pong;
    l->pong_due = false;
    pthread_mutex_unlock(&l->mutex);
    if (polite && l->session.agreement.features & VMS_FEATURE_RESUME)
        link_control(l, &ack);
    if (polite && owes)
        link_control(l, &pong);
    pthread_mutex_lock(&l->mutex);
    l->closing = true;
    if (polite)
        shut_and_wait(l, l->channel_count, LINK_CLOSE_MS);
    if (!l->failed && !l->over)
        (void)vms_session_event(&l->session, VMS_SES_EV_CLOSE);
    l->over = !l->failed;
    link_drop_conns(l);
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
}

static void send_abort(struct vms_native_link *l, const struct vms_error *why) {
    struct vms_error err;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ABORT};
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    f.u.abort = (struct vms_native_abort){
        .code = vms_str(vms_code_name(why->code)),
        .clause = vms_str(why->clause ? why->clause : ""),
        .message = vms_str(why->message),
    };
    struct link_frame *frame = link_frame_new(VMS_NATIVE_ABORT, &f, NULL, 0, false, &err);
    if (!frame)
        return;
    if (pthread_mutex_timedlock(&l->channels[0].write, &until) != 0) {
        free(frame); /* the connection is full: the peer will see it go */
        return;
    }
    pthread_mutex_lock(&l->mutex);
    link_append(l, 0, frame);
    if (l->channels[0].conn)
        vms_channel_set_timeouts(l->channels[0].conn->io, 1000, 1000);
    pthread_mutex_unlock(&l->mutex);
    link_pump(l, 0, false);
    pthread_mutex_unlock(&l->channels[0].write);
}

void vms_native_link_abort(struct vms_native_link *l, const struct vms_error *why) {
    pthread_mutex_lock(&l->mutex);
    bool first = !l->failed && !l->over && !l->aborting;
    bool tell = first && link_is_up(l);
    l->aborting |= first;
    pthread_mutex_unlock(&l->mutex);
    if (tell)
        send_abort(l, why);
    pthread_mutex_lock(&l->mutex);
    if (tell) /* the other channels stay: their end would be a cut, and ABORT be lost in it */
        shut_and_wait(l, 1, LINK_CLOSE_MS);
    link_fail_locked(l, why);
    pthread_mutex_unlock(&l->mutex);
}

/* ---- the end ---- */

static void stop_threads(struct vms_native_link *l) {
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    link_drop_conns(l);
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    if (l->cancel)
        vms_cancel_raise(l->cancel);
    if (l->keeper_runs)
        (void)pthread_join(l->keeper, NULL);
    if (l->ticker_runs)
        (void)pthread_join(l->ticker, NULL);
    if (l->channels)
        link_join_replays(l);
}

static void free_channel(struct vms_native_link *l, struct link_channel *ch) {
    while (ch->head) {
        struct link_frame *next = ch->head->next;
        free(ch->head);
        ch->head = next;
    }
    link_conn_put(l, ch->reading);
    link_conn_put(l, ch->conn);
    link_rooms_free(&ch->out);
    pthread_mutex_destroy(&ch->write);
}

void vms_native_link_free(struct vms_native_link *l) {
    if (!l)
        return;
    uint32_t count = l->channels ? l->channel_count : 0;
    if (!l->channels)
        l->channel_count = 0;
    stop_threads(l);
    link_bury(l);
    for (uint32_t i = 0; i < count; i++)
        free_channel(l, &l->channels[i]);
    link_bury(l);
    vms_cancel_free(l->cancel);
    vms_backend_free(l->backend);
    if (l->config.first)
        (void)vms_channel_close(l->config.first, NULL);
    if (l->psk_text)
        vms_wipe(l->psk_text, l->config.psk.len);
    free(l->psk_text);
    free(l->machine);
    free(l->devices);
    free(l->channels);
    free(l->accounts);
    pthread_mutex_destroy(&l->attaching);
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->changed);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->lost);
    vms_wipe(l, sizeof *l);
    free(l);
}
