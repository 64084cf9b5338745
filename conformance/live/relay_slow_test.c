/* SPDX-License-Identifier: MIT */
#include "conformance/live/relay_rig.h"

#include <criterion/criterion.h>
#include <time.h>
#include <unistd.h>

/*
 * The relays on two hosts with a slow link between them: 100 Mbit/s, and with a long line 10 ms
 * each way, which is held up and cut in the middle. QEMU's stream is packed and sealed on it.
 * [RLY-1] [RLY-2] [RLY-3] [RLY-9] [RLY-11] [RLY-12]
 */
enum {
    MBIT = 100,
    DELAY_MS = 10,
    CUT_MS = 10000,
    FLOW_BYTES = 1 << 20, /* before the line is held up, and again before it is cut */
    STALL_US = 600000,    /* longer than any of the relays' own periods */
};

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double octets_of_qemu(const json_t *report) {
    size_t i;
    json_t *lane;
    double sum = 0;
    json_array_foreach(json_object_get(report, "channels"), i, lane) sum +=
        (double)json_integer_value(json_object_get(lane, "bytes"));
    return sum;
}

static void print_figures(const struct rig *g, const char *name, double seconds) {
    double qevm = octets_of_qemu(g->a_report);
    double link = (double)rig_link_number(g->a_report, "bytes_out");
    fprintf(stderr,
            "%s: %.1f MB of QEMU's, %.1f MB on the link, ratio %.2f, %.1f s, %.1f of %d Mbit/s, "
            "%lld resumptions, %lld stalls\n",
            name, qevm / 1e6, link / 1e6, link / qevm, seconds, link * 8 / 1e6 / seconds, MBIT,
            (long long)rig_link_number(g->a_report, "resumes"),
            (long long)rig_link_number(g->a_report, "stalls"));
    /* The limit is there; above it are only the bucket, and what the buffers held at the end. */
    cr_expect_lt(link * 8 / 1e6 / seconds, MBIT * 1.2);
}

/* [RLY-9] Held up the line is not cut: nothing fails, nothing is resumed. Cut, it is. */
static void hold_up_and_cut(struct rig *g) {
    uint64_t before = vms_wan_forward(g->wan);
    cr_assert_eq(vms_wan_wait_forward(g->wan, before + FLOW_BYTES, CUT_MS), 0);
    vms_wan_stall(g->wan);
    (void)usleep(STALL_US); /* what is tested is this time itself */
    vms_wan_go_on(g->wan);
    before = vms_wan_forward(g->wan);
    cr_assert_eq(vms_wan_wait_forward(g->wan, before + FLOW_BYTES, CUT_MS), 0, "%s",
                 rig_log_of(g, "a.log"));
    unsigned count = vms_wan_count(g->wan);
    vms_wan_cut(g->wan);
    cr_assert_eq(vms_wan_wait_connections(g->wan, count + 1, CUT_MS), 0, "%s\n%s",
                 rig_log_of(g, "a.log"), rig_log_of(g, "b.log"));
}

static void run(const char *name, const struct relay_case *what) {
    struct rig g;
    rig_set_up(&g, what);
    double begin = now_s();
    rig_migrate(&g);
    if (what->cuts)
        hold_up_and_cut(&g);
    if (what->postcopy)
        rig_go_postcopy(&g);
    rig_expect_state(&g, g.src, "completed");
    rig_expect_state(&g, g.dst, "completed");
    double seconds = now_s() - begin;
    rig_relays_end(&g);
    cr_expect_eq(g.a_status, 0, "%s", rig_log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 0, "%s", rig_log_of(&g, "b.log"));
    print_figures(&g, name, seconds);
    cr_expect_eq(rig_link_number(g.a_report, "resumes"), what->cuts);
    cr_expect_eq(json_is_true(json_object_get(g.a_report, "postcopy")), what->postcopy);
    if (!what->postcopy)
        rig_compare_memory(&g);
    rig_guest_goes_on(&g);
    rig_compare_reports(&g);
    if (what->at_once)
        rig_expect_listen_last(&g);
    rig_tear_down(&g);
}

/* QEMU's own bandwidth is no limit; what the relays keep is small, so that it sees the link's. */
#define FAST "\"max-bandwidth\": 1073741824, \"max-postcopy-bandwidth\": 1073741824"
#define SEALED                                                                                     \
    .mbit = MBIT, .pages = 12288, .memory = "65544K",                                              \
    .options = LIST("--pack", "zstd", "--seal", "gcm"), .a_options = LIST("--replay-bytes", "2M")
#define LONG   .delay_ms = DELAY_MS, .cuts = 1
#define TO_72  .machine = "pc"
#define TO_111 .destination = "11.1", .machine = "pc-i440fx-7.2"
#define RP     .capabilities = LIST("return-path"), .parameters = "{" FAST "}"
#define MULTIFD                                                                                    \
    .capabilities = LIST("return-path", "multifd"),                                                \
    .parameters = "{\"multifd-channels\": 2, " FAST "}"
#define POSTCOPY                                                                                   \
    .postcopy = true, .capabilities = LIST("return-path", "postcopy-ram"),                         \
    .parameters = "{" FAST "}"

#define PREEMPT                                                                                    \
    .postcopy = true, .capabilities = LIST("return-path", "postcopy-ram", "postcopy-preempt"),     \
    .parameters = "{" FAST "}"

#define SLOW_LINK(name, ...)                                                                       \
    Test(relay_slow, name, .timeout = 300) {                                                       \
        run(#name, &(const struct relay_case){SEALED, __VA_ARGS__});                               \
    }

SLOW_LINK(return_path, TO_72, RP)
SLOW_LINK(return_path_to_111, TO_111, RP)
SLOW_LINK(multifd, TO_72, MULTIFD)
SLOW_LINK(multifd_to_111, TO_111, MULTIFD)
SLOW_LINK(postcopy, TO_72, POSTCOPY)
SLOW_LINK(postcopy_to_111, TO_111, POSTCOPY)
SLOW_LINK(long_line, TO_72, RP, LONG)
SLOW_LINK(long_line_multifd_to_111, TO_111, MULTIFD, LONG)
SLOW_LINK(long_line_postcopy, TO_72, POSTCOPY, LONG)
/* [RLY-15] The longer the line, the later the preempt channel. */
SLOW_LINK(long_line_preempt_at_once, TO_72, PREEMPT, .delay_ms = 10 * DELAY_MS, .at_once = true)
