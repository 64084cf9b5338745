/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/reference/adapter.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void add_switchover_ack(struct reference *r) {
    if (!kit_has_capability(&r->kit, "switchover-ack") || ref_is_native(r))
        return;
    const json_t *globals = json_object_get(r->kit.own, "global");
    ref_word(r, "--switchover-ack");
    ref_word(r, cert_has(globals, "migration.switchover-ack-legacy=on")    ? "legacy"
                : cert_has(globals, "migration.switchover-ack-legacy=off") ? "new"
                                                                           : "on");
}

static void add_guest(struct reference *r) {
    char path[CERT_PATH];
    if (ref_runs_vm(r)) {
        ref_word(r, "--vm");
        ref_word(r, "%s/vm.json", r->kit.shared);
        return;
    }
    (void)mkdir(cert_path(path, "%s/ram", r->kit.log), 0700);
    ref_word(r, "--ram-dir");
    ref_word(r, "%s", path);
    if (kit_postcopy(&r->kit)) {
        ref_word(r, "--touch");
        ref_word(r, "2");
    }
}

/* The guest's memory is the block that the machine has at address 0. */
static void note_guest(struct reference *r) {
    char from[CERT_PATH], to[CERT_PATH];
    (void)link(cert_path(from, "%s/ram/pc.ram", r->kit.log),
               cert_path(to, "%s/guest.ram", r->kit.log));
}

static void add_all(struct reference *r) {
    json_t *p = kit_parameters(&r->kit);
    ref_common(r);
    add_guest(r);
    add_switchover_ack(r);
    if (kit_has_capability(&r->kit, "multifd") && !ref_is_native(r)) {
        ref_word(r, "--multifd-channels");
        ref_word(r, "%d", (int)cert_int(p, "multifd-channels", 2));
        if (r->vfio)
            ref_word(r, "--vfio-multifd");
    }
    json_decref(p);
}

/* [REC-7] A cut before POSTCOPY_RUN is none that can be recovered; it goes on listening by itself.
 */
static void note_cut(struct reference *r) {
    if (ref_wait_log(r, " s  postcopy "))
        kit_mark(&r->kit, "postcopy");
    if (ref_wait_log(r, "waiting for a new connection")) {
        kit_mark(&r->kit, "paused");
        kit_mark(&r->kit, "recovering");
    }
}

enum kit_exit ref_destination(struct reference *r) {
    const char *fault = cert_str(json_object_get(r->kit.body, "fault"), "kind");
    ref_word(r, "%s/reference-dst", r->kit.build);
    ref_word(r, "--listen");
    ref_word(r, "%s", r->kit.uri);
    if (ref_is_dialogue(r))
        ref_dialogue(r);
    else
        add_all(r);
    if (ref_start(r) != 0)
        return KIT_LOCAL;
    if (strncmp(r->kit.uri, "file:", 5) != 0 && !ref_wait_log(r, "listening on "))
        return ref_end(r, ref_wait(r));
    kit_mark(&r->kit, "ready");
    if (strcmp(fault, "cut-postcopy") == 0)
        note_cut(r);
    if (strcmp(fault, "swallow-shut") == 0 && ref_wait_log(r, "completed in"))
        kit_mark(&r->kit, "handed");
    int status = ref_wait(r);
    note_guest(r);
    /* it keeps a recorded guest's memory instead of running it: all the same it has the guest */
    if (status == 0)
        (void)json_object_set_new(r->kit.end, "running", json_true());
    return ref_end(r, status);
}
