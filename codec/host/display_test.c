/* SPDX-License-Identifier: MIT */
#include "host/display.h"

#include <criterion/criterion.h>
#include <pty.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(display, .timeout = 60);

#define MS UINT64_C(1000000)

static struct vms_timeline *two_seconds(void) {
    struct vms_timeline *t =
        vms_timeline_new(&(struct vms_timeline_options){.end = VMS_END_SOURCE}, 0);
    uint32_t c = vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, "data 0"),
             d = vms_timeline_lane(t, 0, VMS_LANE_DEVICE, "vfio-1");
    vms_timeline_phase(t, 0, "precopy");
    vms_timeline_lane_state(t, 0, d, "pre-copy");
    vms_timeline_gauges(t, &(struct vms_gauges){.pending = 3 << 20,
                                                .dirty_rate = 1 << 20,
                                                .rounds = 7,
                                                .throttle = 40,
                                                .expected_downtime_ns = 250 * MS,
                                                .waiting_for = d});
    for (uint64_t i = 0; i <= 20; i++) { /* 1 MiB a second, then 2 */
        uint64_t tenths = i < 10 ? i : 2 * i - 10;
        vms_timeline_count(t, c, &(struct vms_counters){.bytes = (tenths << 20) / 10});
        vms_timeline_count(t, d, &(struct vms_counters){.bytes = 5, .done = 1, .total = 4});
        (void)vms_timeline_tick(t, i * 100 * MS);
    }
    return t;
}

static unsigned lines_of(const char *text) {
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* "REP-9" */
Test(display, block_says_what_is_known) {
    static const char *const want[] = {"prog  precopy  2.0 s\n",
                                       "3.0 MiB",
                                       "2.0 MiB/s",
                                       "pending 3.0 MiB",
                                       "dirty 1.0 MiB/s",
                                       "round 7",
                                       "expected downtime 250 ms",
                                       "throttled by 40 %",
                                       "waiting for the acknowledgement of vfio-1\n",
                                       "pre-copy  #####...............  25 %\n"};
    struct vms_timeline *t = two_seconds();
    char text[4096];
    unsigned n = vms_display_block(vms_timeline_view(t), "prog", 120, 40, text, sizeof text);
    vms_timeline_done(t);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        cr_assert(strstr(text, want[i]), "%s is not in\n%s", want[i], text);
    cr_assert_eq(n, lines_of(text));
    cr_assert(strstr(text, "vfio-1  ") < strstr(text, "data 0  "));
    vms_timeline_free(t);
}

Test(display, at_the_end_it_says_what_came_of_it) {
    struct vms_timeline *t = two_seconds();
    char text[4096], line[400];
    vms_timeline_event(t, 2100 * MS, VMS_EVENT_STOPPED, VMS_NO_LANE, 0, NULL);
    vms_timeline_event(t, 2140 * MS, VMS_EVENT_RUNNING, VMS_NO_LANE, 0, NULL);
    vms_timeline_result(t, 2200 * MS, "completed", NULL);
    const struct vms_timeline_view *v = vms_timeline_view(t);
    (void)vms_display_block(v, "prog", 120, 40, text, sizeof text);
    vms_display_line(v, line, sizeof line);
    vms_timeline_done(t);
    cr_assert(strstr(text, "prog  precopy  2.2 s  completed"), "%s", text);
    cr_assert(strstr(text, " downtime 40.0 ms"), "%s", text);
    static const char *const gone[] = {"pending", "dirty", "expected", "waiting", "throttled"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        cr_assert(!strstr(text, gone[i]) && !strstr(line, gone[i]), "%s", gone[i]);
    vms_timeline_free(t);
}

Test(display, block_keeps_to_its_room) {
    struct vms_timeline *t = two_seconds();
    char name[32], text[4096];
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "multifd %u", i);
        (void)vms_timeline_lane(t, 0, VMS_LANE_CHANNEL, name);
    }
    const struct vms_timeline_view *v = vms_timeline_view(t);
    for (unsigned rows = 1; rows < 40; rows++)
        for (unsigned columns = 1; columns < 100; columns += 7) {
            unsigned n = vms_display_block(v, "prog", columns, rows, text, sizeof text);
            cr_assert(n <= rows && n == lines_of(text));
            for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
                cr_assert(strlen(line) <= columns);
        }
    for (size_t size = 0; size < 300; size++) {
        memset(text, 1, sizeof text);
        (void)vms_display_block(v, "prog", 80, 40, text, size);
        cr_assert(size == 0 || memchr(text, 0, size));
        cr_assert_eq(text[size], 1);
    }
    (void)vms_display_block(v, "prog", 80, 20, text, sizeof text);
    cr_assert(strstr(text, " more\n"));
    vms_timeline_done(t);
    vms_timeline_free(t);
}

