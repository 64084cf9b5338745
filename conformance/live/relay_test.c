/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/tap.h"
#include "conformance/guest/guest_image.h"
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * QEMU -> relay => relay -> QEMU, with our guest. Neither QEMU knows of the relays; the guest goes
 * on at the destination, and its memory is what it was.
 * [RLY-1] [RLY-2] [RLY-3] [RLY-4] [RLY-5] [RLY-6] [RLY-7] [RLY-8] [RLY-9] [RLY-10] [RLY-11]
 */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define KEYS      "vms:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n"
#define SLOW      "\"max-bandwidth\": 16777216, \"downtime-limit\": 100"

enum {
    HEARTBEAT_MS = 60000,
    MIGRATE_MS = 150000,
    EXIT_MS = 30000,
    LISTEN_MS = 20000,
    GUEST_PAGES = 4096,
    PER_TICK = 96,
    ARGS = 48,
};

struct relay_case {
    const char *source, *destination; /* versions; NULL: 7.2 */
    const char *machine;              /* NULL: pc */
    const char *const *capabilities;
    const char *parameters;       /* of the source; the destination gets multifd's too */
    const char *const *options;   /* of both relays, beside the key */
    const char *const *a_options; /* of the first alone */
    bool tls, postcopy, no_key;
    unsigned cuts;
    bool cut_for_good;
};

struct rig {
    const struct relay_case *what;
    struct live live; /* folder, error text, guest's parameters */
    struct vms_qemu *src, *dst;
    pid_t a, b;
    int a_status, b_status;
    struct vms_tap *tap;
    json_t *a_report, *b_report;
};

static void path_of(const struct rig *g, const char *name, char *out, size_t size) {
    (void)snprintf(out, size, "%s/%s", g->live.dir, name);
}

static const char *or72(const char *version) {
    return version ? version : "7.2";
}

static void skip_without(const char *version) {
    struct vms_peer peer;
    if (!vms_peer_find(version, &peer))
        cr_skip_test("peer absent: QEMU %s, make peers fetches it", version);
}

/* ---- QEMUs ---- */

static struct vms_qemu *start_qemu(struct rig *g, bool incoming) {
    char image[128], drive[256];
    path_of(g, "guest.img", image, sizeof image);
    (void)snprintf(drive, sizeof drive, "file=%s,format=raw,read-only=on,if=floppy", image);
    const char *args[] = {"-drive", drive, NULL};
    struct vms_qemu_options o = {
        .version = or72(incoming ? g->what->destination : g->what->source),
        .machine = g->what->machine ? g->what->machine : "pc",
        .memory = "32776K", /* E-55 */
        .args = args,
        .name = incoming ? "destination" : "source",
        .incoming = incoming,
        .paused = incoming && !g->what->postcopy, /* so that memory can be compared */
    };
    return vms_qemu_start(&o, g->live.error, sizeof g->live.error);
}

static void must(struct rig *g, struct vms_qemu *q, int rc) {
    (void)g;
    cr_assert_eq(rc, 0, "%s", vms_qemu_error(q));
}

static void start_qemus(struct rig *g) {
    char image[128], uri[160];
    path_of(g, "guest.img", image, sizeof image);
    vms_guest_defaults(&g->live.guest);
    g->live.guest.pages = GUEST_PAGES;
    g->live.guest.prefill = GUEST_PAGES / 2;
    g->live.guest.mode = VMS_GUEST_RANDOM;
    g->live.guest.zero = 13;
    g->live.guest.run_shift = 2;
    g->live.guest.pages_per_tick = PER_TICK;
    const char *problem = vms_guest_write_image(image, &g->live.guest, VMS_GUEST_DISK_SIZE);
    cr_assert_null(problem);
    g->src = start_qemu(g, false);
    cr_assert(g->src, "%s", g->live.error);
    g->dst = start_qemu(g, true);
    cr_assert(g->dst, "%s", g->live.error);
    struct vms_qemu *both[] = {g->src, g->dst};
    for (int i = 0; i < 2; i++) {
        if (g->what->capabilities)
            must(g, both[i], vms_qemu_set_capabilities(both[i], g->what->capabilities));
        json_t *p = json_loads(g->what->parameters ? g->what->parameters : "{" SLOW "}", 0, NULL);
        must(g, both[i], vms_qemu_set_parameters(both[i], p));
    }
    (void)snprintf(uri, sizeof uri, "unix:%s/dst", g->live.dir);
    must(g, g->dst, vms_qemu_migrate_incoming(g->dst, uri));
    cr_assert_geq(vms_qemu_wait_serial(g->src, "hb 00000002", 0, HEARTBEAT_MS), 0, "%s",
                  vms_qemu_error(g->src));
}

