/* SPDX-License-Identifier: MIT */
#include "conformance/runner/rig.h"

#include "conformance/runner/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_end(struct cert_rig *r, int i, const char *who, const char *machine,
                    const char *role) {
    struct cert_end *e = &r->ends[i];
    e->implementation = cert_implementation(r->profile, cert_str(r->cell, who));
    e->machine = cert_str(r->cell, machine);
    e->role = role;
    cert_path(e->folder, "%s/%s", r->folder, role);
    (void)cert_mkdir(e->folder);
    (void)snprintf(e->process.name, sizeof e->process.name, "%s %s", role, cert_str(r->cell, who));
}

static json_t *probe_case(const char *what) {
    bool unknown = strcmp(what, "unknown-case") == 0;
    const char *feature = unknown ? "no-such-feature" : "precopy";
    return json_pack("{s:s, s:s, s:s, s:s, s:[s], s:{s:s}, s:{s:s}}", "id",
                     unknown ? "PROBE-UNKNOWN.1" : "PROBE-BAD.1", "title", "honesty of an adapter",
                     "kind", "migration", "level", "MUST", "needs", feature, "migration", "feature",
                     feature, "expect", "outcome", "refused");
}

bool cert_rig_open(struct cert_rig *r, const struct cert_context *c, const json_t *cell,
                   const char *folder) {
    char path[CERT_PATH];
    *r = (struct cert_rig){.profile = c->profile,
                           .cell = cell,
                           .build = c->build,
                           .cache = c->out,
                           .patience = c->patience,
                           .sockets = "/tmp/vms-cert-XXXXXX",
                           .result = cert_result_new()};
    bool probe = strcmp(cert_str(cell, "kind"), "probe") == 0;
    r->test =
        probe ? probe_case(cert_str(cell, "case"))
              : json_incref((json_t *)(uintptr_t)cert_case_find(c->cases, cert_str(cell, "case")));
    (void)snprintf(r->folder, sizeof r->folder, "%s", folder);
    cert_remove(folder);
    if (cert_mkdir(folder) != 0 || !mkdtemp(r->sockets) || !r->test) {
        cert_result_is(r->result, CERT_ERROR, "%s: %s", folder, strerror(errno));
        return false;
    }
    if (json_object_get(cell, "subject")) {
        set_end(r, 0, "subject", "machine", cert_str(cell, "role"));
    } else {
        set_end(r, CERT_SOURCE, "source", "source_machine", "source");
        set_end(r, CERT_DESTINATION, "destination", "destination_machine", "destination");
    }
    return cert_write_json(cert_path(path, "%s/case.json", folder), r->test) == 0;
}

void cert_rig_close(struct cert_rig *r) {
    for (int i = 0; i < 2; i++) {
        cert_kill(&r->ends[i].process);
        cert_kill(&r->relays[i]);
        json_decref(r->ends[i].said);
    }
    vms_tap_stop(r->tap);
    vms_tap_stop(r->link);
    cert_remove(r->sockets);
    json_decref((json_t *)(uintptr_t)r->test);
}

unsigned cert_rig_seconds(const struct cert_rig *r) {
    return (unsigned)cert_int(r->cell, "seconds", 60) * (r->patience ? r->patience : 1);
}

/* ---- adapters ---- */

struct environment {
    char text[CERT_ENV][CERT_PATH];
    const char *list[CERT_ENV];
    size_t count;
};

static void put(struct environment *e, const char *name, const char *value) {
    if (e->count >= CERT_ENV - 1)
        return;
    (void)snprintf(e->text[e->count], CERT_PATH, "%s=%s", name, value);
    e->list[e->count] = e->text[e->count];
    e->count++;
}

/* "./mine" is beside the profile, a plain name in the build folder. */
static const char *path_of(const struct cert_rig *r, const char *name, char *out) {
    const char *profile = cert_str(r->profile, "path"), *slash = strrchr(profile, '/');
    if (!*name || *name == '/')
        return cert_path(out, "%s", name);
    if (strncmp(name, "./", 2) == 0)
        return cert_path(out, "%.*s/%s", slash ? (int)(slash - profile) : 1, slash ? profile : ".",
                         name + 2);
    return cert_path(out, "%s/%s", r->build, name);
}

static void put_peer(struct environment *e, const struct cert_end *peer) {
    put(e, "VMS_PEER", peer ? cert_str(peer->implementation, "implementation") : "");
    put(e, "VMS_PEER_VERSION", peer ? cert_str(peer->implementation, "version") : "");
    put(e, "VMS_PEER_MACHINE", peer ? peer->machine : "");
}

int cert_rig_start(struct cert_rig *r, struct cert_end *end, const struct cert_end *peer,
                   const char *uri) {
    static struct environment e;
    char path[CERT_PATH], output[CERT_PATH], number[16];
    unsigned seconds = cert_rig_seconds(r);
    e.count = 0;
    memset(e.list, 0, sizeof e.list);
    (void)snprintf(number, sizeof number, "%u", seconds);
    put(&e, "VMS_ROLE", end->role);
    put(&e, "VMS_URI", uri);
    put(&e, "VMS_CASE", cert_path(path, "%s/case.json", r->folder));
    put(&e, "VMS_CASE_ID", cert_str(r->test, "id"));
    put(&e, "VMS_CELL", cert_str(r->cell, "id"));
    put(&e, "VMS_LOG", end->folder);
    put(&e, "VMS_SHARED", cert_path(path, "%s/shared", r->folder));
    put(&e, "VMS_CACHE", cert_path(path, "%s/cache", r->cache));
    put(&e, "VMS_VERSION", cert_str(end->implementation, "version"));
    put(&e, "VMS_MACHINE", end->machine);
    put(&e, "VMS_FILE", path_of(r, cert_str(end->implementation, "file"), path));
    put_peer(&e, peer);
    put(&e, "VMS_DEADLINE", number);
    put(&e, "VMS_BUILD", r->build);
    put(&e, "VMSTREAM_BUILD", r->build);
    const char *argv[] = {path_of(r, cert_str(end->implementation, "adapter"), path), NULL};
    cert_path(output, "%s/output", end->folder);
    if (cert_spawn(&end->process, argv, e.list, output, seconds) == 0)
        return 0;
    cert_result_is(r->result, CERT_ERROR, "%s: %s", path, strerror(errno));
    return -1;
}

bool cert_end_has(const struct cert_end *end, const char *file) {
    char path[CERT_PATH];
    return cert_exists(cert_path(path, "%s/%s", end->folder, file));
}

void cert_end_read(struct cert_end *end) {
    char path[CERT_PATH];
    if (end->implementation && !end->said)
        end->said = json_load_file(cert_path(path, "%s/end.json", end->folder), 0, NULL);
}

/* ---- judging ---- */

void cert_break(struct cert_rig *r, const char *fmt, ...) {
    char text[1500];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bool should = strcmp(cert_str(r->test, "level"), "SHOULD") == 0;
    cert_result_is(r->result, should ? CERT_WARN : CERT_FAIL, "%s", text);
}

const char *cert_expected_outcome(const struct cert_rig *r) {
    const char *o = cert_str(json_object_get(r->test, "expect"), "outcome");
    return *o ? o : "completed";
}
