/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/rig.h"

#include "conformance/live/live.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/native.h>

/* What came of it: the recorded wire, the devices' logs, and what each end says. */

char *vfm_log(const struct vfm_rig *rig, const char *side, unsigned device) {
    char path[128];
    vfm_path(rig, path, sizeof path, "%s%u.log", side, device);
    return live_read(path);
}

unsigned vfm_reinits(const struct vfm_rig *rig) {
    unsigned n = 0;
    for (unsigned i = 0; i < rig->cell->set->count; i++) {
        char *log = vfm_log(rig, "src", i);
        n += live_count(log, "\"event\":\"reinit\"");
        free(log);
    }
    return n;
}

/* ---- the wire ---- */

/* What the tool sees in one direction; a stream that was cut is read as far as it goes. */
static char *inspect(const struct vfm_rig *rig, bool back) {
    char program[600], files[VMS_TAP_MAX_CONNECTIONS][128], out[128];
    const char *argv[VMS_TAP_MAX_CONNECTIONS + 5] = {program, "inspect", "--json"};
    bool native = rig->cell->src->ack == VFM_NATIVE;
    unsigned n = 3, count = vms_tap_count(rig->tap);
    (void)snprintf(program, sizeof program, "%s/vmstream", rig->options->build);
    if (back && !native)
        argv[n++] = "--return-path";
    for (unsigned i = 0; i < (back && !native ? 1 : count); i++) {
        vfm_path(rig, files[i], sizeof files[i], "wire.%u.%s", i, back ? "rev" : "fwd");
        argv[n++] = files[i];
    }
    vfm_path(rig, out, sizeof out, "inspect.%s", back ? "rev" : "fwd");
    (void)live_wait(live_spawn(argv, out, NULL), VFM_WAIT_MS);
    return live_read(out);
}

static int count_wire(const struct vfm_rig *rig, bool back, const char *record) {
    char *text = inspect(rig, back), needle[64];
    (void)snprintf(needle, sizeof needle, "\"record\":\"%s\"", record);
    int n = (int)live_count(text, needle);
    free(text);
    return n;
}

/* ---- requests: QEMU's wire does not have them ---- */

static int report_sum(const struct vfm_rig *rig, const char *key) {
    char path[128];
    int sum = 0;
    size_t i;
    vfm_path(rig, path, sizeof path, "src.json");
    json_t *r = json_load_file(path, 0, NULL), *devices = json_object_get(r, "devices"), *d;
    json_array_foreach(devices, i, d) sum += (int)json_integer_value(json_object_get(d, key));
    json_decref(r);
    return sum;
}

static int requests(const struct vfm_rig *rig) {
    char path[128];
    if (rig->cell->src->ack == VFM_LEGACY)
        return VFM_UNKNOWN; /* nobody asks */
    if (rig->cell->src->ack == VFM_NATIVE)
        return vfm_count_frames(rig, false, VMS_NATIVE_REQUEST);
    if (!rig->src)
        return report_sum(rig, "generation");
    vfm_path(rig, path, sizeof path, "src.trace");
    char *text = live_read(path);
    int n = (int)live_count(text, "request switchover ack 1");
    free(text);
    return n;
}

/* ---- texts ---- */

static void append(char *out, size_t size, const char *text) {
    size_t len = strlen(out);
    if (text && *text && len + 2 < size)
        (void)snprintf(out + len, size - len, "%s%s", len ? "; " : "", text);
}

static void append_output(const struct vfm_rig *rig, const char *side, struct vfm_seen *seen) {
    char path[128];
    vfm_path(rig, path, sizeof path, "%s.out", side);
    char *text = live_read(path);
    append(seen->said, sizeof seen->said, text);
    free(text);
}

static void append_qemu(struct vms_qemu *qemu, struct vfm_seen *seen) {
    char path[600];
    json_t *info = NULL;
    if (vms_qemu_query_migrate(qemu, &info) == 0)
        append(seen->said, sizeof seen->said,
               json_string_value(json_object_get(info, "error-desc")));
    json_decref(info);
    (void)snprintf(path, sizeof path, "%s/log", vms_qemu_dir(qemu));
    char *text = live_read(path);
    append(seen->said, sizeof seen->said, text);
    free(text);
}

int vfm_look(struct vfm_rig *rig, struct vfm_seen *seen) {
    vms_tap_cut(rig->tap); /* the files are complete */
    /* a source that tries again may find nobody there any more: that is no fault of the tap's */
    if (*vms_tap_error(rig->tap) && seen->outcome == VFM_COMPLETES)
        return vfm_fail(rig, "the tap: %s", vms_tap_error(rig->tap));
    if (rig->cell->src->ack == VFM_NATIVE) {
        seen->sent = vfm_count_frames(rig, false, VMS_NATIVE_DEVICE);
        seen->acks = vfm_count_frames(rig, true, VMS_NATIVE_GRANT);
    } else {
        seen->sent = count_wire(rig, false, "VFIO_INIT_DATA_SENT");
        seen->acks = count_wire(rig, true, "RP_SWITCHOVER_ACK");
    }
    seen->requests = requests(rig);
    rig->src ? append_qemu(rig->src, seen) : append_output(rig, "src", seen);
    rig->dst ? append_qemu(rig->dst, seen) : append_output(rig, "dst", seen);
    return 0;
}

/* ---- devices ---- */

/* The number behind the last "key": of such a line, or -1. */
static long long last_number(const char *log, const char *event, const char *key) {
    char want[64], name[64];
    long long value = -1;
    (void)snprintf(want, sizeof want, "\"event\":\"%s\"", event);
    (void)snprintf(name, sizeof name, "\"%s\":", key);
    for (const char *at = log; at && (at = strstr(at, want)) != NULL; at++) {
        const char *eol = strchr(at, '\n'), *found = strstr(at, name);
        if (found && (!eol || found < eol))
            value = strtoll(found + strlen(name), NULL, 10);
    }
    return value;
}

/* Every byte that the device saved was loaded, once, and was the right one. odd: it may fail to
 * stop when the guest is gone. */
static bool moved(const char *src, const char *dst, bool odd) {
    long long saved = last_number(src, "saved", "bytes"); /* told when it leaves STOP_COPY */
    bool whole = live_count(src, "\"complete\":true") == 1 || (odd && saved < 0);
    return whole && live_count(dst, "\"good\":true") == 1 &&
           (saved < 0 || saved == last_number(dst, "loaded", "bytes"));
}

static bool runs(const char *log) {
    const char *last = log;
    for (const char *at = log; at && (at = strstr(at, "\"state\":\"")) != NULL; at++)
        last = at;
    return last && strncmp(last, "\"state\":\"RUNNING\"", 17) == 0;
}

int vfm_check_devices(struct vfm_rig *rig, enum vfm_outcome outcome) {
    bool there = outcome == VFM_COMPLETES || outcome == VFM_BOTH || outcome == VFM_DOUBT;
    for (unsigned i = 0; i < rig->cell->set->count; i++) {
        char *src = vfm_log(rig, "src", i), *dst = vfm_log(rig, "dst", i);
        bool here = outcome != VFM_COMPLETES && outcome != VFM_DOUBT;
        const struct vfm_more *more = &rig->options->more;
        bool odd = more->text && !more->destination && more->device == i;
        bool good = (!there || moved(src, dst, odd)) && (!here || (odd && more->lost) || runs(src));
        free(src);
        free(dst);
        if (!good)
            return vfm_fail(rig, "device %u: %s", i,
                            there ? "not all of its data has arrived right" : "it does not run");
    }
    return 0;
}
