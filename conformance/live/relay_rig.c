/* SPDX-License-Identifier: MIT */
#include "conformance/live/relay_rig.h"

#include "conformance/guest/guest_image.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmstream/qevm.h>

enum {
    HEARTBEAT_MS = 60000,
    FLOW_BYTES = 256 * 1024, /* between two cuts of the link */
    MIGRATE_MS = 150000,
    EXIT_MS = 120000,
    GUEST_PAGES = 4096,
    PER_TICK = 96,
};

void rig_path_of(const struct rig *g, const char *name, char *out, size_t size) {
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
    rig_path_of(g, "guest.img", image, sizeof image);
    (void)snprintf(drive, sizeof drive, "file=%s,format=raw,read-only=on,if=floppy", image);
    const char *args[] = {"-drive", drive, NULL};
    struct vms_qemu_options o = {
        .version = or72(incoming ? g->what->destination : g->what->source),
        .machine = g->what->machine ? g->what->machine : "pc",
        .memory = g->what->memory ? g->what->memory : "32776K", /* E-55 */
        .args = args,
        .name = incoming ? "destination" : "source",
        .incoming = incoming,
        .paused = incoming && !g->what->postcopy, /* so that memory can be compared */
    };
    return vms_qemu_start(&o, g->live.error, sizeof g->live.error);
}

void rig_must(struct rig *g, struct vms_qemu *q, int rc) {
    (void)g;
    cr_assert_eq(rc, 0, "%s", vms_qemu_error(q));
}

static void start_qemus(struct rig *g) {
    char image[128], uri[160];
    rig_path_of(g, "guest.img", image, sizeof image);
    vms_guest_defaults(&g->live.guest);
    g->live.guest.pages = g->what->pages ? g->what->pages : GUEST_PAGES;
    g->live.guest.prefill = g->what->pages ? g->what->pages : GUEST_PAGES / 2;
    g->live.guest.mode = VMS_GUEST_RANDOM;
    g->live.guest.zero = 13;
    g->live.guest.run_shift = 2;
    g->live.guest.pages_per_tick = g->what->cuts ? PER_TICK / 4 : PER_TICK;
    const char *problem = vms_guest_write_image(image, &g->live.guest, VMS_GUEST_DISK_SIZE);
    cr_assert_null(problem);
    g->src = start_qemu(g, false);
    cr_assert(g->src, "%s", g->live.error);
    g->dst = start_qemu(g, true);
    cr_assert(g->dst, "%s", g->live.error);
    struct vms_qemu *both[] = {g->src, g->dst};
    for (int i = 0; i < 2; i++) {
        if (g->what->capabilities)
            rig_must(g, both[i], vms_qemu_set_capabilities(both[i], g->what->capabilities));
        json_t *p = json_loads(g->what->parameters ? g->what->parameters : "{" SLOW "}", 0, NULL);
        rig_must(g, both[i], vms_qemu_set_parameters(both[i], p));
    }
    (void)snprintf(uri, sizeof uri, "unix:%s/dst", g->live.dir);
    rig_must(g, g->dst, vms_qemu_migrate_incoming(g->dst, uri));
    cr_assert_geq(vms_qemu_wait_serial(g->src, "hb 00000002", 0, HEARTBEAT_MS), 0, "%s",
                  vms_qemu_error(g->src));
}

void rig_set_up(struct rig *g, const struct relay_case *what) {
    char keys[128];
    memset(g, 0, sizeof *g);
    g->what = what;
    skip_without(or72(what->source));
    skip_without(or72(what->destination));
    rig_open_net(g);
    (void)strcpy(g->live.dir, "/tmp/vms-relay-XXXXXX");
    cr_assert(mkdtemp(g->live.dir));
    rig_path_of(g, "keys.psk", keys, sizeof keys);
    FILE *f = fopen(keys, "we");
    cr_assert(f && fputs(KEYS, f) >= 0 && fclose(f) == 0);
    if (what->tls)
        cr_assert_eq(live_make_certificates(&g->live), 0, "%s", g->live.error);
    start_qemus(g);
    rig_start_relays(g);
}

