/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- small things ---- */

int64_t link_now_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t link_now_ms(void) {
    return link_now_us() / 1000;
}

struct timespec link_after_ms(int ms) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (ms % 1000) * 1000000L;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* With mutex: whether there is news, and which. Every cut is told, and before it that the link had
 * come back from the last one. */
static bool next_news(struct vms_native_link *l, bool *up) {
    if (l->failed || l->over)
        return false;
    bool cut = l->told_cuts < l->cuts;
    *up = l->told_down;
    if (cut && !l->told_down)
        l->told_cuts++;
    return cut || (l->told_down && link_is_up(l));
}

void link_tell(struct vms_native_link *l) {
    bool up;
    pthread_mutex_lock(&l->mutex);
    while (l->telling && l->config.role == VMS_ROLE_DESTINATION)
        pthread_cond_wait(&l->changed, &l->mutex);
    while (!l->telling && next_news(l, &up)) {
        struct vms_error why = l->cut;
        l->told_down = !up;
        l->telling = true;
        pthread_mutex_unlock(&l->mutex);
        if (l->config.changed)
            l->config.changed(l->config.ctx, up, up ? NULL : &why);
        pthread_mutex_lock(&l->mutex);
        l->telling = false;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->mutex);
}

void link_note(struct vms_native_link *l, const char *fmt, ...) {
    char text[400];
    va_list args;
    if (!l->config.note)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    l->config.note(l->config.ctx, text);
}

bool link_is_up(const struct vms_native_link *l) {
    return l->session.state == VMS_SES_OPEN || l->session.state == VMS_SES_ENDED;
}

bool link_is_lost(const struct vms_native_link *l) {
    return l->session.state == VMS_SES_LOST || l->session.state == VMS_SES_LOST_ENDED;
}

bool link_failed(const struct vms_native_link *l) {
    return l->failed;
}

/* ---- cuts and failures ---- */

/* Who reads or writes there wakes up; the last of them frees it. */
void link_drop_conns(struct vms_native_link *l) {
    struct vms_error ignored;
    for (uint32_t i = 0; i < l->channel_count; i++) {
        struct link_conn *c = l->channels[i].conn;
        if (!c)
            continue;
        vms_channel_set_timeouts(c->io, 0, 1000);
        (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored);
        l->channels[i].conn = NULL;
        c->next_dead = l->dead;
        l->dead = c; /* with its reference: freed by link_bury() */
    }
    pthread_cond_broadcast(&l->changed);
    pthread_cond_broadcast(&l->lost);
}

/* Frees what link_drop_conns() has left. */
void link_bury(struct vms_native_link *l) {
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = l->dead;
    l->dead = NULL;
    pthread_mutex_unlock(&l->mutex);
    while (c) {
        struct link_conn *next = c->next_dead;
        link_conn_put(l, c);
        c = next;
    }
}

void link_fail_locked(struct vms_native_link *l, const struct vms_error *why) {
    if (l->failed || l->over)
        return;
    l->failed = true;
    l->error = *why;
    (void)vms_session_event(&l->session, VMS_SES_EV_GIVE_UP);
    link_drop_conns(l);
    pthread_cond_broadcast(&l->work);
}

void link_fail(struct vms_native_link *l, const struct vms_error *why) {
    pthread_mutex_lock(&l->mutex);
    link_fail_locked(l, why);
    pthread_mutex_unlock(&l->mutex);
}

/*
 * In a hand-over only the answer counts, and one that repeats what was acknowledged tells nothing:
 * a source that knows it goes.
 */
static bool matters(const struct vms_native_link *l, const struct link_frame *f) {
    return l->config.handover ? link_is_answer(f) && !link_was_told(l, f)
                              : f->type >= VMS_NATIVE_START;
}

/* One whose ACK came before its sender took note that it was sent counts as acknowledged. */
static bool ours_unacknowledged(const struct vms_native_link *l) {
    bool resumes = l->session.agreement.features & VMS_FEATURE_RESUME;
    for (uint32_t i = 0; i < l->channel_count; i++) {
        uint64_t sequence = l->channels[i].head_sequence;
        for (const struct link_frame *f = l->channels[i].head; f; f = f->next, sequence++)
            if (matters(l, f) && (resumes ? sequence >= l->accounts[i].out_acked : !f->sent))
                return true;
    }
    return false;
}

