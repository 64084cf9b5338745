/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/reference/adapter.h"

#include "conformance/live/source_rig.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RECONNECT_MS = 15000, /* for the connection of a recovery */
};

static void add_rate(struct reference *r, const json_t *p, const char *key, const char *option,
                     const char *otherwise) {
    json_int_t value = cert_int(p, key, -1);
    ref_word(r, "%s", option);
    if (value >= 0)
        ref_word(r, "%lld", (long long)value);
    else
        ref_word(r, "%s", otherwise);
}

static void add_how(struct reference *r) {
    json_t *p = kit_parameters(&r->kit);
    bool postcopy = kit_postcopy(&r->kit);
    bool recover =
        strcmp(cert_str(json_object_get(r->kit.body, "fault"), "kind"), "cut-postcopy") == 0;
    add_rate(r, p, "max-bandwidth", "--bandwidth", r->vfio ? "0" : "32M");
    add_rate(r, p, "downtime-limit", "--downtime-ms", postcopy ? "1" : r->vfio ? "2000" : "100");
    if (r->vfio) {
        ref_word(r, "--switchover-bandwidth");
        ref_word(r, "1G");
    }
    if (postcopy) {
        ref_word(r, "--postcopy-after");
        ref_word(r, recover ? "0" : "1");
        add_rate(r, p, "max-postcopy-bandwidth", "--postcopy-bandwidth", "4M");
    }
    if (kit_has_capability(&r->kit, "postcopy-preempt"))
        ref_word(r, "--preempt");
    if (kit_has_capability(&r->kit, "multifd") || cert_int(p, "channels", 0)) {
        ref_word(r, ref_is_native(r) ? "--channels" : "--multifd");
        ref_word(r, "%d", (int)cert_int(p, "multifd-channels", cert_int(p, "channels", 2)));
    }
    if (kit_has_capability(&r->kit, "switchover-ack") && !ref_is_native(r))
        ref_word(r, "--switchover-ack");
    if (!ref_is_native(r) && !kit_has_capability(&r->kit, "return-path") && !postcopy)
        ref_word(r, "--no-return-path");
    static const char *const texts[] = {"seal", "pack"};
    for (size_t i = 0; i < 2; i++)
        if (ref_is_native(r) && *cert_str(p, texts[i])) {
            ref_word(r, "--%s", texts[i]);
            ref_word(r, "%s", cert_str(p, texts[i]));
        }
    if (ref_is_native(r) && *cert_str(p, "seal") && strcmp(cert_str(p, "seal"), "none") != 0) {
        ref_word(r, "--identity");
        ref_word(r, "one");
    }
    json_decref(p);
}

static int add_guest(struct reference *r) {
    char stream[CERT_PATH], error[4096];
    if (ref_runs_vm(r)) {
        ref_word(r, "--vm");
        ref_word(r, "%s/vm.json", r->kit.shared);
        return 0;
    }
    if (ref_recording(r, stream, error) != 0) {
        kit_say(&r->kit, "no guest to send: %s", error);
        (void)kit_end(&r->kit, "local", "no guest to send: %s", error);
        return -1;
    }
    ref_word(r, "--device-state");
    ref_word(r, "%s", stream);
    ref_word(r, "--touch");
    ref_word(r, r->vfio ? "0" : "3000");
    return 0;
}

/* ---- recovery ---- */

static bool is_running(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid;
}

static bool is_in(const char *control, const char *state) {
    json_t *answer = source_order(control, "{\"order\": \"status\"}");
    bool there = strcmp(cert_str(answer, "state"), state) == 0;
    json_decref(answer);
    return there;
}

static bool goes_on(const struct reference *r) {
    return cert_now() < r->kit.deadline && is_running(r->pid);
}

static bool wait_state(struct reference *r, const char *control, const char *state) {
    for (; goes_on(r); cert_nap())
        if (is_in(control, state))
            return true;
    return false;
}

