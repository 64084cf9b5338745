/* SPDX-License-Identifier: MIT */
#include "conformance/live/source_rig.h"
#include "conformance/vfio-matrix/rig.h"

#include "conformance/live/live.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    IDLE_ROUNDS = 40, /* with nothing to send and nothing to come, and so many ms: for ever */
    IDLE_MS = 3000,
    GUEST_MS = 10000, /* for a guest to be where the migration has left it */
};

const char *vfm_outcome_name(enum vfm_outcome outcome) {
    static const char *const names[VFM_OUTCOMES] = {"completes", "fails", "waits", "both", "doubt"};
    return names[outcome];
}

/* ---- small things of the rig ---- */

int vfm_fail(struct vfm_rig *rig, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(rig->why, rig->why_size, fmt, args);
    va_end(args);
    return -1;
}

void vfm_path(const struct vfm_rig *rig, char *out, size_t size, const char *fmt, ...) {
    va_list args;
    int n = snprintf(out, size, "%s/", rig->dir);
    va_start(args, fmt);
    (void)vsnprintf(out + n, size - (size_t)n, fmt, args);
    va_end(args);
}

void vfm_pause(void) {
    struct timespec t = {.tv_nsec = 5000000};
    (void)nanosleep(&t, NULL);
}

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- QEMU as the source: looked at until it is through, or gets nowhere ---- */

struct watch {
    uint64_t back; /* bytes on the return path */
    unsigned reinits;
    long long rounds, ms; /* passes over memory and QEMU's time when something last happened */
    bool may_converge;
};

static bool is_over(const char *status) {
    return strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "cancelled") == 0;
}

static unsigned wanted_reinits(const struct vfm_rig *rig) {
    unsigned n = 0;
    for (size_t i = 0; i < rig->cell->set->count; i++)
        n += rig->cell->set->device[i].reinits;
    return rig->options->scene ? rig->options->scene->lots : n;
}

/* *idle: nothing has happened for long, in passes over memory. */
static int look_at_source(struct vfm_rig *rig, struct watch *w, char *status, size_t size,
                          bool *idle) {
    json_t *info = NULL;
    if (vms_qemu_query_migrate(rig->src, &info) != 0)
        return vfm_fail(rig, "%.500s", vms_qemu_error(rig->src));
    const char *is = json_string_value(json_object_get(info, "status"));
    long long rounds =
        json_integer_value(json_object_get(json_object_get(info, "ram"), "dirty-sync-count"));
    long long ms = json_integer_value(json_object_get(info, "total-time"));
    (void)snprintf(status, size, "%s", is ? is : "");
    json_decref(info);
    uint64_t back = rig->tap ? vms_tap_connection(rig->tap, 0).reverse : 0;
    unsigned reinits = vfm_reinits(rig);
    if (back != w->back || reinits != w->reinits || !w->may_converge) {
        w->back = back;
        w->reinits = reinits;
        w->rounds = rounds;
        w->ms = ms;
    }
    *idle = rig->tap && rounds > w->rounds + IDLE_ROUNDS && ms > w->ms + IDLE_MS;
    return 0;
}

static int let_converge(struct vfm_rig *rig, struct watch *w) {
    int limit_ms = rig->options->scene ? VFM_SCENE_DOWNTIME_MS : 2000;
    if (w->may_converge || w->reinits < wanted_reinits(rig))
        return 0;
    w->may_converge = true;
    return vms_qemu_set_parameters(rig->src, json_pack("{s:i}", "downtime-limit", limit_ms)) == 0
               ? 0
               : vfm_fail(rig, "%.500s", vms_qemu_error(rig->src));
}

static int watch_qemu(struct vfm_rig *rig, char *status, size_t size) {
    static const char *const cancelled[] = {"cancelled", NULL};
    struct watch w = {.back = UINT64_MAX};
    bool idle = false;
    for (int i = 0; i < VFM_WAIT_MS / 5; i++) {
        if (look_at_source(rig, &w, status, size, &idle) != 0 || let_converge(rig, &w) != 0)
            return -1;
        if (is_over(status))
            return 0;
        if (idle) {
            (void)snprintf(status, size, "waits");
            (void)vms_qemu_execute(rig->src, "migrate_cancel", NULL, NULL);
            (void)vms_qemu_wait_migration(rig->src, cancelled, VFM_WAIT_MS, NULL);
            return 0;
        }
        vfm_pause();
    }
    return vfm_fail(rig, "QEMU's migration is still %s", status);
}

/* ---- who runs ---- */

static bool runs_now(struct vms_qemu *qemu) {
    char status[32] = "";
    return vms_qemu_status(qemu, status, sizeof status) == 0 && strcmp(status, "running") == 0;
}

/* A source that has handed over stays stopped; what failed runs again, soon. */
static bool source_runs(struct vfm_rig *rig, const char *status) {
    bool handed_over = strcmp(status, "completed") == 0, running = runs_now(rig->src);
    for (int i = 0; i < GUEST_MS / 5 && !handed_over && !running; i++) {
        vfm_pause();
        running = runs_now(rig->src);
    }
    return running;
}

/* It runs the guest, or ends. */
static bool destination_runs(struct vfm_rig *rig) {
    int status;
    if (!rig->dst) {
        rig->dst_status = live_wait(rig->dst_pid, VFM_WAIT_MS);
        rig->dst_pid = 0;
        return rig->dst_status == 0;
    }
    for (int i = 0; i < GUEST_MS / 5; i++) {
        if (vms_qemu_wait_exit(rig->dst, 1, &status) == 0)
            return false;
        if (runs_now(rig->dst))
            return true;
        vfm_pause();
    }
    return false;
}

