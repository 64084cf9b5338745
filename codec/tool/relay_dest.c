/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"

/* The destination's side: each channel of the session becomes a connection to QEMU. */

/* [RLY-3] The main connection is made first: QEMU 7.2 takes the first one for it. */
static enum vms_code wait_for_main(struct relay *r, struct vms_error *err) {
    pthread_mutex_lock(&r->mutex);
    while (!r->lanes[0].qemu && !r->failed && !r->done)
        pthread_cond_wait(&r->changed, &r->mutex);
    bool there = r->lanes[0].qemu != NULL && !r->failed;
    pthread_mutex_unlock(&r->mutex);
    return there ? VMS_OK : vms_error_set(err, VMS_E_PEER_CLOSED, "no main channel came");
}

static enum vms_code connect_qemu(struct relay_lane *lane, struct vms_error *err) {
    struct relay *r = lane->relay;
    struct vms_channel *c = NULL;
    if (lane->kind != VMS_QEVM_MAIN && wait_for_main(r, err) != VMS_OK)
        return err->code;
    if (vms_channel_connect(&r->connect_uri, &r->qemu_options, &c, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&r->mutex);
    lane->qemu = c;
    pthread_cond_broadcast(&r->changed);
    bool failed = r->failed;
    pthread_mutex_unlock(&r->mutex);
    return failed ? vms_error_set(err, VMS_E_PEER_CLOSED, NULL) : VMS_OK;
}

/* ---- the way back ---- */

/* RLY-7: return paths go one after the other in the main channel's other direction. */
static bool my_turn(struct relay_lane *lane) {
    struct relay *r = lane->relay;
    unsigned n = lane->channel ? lane->channel - RELAY_RECOVERY + 1u : 0;
    pthread_mutex_lock(&r->mutex);
    while (r->rp_ended < n && !r->failed && !r->done)
        pthread_cond_wait(&r->changed, &r->mutex);
    bool turn = r->rp_ended == n && !r->failed;
    pthread_mutex_unlock(&r->mutex);
    return turn;
}

static void *reverse_main(void *arg) {
    struct relay_lane *lane = arg;
    struct relay *r = lane->relay;
    struct vms_error err = {.clause = ""};
    if (!my_turn(lane))
        return NULL;
    enum vms_code code =
        relay_up(r, lane->qemu, 0, VMS_QEVM_RETURN_PATH, true, &lane->reverse_bytes, &err);
    if (code != VMS_OK)
        relay_fail(r, &err);
    pthread_mutex_lock(&r->mutex);
    r->rp_ended++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

/* ---- lanes ---- */

static bool has_return_path(const struct relay_lane *lane) {
    return lane->kind == VMS_QEVM_MAIN || lane->kind == VMS_QEVM_RECOVERY;
}

static enum vms_code first_octets(struct relay_lane *lane, struct vms_error *err) {
    if (lane->qemu)
        return VMS_OK;
    if (connect_qemu(lane, err) != VMS_OK)
        return err->code;
    if (has_return_path(lane))
        lane->reverse_runs = pthread_create(&lane->reverse, NULL, reverse_main, lane) == 0;
    return VMS_OK;
}

/* A channel's end passes on as the end of our direction. */
static void half_close(struct relay_lane *lane) {
    struct vms_error ignored;
    if (lane->qemu)
        (void)vms_channel_shutdown(lane->qemu, VMS_SHUT_WRITE, &ignored);
    pthread_mutex_lock(&lane->relay->mutex);
    lane->over = true;
    pthread_cond_broadcast(&lane->relay->changed);
    pthread_mutex_unlock(&lane->relay->mutex);
}

static enum vms_code run_lane(struct relay_lane *lane, struct relay_down *down,
                              struct vms_error *err) {
    struct relay *r = lane->relay;
    struct vms_native_link_event ev;
    bool last = false, main_channel = lane->channel == 0;
    /* The preempt channel's connection matters before anything is on it: 7.2 waits for it. */
    if (!main_channel && first_octets(lane, err) != VMS_OK)
        return err->code;
    while (main_channel || !last) {
        enum vms_code code = vms_native_link_receive(r->link, lane->channel, &ev, err);
        if (code != VMS_OK || !ev.frame)
            return code;
        code = first_octets(lane, err);
        if (code == VMS_OK)
            code = relay_down_frame(down, lane->qemu, &ev, &lane->bytes, &last, err);
        if (code != VMS_OK)
            return code;
        if (last)
            half_close(lane);
    }
    return VMS_OK;
}

static void *lane_main(void *arg) {
    struct relay_lane *lane = arg;
    struct relay *r = lane->relay;
    struct vms_error err = {.clause = ""};
    struct relay_down *down = relay_down_new(r, lane->channel, lane->kind);
    enum vms_code code =
        down ? run_lane(lane, down, &err) : vms_error_set(&err, VMS_E_NO_MEMORY, NULL);
    if (code != VMS_OK)
        relay_fail(r, &err);
    relay_down_free(down);
    return NULL;
}

static void start(struct relay *r, uint16_t channel, enum vms_qevm_kind kind) {
    struct relay_lane *lane = &r->lanes[channel];
    pthread_mutex_lock(&r->mutex);
    lane->relay = r;
    lane->channel = channel;
    lane->kind = kind;
    lane->open = true;
    r->recoveries += kind == VMS_QEVM_RECOVERY;
    lane->runs = pthread_create(&lane->thread, NULL, lane_main, lane) == 0;
    pthread_mutex_unlock(&r->mutex);
}

/* From the link's thread. */
void relay_attached(void *ctx, uint16_t channel, uint32_t kind) {
    struct relay *r = ctx;
    struct vms_error err = {.clause = ""};
    bool fits = kind > VMS_QEVM_MAIN + 1 && kind <= VMS_QEVM_PREEMPT + 1 && channel < RELAY_LANES &&
                (kind == VMS_QEVM_RECOVERY + 1) == (channel >= RELAY_RECOVERY);
    if (fits) {
        start(r, channel, (enum vms_qevm_kind)(kind - 1));
        return;
    }
    (void)vms_error_set(&err, VMS_E_NATIVE_VALUE, "channel %u of kind %u", channel, kind);
    relay_fail(r, &err);
}

/* ---- the run ---- */

/* [RLY-8] Both directions of every main connection must have ended when the session has. */
static void check_ends(struct relay *r) {
    struct vms_error err = {.clause = ""};
    pthread_mutex_lock(&r->mutex);
    bool over = r->lanes[0].over, back = r->rp_read == r->recoveries + 1;
    pthread_mutex_unlock(&r->mutex);
    if (!over)
        (void)vms_error_set(&err, VMS_E_SESSION_NO_END, NULL);
    else if (!back)
        (void)vms_error_set(&err, VMS_E_PEER_CLOSED,
                            "the source's relay went before QEMU's return path ended (RLY-8)");
    if (!over || !back)
        relay_fail(r, &err);
}

void relay_run_destination(struct relay *r) {
    struct vms_error err = {.clause = ""};
    if (vms_native_link_open(r->link, &err) != VMS_OK) {
        relay_fail(r, &err);
        return;
    }
    pthread_mutex_lock(&r->mutex);
    r->linked = true;
    pthread_mutex_unlock(&r->mutex);
    relay_announce(r);
    start(r, 0, VMS_QEVM_MAIN);
    /* The main lane ends with the session. */
    (void)pthread_join(r->lanes[0].thread, NULL);
    r->lanes[0].runs = false;
    if (!relay_failed(r))
        check_ends(r);
    pthread_mutex_lock(&r->mutex);
    r->done = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    for (unsigned i = 0; i < RELAY_LANES; i++) {
        if (r->lanes[i].runs)
            (void)pthread_join(r->lanes[i].thread, NULL);
        if (r->lanes[i].reverse_runs)
            (void)pthread_join(r->lanes[i].reverse, NULL);
    }
}
