/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu/adapter.h"

#include <string.h>

static const char *const completed[] = {"completed", NULL};

static enum kit_exit failed(struct adapter *a, const char *what) {
    (void)kit_end(&a->kit, "local", "%s: %s", what, vms_qemu_error(a->qemu));
    return KIT_LOCAL;
}

/* A destination whose guest may not run before its memory was looked at. */
static bool waits(const struct adapter *a) {
    const char *fault = cert_str(json_object_get(a->kit.body, "fault"), "kind");
    return !kit_postcopy(&a->kit) && strcmp(fault, "swallow-shut") != 0 && !a->vdpa &&
           !cert_true(a->kit.own, "autostart");
}

/* The script is told when to cut, and when it may come again. */
static int recover_in_dialogue(struct adapter *a) {
    static const char *const paused[] = {"postcopy-paused", NULL};
    kit_tell(&a->kit, "postcopy");
    if (vms_qemu_wait_migration(a->qemu, paused, kit_left(&a->kit, 600000), NULL) != 0 ||
        vms_qemu_execute(a->qemu, "migrate-recover", json_pack("{s:s}", "uri", adapter_uri(a)),
                         NULL) != 0)
        return -1;
    kit_tell(&a->kit, "recovering");
    return 0;
}

static int recover(struct adapter *a) {
    static const char *const paused[] = {"postcopy-paused", NULL};
    if (strcmp(cert_str(a->kit.body, "script"), "recovery") == 0)
        return recover_in_dialogue(a);
    if (strcmp(cert_str(json_object_get(a->kit.body, "fault"), "kind"), "cut-postcopy") != 0)
        return 0;
    if (vms_qemu_wait_migration(a->qemu, paused, kit_left(&a->kit, 600000), NULL) != 0)
        return -1;
    kit_mark(&a->kit, "paused");
    const char *uri = kit_order(&a->kit, "recover");
    if (!uri ||
        vms_qemu_execute(a->qemu, "migrate-recover", json_pack("{s:s}", "uri", uri), NULL) != 0)
        return -1;
    kit_mark(&a->kit, "recovering");
    return 0;
}

/* A destination says postcopy-active before it has taken the guest over (REC-7). */
static int wait_until_taken(struct adapter *a) {
    static const char *const active[] = {"postcopy-active", "completed", NULL};
    char status[32] = "inmigrate";
    if (!kit_postcopy(&a->kit))
        return 0;
    if (vms_qemu_wait_migration(a->qemu, active, kit_left(&a->kit, 600000), NULL) != 0)
        return -1;
    while (strcmp(status, "inmigrate") == 0 && cert_now() < a->kit.deadline) {
        if (vms_qemu_status(a->qemu, status, sizeof status) != 0)
            return -1;
        cert_nap();
    }
    kit_mark(&a->kit, "postcopy");
    return 0;
}

static enum kit_exit done(struct adapter *a) {
    if (waits(a)) {
        if (strcmp(a->kit.machine, "none") != 0 && adapter_dump(a) != 0)
            return failed(a, "memory");
        kit_mark(&a->kit, "handed");
        if (vms_qemu_cont(a->qemu) != 0)
            return failed(a, "cont");
    }
    kit_mark(&a->kit, "handed");
    bool guest = strcmp(a->kit.machine, "none") != 0 && !a->vdpa;
    bool alive = !guest || adapter_watch(a) == 0;
    adapter_note(a);
    (void)json_object_set_new(a->kit.end, "running", json_true());
    return alive ? kit_end(&a->kit, "completed", "completed")
                 : kit_end(&a->kit, "refused", "the guest does not go on: %s",
                           vms_qemu_error(a->qemu));
}

static enum kit_exit refused(struct adapter *a) {
    kit_say(&a->kit, "%s", vms_qemu_error(a->qemu));
    char text[VMS_QEMU_ERROR_SIZE];
    (void)snprintf(text, sizeof text, "%s", vms_qemu_error(a->qemu));
    adapter_die_like_it(a);
    adapter_note(a);
    return kit_end(&a->kit, "refused", "%s", text);
}

enum kit_exit adapter_destination(struct adapter *a) {
    bool file = strncmp(a->kit.uri, "file:", 5) == 0;
    enum kit_exit e = adapter_start(a, true, waits(a));
    if (e != KIT_DONE)
        return e;
    if (vms_qemu_migrate_incoming(a->qemu, adapter_uri(a)) != 0)
        return file ? refused(a) : failed(a, "migrate-incoming");
    kit_mark(&a->kit, "ready");
    int rc = wait_until_taken(a);
    rc = rc == 0 ? recover(a) : rc;
    if (rc == 0)
        rc = vms_qemu_wait_migration(a->qemu, completed, kit_left(&a->kit, 600000), NULL);
    e = rc == 0 ? done(a) : refused(a);
    kit_write_devices(&a->kit, a->vfio);
    return e;
}
