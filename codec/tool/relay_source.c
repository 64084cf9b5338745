/* SPDX-License-Identifier: MIT */
#include "host/wait.h"
#include "tool/relay.h"
#include <poll.h>
#include <stdlib.h>

/* The source's side: QEMU's connections come in, each becomes a channel of the session. */

/* ---- which kind a connection is ---- */

static bool main_is_there(struct relay *r) {
    pthread_mutex_lock(&r->mutex);
    bool there = r->lanes[0].open;
    pthread_mutex_unlock(&r->mutex);
    return there;
}

/* RLY-5: without magic it is the recovery of a main channel that is over, or the preempt channel.
 */
static enum vms_qevm_kind without_magic(struct relay *r) {
    pthread_mutex_lock(&r->mutex);
    bool lost = r->lanes[0].over;
    for (unsigned i = 0; i < r->recoveries; i++)
        lost = r->lanes[RELAY_RECOVERY + i].over;
    pthread_mutex_unlock(&r->mutex);
    return lost ? VMS_QEVM_RECOVERY : VMS_QEVM_PREEMPT;
}

/* 7.2 opens its preempt channel at the start and says nothing on it before postcopy. */
static enum vms_code sniff(struct relay *r, struct vms_channel *c, enum vms_qevm_kind *kind,
                           bool *known, struct vms_error *err) {
    uint8_t magic[4];
    size_t n = 0;
    int64_t begin = relay_now_ms();
    for (;;) {
        vms_channel_set_timeouts(c, RELAY_SILENT_MS / 5, -1);
        enum vms_code code = vms_channel_peek(c, (struct vms_room){magic, sizeof magic}, &n, err);
        bool late = relay_now_ms() - begin >= RELAY_SILENT_MS || atomic_load(&r->listen_coming);
        bool silent = code == VMS_E_TIMEOUT && late;
        if (code != VMS_OK && code != VMS_E_TIMEOUT)
            return code;
        if (code == VMS_OK || (silent && main_is_there(r)) || relay_failed(r))
            break;
    }
    vms_channel_set_timeouts(c, -1, -1);
    if (n == 0 && !main_is_there(r))
        return vms_error_set(err, VMS_E_PEER_CLOSED, "nothing was sent");
    *kind = n == sizeof magic ? vms_qevm_sniff(vms_slice(magic, n), without_magic(r))
                              : VMS_QEVM_PREEMPT;
    *known = *kind == VMS_QEVM_MAIN || *kind == VMS_QEVM_MULTIFD;
    return VMS_OK;
}

/* ---- lanes ---- */

static struct relay_lane *free_lane(struct relay *r, unsigned first, unsigned last) {
    for (unsigned i = first; i <= last; i++)
        if (!r->lanes[i].open)
            return &r->lanes[i];
    return NULL;
}

/* TRC-19. A main channel comes once. */
static struct relay_lane *claim(struct relay *r, enum vms_qevm_kind kind, struct vms_channel *c) {
    struct relay_lane *lane = NULL;
    pthread_mutex_lock(&r->mutex);
    if (kind == VMS_QEVM_MAIN)
        lane = free_lane(r, 0, 0);
    else if (kind == VMS_QEVM_MULTIFD)
        lane = free_lane(r, 1, RELAY_MULTIFD_MAX);
    else if (kind == VMS_QEVM_RECOVERY)
        lane = free_lane(r, RELAY_RECOVERY, RELAY_LANES - 1);
    else if (r->lanes[RELAY_PREEMPT].open)
        lane = free_lane(r, RELAY_MULTIFD_MAX + 1, RELAY_PREEMPT - 2);
    else
        lane = &r->lanes[RELAY_PREEMPT];
    if (lane) {
        lane->relay = r;
        lane->channel = (uint16_t)(lane - r->lanes);
        lane->kind = kind;
        lane->qemu = c;
        lane->open = true;
        r->recoveries += kind == VMS_QEVM_RECOVERY;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->mutex);
    return lane;
}

