/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"
#include "conformance/live/live.h"
#include "host/backend.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* reference-src to reference-dst; the figures are those of their reports (REP). */

enum {
    ARGS = 40,
    LISTEN_MS = 30000,
    MIGRATE_MS = 600000,
};

#define CONTROL   "control"
#define LIBRARIES "/usr/lib/x86_64-linux-gnu"

struct command {
    const char *argv[ARGS];
    size_t count;
    char text[ARGS][160]; /* what is not a literal */
};

static void add(struct command *c, const char *option, const char *value) {
    if (!value || c->count + 3 > ARGS)
        return;
    (void)snprintf(c->text[c->count], sizeof c->text[0], "%s", value);
    c->argv[c->count] = option;
    c->argv[c->count + 1] = c->text[c->count];
    c->count += 2;
    c->argv[c->count] = NULL;
}

static void add_flag(struct command *c, const char *flag) {
    if (c->count + 2 > ARGS)
        return;
    c->argv[c->count++] = flag;
    c->argv[c->count] = NULL;
}

/* Through the loader of the system that the newest QEMU brings along. */
static void add_loader(struct command *c) {
    struct vms_peer peer;
    char root[480];
    if (!vms_peer_find("11.1", &peer))
        return;
    (void)snprintf(root, sizeof root, "%s", peer.path);
    char *end = strrchr(root, '/');
    if (!end)
        return;
    *end = 0;
    size_t at = c->count++;
    (void)snprintf(c->text[at], sizeof c->text[at], "%.100s/root/lib64/ld-linux-x86-64.so.2", root);
    c->argv[at] = c->text[at];
    char paths[160];
    (void)snprintf(paths, sizeof paths, "%.60s/root%s:%s", root, LIBRARIES, LIBRARIES);
    add(c, "--library-path", paths);
}

static void add_crypto(struct command *c, const char *name) {
    char text[64];
    (void)snprintf(text, sizeof text, "%s=%s", VMS_BACKEND_VARIABLE, name);
    add(c, "/usr/bin/env", text);
}

static void begin(struct command *c, const struct rig *r, const struct ours *what,
                  const char *program) {
    memset(c, 0, sizeof *c);
    if (what->crypto)
        add_crypto(c, what->crypto);
    if (what->peer_libraries)
        add_loader(c);
    size_t at = c->count;
    (void)snprintf(c->text[at], sizeof c->text[at], "%s/%s", r->build, program);
    c->argv[c->count++] = c->text[at];
}

static void add_file(struct command *c, const struct rig *r, const char *option, const char *name) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    add(c, option, path);
}

/* ---- what the two are told ---- */

static int write_vm(struct rig *r, const struct ours *what) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/vm.json", r->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        return rig_fail(r, "%s: %s", path, strerror(errno));
    fprintf(f,
            "{\"blocks\": [{\"name\": \"ram\", \"size\": %llu, \"fill\": \"%s\","
            " \"page_size\": \"%s\", \"backing\": \"%s\", \"allocate\": \"%s\"}],"
            " \"vcpus\": %s}\n",
            (unsigned long long)r->bytes, what->fill ? what->fill : RIG_FILL,
            what->page_size ? what->page_size
            : r->pool       ? "2M"
                            : "4K",
            what->backing ? what->backing : "private", what->ahead ? "ahead" : "touched",
            what->vcpus ? what->vcpus : "[]");
    return fclose(f) == 0 ? 0 : rig_fail(r, "%s: %s", path, strerror(errno));
}

static bool sealed(const struct ours *what) {
    return what->seal && strcmp(what->seal, "none") != 0;
}

static void destination(struct command *c, struct rig *r, const struct ours *what, enum place p) {
    char uri[160];
    begin(c, r, what, "reference-dst");
    rig_uri(r, p, false, uri, sizeof uri);
    add(c, "--listen", uri);
    add_file(c, r, "--vm", "vm.json");
    add_file(c, r, "--report", "dst.json");
    if (!what->vcpus) /* nobody runs there */
        add(c, "--run-seconds", "0");
    if (sealed(what))
        add_file(c, r, "--psk", "keys.psk");
}

static void source(struct command *c, struct rig *r, const struct ours *what, enum place p) {
    char text[160];
    begin(c, r, what, "reference-src");
    rig_uri(r, p, true, text, sizeof text);
    add(c, "--connect", text);
    add(c, "--wire", what->wire);
    add_file(c, r, "--vm", "vm.json");
    add_file(c, r, "--report", "src.json");
    (void)snprintf(text, sizeof text, "%u", what->channels);
    add(c, "--channels", what->channels ? text : NULL);
    add(c, "--seal", what->seal);
    add(c, "--pack", what->pack);
    if (sealed(what))
        add_file(c, r, "--psk", "keys.psk");
    (void)snprintf(text, sizeof text, "unix:%s/" CONTROL, r->dir);
    add(c, "--control", text);
    add_flag(c, "--wait");
    if (what->postcopy) {
        add_flag(c, "--postcopy");
        add(c, "--postcopy-after", "0");
    }
    for (size_t i = 0; what->args[i]; i++)
        add_flag(c, what->args[i]);
}

/* ---- processes ---- */

static pid_t start(struct rig *r, const struct command *c, enum place p, enum vms_net_side side,
                   const char *log) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, log);
    (void)unlink(path);
    if (rig_enter(r, p, side) != 0)
        return -1;
    pid_t pid = live_spawn(c->argv, path, NULL);
    rig_leave(r, p);
    return pid;
}

