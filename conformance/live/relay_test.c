/* SPDX-License-Identifier: MIT */
#include "conformance/live/relay_rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * QEMU -> relay => relay -> QEMU, with our guest. Neither QEMU knows of the relays; the guest goes
 * on at the destination, and its memory is what it was.
 * [RLY-1] [RLY-2] [RLY-3] [RLY-4] [RLY-5] [RLY-6] [RLY-7] [RLY-8] [RLY-9] [RLY-10] [RLY-11]
 * [RLY-15]
 */

enum {
    HEARTBEAT_MS = 60000,
    EXIT_MS = 120000,
};

static void run(const struct relay_case *what) {
    struct rig g;
    rig_set_up(&g, what);
    rig_migrate(&g);
    if (what->postcopy)
        rig_go_postcopy(&g);
    if (what->cuts)
        rig_cut_link(&g);
    rig_expect_state(&g, g.src, "completed");
    rig_expect_state(&g, g.dst, "completed");
    rig_relays_end(&g);
    cr_expect_eq(g.a_status, 0, "%s", rig_log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 0, "%s", rig_log_of(&g, "b.log"));
    if (!what->postcopy)
        rig_compare_memory(&g);
    rig_guest_goes_on(&g);
    rig_compare_reports(&g);
    if (what->at_once)
        rig_expect_listen_last(&g);
    cr_expect_geq(rig_link_number(g.a_report, "resumes"), what->cuts);
    rig_tear_down(&g);
}

#define RELAY(name, ...)                                                                           \
    Test(relay, name, .timeout = 300) {                                                            \
        run(&(const struct relay_case){__VA_ARGS__});                                              \
    }

#define RP       .capabilities = LIST("return-path")
#define MULTIFD  .capabilities = LIST("return-path", "multifd")
#define TWO      .parameters = "{\"multifd-channels\": 2, " SLOW "}"
#define POSTCOPY .postcopy = true, .capabilities = LIST("return-path", "postcopy-ram")
#define PREEMPT                                                                                    \
    .postcopy = true, .capabilities = LIST("return-path", "postcopy-ram", "postcopy-preempt")
#define PRE_SLOW  .parameters = "{\"max-bandwidth\": 2097152, \"max-postcopy-bandwidth\": 8388608}"
#define POST_SLOW .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 8388608}"

RELAY(precopy, .machine = "pc")
RELAY(return_path, RP)
RELAY(unsealed, RP, .no_key = true, .options = LIST("--seal", "none"))
RELAY(multifd, MULTIFD, TWO)
RELAY(zstd, RP, .options = LIST("--pack", "zstd:3"))
RELAY(multifd_zstd_gmac, MULTIFD, TWO, .options = LIST("--pack", "zstd", "--seal", "gmac"))
RELAY(postcopy, POSTCOPY, POST_SLOW)
RELAY(preempt, PREEMPT, PRE_SLOW)
/* [RLY-15] LISTEN comes before the preempt channel could be known by its silence. */
RELAY(preempt_at_once, PREEMPT, PRE_SLOW, .at_once = true)
RELAY(preempt_at_once_no_resume, PREEMPT, PRE_SLOW, .at_once = true,
      .options = LIST("--resume-timeout", "0"))
/* E-55: 2 to 9 % of these guests go on with an old page, relay or not. */
RELAY(preempt_at_once_111, PREEMPT, PRE_SLOW, .at_once = true, .source = "11.1",
      .destination = "11.1")
RELAY(preempt_at_once_to_111, PREEMPT, PRE_SLOW, .at_once = true, .destination = "11.1",
      .machine = "pc-i440fx-7.2")
/* [RLY-14] */
RELAY(plain, RP, .plain = true, .no_key = true)
RELAY(plain_multifd, MULTIFD, TWO, .plain = true, .no_key = true)
RELAY(plain_preempt, PREEMPT, PRE_SLOW, .plain = true, .no_key = true)
RELAY(plain_preempt_at_once, PREEMPT, PRE_SLOW, .plain = true, .no_key = true, .at_once = true)
RELAY(tls, RP, .tls = true)
RELAY(to_111, RP, .destination = "11.1", .machine = "pc-i440fx-7.2")
RELAY(to_111_multifd, MULTIFD, TWO, .destination = "11.1", .machine = "pc-i440fx-7.2")
RELAY(from_111_preempt, PREEMPT, PRE_SLOW, .source = "11.1", .destination = "11.1")
RELAY(cut_five_times, RP, .parameters = "{" CRAWL "}", .cuts = 5)
RELAY(cut_multifd, MULTIFD, .parameters = "{\"multifd-channels\": 2, " CRAWL "}", .cuts = 5,
      .options = LIST("--replay-bytes", "1M"))
RELAY(cut_zstd, RP, .parameters = "{" CRAWL "}", .cuts = 5, .options = LIST("--pack", "zstd"))
RELAY(cut_postcopy, POSTCOPY, .parameters = "{" CRAWL "}", .cuts = 4)
RELAY(cut_preempt, PREEMPT, .parameters = "{" CRAWL "}", .cuts = 4)