/* The destination has all that the source had to send. */
static bool has_all(const struct vms_native_link *l) {
    return l->config.role == VMS_ROLE_DESTINATION && l->session.state == VMS_SES_ENDED &&
           vms_session_end_status(&l->session) == VMS_END_COMPLETE;
}

bool link_wants_farewell(const struct vms_native_link *l) {
    return l->config.handover && l->session.agreement.features & VMS_FEATURE_RESUME;
}

/*
 * The destination's good end: all has come, all of ours has arrived, and the source has gone; but
 * nobody goes in the middle of a frame.
 */
static bool is_goodbye(const struct vms_native_link *l, bool torn) {
    return l->closing ||
           (!torn && (l->settled || !l->config.handover) && has_all(l) && !ours_unacknowledged(l) &&
            (l->farewell_heard || !link_wants_farewell(l)));
}

static void say_goodbye(struct vms_native_link *l) {
    (void)vms_session_event(&l->session, VMS_SES_EV_CLOSE);
    l->over = true;
    link_drop_conns(l);
    pthread_cond_broadcast(&l->work);
}

/* True: the session was up until now. */
static bool lose(struct vms_native_link *l, const struct vms_error *why) {
    bool was_up = link_is_up(l);
    if (was_up) {
        (void)vms_session_event(&l->session, VMS_SES_EV_CUT);
        l->lost_at = link_now_ms();
        l->cut = *why;
        l->cuts++;
    }
    link_drop_conns(l);
    if (!(l->session.agreement.features & VMS_FEATURE_RESUME))
        link_fail_locked(l, why); /* SES-3 */
    return was_up && !l->failed;
}

/*
 * [SES-23] With mutex. A peer that gives up closes everything, and says why on the main channel:
 * who finds another connection gone, or cannot write, first lets the main channel's reader hear
 * that.
 */
static void hear_main_out(struct vms_native_link *l, const struct link_conn *conn) {
    struct timespec until = link_after_ms(LINK_HEAR_MS);
    const struct link_channel *ch = &l->channels[conn->channel];
    int rc = 0;
    while (rc == 0 && ch->conn == conn && l->channels[0].conn && !l->closing && !l->aborting)
        rc = pthread_cond_timedwait(&l->changed, &l->mutex, &until);
}

void link_lost(struct vms_native_link *l, struct link_conn *conn, bool main_read,
               const struct vms_error *why) {
    bool tell = false;
    pthread_mutex_lock(&l->mutex);
    if (conn && !main_read)
        hear_main_out(l, conn);
    bool stale = l->failed || l->over || (conn && l->channels[conn->channel].conn != conn);
    if (!stale && l->aborting)
        link_drop_conns(l);
    else if (!stale && is_goodbye(l, main_read && conn && conn->torn))
        say_goodbye(l);
    else if (!stale)
        tell = lose(l, why);
    pthread_mutex_unlock(&l->mutex);
    if (tell) {
        link_note(l, "the link is cut: %s", why->message);
        link_tell(l);
    }
}

/* ---- the ticker: what the peer waits for ---- */

struct due {
    bool ack, pong, ping;
    uint64_t pong_value, ping_value;
};

static void check_patience(struct vms_native_link *l, int64_t now) {
    struct vms_error err = {.clause = ""};
    if (!link_is_lost(l) && l->session.state != VMS_SES_RESUMING &&
        l->session.state != VMS_SES_RESUMING_ENDED)
        return;
    if (now - l->lost_at <= l->config.resume_ms)
        return;
    (void)vms_error_set(&err, VMS_E_TIMEOUT, "no link for %d s, given up: %.120s",
                        l->config.resume_ms / 1000, l->cut.message);
    link_fail_locked(l, &err);
}

