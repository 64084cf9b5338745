/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"
#include "conformance/live/vdpa_calls.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/*
 * reference-src to reference-dst as processes, with a guest whose network cards are simulated vDPA
 * devices: its driver transmits all the time, wants every frame back, and changes filters while the
 * migration goes on. [VDPA-4] [VDPA-5] [VDPA-7] [VDPA-11] [VDPA-12] [VDPA-15] [VDPA-18] [VDPA-24]
 */
enum {
    WAIT = 120000,
    MIB = 48,
    PAGES = (MIB + 8) * 256, /* with ram1 and the card */
};

static struct native_rig rig;
static char specs[2][2][160]; /* [source, destination][device] */

static const char *file(const char *name) {
    static char path[4][160];
    static unsigned turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[0], "%s/%s", rig.dir, name);
    return path[turn];
}

static const char *device_log(bool destination, unsigned n) {
    char name[32];
    (void)snprintf(name, sizeof name, "%s%u.dev", destination ? "dst" : "src", n);
    return file(name);
}

static const char *describe(bool destination, unsigned n, const char *text) {
    char name[32];
    (void)snprintf(name, sizeof name, "%s%u.sim", destination ? "dst" : "src", n);
    FILE *f = fopen(file(name), "we");
    cr_assert_not_null(f);
    cr_assert_gt(fprintf(f, "vdpa-sim device\nname %s\nlog %s\necho on\n%s\n", name,
                         device_log(destination, n), text),
                 0);
    (void)fclose(f);
    (void)snprintf(specs[destination][n], sizeof specs[0][0], "sim:%s/%s", rig.dir, name);
    return specs[destination][n];
}

/* tap: the link is cut and comes back, however late. Where it is not, who dies is given up soon. */
static void open_rig(const char *src, const char *dst, bool tap) {
    const char *patience = tap ? "120" : "2";
    cr_assert_eq(native_rig_open(&rig, MIB, "unix", tap), 0, "%s", rig.error);
    native_src_args(&rig, "--vdpa", describe(false, 0, src), "--reconnect", patience, NULL);
    native_dst_args(&rig, "--vdpa", describe(true, 0, dst), "--recover-timeout", patience, NULL);
}

static void start(void) {
    cr_assert_eq(native_start_dst(&rig), 0, "%s", rig.error);
    cr_assert_eq(native_start_src(&rig), 0, "%s", rig.error);
}

static bool has(const char *which, const char *text) {
    char *log = native_log(&rig, which);
    bool found = log && strstr(log, text);
    free(log);
    return found;
}

static void expect_said(const char *which, const char *text) {
    char *log = native_log(&rig, which);
    cr_expect(log && strstr(log, text), "no '%s' in: %s", text, log);
    free(log);
}

typedef bool condition(void);
static void wait_for(condition *is, const char *what) {
    const struct timespec t = {.tv_nsec = 2000000};
    for (int i = 0; i < WAIT / 2 && !is(); i++)
        (void)nanosleep(&t, NULL);
    cr_assert(is(), "in vain: %s", what);
}

static bool has_mapped(void) {
    char *log = vdpa_log_read(device_log(true, 0), 0);
    bool found = log && strstr(log, "\"event\":\"map\"");
    free(log);
    return found;
}
static bool waits(void) {
    return has("src", "the switchover waits for vdpa0");
}

/* ---- what the devices have seen ---- */

static double time_of(const char *line) {
    char t[32] = "0";
    (void)vdpa_log_member(line, "t", t, sizeof t);
    return strtod(t, NULL);
}

/** Of the last line with that in it; 0: none. */
static double last_time(const char *path, const char *needle) {
    char *log = vdpa_log_read(path, 0), *rest = NULL;
    double t = 0;
    for (char *line = log ? strtok_r(log, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest))
        if (strstr(line, needle))
            t = time_of(line);
    free(log);
    return t;
}

static bool is_quiet(const char *path) {
    char *log = vdpa_log_read(path, 0);
    bool bad = !log || strstr(log, "\"broken\"") || strstr(log, "\"unknown\"") ||
               strstr(log, "\"ok\":false");
    free(log);
    return !bad;
}