/* A QEMU 7.2 that loads ends when its stream breaks off. */
static void destination_ends(struct rig *g) {
    int status = 0;
    rig_must(g, g->dst, vms_qemu_wait_exit(g->dst, EXIT_MS, &status));
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status 0x%x", (unsigned)status);
}

static void source_runs_on(struct rig *g) {
    char status[32] = "";
    rig_must(g, g->src, vms_qemu_status(g->src, status, sizeof status));
    cr_expect_str_eq(status, "running");
    ssize_t end = vms_qemu_wait_serial(g->src, "hb ", 0, HEARTBEAT_MS);
    for (int i = 0; i < 30 && end >= 0; i++) /* more than there was before the failure */
        end = vms_qemu_wait_serial(g->src, "hb ", (size_t)end, HEARTBEAT_MS);
    cr_expect_geq(end, 0, "%s", vms_qemu_error(g->src));
    cr_expect_not(vms_qemu_serial_has(g->src, "BAD"));
}

/* [RLY-9] [RLY-10] The link stays away: both QEMUs fail cleanly, and the guest runs on. */
Test(relay, given_up, .timeout = 300) {
    const struct relay_case what = {RP, .parameters = "{" CRAWL "}",
                                    .options = LIST("--resume-timeout", "2")};
    struct rig g;
    rig_set_up(&g, &what);
    rig_migrate(&g);
    (void)usleep(600000);
    vms_tap_stop(g.tap);
    g.tap = NULL;
    rig_expect_state(&g, g.src, "failed");
    destination_ends(&g);
    rig_relays_end(&g);
    cr_expect_eq(g.a_status, 1, "%s", rig_log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 1, "%s", rig_log_of(&g, "b.log"));
    cr_expect(strstr(rig_log_of(&g, "a.log"), "given up"), "%s", rig_log_of(&g, "a.log"));
    cr_expect(strstr(rig_log_of(&g, "b.log"), "given up"), "%s", rig_log_of(&g, "b.log"));
    source_runs_on(&g);
    rig_tear_down(&g);
}

/* [RLY-10] The source gives up: the destination gets to know, and both relays say why. */
Test(relay, cancelled, .timeout = 300) {
    const struct relay_case what = {RP, .parameters = "{" CRAWL "}"};
    struct rig g;
    rig_set_up(&g, &what);
    rig_migrate(&g);
    (void)usleep(600000);
    rig_must(&g, g.src, vms_qemu_execute(g.src, "migrate_cancel", NULL, NULL));
    rig_expect_state(&g, g.src, "cancelled");
    destination_ends(&g);
    rig_relays_end(&g);
    cr_expect_eq(g.a_status, 1, "%s", rig_log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 1, "%s", rig_log_of(&g, "b.log"));
    rig_tear_down(&g);
}

/* QEMU's own connection breaks in postcopy: it pauses, and the same relays carry the recovery. */
static void recover(struct rig *g, struct vms_tap *tap, const char *uri) {
    char listen[160];
    rig_expect_state(g, g->src, "postcopy-active");
    (void)usleep(300000);
    vms_tap_cut(tap);
    rig_expect_state(g, g->src, "postcopy-paused");
    rig_expect_state(g, g->dst, "postcopy-paused");
    (void)snprintf(listen, sizeof listen, "unix:%s/dst", g->live.dir);
    rig_must(g, g->dst,
             vms_qemu_execute(g->dst, "migrate-recover", json_pack("{s:s}", "uri", listen), NULL));
    rig_must(g, g->src, vms_qemu_migrate_resume(g->src, uri));
}

static void run_recovery(const struct relay_case *what) {
    struct rig g;
    char near[128], far[128], uri[160];
    rig_set_up(&g, what);
    rig_path_of(&g, "srctap", near, sizeof near);
    rig_path_of(&g, "src", far, sizeof far);
    (void)snprintf(uri, sizeof uri, "unix:%s", near);
    struct vms_tap_options o = {.listen_path = near, .connect_path = far};
    struct vms_tap *tap = vms_tap_start(&o, g.live.error, sizeof g.live.error);
    cr_assert(tap, "%s", g.live.error);
    rig_must(&g, g.src, vms_qemu_migrate(g.src, uri));
    rig_go_postcopy(&g);
    recover(&g, tap, uri);
    rig_expect_state(&g, g.src, "completed");
    rig_expect_state(&g, g.dst, "completed");
    rig_relays_end(&g);
    cr_expect_eq(g.a_status, 0, "%s", rig_log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 0, "%s", rig_log_of(&g, "b.log"));
    rig_guest_goes_on(&g);
    vms_tap_stop(tap);
    rig_tear_down(&g);
}

/* [RLY-5] [RLY-7] */
Test(relay, recovery, .timeout = 300) {
    run_recovery(&(const struct relay_case){POSTCOPY, .parameters = "{" CRAWL "}"});
}
