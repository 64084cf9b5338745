/* SPDX-License-Identifier: MIT */
#include "reference-src/control.h"

#include "host/listener.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    LINE_MAX_BYTES = 8192,
    AGAIN_MS = 100, /* after a client that could not be taken */
};

struct src_control {
    struct src_session *session;
    struct vms_listener *listener; /* NULL: none */
    struct vms_cancel *cancel;
    int signals;
    pthread_t orders, watcher;
    bool has_orders, has_watcher;
};

/* ---- lines ---- */

static enum vms_code answer(struct vms_channel *io, json_t *object, struct vms_error *err) {
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = vms_channel_write_all(io, vms_str(text), err);
    free(text);
    return code == VMS_OK ? vms_channel_write_all(io, vms_str("\n"), err) : code;
}

static enum vms_code take_line(struct src_control *c, struct vms_channel *io, const char *line,
                               struct vms_error *err) {
    json_t *order = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    json_t *object = src_session_order(c->session, order);
    json_decref(order);
    return answer(io, object, err);
}

/* One client, until it closes, or sends a line that is too long. */
static void serve(struct src_control *c, struct vms_channel *io) {
    char line[LINE_MAX_BYTES];
    struct vms_error err;
    size_t used = 0, n;
    while (used < sizeof line - 1 &&
           vms_channel_read(io, (struct vms_room){(uint8_t *)line + used, sizeof line - 1 - used},
                            &n, &err) == VMS_OK &&
           n > 0) {
        used += n;
        for (char *end; (end = memchr(line, '\n', used)) != NULL;) {
            *end = 0;
            if (take_line(c, io, line, &err) != VMS_OK)
                return;
            used -= (size_t)(end + 1 - line);
            memmove(line, end + 1, used);
        }
    }
}

/* One that fails is not the last: who is in doubt waits for an order, however long. */
static bool next_client(struct src_control *c, struct vms_channel **io) {
    struct vms_error err;
    while (vms_listener_accept(c->listener, -1, io, &err) != VMS_OK)
        if (vms_listener_is_single(c->listener) ||
            vms_wait_fd(-1, 0, vms_deadline_in(AGAIN_MS), c->cancel, NULL) != VMS_WAIT_TIMEOUT)
            return false;
    return true;
}

static void *orders_thread(void *ctx) {
    struct src_control *c = ctx;
    struct vms_channel *io;
    while (next_client(c, &io)) {
        serve(c, io);
        (void)vms_channel_close(io, NULL);
    }
    return NULL;
}

/* ---- signals ---- */

static void *watcher_thread(void *ctx) {
    struct src_control *c = ctx;
    struct signalfd_siginfo info;
    unsigned count = 0;
    while (vms_wait_fd(c->signals, POLLIN, VMS_NEVER, c->cancel, NULL) == VMS_WAIT_READY)
        if (read(c->signals, &info, sizeof info) == (ssize_t)sizeof info)
            (count++ ? src_session_quit : src_session_cancel)(c->session);
    return NULL;
}

/* ---- life ---- */

static sigset_t our_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void src_control_block_signals(void) {
    sigset_t set = our_signals();
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static enum vms_code listen_on(struct src_control *c, const char *text, struct vms_error *err) {
    struct vms_channel_options o = vms_channel_options_default();
    struct vms_uri uri;
    if (!text)
        return VMS_OK;
    o.cancel = c->cancel;
    enum vms_code code = vms_uri_parse(text, &uri, err);
    return code == VMS_OK ? vms_listener_open(&uri, &o, &c->listener, err) : code;
}

static enum vms_code start(struct src_control *c, const char *uri, struct vms_error *err) {
    sigset_t set = our_signals();
    c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    c->cancel = vms_cancel_new();
    if (c->signals < 0 || !c->cancel)
        return vms_error_set(err, VMS_E_NO_MEMORY, "signals");
    enum vms_code code = listen_on(c, uri, err);
    if (code != VMS_OK)
        return code;
    c->has_watcher = pthread_create(&c->watcher, NULL, watcher_thread, c) == 0;
    c->has_orders = c->listener && pthread_create(&c->orders, NULL, orders_thread, c) == 0;
    bool ok = c->has_watcher && (!c->listener || c->has_orders);
    return ok ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
}

struct src_control *src_control_start(struct src_session *session, const char *uri,
                                      struct vms_error *err) {
    struct src_control *c = calloc(1, sizeof *c);
    if (!c) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    c->session = session;
    c->signals = -1;
    if (start(c, uri, err) == VMS_OK)
        return c;
    src_control_stop(c);
    return NULL;
}

void src_control_stop(struct src_control *c) {
    if (!c)
        return;
    if (c->cancel)
        vms_cancel_raise(c->cancel);
    if (c->listener)
        vms_listener_shutdown(c->listener);
    if (c->has_orders)
        pthread_join(c->orders, NULL);
    if (c->has_watcher)
        pthread_join(c->watcher, NULL);
    vms_listener_close(c->listener);
    vms_cancel_free(c->cancel);
    if (c->signals >= 0)
        close(c->signals);
    free(c);
}
