// SPDX-License-Identifier: MIT
// The QEMU that loads a changed stream, and what became of it.
#include "blackbox.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "conformance/adapters/qemu.h"

enum {
    GUEST_MS = 150, // the guest's first moments
};

static const char *const verdict_names[BB_VERDICTS] = {"refused", "accepted", "crash", "hang",
                                                       "trouble"};

const char *bb_verdict_name(enum bb_verdict verdict) {
    return verdict < BB_VERDICTS ? verdict_names[verdict] : "?";
}

// The last line that QEMU wrote; what differs from run to run in front is cut.
static void last_words(const struct vms_qemu *qemu, char *text, size_t size) {
    char path[600], line[sizeof((struct bb_result *)0)->message];
    FILE *file;

    snprintf(path, sizeof path, "%s/stderr.txt", vms_qemu_dir(qemu));
    file = fopen(path, "re");
    text[0] = '\0';
    while (file != NULL && fgets(line, (int)sizeof line, file) != NULL) {
        char *from = strstr(line, ": ");

        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '\0') {
            snprintf(text, size, "%s",
                     from != NULL && strncmp(line, "qemu", 4) == 0 ? from + 2 : line);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static enum bb_verdict ended(struct vms_qemu *qemu, struct bb_result *result) {
    int status;

    if (vms_qemu_wait_exit(qemu, 2000, &status) != 0) {
        return BB_HANG;
    }
    last_words(qemu, result->message, sizeof result->message);
    if (WIFSIGNALED(status)) {
        size_t used = strlen(result->message);

        snprintf(result->message + used, sizeof result->message - used, " (signal %d%s)",
                 WTERMSIG(status), result->ran ? ", guest running" : "");
        return BB_CRASH;
    }
    return BB_REFUSED;
}

// Whether the guest's first moments kill a QEMU that took the stream.
static enum bb_verdict run_guest(struct vms_qemu *qemu, struct bb_result *result) {
    char state[32];

    result->ran = true;
    if (vms_qemu_cont(qemu) == 0) {
        vms_qemu_wait_event(qemu, "STOP", GUEST_MS, NULL);
    }
    if (vms_qemu_status(qemu, state, sizeof state) == 0) {
        return BB_ACCEPTED;
    }
    return ended(qemu, result) == BB_CRASH ? BB_CRASH : BB_HANG;
}

static enum bb_verdict outcome(struct vms_qemu *qemu, const struct bb_machine *machine,
                               const char *path, int watchdog_ms, struct bb_result *result) {
    static const char *const completed[] = {"completed", NULL};
    static const char *const mapped[] = {"mapped-ram", NULL};
    struct vms_migration_end end;
    char uri[700];

    snprintf(uri, sizeof uri, machine->mapped ? "file:%s" : "exec:cat %s", path);
    if ((machine->mapped && vms_qemu_set_capabilities(qemu, mapped) != 0) ||
        vms_qemu_migrate_incoming(qemu, uri) != 0) {
        return ended(qemu, result);
    }
    if (vms_qemu_wait_migration(qemu, completed, watchdog_ms, &end) == 0) {
        return run_guest(qemu, result);
    }
    if (strcmp(end.status, "failed") == 0) {
        snprintf(result->message, sizeof result->message, "%s", end.error_desc);
        return BB_REFUSED;
    }
    return ended(qemu, result);
}

void bb_load(const char *version, const struct bb_machine *machine, const char *path,
             int watchdog_ms, struct bb_result *result) {
    struct vms_qemu_options options = {.version = version,
                                       .machine = machine->machine,
                                       .memory = machine->memory,
                                       .args = machine->args,
                                       .name = "loader",
                                       .incoming = true,
                                       .paused = true,
                                       .timeout_ms = watchdog_ms};
    struct vms_qemu *qemu;

    memset(result, 0, sizeof *result);
    qemu = vms_qemu_start(&options, result->message, sizeof result->message);
    if (qemu == NULL) {
        result->verdict = BB_TROUBLE;
        return;
    }
    result->verdict = outcome(qemu, machine, path, watchdog_ms, result);
    vms_qemu_free(qemu);
}

static void copy(char *to, size_t size, const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(to, size, "%s", text != NULL ? text : "");
}

void bb_judge(const char *vmstream, const char *path, struct bb_result *result) {
    char command[1200], line[4096], last[4096] = "";
    json_t *object;
    FILE *pipe;

    snprintf(command, sizeof command, "%s inspect --json %s 2>/dev/null", vmstream, path);
    pipe = popen(command, "re");
    while (pipe != NULL && fgets(line, sizeof line, pipe) != NULL) {
        memcpy(last, line, sizeof last);
    }
    if (pipe != NULL) {
        pclose(pipe);
    }
    object = json_loads(last, 0, NULL);
    if (object != NULL && strcmp(json_string_value(json_object_get(object, "record")) != NULL
                                     ? json_string_value(json_object_get(object, "record"))
                                     : "",
                                 "error") == 0) {
        copy(result->clause, sizeof result->clause, object, "clause");
        copy(result->code, sizeof result->code, object, "code");
    }
    json_decref(object);
}
