/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/runner/case.h"
#include "conformance/runner/plan.h"
#include "conformance/runner/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A migration: the destination, a tap, perhaps two relays, and the source, in this order. */
enum {
    LINGER_S = 20,    /* for the other end, when one is over */
    PARTING_MS = 300, /* for an end whose one connection is over, to say why */
};

static const char *transport(const struct cert_rig *r) {
    const char *t = cert_str(cert_case_body(r->test), "transport");
    return *t ? t : "unix";
}

static bool is_file(const struct cert_rig *r) {
    return strcmp(transport(r), "file") == 0;
}

static int start_tap(struct cert_rig *r) {
    char listen[CERT_PATH], connect[CERT_PATH], record[CERT_PATH], error[256];
    cert_path(listen, "%s/tap", r->sockets);
    cert_path(connect, "%s/dst", r->sockets);
    cert_path(record, "%s/wire", r->folder);
    r->tap = vms_tap_start(&(struct vms_tap_options){listen, connect, record}, error, sizeof error);
    if (!r->tap)
        cert_result_is(r->result, CERT_ERROR, "tap: %s", error);
    return r->tap ? 0 : -1;
}

static int set_uris(struct cert_rig *r) {
    if (is_file(r)) {
        cert_path(r->uri_listen, "file:%s/shared/stream", r->folder);
        cert_path(r->uri_connect, "%s", r->uri_listen);
        return 0;
    }
    if (strcmp(transport(r), "tls") == 0) {
        cert_path(r->uri_listen, "tls:127.0.0.1:%u", live_free_port());
        cert_path(r->uri_connect, "%s", r->uri_listen);
        cert_result_note(r->result, "TLS from end to end: nothing on the wire to be read");
        return 0;
    }
    cert_path(r->uri_listen, "unix:%s/dst", r->sockets);
    cert_path(r->uri_connect, "unix:%s/tap", r->sockets);
    return start_tap(r);
}

/* ---- relays: QEVM -> native link -> QEVM, before the tap ---- */

static int start_relay(struct cert_rig *r, int i, const char *listen, const char *connect) {
    char program[CERT_PATH], keys[CERT_PATH], log[CERT_PATH], cell[CERT_PATH];
    struct cert_process *p = &r->relays[i];
    cert_path(program, "%s/vmstream", r->build);
    cert_path(keys, "%s/shared/keys.psk", r->folder);
    cert_path(log, "%s/relay-%s.log", r->folder, i ? "b" : "a");
    (void)snprintf(p->name, sizeof p->name, "relay %s", i ? "b" : "a");
    const char *argv[] = {program,
                          "relay",
                          "--listen",
                          listen,
                          "--connect",
                          connect,
                          i ? "--listen-wire" : "--connect-wire",
                          "native",
                          "--psk",
                          keys,
                          "--resume-timeout",
                          "5",
                          NULL};
    const char *env[] = {cert_path(cell, "VMS_CELL=%s", cert_str(r->cell, "id")), NULL};
    if (cert_spawn(p, argv, env, log, cert_rig_seconds(r)) != 0)
        return -1;
    for (bool up = false; !up && !cert_ended(p); cert_nap()) {
        char *text = cert_read(log, 4096, NULL);
        up = text && strstr(text, "listening on ");
        free(text);
    }
    return p->ended ? -1 : 0;
}

static int start_relays(struct cert_rig *r) {
    char near[CERT_PATH], link[CERT_PATH], link_tap[CERT_PATH], far[CERT_PATH], error[256];
    if (strcmp(cert_str(r->cell, "through"), "relay") != 0)
        return 0;
    cert_path(near, "unix:%s/near", r->sockets);
    cert_path(link, "unix:%s/link", r->sockets);
    cert_path(link_tap, "unix:%s/link-tap", r->sockets);
    cert_path(far, "%s", r->uri_connect);
    r->link =
        vms_tap_start(&(struct vms_tap_options){link_tap + 5, link + 5, NULL}, error, sizeof error);
    if (!r->link || start_relay(r, 1, link, far) != 0 || start_relay(r, 0, near, link_tap) != 0) {
        cert_result_is(r->result, CERT_ERROR, "a relay does not start");
        return -1;
    }
    cert_path(r->uri_connect, "%s", near);
    return 0;
}

/* ---- the run ---- */

