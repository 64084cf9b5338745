/* SPDX-License-Identifier: MIT */
#include "reference-src/report.h"

#include "host/report_json.h"
#include "host/vfio.h"

#include <ctype.h>
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
            mark(d, now_ns, lane, VMS_EVENT_REINIT, g);
    for (uint64_t g = was->sent + 1; g <= now.sent; g++)
        mark(d, now_ns, lane, VMS_EVENT_INITIAL_DATA, g);
    vms_timeline_count(d->timeline, lane, &totals);
    memset(was, 0, sizeof *was);
    *was = now;
}

void src_report_watch(void *devices, uint64_t now_ns) {
    struct src_report_devices *d = devices;
    for (size_t i = 0; d->vfio && i < src_vfio_count(d->vfio); i++)
        watch_one(d, i, now_ns);
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

static json_t *device_list(const struct src_vfio *vfio) {
    json_t *all = json_array();
    for (size_t i = 0; i < src_vfio_count(vfio); i++) {
        struct src_vfio_figures f = src_vfio_figures(vfio, i);
        json_array_append_new(all, device(&f));
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
    if (devices->vfio)
        json_object_set_new(r, "devices", device_list(devices->vfio));
    enum vms_code code = vms_report_write(options->report, r, err);
    json_decref(r);
    return code == VMS_OK ? 0 : -1;
}
