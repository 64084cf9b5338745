/* SPDX-License-Identifier: MIT */
#include "reference-src/report.h"

#include "host/report_json.h"
#include "host/vfio.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- lanes of devices [REP-11] ---- */

/* "PRE_COPY" is "pre-copy" in reports. */
static const char *state_text(enum vms_vfio_state state, char out[32]) {
    const char *name = vms_vfio_state_name(state);
    size_t n = 0;
    for (; name[n] && n < 31; n++)
        out[n] = name[n] == '_' ? '-' : (char)tolower((unsigned char)name[n]);
    out[n] = 0;
    return out;
}

static const char *lane_name(const struct src_vfio_figures *f) {
    return f->idstr && *f->idstr ? f->idstr : f->name;
}

static void mark(struct src_report_devices *d, uint64_t now_ns, uint32_t lane,
                 enum vms_timeline_event event, uint64_t generation) {
    vms_timeline_event(d->timeline, now_ns, event, lane, generation, NULL);
}

static void tell_reinit(struct src_report_devices *d, uint64_t now_ns, uint32_t lane,
                        uint64_t generation, const char *name) {
    char text[96];
    mark(d, now_ns, lane, VMS_EVENT_REINIT, generation);
    (void)snprintf(text, sizeof text, "%.48s: REINIT, generation %llu", name,
                   (unsigned long long)generation);
    if (d->session)
        src_session_note(d->session, text);
}

static void watch_one(struct src_report_devices *d, size_t i, uint64_t now_ns) {
    struct src_vfio_figures now = src_vfio_figures(d->vfio, i), *was = &d->told[i];
    struct vms_counters totals = {.bytes = now.precopy_bytes + now.stop_bytes};
    char text[32];
    if (was->name && memcmp(was, &now, sizeof now) == 0)
        return;
    uint32_t lane = vms_timeline_lane(d->timeline, now_ns, VMS_LANE_DEVICE, lane_name(&now));
    if (!was->name || now.state != was->state)
        vms_timeline_lane_state(d->timeline, now_ns, lane, state_text(now.state, text));
    for (uint64_t g = was->generation + 1; g <= now.generation; g++)
        if (g > 1)
            tell_reinit(d, now_ns, lane, g, lane_name(&now));
    for (uint64_t g = was->sent + 1; g <= now.sent; g++)
        mark(d, now_ns, lane, VMS_EVENT_INITIAL_DATA, g);
    vms_timeline_count(d->timeline, lane, &totals);
    memset(was, 0, sizeof *was);
    *was = now;
}

static const char *vdpa_state(const struct src_vdpa_figures *f) {
    return f->stopped ? "stopped" : f->watched ? "shadow rings" : "running";
}

static void watch_vdpa(struct src_report_devices *d, size_t i, uint64_t now_ns) {
    struct src_vdpa_figures now = src_vdpa_figures(d->vdpa, i), *was = &d->told_vdpa[i];
    struct vms_counters totals = {
        .bytes = now.early + now.bytes, .done = now.maps.mapped, .total = now.maps.wanted};
    uint32_t lane = vms_timeline_lane(d->timeline, now_ns, VMS_LANE_DEVICE, now.idstr);
    vms_timeline_lane_state(d->timeline, now_ns, lane, vdpa_state(&now));
    if (!was->name || was->bytes != now.bytes || was->early != now.early ||
        was->maps.mapped != now.maps.mapped)
        vms_timeline_count(d->timeline, lane, &totals);
    *was = now;
}

void src_report_watch(void *devices, uint64_t now_ns) {
    struct src_report_devices *d = devices;
    for (size_t i = 0; d->vfio && i < src_vfio_count(d->vfio); i++)
        watch_one(d, i, now_ns);
    for (size_t i = 0; d->vdpa && i < src_vdpa_count(d->vdpa); i++)
        watch_vdpa(d, i, now_ns);
}

/* ---- the document ---- */

static void put(json_t *o, const char *key, uint64_t n) {
    json_object_set_new(o, key, json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n));
}

static json_t *device(const struct src_vfio_figures *f) {
    char text[32];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(f->name));
    json_object_set_new(o, "idstr", json_string(f->idstr));
    json_object_set_new(o, "state", json_string(state_text(f->state, text)));
    put(o, "precopy_bytes", f->precopy_bytes);
    put(o, "stop_bytes", f->stop_bytes);
    put(o, "generation", f->generation);
    put(o, "sent", f->sent);
    put(o, "granted", f->granted);
    return o;
}

static json_t *vdpa_device(const struct src_vdpa_figures *f) {
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(f->name));
    json_object_set_new(o, "idstr", json_string(f->idstr));
    json_object_set_new(o, "state", json_string(vdpa_state(f)));
    put(o, "precopy_bytes", f->early);
    put(o, "stop_bytes", f->bytes);
    put(o, "granted", f->granted);
    put(o, "mapped", f->maps.mapped);
    return o;
}

static json_t *device_list(const struct src_report_devices *d) {
    json_t *all = json_array();
    for (size_t i = 0; d->vfio && i < src_vfio_count(d->vfio); i++) {
        struct src_vfio_figures f = src_vfio_figures(d->vfio, i);
        json_array_append_new(all, device(&f));
    }
    for (size_t i = 0; d->vdpa && i < src_vdpa_count(d->vdpa); i++) {
        struct src_vdpa_figures f = src_vdpa_figures(d->vdpa, i);
        json_array_append_new(all, vdpa_device(&f));
    }
    return all;
}

int src_report_write(const struct src_options *options, const struct src_report_devices *devices,
                     struct vms_timeline *timeline, const struct src_outcome *outcome,
                     struct vms_error *err) {
    json_t *r = vms_report_new(timeline, "reference-src");
    if (!r) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, "the report");
        return -1;
    }
    json_object_set_new(r, "state", json_string(src_phase_name(outcome->state)));
    json_object_set_new(r, "owner", json_string(src_owner_name(outcome->owner)));
    if (devices->vfio || devices->vdpa)
        json_object_set_new(r, "devices", device_list(devices));
    enum vms_code code = vms_report_write(options->report, r, err);
    json_decref(r);
    return code == VMS_OK ? 0 : -1;
}
