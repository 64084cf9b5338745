/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/tap.h"
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Real QEMUs switch to postcopy towards reference-dst, where threads read all memory at random:
 * each page is asked for through real userfaultfd, and comes from QEMU. When it is over memory is
 * QEMU's, and every page that was missing has been placed once, whatever was cut meanwhile.
 * [DST-15] [DST-17] [DST-18] [PKG-5] [PRE-1] [REC-1] [REC-3] [REC-4] [RP-8] [RP-9] [RAM-32]
 */

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define POSTCOPY  LIST("return-path", "postcopy-ram")
#define PREEMPT   LIST("return-path", "postcopy-ram", "postcopy-preempt")
#define MULTIFD   LIST("return-path", "postcopy-ram", "multifd")
#define ALL       LIST("return-path", "postcopy-ram", "postcopy-preempt", "multifd")
#define PRE       "\"max-bandwidth\": 8388608, \"downtime-limit\": 1"
#define FAST      "{" PRE ", \"max-postcopy-bandwidth\": 33554432}"
#define SLOW      "{" PRE ", \"max-postcopy-bandwidth\": 2097152}"
/* With multifd QEMU sends all of memory once before it switches: the guest has to write much. */
#define FAST_MULTIFD                                                                               \
    "{\"max-bandwidth\": 1048576, \"max-postcopy-bandwidth\": 4194304, \"downtime-limit\": 1, "    \
    "\"multifd-channels\": 2}"

enum {
    SWITCH_AT = 4 << 20, /* bytes on the main channel */
    BETWEEN_CUTS = 64 << 10,
    ASKED = 200, /* bytes: more than all PONGs */
    WAIT_MS = 120000,
};

struct scene {
    struct live live;
    struct vms_tap *tap;
    char uri[128];
};

static const char *program(void) {
    static char path[512];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/reference-dst", build ? build : "build");
    return path;
}

static void must(struct scene *s, int rc) {
    cr_assert_eq(rc, 0, "%s\n%s", s->live.error, vms_qemu_error(s->live.qemu));
}

static void until(struct scene *s, const char *state) {
    must(s, vms_qemu_wait_migration(s->live.qemu, LIST(state), WAIT_MS, NULL));
}

static void set_up(struct scene *s, const struct live_case *what) {
    struct vms_peer peer;
    char near[128], far[128];
    if (!vms_peer_find(what->version, &peer))
        cr_skip_test("peer absent: QEMU %s, make peers fetches it", what->version);
    memset(s, 0, sizeof *s);
    cr_assert_eq(live_boot(&s->live, what, program()), 0, "%s", s->live.error);
    cr_assert_eq(live_listen(&s->live), 0, "%s", s->live.error);
    (void)snprintf(near, sizeof near, "%s/tap", s->live.dir);
    (void)snprintf(far, sizeof far, "%s/migrate", s->live.dir);
    (void)snprintf(s->uri, sizeof s->uri, "unix:%s", near);
    struct vms_tap_options o = {.listen_path = near, .connect_path = far};
    s->tap = vms_tap_start(&o, s->live.error, sizeof s->live.error);
    cr_assert_not_null(s->tap, "%s", s->live.error);
    must(s, vms_qemu_set_capabilities(s->live.qemu, what->capabilities));
    must(s, vms_qemu_set_parameters(s->live.qemu, json_loads(what->parameters, 0, NULL)));
}

static bool is_multifd(const struct live_case *what) {
    return strstr(what->parameters, "multifd") != NULL;
}

/* The main channel carries little with multifd: its first synchronisation is enough. */
static void enter_postcopy(struct scene *s) {
    uint64_t at = is_multifd(s->live.what) ? 512 : SWITCH_AT;
    must(s, vms_qemu_migrate(s->live.qemu, s->uri));
    must(s, vms_tap_wait_forward(s->tap, 0, at, WAIT_MS));
    must(s, vms_qemu_execute(s->live.qemu, "migrate-start-postcopy", NULL, NULL));
}

/* The destination runs: it has asked for pages. Before that a cut is a failed migration (REC-7). */
static void until_asked(struct scene *s, unsigned main) {
    for (int ms = 0; vms_tap_connection(s->tap, main).reverse < ASKED; ms++) {
        cr_assert_lt(ms, WAIT_MS, "no page requests");
        (void)usleep(1000); /* the tap announces no bytes of this direction */
    }
}

/* Of all channels: on a busy machine most pages are asked for, and go by the preempt channel. */
static uint64_t forwarded(const struct scene *s) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < vms_tap_count(s->tap); i++)
        sum += vms_tap_connection(s->tap, i).forward;
    return sum;
}

static void until_forwarded(struct scene *s, uint64_t bytes) {
    for (int ms = 0; forwarded(s) < bytes; ms++) {
        cr_assert_lt(ms, WAIT_MS, "%llu bytes, not %llu", (unsigned long long)forwarded(s),
                     (unsigned long long)bytes);
        (void)usleep(1000);
    }
}