static enum vfm_outcome judge(bool here, bool there, bool waits) {
    if (here)
        return there ? VFM_BOTH : waits ? VFM_WAITS : VFM_FAILS;
    return there ? VFM_COMPLETES : VFM_DOUBT;
}

static int run_qemu_source(struct vfm_rig *rig, struct vfm_seen *seen) {
    char status[32] = "";
    if (watch_qemu(rig, status, sizeof status) != 0)
        return -1;
    bool here = source_runs(rig, status);
    seen->outcome = judge(here, destination_runs(rig), strcmp(status, "waits") == 0);
    return 0;
}

/* As let_converge(). */
static void let_ours_converge(struct vfm_rig *rig) {
    char control[128], order[80];
    for (int i = 0; i < VFM_WAIT_MS / 5 && vfm_reinits(rig) < wanted_reinits(rig); i++)
        vfm_pause();
    vfm_path(rig, control, sizeof control, "control");
    (void)snprintf(order, sizeof order, "{\"order\": \"set\", \"downtime_ms\": %d}",
                   VFM_SCENE_DOWNTIME_MS);
    json_decref(source_order(control, order));
}

/* Ours says who has the guest, and by its exit status whether it is through. */
static int run_our_source(struct vfm_rig *rig, struct vfm_seen *seen) {
    char path[128];
    if (rig->options->scene)
        let_ours_converge(rig);
    rig->src_status = live_wait(rig->src_pid, VFM_WAIT_MS);
    rig->src_pid = 0;
    if (rig->src_status < 0)
        return vfm_fail(rig, "reference-src does not end");
    vfm_path(rig, path, sizeof path, "src.json");
    json_t *r = json_load_file(path, 0, NULL);
    const char *owner = json_string_value(json_object_get(r, "owner"));
    const char *code = json_string_value(json_object_get(json_object_get(r, "error"), "code"));
    bool here = owner && strcmp(owner, "ours") == 0;
    bool limit = code && strcmp(code, "SRC_LIMIT") == 0;
    bool known = owner && rig->src_status == 0;
    json_decref(r);
    bool there = destination_runs(rig);
    seen->outcome = judge(here, there, limit);
    if (seen->outcome == VFM_COMPLETES && !known)
        seen->outcome = VFM_DOUBT;
    return 0;
}

/* ---- one run ---- */

static bool is_here(struct vfm_rig *rig, const struct vfm_end *end, char *version) {
    struct vms_peer peer;
    if (!end->qemu) {
        (void)snprintf(version, 128, "vmstream");
        return true;
    }
    if (!vms_peer_find(end->qemu, &peer)) {
        (void)vfm_fail(rig, "peer absent: QEMU %s, make peers fetches it", end->qemu);
        return false;
    }
    (void)snprintf(version, 128, "%s", peer.package);
    return true;
}

static void look_for_fault(struct vfm_rig *rig) {
    const struct vfm_more *more = &rig->options->more;
    if (!more->text || !more->struck)
        return;
    char *log = vfm_log(rig, more->destination ? "dst" : "src", more->device);
    *more->struck = live_count(log, "\"event\":\"fault\"") > 0;
    free(log);
}

static int run(struct vfm_rig *rig, struct vfm_seen *seen) {
    int rc = vfm_open(rig) == 0 ? vfm_migrate(rig) : -1;
    if (rc == 0)
        rc = rig->src ? run_qemu_source(rig, seen) : run_our_source(rig, seen);
    if (rc == 0 && rig->tap)
        rc = vfm_look(rig, seen);
    look_for_fault(rig);
    return rc == 0 ? vfm_check_devices(rig, seen->outcome) : rc;
}

static void put_away(const struct vfm_rig *rig) {
    const char *keep = rig->options->keep;
    const char *const rm[] = {"/bin/rm", "-rf", rig->dir, NULL};
    const char *const mv[] = {"/bin/mv", "-T", rig->dir, keep, NULL};
    (void)live_wait(live_spawn(keep ? mv : rm, "/dev/null", NULL), VFM_WAIT_MS);
}

enum vfm_verdict vfm_run(const struct vfm_cell *cell, const struct vfm_options *options,
                         struct vfm_seen *seen, char *why, size_t size) {
    struct vfm_rig rig = {.cell = cell,
                          .options = options,
                          .dir = "/tmp/vms-vfio-XXXXXX",
                          .why = why,
                          .why_size = size};
    double start = now_s();
    *seen = (struct vfm_seen){.sent = VFM_UNKNOWN, .requests = VFM_UNKNOWN, .acks = VFM_UNKNOWN};
    *why = 0;
    if (!is_here(&rig, cell->src, seen->versions[0]) ||
        !is_here(&rig, cell->dst, seen->versions[1]))
        return VFM_ABSENT;
    if (!mkdtemp(rig.dir)) {
        (void)vfm_fail(&rig, "no folder in /tmp");
        return VFM_BROKEN;
    }
    int rc = run(&rig, seen);
    vfm_close(&rig);
    put_away(&rig);
    seen->seconds = now_s() - start;
    return rc == 0 ? VFM_RAN : VFM_BROKEN;
}
