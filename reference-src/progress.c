/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include "reference-src/wire_native.h"

#include <stdio.h>

/* Facts, counters and gauges for display and report. */

/* [REP-10] */
const char *src_phase_name(enum src_state state) {
    static const char *const names[SRC_STATE_COUNT] = {
        "idle",       "setup",   "precopy",   "stopping", "held",
        "switchover", "ready",   "committed", "in-doubt", "postcopy",
        "paused",     "recover", "completed", "failed",   "cancelled",
    };
    return (unsigned)state < SRC_STATE_COUNT ? names[state] : "?";
}

uint32_t src_lane(struct src_session *s, uint32_t device) {
    if (device == 0 || device >= s->device_count)
        return VMS_NO_LANE;
    return vms_timeline_lane(s->host.timeline, src_now_ns(), VMS_LANE_DEVICE,
                             s->devices[device].about.idstr);
}

/* ---- what the switchover waits for ---- */

static const char *reason_to_wait(uint32_t kind) {
    return kind == 2 ? "the destination has not mapped all of the guest's memory for it"
                     : "the destination has not loaded its initial data";
}

/* Nothing else is left to wait for. */
static bool else_ready(const struct src_session *s) {
    const struct src_figures *f = &s->figures;
    return s->state == SRC_PRECOPY && f->threshold && f->pending <= f->threshold;
}

static uint32_t waits_for(const struct src_session *s) {
    const struct src_figures *f = &s->figures;
    return else_ready(s) && f->waiting_for < s->device_count ? f->waiting_for : SRC_NO_DEVICE;
}

/* [ACK-11] Nothing on the wire tells a mechanism from the other: the waiting does. */
static void tell_acks(struct src_session *s) {
    struct vms_dialect d = s->options.dialect;
    if (s->acks_told == s->figures.acks || !s->figures.acks || !else_ready(s))
        return;
    s->acks_told = s->figures.acks;
    vms_dialect_learn_machine(&d, vms_str(s->options.machine));
    src_say(s, "the switchover waits for %llu switchover acknowledgement%s; mechanism %s here",
            (unsigned long long)s->figures.acks, s->figures.acks > 1 ? "s" : "",
            d.ack_legacy == VMS_ON ? "legacy" : "new");
}

void src_tell_waiting(struct src_session *s) {
    uint32_t device = waits_for(s);
    tell_acks(s);
    bool same_wait = s->state == SRC_PRECOPY && s->figures.waiting_for == s->waits_for;
    if (device == s->waits_for || (device == SRC_NO_DEVICE && same_wait))
        return;
    if (s->waits_for != SRC_NO_DEVICE)
        src_say(s, "the switchover has waited %.3f s for %s",
                (double)(src_now_ns() - s->waits_ns) / 1e9, s->devices[s->waits_for].about.idstr);
    if (device != SRC_NO_DEVICE)
        src_say(s, "the switchover waits for %s: %s", s->devices[device].about.idstr,
                reason_to_wait(s->devices[device].about.kind));
    s->waits_for = device;
    s->waits_ns = src_now_ns();
}

/* ---- facts ---- */

static void fact(struct src_session *s, const char *key, const char *value) {
    vms_timeline_fact(s->host.timeline, key, value);
}

static void channels_fact(struct src_session *s) {
    const struct src_options *o = &s->options;
    struct src_wire_stats stats;
    char text[32];
    s->wire.ops->stats(s->wire.ctx, &stats);
    (void)snprintf(text, sizeof text, "%zu%s", stats.channel_count,
                   o->postcopy && o->preempt ? ", preempt" : "");
    fact(s, "channels", text);
}

static void pack_fact(struct src_session *s) {
    char text[32] = "none";
    if (src_wire_native_packs(&s->wire) && s->options.pack_level == 0)
        (void)snprintf(text, sizeof text, "zstd:adaptive");
    else if (src_wire_native_packs(&s->wire))
        (void)snprintf(text, sizeof text, "zstd:%d", s->options.pack_level);
    fact(s, "pack", text);
}

void src_facts(struct src_session *s) {
    const struct src_options *o = &s->options;
    fact(s, "wire", o->native ? "native" : "qevm");
    fact(s, "dirty tracking", s->host.dirty->name);
    fact(s, "machine", o->machine);
    fact(s, "scheduler", o->scheduler == SRC_SCHEDULER_SERIAL ? "serial" : "drr");
}

void src_facts_agreed(struct src_session *s) {
    channels_fact(s);
    fact(s, "tls", strncmp(s->options.connect, "tls:", 4) == 0 ? "on" : "off");
    if (!s->options.native)
        return;
    fact(s, "seal", src_wire_native_suite(&s->wire));
    pack_fact(s);
}

/* ---- counters and gauges ---- */

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

/* Behind the commit point nothing is left but what postcopy has left. */
static uint64_t pending(enum src_state state, uint64_t reckoned, uint64_t left) {
    switch (state) {
    case SRC_COMMITTED:
    case SRC_IN_DOUBT:
    case SRC_COMPLETED: return 0;
    case SRC_POSTCOPY:
    case SRC_PAUSED:
    case SRC_RECOVER: return left;
    default: return reckoned;
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
    gauges.threshold = s->figures.threshold;
    if (s->figures.expected_downtime_ns != UINT64_MAX) /* not known yet */
        gauges.expected_downtime_ns = s->figures.expected_downtime_ns;
    gauges.throttle = s->figures.throttle;
    uint32_t awaited = s->figures.waiting_for;
    gauges.pending = pending(s->state, s->figures.pending, ram.dirty_bytes);
    pthread_mutex_unlock(&s->lock);
    gauges.waiting_for = src_lane(s, awaited);
    gauges.total = ram.total_bytes;
    gauges.rounds = (uint32_t)ram.passes;
    vms_timeline_gauges(s->host.timeline, &gauges);
}