static bool order(const char *control, const char *line) {
    json_t *answer = source_order(control, line);
    bool ok = cert_true(answer, "ok");
    json_decref(answer);
    return ok;
}

/* The other end, a script perhaps, does not come back: what it said stands. */
static void give_up(struct reference *r, const char *control) {
    if (!wait_state(r, control, "PAUSED"))
        return;
    (void)order(control, "{\"order\": \"resolve\", \"as\": \"theirs\"}");
    /* [MOD-9] for want of memory it may not have taken it: an operator says it once more */
    while (!order(control, "{\"order\": \"give-up\"}") && goes_on(r))
        cert_nap();
}

/* The rig brings back a connection that it has cut, and no other. */
static void end_of_recovery(struct reference *r, const char *control) {
    int64_t by = cert_now() + RECONNECT_MS;
    while (goes_on(r) && cert_now() < by && is_in(control, "PAUSED"))
        cert_nap();
    give_up(r, control);
}

static void recover(struct reference *r, const char *control) {
    char line[CERT_PATH];
    if (!wait_state(r, control, "POSTCOPY"))
        return;
    kit_mark(&r->kit, "postcopy");
    if (!wait_state(r, control, "PAUSED"))
        return;
    kit_mark(&r->kit, "paused");
    const char *uri = kit_order(&r->kit, "recover");
    if (!uri || !order(control, "{\"order\": \"set\", \"postcopy_bandwidth\": 0}") ||
        !order(control, cert_path(line, "{\"order\": \"recover\", \"uri\": \"%s\"}", uri)))
        kit_say(&r->kit, "it does not take the order to recover");
    else
        end_of_recovery(r, control);
}

/* Where the guest is cannot be known here after such a cut: the operator, the rig, says it. */
static void settle(struct reference *r, const char *control) {
    char line[CERT_PATH];
    if (!wait_state(r, control, "IN_DOUBT"))
        return;
    kit_say(&r->kit, "in doubt, as it should be");
    const char *who = kit_order(&r->kit, "resolve");
    if (!who || !order(control, cert_path(line, "{\"order\": \"resolve\", \"as\": \"%s\"}", who)))
        kit_say(&r->kit, "it does not take the order to resolve");
}

enum kit_exit ref_source(struct reference *r) {
    char control[CERT_PATH];
    const char *fault = cert_str(json_object_get(r->kit.body, "fault"), "kind");
    bool recovers = strcmp(fault, "cut-postcopy") == 0;
    bool doubts = strcmp(fault, "swallow-shut") == 0;
    ref_word(r, "%s/reference-src", r->kit.build);
    ref_word(r, "--connect");
    ref_word(r, "%s", r->kit.uri);
    ref_word(r, "--wire");
    ref_word(r, ref_is_native(r) ? "native" : "qevm");
    if (ref_is_dialogue(r)) {
        ref_word(r, "--vm");
        ref_word(r, "%s/vm.json", r->kit.shared);
        ref_dialogue(r);
    } else {
        ref_common(r);
        if (add_guest(r) != 0)
            return KIT_LOCAL;
        add_how(r);
    }
    cert_path(control, "/tmp/vms-ref-%d.sock", (int)getpid()); /* sockets want short paths */
    if (ref_is_dialogue(r) || ((recovers || doubts) && !ref_is_native(r))) {
        ref_word(r, "--control"); /* a pause wants it, too */
        ref_word(r, "unix:%s", control);
    }
    if (doubts) {
        ref_word(r, "--settle-s");
        ref_word(r, "3");
    }
    kit_mark(&r->kit, "ready");
    if (ref_start(r) != 0)
        return KIT_LOCAL;
    if (ref_is_dialogue(r) && kit_postcopy(&r->kit))
        give_up(r, control);
    if (recovers && !ref_is_native(r))
        recover(r, control);
    if (doubts && !ref_is_native(r))
        settle(r, control);
    int status = ref_wait(r);
    (void)unlink(control);
    return ref_end(r, status);
}