static bool is_up(struct cert_rig *r) {
    struct cert_end *d = &r->ends[CERT_DESTINATION];
    while (!cert_end_has(d, "ready")) {
        if (cert_ended(&d->process))
            return cert_end_has(d, "ready");
        cert_nap();
    }
    return true;
}

/* Nothing was ever sent to it: it cannot know that nothing will be. */
static bool waits_in_vain(const struct cert_rig *r) {
    return cert_exit(&r->ends[CERT_SOURCE].process) == 127 ||
           (r->tap && vms_tap_count(r->tap) == 0);
}

static void hurry(struct cert_process *p, unsigned patience) {
    int64_t soon = cert_now() + LINGER_S * 1000 * (int64_t)patience;
    if (!p->ended && p->deadline > soon)
        p->deadline = soon;
}

/*
 * [HOST-4] Octets of a script were refused: the script is over when its connection was closed, and
 * a destination that goes on waiting for its true source (NAT-45) is right, too.
 */
static void part(struct cert_rig *r) {
    struct cert_process *d = &r->ends[CERT_DESTINATION].process;
    int64_t end = cert_now() + PARTING_MS * (int64_t)r->patience;
    if (strcmp(cert_str(cert_case_body(r->test), "script"), "octets") != 0)
        return;
    while (!cert_ended(d) && cert_now() < end)
        cert_nap();
    if (!d->ended)
        cert_result_note(r->result, "it closed the connection, and waits for another one");
    cert_kill(d);
}

static void watch(struct cert_rig *r) {
    struct cert_process *s = &r->ends[CERT_SOURCE].process;
    struct cert_process *d = &r->ends[CERT_DESTINATION].process;
    bool hurried = false;
    for (;;) {
        bool s_over = cert_ended(s), d_over = cert_ended(d);
        if (s_over && d_over)
            return;
        if (s_over && waits_in_vain(r))
            cert_kill(d);
        if (s_over && !d_over)
            part(r);
        if (d_over && cert_exit(d) == 127)
            cert_kill(s);
        if ((s_over || d_over) && !hurried) {
            hurry(s, r->patience);
            hurry(d, r->patience);
            hurried = true;
        }
        (void)cert_ended(&r->relays[0]);
        (void)cert_ended(&r->relays[1]);
        cert_fault_step(r);
        cert_nap();
    }
}

/* [RLY-8] Relays of a migration that is done end by themselves, in good order. */
static void end_relay(struct cert_rig *r, int i, bool done) {
    struct cert_process *p = &r->relays[i];
    char log[CERT_PATH];
    if (done && p->started) {
        hurry(p, r->patience);
        cert_wait(p);
        cert_path(log, "%s/relay-%s.log", r->folder, i ? "b" : "a");
        char *words = cert_tail(log, 300);
        if (cert_exit(p) != 0)
            cert_break(r, "%s %s: %s", p->name, p->late ? "does not end" : "gives up", words);
        free(words);
    }
    cert_kill(p);
}

static bool both_are_done(const struct cert_rig *r) {
    return cert_exit(&r->ends[0].process) == 0 && cert_exit(&r->ends[1].process) == 0;
}

/* A file is read when it is complete. */
static void run_by_file(struct cert_rig *r) {
    struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    if (cert_rig_start(r, s, d, r->uri_connect) != 0)
        return;
    cert_wait(&s->process);
    if (cert_exit(&s->process) == 0 && cert_rig_start(r, d, s, r->uri_listen) == 0)
        cert_wait(&d->process);
}

static void run_live(struct cert_rig *r) {
    struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    if (cert_rig_start(r, d, s, r->uri_listen) != 0 || !is_up(r) || start_relays(r) != 0)
        return;
    if (cert_rig_start(r, s, d, r->uri_connect) == 0)
        watch(r);
}

void cert_run_pair(struct cert_rig *r) {
    if (cert_shared_make(r) != 0 || set_uris(r) != 0)
        return;
    if (is_file(r))
        run_by_file(r);
    else
        run_live(r);
    if (r->tap)
        vms_tap_cut(r->tap); /* the files are complete */
    for (int i = 0; i < 2; i++) {
        cert_end_read(&r->ends[i]);
        end_relay(r, i, both_are_done(r));
    }
    if (cert_result_verdict(r->result) == CERT_PASS && cert_judge_ends(r)) {
        cert_judge_wire(r);
        cert_judge_state(r);
    }
}