/* ---- relays ---- */

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

static pid_t spawn(struct rig *g, bool first, const char *listen, const char *connect) {
    char keys[128], tls[128], report[128], log[128];
    const char *argv[ARGS] = {program(),  "relay",     "--listen",
                              listen,     "--connect", connect,
                              "--report", report,      first ? "--connect-wire" : "--listen-wire",
                              "native"};
    size_t n = 10;
    path_of(g, "keys.psk", keys, sizeof keys);
    path_of(g, "tls", tls, sizeof tls);
    path_of(g, first ? "a.json" : "b.json", report, sizeof report);
    path_of(g, first ? "a.log" : "b.log", log, sizeof log);
    if (g->what->tls)
        n = add(argv, n, LIST("--tls-creds", tls));
    else if (!g->what->no_key)
        n = add(argv, n, LIST("--psk", keys));
    n = add(argv, n, g->what->options);
    if (first)
        (void)add(argv, n, g->what->a_options);
    return live_spawn(argv, log, NULL);
}

static const char *log_of(struct rig *g, const char *name) {
    static char text[2][2000];
    static int turn;
    char path[128], *out = text[turn ^= 1];
    path_of(g, name, path, sizeof path);
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
    while (!strstr(log_of(g, log), "listening on ") && ms < LISTEN_MS) {
        (void)usleep(10000);
        ms += 10;
    }
    cr_assert_lt(ms, LISTEN_MS, "%s", log_of(g, log));
}

static void start_relays(struct rig *g) {
    char b_listen[160], b_connect[160], a_listen[160], a_connect[160], near[128], far[128];
    path_of(g, "tap", near, sizeof near);
    path_of(g, "link", far, sizeof far);
    (void)snprintf(b_listen, sizeof b_listen, g->what->tls ? "tls:localhost:0" : "unix:%s", far);
    (void)snprintf(b_connect, sizeof b_connect, "unix:%s/dst", g->live.dir);
    (void)snprintf(a_listen, sizeof a_listen, "unix:%s/src", g->live.dir);
    (void)snprintf(a_connect, sizeof a_connect, "unix:%s", near);
    g->b = spawn(g, false, b_listen, b_connect);
    wait_for_listening(g, "b.log");
    if (g->what->tls) {
        const char *name = strstr(log_of(g, "b.log"), "listening on ") + strlen("listening on ");
        (void)snprintf(a_connect, sizeof a_connect, "%.*s", (int)strcspn(name, "\n"), name);
    } else {
        struct vms_tap_options o = {.listen_path = near, .connect_path = far};
        g->tap = vms_tap_start(&o, g->live.error, sizeof g->live.error);
        cr_assert(g->tap, "%s", g->live.error);
    }
    g->a = spawn(g, true, a_listen, a_connect);
    wait_for_listening(g, "a.log");
}

static void set_up(struct rig *g, const struct relay_case *what) {
    char keys[128];
    memset(g, 0, sizeof *g);
    g->what = what;
    skip_without(or72(what->source));
    skip_without(or72(what->destination));
    (void)strcpy(g->live.dir, "/tmp/vms-relay-XXXXXX");
    cr_assert(mkdtemp(g->live.dir));
    path_of(g, "keys.psk", keys, sizeof keys);
    FILE *f = fopen(keys, "we");
    cr_assert(f && fputs(KEYS, f) >= 0 && fclose(f) == 0);
    if (what->tls)
        cr_assert_eq(live_make_certificates(&g->live), 0, "%s", g->live.error);
    start_qemus(g);
    start_relays(g);
}

static void tear_down(struct rig *g) {
    const char *const rm[] = {"/bin/rm", "-rf", g->live.dir, NULL};
    if (g->a > 0)
        (void)live_wait(g->a, 0);
    if (g->b > 0)
        (void)live_wait(g->b, 0);
    vms_tap_stop(g->tap);
    vms_qemu_free(g->src);
    vms_qemu_free(g->dst);
    json_decref(g->a_report);
    json_decref(g->b_report);
    if (!getenv("VMSTREAM_KEEP"))
        (void)live_wait(live_spawn(rm, NULL, NULL), EXIT_MS);
}

/* ---- a migration ---- */

static void migrate(struct rig *g) {
    char uri[160];
    (void)snprintf(uri, sizeof uri, "unix:%s/src", g->live.dir);
    must(g, g->src, vms_qemu_migrate(g->src, uri));
}

static void expect_state(struct rig *g, struct vms_qemu *q, const char *state) {
    const char *const states[] = {state, NULL};
    struct vms_migration_end end;
    cr_assert_eq(vms_qemu_wait_migration(q, states, MIGRATE_MS, &end), 0, "%s\nA: %s\nB: %s",
                 vms_qemu_error(q), log_of(g, "a.log"), log_of(g, "b.log"));
}

