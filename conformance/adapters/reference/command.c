/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/reference/adapter.h"

#include "conformance/live/live.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void ref_word(struct reference *r, const char *fmt, ...) {
    va_list args;
    if (r->count >= REF_WORDS)
        return;
    va_start(args, fmt);
    (void)vsnprintf(r->words[r->count], CERT_PATH, fmt, args);
    va_end(args);
    r->argv[r->count] = r->words[r->count];
    r->count++;
}

bool ref_is_native(const struct reference *r) {
    return strcmp(cert_str(r->kit.body, "wire"), "native") == 0;
}

bool ref_peer_is_reference(const struct reference *r) {
    return strcmp(r->kit.peer, "reference") == 0;
}

bool ref_runs_vm(const struct reference *r) {
    return ref_peer_is_reference(r) &&
           !cert_true(json_object_get(r->kit.body, "guest"), "recorded");
}

int ref_start(struct reference *r) {
    cert_path(r->output, "%s/reference.log", r->kit.log);
    r->argv[r->count] = NULL;
    for (size_t i = 0; i < r->count; i++)
        kit_say(&r->kit, "%s %s", i ? "   " : "run", r->argv[i]);
    r->pid = live_spawn(r->argv, r->output, NULL);
    return r->pid > 0 ? 0 : -1;
}

static bool is_running(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid;
}

bool ref_wait_log(struct reference *r, const char *text) {
    while (cert_now() < r->kit.deadline) {
        char *log = cert_read(r->output, 1 << 16, NULL);
        bool found = log && strstr(log, text);
        free(log);
        if (found || !is_running(r->pid))
            return found;
        cert_nap();
    }
    return false;
}

int ref_wait(struct reference *r) {
    int status = live_wait(r->pid, kit_left(&r->kit, 600000));
    r->pid = 0;
    return status;
}

/* ---- options of both ends ---- */

/* What the wire does not tell, as -D has it. */
static void add_dialect(struct reference *r) {
    const char *version = *r->kit.peer_version ? r->kit.peer_version : r->kit.version;
    const char *machine = r->kit.peer_machine;
    const char *dash = strrchr(machine, '-');
    if (ref_is_native(r) || ref_peer_is_reference(r) || !*version)
        return;
    bool legacy =
        cert_has(json_object_get(r->kit.own, "global"), "migration.switchover-ack-legacy=on");
    bool known = dash && dash[1] >= '0' && dash[1] <= '9';
    ref_word(r, "--dialect");
    ref_word(r, "qemu=%s%s%s%s", version, known ? ",machine=" : "", known ? dash + 1 : "",
             legacy ? ",ack-legacy=on" : "");
}

static void add_security(struct reference *r) {
    bool tls = strcmp(cert_str(r->kit.body, "transport"), "tls") == 0;
    json_t *p = kit_parameters(&r->kit);
    const char *seal = cert_str(p, "seal");
    if (tls) {
        ref_word(r, "--tls-creds");
        ref_word(r, "%s/tls", r->kit.shared);
    }
    if (*seal && strcmp(seal, "none") != 0) {
        ref_word(r, "--psk");
        ref_word(r, "%s/keys.psk", r->kit.shared);
    }
    json_decref(p);
}

static void add_devices(struct reference *r) {
    const json_t *devices = kit_devices(&r->kit);
    char path[CERT_PATH], log[CERT_PATH], id[16];
    for (size_t i = 0; i < json_array_size(devices) && i < REF_DEVICES; i++) {
        const json_t *d = json_array_get(devices, i);
        bool vdpa = strcmp(cert_str(d, "kind"), "vdpa") == 0;
        (void)snprintf(id, sizeof id, vdpa ? "net" : "vf%zu", i);
        cert_path(path, "%s/%s%zu.sim", r->kit.log, r->kit.role, i);
        cert_path(log, "%s/%s%zu.log", r->kit.log, r->kit.role, i);
        int fd = kit_describe(path, vdpa ? "vdpa-sim device" : "vfio-sim device", id, log,
                              cert_str(d, "text"));
        if (fd >= 0)
            (void)close(fd);
        ref_word(r, vdpa ? "--vdpa" : "--vfio");
        /* the name that a QEMU at the other end gives it */
        if (vdpa || ref_peer_is_reference(r))
            ref_word(r, "sim:%s", path);
        else
            ref_word(r, "sim:%s,id=0000:00:%02zx.0/vfio", path, i + 2);
        r->vfio += !vdpa;
    }
}