/* Maps that are left, as the log tells them. */
static long left_mapped(const char *path) {
    char *log = vdpa_log_read(path, 0), *rest = NULL, event[24], n[24];
    long maps = 0;
    for (char *line = log ? strtok_r(log, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        (void)vdpa_log_member(line, "event", event, sizeof event);
        if (strcmp(event, "map") == 0 && strstr(line, "\"result\":0"))
            maps++;
        if (strcmp(event, "unmap") == 0 && vdpa_log_member(line, "maps", n, sizeof n))
            maps -= strtol(n, NULL, 10);
    }
    free(log);
    return maps;
}

/* ---- what came of it ---- */

static json_t *device_lane(json_t *report, const char *name) {
    json_t *lanes = json_object_get(json_object_get(report, "timeline"), "lanes"), *lane;
    size_t i;
    json_array_foreach(lanes, i, lane) if (strcmp(json_string_value(json_object_get(lane, "name")),
                                                  name) == 0) return lane;
    return NULL;
}

static double number(json_t *o, const char *object, const char *key) {
    return json_number_value(json_object_get(object ? json_object_get(o, object) : o, key));
}

static void expect_good(unsigned devices) {
    char name[16];
    native_finish(&rig, WAIT);
    char *src = native_log(&rig, "src"), *dst = native_log(&rig, "dst");
    cr_assert(rig.src_status == 0 && rig.dst_status == 0, "%d: %s\n%d: %s", rig.src_status, src,
              rig.dst_status, dst);
    free(src);
    free(dst);
    cr_assert(rig.src_report && rig.dst_report);
    for (unsigned i = 0; i < devices; i++) {
        json_t *d = json_array_get(json_object_get(rig.dst_report, "vdpa"), i);
        (void)snprintf(name, sizeof name, "vdpa%u", i);
        json_t *there = device_lane(rig.dst_report, name),
               *here = device_lane(rig.src_report, name);
        cr_assert(there && here, "%s has its lane at both ends", name);
        cr_expect_eq(number(there, NULL, "done"), number(there, NULL, "total"));
        cr_expect_gt(number(there, NULL, "total"), 4096.0 * PAGES);
        cr_expect(json_is_true(json_object_get(d, "runs")));
        cr_expect_eq(left_mapped(device_log(false, i)), 0, "the source's is unmapped");
        cr_expect_gt(left_mapped(device_log(true, i)), 0);
        cr_expect(is_quiet(device_log(false, i)) && is_quiet(device_log(true, i)));
    }
}

/* The guest never stopped at the source, and the destination's device is as if it had never been.
 */
static void expect_failed(const char *why) {
    native_finish(&rig, WAIT);
    cr_expect(rig.src_status > 0 && rig.src_status < 128, "%d", rig.src_status);
    expect_said("src", why);
    expect_said("src", "the guest is here");
    json_t *events = json_object_get(json_object_get(rig.src_report, "timeline"), "events"), *e;
    size_t i;
    cr_expect_not_null(events);
    json_array_foreach(events, i, e) cr_expect_str_neq(
        json_string_value(json_object_get(e, "event")), "stopped", "its guest has never stopped");
    cr_expect_gt(left_mapped(device_log(false, 0)), 0, "its device goes on");
    cr_expect(is_quiet(device_log(false, 0)));
}

static void close_rig(void) {
    native_rig_close(&rig);
}

static void check_failure(const char *text, const char *why) {
    open_rig("", text, false);
    start();
    expect_failed(why);
    cr_expect_eq(left_mapped(device_log(true, 0)), 0);
    close_rig();
}

/* ---- good ones ---- */

static void expect_calls(bool destination, const char *name) {
    const char *says;
    char *calls = vdpa_log_calls(device_log(destination, 0), 0, 100);
    cr_expect(vdpa_spec_says(name, calls, &says), "%s: %s\nand not: %s", name, calls, says);
    free(calls);
}

static double of_device(const char *key) {
    return number(json_array_get(json_object_get(rig.dst_report, "vdpa"), 0), NULL, key);
}

/* All maps were in before the source's device fell silent, and the destination's device was ready
 * but for what differs; the calls are those of the table. */
Test(vdpa_both, mapped_while_the_source_runs, .timeout = 300) {
    open_rig("", "page-cost 2us", false);
    native_src_args(&rig, "--bandwidth", "100M", NULL); /* time for both */
    start();
    expect_good(1);
    cr_expect_geq(of_device("prepared"), 1);
    cr_expect_lt(of_device("last_state_bytes"), 100);
    cr_expect_gt(of_device("state_bytes"), 600);
    double mapped = last_time(device_log(true, 0), "\"event\":\"map\"");
    double silent = last_time(device_log(false, 0), "\"call\":\"SUSPEND\"");
    cr_expect(mapped > 0 && mapped < silent, "mapped at %.0f, silent at %.0f", mapped, silent);
    expect_calls(false, "our source");
    expect_calls(true, "our destination");
    close_rig();
}

/* The same without records before the stop. */
Test(vdpa_both, all_state_at_the_end, .timeout = 300) {
    open_rig("", "", false);
    native_src_args(&rig, "--no-early-state", NULL);
    start();
    expect_good(1);
    cr_expect_eq(of_device("prepared"), 0);
    cr_expect_eq(of_device("last_state_bytes"), of_device("state_bytes"));
    expect_calls(true, "our destination, state at once");
    close_rig();
}

/* The guest's driver changes filters all the time: what the device is at the end is what it has
 * said, which the driver's own check at the destination proves. [VDPA-26] [VDPA-28] */
Test(vdpa_both, filters_change_meanwhile, .timeout = 300) {
    open_rig("", "page-cost 40us\ncommand-cost 500us", false);
    start();
    expect_good(1);
    cr_expect_geq(of_device("prepared"), 1);
    close_rig();
}

/* What the device refuses while it is prepared ends it early. [VDPA-29] */
Test(vdpa_both, a_start_that_fails, .timeout = 300) {
    check_failure("fault SET_STATUS eio after 3", "VDPA_DEVICE");
}

/* Mapping takes longer than precopy: the source waits for the grant, and says why. */
Test(vdpa_both, the_source_waits_and_says_why, .timeout = 300) {
    open_rig("", "page-cost 100us", false);
    start();
    expect_good(1);
    expect_said("src", "the switchover waits for vdpa0: the destination has not mapped");
    expect_said("src", "for vdpa0\n");
    expect_said("src", "waits for vdpa0\n"); /* the display's line */
    cr_expect_lt(last_time(device_log(true, 0), "\"event\":\"map\""),
                 last_time(device_log(false, 0), "\"call\":\"SUSPEND\""));
    close_rig();
}

/* early: everything was mapped before the source's card stopped. */
static double downtime(const char *more, bool *early) {
    open_rig("", "page-cost 60us", false);
    native_dst_args(&rig, more, NULL);
    start();
    expect_good(1);
    double us = number(rig.src_report, "timings", "downtime_us");
    *early = last_time(device_log(true, 0), "\"event\":\"map\"") <
             last_time(device_log(false, 0), "\"call\":\"SUSPEND\"");
    close_rig();
    return us;
}

/* The same guest with and without: what mapping takes is downtime again. */
Test(vdpa_both, late_maps_are_downtime, .timeout = 300) {
    bool early;
    (void)downtime(NULL, &early);
    cr_expect(early);
    double late = downtime("--no-early-map", &early);
    cr_expect_not(early);
    cr_expect_gt(late, 60.0 * PAGES, "all of it is downtime: %.0f us", late);
}

Test(vdpa_both, two_devices, .timeout = 300) {
    open_rig("", "page-cost 5us", false);
    native_src_args(&rig, "--vdpa", describe(false, 1, "backend -suspend -resume"), NULL);
    native_dst_args(&rig, "--vdpa", describe(true, 1, "page-cost 10us\nbackend -batch"), NULL);
    start();
    expect_good(2);
    close_rig();
}

/* Beside a VFIO device: each holds the switchover up for its own reason. */
Test(vdpa_both, with_a_vfio_device, .timeout = 300) {
    static char vfio[2][200];
    open_rig("", "page-cost 20us", false);
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(file(i ? "dstv.sim" : "srcv.sim"), "we");
        cr_assert_not_null(f);
        (void)fprintf(f, "vfio-sim device\nname vf\nlog %s/%d.vf\ninitial 1M\nstop 1M\n", rig.dir,
                      i);
        (void)fclose(f);
        (void)snprintf(vfio[i], sizeof vfio[0], "sim:%s/%s", rig.dir, i ? "dstv.sim" : "srcv.sim");
    }
    native_src_args(&rig, "--vfio", vfio[0], "--switchover-ack", NULL);
    native_dst_args(&rig, "--vfio", vfio[1], NULL);
    start();
    expect_good(1);
    close_rig();
}