static void go_postcopy(struct rig *g) {
    (void)usleep(700000); /* so that there is something of both kinds */
    must(g, g->src, vms_qemu_execute(g->src, "migrate-start-postcopy", NULL, NULL));
}

/* Main's connection carries data; each cut takes all of them. */
static void cut_link(struct rig *g) {
    for (unsigned i = 0; i < g->what->cuts; i++) {
        unsigned before = vms_tap_count(g->tap);
        (void)usleep(400000);
        vms_tap_cut(g->tap);
        cr_assert_eq(vms_tap_wait_connections(g->tap, before + 1, 10000), 0, "cut %u: %s\n%s", i,
                     log_of(g, "a.log"), log_of(g, "b.log"));
    }
}

static void relays_end(struct rig *g) {
    char path[128];
    g->a_status = live_wait(g->a, EXIT_MS);
    g->b_status = live_wait(g->b, EXIT_MS);
    g->a = g->b = 0;
    path_of(g, "a.json", path, sizeof path);
    g->a_report = json_load_file(path, 0, NULL);
    path_of(g, "b.json", path, sizeof path);
    g->b_report = json_load_file(path, 0, NULL);
    cr_log_info("A: %s", log_of(g, "a.log"));
}

/* ---- proofs ---- */

static void *map(const char *dir, const char *file, size_t size) {
    char path[1000];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    uint8_t *mem = calloc(1, size);
    FILE *f = fopen(path, "re");
    cr_assert(f && mem && fread(mem, 1, size, f) == size, "%s", path);
    fclose(f);
    return mem;
}

static void dump(struct rig *g, struct vms_qemu *q, const char *name, struct vms_ram_dump *d,
                 char *dir, size_t size) {
    path_of(g, name, dir, size);
    must(g, q, vms_qemu_dump_ram(q, dir, d));
}

/* Every RAM block is the same at both ends, and holds what the guest says. */
static void compare_memory(struct rig *g) {
    struct vms_ram_dump s, d;
    char sd[128], dd[128];
    dump(g, g->src, "s", &s, sd, sizeof sd);
    dump(g, g->dst, "d", &d, dd, sizeof dd);
    cr_expect_eq(s.count, d.count);
    for (size_t i = 0; i < s.count; i++)
        for (size_t k = 0; k < d.count; k++)
            if (strcmp(s.blocks[i].name, d.blocks[k].name) == 0) {
                void *a = map(sd, s.blocks[i].file, s.blocks[i].used);
                void *b = map(dd, d.blocks[k].file, s.blocks[i].used);
                cr_expect(memcmp(a, b, s.blocks[i].used) == 0, "%s differs", s.blocks[i].name);
                free(a);
                free(b);
            }
    vms_ram_dump_free(&s);
    vms_ram_dump_free(&d);
}

static void check_guest(struct rig *g) {
    struct vms_ram_dump d;
    struct vms_guest_report report;
    char dd[128];
    bool found = false;
    must(g, g->dst, vms_qemu_stop(g->dst));
    dump(g, g->dst, "e", &d, dd, sizeof dd);
    for (size_t i = 0; i < d.count; i++)
        if (d.blocks[i].offset == 0) {
            void *ram = map(dd, d.blocks[i].file, d.blocks[i].used);
            cr_expect_eq(vms_check_guest(ram, d.blocks[i].used, &report), 0, "%s", report.text);
            cr_expect_gt(report.beat, 2u);
            found = true;
            free(ram);
        }
    cr_expect(found);
    vms_ram_dump_free(&d);
}

static void guest_goes_on(struct rig *g) {
    if (!g->what->postcopy)
        must(g, g->dst, vms_qemu_cont(g->dst));
    ssize_t at = vms_qemu_wait_serial(g->dst, "hb ", 0, HEARTBEAT_MS);
    cr_assert_geq(at, 0, "%s", vms_qemu_error(g->dst));
    cr_assert_geq(vms_qemu_wait_serial(g->dst, "hb ", (size_t)at, HEARTBEAT_MS), 0);
    cr_expect_not(vms_qemu_serial_has(g->dst, "BAD"));
    check_guest(g);
}

static json_int_t link_number(const json_t *report, const char *key) {
    return json_integer_value(json_object_get(json_object_get(report, "link"), key));
}

