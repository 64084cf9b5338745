/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

/* Counters and gauges for display and report. */

static void count_channels(struct src_session *s, uint64_t now_ns) {
    struct src_wire_stats stats;
    s->wire.ops->stats(s->wire.ctx, &stats);
    for (size_t i = 0; i < stats.channel_count; i++) {
        const struct src_channel_stats *c = &stats.channels[i];
        struct vms_counters totals = {.bytes = c->bytes,
                                      .bytes_back = i == 0 ? stats.bytes_in : 0,
                                      .pages = c->pages,
                                      .zeros = c->zeros};
        uint32_t lane = vms_timeline_lane(s->host.timeline, now_ns, VMS_LANE_CHANNEL, c->name);
        vms_timeline_count(s->host.timeline, lane, &totals);
    }
}

void src_session_refresh(struct src_session *s, uint64_t now_ns) {
    struct src_ram_figures ram;
    struct vms_gauges gauges = {.waiting_for = VMS_NO_LANE};
    count_channels(s, now_ns);
    src_ram_figures(&s->devices[0], &ram);
    pthread_mutex_lock(&s->lock);
    gauges.bandwidth = s->figures.bandwidth;
    gauges.dirty_rate = s->figures.dirty_rate;
    gauges.pending = s->figures.pending;
    gauges.threshold = s->figures.threshold;
    if (s->figures.expected_downtime_ns != UINT64_MAX) /* not known yet */
        gauges.expected_downtime_ns = s->figures.expected_downtime_ns;
    gauges.throttle = s->figures.throttle;
    if (s->state >= SRC_COMMITTED) /* what is left is left of postcopy */
        gauges.pending = s->state == SRC_COMPLETED ? 0 : ram.dirty_bytes;
    pthread_mutex_unlock(&s->lock);
    gauges.total = ram.total_bytes;
    gauges.rounds = (uint32_t)ram.passes;
    vms_timeline_gauges(s->host.timeline, &gauges);
}