/* Cut again and again while memory is mapped: requests and grants are not lost. */
Test(vdpa_both, cuts_while_mapping, .timeout = 300) {
    const struct timespec t = {.tv_nsec = 100000000}; /* any moment will do */
    open_rig("", "page-cost 80us", true);
    start();
    wait_for(has_mapped, "maps");
    for (int i = 0; i < 3; i++) {
        vms_tap_cut(rig.tap);
        (void)nanosleep(&t, NULL);
    }
    expect_good(1);
    cr_expect_gt(number(rig.dst_report, "native", "resumes"), 0);
    close_rig();
}

/* ---- bad ones: nothing was stopped, nothing stays mapped ---- */

Test(vdpa_both, a_map_that_fails, .timeout = 300) {
    check_failure("page-cost 5us\nfault MAP enodev after 2 times 0", "VDPA_DEVICE");
    check_failure("fault BATCH_END eio times 0", "VDPA_DEVICE");
}

Test(vdpa_both, memlock_is_too_small, .timeout = 300) {
    struct rlimit was, limit;
    cr_assert_eq(getrlimit(RLIMIT_MEMLOCK, &was), 0);
    limit = was;
    limit.rlim_cur = 4 << 20;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    check_failure("pin on", "VDPA_MEMLOCK");
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &was), 0);
}

