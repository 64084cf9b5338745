/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu/adapter.h"

#include <stdlib.h>
#include <string.h>

enum {
    BOOT_MS = 60000,
    STUCK_S = 5,
};

static const char *const completed[] = {"completed", NULL};

static bool has_guest(const struct adapter *a) {
    return strcmp(a->kit.machine, "none") != 0 && !a->vdpa;
}

static enum kit_exit failed(struct adapter *a, const char *what) {
    (void)kit_end(&a->kit, "local", "%s: %s", what, vms_qemu_error(a->qemu));
    return KIT_LOCAL;
}

/* ---- what the case wants meanwhile ---- */

static unsigned count_in(const char *text, const char *needle) {
    unsigned n = 0;
    for (const char *at = text; at && (at = strstr(at, needle)) != NULL; at++)
        n++;
    return n;
}

/* VFIO devices whose REINITs shall all be seen: until then it may not converge. */
static int wait_for_reinits(struct adapter *a) {
    json_int_t want = cert_int(a->kit.body, "reinits", 0);
    char path[CERT_PATH];
    for (unsigned have = 0; want && have < want; cert_nap()) {
        have = 0;
        for (unsigned i = 0; i < a->vfio; i++) {
            char *log = cert_read(cert_path(path, "%s/source%u.log", a->kit.log, i), 1 << 22, NULL);
            have += count_in(log, "\"event\":\"reinit\"");
            free(log);
        }
        if (cert_now() > a->kit.deadline)
            return -1;
    }
    return want ? vms_qemu_set_parameters(a->qemu, json_pack("{s:i}", "downtime-limit", 2000)) : 0;
}

static int go_postcopy(struct adapter *a) {
    static const char *const active[] = {"active", NULL};
    static const char *const in_it[] = {"postcopy-active", NULL};
    if (!kit_postcopy(&a->kit))
        return 0;
    if (vms_qemu_wait_migration(a->qemu, active, kit_left(&a->kit, BOOT_MS), NULL) != 0 ||
        vms_qemu_execute(a->qemu, "migrate-start-postcopy", NULL, NULL) != 0 ||
        vms_qemu_wait_migration(a->qemu, in_it, kit_left(&a->kit, BOOT_MS), NULL) != 0)
        return -1;
    kit_mark(&a->kit, "postcopy");
    return 0;
}

static int recover(struct adapter *a) {
    static const char *const paused[] = {"postcopy-paused", NULL};
    if (strcmp(cert_str(json_object_get(a->kit.body, "fault"), "kind"), "cut-postcopy") != 0)
        return 0;
    if (vms_qemu_wait_migration(a->qemu, paused, kit_left(&a->kit, BOOT_MS), NULL) != 0)
        return -1;
    kit_mark(&a->kit, "paused");
    const char *uri = kit_order(&a->kit, "recover");
    if (!uri ||
        vms_qemu_set_parameters(a->qemu, json_pack("{s:i}", "max-postcopy-bandwidth", 0)) != 0)
        return -1;
    return vms_qemu_migrate_resume(a->qemu, uri);
}

/* It is to go on for ever: after a while it still does, and is cancelled. */
static enum kit_exit expect_stuck(struct adapter *a) {
    static const char *const cancelled[] = {"cancelled", NULL};
    static const char *const ended[] = {"completed", "failed", NULL};
    struct vms_migration_end end;
    json_int_t seconds = cert_int(a->kit.body, "stuck_seconds", STUCK_S);
    if (vms_qemu_wait_migration(a->qemu, ended, (int)seconds * 1000, &end) == 0) {
        adapter_note(a);
        return kit_end(&a->kit, strcmp(end.status, "completed") ? "refused" : "completed", "%s",
                       end.error_desc);
    }
    if (vms_qemu_execute(a->qemu, "migrate_cancel", NULL, NULL) != 0 ||
        vms_qemu_wait_migration(a->qemu, cancelled, kit_left(&a->kit, 20000), NULL) != 0)
        return failed(a, "it cannot be cancelled");
    adapter_note(a);
    return kit_end(&a->kit, "stuck", "still active after %d s; cancelled", (int)seconds);
}

/* ---- the end ---- */

static enum kit_exit done(struct adapter *a) {
    if (has_guest(a) && adapter_dump(a) != 0)
        return failed(a, "memory");
    kit_mark(&a->kit, "handed");
    adapter_note(a);
    return kit_end(&a->kit, "completed", "completed");
}

/* The guest is here again, or still: it runs on for a while, so that all can see it. */
static enum kit_exit stays(struct adapter *a, const struct vms_migration_end *end) {
    char status[32] = "";
    adapter_die_like_it(a);
    (void)vms_qemu_status(a->qemu, status, sizeof status);
    for (int i = 0; i < 400 && strcmp(status, "running") != 0; i++) {
        cert_nap(); /* a migration that is over may leave the state of the guest to follow */
        (void)vms_qemu_status(a->qemu, status, sizeof status);
    }
    bool running = strcmp(status, "running") == 0;
    kit_mark(&a->kit, "kept");
    adapter_note(a);
    if (running && has_guest(a) && adapter_watch(a) == 0) {
        adapter_note(a);
        (void)json_object_set_new(a->kit.end, "running", json_true());
    }
    return kit_end(&a->kit, "refused", "%s: %s", end->status, end->error_desc);
}

static enum kit_exit wait_end(struct adapter *a) {
    struct vms_migration_end end = {.status = ""};
    if (strcmp(cert_str(a->kit.body, "settle"), "stuck") == 0)
        return expect_stuck(a);
    if (wait_for_reinits(a) != 0)
        return failed(a, "REINIT");
    int rc = go_postcopy(a);
    rc = rc == 0 ? recover(a) : rc;
    if (rc == 0)
        rc = vms_qemu_wait_migration(a->qemu, completed, kit_left(&a->kit, 600000), &end);
    if (rc == 0)
        return done(a);
    kit_say(&a->kit, "%s", vms_qemu_error(a->qemu));
    json_t *info = NULL;
    if (!*end.status && vms_qemu_query_migrate(a->qemu, &info) == 0) {
        (void)snprintf(end.status, sizeof end.status, "%s", cert_str(info, "status"));
        (void)snprintf(end.error_desc, sizeof end.error_desc, "%s", cert_str(info, "error-desc"));
    }
    json_decref(info);
    return stays(a, &end);
}

enum kit_exit adapter_source(struct adapter *a) {
    enum kit_exit e = adapter_start(a, false, false);
    if (e != KIT_DONE)
        return e;
    if (has_guest(a) &&
        vms_qemu_wait_serial(a->qemu, "hb 00000002", 0, kit_left(&a->kit, BOOT_MS)) < 0)
        return failed(a, "the guest does not come up");
    kit_mark(&a->kit, "ready");
    if (vms_qemu_migrate(a->qemu, adapter_uri(a)) != 0)
        return failed(a, "migrate");
    e = wait_end(a);
    kit_write_devices(&a->kit, a->vfio);
    return e;
}