void rig_tear_down(struct rig *g) {
    const char *const rm[] = {"/bin/rm", "-rf", g->live.dir, NULL};
    if (g->a > 0)
        (void)live_wait(g->a, 0);
    if (g->b > 0)
        (void)live_wait(g->b, 0);
    vms_tap_stop(g->tap);
    vms_wan_stop(g->wan);
    vms_tap_stop(g->dst_tap);
    vms_qemu_free(g->src);
    vms_qemu_free(g->dst);
    json_decref(g->a_report);
    json_decref(g->b_report);
    if (g->what->mbit)
        vms_net_close(&g->net);
    if (!getenv("VMSTREAM_KEEP"))
        (void)live_wait(live_spawn(rm, NULL, NULL), EXIT_MS);
}

/* ---- a migration ---- */

void rig_migrate(struct rig *g) {
    char uri[160];
    (void)snprintf(uri, sizeof uri, "unix:%s/src", g->live.dir);
    rig_must(g, g->src, vms_qemu_migrate(g->src, uri));
}

void rig_expect_state(struct rig *g, struct vms_qemu *q, const char *state) {
    const char *const states[] = {state, NULL};
    struct vms_migration_end end;
    cr_assert_eq(vms_qemu_wait_migration(q, states, MIGRATE_MS, &end), 0, "%s\nA: %s\nB: %s",
                 vms_qemu_error(q), rig_log_of(g, "a.log"), rig_log_of(g, "b.log"));
}

/* After a while, so that there is something of both kinds. */
void rig_go_postcopy(struct rig *g) {
    if (g->what->at_once)
        rig_expect_state(g, g->src, "active");
    else
        (void)usleep(700000);
    rig_must(g, g->src, vms_qemu_execute(g->src, "migrate-start-postcopy", NULL, NULL));
}

/* Where the stream in the file has LISTEN; 0: nowhere. */
static uint64_t find_listen(FILE *f) {
    struct vms_qevm_config config = vms_qevm_config_default();
    config.tail_mode = VMS_TAIL_OPAQUE;
    void *mem = malloc(vms_qevm_decoder_size(&config));
    struct vms_qevm_decoder *d =
        mem ? vms_qevm_decoder_init(mem, vms_qevm_decoder_size(&config), &config) : NULL;
    static uint8_t buffer[65536];
    struct vms_slice input = {buffer, 0};
    struct vms_event ev;
    uint64_t at = 0;
    for (bool more = d != NULL; more && !at;) {
        enum vms_step step = vms_qevm_decode(d, &input, &ev);
        if (step == VMS_STEP_NEED)
            input = vms_slice(buffer, fread(buffer, 1, sizeof buffer, f));
        else if (step == VMS_STEP_RECORD && ev.record.type == VMS_R_COMMAND &&
                 ev.record.u.command.command == VMS_CMD_POSTCOPY_LISTEN)
            at = ev.record.offset;
        more = step != VMS_STEP_ERROR && step != VMS_STEP_END &&
               !(step == VMS_STEP_NEED && input.len == 0);
    }
    free(mem);
    return at;
}

void rig_expect_listen_last(struct rig *g) {
    char path[128];
    rig_path_of(g, "dst-record.0.fwd", path, sizeof path);
    FILE *f = fopen(path, "re");
    cr_assert(f, "%s", path);
    uint64_t listen = find_listen(f);
    fclose(f);
    cr_expect_gt(listen, 0u, "no LISTEN in %s", path);
    cr_expect_eq(vms_tap_count(g->dst_tap), 2u);
    for (unsigned i = 1; i < vms_tap_count(g->dst_tap); i++) {
        uint64_t before = vms_tap_connection(g->dst_tap, i).before;
        cr_expect_leq(before, listen, "connection %u came at %llu, LISTEN at %llu", i,
                      (unsigned long long)before, (unsigned long long)listen);
    }
}