Test(vdpa_both, refused_at_setup, .timeout = 300) {
    check_failure("ring-size 8", "rings of 8, the guest has 16");
    check_failure("features -ctrl-vlan", "it has no features");
    check_failure("pairs 2", "its control queue is number");
}

Test(vdpa_both, cancelled_while_it_waits, .timeout = 300) {
    open_rig("", "page-cost 300us", false);
    start();
    wait_for(waits, "the source waits");
    cr_assert_eq(kill(rig.src, SIGINT), 0);
    expect_failed("CANCELLED");
    cr_expect_eq(left_mapped(device_log(true, 0)), 0);
    close_rig();
}

Test(vdpa_both, the_destination_dies_while_mapping, .timeout = 300) {
    open_rig("", "page-cost 300us", false);
    start();
    wait_for(has_mapped, "maps");
    cr_assert_eq(kill(rig.dst, SIGKILL), 0);
    expect_failed("reference-src: ");
    cr_expect_eq(rig.dst_status, 128 + SIGKILL);
    close_rig();
}

/* [VDPA-25] */
Test(vdpa_both, only_natively, .timeout = 300) {
    cr_assert_eq(native_rig_open(&rig, 8, "unix", false), 0, "%s", rig.error);
    native_src_args(&rig, "--wire", "qevm", NULL);
    native_dst_args(&rig, "--vdpa", describe(true, 0, ""), NULL);
    start();
    native_finish(&rig, WAIT);
    cr_expect(rig.src_status > 0 && rig.dst_status > 0, "%d, %d", rig.src_status, rig.dst_status);
    expect_said("dst", "vDPA devices come on the native wire");
    close_rig();
}
