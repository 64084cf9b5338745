/* SPDX-License-Identifier: MIT */
#include "conformance/live/relay_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The two relays, and the link between them. */

enum {
    LISTEN_MS = 120000,
    ARGS = 48,
};

static const char *program(void) {
    static char path[512];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/vmstream", build ? build : "build");
    return path;
}

static size_t add(const char **argv, size_t n, const char *const *more) {
    for (; more && *more && n < ARGS - 1; more++)
        argv[n++] = *more;
    argv[n] = NULL;
    return n;
}

/* ---- the link ---- */

void rig_open_net(struct rig *g) {
    if (g->what->mbit && vms_net_open(&g->net, g->what->mbit, g->live.error, 200) != 0)
        cr_skip_test("peer absent: %s", g->live.error);
}

/* What is started now is on that host; all on one where the link has no rate of its own. */
static void enter(struct rig *g, enum vms_net_side side) {
    if (g->what->mbit)
        cr_assert_eq(vms_net_enter(&g->net, side), 0, "%s", strerror(errno));
}

static void leave(struct rig *g) {
    if (g->what->mbit)
        cr_assert_eq(vms_net_leave(&g->net), 0, "%s", strerror(errno));
}

static const char *b_listens_on(const struct relay_case *what) {
    if (what->mbit)
        return "tcp:" VMS_NET_ADDRESS_B ":0";
    return what->tls ? "tls:localhost:0" : "unix:%s";
}

/* The long line begins on host A. name: what relay B listens on. */
static void start_wan(struct rig *g, const char *near, const char *name) {
    const char *port = strrchr(name, ':');
    cr_assert(port);
    struct vms_wan_options o = {.listen_path = near,
                                .connect_host = VMS_NET_ADDRESS_B,
                                .connect_port = (uint16_t)atoi(port + 1),
                                .delay_ms = g->what->delay_ms};
    enter(g, VMS_NET_A);
    g->wan = vms_wan_start(&o, g->live.error, sizeof g->live.error);
    leave(g);
    cr_assert(g->wan, "%s", g->live.error);
}

/* ---- the relays ---- */

static pid_t spawn(struct rig *g, bool first, const char *listen, const char *connect) {
    char keys[128], tls[128], report[128], log[128];
    const char *argv[ARGS] = {program(),
                              "relay",
                              "--listen",
                              listen,
                              "--connect",
                              connect,
                              "--report",
                              report,
                              first ? "--connect-wire" : "--listen-wire",
                              g->what->plain ? "qevm" : "native"};
    size_t n = 10;
    rig_path_of(g, "keys.psk", keys, sizeof keys);
    rig_path_of(g, "tls", tls, sizeof tls);
    rig_path_of(g, first ? "a.json" : "b.json", report, sizeof report);
    rig_path_of(g, first ? "a.log" : "b.log", log, sizeof log);
    if (g->what->plain)
        n = add(argv, n, LIST("--listen-wire", "qevm"));
    if (g->what->tls)
        n = add(argv, n, LIST("--tls-creds", tls));
    else if (!g->what->no_key)
        n = add(argv, n, LIST("--psk", keys));
    n = add(argv, n, g->what->options);
    if (first)
        (void)add(argv, n, g->what->a_options);
    enter(g, first ? VMS_NET_A : VMS_NET_B);
    pid_t pid = live_spawn(argv, log, NULL);
    leave(g);
    return pid;
}

const char *rig_log_of(struct rig *g, const char *name) {
    static char text[2][2000];
    static int turn;
    char path[128], *out = text[turn ^= 1];
    rig_path_of(g, name, path, sizeof path);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, sizeof text[0] - 1, f) : 0;
    out[n] = 0;
    if (f)
        fclose(f);
    return out;
}

/* Both relays say when they listen. */
static void wait_for_listening(struct rig *g, const char *log) {
    int ms = 0;
    while (!strstr(rig_log_of(g, log), "listening on ") && ms < LISTEN_MS) {
        (void)usleep(10000);
        ms += 10;
    }
    cr_assert_lt(ms, LISTEN_MS, "%s", rig_log_of(g, log));
}

/* What comes to the destination, and in which order. */
static void start_dst_tap(struct rig *g) {
    char near[128], far[128], record[128];
    rig_path_of(g, "dsttap", near, sizeof near);
    rig_path_of(g, "dst", far, sizeof far);
    rig_path_of(g, "dst-record", record, sizeof record);
    struct vms_tap_options o = {.listen_path = near, .connect_path = far, .record_prefix = record};
    g->dst_tap = vms_tap_start(&o, g->live.error, sizeof g->live.error);
    cr_assert(g->dst_tap, "%s", g->live.error);
}

void rig_start_relays(struct rig *g) {
    char b_listen[160], b_connect[160], a_listen[160], a_connect[160], near[128], far[128];
    rig_path_of(g, "tap", near, sizeof near);
    rig_path_of(g, "link", far, sizeof far);
    (void)snprintf(b_listen, sizeof b_listen, b_listens_on(g->what), far);
    (void)snprintf(b_connect, sizeof b_connect, "unix:%s/%s", g->live.dir,
                   g->what->at_once ? "dsttap" : "dst");
    if (g->what->at_once)
        start_dst_tap(g);
    (void)snprintf(a_listen, sizeof a_listen, "unix:%s/src", g->live.dir);
    (void)snprintf(a_connect, sizeof a_connect, "unix:%s", near);
    if (g->what->plain) {
        g->a = spawn(g, true, a_listen, b_connect);
        wait_for_listening(g, "a.log");
        return;
    }
    g->b = spawn(g, false, b_listen, b_connect);
    wait_for_listening(g, "b.log");
    const char *name = strstr(rig_log_of(g, "b.log"), "listening on ") + strlen("listening on ");
    if (g->what->delay_ms) {
        start_wan(g, near, name);
    } else if (g->what->tls || g->what->mbit) {
        (void)snprintf(a_connect, sizeof a_connect, "%.*s", (int)strcspn(name, "\n"), name);
    } else {
        struct vms_tap_options o = {.listen_path = near, .connect_path = far};
        g->tap = vms_tap_start(&o, g->live.error, sizeof g->live.error);
        cr_assert(g->tap, "%s", g->live.error);
    }
    g->a = spawn(g, true, a_listen, a_connect);
    wait_for_listening(g, "a.log");
}