/* Cuts everything when some more pages have come, and connects anew. */
static void cut(struct scene *s, unsigned *main) {
    until(s, "postcopy-active");
    uint64_t now = forwarded(s);
    until_asked(s, *main);
    until_forwarded(s, now + BETWEEN_CUTS);
    vms_tap_cut(s->tap);
    until(s, "postcopy-paused");
    *main = vms_tap_count(s->tap);
    must(s, vms_qemu_migrate_resume(s->live.qemu, s->uri));
}

static json_int_t number(const struct scene *s, const char *object, const char *key) {
    return json_integer_value(json_object_get(json_object_get(s->live.report, object), key));
}

static json_int_t preempt_bytes(const struct scene *s) {
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(s->live.report, "channels"), i, c) {
        if (strcmp(json_string_value(json_object_get(c, "kind")), "preempt") == 0)
            return json_integer_value(json_object_get(c, "bytes"));
    }
    return 0;
}

/* One message a host page; a cut swallows some, and then they are asked for again. */
static void check_requests(const struct scene *s, unsigned cuts) {
    json_int_t sent =
        number(s, "return_path", "REQ_PAGES") + number(s, "return_path", "REQ_PAGES_ID");
    json_int_t asked = number(s, "postcopy", "requests") + number(s, "postcopy", "repeated");
    cr_expect(cuts ? sent <= asked : sent == asked);
}

static void check(struct scene *s, unsigned cuts) {
    cr_assert_eq(live_finish(&s->live), 0, "%s", s->live.error);
    cr_assert_eq(live_compare(&s->live), 0, "%s", s->live.error);
    cr_expect_eq(s->live.guest_report.bad, 0u);
    cr_expect_eq(number(s, "postcopy", "missing"), 0);
    cr_expect_gt(number(s, "postcopy", "awaited"), 0);
    cr_expect_eq(number(s, "postcopy", "placed"), number(s, "postcopy", "awaited"));
    cr_expect_gt(number(s, "postcopy", "requests"), 0);
    check_requests(s, cuts);
    cr_expect_eq(number(s, "postcopy", "recoveries"), cuts);
    cr_expect_eq(number(s, "return_path", "RESUME_ACK"), cuts);
    cr_expect_eq(number(s, "return_path", "SHUT"), 1);
    cr_expect_eq(number(s, "return_path", "PONG"), number(s, "commands", "PING"));
}

static void run(const struct live_case *what, unsigned cuts) {
    static struct scene s;
    unsigned main = 0;
    set_up(&s, what);
    enter_postcopy(&s);
    for (unsigned i = 0; i < cuts; i++)
        cut(&s, &main);
    until(&s, "completed");
    check(&s, cuts);
    if (what->capabilities[2] && strcmp(what->capabilities[2], "postcopy-preempt") == 0 && !cuts)
        cr_expect_gt(preempt_bytes(&s), 0, "nothing came on the preempt channel");
    vms_tap_stop(s.tap);
    live_free(&s.live);
}

#define TOUCH .dst_args = LIST("--touch", "2", "--recover-timeout", "60")
#define CASE(name, cuts, ver, mach, caps, params)                                                  \
    Test(postcopy, name, .timeout = 300) {                                                         \
        run(&(const struct live_case){.version = ver,                                              \
                                      .machine = mach,                                             \
                                      .capabilities = caps,                                        \
                                      .parameters = params,                                        \
                                      .pages_per_tick = strstr(params, "multifd") ? 800 : 40,      \
                                      TOUCH},                                                      \
            cuts);                                                                                 \
    }

CASE(qemu72, 0, "7.2", "pc", POSTCOPY, FAST)
CASE(qemu72_preempt, 0, "7.2", "pc", PREEMPT, FAST)
CASE(qemu72_recovery, 3, "7.2", "pc", POSTCOPY, SLOW)
CASE(qemu72_preempt_recovery, 3, "7.2", "pc", PREEMPT, SLOW)
CASE(qemu100, 0, "10.0", "pc", POSTCOPY, FAST)
CASE(qemu100_preempt, 0, "10.0", "pc", PREEMPT, FAST)
CASE(qemu111, 0, "11.1", "pc", POSTCOPY, FAST)
CASE(qemu111_preempt, 0, "11.1", "pc", PREEMPT, FAST)
CASE(qemu111_old_machine, 0, "11.1", "pc-i440fx-7.2", PREEMPT, FAST)
CASE(qemu111_multifd, 0, "11.1", "pc", MULTIFD, FAST_MULTIFD)
CASE(qemu111_multifd_preempt, 0, "11.1", "pc", ALL, FAST_MULTIFD)
CASE(qemu111_recovery, 3, "11.1", "pc", POSTCOPY, SLOW)
CASE(qemu111_preempt_recovery, 5, "11.1", "pc", PREEMPT, SLOW)
