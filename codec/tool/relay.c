/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"
#include "tool/relay_tool.h"
#include "tool/text.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- what all sides use ---- */

bool relay_failed(struct relay *r) {
    pthread_mutex_lock(&r->mutex);
    bool failed = r->failed;
    pthread_mutex_unlock(&r->mutex);
    return failed;
}

void relay_wait(struct relay *r, int ms) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (ms % 1000) * 1000000L;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_mutex_lock(&r->mutex);
    (void)pthread_cond_timedwait(&r->changed, &r->mutex, &t);
    pthread_mutex_unlock(&r->mutex);
}

void relay_say(struct relay *r, const char *fmt, ...) {
    char text[500];
    va_list args;
    if (r->options.quiet)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(stderr, "%svmstream relay: %s\n", r->shown ? "\r\033[K" : "", text);
}

/* NAT-45: both ends' logs name the session. */
void relay_announce(struct relay *r) {
    char id[40];
    const struct vms_agreement *a = vms_native_link_agreement(r->link);
    (void)text_hex(id, sizeof id, vms_slice(vms_native_link_session_id(r->link), 16));
    relay_say(r, "session %s, %s%s", id, vms_suite_name(a->suite),
              a->features & VMS_FEATURE_RESUME ? ", can be resumed" : "");
}

static void on_note(void *ctx, const char *text) {
    relay_say(ctx, "%s", text);
}

static void hang_up(struct relay *r) {
    struct vms_error ignored;
    pthread_mutex_lock(&r->mutex);
    for (unsigned i = 0; i < RELAY_LANES; i++)
        for (int side = 0; side < 2; side++) {
            struct vms_channel *c = side ? r->lanes[i].onward : r->lanes[i].qemu;
            if (c)
                (void)vms_channel_shutdown(c, VMS_SHUT_BOTH, &ignored);
        }
    pthread_mutex_unlock(&r->mutex);
}

/* [RLY-10] The first reason counts: it goes to the other relay, and both QEMUs are hung up on. */
void relay_fail(struct relay *r, const struct vms_error *why) {
    pthread_mutex_lock(&r->mutex);
    bool first = !r->failed;
    if (first)
        r->error = *why;
    r->failed = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    if (!first)
        return;
    fprintf(stderr, "%svmstream relay: %s%s%s%s\n", r->shown ? "\r\033[K" : "", why->message,
            why->clause && *why->clause ? " (" : "", why->clause ? why->clause : "",
            why->clause && *why->clause ? ")" : "");
    hang_up(r);
    vms_listener_shutdown(r->listener);
    if (r->link)
        vms_native_link_abort(r->link, why);
    hang_up(r);
}

/* ---- setting up ---- */

static int load_creds(struct relay *r, enum vms_tls_role role, struct vms_tls_creds **out) {
    struct vms_tls_config config = {.dir = r->options.tls_creds};
    struct vms_error err;
    if (!config.dir)
        config.psk = r->options.psk;
    if (!config.dir && !config.psk)
        return tool_usage("relay: tls: wants --tls-creds DIR or --psk FILE");
    if (!config.dir)
        config.identity = r->options.identity;
    if (vms_tls_creds_load(&config, role, out, &err) != VMS_OK)
        return tool_local("relay: %s", err.message);
    return TOOL_DONE;
}

static int read_uris(struct relay *r) {
    struct vms_error err;
    if (vms_uri_parse(r->options.listen, &r->listen_uri, &err) != VMS_OK ||
        vms_uri_parse(r->options.connect, &r->connect_uri, &err) != VMS_OK)
        return tool_usage("relay: %s", err.message);
    int status = TOOL_DONE;
    if (r->listen_uri.tls)
        status = load_creds(r, VMS_TLS_SERVER, &r->server_creds);
    if (status == TOOL_DONE && r->connect_uri.tls)
        status = load_creds(r, VMS_TLS_CLIENT, &r->client_creds);
    if (status == TOOL_DONE && r->options.psk)
        status = psk_text_read(&r->psk, r->options.psk, &r->options.limits);
    return status;
}

static bool native_is_tls(const struct relay *r) {
    return r->options.connect_wire == RELAY_NATIVE ? r->connect_uri.tls : r->listen_uri.tls;
}

static int listen_on(struct relay *r) {
    struct vms_error err;
    struct vms_channel_options o = vms_channel_options_default();
    o.tls = r->server_creds;
    o.cancel = r->cancel;
    o.open_timeout_ms = RELAY_OPEN_MS;
    o.defer_handshake = true;
    if (vms_listener_open(&r->listen_uri, &o, &r->listener, &err) != VMS_OK)
        return tool_local("relay: %s", err.message);
    relay_say(r, "listening on %s", vms_listener_name(r->listener));
    return TOOL_DONE;
}

