/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <ctype.h>

/* [REP-11] A lane for each VFIO device: its states, what it has loaded, its events. */

static uint64_t now_ns(void) {
    return vms_display_now();
}

static uint32_t lane_of(struct dst_session *s, const struct dst_vfio_figures *f) {
    return vms_timeline_lane(s->timeline, now_ns(), VMS_LANE_DEVICE,
                             f->idstr && *f->idstr ? f->idstr : f->name);
}

/* [REP-10] "PRE_COPY" is "pre-copy". */
static void tell_state(struct dst_session *s, uint32_t lane, enum vms_vfio_state state) {
    char text[32];
    const char *name = vms_vfio_state_name(state);
    size_t n = 0;
    for (; name[n] && n < sizeof text - 1; n++)
        text[n] = name[n] == '_' ? '-' : (char)tolower((unsigned char)name[n]);
    text[n] = 0;
    vms_timeline_lane_state(s->timeline, now_ns(), lane, text);
}

/* An acknowledgement goes out with each generation, but for QEMU's legacy mechanism. */
static void tell_generations(struct dst_session *s, uint32_t lane, uint64_t from, uint64_t to) {
    bool each = s->native || s->options->ack != DST_VFIO_ACK_LEGACY;
    for (uint64_t g = from + 1; g <= to; g++) {
        vms_timeline_event(s->timeline, now_ns(), VMS_EVENT_INITIAL_DATA, lane, g, NULL);
        if (each)
            vms_timeline_event(s->timeline, now_ns(), VMS_EVENT_ACK, lane, g, NULL);
    }
}

static void on_step(void *session, size_t index, const struct dst_vfio_figures *now) {
    struct dst_session *s = session;
    struct dst_vfio_figures *was = &s->vfio_told[index];
    uint32_t lane = lane_of(s, now);
    if (!was->idstr || was->state != now->state)
        tell_state(s, lane, now->state);
    tell_generations(s, lane, was->generation, now->generation);
    *was = *now;
}

void dst_lanes_open(struct dst_session *s) {
    if (s->vfio)
        dst_vfio_tell(s->vfio, on_step, s);
}

void dst_lanes_count(struct dst_session *s) {
    for (size_t i = 0; s->vfio && i < dst_vfio_count(s->vfio); i++) {
        struct dst_vfio_figures f = dst_vfio_figures(s->vfio, i);
        struct vms_counters totals = {.bytes = f.bytes};
        vms_timeline_count(s->timeline, lane_of(s, &f), &totals);
    }
}