static struct due what_is_due(struct vms_native_link *l) {
    struct due d = {.ack = false};
    int64_t now = link_now_ms();
    check_patience(l, now);
    if (!link_is_up(l) || !l->channels[0].conn || l->failed || l->over)
        return d;
    d.ack = l->ack_now || (l->session.untold && now - l->ack_at >= LINK_TICK_MS);
    d.pong = l->pong_due;
    d.pong_value = l->pong;
    uint64_t wait;
    d.ping = now - l->ping_at >= LINK_PING_MS ||
             vms_session_alive(&l->session, (uint64_t)now, l->config.keepalive_ms, &wait) ==
                 VMS_ALIVE_PING;
    d.ping_value = (uint64_t)link_now_us();
    if (!l->farewell && link_wants_farewell(l) && has_all(l)) {
        d.ack = d.ping = true; /* in this order */
        l->farewell = d.ping_value;
    }
    l->ack_now = l->pong_due = false;
    l->ack_at = d.ack ? now : l->ack_at;
    l->ping_at = d.ping ? now : l->ping_at;
    return d;
}

static void do_due(struct vms_native_link *l, const struct due *d) {
    struct vms_native_frame f = {.unknown = false};
    f.header.type = VMS_NATIVE_ACK;
    if (d->ack)
        link_control(l, &f);
    f.header.type = VMS_NATIVE_PONG;
    f.u.value = d->pong_value;
    if (d->pong)
        link_control(l, &f);
    f.header.type = VMS_NATIVE_PING;
    f.u.value = d->ping_value;
    if (d->ping)
        link_control(l, &f);
}

static void wait_for_work(struct vms_native_link *l) {
    struct timespec t = link_after_ms(LINK_TICK_MS);
    if (!l->ack_now && !l->pong_due && !l->stop)
        (void)pthread_cond_timedwait(&l->work, &l->mutex, &t);
}

void *link_ticker(void *arg) {
    struct vms_native_link *l = arg;
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&l->mutex);
        wait_for_work(l);
        struct due d = what_is_due(l);
        stop = l->stop;
        pthread_mutex_unlock(&l->mutex);
        do_due(l, &d);
        link_bury(l);
    }
    return NULL;
}

/* ---- the keeper: connections ---- */

/* [RSM-12] At once, then after growing pauses. False: it is over. */
static bool pause_or_stop(struct vms_native_link *l, int pause_ms) {
    struct timespec t = link_after_ms(pause_ms);
    pthread_mutex_lock(&l->mutex);
    int rc = 0;
    while (rc == 0 && pause_ms && !l->stop && !l->failed && !l->over)
        rc = pthread_cond_timedwait(&l->lost, &l->mutex, &t);
    while (!l->stop && !l->failed && !l->over && !link_is_lost(l))
        pthread_cond_wait(&l->lost, &l->mutex);
    bool go_on = !l->stop && !l->failed && !l->over;
    pthread_mutex_unlock(&l->mutex);
    return go_on;
}

static void resumed(struct vms_native_link *l) {
    pthread_mutex_lock(&l->mutex);
    l->stats.resumes++;
    int64_t ms = link_now_ms() - l->lost_at;
    pthread_mutex_unlock(&l->mutex);
    atomic_fetch_add(&l->resumes, 1);
    link_note(l, "the link is back after %lld ms", (long long)ms);
    link_tell(l);
}

static void not_resumed(struct vms_native_link *l, const struct vms_error *why) {
    pthread_mutex_lock(&l->mutex);
    l->cut = *why;
    if (l->session.state == VMS_SES_FAILED || why->class_ == VMS_CLASS_INTERNAL)
        link_fail_locked(l, why);
    pthread_mutex_unlock(&l->mutex);
}

void *link_source_keeper(void *arg) {
    struct vms_native_link *l = arg;
    int pause = 0;
    while (pause_or_stop(l, pause)) {
        struct vms_error err = {.clause = ""};
        if (link_resume_source(l, &err) == VMS_OK) {
            resumed(l);
            pause = 0;
        } else {
            not_resumed(l, &err);
            pause = pause < 1000 ? pause * 2 + 20 : 2000;
        }
    }
    return NULL;
}

/* [SES-24] After a failure, too: a source that did not get our ABORT comes back and learns why. */
void *link_destination_keeper(void *arg) {
    struct vms_native_link *l = arg;
    bool go_on = true;
    while (go_on) {
        link_accept_one(l, LINK_TICK_MS);
        pthread_mutex_lock(&l->mutex);
        go_on = !l->stop && !l->over;
        pthread_mutex_unlock(&l->mutex);
    }
    return NULL;
}
