/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdio.h>

/* Counters and gauges for display and report (REP). */

/* A lane to a connection: the number tells apart those that come again after a cut. */
static void name_of(const struct dst_channel *c, char *out, size_t size) {
    const char *kind = vms_qevm_kind_name(c->kind);
    if (c->number == 0)
        (void)snprintf(out, size, "%s", kind);
    else
        (void)snprintf(out, size, "%s %u", kind, c->kind == VMS_QEVM_MULTIFD ? c->id : c->number);
}

static void count_channel(struct dst_session *s, const struct dst_channel *c, uint64_t now_ns) {
    char name[VMS_TIMELINE_NAME];
    if (!c->classified)
        return;
    name_of(c, name, sizeof name);
    uint32_t lane = vms_timeline_lane(s->timeline, now_ns, VMS_LANE_CHANNEL, name);
    vms_timeline_count(s->timeline, lane,
                       &(struct vms_counters){.bytes = vms_channel_bytes_in(c->io),
                                              .bytes_back = vms_channel_bytes_out(c->io)});
}

enum {
    PREEMPT = 250, /* number of the native preempt channel */
};

/* Without the control channel, which carries next to nothing. */
static void count_native(struct dst_session *s, struct dst_native_session *native,
                         uint64_t now_ns) {
    uint16_t number;
    struct vms_counters c = {0};
    char name[VMS_TIMELINE_NAME];
    for (unsigned i = 0; dst_native_channel(native, i, &number, &c.bytes); i++) {
        (void)snprintf(name, sizeof name, number == PREEMPT ? "preempt" : "data %u", number);
        vms_timeline_count(s->timeline,
                           vms_timeline_lane(s->timeline, now_ns, VMS_LANE_CHANNEL, name), &c);
    }
}

void dst_refresh(void *session, uint64_t now_ns) {
    struct dst_session *s = session;
    struct vms_gauges gauges = {.waiting_for = VMS_NO_LANE};
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->channel_count; i++)
        count_channel(s, s->channels[i], now_ns);
    gauges.rounds = (uint32_t)s->stats.rounds;
    struct dst_native_session *native = s->native;
    pthread_mutex_unlock(&s->lock);
    if (native)
        count_native(s, native, now_ns);
    dst_lanes_count(s);
    vms_timeline_gauges(s->timeline, &gauges);
}