/* RLY-11: without a key file the secret is TLS's, unless no seal is wanted. */
static int make_link(struct relay *r) {
    const struct relay_options *o = &r->options;
    struct vms_native_link_config c = vms_native_link_config_default();
    struct vms_channel_options io = vms_channel_options_default();
    struct vms_error err;
    bool plain = o->has_suite && o->suite == VMS_SUITE_NONE;
    io.tls = r->client_creds;
    c.role = o->connect_wire == RELAY_NATIVE ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION;
    c.uri = &r->connect_uri;
    c.options = &io;
    c.listener = r->listener;
    c.suites = o->has_suite ? &o->suite : NULL;
    c.suite_count = 1;
    c.psk = plain ? vms_slice(NULL, 0) : r->psk.text;
    c.identity = o->identity ? vms_str(o->identity) : vms_slice(NULL, 0);
    c.exporter = !plain && !c.psk.len && native_is_tls(r);
    c.limits = o->limits;
    if (c.limits.native_bulk_bytes > 1 << 20)
        c.limits.native_bulk_bytes = 1 << 20;
    c.features = VMS_FEATURE_ZSTD;
    c.keepalive_ms = (uint32_t)o->keepalive_ms;
    c.resume_ms = o->resume_ms;
    c.open_ms = o->wait_ms;
    c.attached = relay_attached;
    c.note = on_note;
    c.ctx = r;
    if (!c.psk.len && !c.exporter && !native_is_tls(r))
        relay_say(r, "the link is neither sealed nor encrypted");
    r->link = vms_native_link_new(&c, &err);
    return r->link ? TOOL_DONE : tool_local("relay: %s", err.message);
}

/* ---- signals ---- */

static struct vms_cancel *interrupt; /* for the handler */

static void on_signal(int number) {
    (void)number;
    vms_cancel_raise(interrupt);
}

static void catch_signals(struct relay *r) {
    struct sigaction sa = {.sa_handler = on_signal};
    interrupt = r->interrupt;
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Draws the progress line, and watches for a signal. */
static void *watch(void *arg) {
    struct relay *r = arg;
    struct vms_error err = {.clause = ""};
    while (!r->watch_stop) {
        enum vms_wait w = vms_wait_fd(-1, 0, vms_deadline_in(200), r->interrupt, NULL);
        if (w == VMS_WAIT_CANCELLED) {
            (void)vms_error_set(&err, VMS_E_IO, "interrupted");
            relay_fail(r, &err);
            break;
        }
        relay_progress(r);
    }
    return NULL;
}

/* ---- the run ---- */

static int exit_status(struct relay *r) {
    if (!r->failed)
        return TOOL_DONE;
    bool local = r->error.class_ == VMS_CLASS_LOCAL || r->error.class_ == VMS_CLASS_INTERNAL;
    return local ? TOOL_LOCAL : TOOL_BAD;
}

static int run(struct relay *r) {
    pthread_t watcher;
    bool watching = pthread_create(&watcher, NULL, watch, r) == 0;
    if (r->options.listen_wire == RELAY_QEVM)
        relay_run_source(r);
    else
        relay_run_destination(r);
    r->watch_stop = true;
    if (watching)
        (void)pthread_join(watcher, NULL);
    relay_progress_end(r);
    int status = exit_status(r);
    return relay_write_report(r, status);
}

static void clean_up(struct relay *r) {
    struct vms_error ignored;
    vms_native_link_free(r->link);
    for (unsigned i = 0; i < RELAY_LANES; i++)
        for (int side = 0; side < 2; side++) {
            struct vms_channel *c = side ? r->lanes[i].onward : r->lanes[i].qemu;
            if (c)
                vms_channel_set_timeouts(c, 0, 1000);
            (void)vms_channel_close(c, &ignored);
        }
    vms_listener_close(r->listener);
    vms_tls_creds_free(r->server_creds);
    vms_tls_creds_free(r->client_creds);
    vms_cancel_free(r->cancel);
    vms_cancel_free(r->interrupt);
    psk_text_free(&r->psk);
    pthread_mutex_destroy(&r->mutex);
    pthread_mutex_destroy(&r->arrivals);
    pthread_mutex_destroy(&r->learn);
    pthread_cond_destroy(&r->changed);
}

static int set_up(struct relay *r) {
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_mutex_init(&r->arrivals, NULL);
    pthread_mutex_init(&r->learn, NULL);
    pthread_cond_init(&r->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    r->cancel = vms_cancel_new();
    r->interrupt = vms_cancel_new();
    if (!r->cancel || !r->interrupt)
        return tool_local("not enough memory");
    r->started_ms = relay_now_ms();
    int status = read_uris(r);
    r->qemu_options = vms_channel_options_default();
    r->qemu_options.tls = r->client_creds;
    r->qemu_options.cancel = r->cancel;
    r->qemu_options.open_timeout_ms = RELAY_OPEN_MS;
    if (status == TOOL_DONE)
        status = listen_on(r);
    bool link = r->options.listen_wire != r->options.connect_wire;
    return status == TOOL_DONE && link ? make_link(r) : status;
}

int tool_relay(int argc, char **argv) {
    bool help = false;
    struct relay_options options;
    int status = relay_options_read(argc, argv, &options, &help);
    if (help)
        relay_help();
    if (help || status != TOOL_DONE)
        return status;
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        return tool_local("not enough memory");
    r->options = options;
    status = set_up(r);
    if (status == TOOL_DONE) {
        catch_signals(r);
        status = run(r);
    }
    clean_up(r);
    free(r);
    return status;
}