static void lane_over(struct relay_lane *lane) {
    struct relay *r = lane->relay;
    pthread_mutex_lock(&r->mutex);
    lane->over = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

struct arrival {
    struct relay *relay;
    struct vms_channel *channel;
};

void relay_arrived(struct relay *r) {
    pthread_mutex_lock(&r->mutex);
    r->arriving--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

static void drop(struct relay *r, struct vms_channel *c, const struct vms_error *err) {
    struct vms_error ignored;
    if (!relay_failed(r))
        relay_say(r, "%.100s: %s", vms_channel_name(c), err->message);
    (void)vms_channel_close(c, &ignored);
    relay_arrived(r);
}

/* [RLY-15] A frame that says nothing: once it is acknowledged, relay B has connected to QEMU. */
static enum vms_code announce(struct relay *r, uint16_t channel, struct vms_error *err) {
    struct vms_native_out out = {.bulk_count = 0};
    out.frame.header.type = VMS_NATIVE_OPAQUE;
    return vms_native_link_send(r->link, channel, &out, err);
}

static enum vms_code attach(struct relay *r, const struct relay_lane *lane, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (lane->channel)
        code = vms_native_link_attach(r->link, lane->channel, (uint32_t)lane->kind + 1, err);
    if (code == VMS_OK && lane->kind == VMS_QEVM_PREEMPT)
        code = announce(r, lane->channel, err);
    relay_arrived(r);
    return code;
}

static void *lane_main(void *arg) {
    struct arrival a = *(struct arrival *)arg;
    struct relay *r = a.relay;
    struct vms_error err = {.clause = ""};
    enum vms_qevm_kind kind = VMS_QEVM_MAIN;
    bool known = false;
    free(arg);
    enum vms_code code = vms_channel_handshake(a.channel, &err);
    if (code == VMS_OK)
        code = sniff(r, a.channel, &kind, &known, &err);
    struct relay_lane *lane = code == VMS_OK ? claim(r, kind, a.channel) : NULL;
    if (!lane) {
        if (code == VMS_OK)
            (void)vms_error_set(&err, VMS_E_LIMIT, "a connection more than there may be");
        drop(r, a.channel, &err);
        return NULL;
    }
    if (!r->link)
        code = relay_pass_lane(lane, known, &err);
    else
        code = attach(r, lane, &err);
    if (code == VMS_OK && r->link)
        code = relay_up(r, lane->qemu, lane->channel, kind, known, &lane->bytes, &err);
    if (code != VMS_OK)
        relay_fail(r, &err);
    lane_over(lane);
    return NULL;
}

/* ---- the way back ---- */

/* Return path n goes to the n-th main connection: recoveries have one each (RLY-7). */
static struct relay_lane *target(struct relay *r) {
    unsigned n = r->rp_ended;
    struct relay_lane *lane = n ? &r->lanes[RELAY_RECOVERY + n - 1] : &r->lanes[0];
    if (n > RELAY_LANES - RELAY_RECOVERY)
        return NULL;
    pthread_mutex_lock(&r->mutex);
    while (!lane->open && !r->failed && !r->done)
        pthread_cond_wait(&r->changed, &r->mutex);
    bool open = lane->open && !r->failed;
    pthread_mutex_unlock(&r->mutex);
    return open ? lane : NULL;
}

static void rp_over(struct relay *r, struct relay_lane *lane) {
    struct vms_error ignored;
    (void)vms_channel_shutdown(lane->qemu, VMS_SHUT_WRITE, &ignored);
    pthread_mutex_lock(&r->mutex);
    r->rp_ended++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
}

/* QEMU may be gone for what is left to say: then its other direction tells. */
static enum vms_code rp_frame(struct relay *r, struct relay_down **down,
                              const struct vms_native_link_event *ev, struct vms_error *err) {
    bool last = false;
    struct relay_lane *lane = target(r);
    if (!lane)
        return VMS_OK;
    if (!*down)
        *down = relay_down_new(r, lane->channel, VMS_QEVM_RETURN_PATH);
    if (!*down)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = relay_down_frame(*down, lane->qemu, ev, &lane->reverse_bytes, &last, err);
    if (code == VMS_E_PEER_CLOSED)
        code = VMS_OK;
    if (last) {
        relay_down_free(*down);
        *down = NULL;
        rp_over(r, lane);
    }
    return code;
}

static void *rp_main(void *arg) {
    struct relay *r = arg;
    struct relay_down *down = NULL;
    struct vms_native_link_event ev;
    struct vms_error err = {.clause = ""};
    for (;;) {
        enum vms_code code = vms_native_link_receive(r->link, 0, &ev, &err);
        if (code == VMS_OK && ev.frame)
            code = rp_frame(r, &down, &ev, &err);
        if (code != VMS_OK)
            relay_fail(r, &err);
        if (code != VMS_OK || !ev.frame)
            break;
    }
    relay_down_free(down);
    return NULL;
}

/* ---- the run ---- */

static bool open_link(struct relay *r) {
    struct vms_error err = {.clause = ""};
    enum vms_code code = vms_native_link_open(r->link, &err);
    pthread_mutex_lock(&r->mutex);
    r->linked = code == VMS_OK;
    pthread_mutex_unlock(&r->mutex);
    if (code == VMS_OK)
        relay_announce(r);
    else
        relay_fail(r, &err);
    return code == VMS_OK;
}

/* Whether all connections are over, and no recovery is to come. */
static bool all_over(struct relay *r) {
    bool any = false;
    pthread_mutex_lock(&r->mutex);
    for (unsigned i = 0; i < RELAY_LANES; i++) {
        any |= r->lanes[i].open && !r->lanes[i].over;
    }
    bool over = r->lanes[0].over && !any;
    pthread_mutex_unlock(&r->mutex);
    if (over && atomic_load(&r->postcopy) && !atomic_load(&r->shut_seen))
        return false; /* paused */
    return over;
}

/* Accepting and counting are one step: who finds nothing there knows that all are counted. */
static enum vms_code take_arrival(struct relay *r, int timeout_ms, struct vms_channel **c,
                                  struct vms_error *err) {
    int fd = vms_listener_fd(r->listener);
    if (fd >= 0 && timeout_ms)
        (void)vms_wait_fd(fd, POLLIN, vms_deadline_in(timeout_ms), r->cancel, NULL);
    pthread_mutex_lock(&r->arrivals);
    enum vms_code code = vms_listener_accept(r->listener, 0, c, err);
    pthread_mutex_lock(&r->mutex);
    r->arriving += code == VMS_OK;
    pthread_mutex_unlock(&r->mutex);
    pthread_mutex_unlock(&r->arrivals);
    return code;
}

static bool start_thread(struct relay *r, struct arrival *a) {
    pthread_mutex_lock(&r->arrivals);
    bool started = r->started < RELAY_LANES &&
                   pthread_create(&r->starting[r->started], NULL, lane_main, a) == 0;
    r->started += started;
    pthread_mutex_unlock(&r->arrivals);
    return started;
}

static void start_lane(struct relay *r, struct vms_channel *c) {
    struct arrival *a = malloc(sizeof *a);
    struct vms_error err = {.clause = ""};
    if (a)
        *a = (struct arrival){r, c};
    if (a && !relay_failed(r) && start_thread(r, a))
        return;
    free(a);
    (void)vms_error_set(&err, VMS_E_LIMIT, "too many connections");
    drop(r, c, &err); /* says nothing when the relay has failed */
}

/*
 * QEMU has made its preempt channel before it says LISTEN: it waits to be accepted, or is, and may
 * be silent. Nothing here waits for ever: a handshake has RELAY_OPEN_MS, silence ends now, joining
 * and the acknowledgement end with the session at the latest, which the user's times bound.
 */
enum vms_code relay_hold_listen(struct relay *r, struct vms_error *err) {
    struct vms_channel *c = NULL;
    atomic_store(&r->listen_coming, true);
    while (!vms_listener_is_single(r->listener) && take_arrival(r, 0, &c, err) == VMS_OK)
        start_lane(r, c);
    pthread_mutex_lock(&r->mutex);
    while (r->arriving && !r->failed)
        pthread_cond_wait(&r->changed, &r->mutex);
    bool preempt = r->link && r->lanes[RELAY_PREEMPT].open && !r->failed;
    pthread_mutex_unlock(&r->mutex);
    *err = (struct vms_error){.clause = ""};
    return preempt ? vms_native_link_acknowledged(r->link, RELAY_PREEMPT, err) : VMS_OK;
}

/* A paused postcopy is waited for as long as a cut link is. */
static void check_pause(struct relay *r, int64_t *paused_at) {
    struct vms_error err = {.clause = ""};
    bool paused;
    pthread_mutex_lock(&r->mutex);
    paused = r->lanes[0].over && !atomic_load(&r->shut_seen) && atomic_load(&r->postcopy);
    for (unsigned i = 0; i < r->recoveries; i++)
        paused &= r->lanes[RELAY_RECOVERY + i].over;
    pthread_mutex_unlock(&r->mutex);
    if (!paused)
        *paused_at = 0;
    else if (!*paused_at)
        *paused_at = relay_now_ms();
    else if (relay_now_ms() - *paused_at > r->options.resume_ms) {
        (void)vms_error_set(&err, VMS_E_TIMEOUT, "postcopy has broken off, and no recovery came");
        relay_fail(r, &err);
    }
}

static void accept_lanes(struct relay *r, pthread_t *rp, bool *rp_runs) {
    int64_t paused_at = 0;
    int64_t begin = relay_now_ms();
    struct vms_error err = {.clause = ""};
    bool single = vms_listener_is_single(r->listener);
    while (!relay_failed(r) && !all_over(r)) {
        struct vms_channel *c = NULL;
        enum vms_code code = VMS_E_TIMEOUT;
        if (single && r->started)
            relay_wait(r, 200);
        else
            code = take_arrival(r, 200, &c, &err);
        check_pause(r, &paused_at);
        if (code == VMS_OK && r->link && !r->linked && open_link(r))
            *rp_runs = pthread_create(rp, NULL, rp_main, r) == 0;
        if (code == VMS_OK)
            start_lane(r, c);
        else if (code == VMS_E_IO || code == VMS_E_CONNECT)
            relay_fail(r, &err);
        if (!r->started && r->options.wait_ms >= 0 && relay_now_ms() - begin > r->options.wait_ms)
            relay_fail(r, &err);
    }
}

/* RLY-8: END says that all octets were passed on; then the return path ends, then all is over. */
static void finish(struct relay *r) {
    struct vms_error err = {.clause = ""};
    if (vms_native_link_end(r->link, &err) != VMS_OK) {
        relay_fail(r, &err);
        return;
    }
    pthread_mutex_lock(&r->mutex);
    while (!r->failed && r->rp_ended <= r->recoveries)
        pthread_cond_wait(&r->changed, &r->mutex);
    r->done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    vms_native_link_close(r->link);
}

void relay_run_source(struct relay *r) {
    pthread_t rp;
    bool rp_runs = false;
    accept_lanes(r, &rp, &rp_runs);
    vms_listener_shutdown(r->listener);
    if (!relay_failed(r) && r->link)
        finish(r);
    for (unsigned i = 0; i < r->started; i++)
        (void)pthread_join(r->starting[i], NULL);
    if (rp_runs)
        (void)pthread_join(rp, NULL);
}