struct refreshed {
    struct vms_timeline *t;
    uint32_t lane;
    atomic_uint times;
};

static void refresh(void *ctx, uint64_t now) {
    struct refreshed *r = ctx;
    unsigned n = atomic_fetch_add(&r->times, 1) + 1;
    (void)now;
    vms_timeline_count(r->t, r->lane, &(struct vms_counters){.bytes = 1000u * n});
}

static struct refreshed running(void) {
    uint64_t now = vms_display_now();
    struct refreshed r = {
        .t = vms_timeline_new(&(struct vms_timeline_options){.end = VMS_END_DESTINATION}, now)};
    r.lane = vms_timeline_lane(r.t, now, VMS_LANE_CHANNEL, "main");
    vms_timeline_phase(r.t, now, "loading");
    return r;
}

static size_t read_all(int fd, char *out, size_t size) {
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(fd, out + len, size - 1 - len)) > 0)
        len += (size_t)n;
    out[len] = 0;
    return len;
}

/* "REP-9" */
Test(display, a_pipe_gets_a_line_a_phase) {
    struct refreshed r = running();
    char text[4096];
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    struct vms_display *d =
        vms_display_start(r.t, &(struct vms_display_options){
                                   .fd = fds[1], .program = "prog", .refresh = refresh, .ctx = &r});
    cr_assert(d);
    vms_display_note(d, "something to say");
    vms_timeline_phase(r.t, vms_display_now(), "completed");
    vms_display_stop(d);
    (void)close(fds[1]);
    (void)read_all(fds[0], text, sizeof text);
    (void)close(fds[0]);
    cr_assert(strstr(text, "prog: something to say\n"));
    cr_assert(strstr(text, "completed"), "the last phase is shown: %s", text);
    cr_assert_null(strchr(text, '\033'));
    cr_assert(atomic_load(&r.times) >= 2, "once at least, and once at the end");
    cr_assert_eq(vms_timeline_view(r.t)->totals.bytes, 1000u * atomic_load(&r.times));
    vms_timeline_done(r.t);
    vms_timeline_free(r.t);
}

/* Reads on until what is there has the text. Returns its length. */
static size_t read_until(int fd, char *out, size_t size, const char *what) {
    size_t len = 0;
    for (out[0] = 0; !strstr(out, what) && len + 1 < size; out[len] = 0) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        cr_assert(n > 0);
        len += (size_t)n;
    }
    return len;
}

Test(display, a_terminal_gets_a_block_that_moves) {
    struct refreshed r = running();
    char text[16384];
    int master, slave;
    cr_assert_eq(
        openpty(&master, &slave, NULL, NULL, &(struct winsize){.ws_row = 24, .ws_col = 80}), 0);
    struct vms_display *d =
        vms_display_start(r.t, &(struct vms_display_options){
                                   .fd = slave, .program = "prog", .refresh = refresh, .ctx = &r});
    cr_assert(d);
    size_t len = read_until(master, text, sizeof text, "main");
    vms_display_note(d, "hello");
    vms_display_stop(d);
    (void)close(slave);
    (void)read_all(master, text + len, sizeof text - len);
    (void)close(master);
    /* What was drawn goes away for the note, and comes again below it. */
    char *note = strstr(text, "prog: hello\r\n");
    cr_assert(note, "%s", text);
    cr_assert_eq(strncmp(note + 13, "prog  loading", 13), 0, "%s", note);
    cr_assert(strstr(text, "\033[3A\r\033[Jprog: hello"), "%s", text);
    vms_timeline_free(r.t);
}

Test(display, nothing_is_shown_where_nobody_looks) {
    struct refreshed r = running();
    struct vms_display *d = vms_display_start(
        r.t,
        &(struct vms_display_options){.fd = -1, .program = "p", .refresh = refresh, .ctx = &r});
    vms_display_note(d, "x");
    vms_display_stop(d);
    cr_assert(atomic_load(&r.times) >= 2);
    cr_assert(vms_timeline_view(r.t)->sample_count >= 1);
    vms_timeline_done(r.t);
    vms_timeline_free(r.t);
    cr_assert_null(vms_display_start(NULL, &(struct vms_display_options){.fd = -1}));
    vms_display_stop(NULL);
    vms_display_note(NULL, "x");
}