/* Octets of QEVM are the same on both sides, channel for channel. */
static void compare_reports(struct rig *g) {
    json_t *a = json_object_get(g->a_report, "channels");
    json_t *b = json_object_get(g->b_report, "channels");
    cr_expect_eq(json_array_size(a), json_array_size(b));
    cr_expect(json_equal(a, b), "A %s\nB %s", json_dumps(a, 0), json_dumps(b, 0));
    fprintf(stderr,
            "%s -> %s: %zu channels, %lld bytes on the link, %lld resumes, %lld frames again\n",
            or72(g->what->source), or72(g->what->destination), json_array_size(a),
            (long long)link_number(g->a_report, "bytes_out"),
            (long long)link_number(g->a_report, "resumes"),
            (long long)link_number(g->a_report, "frames_again"));
}

static void run(const struct relay_case *what) {
    struct rig g;
    set_up(&g, what);
    migrate(&g);
    if (what->postcopy)
        go_postcopy(&g);
    if (what->cuts)
        cut_link(&g);
    expect_state(&g, g.src, "completed");
    expect_state(&g, g.dst, "completed");
    relays_end(&g);
    cr_expect_eq(g.a_status, 0, "%s", log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 0, "%s", log_of(&g, "b.log"));
    if (!what->postcopy)
        compare_memory(&g);
    guest_goes_on(&g);
    compare_reports(&g);
    cr_expect_geq(link_number(g.a_report, "resumes"), what->cuts);
    tear_down(&g);
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
#define POST_SLOW .parameters = "{\"max-bandwidth\": 8388608, \"max-postcopy-bandwidth\": 8388608}"

RELAY(precopy, .machine = "pc")
RELAY(return_path, RP)
RELAY(unsealed, RP, .no_key = true, .options = LIST("--seal", "none"))
RELAY(multifd, MULTIFD, TWO)
RELAY(zstd, RP, .options = LIST("--pack", "zstd:3"))
RELAY(multifd_zstd_gmac, MULTIFD, TWO, .options = LIST("--pack", "zstd", "--seal", "gmac"))
RELAY(postcopy, POSTCOPY, POST_SLOW)
RELAY(preempt, PREEMPT, POST_SLOW)
RELAY(tls, RP, .tls = true)
RELAY(to_111, RP, .destination = "11.1", .machine = "pc-i440fx-7.2")
RELAY(to_111_multifd, MULTIFD, TWO, .destination = "11.1", .machine = "pc-i440fx-7.2")
RELAY(from_111_preempt, PREEMPT, POST_SLOW, .source = "11.1", .destination = "11.1")
RELAY(cut_five_times, RP, .cuts = 5)
RELAY(cut_multifd, MULTIFD, TWO, .cuts = 5, .options = LIST("--replay-bytes", "4M"))
RELAY(cut_postcopy, POSTCOPY, POST_SLOW, .cuts = 3)

/* [RLY-9] [RLY-10] The link stays away: both QEMUs fail cleanly, and the guest runs on. */
Test(relay, given_up, .timeout = 200) {
    const struct relay_case what = {RP, .options = LIST("--resume-timeout", "2")};
    struct rig g;
    char status[32] = "";
    set_up(&g, &what);
    migrate(&g);
    (void)usleep(600000);
    vms_tap_stop(g.tap);
    g.tap = NULL;
    expect_state(&g, g.src, "failed");
    expect_state(&g, g.dst, "failed");
    relays_end(&g);
    cr_expect_eq(g.a_status, 1, "%s", log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 1, "%s", log_of(&g, "b.log"));
    cr_expect(strstr(log_of(&g, "a.log"), "given up"), "%s", log_of(&g, "a.log"));
    cr_expect(strstr(log_of(&g, "b.log"), "given up"), "%s", log_of(&g, "b.log"));
    must(&g, g.src, vms_qemu_status(g.src, status, sizeof status));
    cr_expect_str_eq(status, "running");
    size_t now = (size_t)vms_qemu_wait_serial(g.src, "hb ", 0, HEARTBEAT_MS);
    cr_expect_geq(vms_qemu_wait_serial(g.src, "hb ", now, HEARTBEAT_MS), 0);
    tear_down(&g);
}

/* [RLY-10] The source gives up: the destination gets to know, and both relays say why. */
Test(relay, cancelled, .timeout = 200) {
    const struct relay_case what = {RP};
    struct rig g;
    set_up(&g, &what);
    migrate(&g);
    (void)usleep(600000);
    must(&g, g.src, vms_qemu_execute(g.src, "migrate_cancel", NULL, NULL));
    expect_state(&g, g.src, "cancelled");
    expect_state(&g, g.dst, "failed");
    relays_end(&g);
    cr_expect_eq(g.a_status, 1, "%s", log_of(&g, "a.log"));
    cr_expect_eq(g.b_status, 1, "%s", log_of(&g, "b.log"));
    tear_down(&g);
}
