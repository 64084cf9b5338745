/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdlib.h>

/* [DST-18] [REC-1] A cut while the guest runs here, and the connection that comes after it. */

static bool is_current(const struct dst_channel *c) {
    return c->classified && c->kind != VMS_QEVM_MULTIFD && c->generation == c->session->generation;
}

/* Those that have said nothing yet may be of the recovery: they stay. Lock held. */
static void drop_connection(struct dst_session *s) {
    struct vms_error ignored;
    for (size_t i = 0; i < s->channel_count; i++)
        if (is_current(s->channels[i]))
            (void)vms_channel_shutdown(s->channels[i]->io, VMS_SHUT_BOTH, &ignored);
    dst_reply_to(s, NULL);
}

/* Lock held. */
static bool has_everything(const struct dst_session *s) {
    return s->engine.state == DST_FILLING && dst_postcopy_missing(s->postcopy) == 0;
}

/* Lock held. False: this changes nothing any more. */
static bool pause_session(struct dst_channel *c, const struct vms_error *err) {
    struct dst_session *s = c->session;
    struct vms_error ignored;
    unsigned actions;
    if (s->broken || !is_current(c) || has_everything(s))
        return false;
    (void)dst_engine_event(&s->engine, DST_EV_CUT, &actions, &ignored);
    dst_keep_time(s);
    s->broken = true;
    s->cut = *err;
    s->recover_by = vms_deadline_in(s->options->recover_ms);
    s->stats.cuts++;
    drop_connection(s);
    pthread_cond_broadcast(&s->changed);
    return true;
}

void dst_broken(struct dst_channel *c, const struct vms_error *err) {
    struct dst_session *s = c->session;
    pthread_mutex_lock(&s->lock);
    bool fails =
        !dst_engine_runs(s->engine.state) || c->fatal || vms_listener_is_single(s->listener);
    bool paused = !s->over && !fails && pause_session(c, err);
    pthread_mutex_unlock(&s->lock);
    if (fails)
        (void)dst_session_fail(s, err);
    if (!paused)
        return;
    vms_timeline_event(s->timeline, (uint64_t)dst_now_ms() * 1000000u, VMS_EVENT_CUT, VMS_NO_LANE,
                       0, vms_code_name(err->code));
    dst_say(s, "%s: %s; paused with %llu pages to come, waiting for a new connection",
            vms_code_name(err->code), err->message,
            (unsigned long long)dst_postcopy_missing(s->postcopy));
}

/* Lock held. */
static bool old_ones_ended(const struct dst_session *s) {
    for (size_t i = 0; i < s->channel_count; i++)
        if (is_current(s->channels[i]) && !s->channels[i]->ended)
            return false;
    return true;
}

/*
 * [DST-18] A source makes its preempt channel behind its main connection (PRE): what was accepted
 * before the recovery's is of one that was cut. Lock held.
 */
static void take_along(struct dst_channel *c) {
    struct dst_session *s = c->session;
    for (size_t i = 0; i < s->channel_count; i++)
        if (!s->channels[i]->classified && s->channels[i]->number > c->number)
            s->channels[i]->generation = s->generation;
}

/*
 * [REC-1] A source may be quicker than the news of the cut: its new connection waits until the old
 * one is known to be lost.
 */
bool dst_recover(struct dst_channel *c) {
    struct dst_session *s = c->session;
    struct vms_error ignored;
    unsigned actions;
    vms_deadline deadline = vms_deadline_in(s->options->timeout_ms);
    pthread_mutex_lock(&s->lock);
    while (!s->over && (!s->broken || !old_ones_ended(s)))
        if (!dst_wait(s, deadline))
            break;
    bool go = !s->over && s->broken && old_ones_ended(s) &&
              dst_engine_event(&s->engine, DST_EV_RECOVERY, &actions, &ignored) == VMS_OK;
    if (go) {
        dst_postcopy_pause(s->postcopy); /* before requests have a connection again */
        c->kind = VMS_QEVM_RECOVERY;
        c->generation = ++s->generation;
        take_along(c);
        c->classified = true;
        s->preempt = NULL;
        s->broken = false;
        s->stats.recoveries++;
        dst_keep_time(s);
        dst_reply_to(s, c);
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return go;
}

/* [REC-3] */
enum vms_code dst_answer_bitmap(struct dst_session *s, struct vms_slice name,
                                struct vms_error *err) {
    size_t block = vms_ram_image_find(s->image, name);
    if (block == SIZE_MAX)
        return vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "%.*s", (int)name.len,
                             (const char *)name.ptr);
    size_t len = dst_postcopy_bitmap_bytes(s->postcopy, block);
    uint8_t *bits = malloc(len);
    if (!bits)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a bitmap");
    dst_postcopy_bitmap(s->postcopy, block, bits);
    enum vms_code code = dst_reply_bitmap(s, s->memory[block].name, vms_slice(bits, len), err);
    free(bits);
    return code;
}

/* [REC-4] */
enum vms_code dst_answer_resume(struct dst_session *s, struct vms_error *err) {
    if (dst_reply(s, VMS_R_RP_RESUME_ACK, 1, err) != VMS_OK)
        return err->code;
    vms_timeline_event(s->timeline, (uint64_t)dst_now_ms() * 1000000u, VMS_EVENT_RESUMED,
                       VMS_NO_LANE, 0, NULL);
    dst_say(s, "recovered, %llu pages to come",
            (unsigned long long)dst_postcopy_missing(s->postcopy));
    dst_postcopy_resume(s->postcopy);
    return VMS_OK;
}

/* ---- channels that are gone ---- */

static bool is_past(const struct dst_channel *c) {
    const struct dst_session *s = c->session;
    return c->ended && c->kind != VMS_QEVM_MULTIFD && c != s->first && c != s->main &&
           (!c->classified || c->generation < s->generation);
}

/* Takes one out of the list. NULL: there is none. */
static struct dst_channel *take_past(struct dst_session *s) {
    struct dst_channel *c = NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->channel_count && !c; i++) {
        if (!is_past(s->channels[i]))
            continue;
        c = s->channels[i];
        s->channels[i] = s->channels[--s->channel_count];
        s->stats.past_bytes += vms_channel_bytes_in(c->io);
    }
    pthread_mutex_unlock(&s->lock);
    return c;
}

void dst_prune(struct dst_session *s) {
    for (struct dst_channel *c; (c = take_past(s)) != NULL;) {
        pthread_join(c->thread, NULL);
        dst_channel_free(c);
    }
}