/* What a log says, its end. */
static void log_of(const struct rig *r, const char *name, char *out, size_t size) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, size - 1, f) : 0;
    out[n] = 0;
    if (f)
        (void)fclose(f);
}

static int wait_listening(struct rig *r, pid_t pid) {
    char text[2048];
    for (int ms = 0; ms < LISTEN_MS; ms++) {
        log_of(r, "dst.log", text, sizeof text);
        if (strstr(text, "listening on"))
            return 0;
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return rig_fail(r, "reference-dst ended at once: %s", text);
        (void)usleep(1000);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return rig_fail(r, "reference-dst does not listen: %s", text);
}

static int wait_both(struct rig *r, pid_t src, pid_t dst) {
    char a[1500], b[1500];
    int src_status = live_wait(src, MIGRATE_MS);
    if (src_status != 0)
        (void)kill(dst, SIGKILL);
    int dst_status = live_wait(dst, MIGRATE_MS);
    if (src_status == 0 && dst_status == 0)
        return 0;
    log_of(r, "src.log", a, sizeof a);
    log_of(r, "dst.log", b, sizeof b);
    return rig_fail(r, "reference-src ended with %d:\n%s\nreference-dst with %d:\n%s", src_status,
                    a, dst_status, b);
}

/* ---- reports ---- */

static double number(const json_t *o, const char *object, const char *key, double scale) {
    const json_t *v = json_object_get(object ? json_object_get(o, object) : o, key);
    return json_is_number(v) ? json_number_value(v) * scale : NAN;
}

static double cpu(const json_t *report) {
    return number(report, "cpu", "user_us", 1e-6) + number(report, "cpu", "system_us", 1e-6);
}

static json_t *load(struct rig *r, const char *name) {
    char path[128];
    json_error_t err;
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    json_t *o = json_load_file(path, 0, &err);
    if (!o)
        (void)rig_fail(r, "%s: %s", path, err.text);
    (void)unlink(path);
    return o;
}

static double phase_at(const json_t *src, const char *name) {
    const json_t *phases = json_object_get(json_object_get(src, "timeline"), "phases"), *phase;
    size_t i;
    json_array_foreach(phases, i, phase) {
        const char *state = json_string_value(json_object_get(phase, "state"));
        if (state && strcmp(state, name) == 0)
            return number(phase, NULL, "at_us", 1e-6);
    }
    return NAN;
}

/*
 * Of memory that does not compress all pages go as they are once; whatever is more is of pages that
 * went again.
 */
static double resent(const struct rig *r, const json_t *src) {
    double once = (double)r->bytes, page = 4096;
    double again = number(src, NULL, "pages", page) + number(src, NULL, "zero_pages", page) - once;
    return again > 0 ? (number(src, NULL, "bytes", 1) - once) / again : NAN;
}

static void take(const struct rig *r, const struct ours *what, const json_t *src, const json_t *dst,
                 struct measured *out) {
    const json_t *fault = json_object_get(json_object_get(dst, "latencies"), "fault");
    double *v = out->value;
    *out = NOT_MEASURED;
    /* From the order on, as QEMU counts its own: before programs clean up. */
    v[METRIC_SECONDS] = phase_at(src, "completed") - phase_at(src, "setup");
    v[METRIC_DOWNTIME] = number(src, "timings", "downtime_us", 1e-3);
    v[METRIC_WIRE] = number(src, NULL, "bytes", 1);
    v[METRIC_CPU_SRC] = cpu(src);
    v[METRIC_CPU_DST] = cpu(dst);
    if (what->resent)
        v[METRIC_RESENT] = resent(r, src);
    v[METRIC_FAULTS] = number(fault, NULL, "count", 1);
    v[METRIC_FAULT_MEAN] = number(fault, NULL, "mean_ns", 1e-3);
    v[METRIC_FAULT_P50] = number(fault, NULL, "p50_ns", 1e-3);
    v[METRIC_FAULT_P99] = number(fault, NULL, "p99_ns", 1e-3);
}

static int take_reports(struct rig *r, const struct ours *what, struct measured *out) {
    json_t *src = load(r, "src.json"), *dst = load(r, "dst.json");
    if (src && dst)
        take(r, what, src, dst, out);
    int rc = src && dst ? 0 : -1;
    json_decref(src);
    json_decref(dst);
    return rc;
}

int run_ours(struct rig *r, const struct ours *what, enum place p, struct measured *out) {
    struct command src, dst;
    char control[160];
    bool huge = what->page_size && strcmp(what->page_size, "2M") == 0;
    if (rig_have(r, p) != 0 || write_vm(r, what) != 0 ||
        (huge && rig_huge(r, (long)(r->bytes >> 19) + 64) != 0))
        return -1;
    destination(&dst, r, what, p);
    source(&src, r, what, p);
    pid_t to = start(r, &dst, p, VMS_NET_B, "dst.log");
    if (to < 0 || wait_listening(r, to) != 0)
        return -1;
    pid_t from = start(r, &src, p, VMS_NET_A, "src.log");
    (void)snprintf(control, sizeof control, "%s/" CONTROL, r->dir);
    if (from < 0 || rig_begin(r, control, from) != 0)
        (void)kill(from < 0 ? to : from, SIGKILL);
    return wait_both(r, from, to) == 0 ? take_reports(r, what, out) : -1;
}