/* Bytes that the connections from `first` on have carried to the destination. */
static uint64_t carried(const struct rig *g, unsigned first) {
    uint64_t sum = 0;
    for (unsigned i = first; i < vms_tap_count(g->tap); i++)
        sum += vms_tap_connection(g->tap, i).forward;
    return sum;
}

/* The session goes on over the connections from `first` on: more passes than its resumption takes.
 */
static void wait_until_it_flows(struct rig *g, unsigned first, unsigned cut) {
    for (int ms = 0; carried(g, first) < FLOW_BYTES; ms += 5) {
        cr_assert_lt(ms, MIGRATE_MS, "cut %u: %s\n%s", cut, rig_log_of(g, "a.log"),
                     rig_log_of(g, "b.log"));
        (void)usleep(5000); /* the tap tells of one connection at a time only */
    }
}

/* Each cut takes all connections, in the middle of the data. */
void rig_cut_link(struct rig *g) {
    for (unsigned i = 0, before = 0; i < g->what->cuts; i++) {
        wait_until_it_flows(g, before, i);
        before = vms_tap_count(g->tap);
        vms_tap_cut(g->tap);
        cr_assert_eq(vms_tap_wait_connections(g->tap, before + 1, 10000), 0, "cut %u: %s\n%s", i,
                     rig_log_of(g, "a.log"), rig_log_of(g, "b.log"));
    }
}

void rig_relays_end(struct rig *g) {
    char path[128];
    g->a_status = live_wait(g->a, EXIT_MS);
    g->b_status = g->what->plain ? 0 : live_wait(g->b, EXIT_MS);
    g->a = g->b = 0;
    rig_path_of(g, "a.json", path, sizeof path);
    g->a_report = json_load_file(path, 0, NULL);
    rig_path_of(g, "b.json", path, sizeof path);
    g->b_report = json_load_file(path, 0, NULL);
    cr_log_info("A: %s", rig_log_of(g, "a.log"));
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
    rig_path_of(g, name, dir, size);
    rig_must(g, q, vms_qemu_dump_ram(q, dir, d));
}

/* Every RAM block is the same at both ends, and holds what the guest says. */
void rig_compare_memory(struct rig *g) {
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
    rig_must(g, g->dst, vms_qemu_stop(g->dst));
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

void rig_guest_goes_on(struct rig *g) {
    if (!g->what->postcopy)
        rig_must(g, g->dst, vms_qemu_cont(g->dst));
    ssize_t at = vms_qemu_wait_serial(g->dst, "hb ", 0, HEARTBEAT_MS);
    cr_assert_geq(at, 0, "%s", vms_qemu_error(g->dst));
    cr_assert_geq(vms_qemu_wait_serial(g->dst, "hb ", (size_t)at, HEARTBEAT_MS), 0);
    cr_expect_not(vms_qemu_serial_has(g->dst, "BAD"));
    check_guest(g);
}

json_int_t rig_link_number(const json_t *report, const char *key) {
    return json_integer_value(json_object_get(json_object_get(report, "link"), key));
}

/* Octets of QEVM are the same on both sides, channel for channel. */
void rig_compare_reports(struct rig *g) {
    if (g->what->plain)
        return;
    json_t *a = json_object_get(g->a_report, "channels");
    json_t *b = json_object_get(g->b_report, "channels");
    cr_expect_eq(json_array_size(a), json_array_size(b));
    cr_expect(json_equal(a, b), "A %s\nB %s", json_dumps(a, 0), json_dumps(b, 0));
    fprintf(stderr,
            "%s -> %s: %zu channels, %lld bytes on the link, %lld resumes, %lld frames again\n",
            or72(g->what->source), or72(g->what->destination), json_array_size(a),
            (long long)rig_link_number(g->a_report, "bytes_out"),
            (long long)rig_link_number(g->a_report, "resumes"),
            (long long)rig_link_number(g->a_report, "frames_again"));
}