void ref_common(struct reference *r) {
    cert_path(r->report, "%s/report.json", r->kit.log);
    ref_word(r, "--report");
    ref_word(r, "%s", r->report);
    ref_word(r, "--timeout");
    ref_word(r, "%d", kit_left(&r->kit, 60000) / 1000 + 1);
    add_dialect(r);
    add_security(r);
    add_devices(r);
}

bool ref_is_dialogue(const struct reference *r) {
    return strcmp(cert_str(r->kit.test, "kind"), "dialogue") == 0;
}

void ref_dialogue(struct reference *r) {
    const json_t *options = json_object_get(r->kit.body, "options");
    const char *keys = cert_str(r->kit.body, "psk");
    char path[CERT_PATH];
    cert_path(r->report, "%s/report.json", r->kit.log);
    ref_word(r, "--report");
    ref_word(r, "%s", r->report);
    if (*keys && cert_write(cert_path(path, "%s/keys.psk", r->kit.log), keys) == 0) {
        ref_word(r, "--psk");
        ref_word(r, "%s", path);
    }
    for (size_t i = 0; i < json_array_size(options); i++)
        ref_word(r, "%s", json_string_value(json_array_get(options, i)));
}

/* ---- its end ---- */

static void take_error(struct reference *r, const json_t *report) {
    static const char *const keys[] = {"code", "class", "clause"};
    const json_t *error = json_object_get(report, "error");
    for (size_t i = 0; i < 3; i++)
        if (*cert_str(error, keys[i]))
            cert_set(r->kit.end, keys[i], cert_str(error, keys[i]));
    if (json_object_get(error, "offset"))
        (void)json_object_set(r->kit.end, "offset", json_object_get(error, "offset"));
}

enum kit_exit ref_end(struct reference *r, int status) {
    json_t *report = json_load_file(r->report, 0, NULL);
    const json_t *error = json_object_get(report, "error"),
                 *check = json_object_get(report, "check");
    const char *owner = cert_str(report, "owner");
    char text[1024];
    take_error(r, report);
    if (*owner)
        (void)json_object_set_new(r->kit.end, "running", json_boolean(strcmp(owner, "ours") == 0));
    if (check)
        (void)json_object_set(r->kit.end, "check", (json_t *)(uintptr_t)check);
    char *tail = cert_tail(r->output, 600);
    (void)snprintf(text, sizeof text, "%s",
                   *cert_str(error, "message") ? cert_str(error, "message")
                   : tail                      ? tail
                                               : "");
    free(tail);
    json_decref(report);
    kit_write_devices(&r->kit, r->vfio);
    if (status > 128) { /* so do we, for the rig to see it */
        kit_say(&r->kit, "ended by signal %d", status - 128);
        (void)signal(status - 128, SIG_DFL);
        (void)raise(status - 128);
    }
    if (status == 0)
        return kit_end(&r->kit, "completed", "completed");
    /* of a simulated device that refuses its state, or a wait without end, the peer is to blame */
    const char *code = cert_str(r->kit.end, "code");
    bool device = strcmp(code, "VFIO_DEVICE") == 0 || strcmp(code, "VDPA_DEVICE") == 0 ||
                  strcmp(code, "SRC_REQUEST_LATE") == 0 || strcmp(code, "SRC_LIMIT") == 0;
    if (status == 1 || (status == 3 && device))
        return kit_end(&r->kit, "refused", "%s", text);
    (void)kit_end(&r->kit, "local", "exit status %d: %s", status, text);
    return status == -1 ? KIT_REFUSED : KIT_LOCAL;
}
