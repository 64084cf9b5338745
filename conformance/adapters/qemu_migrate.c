// SPDX-License-Identifier: MIT
// Run state and migration.
#include "qemu_internal.h"

#include <stdio.h>
#include <string.h>

int vms_qemu_stop(struct vms_qemu *qemu) {
    return vms_qemu_execute(qemu, "stop", NULL, NULL);
}

int vms_qemu_cont(struct vms_qemu *qemu) {
    return vms_qemu_execute(qemu, "cont", NULL, NULL);
}

static void copy_string(char *to, size_t size, const json_t *object, const char *key,
                        const char *otherwise) {
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(to, size, "%s", text != NULL ? text : otherwise);
}

int vms_qemu_status(struct vms_qemu *qemu, char *status, size_t size) {
    json_t *result;

    if (vms_qemu_execute(qemu, "query-status", NULL, &result) != 0) {
        return -1;
    }
    copy_string(status, size, result, "status", "");
    json_decref(result);
    return 0;
}

int vms_qemu_set_capabilities(struct vms_qemu *qemu, const char *const *names) {
    json_t *list = json_array();

    for (size_t i = 0; names[i] != NULL; i++) {
        json_array_append_new(list, json_pack("{s:s, s:b}", "capability", names[i], "state", 1));
    }
    return vms_qemu_execute(qemu, "migrate-set-capabilities",
                            json_pack("{s:o}", "capabilities", list), NULL);
}

int vms_qemu_set_parameters(struct vms_qemu *qemu, json_t *parameters) {
    return vms_qemu_execute(qemu, "migrate-set-parameters", parameters, NULL);
}

// States of an earlier attempt would be taken for those of this one.
static void forget_states(struct vms_qemu *qemu) {
    for (size_t i = json_array_size(qemu->events); i > 0; i--) {
        json_t *event = json_array_get(qemu->events, i - 1);
        const char *name = json_string_value(json_object_get(event, "event"));

        if (name != NULL && strcmp(name, "MIGRATION") == 0) {
            json_array_remove(qemu->events, i - 1);
        }
    }
}

int vms_qemu_migrate(struct vms_qemu *qemu, const char *uri) {
    forget_states(qemu);
    return vms_qemu_execute(qemu, "migrate", json_pack("{s:s}", "uri", uri), NULL);
}

int vms_qemu_migrate_resume(struct vms_qemu *qemu, const char *uri) {
    forget_states(qemu);
    return vms_qemu_execute(qemu, "migrate", json_pack("{s:s, s:b}", "uri", uri, "resume", 1),
                            NULL);
}

int vms_qemu_migrate_incoming(struct vms_qemu *qemu, const char *uri) {
    forget_states(qemu);
    return vms_qemu_execute(qemu, "migrate-incoming", json_pack("{s:s}", "uri", uri), NULL);
}

int vms_qemu_query_migrate(struct vms_qemu *qemu, json_t **info) {
    return vms_qemu_execute(qemu, "query-migrate", NULL, info);
}

static bool is_in(const char *status, const char *const *states) {
    for (size_t i = 0; states[i] != NULL; i++) {
        if (strcmp(status, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int ask_migration(struct vms_qemu *qemu, struct vms_migration_end *end) {
    json_t *info;

    if (vms_qemu_query_migrate(qemu, &info) != 0) {
        return -1;
    }
    copy_string(end->status, sizeof end->status, info, "status", "none");
    copy_string(end->error_desc, sizeof end->error_desc, info, "error-desc", "");
    json_decref(info);
    return 0;
}

int vms_qemu_wait_migration(struct vms_qemu *qemu, const char *const *states, int timeout_ms,
                            struct vms_migration_end *end) {
    static const char *const ended[] = {"completed", "failed", "cancelled", NULL};
    int64_t deadline = vms_qemu_deadline(qemu, timeout_ms);
    struct vms_migration_end own;

    end = end != NULL ? end : &own;
    memset(end, 0, sizeof *end);
    // A state can pass between two questions; its event stays queued, so look at those, too.
    for (;;) {
        json_t *event = NULL;
        char passed[sizeof end->status];

        if (ask_migration(qemu, end) != 0) {
            return -1;
        }
        if (is_in(end->status, states)) {
            return 0;
        }
        if (is_in(end->status, ended)) {
            return vms_qemu_fail(qemu, "the migration is %s, not %s%s%s", end->status, states[0],
                                 end->error_desc[0] != '\0' ? ": " : "", end->error_desc);
        }
        if (vms_qemu_left(deadline) == 0 ||
            vms_qemu_wait_event(qemu, "MIGRATION", vms_qemu_left(deadline), &event) != 0) {
            return vms_qemu_fail(qemu,
                                 "timed out (or QEMU ended) awaiting the migration to be %s; "
                                 "it is %s",
                                 states[0], end->status);
        }
        copy_string(passed, sizeof passed, json_object_get(event, "data"), "status", "");
        json_decref(event);
        if (is_in(passed, states)) {
            snprintf(end->status, sizeof end->status, "%s", passed);
            return 0;
        }
    }
}
